//! Events as lines of JSON without loss: exporting, importing and exporting again gives the same
//! bytes and the same chain.
//!
//! The authoritative field is `content`, the bytes that the chain covers: with them alone anyone
//! can verify the chain (docs/audit.md). The other fields repeat it for people and programs, and
//! are compared with it. Not here: where lines come from (`segment/export.rs`), which log takes
//! them (`app`).

use std::fmt::{Display, Write as _};
use std::io::BufRead;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chain::{self, Content, GENESIS, Hash};
use super::{Append, CommandKey, EventLog, Expected};
use crate::events::{EventType, Meta, NewEvent, codec};
use crate::ids::{CommandId, EventId, Position, Revision, StreamId, Timestamp};

/// Appends that are on their way to the log at once in an import: half of the log's queue, so that
/// none waits to get in and their order stays.
const IMPORT_APPENDS: usize = 2048;

/// Bytes of lines that are held at once in an import, roughly.
const IMPORT_BYTES: usize = 64 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its place in the log.
    pub position: Position,
    /// The object.
    pub stream: StreamId,
    /// Its place in the object's stream.
    pub revision: Revision,
    /// Its identity.
    pub id: EventId,
    /// When it was decided.
    pub time: Timestamp,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The version of its payload.
    pub version: u16,
    /// Who and why.
    pub meta: Meta,
    /// The payload as JSON; null where the build that exported it does not know the type.
    pub data: Value,
    /// The bytes that the chain covers (`chain`), in hex.
    pub content: String,
    /// With the first event of a command: what makes it exactly-once.
    pub command: Option<Command>,
    /// How many events of the same append follow.
    pub left: u16,
    /// The chain up to and including it, in hex.
    pub hash: String,
}

/// A command id with the digest of the command's body in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The id.
    pub id: String,
    /// The digest.
    pub digest: String,
}

impl Line {
    /// The line of an event with this content.
    ///
    /// # Errors
    /// When it is not a content, or meta cannot be read.
    pub fn new(
        bytes: &[u8],
        command: Option<(&str, &Hash)>,
        (position, left, hash): (Position, u16, &Hash),
    ) -> Result<Self, String> {
        let content = Content::whole(bytes).ok_or("the content is not valid")?;
        let Content { stream, event_type, version, payload, .. } = content;
        let data = codec::payload_json(stream.kind, event_type, version, payload);
        Ok(Self {
            position,
            stream,
            revision: content.revision,
            id: content.id,
            time: content.time,
            event_type: event_type.to_owned(),
            version,
            meta: Meta::decode(content.meta)?,
            data: data.unwrap_or_default(),
            content: to_hex(bytes),
            command: command.map(|(id, digest)| Command { id: id.into(), digest: to_hex(digest) }),
            left,
            hash: to_hex(hash),
        })
    }
}

impl Line {
    /// Checks that the fields for people say what the content says.
    fn check(&self, content: &[u8]) -> Result<(), String> {
        let mut same = Self::new(content, None, (self.position, self.left, &GENESIS))?;
        // What one build does not know, another may.
        if same.data.is_null() || self.data.is_null() {
            same.data = self.data.clone();
        }
        (same.command, same.hash) = (self.command.clone(), self.hash.clone());
        if same == *self {
            return Ok(());
        }
        Err("its fields do not agree with its content: it was changed".to_owned())
    }
}

/// Puts lines together to appends; refuses a line that does not continue the chain.
#[derive(Debug, Default)]
struct Importer {
    position: Position,
    hash: Hash,
    /// The append that is not whole yet.
    append: Option<Append>,
}

impl Importer {
    /// Takes the next line; an append where it is the last of one.
    ///
    /// # Errors
    /// Why it is not the next one.
    fn take(&mut self, line: Line) -> Result<Option<Append>, String> {
        let position = self.position.next();
        if line.position != position {
            return Err(format!("position {position} must follow, not {}", line.position));
        }
        let (stream, revision, left) = (line.stream, line.revision, line.left);
        let bytes = from_hex(&line.content)?;
        self.hash = chain::extend(&self.hash, position, &chain::digest(&bytes));
        if to_hex(&self.hash) != line.hash {
            return Err("the event is not what was exported: its hash differs".to_owned());
        }
        line.check(&bytes)?;
        let content = Content::whole(&bytes).ok_or("the content is not valid")?;
        let event = NewEvent {
            id: line.id,
            time: line.time,
            event_type: EventType::named(&line.event_type),
            version: line.version,
            payload: Bytes::copy_from_slice(content.payload),
            meta: line.meta,
        };
        // The log encodes meta itself, in one way; what is in the chain must be that.
        if codec::encode(&event.meta) != content.meta {
            return Err("its meta is encoded in a way that this program does not use".to_owned());
        }
        self.position = position;
        let append = match self.append.take() {
            Some(mut append) => {
                append.events.push(event);
                append
            }
            None => Append {
                stream,
                expected: revision
                    .get()
                    .checked_sub(1)
                    .map_or(Expected::NoStream, |before| Expected::Exact(Revision(before))),
                command: line.command.map(Command::key).transpose()?,
                events: vec![event],
            },
        };
        if left == 0 {
            return Ok(Some(append));
        }
        self.append = Some(append);
        Ok(None)
    }
}

/// Appends lines to an empty log, many with one write. Answers with the last position.
///
/// # Errors
/// The number of the line that is not the next one, or why the log does not take it.
pub async fn import(log: &dyn EventLog, lines: impl BufRead) -> Result<Position, String> {
    let why = match append_lines(log, lines).await {
        Ok(position) => return Ok(position),
        Err(why) => why,
    };
    let head = *log.head().borrow();
    Err(format!(
        "{why}. The log has the events up to position {head} now; remove it before you try again."
    ))
}

async fn append_lines(log: &dyn EventLog, lines: impl BufRead) -> Result<Position, String> {
    let mut importer = Importer::default();
    let (mut appends, mut bytes) = (Vec::new(), 0);
    for (number, line) in (1_u64..).zip(lines.lines()) {
        let at = |why: &dyn Display| format!("line {number}: {why}");
        let line = line.map_err(|error| at(&error))?;
        bytes += line.len();
        let line = serde_json::from_str(&line).map_err(|error| at(&error))?;
        appends.extend(importer.take(line).map_err(|why| at(&why))?);
        if appends.len() == IMPORT_APPENDS || bytes > IMPORT_BYTES {
            append_all(log, std::mem::take(&mut appends)).await?;
            bytes = 0;
        }
    }
    append_all(log, appends).await?;
    if importer.append.is_none() {
        return Ok(importer.position);
    }
    Err("the export ends in the middle of an append".to_owned())
}

/// Appends in order, without waiting for one before the next is on its way.
async fn append_all(log: &dyn EventLog, appends: Vec<Append>) -> Result<(), String> {
    let appends = join_all(appends.into_iter().map(|append| log.append(append)));
    // A task that yields to others would be asked again in another order.
    let appended = tokio::task::unconstrained(appends).await;
    appended.into_iter().try_for_each(|it| it.map(drop).map_err(|error| error.to_string()))
}

impl Command {
    fn key(self) -> Result<CommandKey, String> {
        let digest = from_hex(&self.digest)?;
        let digest = digest.try_into().map_err(|_| "the command's digest is too short or long")?;
        Ok(CommandKey { id: CommandId(self.id), digest })
    }
}

/// Bytes as hex digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Hex digits as bytes.
///
/// # Errors
/// When it is something else.
pub fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| "expected hex digits".to_owned())
}

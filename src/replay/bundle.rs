//! A bundle: the history of an object in one file, which every command of the debugger reads, for
//! people who have no access to the server.
//!
//! It contains events as they are in the log, the schemas of their payloads, and the digests of all
//! events from its first one to the log's head, if the log still has all of them: they prove that
//! the hash chain leads from one to the other, so a changed, added or missing event is detected,
//! and with the log, an export or an anchor of it one can verify that the bundle belongs to that
//! log. A redacted bundle has no values of environment variables; its digests are those of the
//! original events. Not here: reading a bundle as a log (`events/log/excerpt`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ReplayError, Source, state, timeline};
use crate::events::cloudevent::{REDACTED, redacted};
use crate::events::container::ContainerEvent;
use crate::events::log::chain::{self, Hash};
use crate::events::log::excerpt::ExcerptLog;
use crate::events::log::export::{from_hex, to_hex};
use crate::events::pod::PodEvent;
use crate::events::{EventPayload, EventType, Meta, NewEvent, Recorded, codec};
use crate::ids::{EventId, Position, Revision, StreamId, Timestamp};

/// What a bundle says that it is.
pub const FORMAT: &str = "magnum-bundle-1";

/// Most events from the first one of a bundle to the head of the log for which it has their
/// digests: 13 MB of them. Where there are more, the bundle says that its chain is not proved.
const MAX_DIGESTS: u64 = 200_000;

/// Most events in a bundle: what fits into some 50 MB.
const MAX_EVENTS: usize = 50_000;

/// One file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bundle {
    /// [`FORMAT`]
    pub format: String,
    /// The version of the program that made it.
    pub magnum: String,
    /// What it is about: `container/` and a uuid.
    pub object: String,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Whether it takes in what is around the object.
    pub related: bool,
    /// Whether values of environment variables were taken out.
    pub redacted: bool,
    /// The events, in order.
    pub events: Vec<BundleEvent>,
    /// Where the log ended.
    pub head: End,
    /// What leads from the first event to there; null if that is too far, or if events in between
    /// are missing, such as archived ones.
    pub proof: Option<Proof>,
    /// The schemas of the payloads, by the name of their file.
    #[schema(value_type = Object)]
    pub schemas: BTreeMap<String, Value>,
    /// BLAKE3 of this document without this field, in hex.
    pub digest: String,
}

/// An event as it is in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BundleEvent {
    /// Its place in the log.
    #[schema(value_type = u64)]
    pub position: Position,
    /// The object.
    #[schema(value_type = Object)]
    pub stream: StreamId,
    /// Its place in the object's stream.
    #[schema(value_type = u64)]
    pub revision: Revision,
    /// Its identity.
    #[schema(value_type = String)]
    pub id: EventId,
    /// When it was decided.
    #[schema(value_type = String)]
    pub time: Timestamp,
    /// Its type.
    pub r#type: String,
    /// The version of its payload.
    pub version: u16,
    /// Who and why.
    #[schema(value_type = Object)]
    pub meta: Meta,
    /// The payload in bincode, in hex.
    pub payload: String,
    /// The payload for people.
    #[schema(value_type = Object)]
    pub data: Value,
    /// The chain up to and including it, in hex.
    pub hash: String,
}

/// A place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct End {
    /// The last event.
    #[schema(value_type = u64)]
    pub position: Position,
    /// The chain up to and including it, in hex.
    pub hash: String,
}

/// What leads from the first event of a bundle to the head of its log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proof {
    /// The chain before the first event, in hex.
    pub before: String,
    /// BLAKE3 of the content of each event from the first one to the head, in hex.
    pub digests: Vec<String>,
}

/// The bundle of an object, with `related` also of its bay, its node and the containers on it.
///
/// # Errors
/// When there is no such object, too much happened, or the log cannot be read.
pub fn export(
    source: &Source,
    stream: StreamId,
    related: bool,
    redact: bool,
) -> Result<Bundle, ReplayError> {
    let head = source.head();
    let mut streams = BTreeSet::from([stream]);
    if related {
        streams.extend(timeline::around(source, stream, head)?);
    }
    let mut events = Vec::new();
    for stream in streams {
        source.each_of(stream, head, |event| {
            source.keep(event)?;
            events.push(event.clone());
            if events.len() <= MAX_EVENTS {
                return Ok(());
            }
            let words = format!("more than {MAX_EVENTS} events do not fit into a bundle");
            Err(ReplayError::Invalid(words))
        })?;
    }
    events.sort_by_key(|event| event.position);
    let first = events.first().map_or(head, |event| event.position);
    let last = source.whole().at(head)?;
    let redacted = redact || !source.is_whole();
    let mut bundle = Bundle {
        format: FORMAT.to_owned(),
        magnum: env!("CARGO_PKG_VERSION").to_owned(),
        object: stream.to_string(),
        name: state::name(state::fold(source, stream, head)?.0.as_ref()),
        related,
        redacted,
        schemas: schemas(&events),
        head: End {
            position: head,
            hash: to_hex(&last.map_or(chain::GENESIS, |event| event.hash)),
        },
        proof: proof(source, first, head)?,
        events: events.iter().map(|event| bundled(event, redacted)).collect::<Result<_, _>>()?,
        digest: String::new(),
    };
    bundle.digest = bundle.own_digest();
    Ok(bundle)
}

/// What leads from before an event to the head; `None` if that is too far, or if the events there
/// are not those of the chain: an archive took some, or the log is a bundle itself.
fn proof(source: &Source, first: Position, head: Position) -> Result<Option<Proof>, ReplayError> {
    if head.get() - first.get().min(head.get()) >= MAX_DIGESTS {
        return Ok(None);
    }
    let whole = source.whole();
    let before = first.before();
    let hash = whole.at(before)?.map_or(chain::GENESIS, |event| event.hash);
    let (mut end, mut digests) = (hash, Vec::new());
    let mut holds = true;
    whole.each(before, head, |event| {
        let content = digest(event);
        digests.push(to_hex(&content));
        end = chain::extend(&end, event.position, &content);
        holds = end == event.hash;
        Ok(if holds { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(holds.then(|| Proof { before: to_hex(&hash), digests }))
}

/// BLAKE3 of the content of an event.
fn digest(event: &Recorded) -> Hash {
    let new = NewEvent {
        id: event.id,
        time: event.time,
        event_type: event.event_type.clone(),
        version: event.version,
        meta: event.meta.clone(),
        payload: event.payload.clone(),
    };
    let meta = codec::encode(&event.meta);
    chain::digest(&chain::content(event.stream, event.revision, &new, &meta))
}

fn schemas(events: &[Recorded]) -> BTreeMap<String, Value> {
    let files = events.iter().map(|it| format!("{}.v{}.json", it.event_type.as_str(), it.version));
    let document = |file: String| {
        let text = codec::schema(&file)?.document();
        Some((file, serde_json::from_str(&text).ok()?))
    };
    files.collect::<BTreeSet<_>>().into_iter().filter_map(document).collect()
}

/// Events that say what a container is made from.
const HAS_A_SPEC: [&str; 3] =
    ["container.create_requested", "container.recreate_requested", "container.recreated"];

/// An event with the values of environment variables hidden, and its version; none if it has none.
fn hidden(event: &Recorded) -> Result<Option<(Vec<u8>, u16)>, ReplayError> {
    let hide = |values: &mut BTreeMap<String, String>| {
        values.values_mut().for_each(|value| REDACTED.clone_into(value));
    };
    match event.event_type.as_str() {
        "pod.create_requested" => {
            let mut event: PodEvent = event.decode()?;
            if let PodEvent::CreateRequested(asked) = &mut event {
                hide(&mut asked.spec.environment);
            }
            Ok(Some((event.encode(), event.version())))
        }
        name if HAS_A_SPEC.contains(&name) => {
            let mut event: ContainerEvent = event.decode()?;
            let Some(spec) = event.spec_mut() else { return Ok(None) };
            hide(&mut spec.environment);
            Ok(Some((event.encode(), event.version())))
        }
        _ => Ok(None),
    }
}

fn bundled(event: &Recorded, redact: bool) -> Result<BundleEvent, ReplayError> {
    let (mut meta, mut payload, mut version) =
        (event.meta.clone(), event.payload.to_vec(), event.version);
    let name = event.event_type.as_str();
    if redact {
        let command = meta.command.as_deref().and_then(|text| serde_json::from_str(text).ok());
        meta.command = command.map(|command| redacted(command).to_string());
        if let Some(hidden) = hidden(event)? {
            (payload, version) = hidden;
        }
    }
    let data = codec::payload_json(event.stream.kind, name, version, &payload)?;
    Ok(BundleEvent {
        position: event.position,
        stream: event.stream,
        revision: event.revision,
        id: event.id,
        time: event.time,
        r#type: name.to_owned(),
        version,
        meta,
        payload: to_hex(&payload),
        data: redacted(data),
        hash: to_hex(&event.hash),
    })
}

impl Bundle {
    /// The events of a bundle as a log to ask.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn open(text: &str) -> Result<Source, ReplayError> {
        let (_, events) = Self::read(text)?;
        Ok(Source::new(Arc::new(ExcerptLog::new(events))))
    }

    /// Reads a bundle and checks that it is what was made.
    ///
    /// # Errors
    /// When it is none, of a newer program, or was changed; the message says where.
    pub fn read(text: &str) -> Result<(Self, Vec<Recorded>), ReplayError> {
        let wrong = |why: String| ReplayError::Invalid(format!("This is not a bundle: {why}."));
        let document: Value =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        match document.get("format").and_then(Value::as_str) {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(wrong(format!("its format is {other}, this magnum reads {FORMAT}")));
            }
            None => return Err(wrong("it has no format".to_owned())),
        }
        let bundle: Self =
            serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
        let changed = |why: String| {
            ReplayError::Invalid(format!(
                "This bundle was changed after its export: {why}. Get another copy."
            ))
        };
        if bundle.digest != bundle.own_digest() {
            return Err(changed("its digest differs".to_owned()));
        }
        let events: Result<Vec<Recorded>, String> =
            bundle.events.iter().map(BundleEvent::recorded).collect();
        let events = events.map_err(changed)?;
        bundle.check(&events).map_err(changed)?;
        Ok((bundle, events))
    }

    /// BLAKE3 of the document without its digest.
    fn own_digest(&self) -> String {
        let bare = Self { digest: String::new(), ..self.clone() };
        // Plain data serialises.
        let bytes = serde_json::to_vec(&bare).unwrap_or_default();
        to_hex(&chain::digest(&bytes))
    }

    /// Follows the chain from the first event to the head.
    fn check(&self, events: &[Recorded]) -> Result<(), String> {
        let in_order = |pair: &[Recorded]| match pair {
            [one, next] => one.position < next.position,
            _ => true,
        };
        if !events.windows(2).all(in_order) {
            return Err("its events are not in order".to_owned());
        }
        let (Some(proof), Some(first)) = (&self.proof, events.first()) else { return Ok(()) };
        let mut hash: Hash = hash(&proof.before)?;
        let mut position = first.position.before();
        let mut left = events.iter().peekable();
        for text in &proof.digests {
            position = position.next();
            let content = self::hash(text)?;
            hash = chain::extend(&hash, position, &content);
            if let Some(event) = left.next_if(|event| event.position == position) {
                let is_it = self.redacted || digest(event) == content;
                if !is_it || event.hash != hash {
                    return Err(format!("the event at position {position} differs"));
                }
            }
        }
        if left.peek().is_some()
            || position != self.head.position
            || to_hex(&hash) != self.head.hash
        {
            return Err("its chain does not lead to the head of its log".to_owned());
        }
        Ok(())
    }
}

impl BundleEvent {
    fn recorded(&self) -> Result<Recorded, String> {
        Ok(Recorded {
            position: self.position,
            stream: self.stream,
            revision: self.revision,
            id: self.id,
            time: self.time,
            event_type: EventType::named(&self.r#type),
            version: self.version,
            meta: self.meta.clone(),
            payload: from_hex(&self.payload)?.into(),
            hash: hash(&self.hash)?,
        })
    }
}

fn hash(text: &str) -> Result<Hash, String> {
    from_hex(text)?.try_into().map_err(|_| "a hash in it does not have 32 bytes".to_owned())
}

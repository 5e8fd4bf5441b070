//! How views are laid out in their sled tree, so that a start need not fold the whole log.
//!
//! ```text
//! 00                          which generation is read
//! 01 generation 'c'           checkpoint
//! 01 generation 'p' stream    parked stream
//! 01 generation 'v' stream    view
//! ```
//!
//! The checkpoint is written after what it stands for, so views may be ahead of it, never behind;
//! an event that a view already contains is not applied again. The two are not one batch: while
//! sled applies a batch, no thread can read any tree, including the log's index. Indexes are not
//! saved but built from the views. Not here: when views are saved (`saver`).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sled::Tree;

use super::query::Parked;
use super::store::StoreFault;
use super::tables::{Checkpoint, RecordPart, Tables};
use crate::events::codec::{decode, encode};
use crate::events::log::EventLog;
use crate::ids::{Kind, StreamId};
use crate::with_noun;

/// The version of the views' encoding and of keys: raised with every change of them.
const SCHEMA: u32 = 6;

/// The key of [`Root`].
const ROOT: [u8; 1] = [0];

/// Which generation is read, and in which encoding.
#[derive(Serialize, Deserialize)]
struct Root {
    schema: u32,
    live: u32,
}

/// Makes the keys of one generation.
#[derive(Clone, Copy)]
pub(super) struct Keys(pub u32);

impl Keys {
    fn prefix(self) -> Vec<u8> {
        [&[1][..], &self.0.to_be_bytes()].concat()
    }

    fn tag(self, tag: u8) -> Vec<u8> {
        let mut key = self.prefix();
        key.push(tag);
        key
    }

    fn checkpoint(self) -> Vec<u8> {
        self.tag(b'c')
    }

    /// The prefix of every view of a noun.
    pub fn views(self, kind: Kind) -> Vec<u8> {
        let mut key = self.tag(RecordPart::View as u8);
        key.push(kind as u8);
        key
    }

    /// The prefix of every parked stream.
    pub fn parked(self) -> Vec<u8> {
        self.tag(RecordPart::Parked as u8)
    }

    /// A record of a stream.
    pub fn stream(self, part: RecordPart, stream: StreamId) -> Vec<u8> {
        let mut key = self.tag(part as u8);
        key.extend(stream.to_bytes());
        key
    }
}

/// The generation that a key belongs to.
fn generation_of(key: &[u8]) -> Option<u32> {
    let (_, rest) = key.split_first()?;
    rest.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A generation number that is not in use.
pub(super) fn unused(tree: &Tree) -> sled::Result<u32> {
    let last = tree.last()?.and_then(|(key, _)| generation_of(&key));
    Ok(last.map_or(1, |last| last.wrapping_add(1)))
}

/// Makes a generation the live one, as of a checkpoint.
pub(super) fn seal(tree: &Tree, generation: u32, at: &Checkpoint) -> sled::Result<()> {
    tree.insert(Keys(generation).checkpoint(), encode(at))?;
    tree.insert(ROOT, encode(&Root { schema: SCHEMA, live: generation }))?;
    Ok(())
}

/// The live generation and its checkpoint; `None` if nothing was saved in this encoding.
pub(super) fn live(tree: &Tree) -> Result<Option<(Keys, Checkpoint)>, StoreFault> {
    let root = tree.get(ROOT)?.and_then(|bytes| decode::<Root>(&bytes).ok());
    let Some(Root { live, .. }) = root.filter(|root| root.schema == SCHEMA) else {
        return Ok(None);
    };
    let keys = Keys(live);
    let at = tree.get(keys.checkpoint())?.ok_or_else(|| damaged("there is no checkpoint"))?;
    Ok(Some((keys, decode(&at).map_err(StoreFault::Damaged)?)))
}

/// The saved views, and how many of them had to be folded again; `None` if nothing was saved of
/// this log in this encoding.
pub(super) fn load(tree: &Tree, log: &dyn EventLog) -> Result<Option<(Tables, u64)>, StoreFault> {
    let Some((keys, at)) = live(tree)? else { return Ok(None) };
    // What was deleted between the two is in them for ever, as the events that say so are gone.
    if log.has_all_after(at.position).is_err() {
        tracing::warn!("the read models are older than the archive; they are rebuilt");
        return Ok(None);
    }
    if !at.is_of(log)? {
        tracing::error!("the read models belong to another log; they are rebuilt");
        return Ok(None);
    }
    let mut tables = Tables::empty(at, keys.0);
    let mut broken_rows = 0;
    for kind in Kind::ALL {
        let records = tree.scan_prefix(keys.views(kind)).map(|record| {
            let (key, bytes) = record?;
            let stream = key.last_chunk().and_then(StreamId::from_bytes);
            let StreamId { id, .. } = stream.ok_or_else(|| damaged("a key names no stream"))?;
            Ok::<_, StoreFault>((id, Arc::from(&*bytes)))
        });
        let saved: Vec<_> = records.collect::<Result<_, _>>()?;
        broken_rows += with_noun!(kind, view V => tables.take_up::<V>(log, saved))?;
    }
    for record in tree.scan_prefix(keys.parked()) {
        let parked: Parked = decode(&record?.1).map_err(StoreFault::Damaged)?;
        tables.unpark(log, parked)?;
    }
    Ok(Some((tables, broken_rows)))
}

fn damaged(words: &str) -> StoreFault {
    StoreFault::Damaged(words.to_owned())
}

/// Removes up to `limit` keys of generations that are not `live`; whether there were any.
pub(super) fn sweep(tree: &Tree, live: u32, limit: usize) -> sled::Result<bool> {
    let (before, after) = (Keys(live).prefix(), Keys(live.saturating_add(1)).prefix());
    let litter = tree.range(vec![1]..before).chain(tree.range(after..));
    let mut found = false;
    for record in litter.take(limit) {
        tree.remove(record?.0)?;
        found = true;
    }
    Ok(found)
}

//! One generation of the read models: all rows, their indexes and counts, and the checkpoint that
//! says up to which event they are (rule P2).
//!
//! Not here: when to read the log, and what to do when something fails (`conductor`).

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};
use sled::{Batch, Tree};

use super::bay::BayView;
use super::baymodel::BaymodelView;
use super::conductor::Fault;
use super::container::ContainerView;
use super::keys::{self, Keys, Tag};
use super::node::NodeView;
use super::past::{self, PastError};
use super::query::Parked;
use super::rows::{Records, Rows, Source, Writes};
use crate::events::Recorded;
use crate::events::codec::{decode, encode};
use crate::events::log::EventLog;
use crate::ids::{Kind, Position, StreamId};

/// Rows of a noun that stay in memory after they are written, at about 2 KB each: 32 MB.
const KEEP_ROWS: usize = 16_384;

/// Up to where a generation is, and the chain of the log there: another log has another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub position: Position,
    pub hash: [u8; 32],
}

/// One generation, as far as it is in memory.
pub(super) struct Generation {
    pub keys: Keys,
    /// What is written.
    pub written: Checkpoint,
    /// What is applied.
    applied: Checkpoint,
    parked: BTreeMap<StreamId, Parked>,
    /// Parked or parked no longer since they were last written.
    parked_changes: Vec<StreamId>,
    unwritten: <Records as IntoIterator>::IntoIter,
    is_writing: bool,
    bays: Rows<BayView>,
    baymodels: Rows<BaymodelView>,
    nodes: Rows<NodeView>,
    containers: Rows<ContainerView>,
}

/// Names the rows of a kind.
macro_rules! rows {
    ($generation:expr, $kind:expr, $rows:ident => $body:expr) => {
        match $kind {
            Kind::Bay => {
                let $rows = &mut $generation.bays;
                $body
            }
            Kind::Baymodel => {
                let $rows = &mut $generation.baymodels;
                $body
            }
            Kind::Node => {
                let $rows = &mut $generation.nodes;
                $body
            }
            Kind::Container => {
                let $rows = &mut $generation.containers;
                $body
            }
        }
    };
}

impl Generation {
    /// Opens a generation where it was left; one that is not there is empty.
    pub fn open(tree: &Tree, number: u32) -> Result<Self, Fault> {
        let keys = Keys { generation: number };
        let written = match tree.get(keys.tag(Tag::Checkpoint))? {
            Some(bytes) => decode(&bytes).map_err(Fault::Damaged)?,
            None => Checkpoint::default(),
        };
        let mut parked = BTreeMap::new();
        for record in tree.scan_prefix(keys.tag(Tag::Parked)) {
            let record: Parked = decode(&record?.1).map_err(Fault::Damaged)?;
            parked.insert(record.stream, record);
        }
        Ok(Self {
            keys,
            written,
            applied: written,
            parked,
            parked_changes: Vec::new(),
            unwritten: Records::new().into_iter(),
            is_writing: false,
            bays: Rows::default(),
            baymodels: Rows::default(),
            nodes: Rows::default(),
            containers: Rows::default(),
        })
    }

    /// Whether the log still has the event that this generation ends with (failure 54).
    pub fn is_of(&self, log: &dyn EventLog) -> Result<bool, Fault> {
        let Checkpoint { position, hash } = self.written;
        if position == Position(0) {
            return Ok(true);
        }
        let before = Position(position.0.saturating_sub(1));
        let last = log.read(before, 1)?;
        Ok(last.first().is_some_and(|event| event.position == position && event.hash == hash))
    }

    /// Rows that changed since they were last written.
    pub fn dirty(&self) -> usize {
        self.bays.dirty() + self.baymodels.dirty() + self.nodes.dirty() + self.containers.dirty()
    }

    /// Up to where events are applied.
    pub fn position(&self) -> Position {
        self.applied.position
    }

    fn source<'a>(&self, tree: &'a Tree, log: &'a dyn EventLog) -> Source<'a> {
        Source { tree, log, keys: self.keys, written: self.written.position }
    }

    /// Applies an event in memory; one that cannot be applied parks its stream (rule P3).
    pub fn apply(
        &mut self,
        tree: &Tree,
        log: &dyn EventLog,
        event: &Recorded,
    ) -> Result<(), Fault> {
        let stream = event.stream;
        if !self.parked.contains_key(&stream) {
            let from = self.source(tree, log);
            if let Err(reason) = rows!(self, stream.kind, rows => rows.apply(from, event))? {
                let position = event.position;
                tracing::error!(%stream, %position, reason, "a stream is parked; the rest goes on");
                self.parked.insert(stream, Parked { stream, position, reason });
                self.parked_changes.push(stream);
            }
        }
        self.applied = Checkpoint { position: event.position, hash: event.hash };
        Ok(())
    }

    /// Tries parked streams again: a newer build may be able to read what an older one could not.
    /// Whether there is something to write.
    pub fn unpark(&mut self, tree: &Tree, log: &dyn EventLog) -> Result<bool, Fault> {
        let from = self.source(tree, log);
        let streams: Vec<StreamId> = self.parked.keys().copied().collect();
        for stream in streams {
            let (id, at) = (stream.id, self.written.position);
            let heals = rows!(self, stream.kind, rows => {
                match catch_unwind(AssertUnwindSafe(|| past::as_of(log, id, at))) {
                    Ok(Ok(view)) => rows.put(from, id, view).map(|()| true)?,
                    Ok(Err(PastError::Read(error))) => return Err(error.into()),
                    Ok(Err(PastError::Decode(_))) | Err(_) => false,
                }
            });
            if heals {
                tracing::info!(%stream, "a stream is parked no longer");
                self.parked.remove(&stream);
                self.parked_changes.push(stream);
            } else {
                tracing::warn!(%stream, "a stream is still parked");
            }
        }
        Ok(!self.parked_changes.is_empty())
    }

    /// Writes everything that is applied and the checkpoint in one batch (rule P2).
    ///
    /// Sled lets nobody read any tree while it applies a batch, so a batch has to be small.
    pub fn write(&mut self, tree: &Tree) -> Result<(), Fault> {
        let mut batch = Batch::default();
        for (key, value) in self.records(tree)? {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        tree.apply_batch(batch)?;
        self.written = self.applied;
        Ok(())
    }

    /// Begins to write everything that is applied, for a generation that nobody reads before it is
    /// whole. Until that is done no event may be applied.
    pub fn begin_to_write(&mut self, tree: &Tree) -> Result<(), Fault> {
        self.unwritten = self.records(tree)?.into_iter();
        self.is_writing = true;
        Ok(())
    }

    /// Writes up to `limit` records of what it began to write; whether everything is written.
    pub fn go_on_writing(&mut self, tree: &Tree, limit: usize) -> Result<bool, Fault> {
        for (key, value) in self.unwritten.by_ref().take(limit) {
            match value {
                Some(value) => tree.insert(key, value)?,
                None => tree.remove(key)?,
            };
        }
        let is_done = self.unwritten.len() == 0;
        if is_done && std::mem::take(&mut self.is_writing) {
            self.written = self.applied;
        }
        Ok(is_done)
    }

    /// What is to be written, the checkpoint with it.
    fn records(&mut self, tree: &Tree) -> Result<Records, Fault> {
        let mut writes =
            Writes { keys: self.keys, records: Records::new(), counts: HashMap::new() };
        for kind in Kind::ALL {
            rows!(self, kind, rows => rows.write(&mut writes, KEEP_ROWS));
        }
        let Writes { mut records, counts, .. } = writes;
        for (key, by) in counts.into_iter().filter(|(_, by)| *by != 0) {
            let before = tree.get(&key)?.map_or(0, |bytes| number(&bytes));
            let now = before.saturating_add_signed(by);
            records.insert(key, (now > 0).then(|| now.to_be_bytes().to_vec()));
        }
        for stream in std::mem::take(&mut self.parked_changes) {
            let key = self.keys.stream(Tag::Parked, stream);
            records.insert(key, self.parked.get(&stream).map(encode));
        }
        records.insert(self.keys.tag(Tag::Checkpoint), Some(encode(&self.applied)));
        Ok(records)
    }
}

/// A count as it is written.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Removes up to `limit` keys of generations that are not `live`; how many there were.
pub(super) fn sweep(tree: &Tree, live: Option<u32>, limit: usize) -> Result<usize, Fault> {
    let mut batch = Batch::default();
    let mut found = 0;
    let mut from = vec![1];
    while found < limit {
        let Some((key, _)) = tree.range(from.clone()..).next().transpose()? else { break };
        let Some(generation) = keys::generation_of(&key) else { break };
        let prefix = Keys { generation }.prefix();
        if live == Some(generation) {
            from = keys::end_of(&prefix);
            continue;
        }
        for record in tree.range(key..keys::end_of(&prefix).into()).take(limit - found) {
            batch.remove(record?.0);
            found += 1;
        }
        from = keys::end_of(&prefix);
    }
    if found > 0 {
        tree.apply_batch(batch)?;
    }
    Ok(found)
}

//! The reference engine: everything in memory, behind one lock.
//!
//! The other engines are compared with it, and tests use it. Nothing survives it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use super::admission::Prepared;
use super::chain::{self, Content, Hash};
use super::{Append, AppendError, Appended, CommandSeen, EventLog, LogHealth, ReadError};
use crate::events::Recorded;
use crate::events::claim::{Claim, HeldNames, NameDigest};
use crate::ids::{CommandId, Position, Revision, StreamId};

/// A log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    state: Mutex<LogState>,
    head: watch::Receiver<Position>,
}

#[derive(Debug)]
struct LogState {
    events: Vec<Recorded>,
    streams: HashMap<StreamId, Vec<usize>>,
    commands: HashMap<CommandId, CommandSeen>,
    /// Who holds each name.
    names: HashMap<NameDigest, BTreeSet<StreamId>>,
    chain: Hash,
    health: LogHealth,
    /// Gone once the log is closed, so that those waiting for the head notice.
    head: Option<watch::Sender<Position>>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        let (sender, head) = watch::channel(Position(0));
        let state = LogState {
            events: Vec::new(),
            streams: HashMap::new(),
            commands: HashMap::new(),
            names: HashMap::new(),
            chain: chain::GENESIS,
            health: LogHealth::default(),
            head: Some(sender),
        };
        Self { state: Mutex::new(state), head }
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogState {
    fn append(&mut self, prepared: &Prepared) -> Result<Appended, AppendError> {
        if self.head.is_none() {
            return Err(AppendError::Closed("it is closing".to_owned()));
        }
        if let Some(command) = &prepared.command
            && let Some(seen) = self.commands.get(&command.id)
        {
            return Err(AppendError::Seen(*seen));
        }
        let length = self.streams.get(&prepared.stream).map_or(0, Vec::len);
        let actual = length.checked_sub(1).map(|last| Revision(last as u64));
        if !prepared.expected.holds(actual) {
            return Err(AppendError::Conflict { stream: prepared.stream, actual });
        }
        self.check_names(prepared)?;
        let mut position = Position(self.events.len() as u64);
        let mut chain = self.chain;
        let mut events = Vec::with_capacity(prepared.events.len());
        for event in &prepared.events {
            position = position.next();
            chain = chain::extend(&chain, position, &event.digest);
            let (content, _) = Content::split(&event.content)
                .ok_or_else(|| AppendError::Invalid("the event cannot be read back".to_owned()))?;
            events.push(content.recorded(position, chain).map_err(AppendError::Invalid)?);
        }
        let appended = prepared.appended(Position(self.events.len() as u64 + 1));
        self.claim_names(prepared);
        let indexes = self.streams.entry(prepared.stream).or_default();
        indexes.extend(self.events.len()..self.events.len() + events.len());
        self.events.append(&mut events);
        self.chain = chain;
        if let Some(command) = &prepared.command {
            let seen = CommandSeen { stream: prepared.stream, appended, digest: command.digest };
            self.commands.insert(command.id.clone(), seen);
        }
        self.health.appends += 1;
        self.health.events += prepared.events.len() as u64;
        self.health.syncs += 1;
        if let Some(head) = &self.head {
            head.send_replace(appended.last);
        }
        Ok(appended)
    }

    fn check_names(&self, prepared: &Prepared) -> Result<(), AppendError> {
        for claim in &prepared.claims {
            let Claim::Take(name) = claim else { continue };
            let mut holders = self.names.get(&name.digest()).into_iter().flatten();
            if let Some(holder) = holders.find(|holder| **holder != prepared.stream) {
                return Err(AppendError::Claimed { name: name.clone(), holder: *holder });
            }
        }
        Ok(())
    }

    fn claim_names(&mut self, prepared: &Prepared) {
        for claim in &prepared.claims {
            let holders = self.names.entry(claim.name().digest()).or_default();
            if claim.holds() {
                holders.insert(prepared.stream);
            } else {
                holders.remove(&prepared.stream);
            }
        }
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let prepared = Prepared::new(&append)?;
        self.state().append(&prepared)
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        let skip = usize::try_from(after.get()).unwrap_or(usize::MAX);
        Ok(self.state().events.iter().skip(skip).take(limit).cloned().collect())
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let state = self.state();
        let indexes = state.streams.get(&stream).map_or(&[][..], Vec::as_slice);
        let skip = usize::try_from(from.get()).unwrap_or(usize::MAX);
        let chosen = indexes.iter().skip(skip).take(limit);
        Ok(chosen.filter_map(|index| state.events.get(*index).cloned()).collect())
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        let state = self.state();
        let length = state.streams.get(&stream).map_or(0, Vec::len);
        Ok(length.checked_sub(1).map(|last| Revision(last as u64)))
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        Ok(self.state().commands.get(id).copied())
    }

    fn learn_names(&self, held: &HeldNames) -> Result<u64, ReadError> {
        let mut state = self.state();
        let of = |(name, holders)| {
            let (name, holders): (&NameDigest, &BTreeSet<StreamId>) = (name, holders);
            holders.iter().map(|holder| (*name, *holder))
        };
        let recorded: HeldNames = state.names.iter().flat_map(of).collect();
        state.names.clear();
        for (name, holder) in held {
            state.names.entry(*name).or_default().insert(*holder);
        }
        Ok(recorded.symmetric_difference(held).count() as u64)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.clone()
    }

    fn health(&self) -> LogHealth {
        self.state().health.clone()
    }

    async fn close(&self) {
        let mut state = self.state();
        state.head = None;
        state.health.failed.get_or_insert_with(|| "the log is closed".to_owned());
    }
}

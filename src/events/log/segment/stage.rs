//! The next write, gathered by the callers while the previous one is written.
//!
//! One lock decides what is appended, and in which order, based on everything that came before,
//! including what is not durable yet. No caller is answered before everything its answer depends on
//! is durable. Not here: writing it (`writer.rs`).

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::super::admission::Prepared;
use super::super::{AppendError, Appended, CommandSeen, chain};
use super::Shared;
use super::claim::Claim;
use super::index::{Checkpoint, Entries, Head};
use super::record::{self, Frame, Location};
use super::walk::{LogEnd, Walk};
use crate::events::claim::{Claim as NameClaim, Name};
use crate::ids::{CommandId, StreamId};

/// Appends that have no answer yet before others wait to be let in: several times the largest write
/// that forms while one is synced.
pub const QUEUE_APPENDS: usize = 4096;

/// Bytes after which a write takes no more appends: some 10,000 events, written and synced in a
/// few tens of milliseconds.
const GROUP_BYTES: usize = 4 << 20;

/// An append that waits for its answer.
pub struct Job {
    /// What to append.
    pub append: Prepared,
    /// Who wants to know.
    pub reply: oneshot::Sender<Answer>,
}

/// The outcome of an append.
pub type Answer = Result<Appended, AppendError>;

/// What is written and synced at once.
#[derive(Default)]
pub struct Group {
    /// Records.
    pub buffer: Vec<u8>,
    /// The end of the log once they are written; `None` if there are none.
    pub end: Option<LogEnd>,
    /// What they make known.
    pub known: Arc<Known>,
    /// Whom to answer then, and what.
    pub answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

/// Ends of streams, commands, and holders of names.
#[derive(Default)]
pub struct Known {
    /// For the index.
    pub entries: Entries,
    commands: HashMap<CommandId, CommandSeen>,
}

/// Where appends are gathered.
pub struct Stage {
    state: Mutex<StageState>,
    /// Tells the writer that there is something to do.
    changed: Condvar,
    /// Who may be in progress.
    pub room: Semaphore,
}

/// What the lock protects.
pub struct StageState {
    /// The end of the last write that was begun: this one begins there.
    begin: LogEnd,
    /// Bytes of the segment that it is in, and the salt of its records.
    size: u32,
    salt: u32,
    folder: Uuid,
    epoch: u32,
    group: Group,
    known: Known,
    /// What the write before made known; it may still be in progress.
    before: Arc<Known>,
    /// What comes after the group: it is full, or what follows needs another segment.
    later: VecDeque<Job>,
    /// Whether the writer sleeps until it is told.
    pub idle: bool,
    /// Why nothing is taken any more.
    pub closed: Option<String>,
}

impl Stage {
    /// After the end of a log.
    pub fn new(end: LogEnd, claim: Claim) -> Self {
        let state = StageState {
            begin: end,
            size: 0,
            salt: 0,
            folder: claim.folder,
            epoch: claim.epoch,
            group: Group::default(),
            known: Known::default(),
            before: Arc::default(),
            later: VecDeque::new(),
            idle: false,
            closed: None,
        };
        let room = Semaphore::new(QUEUE_APPENDS);
        Self { state: Mutex::new(state), changed: Condvar::new(), room }
    }

    /// Takes the lock.
    pub fn state(&self) -> MutexGuard<'_, StageState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an append in; its answer comes when it is durable, or it is clear that it will not be.
    pub fn submit(&self, shared: &Shared, job: Job) {
        let mut state = self.state();
        if let Some(why) = &state.closed {
            let _gone = job.reply.send(Err(AppendError::Closed(why.clone())));
            return;
        }
        state.later.push_back(job);
        state.admit(shared);
        self.wake(state);
    }

    /// Lets the writer sleep until there is something to do.
    pub fn sleep(&self, mut state: MutexGuard<'_, StageState>) {
        state.idle = true;
        let awake = self.changed.wait_while(state, |state| state.idle);
        drop(awake.unwrap_or_else(PoisonError::into_inner));
    }

    fn wake(&self, mut state: MutexGuard<'_, StageState>) {
        if mem::take(&mut state.idle) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Takes nothing any more; what was taken is still written.
    pub fn close(&self) {
        self.room.close();
        let mut state = self.state();
        state.closed.get_or_insert_with(|| "the log is closed".to_owned());
        self.wake(state);
    }

    /// Ends: callers in the group get *unknown*, later ones get the reason.
    pub fn fail(&self, why: &str) {
        self.room.close();
        let mut state = self.state();
        state.closed = Some(why.to_owned());
        state.group.unknown(why);
        for Job { reply, .. } in state.later.drain(..) {
            let _gone = reply.send(Err(AppendError::Closed(why.to_owned())));
        }
    }
}

impl Group {
    /// Tells everyone that nobody knows.
    pub fn unknown(&mut self, why: &str) {
        for (reply, _) in self.answers.drain(..) {
            let _gone = reply.send(Err(AppendError::OutcomeUnknown(why.to_owned())));
        }
    }

    /// Tells everyone, and leaves the room for the next one.
    pub fn answer(&mut self) {
        for (reply, answer) in self.answers.drain(..) {
            let _gone = reply.send(answer);
        }
        self.buffer.clear();
        // One large group must not hold its memory forever.
        self.buffer.shrink_to(GROUP_BYTES);
        self.end = None;
        self.known = Arc::default();
    }
}

impl StageState {
    /// Goes on in another segment, nothing being in progress.
    pub const fn begin_segment(&mut self, next: Location, size: u32, salt: u32) {
        self.begin.next = next;
        self.size = size;
        self.salt = salt;
    }

    /// Takes what comes later into the group, in its order, as far as it goes. Bytes of the first
    /// append that needs another segment.
    pub fn admit(&mut self, shared: &Shared) -> Option<usize> {
        while self.group.buffer.len() < GROUP_BYTES {
            let Job { append, reply } = self.later.pop_front()?;
            let answer = match self.check(shared, &append) {
                Err(error) => Err(error),
                Ok(before) => {
                    let bytes = size(&append);
                    if self.end().next.offset as usize + bytes > self.size as usize {
                        self.later.push_front(Job { append, reply });
                        return Some(bytes);
                    }
                    Ok(self.stage(&append, before))
                }
            };
            self.group.answers.push((reply, answer));
        }
        None
    }

    /// The append that is to come next.
    pub fn refuse_next(&mut self, error: AppendError) {
        if let Some(Job { reply, .. }) = self.later.pop_front() {
            let _gone = reply.send(Err(error));
        }
    }

    /// What was gathered, if anything; gathering goes on in an empty group.
    pub fn take(&mut self, empty: &mut Group) -> Option<Group> {
        if self.group.answers.is_empty() {
            return None;
        }
        let mut group = mem::replace(&mut self.group, mem::take(empty));
        if let Some(end) = group.end {
            self.begin = end;
            group.known = Arc::new(mem::take(&mut self.known));
            self.before = Arc::clone(&group.known);
        }
        Some(group)
    }

    /// The end of the log with the group.
    fn end(&self) -> LogEnd {
        self.group.end.unwrap_or(self.begin)
    }

    /// Whether an append may be recorded, and the end of its stream before it.
    fn check(&self, shared: &Shared, append: &Prepared) -> Result<Option<Head>, AppendError> {
        let unreadable = |error: &dyn std::fmt::Display| AppendError::Closed(error.to_string());
        let fresh = [&self.known, self.before.as_ref()];
        if let Some(command) = &append.command {
            if let Some(seen) = fresh.iter().find_map(|known| known.commands.get(&command.id)) {
                return Err(AppendError::Seen(*seen));
            }
            if let Some(seen) = shared.command(&command.id).map_err(|it| unreadable(&it))? {
                return Err(AppendError::Seen(seen));
            }
        }
        let head = match fresh.iter().find_map(|known| known.entries.head(append.stream)) {
            Some(head) => Some(head),
            None => shared.index.head(append.stream).map_err(|error| unreadable(&error))?,
        };
        let actual = head.map(|head| head.revision);
        if !append.expected.holds(actual) {
            return Err(AppendError::Conflict { stream: append.stream, actual });
        }
        for claim in &append.claims {
            if let NameClaim::Take(name) = claim {
                self.check_free(shared, name, append.stream)?;
            }
        }
        Ok(head)
    }

    /// Refuses a name that another object holds (rule L9).
    fn check_free(&self, shared: &Shared, name: &Name, own: StreamId) -> Result<(), AppendError> {
        let digest = name.digest();
        let holders = shared.index.holders(&digest);
        let mut holders = holders.map_err(|error| AppendError::Closed(error.to_string()))?;
        self.before.entries.change_holders(&digest, &mut holders);
        self.known.entries.change_holders(&digest, &mut holders);
        match holders.into_iter().find(|holder| *holder != own) {
            Some(holder) => Err(AppendError::Claimed { name: name.clone(), holder }),
            None => Ok(()),
        }
    }

    /// Encodes an append into the group.
    fn stage(&mut self, append: &Prepared, mut before: Option<Head>) -> Appended {
        let mut end = self.end();
        let appended = append.appended(end.walk.position.next());
        let mut command = append.command.as_ref();
        let mut revision = append.expected.first_revision();
        for (event, left) in append.events.iter().zip((0..append.events.len()).rev()) {
            let at = end.next;
            let position = end.walk.position.next();
            let frame = Frame {
                group: self.begin.next.offset,
                epoch: self.epoch,
                back: before.map(|head| head.at).unwrap_or_default(),
                skip: before.map(|head| head.skip).unwrap_or_default(),
                position,
                hash: chain::extend(&end.walk.hash, position, &event.digest),
                left: left as u16,
            };
            let had = self.group.buffer.len();
            let buffer = &mut self.group.buffer;
            record::write(buffer, self.salt, at.offset, &frame, &event.content, command);
            if let Some(key) = command.take() {
                let seen = CommandSeen { stream: append.stream, appended, digest: key.digest };
                self.known.commands.insert(key.id.clone(), seen);
                self.known.entries.note_command(&key.id.0, at);
            }
            before = Some(Head::after(frame.skip, revision, at));
            revision = revision.next();
            end.walk = Walk::after(at, &frame);
            end.next.offset += (self.group.buffer.len() - had) as u32;
        }
        self.known.entries.note_claims(append.stream, &append.claims);
        if let Some(head) = before {
            self.known.entries.note_head(append.stream, head);
        }
        let Walk { position, last: at, hash, .. } = end.walk;
        self.known.entries.reach(Checkpoint { folder: self.folder, position, at, hash });
        self.group.end = Some(end);
        appended
    }
}

/// Bytes of an append on the disk.
fn size(append: &Prepared) -> usize {
    let commands = std::iter::once(append.command.as_ref()).chain(std::iter::repeat(None));
    let sizes = append.events.iter().zip(commands);
    sizes.map(|(event, command)| record::size(event.content.len(), command)).sum()
}

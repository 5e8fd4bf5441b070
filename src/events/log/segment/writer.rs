//! The one writer: drains the queue, writes once, syncs once, answers all (rules L1, L2).
//!
//! It alone decides what is appended: it knows every event before, also those of the same write
//! that are not durable yet. Nobody is answered before everything that the answer rests on is.
//! Not here: finding the end of the log (`recover.rs`).

use std::collections::HashMap;
use std::sync::{Arc, mpsc as signal};
use std::{io, mem, thread};

use tokio::sync::{mpsc, oneshot};

use super::super::admission::Prepared;
use super::super::{AppendError, Appended, CommandSeen, chain};
use super::claim::Claim;
use super::disk::{Disk, is_full, write_all};
use super::file::{Header, Segment};
use super::index::{Checkpoint, Entries, Head};
use super::prepare::{self, Preparer};
use super::record::{self, Frame, Location};
use super::recover::End;
use super::walk::Walk;
use super::{SEGMENT_HEADER_BYTES, Shared};
use crate::ids::CommandId;

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

type Answer = Result<Appended, AppendError>;

/// The state of the writer's thread.
pub struct Writer {
    /// What it shares with readers.
    pub shared: Arc<Shared>,
    /// Where the segments are.
    pub disk: Arc<dyn Disk>,
    /// What is to be appended.
    pub jobs: mpsc::Receiver<Job>,
    /// The durable end of the log.
    pub end: End,
    /// Who this is.
    pub claim: Claim,
    /// Makes the next segment ready.
    pub preparer: Preparer,
    /// Most bytes of a new segment.
    pub segment_bytes: u32,
    /// Tells the indexer that there is much to move.
    pub indexer: signal::SyncSender<()>,
    /// What is being gathered for the next write.
    pub group: Group,
}

/// What is written and synced at once.
#[derive(Default)]
pub struct Group {
    buffer: Vec<u8>,
    /// The end of the log once it is written; none while it is empty.
    end: Option<End>,
    entries: Entries,
    commands: HashMap<CommandId, CommandSeen>,
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

/// Why the writer ends.
struct Failed(String);

/// Why there is no next segment.
enum NoSegment {
    Full(String),
    Failed(Failed),
}

impl Writer {
    /// Serves until nobody can append any more, or until a write or sync fails.
    pub fn run(mut self) {
        self.look_ahead();
        while let Some(job) = self.jobs.blocking_recv() {
            let mut served = self.admit(job);
            while served.is_ok() && self.group.buffer.len() < GROUP_BYTES {
                let Ok(job) = self.jobs.try_recv() else { break };
                served = self.admit(job);
            }
            if let Err(failed) = served.and_then(|()| self.commit()) {
                return self.fail(&failed);
            }
        }
    }

    /// Takes an append into the group, or notes why not.
    fn admit(&mut self, Job { append, reply }: Job) -> Result<(), Failed> {
        let before = match self.check(&append) {
            Ok(before) => before,
            Err(error) => {
                self.group.answers.push((reply, Err(error)));
                return Ok(());
            }
        };
        let commands = std::iter::once(append.command.as_ref()).chain(std::iter::repeat(None));
        let sizes = append.events.iter().zip(commands);
        let bytes = sizes.map(|(event, command)| record::size(event.content.len(), command)).sum();
        if !self.fits(bytes) {
            self.commit()?;
            match self.roll(bytes) {
                Ok(()) => {}
                Err(NoSegment::Full(why)) => {
                    self.shared.health().no_space = Some(why.clone());
                    let _gone = reply.send(Err(AppendError::NoSpace(why)));
                    return Ok(());
                }
                Err(NoSegment::Failed(failed)) => {
                    let _gone = reply.send(Err(AppendError::Closed(failed.0.clone())));
                    return Err(failed);
                }
            }
        }
        let appended = self.stage(&append, before);
        self.group.answers.push((reply, Ok(appended)));
        Ok(())
    }

    /// Whether an append may be recorded, and the end of its stream before it.
    fn check(&self, append: &Prepared) -> Result<Option<Head>, AppendError> {
        let unreadable = |error: &dyn std::fmt::Display| AppendError::Closed(error.to_string());
        if let Some(command) = &append.command {
            if let Some(seen) = self.group.commands.get(&command.id) {
                return Err(AppendError::Seen(*seen));
            }
            if let Some(seen) = self.shared.command(&command.id).map_err(|it| unreadable(&it))? {
                return Err(AppendError::Seen(seen));
            }
        }
        let head = match self.group.entries.head(append.stream) {
            Some(head) => Some(head),
            None => self.shared.index.head(append.stream).map_err(|error| unreadable(&error))?,
        };
        let actual = head.map(|head| head.revision);
        if append.expected.holds(actual) {
            return Ok(head);
        }
        Err(AppendError::Conflict { stream: append.stream, actual })
    }

    fn next(&self) -> End {
        self.group.end.unwrap_or(self.end)
    }

    fn fits(&self, bytes: usize) -> bool {
        let Location { segment, offset } = self.next().next;
        let size = self.shared.segments.get(segment).map_or(0, |it| it.header.size);
        offset as usize + bytes <= size as usize
    }

    /// Encodes an append into the group.
    fn stage(&mut self, append: &Prepared, mut before: Option<Head>) -> Appended {
        let mut end = self.next();
        let appended = append.appended(end.walk.position.next());
        let salt = self.shared.segments.get(end.next.segment).map_or(0, |segment| segment.salt);
        let mut command = append.command.as_ref();
        let mut revision = append.expected.first_revision();
        for (event, left) in append.events.iter().zip((0..append.events.len()).rev()) {
            let at = end.next;
            let position = end.walk.position.next();
            let hash = chain::extend(&end.walk.hash, position, &event.digest);
            let frame = Frame {
                group: self.end.next.offset,
                epoch: self.claim.epoch,
                back: before.map(|head| head.at).unwrap_or_default(),
                skip: before.map(|head| head.skip).unwrap_or_default(),
                position,
                hash,
                left: left as u16,
            };
            let had = self.group.buffer.len();
            record::write(&mut self.group.buffer, salt, at.offset, &frame, &event.content, command);
            if let Some(key) = command.take() {
                let seen = CommandSeen { stream: append.stream, appended, digest: key.digest };
                self.group.commands.insert(key.id.clone(), seen);
                self.group.entries.note_command(&key.id.0, at);
            }
            before = Some(Head::after(before, revision, at));
            revision = revision.next();
            end.walk = Walk::after(at, &frame);
            end.next.offset += (self.group.buffer.len() - had) as u32;
        }
        if let Some(head) = before {
            self.group.entries.note_head(append.stream, head);
        }
        let walk = end.walk;
        let (folder, position, at, hash) = (self.claim.folder, walk.position, walk.last, walk.hash);
        self.group.entries.reach(Checkpoint { folder, position, at, hash });
        self.group.end = Some(end);
        appended
    }

    /// Writes the group, syncs, lets readers see it, answers.
    fn commit(&mut self) -> Result<(), Failed> {
        if let Some(end) = self.group.end {
            let written = self.write();
            written.map_err(|error| Failed(format!("the log could not be written: {error}")))?;
            self.end = end;
            self.group.end = None;
            self.look_ahead();
            let entries = mem::take(&mut self.group.entries);
            if self.shared.index.add(entries) {
                let _already_told = self.indexer.try_send(());
            }
            self.shared.publish(end.walk.position, &self.group.counts());
        }
        self.group.buffer.clear();
        // One large group must not hold its memory for ever.
        self.group.buffer.shrink_to(GROUP_BYTES);
        self.group.commands.clear();
        for (reply, answer) in self.group.answers.drain(..) {
            let _gone = reply.send(answer);
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let Location { segment, offset } = self.end.next;
        let segment = self.shared.segments.get(segment);
        let segment = segment.ok_or_else(|| io::Error::other("the segment is not open"))?;
        write_all(segment.file.as_ref(), &self.group.buffer, u64::from(offset))?;
        segment.file.sync()
    }

    /// Begins the next segment, with room for at least so many bytes.
    fn roll(&mut self, bytes: usize) -> Result<(), NoSegment> {
        let failed = |why: String| NoSegment::Failed(Failed(why));
        let End { walk, next } = self.end;
        match Claim::read(self.disk.as_ref()) {
            Ok(Some(claim)) if claim.epoch != self.claim.epoch => {
                return Err(failed(format!("opening {} of this log writes it now", claim.epoch)));
            }
            _ => {}
        }
        let least = u32::try_from(SEGMENT_HEADER_BYTES + bytes)
            .map_err(|_| failed("an append is larger than any segment".to_owned()))?;
        let no_segment = |error: io::Error| {
            let why = format!("the next segment could not be made: {error}");
            if is_full(&error) { NoSegment::Full(why) } else { failed(why) }
        };
        let size = self.next_size().max(least);
        let (file, size) = self.preparer.take(size).map_err(no_segment)?;
        let header = Header {
            folder: self.claim.folder,
            number: next.segment.saturating_add(1),
            epoch: self.claim.epoch,
            first: walk.position.next(),
            chain: walk.hash,
            last_before: walk.last,
            end_before: next.offset,
            size,
        };
        // From here on it may be there after a restart, so a disk that is full now is no longer
        // something that can be tried again.
        let segment = Segment::create(self.disk.as_ref(), header, file)
            .map_err(|error| failed(format!("segment {}: {error}", header.number)))?;
        self.shared.segments.push(Arc::new(segment));
        let offset = SEGMENT_HEADER_BYTES as u32;
        self.end.next = Location { segment: header.number, offset };
        Ok(())
    }

    fn present_size(&self) -> u32 {
        let present = self.shared.segments.get(self.end.next.segment);
        present.map_or(0, |segment| segment.header.size)
    }

    fn next_size(&self) -> u32 {
        prepare::next_size(self.present_size(), self.segment_bytes)
    }

    /// Has the next segment made ready once the present one is half full.
    fn look_ahead(&mut self) {
        if self.end.next.offset >= self.present_size() / 2 {
            self.preparer.order(self.next_size());
        }
    }

    /// Ends: whoever is in the group cannot know, whoever comes later is told why.
    fn fail(mut self, Failed(why): &Failed) {
        tracing::error!(why, "the log takes no appends any more");
        self.shared.health().failed = Some(why.clone());
        for (reply, _) in self.group.answers.drain(..) {
            let _gone = reply.send(Err(AppendError::OutcomeUnknown(why.clone())));
        }
        self.jobs.close();
        while let Some(Job { reply, .. }) = self.jobs.blocking_recv() {
            let _gone = reply.send(Err(AppendError::Closed(why.clone())));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = "the writer of the log ended by a defect".to_owned();
            self.shared.health().failed.get_or_insert(why);
        }
    }
}

/// What one write acknowledges.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Appends.
    pub appends: u64,
    /// Events.
    pub events: u64,
}

impl Group {
    fn counts(&self) -> Counts {
        let appended = self.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        appended.fold(Counts::default(), |sum, it| Counts {
            appends: sum.appends + 1,
            events: sum.events + it.last.get() + 1 - it.first.get(),
        })
    }
}

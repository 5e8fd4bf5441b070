//! The single writer: takes what was gathered, writes once, syncs once, answers all (rules L1, L2).
//!
//! Not here: what is appended (`stage.rs`), finding the end of the log (`recover.rs`).

use std::sync::{Arc, mpsc as signal};
use std::{io, thread};

use super::super::AppendError;
use super::claim::Claim;
use super::disk::{Disk, write_all};
use super::file::{Header, Segment};
use super::keep;
use super::prepare::{self, Preparer};
use super::record::Location;
use super::stage::{Group, Stage};
use super::walk::LogEnd;
use super::{SEGMENT_HEADER_BYTES, Shared};
use crate::files::{is_full, lacks_files};

/// How often the writer looks for the next append before it sleeps: a caller that was just answered
/// often has one more within some tens of microseconds, and waking up takes as long. Whatever else
/// wants to run runs in between.
const YIELDS: usize = 100;

/// The state of the writer's thread.
pub struct Writer {
    /// What it shares with readers.
    pub shared: Arc<Shared>,
    /// Where appends are gathered.
    pub stage: Arc<Stage>,
    /// Where the segments are.
    pub disk: Arc<dyn Disk>,
    /// The durable end of the log.
    pub end: LogEnd,
    /// Who this is.
    pub claim: Claim,
    /// Makes the next segment ready.
    pub preparer: Preparer,
    /// Most bytes of a new segment.
    pub segment_bytes: u32,
    /// Tells the indexer that there is much to move.
    pub indexer: signal::SyncSender<()>,
    /// A group that was answered, whose memory the next one takes over.
    pub empty: Group,
}

/// Why the writer ends.
struct Failed(String);

/// Why there is no next segment.
enum NoSegment {
    /// That passes: it is tried again with the next append.
    Passing(AppendError),
    Failed(Failed),
}

impl Writer {
    /// Serves until the log is closed, or until a write or sync fails.
    pub fn run(mut self) {
        self.look_ahead();
        while self.turn(true) {}
    }

    /// Writes one group, which it may wait for, and answers; false where there was none.
    pub fn turn(&mut self, waits: bool) -> bool {
        let mut group = match self.gather(waits) {
            Ok(Some(group)) => group,
            Ok(None) => return false,
            Err(Failed(why)) => {
                self.shared.fail(&self.stage, &why);
                return false;
            }
        };
        if let Err(Failed(why)) = self.commit(&group) {
            self.shared.fail(&self.stage, &why);
            group.unknown(&why);
            return false;
        }
        group.answer();
        self.empty = group;
        true
    }

    /// What was gathered for the next write; none once the log is closed, or where there is
    /// nothing and it is not to be waited for.
    fn gather(&mut self, waits: bool) -> Result<Option<Group>, Failed> {
        let mut yields = 0;
        loop {
            let stage = Arc::clone(&self.stage);
            let mut state = stage.state();
            let needed = state.admit(&self.shared);
            if let Some(group) = state.take(&mut self.empty) {
                return Ok(Some(group));
            }
            if let Some(bytes) = needed {
                drop(state);
                self.make_room(bytes)?;
            } else if state.closed.is_some() || !waits {
                return Ok(None);
            } else if yields < YIELDS {
                drop(state);
                yields += 1;
                thread::yield_now();
            } else {
                stage.sleep(state);
            }
        }
    }

    /// Begins the next segment for the append that is to come next, or refuses that append.
    fn make_room(&mut self, bytes: usize) -> Result<(), Failed> {
        match self.roll(bytes) {
            Ok(segment) => {
                let Header { number, size, .. } = segment.header;
                let next = Location { segment: number, offset: SEGMENT_HEADER_BYTES as u32 };
                self.end.next = next;
                self.stage.state().begin_segment(next, size, segment.salt);
                Ok(())
            }
            Err(NoSegment::Passing(error)) => {
                self.shared.health().no_space = Some(error.to_string());
                self.stage.state().refuse_next(error);
                Ok(())
            }
            Err(NoSegment::Failed(failed)) => Err(failed),
        }
    }

    /// Writes the group, syncs, lets readers see it.
    fn commit(&mut self, group: &Group) -> Result<(), Failed> {
        let Some(end) = group.end else { return Ok(()) };
        self.write(&group.buffer)
            .map_err(|error| Failed(format!("the log could not be written: {error}")))?;
        let last = self.shared.segments.get(self.end.next.segment);
        let why = last.and_then(|last| keep::lost(self.disk.as_ref(), &last, &self.claim));
        if let Some(why) = why {
            return Err(Failed(why));
        }
        self.end = end;
        self.look_ahead();
        if self.shared.index.add(&group.known.entries) {
            let _already_told = self.indexer.try_send(());
        }
        self.shared.publish(end.walk.position, &Counts::of(group));
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let Location { segment, offset } = self.end.next;
        let segment = self.shared.segments.get(segment);
        let segment = segment.ok_or_else(|| io::Error::other("the segment is not open"))?;
        write_all(segment.file.as_ref(), bytes, u64::from(offset))?;
        segment.file.sync()
    }

    /// Begins the next segment, with room for at least this many bytes.
    fn roll(&mut self, bytes: usize) -> Result<Arc<Segment>, NoSegment> {
        let failed = |why: String| NoSegment::Failed(Failed(why));
        let LogEnd { walk, next } = self.end;
        let no_segment = |error: io::Error| {
            let why = format!("the next segment could not be created: {error}");
            match error {
                error if is_full(&error) => NoSegment::Passing(AppendError::NoSpace(why)),
                error if lacks_files(&error) => NoSegment::Passing(AppendError::NoFiles(why)),
                _ => failed(why),
            }
        };
        match Claim::read(self.disk.as_ref()) {
            Ok(Some(claim)) if claim.epoch != self.claim.epoch => {
                return Err(failed(format!("epoch {} of this log writes it now", claim.epoch)));
            }
            Err(error) if lacks_files(&error) => return Err(no_segment(error)),
            _ => {}
        }
        let least = u32::try_from(SEGMENT_HEADER_BYTES + bytes)
            .map_err(|_| failed("an append is larger than any segment".to_owned()))?;
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
            remains: None,
        };
        // From here on it may be there after a restart, so a disk that is full now is no longer
        // something that can be tried again.
        let segment = Segment::create(self.disk.as_ref(), header, file)
            .map_err(|error| failed(format!("segment {}: {error}", header.number)))?;
        let segment = Arc::new(segment);
        self.shared.segments.push(Arc::clone(&segment));
        Ok(segment)
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
}

impl Drop for Writer {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = "the writer of the log panicked";
            self.shared.health().failed.get_or_insert_with(|| why.to_owned());
            self.stage.fail(why);
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

impl Counts {
    fn of(group: &Group) -> Self {
        let appended = group.answers.iter().filter_map(|(_, answer)| answer.as_ref().ok());
        appended.fold(Self::default(), |sum, it| Self {
            appends: sum.appends + 1,
            events: sum.events + it.last.get() + 1 - it.first.get(),
        })
    }
}

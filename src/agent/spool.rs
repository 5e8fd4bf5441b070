//! What commands wrote, kept in memory for an hour after their end, for readers that come late or
//! were disconnected. Bounded for each command, for each project and in total: the output of the
//! command that ended first makes room.
//!
//! Not here: the output on its way to the reader who asked for the command (`bus/output`). None of
//! it is in the log, and none of it survives the agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backends::{BackendError, OutputFrame, OutputStream};
use crate::bus::Frames;
use crate::ids::{ProjectId, StreamId, WorkId};

/// Largest piece that is kept, and sent, as one: that of a frame.
const PIECE_BYTES: usize = 64 << 10;

/// What a command costs besides its output: a few keys, a channel, and what the map needs.
const EXECUTION_COST: usize = 4 << 10;

/// What a piece costs besides its bytes. Output that changes between both sides has small ones.
const PIECE_COST: usize = 64;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
struct SpoolLimits {
    /// Bytes of one command: as many as one response may have.
    execution_bytes: usize,
    /// Bytes of all commands of a project: four of the largest outputs.
    project_bytes: usize,
    /// Bytes of all commands on the node: those of two projects.
    total_bytes: usize,
    /// How long after the command's end.
    kept_for: Duration,
}

impl Default for SpoolLimits {
    fn default() -> Self {
        Self {
            execution_bytes: 16 << 20,
            project_bytes: 64 << 20,
            total_bytes: 128 << 20,
            kept_for: Duration::from_secs(3600),
        }
    }
}

/// The outputs that a node keeps. Cheap to clone.
#[derive(Clone, Default)]
pub struct Spool {
    limits: SpoolLimits,
    kept: Arc<Mutex<Outputs>>,
}

/// All outputs, and what they take of the limits.
#[derive(Default)]
struct Outputs {
    outputs: HashMap<WorkId, Output>,
    total_cost: usize,
    project_costs: HashMap<ProjectId, usize>,
}

impl Outputs {
    fn cost_of(&self, project: &ProjectId) -> usize {
        self.project_costs.get(project).copied().unwrap_or_default()
    }

    fn add_cost(&mut self, id: WorkId, cost: usize) {
        let Some(output) = self.outputs.get_mut(&id) else { return };
        output.cost += cost;
        self.total_cost += cost;
        *self.project_costs.entry(output.project.clone()).or_default() += cost;
    }

    fn remove(&mut self, id: WorkId) {
        let Some(output) = self.outputs.remove(&id) else { return };
        self.total_cost = self.total_cost.saturating_sub(output.cost);
        let left = self.cost_of(&output.project).saturating_sub(output.cost);
        if left == 0 {
            self.project_costs.remove(&output.project);
        } else {
            self.project_costs.insert(output.project, left);
        }
    }

    fn remove_if(&mut self, is_over: impl Fn(&Output) -> bool) {
        let over = self.outputs.iter().filter(|(_, output)| is_over(output));
        let over: Vec<WorkId> = over.map(|(id, _)| *id).collect();
        over.into_iter().for_each(|id| self.remove(id));
    }
}

/// The output of one command.
struct Output {
    stream: StreamId,
    project: ProjectId,
    pieces: Vec<(OutputStream, Vec<u8>)>,
    /// Bytes of output that are kept.
    bytes: usize,
    /// What it takes of the limits.
    cost: usize,
    /// Whether there was more than is kept.
    is_cut: bool,
    ended_at: Option<Instant>,
    changed: watch::Sender<()>,
}

impl Output {
    fn is_expired(&self, kept_for: Duration) -> bool {
        self.ended_at.is_some_and(|ended| ended.elapsed() >= kept_for)
    }

    fn push(&mut self, stream: OutputStream, mut data: &[u8]) {
        while !data.is_empty() {
            match self.pieces.last_mut() {
                Some((last, piece)) if *last == stream && piece.len() < PIECE_BYTES => {
                    let room = data.len().min(PIECE_BYTES - piece.len());
                    let (now, later) = data.split_at(room);
                    piece.extend_from_slice(now);
                    data = later;
                }
                _ => self.pieces.push((stream, Vec::new())),
            }
        }
    }

    /// What it costs to keep more.
    fn cost_of(&self, stream: OutputStream, bytes: usize) -> usize {
        let goes_on = self.pieces.last().is_some_and(|(last, _)| *last == stream);
        let pieces = bytes / PIECE_BYTES + 1 + usize::from(!goes_on);
        bytes.saturating_add(pieces * PIECE_COST)
    }
}

/// Where a reader is, and what there is for it.
enum NextPiece {
    Frame(OutputFrame),
    Wait(watch::Receiver<()>),
    End,
    Cut(usize),
    Gone,
}

impl Spool {
    /// Starts to keep what a command writes, until the writer is dropped.
    pub fn begin(&self, id: WorkId, stream: StreamId, project: ProjectId) -> SpoolWriter {
        let output = Output {
            stream,
            project,
            pieces: Vec::new(),
            bytes: 0,
            cost: 0,
            is_cut: false,
            ended_at: None,
            changed: watch::Sender::new(()),
        };
        let mut kept = self.lock();
        kept.remove(id);
        kept.outputs.insert(id, output);
        if !self.grow(&mut kept, id, EXECUTION_COST) {
            kept.remove(id);
        }
        drop(kept);
        SpoolWriter { spool: self.clone(), id }
    }

    /// What a command of a container wrote, from the start; with `follow` until it has ended, else
    /// what there is now. An error at the end says that it is not all.
    ///
    /// # Errors
    /// [`BackendError::Missing`] when nothing is kept of it.
    pub fn read(
        &self,
        id: WorkId,
        container: StreamId,
        follow: bool,
    ) -> Result<Frames, BackendError> {
        let is_kept = |output: &&Output| output.stream == container;
        if self.lock().outputs.get(&id).filter(is_kept).is_none() {
            return Err(gone());
        }
        let spool = self.clone();
        let frames = stream::unfold(Some((0, 0)), move |place| {
            let spool = spool.clone();
            async move {
                let mut place = place?;
                loop {
                    let mut changed = match spool.next(id, &mut place, follow) {
                        NextPiece::Frame(frame) => return Some((Ok(frame), Some(place))),
                        NextPiece::End => return None,
                        NextPiece::Cut(bytes) => return Some((Err(cut(bytes)), None)),
                        NextPiece::Gone => return Some((Err(gone()), None)),
                        NextPiece::Wait(changed) => changed,
                    };
                    // A closed channel belongs to an output that is gone, as the next look shows.
                    let _is_closed = changed.changed().await.is_err();
                }
            }
        });
        Ok(frames.boxed())
    }

    /// Forgets what has been kept for long enough.
    pub fn expire(&self) {
        let kept_for = self.limits.kept_for;
        self.lock().remove_if(|output| output.is_expired(kept_for));
    }

    /// Forgets what the commands of a container wrote.
    pub fn forget_container(&self, container: StreamId) {
        self.lock().remove_if(|output| output.stream == container);
    }

    /// Forgets what the commands of a project wrote.
    pub fn forget_project(&self, project: &ProjectId) {
        self.lock().remove_if(|output| output.project == *project);
    }

    fn next(&self, id: WorkId, place: &mut (usize, usize), follow: bool) -> NextPiece {
        let kept = self.lock();
        let output = kept.outputs.get(&id).filter(|it| !it.is_expired(self.limits.kept_for));
        let Some(output) = output else { return NextPiece::Gone };
        while let Some((stream, piece)) = output.pieces.get(place.0) {
            let rest = piece.get(place.1..).unwrap_or_default();
            if !rest.is_empty() {
                place.1 = piece.len();
                let data = Bytes::copy_from_slice(rest);
                return NextPiece::Frame(OutputFrame { stream: *stream, data });
            }
            if place.0 + 1 >= output.pieces.len() {
                break;
            }
            *place = (place.0 + 1, 0);
        }
        if output.is_cut {
            NextPiece::Cut(output.bytes)
        } else if follow && output.ended_at.is_none() {
            NextPiece::Wait(output.changed.subscribe())
        } else {
            NextPiece::End
        }
    }

    /// Has a command take more of the limits; whether there is room.
    fn grow(&self, kept: &mut Outputs, id: WorkId, cost: usize) -> bool {
        let project = kept.outputs.get(&id).map(|output| output.project.clone());
        let Some(project) = project else { return false };
        let SpoolLimits { project_bytes, total_bytes, .. } = self.limits;
        loop {
            let is_over = kept.cost_of(&project).saturating_add(cost) > project_bytes;
            if !is_over && kept.total_cost.saturating_add(cost) <= total_bytes {
                kept.add_cost(id, cost);
                return true;
            }
            let outputs = kept.outputs.iter();
            let ended = outputs
                .filter(|(_, output)| !is_over || output.project == project)
                .filter_map(|(id, output)| Some((output.ended_at?, *id)));
            let Some((_, first)) = ended.min_by_key(|(ended_at, _)| *ended_at) else {
                return false;
            };
            kept.remove(first);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outputs> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> BackendError {
    BackendError::Missing("the output of this command is not kept any more".to_owned())
}

fn cut(bytes: usize) -> BackendError {
    BackendError::Failed(format!("only the first {bytes} bytes of the output were kept"))
}

/// Keeps what one command writes, while it runs.
pub struct SpoolWriter {
    spool: Spool,
    id: WorkId,
}

impl SpoolWriter {
    /// Keeps a frame, as much of it as there is room for.
    pub fn push(&self, frame: &OutputFrame) {
        let mut kept = self.spool.lock();
        let Some(output) = kept.outputs.get(&self.id).filter(|it| !it.is_cut) else { return };
        let room = self.spool.limits.execution_bytes.saturating_sub(output.bytes);
        let data = frame.data.get(..room.min(frame.data.len())).unwrap_or_default();
        let cost = output.cost_of(frame.stream, data.len());
        let has_room = self.spool.grow(&mut kept, self.id, cost);
        let Some(output) = kept.outputs.get_mut(&self.id) else { return };
        if has_room {
            output.push(frame.stream, data);
            output.bytes += data.len();
        }
        output.is_cut = !has_room || data.len() < frame.data.len();
        output.changed.send_replace(());
    }
}

impl Drop for SpoolWriter {
    fn drop(&mut self) {
        if let Some(output) = self.spool.lock().outputs.get_mut(&self.id) {
            output.ended_at = Some(Instant::now());
            output.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::Kind;

    fn spool(limits: SpoolLimits) -> (Spool, StreamId) {
        (
            Spool { limits, ..Spool::default() },
            StreamId::new(Kind::Container, clock::new_object_id()),
        )
    }

    fn project(name: &str) -> ProjectId {
        ProjectId(name.to_owned())
    }

    fn frame(stream: OutputStream, data: &[u8]) -> OutputFrame {
        OutputFrame { stream, data: Bytes::copy_from_slice(data) }
    }

    /// What is read: both outputs, and the error at the end.
    async fn read(frames: Frames) -> (Vec<u8>, Vec<u8>, Option<BackendError>) {
        let (mut out, mut err, mut end) = (Vec::new(), Vec::new(), None);
        for frame in frames.collect::<Vec<_>>().await {
            match frame {
                Ok(OutputFrame { stream: OutputStream::Stdout, data }) => out.extend(data),
                Ok(OutputFrame { stream: OutputStream::Stderr, data }) => err.extend(data),
                Err(error) => end = Some(error),
            }
        }
        (out, err, end)
    }

    #[tokio::test]
    async fn a_follower_gets_what_was_written_before_and_after_it_came() {
        let (spool, container) = spool(SpoolLimits::default());
        let id = clock::new_event_id();
        let writer = spool.begin(id, container, project("p"));
        let all: Vec<u8> = (0..=255).cycle().take(3 * PIECE_BYTES).collect();
        let (before, after) = all.split_at(PIECE_BYTES + 7);
        writer.push(&frame(OutputStream::Stdout, before));
        let now = read(spool.read(id, container, false).unwrap()).await;
        assert_eq!(now, (before.to_vec(), vec![], None));
        let follower = tokio::spawn(read(spool.read(id, container, true).unwrap()));
        tokio::task::yield_now().await;
        for piece in after.chunks(1000) {
            writer.push(&frame(OutputStream::Stderr, b"e"));
            writer.push(&frame(OutputStream::Stdout, piece));
            tokio::task::yield_now().await;
        }
        drop(writer);
        let errors = vec![b'e'; after.len().div_ceil(1000)];
        assert_eq!(follower.await.unwrap(), (all.clone(), errors.clone(), None));
        assert_eq!(read(spool.read(id, container, true).unwrap()).await, (all, errors, None));
        // By its container only.
        let other = StreamId::new(Kind::Container, clock::new_object_id());
        assert!(matches!(spool.read(id, other, true), Err(BackendError::Missing(_))));
    }

    #[tokio::test]
    async fn what_is_too_much_is_cut_and_said_so() {
        let (spool, container) =
            spool(SpoolLimits { execution_bytes: 10, ..SpoolLimits::default() });
        let id = clock::new_event_id();
        let writer = spool.begin(id, container, project("p"));
        writer.push(&frame(OutputStream::Stdout, b"0123456"));
        writer.push(&frame(OutputStream::Stdout, b"789abc"));
        writer.push(&frame(OutputStream::Stdout, b"def"));
        let (out, _, end) = read(spool.read(id, container, true).unwrap()).await;
        assert_eq!(out, b"0123456789");
        assert_eq!(end, Some(cut(10)));
    }

    #[tokio::test]
    async fn the_first_that_ended_makes_room_and_one_project_leaves_some() {
        let half = 1 << 20;
        let limits = SpoolLimits {
            execution_bytes: half,
            project_bytes: 2 * half,
            total_bytes: 3 * half,
            ..SpoolLimits::default()
        };
        let (spool, container) = spool(limits);
        let ids: Vec<_> = (0..4).map(|_| clock::new_event_id()).collect();
        let data = vec![b'x'; half * 9 / 10];
        let write = |number: usize, name: &str| {
            let writer = spool.begin(ids[number], container, project(name));
            writer.push(&frame(OutputStream::Stdout, &data));
            writer
        };
        let is_kept = |number: usize| spool.read(ids[number], container, false).is_ok();
        drop(write(0, "a"));
        drop(write(1, "b"));
        let _running = write(2, "a");
        assert!(is_kept(0) && is_kept(1) && is_kept(2));
        // The project's own makes room, not the other one's.
        let _another = write(3, "a");
        assert!(!is_kept(0) && is_kept(1) && is_kept(2) && is_kept(3));
        spool.forget_project(&project("b"));
        assert!(!is_kept(1) && is_kept(2));
        spool.forget_container(container);
        assert!(!is_kept(2) && !is_kept(3));
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_kept_for_an_hour_after_the_end() {
        let (spool, container) = spool(SpoolLimits::default());
        let id = clock::new_event_id();
        let writer = spool.begin(id, container, project("p"));
        tokio::time::advance(Duration::from_secs(7200)).await;
        drop(writer);
        tokio::time::advance(Duration::from_secs(3599)).await;
        spool.expire();
        let frames = spool.read(id, container, false).unwrap();
        assert_eq!(read(frames).await, (vec![], vec![], None));
        tokio::time::advance(Duration::from_secs(1)).await;
        let late = spool.read(id, container, false).unwrap();
        assert_eq!(read(late).await.2, Some(gone()));
        spool.expire();
        assert!(matches!(spool.read(id, container, false), Err(BackendError::Missing(_))));
    }
}

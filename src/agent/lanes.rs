//! One lane for each object, so that nothing overtakes within it but a delete; and the memory of
//! what was begun (rule W8).
//!
//! Pure: says what is to be started now. Not here: doing it (`node`).

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::sync::watch;

use crate::backends::{Action, Exec, Load, Order, Work};
use crate::bus::Offer;
use crate::ids::{Revision, StreamId, WorkId};

/// Attempts that are remembered after their end: what a node does in minutes, while an offer that
/// comes late or twice is seconds old.
const MAX_REMEMBERED: usize = 65_536;

/// Something to do for one object.
#[derive(Debug)]
pub enum Job {
    /// An attempt at work.
    Work(Box<Offer>),
    /// Its container is to be held against the record.
    Inspect,
}

impl Job {
    /// Whether it waits for a process to end.
    fn waits(&self) -> bool {
        matches!(self, Self::Work(offer) if offer.work.action.traits().load == Load::Wait)
    }
}

/// How much a job is still wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// It is.
    Yes,
    /// Not if it has not begun: what ends it when it has is work of its own.
    IfBegun,
    /// Not at all: it ends early (rule W5).
    No,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Its work is to be attempted again, or it was no work.
    Open,
    /// Its work is over, and not done.
    Over,
    /// Its work is done.
    Done,
}

/// A job whose turn it is.
#[derive(Debug)]
pub struct Turn {
    /// Its object.
    pub stream: StreamId,
    /// What to do.
    pub job: Job,
    /// How much it is still wanted.
    pub wanted: watch::Receiver<Wanted>,
}

/// What is in progress.
#[derive(Debug)]
struct UnderWay {
    work: Option<WorkId>,
    is_delete: bool,
    /// For a process to end.
    waits: bool,
    wanted: watch::Sender<Wanted>,
}

#[derive(Debug, Default)]
struct Lane {
    running: Option<UnderWay>,
    queue: VecDeque<Job>,
    /// Commands in the container, which may take forever.
    beside: Vec<UnderWay>,
}

/// The lanes of a node.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: HashMap<StreamId, Lane>,
    begun: Begun,
    /// What was deleted lately: the engine's notices of that say nothing more.
    deleted: HashSet<StreamId>,
}

/// The last attempt at each piece of work that was taken.
#[derive(Debug, Default)]
struct Begun {
    attempts: HashMap<WorkId, u32>,
    order: VecDeque<WorkId>,
    /// The newest revision of each object that something was offered at.
    revisions: HashMap<StreamId, Revision>,
}

impl Begun {
    /// Whether a newer offer for the object overtook this one on the way: what it is for may have
    /// been cancelled, or be gone.
    fn is_outdated(&mut self, offer: &Offer) -> bool {
        let newest = self.revisions.entry(offer.work.stream).or_insert(offer.revision);
        *newest = offer.revision.max(*newest);
        offer.revision < *newest
    }

    /// Whether this attempt is new; it is not from now on.
    fn is_new(&mut self, work: &Work) -> bool {
        match self.attempts.insert(work.id, work.attempt) {
            Some(before) if before >= work.attempt => {
                self.attempts.insert(work.id, before);
                false
            }
            Some(_) => true,
            None => {
                self.order.push_back(work.id);
                true
            }
        }
    }

    /// Forgets the oldest of too many, but none that is still there.
    fn trim(&mut self, held: impl Fn() -> HashSet<WorkId>) {
        if self.order.len() <= MAX_REMEMBERED {
            return;
        }
        let held = held();
        let (old, kept) = (self.order.len() / 2, std::mem::take(&mut self.order));
        for (place, id) in kept.into_iter().enumerate() {
            if place >= old || held.contains(&id) {
                self.order.push_back(id);
            } else {
                self.attempts.remove(&id);
            }
        }
    }
}

impl Lanes {
    /// Takes an offer; the job if it is its turn. One that was taken before changes nothing.
    pub fn offer(&mut self, offer: Offer) -> Option<Turn> {
        if self.begun.is_outdated(&offer) || !self.begun.is_new(&offer.work) {
            return None;
        }
        let lanes = &self.lanes;
        if self.begun.revisions.len() > MAX_REMEMBERED {
            let stream = offer.work.stream;
            self.begun.revisions.retain(|known, _| *known == stream || lanes.contains_key(known));
        }
        self.begun.trim(|| lanes.values().flat_map(Lane::works).collect());
        let stream = offer.work.stream;
        self.deleted.remove(&stream);
        let lane = self.lanes.entry(stream).or_default();
        if let Action::Exec(Exec::End { execution_id }) = &offer.work.action {
            lane.hold_back(*execution_id);
        }
        if lane.is_beside(offer.work.action.traits().order) {
            let (running, turn) = begin(stream, Job::Work(Box::new(offer)));
            lane.beside.push(running);
            return Some(turn);
        }
        if offer.work.action.traits().order == Order::Overtakes {
            lane.overtake();
        }
        // A new attempt takes the place of one that has not begun.
        lane.drop_queued(offer.work.id);
        lane.queue.push_back(Job::Work(Box::new(offer)));
        self.next(stream)
    }

    /// Has an object inspected; the job if it is its turn.
    pub fn inspect(&mut self, stream: StreamId) -> Option<Turn> {
        if self.deleted.contains(&stream) {
            return None;
        }
        let lane = self.lanes.entry(stream).or_default();
        if !matches!(lane.queue.back(), Some(Job::Inspect)) {
            lane.queue.push_back(Job::Inspect);
        }
        self.next(stream)
    }

    /// The job of a lane ended, or a command beside it; the next job if there is one. Work that is
    /// over is not attempted again.
    pub fn ended(
        &mut self,
        stream: StreamId,
        work: Option<WorkId>,
        end: AttemptEnd,
    ) -> Option<Turn> {
        let lane = self.lanes.get_mut(&stream)?;
        // Only one of them: the next attempt at the same work may have begun.
        match lane.beside.iter().position(|running| running.work == work) {
            Some(place) => drop(lane.beside.remove(place)),
            None => {
                let ended = lane.running.take();
                if end == AttemptEnd::Done && ended.is_some_and(|ended| ended.is_delete) {
                    lane.queue.retain(|job| !matches!(job, Job::Inspect));
                    if self.deleted.len() >= MAX_REMEMBERED {
                        self.deleted.clear();
                    }
                    self.deleted.insert(stream);
                }
            }
        }
        if let Some(work) = work.filter(|_| end != AttemptEnd::Open) {
            lane.drop_queued(work);
        }
        self.next(stream)
    }

    /// Work that is in progress or waits.
    pub fn held(&self) -> Vec<WorkId> {
        self.lanes.values().flat_map(Lane::works).collect()
    }

    /// Objects whose turn work has now, but for commands beside it.
    pub fn at_work(&self) -> Vec<StreamId> {
        let works = |lane: &Lane| lane.running.as_ref().is_some_and(|job| job.work.is_some());
        let at_work = self.lanes.iter().filter(|(_, lane)| works(lane));
        at_work.map(|(stream, _)| *stream).collect()
    }

    fn next(&mut self, stream: StreamId) -> Option<Turn> {
        let lane = self.lanes.get_mut(&stream)?;
        if lane.running.is_some() {
            return None;
        }
        let Some(job) = lane.queue.pop_front() else {
            if lane.beside.is_empty() {
                self.lanes.remove(&stream);
            }
            return None;
        };
        let (running, turn) = begin(stream, job);
        lane.running = Some(running);
        Some(turn)
    }
}

impl Lane {
    /// Whether work of this order does not queue here now.
    fn is_beside(&self, order: Order) -> bool {
        // An inspection may be before it.
        let queued = || self.queue.iter().any(Job::waits);
        let waits = || self.running.as_ref().is_some_and(|running| running.waits) || queued();
        order == Order::Beside || (order == Order::PastWaits && waits())
    }

    /// Makes way for a delete: what waits is dropped, what is in progress is not wanted any more.
    fn overtake(&mut self) {
        self.queue.clear();
        let under_way = self.running.iter().filter(|running| !running.is_delete);
        for running in under_way.chain(&self.beside) {
            running.wanted.send_replace(Wanted::No);
        }
    }

    /// A command beside does not begin any more.
    fn hold_back(&self, work: WorkId) {
        for running in self.beside.iter().filter(|running| running.work == Some(work)) {
            running.wanted.send_if_modified(|wanted| {
                *wanted = Wanted::IfBegun.max(*wanted);
                true
            });
        }
    }

    fn drop_queued(&mut self, work: WorkId) {
        self.queue.retain(|job| !matches!(job, Job::Work(offer) if offer.work.id == work));
    }

    fn works(&self) -> impl Iterator<Item = WorkId> {
        let queued = self.queue.iter().filter_map(|job| match job {
            Job::Work(offer) => Some(offer.work.id),
            Job::Inspect => None,
        });
        let under_way = self.running.iter().chain(&self.beside).filter_map(|it| it.work);
        queued.chain(under_way)
    }
}

fn begin(stream: StreamId, job: Job) -> (UnderWay, Turn) {
    let (sender, wanted) = watch::channel(Wanted::Yes);
    let work = match &job {
        Job::Work(offer) => Some(&offer.work),
        Job::Inspect => None,
    };
    let is_delete = work.is_some_and(|work| work.action.traits().order == Order::Overtakes);
    let waits = job.waits();
    let running = UnderWay { work: work.map(|work| work.id), is_delete, waits, wanted: sender };
    (running, Turn { stream, job, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Desired, Operation, Removed};
    use crate::bus::SessionId;
    use crate::ids::{EventId, Kind, ObjectId, ProjectId};

    fn stream() -> StreamId {
        StreamId::new(Kind::Container, ObjectId::default())
    }

    fn offer(number: u128, attempt: u32, action: Action) -> Offer {
        let work = Work {
            id: EventId(uuid::Uuid::from_u128(number)),
            attempt,
            not_before: None,
            due_at: None,
            stream: stream(),
            project: ProjectId::default(),
            node_id: ObjectId::default(),
            request_id: String::new(),
            action,
        };
        Offer { work, revision: Revision(0), session: SessionId::default(), reply_to: None }
    }

    fn id(turn: &Turn) -> Option<WorkId> {
        match &turn.job {
            Job::Work(offer) => Some(offer.work.id),
            Job::Inspect => None,
        }
    }

    #[test]
    fn w8_an_attempt_is_taken_once() {
        let mut lanes = Lanes::default();
        let first = lanes.offer(offer(1, 1, Action::Do(Operation::Start))).unwrap();
        assert!(lanes.offer(offer(1, 1, Action::Do(Operation::Start))).is_none());
        assert!(lanes.ended(stream(), id(&first), AttemptEnd::Done).is_none());
        assert!(lanes.offer(offer(1, 1, Action::Do(Operation::Start))).is_none(), "late");
        assert!(lanes.held().is_empty());
        assert!(lanes.offer(offer(1, 3, Action::Do(Operation::Start))).is_some());
        assert!(lanes.offer(offer(1, 2, Action::Do(Operation::Start))).is_none(), "later still");
    }

    #[test]
    fn a_delete_drops_what_waits_and_cancels_what_is_under_way() {
        let mut lanes = Lanes::default();
        let first = lanes.offer(offer(1, 1, Action::Do(Operation::Start))).unwrap();
        assert!(lanes.offer(offer(2, 1, Action::Do(Operation::Pause))).is_none());
        let command = Action::Exec(Exec::Start { command: vec![] });
        let beside = lanes.offer(offer(3, 1, command)).unwrap();
        assert!(lanes.offer(offer(4, 1, Action::Remove(Removed::Container))).is_none(), "it waits");
        assert_eq!((*first.wanted.borrow(), *beside.wanted.borrow()), (Wanted::No, Wanted::No));
        assert!(lanes.ended(stream(), id(&beside), AttemptEnd::Done).is_none());
        let next = lanes.ended(stream(), id(&first), AttemptEnd::Done).unwrap();
        assert_eq!(id(&next), Some(EventId(uuid::Uuid::from_u128(4))));
        assert!(lanes.offer(offer(4, 2, Action::Remove(Removed::Container))).is_none());
        assert_eq!(*next.wanted.borrow(), Wanted::Yes, "by its own next attempt");
        assert!(
            lanes.ended(stream(), id(&next), AttemptEnd::Done).is_none(),
            "nor is it done twice"
        );
        assert!(lanes.inspect(stream()).is_none(), "nor is what is gone looked at");
        assert!(lanes.lanes.is_empty());
    }

    #[test]
    fn w5_what_a_delete_overtook_on_the_way_is_not_done_after_it() {
        let mut lanes = Lanes::default();
        let late = offer(1, 1, Action::Apply(Desired::Network));
        let delete =
            Offer { revision: Revision(1), ..offer(2, 1, Action::Remove(Removed::Network)) };
        let turn = lanes.offer(delete).unwrap();
        assert!(lanes.offer(late.clone()).is_none(), "not behind it");
        assert!(lanes.ended(stream(), id(&turn), AttemptEnd::Done).is_none());
        assert!(lanes.offer(late.clone()).is_none(), "nor once it is done");
        assert!(lanes.held().is_empty());
        assert!(lanes.offer(Offer { revision: Revision(3), ..late }).is_some(), "but made again");
    }

    #[test]
    fn commands_hold_nothing_back() {
        let mut lanes = Lanes::default();
        for number in 1..100 {
            let command = Action::Exec(Exec::Start { command: vec![] });
            assert!(lanes.offer(offer(number, 1, command)).is_some());
        }
        let stop = lanes.offer(offer(200, 1, Action::Do(Operation::Stop { grace_s: 10 })));
        assert!(stop.is_some());
        assert_eq!(lanes.held().len(), 100);
    }

    #[test]
    fn a_signal_passes_a_stop_and_queues_behind_anything_else() {
        let kill =
            |number| offer(number, 1, Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() }));
        for waits in [Operation::Stop { grace_s: 3600 }, Operation::Reboot { grace_s: 3600 }] {
            let mut lanes = Lanes::default();
            let waiting = lanes.offer(offer(1, 1, Action::Do(waits))).unwrap();
            let passed = lanes.offer(kill(2)).unwrap();
            assert!(lanes.ended(stream(), id(&passed), AttemptEnd::Done).is_none());
            assert_eq!(lanes.held(), [EventId(uuid::Uuid::from_u128(1))], "it goes on");
            assert!(lanes.ended(stream(), id(&waiting), AttemptEnd::Done).is_none());
            assert!(lanes.lanes.is_empty());
        }
        let mut lanes = Lanes::default();
        assert!(lanes.inspect(stream()).is_some());
        assert!(lanes.offer(offer(1, 1, Action::Do(Operation::Stop { grace_s: 1 }))).is_none());
        assert!(lanes.offer(kill(2)).is_some(), "behind an inspection, the stop waits as well");
        let mut lanes = Lanes::default();
        let start = lanes.offer(offer(1, 1, Action::Do(Operation::Start))).unwrap();
        assert!(lanes.offer(kill(2)).is_none());
        assert!(lanes.ended(stream(), id(&start), AttemptEnd::Done).is_some());
    }

    #[test]
    fn one_command_is_ended_and_no_other() {
        let mut lanes = Lanes::default();
        let command = || Action::Exec(Exec::Start { command: vec![] });
        let first = lanes.offer(offer(1, 1, command())).unwrap();
        let second = lanes.offer(offer(2, 1, command())).unwrap();
        let execution_id = EventId(uuid::Uuid::from_u128(2));
        assert!(lanes.offer(offer(3, 1, Action::Exec(Exec::End { execution_id }))).is_some());
        let wanted = (*first.wanted.borrow(), *second.wanted.borrow());
        assert_eq!(wanted, (Wanted::Yes, Wanted::IfBegun));
    }

    #[test]
    fn an_attempt_beside_ends_no_other() {
        let mut lanes = Lanes::default();
        let end = |attempt| {
            let execution_id = EventId(uuid::Uuid::from_u128(2));
            offer(3, attempt, Action::Exec(Exec::End { execution_id }))
        };
        let stop = lanes.offer(offer(1, 1, Action::Do(Operation::Stop { grace_s: 10 }))).unwrap();
        let ends = [1, 2].map(|attempt| lanes.offer(end(attempt)).unwrap());
        for ended in ends {
            assert!(lanes.ended(stream(), id(&ended), AttemptEnd::Open).is_none());
        }
        assert!(lanes.inspect(stream()).is_none(), "the stop is in progress");
        assert!(lanes.ended(stream(), id(&stop), AttemptEnd::Done).is_some());
    }

    #[test]
    fn a_new_attempt_takes_the_place_of_one_that_waits() {
        let mut lanes = Lanes::default();
        let first = lanes.inspect(stream()).unwrap();
        lanes.offer(offer(1, 1, Action::Do(Operation::Start)));
        lanes.offer(offer(1, 2, Action::Do(Operation::Start)));
        let next = lanes.ended(stream(), id(&first), AttemptEnd::Open).unwrap();
        assert!(matches!(&next.job, Job::Work(offer) if offer.work.attempt == 2));
        assert!(lanes.ended(stream(), id(&next), AttemptEnd::Done).is_none());
    }
}

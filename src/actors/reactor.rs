//! From the log to work: follows the log, asks each object which work is due, and hands it out
//! once.
//!
//! It looks at states, not at single events, so new events and a restart share one code path (rule
//! W3). Not here: doing the work (`agent/worker`, `cascade`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::cascade::{self, Members, empty_bay};
use super::followed::{FollowedObject, folded};
use super::lifecycle::{Due, DueWork};
use super::naming::begun_in;
use super::objects::Objects;
use super::sessions::{Next, Sessions, TICK};
use crate::backends::{Retry, Work, WorkResult};
use crate::bus::delivery::{record, report};
use crate::bus::{Bus, CommandMessage, Hello, Offer, Origin, ServiceCommand};
use crate::clock;
use crate::events::log::ReadError;
use crate::events::subscription::Subscription;
use crate::events::{EventType, Mark, Recorded, Verb, codec};
use crate::ids::{Kind, ObjectId, Position, StreamId, WorkId};

/// Events taken at once.
const PAGE: usize = 256;

/// Offers to one node whose answers are waited for at once.
const OFFERS: usize = 256;

/// Longest that work is held back, whatever its time says: longer than anybody asks for. A clock
/// that was set back since would have it wait for as long.
const MAX_DELAY_MS: u64 = 60_000;

/// Between two looks for what was in bays that are gone: its deletion may have failed.
const ORPHANS_EVERY: Duration = Duration::from_secs(60);

/// Between two tries to read a log that could not be read.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Follows the log and hands out work.
pub struct Reactor {
    objects: Objects,
    bus: Arc<dyn Bus>,
    members: Arc<dyn Members>,
    /// What agents say of themselves.
    hellos: mpsc::Receiver<Hello>,
    sessions: Sessions,
    /// Objects with open work.
    open: HashMap<StreamId, Open>,
    /// Objects whose events could not be read; they are looked at again.
    unread: BTreeSet<StreamId>,
    /// Work that is not to be tried yet.
    delayed: Vec<Delayed>,
    /// Offers on their way to each node: no more than its objects have work.
    offers: HashMap<ObjectId, mpsc::UnboundedSender<Offer>>,
    /// The last look for what was in bays that are gone.
    orphans: Option<JoinHandle<()>>,
}

/// Work and when it is tried, by a clock that nobody sets.
struct Delayed {
    work: DueWork,
    due: Instant,
}

/// An object with open work, and which attempts were handed out.
struct Open {
    fold: Box<dyn FollowedObject>,
    started: HashSet<(WorkId, u32)>,
}

/// Sends a node's offers in the order in which they were made: one that another overtakes is out of
/// date to the node's agent.
async fn send_offers(bus: Arc<dyn Bus>, offers: mpsc::UnboundedReceiver<Offer>) {
    let send = async |offer: Offer| {
        // It is offered again when its agent says that it does not have it.
        if let Err(error) = bus.work(offer.clone()).await {
            let blocked_on = format!("node {}", offer.work.node_id);
            let waiting = WorkResult::Waiting { blocked_on, reason: error.to_string() };
            report(bus.as_ref(), &offer.work, waiting).await;
        }
    };
    // Sent in their order, without waiting for the answer to one before the next.
    UnboundedReceiverStream::new(offers).for_each_concurrent(OFFERS, send).await;
}

impl Reactor {
    /// A reactor that has seen nothing yet.
    pub fn new(
        objects: Objects,
        bus: Arc<dyn Bus>,
        members: Arc<dyn Members>,
        hellos: mpsc::Receiver<Hello>,
    ) -> Self {
        Self {
            objects,
            bus,
            members,
            hellos,
            sessions: Sessions::default(),
            open: HashMap::new(),
            unread: BTreeSet::new(),
            delayed: vec![],
            offers: HashMap::new(),
            orphans: None,
        }
    }

    /// Takes up the work that was open at `position`, then follows the log from there until the
    /// service stops.
    pub async fn run(
        mut self,
        outstanding: Vec<StreamId>,
        position: Position,
        mut stopping: watch::Receiver<bool>,
    ) {
        for stream in outstanding {
            self.resume(stream).await;
        }
        let mut subscription = Subscription::new(self.objects.log.clone(), position);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut orphans = tokio::time::interval(ORPHANS_EVERY);
        orphans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*stopping.borrow() {
            let next = self.next_delayed();
            tokio::select! {
                page = subscription.next_page(PAGE) => match page {
                    Ok(Some(page)) => for event in &page.events {
                        self.see(event).await;
                    },
                    Ok(None) => return,
                    Err(error) => {
                        tracing::error!(%error, "the log cannot be followed; no work is started");
                        tokio::time::sleep(READ_RETRY).await;
                    }
                },
                Some(hello) = self.hellos.recv() => self.hear(&hello),
                () = tokio::time::sleep(next) => self.release(|_| false),
                _ = tick.tick() => self.tick().await,
                _ = orphans.tick() => self.delete_orphans(),
                changed = stopping.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Work that was open when the service stopped: the agent of its node says whether it still has
    /// it. The bay's own part runs here, and is done again.
    async fn resume(&mut self, stream: StreamId) {
        for work in self.look(stream, None).await {
            match Due::from(work.clone()) {
                Due::Engine(work) => self.sessions.inherit(work, Instant::now()),
                // As the same attempt, which ended with the process that made it: one that is not
                // recorded could be taken for one at the network, which is numbered on.
                Due::Conductor(_) => self.hand_out(work),
            }
        }
    }

    /// An agent is there. What it lost is offered again: what was done before is found at the
    /// backend. A command in a container, or a signal, is never sent twice.
    fn hear(&mut self, hello: &Hello) {
        for next in self.sessions.hear(hello, Instant::now()) {
            match next {
                Next::Offer(work) => self.hand_out(work.clone().with(work.action.into())),
                Next::Unknown(work) => {
                    let reason = "its agent lost it while it was in progress; it is not done twice"
                        .to_owned();
                    self.tell(work, WorkResult::Unknown { reason });
                }
            }
        }
    }

    /// Looks again at what could not be read, gives up what has no outcome in time, and says what
    /// is not there.
    async fn tick(&mut self) {
        for stream in std::mem::take(&mut self.unread) {
            for work in self.look(stream, None).await {
                self.hand_out(work);
            }
        }
        let now = Instant::now();
        for work in self.sessions.overdue(now) {
            let reason = "there was no outcome within the time of an attempt".to_owned();
            let result = if work.action.traits().repeatable {
                let blocked_on = format!("node {}", work.node_id);
                WorkResult::Blocked { blocked_on, reason, retry: Retry::After(0) }
            } else {
                WorkResult::Unknown { reason }
            };
            self.tell(work, result);
        }
        for work in self.sessions.unserved(now) {
            let blocked_on = format!("node {}", work.node_id);
            let reason = "the node's agent is not connected".to_owned();
            self.tell(work, WorkResult::Waiting { blocked_on, reason });
        }
        for node_id in self.sessions.silent() {
            let reason = "the node's agent has stopped responding".to_owned();
            let stream = StreamId::new(Kind::Node, node_id);
            let command = ServiceCommand::Down { reason };
            let message =
                CommandMessage::service(stream, command, Origin::service("conductor", ""));
            let bus = self.bus.clone();
            tokio::spawn(async move { record(bus.as_ref(), message).await });
        }
    }

    /// Looks for what was in bays that are gone, unless that is under way.
    fn delete_orphans(&mut self) {
        if self.orphans.as_ref().is_none_or(JoinHandle::is_finished) {
            let orphans = cascade::delete_orphans(self.bus.clone(), self.members.clone());
            self.orphans = Some(tokio::spawn(orphans));
        }
    }

    async fn see(&mut self, event: &Recorded) {
        if event.event_type == EventType::known("node.came_up") {
            let node_id = event.stream.id;
            self.release(|work| work.node_id == node_id);
        }
        self.admit(event);
        self.abandon(event);
        // An object that waits for nothing begins to wait with an event that asks for work.
        let asks = matches!(codec::mark(event.event_type.as_str()), Some(Mark::Asks(_)));
        if asks || self.open.contains_key(&event.stream) {
            for work in self.look(event.stream, Some(event)).await {
                self.hand_out(work);
            }
        }
    }

    /// Has a new member of a bay deleted if that no longer takes any.
    fn admit(&self, event: &Recorded) {
        let begins = codec::mark(event.event_type.as_str()) == Some(Mark::Asks(Verb::Create));
        if let Some(bay_id) = Some(event).filter(|_| begins).and_then(begun_in) {
            let (bus, members) = (self.bus.clone(), self.members.clone());
            let project = event.meta.project.clone();
            tokio::spawn(cascade::admit(bus, members, project, event.stream, bay_id));
        }
    }

    /// Has what is in a bay go that was given up.
    fn abandon(&self, event: &Recorded) {
        if event.event_type == EventType::known("bay.abandoned") {
            let (project, bay_id) = (event.meta.project.clone(), event.stream.id);
            let (user, request_id) = (&event.meta.user, &event.meta.request_id);
            tracing::warn!(object = %event.stream, user, request_id, "a bay was given up");
            let (bus, members) = (self.bus.clone(), self.members.clone());
            tokio::spawn(cascade::abandon_members(bus, members, project, bay_id));
        }
    }

    /// The work of an object that is due and was not handed out before.
    async fn look(&mut self, stream: StreamId, event: Option<&Recorded>) -> Vec<DueWork> {
        if let Err(error) = self.fold(stream, event).await {
            tracing::error!(%stream, %error, "an object's events cannot be read; its work waits");
            self.open.remove(&stream);
            // What is damaged, or of a newer program, is not better in a moment.
            if matches!(error, ReadError::Io(_)) {
                self.unread.insert(stream);
            }
            return vec![];
        }
        let Some(open) = self.open.get_mut(&stream) else { return vec![] };
        let due = open.fold.due();
        let is_over = |id: &WorkId| !due.iter().any(|work| work.id == *id);
        for (id, _) in open.started.extract_if(|(id, _)| is_over(id)) {
            self.sessions.forget(id);
        }
        let fresh: Vec<_> = due
            .iter()
            .filter(|work| open.started.insert((work.id, work.attempt)))
            .cloned()
            .collect();
        // The attempt before a new one is over.
        fresh.iter().for_each(|work| self.sessions.forget(work.id));
        if due.is_empty() {
            self.open.remove(&stream);
        }
        fresh
    }

    /// Has an object in `open`, folded up to an event or to what the log has.
    async fn fold(&mut self, stream: StreamId, event: Option<&Recorded>) -> Result<(), ReadError> {
        match (self.open.get_mut(&stream), event) {
            (Some(open), Some(event)) => open.fold.follow(event, self.objects.log.as_ref()),
            (Some(_), None) => Ok(()),
            (None, _) => {
                if let Some(fold) = folded(&self.objects, stream, event).await? {
                    self.open.insert(stream, Open { fold, started: HashSet::new() });
                }
                Ok(())
            }
        }
    }

    fn hand_out(&mut self, work: DueWork) {
        let now = clock::now();
        match work.not_before.filter(|time| *time > now) {
            Some(time) => {
                let delay_ms = time.since_ms(now).min(MAX_DELAY_MS) + 1;
                let due = Instant::now() + Duration::from_millis(delay_ms);
                self.delayed.push(Delayed { work, due });
            }
            None => self.start(work),
        }
    }

    fn start(&mut self, work: DueWork) {
        let work = match Due::from(work) {
            Due::Engine(work) => work,
            Due::Conductor(work) => {
                tokio::spawn(empty_bay(self.bus.clone(), self.members.clone(), work));
                return;
            }
        };
        let Some((work, session)) = self.sessions.give(work, Instant::now()) else { return };
        tracing::debug!(
            object = %work.stream, work = %work.id, action = work.action.name(),
            attempt = work.attempt, request_id = work.request_id, "work is offered"
        );
        let open = self.open.get(&work.stream);
        let revision = open.and_then(|open| open.fold.revision()).unwrap_or_default();
        let offer = Offer { reply_to: self.objects.replies.of(work.id), work, revision, session };
        let offers = self.offers.entry(offer.work.node_id).or_insert_with(|| {
            let (offers, sent) = mpsc::unbounded_channel();
            tokio::spawn(send_offers(self.bus.clone(), sent));
            offers
        });
        // Its receiver ends with the service.
        drop(offers.send(offer));
    }

    fn tell(&self, work: Work, result: WorkResult) {
        let bus = self.bus.clone();
        tokio::spawn(async move { report(bus.as_ref(), &work, result).await });
    }

    /// Starts delayed work whose time has come, or that need not wait any longer. What is no
    /// longer due, because it was cancelled meanwhile, is forgotten.
    fn release(&mut self, early: impl Fn(&DueWork) -> bool) {
        let now = Instant::now();
        let (ready, delayed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.delayed)
            .into_iter()
            .partition(|delayed| delayed.due <= now || early(&delayed.work));
        self.delayed = delayed;
        for Delayed { work, .. } in ready {
            let open = self.open.get(&work.stream).map(|open| open.fold.due()).unwrap_or_default();
            if open.iter().any(|due| due.id == work.id && due.attempt <= work.attempt) {
                self.start(work);
            }
        }
    }

    /// How long until the next delayed work is due.
    fn next_delayed(&self) -> Duration {
        let first = self.delayed.iter().map(|delayed| delayed.due).min();
        first.map_or(Duration::from_secs(60), |due| due.saturating_duration_since(Instant::now()))
    }
}

//! From the log to work: follows it, asks each object what is due, and hands that out once.
//!
//! It looks at states, not at single events: the same function serves an event that just came
//! and a restart (rule W3). Not here: doing the work (`worker`, `cascade`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Entity;
use super::bay::Bay;
use super::cascade::{self, Members, empty_bay};
use super::container::Container;
use super::entity::Aggregate;
use crate::agent::outbox::report;
use crate::backends::{Action, Work, WorkResult};
use crate::bus::Bus;
use crate::clock;
use crate::events::container::ContainerEvent;
use crate::events::log::{EventLog, ReadError};
use crate::events::subscription::Subscription;
use crate::events::{EventType, Mark, Recorded, codec};
use crate::ids::{Kind, Position, StreamId, WorkId};

/// Events taken at once.
const PAGE: usize = 256;

/// Work for a node that nobody serves is offered again after so many milliseconds.
const UNSERVED_RETRY_MS: u64 = 5_000;

/// Longest that work is held back, whatever its time says: longer than anybody asks for. A clock
/// that was set back since would have it wait for as long.
const MAX_DELAY_MS: u64 = 60_000;

/// Between two tries to read a log that could not be read.
const READ_RETRY: Duration = Duration::from_secs(1);

/// Follows the log and hands out work.
pub struct Reactor {
    log: Arc<dyn EventLog>,
    bus: Arc<dyn Bus>,
    members: Arc<dyn Members>,
    /// Objects with open work.
    open: HashMap<StreamId, Open>,
    /// Work that is not to be tried yet.
    delayed: Vec<Delayed>,
}

/// Work and when it is tried, by a clock that nobody sets.
struct Delayed {
    work: Work,
    due: Instant,
}

/// An object with open work, and which attempts were handed out.
struct Open {
    fold: Fold,
    started: HashSet<(WorkId, u32)>,
}

/// The nouns that have work.
enum Fold {
    Bay(Aggregate<Bay>),
    Container(Aggregate<Container>),
}

impl Fold {
    fn new(stream: StreamId) -> Option<Self> {
        match stream.kind {
            Kind::Bay => Some(Self::Bay(Aggregate::new(stream))),
            Kind::Container => Some(Self::Container(Aggregate::new(stream))),
            Kind::Baymodel | Kind::Node | Kind::Audit => None,
        }
    }

    fn catch_up(&mut self, log: &dyn EventLog) -> Result<(), ReadError> {
        match self {
            Self::Bay(fold) => fold.catch_up(log),
            Self::Container(fold) => fold.catch_up(log),
        }
    }

    fn take(&mut self, event: &Recorded) -> Result<(), ReadError> {
        match self {
            Self::Bay(fold) => fold.take(&event.borrowed()),
            Self::Container(fold) => fold.take(&event.borrowed()),
        }
    }

    fn due(&self) -> Vec<Work> {
        match self {
            Self::Bay(fold) => Bay::react(&fold.state),
            Self::Container(fold) => Container::react(&fold.state),
        }
    }
}

impl Reactor {
    /// A reactor that has seen nothing yet.
    pub fn new(log: Arc<dyn EventLog>, bus: Arc<dyn Bus>, members: Arc<dyn Members>) -> Self {
        Self { log, bus, members, open: HashMap::new(), delayed: vec![] }
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
            self.resume(stream);
        }
        tokio::spawn(cascade::delete_orphans(self.bus.clone(), self.members.clone()));
        let mut subscription = Subscription::new(self.log.clone(), position);
        while !*stopping.borrow() {
            let next = self.next_delayed();
            tokio::select! {
                page = subscription.next_page(PAGE) => match page {
                    Ok(Some(page)) => page.events.iter().for_each(|event| self.see(event)),
                    Ok(None) => return,
                    Err(error) => {
                        tracing::error!(%error, "the log cannot be followed; no work is started");
                        tokio::time::sleep(READ_RETRY).await;
                    }
                },
                () = tokio::time::sleep(next) => self.release(|_| false),
                changed = stopping.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Work that was open when the service stopped is offered again: what was done before is
    /// found at the backend. A command in a container, or a signal, is never sent twice.
    fn resume(&mut self, stream: StreamId) {
        for mut work in self.look(stream, None) {
            if work.action.is_repeatable() {
                // The service may have stopped in the middle of an attempt.
                work.attempt = work.attempt.saturating_add(1);
                self.hand_out(work);
            } else {
                let reason = "the service stopped meanwhile; it is not done twice".to_owned();
                self.tell(work, WorkResult::Unknown { reason });
            }
        }
    }

    fn see(&mut self, event: &Recorded) {
        if event.event_type == EventType::known("node.came_up") {
            let node_id = event.stream.id;
            self.release(|work| work.node_id == node_id);
        }
        self.admit(event);
        // An object that waits for nothing begins to wait with an event that asks for work.
        let asks = matches!(codec::mark(event.event_type.as_str()), Some(Mark::Asks(_)));
        if asks || self.open.contains_key(&event.stream) {
            for work in self.look(event.stream, Some(event)) {
                self.hand_out(work);
            }
        }
    }

    /// Has a new container deleted if its bay no longer takes any.
    fn admit(&self, event: &Recorded) {
        if event.event_type == EventType::known("container.create_requested")
            && let Ok(ContainerEvent::CreateRequested(asked)) = event.borrowed().decode()
        {
            let (bus, members) = (self.bus.clone(), self.members.clone());
            tokio::spawn(cascade::admit(bus, members, event.stream.id, asked.bay_id));
        }
    }

    /// The work of an object that is due and was not handed out before.
    fn look(&mut self, stream: StreamId, event: Option<&Recorded>) -> Vec<Work> {
        let Some(fresh) = Fold::new(stream) else { return vec![] };
        let known = self.open.contains_key(&stream);
        let open = self.open.entry(stream).or_insert(Open { fold: fresh, started: HashSet::new() });
        let folded = match event.filter(|event| known || event.revision.get() == 0) {
            Some(event) => open.fold.take(event),
            None => open.fold.catch_up(self.log.as_ref()),
        };
        if let Err(error) = folded {
            // Left out of `open`, so that the next event of the object tries again.
            tracing::error!(%stream, %error, "an object cannot be followed; its work waits");
            self.open.remove(&stream);
            return vec![];
        }
        let due = open.fold.due();
        open.started.retain(|(id, _)| due.iter().any(|work| work.id == *id));
        let fresh: Vec<_> = due
            .iter()
            .filter(|work| open.started.insert((work.id, work.attempt)))
            .cloned()
            .collect();
        if due.is_empty() {
            self.open.remove(&stream);
        }
        fresh
    }

    fn hand_out(&mut self, work: Work) {
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

    fn start(&self, work: Work) {
        let bus = self.bus.clone();
        if work.action == Action::EmptyBay {
            tokio::spawn(empty_bay(bus, self.members.clone(), work));
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = bus.work(work.clone()).await {
                let blocked_on = format!("node {}", work.node_id);
                let retry_at = clock::now().plus_ms(UNSERVED_RETRY_MS);
                let reason = error.to_string();
                report(bus.as_ref(), &work, WorkResult::Blocked { blocked_on, reason, retry_at })
                    .await;
            }
        });
    }

    fn tell(&self, work: Work, result: WorkResult) {
        let bus = self.bus.clone();
        tokio::spawn(async move { report(bus.as_ref(), &work, result).await });
    }

    /// Starts delayed work whose time has come, or that need not wait any longer. What is no
    /// longer due, because it was cancelled meanwhile, is forgotten.
    fn release(&mut self, early: impl Fn(&Work) -> bool) {
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

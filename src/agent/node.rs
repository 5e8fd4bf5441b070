//! Doing one piece of work on a node: a place for it, the attempt, and the outcome.
//!
//! Not here: in which order (`lanes`), when work is due (`actors/reactor`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, timeout};

use super::lanes::{AttemptEnd, Wanted};
use super::pace::Pace;
use super::slots::{Slot, Slots};
use super::spool::{Spool, SpoolWriter};
use crate::backends::{
    Action, Backend, BackendError, Load, Operation, OutputFrame, Progress, Reporter, Retry, Work,
    WorkResult,
};
use crate::bus::delivery::{record, report_at};
use crate::bus::output::Outlet;
use crate::bus::{Bus, CommandMessage, Offer, Origin, Place, ServiceCommand, SessionId, Underway};
use crate::clock;
use crate::ids::{Kind, ObjectId, ProjectId, StreamId};

/// Attempts at work that the engine fails: with the waits below, half a minute of trouble.
const MAX_ATTEMPTS: u32 = 6;

/// Milliseconds before the second attempt; doubled for each further one.
const BACKOFF_MS: u64 = 1_000;

/// Longest wait between two attempts: a person looks again after half a minute.
const MAX_BACKOFF_MS: u64 = 30_000;

/// Commands of one project that run at once on a node: each holds a connection to the engine.
const MAX_EXECUTES: usize = 64;

/// Containers of one project that are being stopped at once on a node: each holds a connection to
/// the engine, for an hour if their users like, and nothing else.
const MAX_STOPS: usize = 256;

/// Work that waits for a place says so after this time.
const SAYS_IT_WAITS: Duration = Duration::from_secs(1);

/// What every piece of work on a node needs.
pub struct NodeAgent {
    /// The node.
    pub node_id: ObjectId,
    /// Its name, for people.
    pub host: String,
    /// What does the work.
    pub backend: Arc<dyn Backend>,
    /// Where outcomes go.
    pub bus: Arc<dyn Bus>,
    /// This life of the agent.
    pub session: SessionId,
    said: AtomicU64,
    /// Something that the engine did may not be recorded.
    doubt: Notify,
    /// For what may have to pull an image first.
    makes: Slots,
    /// For what the engine answers at once.
    quick: Slots,
    /// For what waits for a container to end.
    stops: Slots,
    /// For commands in containers.
    executes: Slots,
    /// What commands wrote.
    pub spool: Spool,
}

impl NodeAgent {
    /// A node that makes at most `concurrency` containers of a project at once, and does as many
    /// other things.
    pub fn new(
        node_id: ObjectId,
        host: String,
        backend: Arc<dyn Backend>,
        bus: Arc<dyn Bus>,
        concurrency: usize,
    ) -> Self {
        Self {
            node_id,
            host,
            backend,
            bus,
            session: SessionId(clock::new_uuid()),
            said: AtomicU64::new(0),
            doubt: Notify::new(),
            makes: Slots::shared(concurrency.max(1)),
            quick: Slots::shared(concurrency.max(1)),
            stops: Slots::shared(MAX_STOPS),
            executes: Slots::shared(MAX_EXECUTES),
            spool: Spool::default(),
        }
    }

    /// Waits until nothing is in progress and lets nothing start again.
    pub async fn drain(&self) {
        // A command may take forever.
        self.executes.close();
        tokio::join!(self.makes.drain(), self.stops.drain(), self.quick.drain());
    }

    /// The next place among what is said of objects.
    fn next_place(&self) -> Place {
        let number = self.said.fetch_add(1, Ordering::Relaxed);
        Place { session: self.session, number }
    }

    /// Reports what there is to say of an attempt. Only the latest of how far it is counts, but
    /// every step and every end.
    async fn report(&self, work: &Work, result: WorkResult) {
        let passes = match &result {
            WorkResult::Waiting { .. } => true,
            WorkResult::Progress(progress) => progress.step.is_none(),
            _ => false,
        };
        let place = passes.then(|| self.next_place());
        report_at(self.bus.as_ref(), work, result, place).await;
    }

    /// Says something of an object of which only the latest counts.
    pub async fn say(&self, stream: StreamId, command: ServiceCommand) {
        let message = CommandMessage::service(stream, command, Origin::service("watcher", ""));
        let place = Some(self.next_place());
        if record(self.bus.as_ref(), message.at(place)).await.is_err() {
            self.doubt();
        }
    }

    /// Something that the engine did may not be recorded: the next inventory shows it, and is due.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Returns once an inventory is due.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// The places that an action takes, and what they are for.
    fn slots(&self, action: &Action) -> (&Slots, &'static str) {
        match action.traits().load {
            Load::Create => (&self.makes, "containers being created"),
            Load::Command => (&self.executes, "running commands"),
            Load::Wait => (&self.stops, "containers being stopped"),
            Load::Quick => (&self.quick, "other work"),
        }
    }

    /// Does one piece of work and reports. `wanted` says how long it is wanted.
    pub async fn perform(&self, offer: &Offer, wanted: watch::Receiver<Wanted>) -> AttemptEnd {
        let work = &offer.work;
        let outlet = offer.reply_to.map(|reply_to| Outlet::new(self.bus.clone(), reply_to));
        let Ok(outlet) = outlet.transpose() else {
            return self.conclude(work, not_awaited()).await;
        };
        let reporter = Reports {
            node: self,
            work,
            outlet: Mutex::new(outlet),
            spool: self.spool_of(work),
            pace: Pace::default(),
            wanted,
        };
        let result = tokio::select! {
            slot = self.slot(work) => match slot {
                Some(slot) => self.attempt(work, &reporter, slot).await,
                // The service stops, and the work stays open for the next start.
                None => return AttemptEnd::Open,
            },
            () = reporter.given_up() => not_awaited(),
            () = reporter.unwanted(Wanted::IfBegun) => cancelled_result(),
        };
        // A pod's state is what its containers do, and that is only ever observed: before it counts
        // as started.
        if matches!(work.action, Action::Do(Operation::StartPod)) {
            self.inspect(work.stream).await;
        }
        let end = self.conclude(work, result).await;
        // What an earlier attempt did may have ended since, unseen; and a kill during the restart
        // back-off ends no process, so no notice tells of it.
        let kills = matches!(work.action, Action::Do(Operation::Kill { .. }));
        if (work.attempt > 1 || kills) && work.stream.kind == Kind::Container {
            self.inspect(work.stream).await;
        }
        // Readers are told of the end once the outcome is recorded.
        drop(reporter.spool);
        if end == AttemptEnd::Done && matches!(work.action, Action::Remove(_)) {
            self.spool.forget_container(work.stream);
        }
        if let Some(outlet) = reporter.outlet.into_inner() {
            outlet.end(None).await;
        }
        end
    }

    /// Where what a command writes is kept.
    fn spool_of(&self, work: &Work) -> Option<SpoolWriter> {
        work.action
            .is_command()
            .then(|| self.spool.begin(work.id, work.stream, work.project.clone()))
    }

    async fn conclude(&self, work: &Work, result: WorkResult) -> AttemptEnd {
        let end = match result {
            WorkResult::Blocked { .. } => AttemptEnd::Open,
            WorkResult::Done(_) => AttemptEnd::Done,
            _ => AttemptEnd::Over,
        };
        self.report(work, result).await;
        end
    }

    /// A place for work, which says so if it has to wait for one.
    async fn slot(&self, work: &Work) -> Option<Slot> {
        let (slots, what) = self.slots(&work.action);
        let taken = slots.take(&work.project);
        tokio::pin!(taken);
        if let Ok(slot) = timeout(SAYS_IT_WAITS, &mut taken).await {
            return slot;
        }
        let usage = slots.usage(&work.project);
        let waiting = WorkResult::Waiting {
            blocked_on: format!("node {}", self.host),
            reason: format!("waiting for one of {} places for {what}; {usage}", usage.all),
        };
        self.report(work, waiting).await;
        let slot = taken.await;
        if slot.is_some() {
            self.report(work, WorkResult::Progress(Progress::default())).await;
        }
        slot
    }

    /// One attempt, with its place.
    async fn attempt(&self, work: &Work, reporter: &Reports<'_>, slot: Slot) -> WorkResult {
        if reporter.is_given_up().await {
            return not_awaited();
        }
        if *reporter.wanted.borrow() > Wanted::Yes {
            return cancelled_result();
        }
        // It takes the place of an end that came before it and was not seen yet.
        if work.action.traits().inspect_before {
            self.inspect(work.stream).await;
        }
        let (action, began) = (work.action.name(), Instant::now());
        tracing::debug!(action, attempt = work.attempt, "the engine is asked");
        let attempt = self.backend.perform(work, reporter);
        let done = match work.action.traits().limit {
            None => attempt.await,
            Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| {
                Err(BackendError::TimedOut(format!("no answer within {} s", limit.as_secs())))
            }),
        };
        drop(slot);
        let (ms, error) = (began.elapsed().as_millis() as u64, done.as_ref().err());
        let error = error.map(tracing::field::display);
        tracing::debug!(action, attempt = work.attempt, ms, error, "the engine has answered");
        match done {
            Ok(done) => WorkResult::Done(done),
            Err(BackendError::Cancelled) => cancelled_result(),
            Err(error) => self.settle(work, error),
        }
    }

    /// What an attempt that did not succeed comes to.
    fn settle(&self, work: &Work, error: BackendError) -> WorkResult {
        let reason = error.to_string();
        let once = !work.action.traits().repeatable;
        match error {
            BackendError::NotStarted { exit_code, .. } => {
                WorkResult::NotStarted { reason, exit_code }
            }
            BackendError::Refused(_) | BackendError::Missing(_) | BackendError::Cancelled => {
                WorkResult::Failed { reason }
            }
            // It was not done. If it may have been, that cannot be found out, and it is not done
            // twice.
            BackendError::Failed(_) | BackendError::Unavailable(_) if once => {
                WorkResult::Failed { reason }
            }
            BackendError::TimedOut(_) if once => WorkResult::Unknown { reason },
            BackendError::Unavailable(_) => self.blocked(work, reason),
            BackendError::Failed(_) if work.attempt >= MAX_ATTEMPTS => {
                WorkResult::Failed { reason: format!("{reason} ({} attempts)", work.attempt) }
            }
            BackendError::TimedOut(_) if work.attempt >= MAX_ATTEMPTS => {
                WorkResult::Unknown { reason: format!("{reason} ({} attempts)", work.attempt) }
            }
            BackendError::Failed(_) | BackendError::TimedOut(_) => self.blocked(work, reason),
        }
    }

    fn blocked(&self, work: &Work, reason: String) -> WorkResult {
        let doublings = work.attempt.saturating_sub(1).min(16);
        let backoff_ms = (BACKOFF_MS << doublings).min(MAX_BACKOFF_MS);
        WorkResult::Blocked {
            blocked_on: format!("node {}", self.host),
            reason,
            retry: Retry::After(backoff_ms + clock::jitter_ms(backoff_ms / 4)),
        }
    }

    /// Holds what the engine has of a container against the record.
    pub async fn inspect(&self, stream: StreamId) {
        let Some(_slot) = self.quick.take(&ProjectId::default()).await else { return };
        let backend = &self.backend;
        let observed = match stream.kind.noun() {
            Some(Kind::Pod) => backend.inspect_pod(stream).await.map(ServiceCommand::ObservePod),
            _ => backend.inspect(stream).await.map(ServiceCommand::Observe),
        };
        match observed {
            Ok(observed) => self.say(stream, observed).await,
            Err(error) => {
                tracing::debug!(%stream, %error, "not inspected");
                self.doubt();
            }
        }
    }
}

fn not_awaited() -> WorkResult {
    WorkResult::Failed { reason: "not started: the client is gone".to_owned() }
}

fn cancelled_result() -> WorkResult {
    WorkResult::Failed { reason: "cancelled".to_owned() }
}

/// Where the backend reports to while it works.
struct Reports<'a> {
    node: &'a NodeAgent,
    work: &'a Work,
    /// Where output goes, while somebody reads it.
    outlet: Mutex<Option<Outlet>>,
    /// Where it is kept for readers that come later.
    spool: Option<SpoolWriter>,
    pace: Pace,
    wanted: watch::Receiver<Wanted>,
}

impl Reports<'_> {
    /// Whether somebody waited for the output and does not any more.
    async fn is_given_up(&self) -> bool {
        self.outlet.lock().await.as_ref().is_some_and(Outlet::is_unread)
    }

    /// Returns once it is not wanted any more than this.
    async fn unwanted(&self, least: Wanted) {
        let mut wanted = self.wanted.clone();
        // The lane is gone with the service; then everything ends by itself.
        if wanted.wait_for(|wanted| *wanted >= least).await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns once nobody waits for the output any more; never if nobody ever did.
    async fn given_up(&self) {
        let unread = self.outlet.lock().await.as_ref().map(Outlet::unread);
        match unread {
            Some(unread) => unread.await,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Reporter for Reports<'_> {
    async fn progress(&self, progress: Progress) {
        self.node.report(self.work, WorkResult::Progress(progress)).await;
    }

    async fn underway(&self, progress: Progress) {
        if self.pace.is_due() {
            let news = Underway::new(self.work, self.node.next_place(), progress);
            self.node.bus.underway(news).await;
        }
    }

    async fn output(&self, frame: OutputFrame) {
        if let Some(spool) = &self.spool {
            spool.push(&frame);
        }
        let mut outlet = self.outlet.lock().await;
        if let Some(open) = outlet.as_mut() {
            // A reader that is slow holds nothing back that is to end.
            if open.send_unless(frame, self.cancelled()).await.is_err() {
                *outlet = None;
            }
        }
    }

    async fn cancelled(&self) {
        self.unwanted(Wanted::No).await;
    }
}

//! The backend worker: does a node's work, a bounded number of pieces at once, one at a time for
//! each object, and reports what came of each.
//!
//! Not here: when work is due (`reactor`), what the engine does by itself (`agent/reconciler`).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message};
use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use super::outbox::{record, report};
use crate::actors::lifecycle;
use crate::backends::{
    Action, Backend, BackendError, LogQuery, OutputFrame, Progress, Reporter, Work, WorkResult,
};
use crate::bus::{Bus, CommandMessage, Ctx, Frames, NodePort};
use crate::clock;
use crate::ids::{Kind, ObjectId, StreamId};

/// Attempts at work that the engine fails: with the waits below, half a minute of trouble.
const MAX_ATTEMPTS: u32 = 6;

/// Milliseconds before the second attempt; doubled for each further one.
const BACKOFF_MS: u64 = 1_000;

/// Longest wait between two attempts: a person looks again after half a minute.
const MAX_BACKOFF_MS: u64 = 30_000;

/// Commands that run in containers at once on a node: each holds a connection to the engine.
const MAX_EXECUTES: usize = 64;

/// Pulls are recorded no more often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Messages that wait for the worker; it only sorts them into lanes.
const MAILBOX: usize = 1024;

/// What every piece of work on a node needs.
pub struct Node {
    /// The node.
    pub node_id: ObjectId,
    /// Its name, for people.
    pub host: String,
    /// What does the work.
    pub backend: Arc<dyn Backend>,
    /// Where outcomes go.
    pub bus: Arc<dyn Bus>,
    permits: Semaphore,
    executes: Semaphore,
    concurrency: u32,
}

impl Node {
    /// A node that does at most `concurrency` pieces of work at once.
    pub fn new(
        node_id: ObjectId,
        host: String,
        backend: Arc<dyn Backend>,
        bus: Arc<dyn Bus>,
        concurrency: usize,
    ) -> Self {
        let concurrency = u32::try_from(concurrency.max(1)).unwrap_or(u32::MAX);
        Self {
            node_id,
            host,
            backend,
            bus,
            permits: Semaphore::new(concurrency as usize),
            executes: Semaphore::new(MAX_EXECUTES),
            concurrency,
        }
    }

    /// Waits until nothing is under way and lets nothing start again.
    pub async fn drain(&self) {
        if let Ok(permits) = self.permits.acquire_many(self.concurrency).await {
            permits.forget();
        }
        self.permits.close();
        self.executes.close();
    }

    /// Does one piece of work and reports.
    async fn perform(&self, work: &Work) {
        let executes = matches!(work.action, Action::ExecuteInContainer { .. });
        let permits = if executes { &self.executes } else { &self.permits };
        // Closed: the service stops, and the work stays open for the next start.
        let Ok(_permit) = permits.acquire().await else { return };
        let reporter = Reports { node: self, work, last: Mutex::new(None) };
        let attempt = self.backend.perform(work, &reporter);
        let done = match lifecycle::limit(&work.action) {
            None => attempt.await,
            Some(limit) => tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
                Err(BackendError::TimedOut(format!("nothing in {} s", limit.as_secs())))
            }),
        };
        let result = match done {
            Ok(done) => WorkResult::Done(done),
            Err(error) => self.settle(work, error),
        };
        report(self.bus.as_ref(), work, result).await;
        if executes {
            self.bus.finish(&work.request_id);
        }
    }

    /// What an attempt that did not succeed comes to.
    fn settle(&self, work: &Work, error: BackendError) -> WorkResult {
        let reason = error.to_string();
        let once = !work.action.is_repeatable();
        match error {
            BackendError::Refused(_) | BackendError::Missing(_) | BackendError::Cancelled => {
                WorkResult::Failed { reason }
            }
            // It was not done. Where it may have been nobody can say, and it is not done twice.
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
            retry_at: clock::now().plus_ms(backoff_ms + clock::jitter_ms(backoff_ms / 4)),
        }
    }

    /// Holds what the engine has of a container against the record.
    async fn inspect(&self, stream: StreamId) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        match self.backend.inspect(stream).await {
            Ok(observed) => {
                let ctx = Ctx::service(clock::now(), "watcher", "");
                let command = serde_json::json!({ "observe": observed });
                record(self.bus.as_ref(), CommandMessage { stream, command, ctx }).await;
            }
            // Everything is inspected again once the engine answers.
            Err(error) => tracing::debug!(%stream, %error, "not inspected"),
        }
    }
}

/// Where the backend reports to while it works.
struct Reports<'a> {
    node: &'a Node,
    work: &'a Work,
    last: Mutex<Option<Instant>>,
}

#[async_trait]
impl Reporter for Reports<'_> {
    async fn progress(&self, progress: Progress) {
        let mut last = self.last.lock().await;
        if last.is_some_and(|last| last.elapsed() < PROGRESS_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        report(self.node.bus.as_ref(), self.work, WorkResult::Progress(progress)).await;
    }

    async fn output(&self, frame: OutputFrame) {
        self.node.bus.publish(self.work.request_id.clone(), frame).await;
    }
}

/// Something to do for one object.
enum Job {
    Work(Box<Work>),
    Inspect,
}

/// Puts work, or an inspection, into the lane of its object.
#[derive(Message)]
#[rtype(result = "()")]
struct Enqueue(StreamId, Job);

/// A lane's job ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Finished(StreamId);

/// The actor: one lane an object, so that nothing overtakes within it.
struct Worker {
    node: Arc<Node>,
    /// What waits behind the job under way; no lane where there is none.
    lanes: HashMap<StreamId, VecDeque<Job>>,
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Worker {
    fn run(&self, stream: StreamId, job: Job, worker: Addr<Self>) {
        let node = self.node.clone();
        actix::spawn(async move {
            match job {
                Job::Work(work) => {
                    // It takes the place of an end that came before it and was not seen yet.
                    if matches!(
                        work.action,
                        Action::StopContainer { .. } | Action::RebootContainer { .. }
                    ) {
                        node.inspect(stream).await;
                    }
                    node.perform(&work).await;
                    // What an earlier attempt did may have come to an end since, unseen.
                    if work.attempt > 1 && stream.kind == Kind::Container {
                        node.inspect(stream).await;
                    }
                }
                Job::Inspect => node.inspect(stream).await,
            }
            if worker.send(Finished(stream)).await.is_err() {
                tracing::debug!(%stream, "the worker stopped");
            }
        });
    }
}

impl Handler<Enqueue> for Worker {
    type Result = ();

    fn handle(&mut self, Enqueue(stream, job): Enqueue, ctx: &mut Self::Context) {
        // A command in a container may take for ever; it holds nothing back.
        if let Job::Work(work) = &job
            && matches!(work.action, Action::ExecuteInContainer { .. })
        {
            let (node, work) = (self.node.clone(), work.clone());
            actix::spawn(async move { node.perform(&work).await });
            return;
        }
        match self.lanes.get_mut(&stream) {
            Some(lane) if matches!((&job, lane.back()), (Job::Inspect, Some(Job::Inspect))) => {}
            Some(lane) => lane.push_back(job),
            None => {
                self.lanes.insert(stream, VecDeque::new());
                self.run(stream, job, ctx.address());
            }
        }
    }
}

impl Handler<Finished> for Worker {
    type Result = ();

    fn handle(&mut self, Finished(stream): Finished, ctx: &mut Self::Context) {
        match self.lanes.get_mut(&stream).and_then(VecDeque::pop_front) {
            Some(job) => self.run(stream, job, ctx.address()),
            None => drop(self.lanes.remove(&stream)),
        }
    }
}

/// The way to a node's worker.
#[derive(Clone)]
pub struct WorkerHandle {
    node: Arc<Node>,
    worker: Addr<Worker>,
}

impl WorkerHandle {
    /// Starts a worker on an arbiter. Must be called inside an actix system.
    pub fn start(node: Arc<Node>, arbiter: &ArbiterHandle) -> Self {
        let own = node.clone();
        let worker =
            Worker::start_in_arbiter(arbiter, move |_| Worker { node: own, lanes: HashMap::new() });
        Self { node, worker }
    }

    /// What this worker works for.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Has a container inspected once the work on it that is under way has ended.
    pub async fn inspect(&self, stream: StreamId) {
        if self.worker.send(Enqueue(stream, Job::Inspect)).await.is_err() {
            tracing::debug!(%stream, "the worker stopped");
        }
    }
}

#[async_trait]
impl NodePort for WorkerHandle {
    async fn work(&self, work: Work) -> Result<(), BackendError> {
        let stopped = |_| BackendError::Unavailable("the worker stopped".to_owned());
        self.worker.send(Enqueue(work.stream, Job::Work(Box::new(work)))).await.map_err(stopped)
    }

    async fn logs(&self, stream: StreamId, query: LogQuery) -> Result<Frames, BackendError> {
        self.node.backend.logs(stream, query).await
    }
}

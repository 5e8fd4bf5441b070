//! The backend worker: the actor that a node's work goes to.
//!
//! Not here: in which order (`lanes`), doing it (`node`), what the engine does by itself
//! (`reconciler`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message};
use async_trait::async_trait;
use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::lanes::{AttemptEnd, Job, Lanes, Turn};
use super::node::NodeAgent;
use crate::backends::BackendError;
use crate::bus::output::Outlet;
use crate::bus::{Hello, LogRequest, NodePort, Offer, OutputErasure, ReplyTo, Taken};
use crate::ids::{Kind, StreamId, WorkId};

/// Messages that wait for the worker; it only sorts them into lanes.
const MAILBOX: usize = 1024;

/// Keys that are remembered: those of a second or two, after which nothing comes twice.
const MAX_ASKED: usize = 256;

/// Something to do for one object.
#[derive(Message)]
#[rtype(result = "()")]
enum Enqueue {
    Work(Box<Offer>),
    Inspect(StreamId),
}

/// A job ended: what it was, and how.
#[derive(Message)]
#[rtype(result = "()")]
struct Ended(StreamId, Option<WorkId>, AttemptEnd);

/// The actor.
struct Worker {
    node: Arc<NodeAgent>,
    lanes: Arc<Mutex<Lanes>>,
    /// Where jobs run: they may read the log on their way, which no arbiter is for.
    runtime: Handle,
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

fn locked(lanes: &Mutex<Lanes>) -> MutexGuard<'_, Lanes> {
    lanes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    fn run(&self, turn: Option<Turn>, worker: Addr<Self>) {
        let Some(Turn { stream, job, wanted }) = turn else { return };
        let node = self.node.clone();
        self.runtime.spawn(async move {
            let ended = match job {
                Job::Work(offer) => {
                    let work = &offer.work;
                    let (id, object, request_id) = (work.id, work.stream, &work.request_id);
                    let span = tracing::info_span!("work", %id, %object, request_id);
                    let end = node.perform(&offer, wanted).instrument(span).await;
                    Ended(stream, Some(offer.work.id), end)
                }
                Job::Inspect => {
                    node.inspect(stream).await;
                    Ended(stream, None, AttemptEnd::Open)
                }
            };
            if worker.send(ended).await.is_err() {
                tracing::debug!(%stream, "the worker stopped");
            }
        });
    }
}

impl Handler<Enqueue> for Worker {
    type Result = ();

    fn handle(&mut self, message: Enqueue, ctx: &mut Self::Context) {
        let turn = match message {
            Enqueue::Work(offer) => locked(&self.lanes).offer(*offer),
            Enqueue::Inspect(stream) => locked(&self.lanes).inspect(stream),
        };
        self.run(turn, ctx.address());
    }
}

impl Handler<Ended> for Worker {
    type Result = ();

    fn handle(&mut self, Ended(stream, work, end): Ended, ctx: &mut Self::Context) {
        let turn = locked(&self.lanes).ended(stream, work, end);
        self.run(turn, ctx.address());
    }
}

/// The way to a node's worker.
#[derive(Clone)]
pub struct WorkerHandle {
    node: Arc<NodeAgent>,
    worker: Addr<Worker>,
    lanes: Arc<Mutex<Lanes>>,
    beats: Arc<AtomicU64>,
    /// Keys that output was asked for lately: one that is asked for twice is sent once.
    asked: Arc<Mutex<VecDeque<ReplyTo>>>,
}

impl WorkerHandle {
    /// Starts a worker on an arbiter; its jobs run on the present runtime. Must be called inside an
    /// actix system.
    pub fn start(node: Arc<NodeAgent>, arbiter: &ArbiterHandle) -> Self {
        let lanes = Arc::new(Mutex::new(Lanes::default()));
        let own = Worker { node: node.clone(), lanes: lanes.clone(), runtime: Handle::current() };
        let worker = Worker::start_in_arbiter(arbiter, move |_| own);
        Self { node, worker, lanes, beats: Arc::default(), asked: Arc::default() }
    }

    /// What this worker works for.
    pub fn node(&self) -> &Arc<NodeAgent> {
        &self.node
    }

    /// What the conductor is told of it again and again.
    pub fn hello(&self) -> Hello {
        self.node.spool.expire();
        let beat = self.beats.fetch_add(1, Ordering::Relaxed) + 1;
        let holds = locked(&self.lanes).held();
        Hello { node_id: self.node.node_id, session: self.node.session, beat, holds }
    }

    /// Whether output was not asked for by this key before; it was from now on.
    fn is_new(&self, reply_to: ReplyTo) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.contains(&reply_to) {
            return false;
        }
        if asked.len() >= MAX_ASKED {
            asked.pop_front();
        }
        asked.push_back(reply_to);
        true
    }

    /// Containers and pods that are at work now.
    pub fn at_work(&self) -> Vec<StreamId> {
        let mut at_work = locked(&self.lanes).at_work();
        at_work.retain(|stream| matches!(stream.kind.noun(), Some(Kind::Container | Kind::Pod)));
        at_work
    }

    /// Has a container inspected once the work on it that is in progress has ended.
    pub async fn inspect(&self, stream: StreamId) {
        if self.worker.send(Enqueue::Inspect(stream)).await.is_err() {
            tracing::debug!(%stream, "the worker stopped");
        }
    }
}

#[async_trait]
impl NodePort for WorkerHandle {
    async fn work(&self, offer: Offer) -> Result<Taken, BackendError> {
        if offer.session != self.node.session {
            // It was late on its way. What is still wanted is offered after this session's hello.
            return Ok(Taken);
        }
        let stopped = |_| BackendError::Unavailable("the worker stopped".to_owned());
        self.worker.send(Enqueue::Work(Box::new(offer))).await.map_err(stopped)?;
        Ok(Taken)
    }

    async fn logs(&self, request: LogRequest) -> Result<Taken, BackendError> {
        if !self.is_new(request.reply_to) {
            return Ok(Taken);
        }
        let outlet = Outlet::new(self.node.bus.clone(), request.reply_to);
        let outlet = outlet.map_err(|error| BackendError::Failed(error.to_string()))?;
        let LogRequest { stream, query, .. } = request;
        let frames = match request.execution {
            Some(id) => self.node.spool.read(id, stream, query.follow)?,
            None => self.node.backend.logs(stream, query).await?,
        };
        tokio::spawn(outlet.pump(frames));
        Ok(Taken)
    }

    async fn erase_output(&self, erasure: OutputErasure) -> Result<Taken, BackendError> {
        self.node.spool.forget_project(&erasure.project);
        Ok(Taken)
    }
}

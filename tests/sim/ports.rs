//! The server's ways to the outside: its log, its engine, its bus. Each use is a step at which it
//! may die; from then on nothing that it does has any effect.

use std::future::pending;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use magnum::backends::fake::FakeBackend;
use magnum::backends::{
    Action, Backend, BackendError, Desired, Done, EngineFacts, EngineObject, LogQuery, Notice,
    Observed, ObservedPod, OutputFrame, Reporter, Work,
};
use magnum::bus::ReplyTo;
use magnum::bus::output::{Credit, KeyTaken, Piece};
use magnum::bus::{
    AuditRecord, AuditReply, Bus, CommandError, CommandMessage, CommandReply, Comparison, Hello,
    Inventory, LogRequest, Noted, Offer, OutputErasure, Strays, Taken, Underway,
};
use magnum::events::Recorded;
use magnum::events::log::segment::SegmentLog;
use magnum::events::log::segment::stepped::Steps;
use magnum::events::log::{
    Append, AppendError, Appended, CommandSeen, Each, EventLog, LogHealth, ReadError,
};
use magnum::ids::{CommandId, Position, Revision, StreamId};
use tokio::sync::{Notify, mpsc, watch};

use crate::world::{World, locked};

/// Between a process and everything else, until it dies. The agent has one of its own, and dies
/// with its server at the latest.
pub struct Fence {
    world: Arc<World>,
    /// The server that this is the agent of.
    server: Option<Arc<Self>>,
    /// The agent of this server.
    agent: Mutex<Weak<Self>>,
    dead: watch::Sender<bool>,
    /// Steps until it dies.
    countdown: Mutex<Option<u64>>,
    /// Whether requests that were on their way to the engine still arrive.
    pub lingers: bool,
}

impl Fence {
    /// Of a new server.
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self::with(world, None, world.weather.crash_every))
    }

    /// Of a new agent of a server, in place of the one before.
    pub fn agent(server: &Arc<Self>) -> Arc<Self> {
        let world = &server.world;
        let every = world.weather.agent_crash_every;
        let agent = Arc::new(Self::with(world, Some(server.clone()), every));
        *locked(&server.agent) = Arc::downgrade(&agent);
        agent
    }

    fn with(world: &Arc<World>, server: Option<Arc<Self>>, every: Option<u64>) -> Self {
        let every = every.filter(|_| !world.is_calm());
        Self {
            world: world.clone(),
            server,
            agent: Mutex::default(),
            dead: watch::Sender::new(false),
            countdown: Mutex::new(every.map(|every| world.below(2 * every))),
            lingers: world.one_in(2),
        }
    }

    pub fn is_dead(&self) -> bool {
        *self.dead.borrow() || self.server.as_ref().is_some_and(|server| server.is_dead())
    }

    pub fn kill(&self) {
        self.dead.send_replace(true);
    }

    /// Kills the agent of this server; whether there was one.
    pub fn kill_agent(&self) -> bool {
        let agent = locked(&self.agent).upgrade().filter(|agent| !agent.is_dead());
        agent.inspect(|agent| agent.kill()).is_some()
    }

    /// Returns when the present agent of this server is dead.
    pub async fn agent_died(&self) {
        let agent = locked(&self.agent).upgrade();
        if let Some(agent) = agent {
            agent.died().await;
        }
    }

    /// Whether this server's agent is there to take work.
    fn has_agent(&self) -> bool {
        locked(&self.agent).upgrade().is_some_and(|agent| !agent.is_dead())
    }

    /// Returns when it is dead.
    pub async fn died(&self) {
        let mut dead = self.dead.subscribe();
        let mut server = self.server.as_ref().map(|server| server.dead.subscribe());
        let with_server = async {
            match &mut server {
                Some(dead) => drop(dead.wait_for(|dead| *dead).await),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = dead.wait_for(|dead| *dead) => {}
            () = with_server => {}
        }
    }

    /// One step. Never returns in a dead process.
    pub async fn step(&self, what: impl FnOnce() -> String) {
        if self.is_dead() {
            return pending().await;
        }
        let step = self.world.step();
        let server_dies = self.server.as_ref().filter(|server| server.is_last_step());
        let dies = self.is_last_step().then_some(self);
        if let Some(fence) = server_dies.map(|server| &**server).or(dies) {
            let who = if fence.server.is_some() { "agent" } else { "server" };
            self.world.note(|| format!("the {who} dies at step {step}: {}", what()));
            fence.kill();
            pending().await
        }
    }

    fn is_last_step(&self) -> bool {
        let mut countdown = locked(&self.countdown);
        let is_last = *countdown == Some(0);
        *countdown = countdown.and_then(|left| left.checked_sub(1));
        is_last && !self.world.is_calm()
    }
}

/// The log of a process, whose writer writes when it is its turn.
pub struct SimulatedLog {
    pub inner: SegmentLog,
    fence: Arc<Fence>,
    waiting: Arc<Notify>,
}

impl SimulatedLog {
    pub fn new(inner: SegmentLog, steps: Steps, fence: &Arc<Fence>) -> Arc<Self> {
        let waiting = Arc::new(Notify::new());
        let log = Arc::new(Self { inner, fence: fence.clone(), waiting: waiting.clone() });
        tokio::spawn(write(steps, log.clone(), waiting));
        log
    }
}

/// Writes what was gathered, a while after it was.
async fn write(mut steps: Steps, log: Arc<SimulatedLog>, waiting: Arc<Notify>) {
    let (fence, world) = (log.fence.clone(), log.fence.world.clone());
    loop {
        waiting.notified().await;
        loop {
            world.pause(3).await;
            fence.step(|| "write".to_owned()).await;
            let head = *log.inner.head().borrow();
            let more = steps.step();
            if *log.inner.head().borrow() > head {
                world.note(|| story(&log.inner, head));
            }
            if log.inner.health().failed.is_some() {
                world.note(|| "the log failed".to_owned());
                if world.disk.is_off() {
                    fence.kill();
                }
                // Somebody looks after it.
                tokio::time::sleep(Duration::from_secs(5)).await;
                fence.kill();
                return;
            }
            if !more {
                break;
            }
        }
    }
}

/// What was recorded after a position.
fn story(log: &SegmentLog, after: Position) -> String {
    let line = |event: &Recorded| {
        let (name, data) = (event.event_type.as_str(), crate::oracle::data(event));
        format!("{} {} {name} {data}", event.position, event.stream)
    };
    let events = log.read(after, 100).unwrap_or_default();
    format!("recorded: {}", events.iter().map(line).collect::<Vec<_>>().join("\n    "))
}

#[async_trait]
impl EventLog for SimulatedLog {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.fence.step(|| format!("append to {}", append.stream)).await;
        // The permit stays until the writer looks.
        self.waiting.notify_one();
        let appended = self.inner.append(append).await;
        self.fence.step(|| format!("appended: {appended:?}")).await;
        appended
    }

    fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError> {
        self.inner.read(after, limit)
    }

    fn scan(&self, after: Position, limit: usize, each: &mut Each<'_>) -> Result<usize, ReadError> {
        self.inner.scan(after, limit, each)
    }

    fn read_stream(
        &self,
        stream: StreamId,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        self.inner.read_stream(stream, from, limit)
    }

    fn stream_head(&self, stream: StreamId) -> Result<Option<Revision>, ReadError> {
        self.inner.stream_head(stream)
    }

    fn command(&self, id: &CommandId) -> Result<Option<CommandSeen>, ReadError> {
        self.inner.command(id)
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.inner.head()
    }

    fn health(&self) -> LogHealth {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// The engine as a process sees it: slow, and not always telling.
pub struct SimulatedBackend {
    pub inner: FakeBackend,
    pub fence: Arc<Fence>,
}

/// Images under this take minutes to be pulled.
pub const SLOW_IMAGES: &str = "slow/";

impl SimulatedBackend {
    fn world(&self) -> &World {
        &self.fence.world
    }

    /// On the way there.
    async fn ask(&self, what: impl FnOnce() -> String) {
        self.fence.step(what).await;
        self.world().pause(5).await;
        if self.fence.is_dead() {
            pending::<()>().await;
        }
    }

    /// On the way to a piece of work, if it gets there.
    async fn arrive(&self, work: &Work, delay_ms: u64) {
        tokio::select! {
            biased;
            () = tokio::time::sleep(Duration::from_millis(delay_ms)) => {}
            () = self.fence.died() => {}
        }
        if self.fence.is_dead() && (!self.fence.lingers || delay_ms > 1000) {
            return pending().await;
        }
        let (id, name) = (work.id, work.action.name());
        let attempt = work.attempt;
        self.world().note(|| format!("engine: {name} of {}, {id} attempt {attempt}", work.stream));
    }

    /// What goes wrong with a piece of work: whether it is done, and what is told.
    fn fault(&self) -> Option<(bool, BackendError)> {
        let world = self.world();
        if !world.weather.engine_faults || !world.strikes(6) {
            return None;
        }
        let error = match world.below(3) {
            0 => BackendError::TimedOut("no answer".to_owned()),
            _ => BackendError::Failed("500: something went wrong".to_owned()),
        };
        Some((world.one_in(2), error))
    }
}

#[async_trait]
impl Backend for SimulatedBackend {
    async fn perform(&self, work: &Work, reporter: &dyn Reporter) -> Result<Done, BackendError> {
        self.fence.step(|| format!("{} of {}", work.action.name(), work.stream)).await;
        let slow = match &work.action {
            // A pull is slow once; the attempts after that find the image.
            Action::Apply(Desired::Container { spec, .. })
                if spec.image.starts_with(SLOW_IMAGES) && work.attempt == 1 =>
            {
                60_000 + self.world().below(600_000)
            }
            _ if self.world().strikes(8) => self.world().below(8_000),
            _ => self.world().below(20),
        };
        tokio::select! {
            biased;
            () = self.arrive(work, slow) => {}
            () = reporter.cancelled() => {
                self.world().note(|| format!("engine: {} is given up", work.id));
                return Err(BackendError::Cancelled);
            }
        }
        let done = match self.fault() {
            Some((false, error)) => Err(error),
            Some((true, error)) => {
                drop(self.inner.perform(work, reporter).await);
                Err(error)
            }
            None => self.inner.perform(work, reporter).await,
        };
        self.world().note(|| format!("engine: {} is {done:?}", work.id));
        self.fence.step(|| format!("{} answered", work.action.name())).await;
        done
    }

    async fn inspect(&self, stream: StreamId) -> Result<Option<Observed>, BackendError> {
        self.ask(|| format!("inspect {stream}")).await;
        self.inner.inspect(stream).await
    }

    async fn inspect_pod(&self, stream: StreamId) -> Result<Option<ObservedPod>, BackendError> {
        self.ask(|| format!("inspect {stream}")).await;
        self.inner.inspect_pod(stream).await
    }

    async fn inventory(&self) -> Result<Vec<(StreamId, EngineObject)>, BackendError> {
        self.ask(|| "inventory".to_owned()).await;
        self.inner.inventory().await
    }

    async fn notices(&self) -> Result<BoxStream<'static, Notice>, BackendError> {
        self.ask(|| "notices".to_owned()).await;
        self.inner.notices().await
    }

    async fn logs(
        &self,
        stream: StreamId,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<OutputFrame, BackendError>>, BackendError> {
        self.ask(|| format!("logs of {stream}")).await;
        self.inner.logs(stream, query).await
    }

    async fn probe(&self) -> Result<EngineFacts, BackendError> {
        self.ask(|| "probe".to_owned()).await;
        self.inner.probe().await
    }
}

/// The bus of a process: messages of every kind are late, and so out of order, come twice and are
/// lost, and so are answers.
pub struct SimulatedBus {
    pub inner: Arc<dyn Bus>,
    pub fence: Arc<Fence>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    AnswerLost,
}

impl Fate {
    /// The fate of a message that has no answer.
    const fn without_answer(self) -> Self {
        match self {
            Self::AnswerLost => Self::Arrives,
            other => other,
        }
    }
}

impl SimulatedBus {
    /// Sends a message; what becomes of it. `possible` says what a drawn fate comes to for such a
    /// message: the draw is the same for all, so that a seed stays the same run.
    async fn send(&self, what: &str, possible: fn(Fate) -> Fate) -> Fate {
        self.fence.step(|| what.to_owned()).await;
        let world = &self.fence.world;
        let is_faulty = |times| world.weather.bus_faults && world.strikes(times);
        if is_faulty(6) {
            world.pause(2000).await;
        }
        let fate = possible(match world.below(3) {
            0 if is_faulty(6) => Fate::Lost,
            1 if is_faulty(6) => Fate::Twice,
            2 if is_faulty(6) => Fate::AnswerLost,
            _ => Fate::Arrives,
        });
        if fate != Fate::Arrives {
            world.note(|| format!("bus: {what} is {fate:?}"));
        }
        fate
    }

    async fn carry<'a, T: Send, E: Send>(
        &'a self,
        what: &str,
        lost: fn(String) -> E,
        call: impl Fn() -> BoxFuture<'a, Result<T, E>> + Send + Sync,
    ) -> Result<T, E> {
        let fate = self.send(what, |fate| fate).await;
        let words = || format!("simulated: {what} has no answer");
        if fate == Fate::Lost {
            return Err(lost(words()));
        }
        if fate == Fate::Twice {
            drop(call().await);
        }
        let answer = call().await;
        self.fence.step(|| format!("answer to {what}")).await;
        if fate == Fate::AnswerLost { Err(lost(words())) } else { answer }
    }

    /// A message to the agent, which may not be there, or not any more when it should answer.
    fn to_agent<'a>(
        &'a self,
        call: impl Future<Output = Result<Taken, BackendError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<Taken, BackendError>> {
        let there = || {
            let absent = || BackendError::Unavailable("simulated: there is no agent".to_owned());
            self.fence.has_agent().then_some(()).ok_or_else(absent)
        };
        Box::pin(async move {
            there()?;
            let taken = call.await?;
            there().map(|()| taken)
        })
    }
}

#[async_trait]
impl Bus for SimulatedBus {
    async fn command(&self, message: CommandMessage) -> Result<CommandReply, CommandError> {
        let call = || self.inner.command(message.clone());
        self.carry("a command", CommandError::NoAnswer, call).await
    }

    async fn audit(&self, record: AuditRecord) -> Result<AuditReply, CommandError> {
        let call = || self.inner.audit(record.clone());
        self.carry("an audit record", CommandError::NoAnswer, call).await
    }

    async fn hello(&self, hello: Hello) -> Result<Noted, CommandError> {
        let call = || self.inner.hello(hello.clone());
        self.carry("a hello", CommandError::NoAnswer, call).await
    }

    async fn inventory(&self, inventory: Inventory) -> Result<Comparison, CommandError> {
        let call = || self.inner.inventory(inventory.clone());
        self.carry("an inventory", CommandError::NoAnswer, call).await
    }

    async fn strays(&self, strays: Strays) -> Result<Noted, CommandError> {
        let call = || self.inner.strays(strays.clone());
        self.carry("strays", CommandError::NoAnswer, call).await
    }

    async fn underway(&self, news: Underway) {
        let fate = self.send("how far work is", Fate::without_answer).await;
        if fate == Fate::Twice {
            self.inner.underway(news.clone()).await;
        }
        if fate != Fate::Lost {
            self.inner.underway(news).await;
        }
    }

    async fn work(&self, offer: Offer) -> Result<Taken, BackendError> {
        let call = || self.to_agent(self.inner.work(offer.clone()));
        self.carry("an offer", BackendError::Unavailable, call).await
    }

    async fn logs(&self, request: LogRequest) -> Result<Taken, BackendError> {
        let call = || self.to_agent(self.inner.logs(request.clone()));
        self.carry("a log request", BackendError::Unavailable, call).await
    }

    async fn erase_output(&self, erasure: OutputErasure) -> Result<Taken, BackendError> {
        let call = || self.to_agent(self.inner.erase_output(erasure.clone()));
        self.carry("an erasure of output", BackendError::Unavailable, call).await
    }

    fn pieces(&self, reply_to: ReplyTo) -> Result<mpsc::Receiver<Piece>, KeyTaken> {
        self.inner.pieces(reply_to)
    }

    async fn credit(&self, credit: Credit) {
        let fate = self.send("a credit", Fate::without_answer).await;
        if fate == Fate::Twice {
            self.inner.credit(credit).await;
        }
        if fate != Fate::Lost {
            self.inner.credit(credit).await;
        }
    }

    fn forget(&self, reply_to: ReplyTo) {
        self.inner.forget(reply_to);
    }

    fn granted(&self, reply_to: ReplyTo) -> Option<watch::Receiver<u64>> {
        self.inner.granted(reply_to)
    }

    async fn piece(&self, piece: Piece) {
        let fate = self.send("a piece", Fate::without_answer).await;
        if fate == Fate::Twice {
            self.inner.piece(piece.clone()).await;
        }
        if fate != Fate::Lost {
            self.inner.piece(piece).await;
        }
    }
}

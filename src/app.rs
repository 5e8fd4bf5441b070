//! How the parts are put together, in the order they start, and stopped in the reverse order.
//!
//! Not here: flags (`cli`), what each part does.

mod import;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use async_trait::async_trait;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::actors::cascade::Members;
use crate::actors::directory::Directory;
use crate::actors::node::NodeCommand;
use crate::actors::reactor::Reactor;
use crate::actors::snapshot::Snapshots;
use crate::actors::watcher::{self, Inventory};
use crate::actors::worker::{Node, WorkerHandle};
use crate::backends::Backend;
use crate::backends::docker::DockerBackend;
use crate::backends::fake::{FakeBackend, FakeEngine};
use crate::bus::local::LocalBus;
use crate::bus::{Bus, CommandMessage, Ctx};
use crate::clock;
use crate::config::{Config, Engine};
use crate::events::log::segment::disk::free_bytes;
use crate::events::log::segment::{FolderLock, SegmentLog, SegmentOptions};
use crate::events::log::{EventLog, OpenError};
use crate::http::{self, AppState};
use crate::ids::{Kind, ObjectId, Position, ProjectId, StreamId};
use crate::projections::conductor::Conductor;
use crate::projections::container::ContainerView;
use crate::projections::node::NodeView;
use crate::projections::query::{ListQuery, ReadModels};
use crate::projections::store::{Store, open_cache};

pub use import::import_log;

/// Work under way may take so long to end after SIGTERM; the rest stays requested. With the
/// flushes after it the whole stop stays within 10 s.
const DRAIN: Duration = Duration::from_secs(6);

/// Open requests and streams may take so long to end after SIGTERM.
const HTTP_DRAIN: Duration = Duration::from_secs(2);

/// Read models may take so long to catch up at the start before it counts as a failure.
const CATCH_UP: Duration = Duration::from_secs(600);

/// Between two looks at the free space of the log's disk.
const SPACE_CHECK: Duration = Duration::from_millis(500);

/// Why the service did not start; the words say what helps.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address is one that others reach, and nobody would be asked who they are.
    #[error(
        "{0} is reachable from other machines and requests are not authenticated; listen on \
         127.0.0.1, or add --allow-remote-without-authentication"
    )]
    Exposed(std::net::SocketAddr),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The system refuses something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The read models are not there.
    #[error("the read models: {0}")]
    ReadModels(String),
    /// Events could not be imported.
    #[error("{0}")]
    Import(String),
    /// The node of this machine could not be registered.
    #[error("this machine's node cannot be registered: {0}")]
    Node(String),
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> AppError {
    let what = what.into();
    move |source| AppError::Io { what, source }
}

/// Runs the whole service in this process until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start.
pub fn serve(config: Config) -> Result<(), AppError> {
    let listen = config.http.listen;
    if !listen.ip().is_loopback() && !config.http.allow_remote_without_authentication {
        return Err(AppError::Exposed(listen));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io("the threads of the service"))?;
    actix::System::with_tokio_rt(move || runtime).block_on(run(config))
}

async fn run(config: Config) -> Result<(), AppError> {
    let (stop, stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("SIGINT"))?;
    let parts = Parts::start(&config, &stopping).await?;
    let listener = TcpListener::bind(config.http.listen)
        .await
        .map_err(io(format!("cannot listen on {}", config.http.listen)))?;
    let address = listener.local_addr().map_err(io("the address"))?;
    let state = AppState {
        bus: parts.bus.clone(),
        reads: parts.reads.clone(),
        log: parts.log.clone(),
        config: Arc::new(config.http.clone()),
        installation: installation(parts.log.as_ref())?,
        stopping: stopping.clone(),
        low_space: watch_space(&config, &stopping),
    };
    let mut server = tokio::spawn(http::serve(listener, state));
    announce(&format!("magnum: listening on http://{address}"));
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = &mut server => Some(ended),
    };
    tracing::info!("stopping");
    stop.send_replace(true);
    if ended.is_none() && tokio::time::timeout(HTTP_DRAIN, &mut server).await.is_err() {
        tracing::warn!("some requests did not end in time");
        server.abort();
    }
    parts.stop().await;
    match ended {
        Some(Ok(Err(source))) => Err(AppError::Io { what: "the REST API".into(), source }),
        _ => Ok(()),
    }
}

/// One line for a person, or a script, that waits for the service.
#[expect(clippy::print_stdout, reason = "the one line that a start prints")]
fn announce(line: &str) {
    println!("{line}");
}

/// Everything below the REST API.
struct Parts {
    log: Arc<dyn EventLog>,
    bus: Arc<dyn Bus>,
    reads: ReadModels,
    conductor: Conductor,
    worker: WorkerHandle,
    followers: Vec<JoinHandle<()>>,
}

impl Parts {
    async fn start(config: &Config, stopping: &watch::Receiver<bool>) -> Result<Self, AppError> {
        let data = &config.data_dir;
        std::fs::create_dir_all(data).map_err(io(format!("{}", data.display())))?;
        // Before anything else: two processes in one folder would damage each other.
        let lock = FolderLock::take(&data.join("log"))?;
        let cache = open_cache(&data.join("cache").join("log")).map_err(cache_error)?;
        let log = open_log(config, lock, &cache)?;
        let snapshots = Snapshots::new(tree(&cache, "snapshots")?);
        let views = Store::open(&data.join("cache").join("views")).map_err(cache_error)?;
        let (reads, conductor) =
            Conductor::start(log.clone(), Arc::new(views)).map_err(cache_error)?;
        let arbiters: Vec<Arbiter> = (0..cores()).map(|_| Arbiter::new()).collect();
        let local = Arc::new(LocalBus::default());
        local.serve_commands(Arc::new(Directory::start(&log, &snapshots, &arbiters)));
        let bus: Arc<dyn Bus> = local.clone();
        catch_up(&log, &reads).await?;
        let node_id = register_node(&config.backend.host, bus.as_ref(), &reads).await?;
        let backend = backend(&config.backend.engine, node_id);
        let concurrency = config.backend.concurrency;
        let host = config.backend.host.clone();
        let node = Arc::new(Node::new(node_id, host, backend, bus.clone(), concurrency));
        let worker = WorkerHandle::start(node, &Arbiter::new());
        local.serve_node(node_id, Arc::new(worker.clone()));
        let followers = follow(&log, &bus, &reads, &worker, stopping).await?;
        Ok(Self { log, bus, reads, conductor, worker, followers })
    }

    /// Stops what starts work, lets work end, then closes the stores.
    async fn stop(self) {
        if tokio::time::timeout(DRAIN, self.worker.node().drain()).await.is_err() {
            tracing::warn!("work is still under way; it is looked up at the next start");
        }
        for follower in self.followers {
            follower.abort();
        }
        self.log.close().await;
        let stopped = tokio::task::spawn_blocking(move || self.conductor.stop());
        if stopped.await.is_err() {
            tracing::warn!("the read models did not stop cleanly");
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn open_log(
    config: &Config,
    lock: FolderLock,
    cache: &sled::Db,
) -> Result<Arc<dyn EventLog>, AppError> {
    let index = cache.open_tree("log").map_err(|error| AppError::ReadModels(error.to_string()))?;
    let segment_bytes = config.log.segment_bytes;
    let options = SegmentOptions { segment_bytes, folder: clock::new_uuid() };
    Ok(Arc::new(SegmentLog::open_locked(lock, options, index)?))
}

fn tree(cache: &sled::Db, name: &str) -> Result<sled::Tree, AppError> {
    cache.open_tree(name).map_err(cache_error)
}

fn cache_error(error: impl std::fmt::Display) -> AppError {
    AppError::ReadModels(error.to_string())
}

fn backend(engine: &Engine, node_id: ObjectId) -> Arc<dyn Backend> {
    match engine {
        Engine::Docker { socket } => Arc::new(DockerBackend::new(socket.clone(), node_id)),
        Engine::Fake => Arc::new(FakeBackend::new(FakeEngine::new(clock::now()), node_id)),
    }
}

/// Waits until queries answer for everything that the log holds.
async fn catch_up(log: &Arc<dyn EventLog>, reads: &ReadModels) -> Result<Position, AppError> {
    let head = *log.head().borrow();
    reads.wait_for(head, CATCH_UP).await.map_err(|error| AppError::ReadModels(error.to_string()))
}

/// The id of the log's first event, which no other log has.
fn installation(log: &dyn EventLog) -> Result<Uuid, AppError> {
    let first = log.read(Position(0), 1).map_err(|error| AppError::Node(error.to_string()))?;
    let first = first.first().ok_or_else(|| AppError::Node("the log is empty".to_owned()))?;
    Ok(first.id.get())
}

/// Starts what follows the log and the engine.
async fn follow(
    log: &Arc<dyn EventLog>,
    bus: &Arc<dyn Bus>,
    reads: &ReadModels,
    worker: &WorkerHandle,
    stopping: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, AppError> {
    let position = catch_up(log, reads).await?;
    let outstanding = reads.outstanding().map_err(cache_error)?;
    let views = Arc::new(Views { log: log.clone(), reads: reads.clone() });
    let reactor = Reactor::new(log.clone(), bus.clone(), views.clone());
    Ok(vec![
        tokio::spawn(reactor.run(outstanding, position, stopping.clone())),
        tokio::spawn(watcher::watch(worker.clone(), views, stopping.clone())),
    ])
}

/// The node of this machine: the one that was registered under this host name, or a new one.
async fn register_node(
    host: &str,
    bus: &dyn Bus,
    reads: &ReadModels,
) -> Result<ObjectId, AppError> {
    let named = ListQuery {
        filters: vec![("host".to_owned(), host.to_owned())],
        limit: 1,
        ..ListQuery::default()
    };
    let found = reads.list::<NodeView>(&ProjectId::default(), &named).map_err(cache_error)?;
    if let Some(node) = found.first() {
        return Ok(node.head.uuid);
    }
    let id = clock::new_object_id();
    let command = NodeCommand::Create {
        node_type: Some("docker".to_owned()),
        image_id: None,
        ironic_node_id: None,
        host: Some(host.to_owned()),
    };
    let command =
        serde_json::to_value(&command).map_err(|error| AppError::Node(error.to_string()))?;
    let ctx = Ctx::service(clock::now(), "serve", "");
    let stream = StreamId::new(Kind::Node, id);
    bus.command(CommandMessage { stream, command, ctx })
        .await
        .map_err(|error| AppError::Node(error.to_string()))?;
    Ok(id)
}

/// Tells when the log's disk has less room than must be kept for what was accepted.
fn watch_space(
    config: &Config,
    stopping: &watch::Receiver<bool>,
) -> watch::Receiver<Option<String>> {
    let (sender, receiver) = watch::channel(low_space(&config.data_dir, config.log.reserve_bytes));
    let (data_dir, reserve) = (config.data_dir.clone(), config.log.reserve_bytes);
    let mut stopping = stopping.clone();
    tokio::spawn(async move {
        while tokio::time::timeout(SPACE_CHECK, stopping.changed()).await.is_err() {
            let low = low_space(&data_dir, reserve);
            sender.send_if_modified(|known| {
                let changed = known.is_some() != low.is_some();
                *known = low;
                changed
            });
        }
    });
    receiver
}

fn low_space(data_dir: &Path, reserve_bytes: u64) -> Option<String> {
    let free = free_bytes(data_dir).ok()?;
    (free < reserve_bytes)
        .then(|| format!("{} MiB are free, {} MiB must stay free", free >> 20, reserve_bytes >> 20))
}

/// What the actors may ask of the read models, brought up to the log's head first.
struct Views {
    log: Arc<dyn EventLog>,
    reads: ReadModels,
}

impl Views {
    async fn fresh(&self) -> Result<(), String> {
        let head = *self.log.head().borrow();
        let wait = Duration::from_secs(5);
        self.reads.wait_for(head, wait).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Members of a bay that are asked for at once.
const MEMBERS_PAGE: usize = 1_000;

#[async_trait]
impl Members for Views {
    async fn of(&self, bay_id: ObjectId) -> Result<Vec<ObjectId>, String> {
        self.fresh().await?;
        let mut all: Vec<ObjectId> = vec![];
        loop {
            let page = self.reads.members(bay_id, all.last().copied(), MEMBERS_PAGE);
            let page = page.map_err(|error| error.to_string())?;
            all.extend(&page);
            if page.len() < MEMBERS_PAGE {
                return Ok(all);
            }
        }
    }
}

#[async_trait]
impl Inventory for Views {
    async fn on_node(&self, node_id: ObjectId) -> Result<Vec<(StreamId, String)>, String> {
        self.fresh().await?;
        let reads = self.reads.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let mut found = vec![];
            let scanned = reads.each(|container: ContainerView| {
                if container.node_uuid == node_id {
                    let stream = StreamId::new(Kind::Container, container.head.uuid);
                    found.push((stream, container.status));
                }
            });
            scanned.map(|()| found)
        });
        let found = scanned.await.map_err(|error| error.to_string())?;
        found.map_err(|error| error.to_string())
    }
}

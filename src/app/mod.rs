//! The composition root: starts the parts in order and stops them in reverse.
//!
//! Not here: flags (`cli`), what each part does.

mod archive;
mod backup;
mod import;
pub mod parts;
pub mod site;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use uuid::Uuid;

use self::parts::{Base, Parts};
use crate::actors::snapshot::Snapshots;
use crate::backends::Backend;
use crate::backends::docker::DockerBackend;
use crate::backends::fake::{FakeBackend, FakeEngine};
use crate::backends::unsealing::Unsealing;
use crate::clock;
use crate::config::{Config, Engine};
use crate::events::log::segment::disk::free_bytes;
use crate::events::log::segment::manifest::BackupError;
use crate::events::log::segment::{FolderLock, SegmentLog, SegmentOptions};
use crate::events::log::{EventLog, OpenError};
use crate::http::edge::audit::Audit;
use crate::http::edge::auth::Auth;
use crate::http::edge::keystone::Keystone;
use crate::http::{self, AppState};
use crate::ids::{ObjectId, Position};
use crate::projections::store::{Store, open_cache};
use crate::replay::verify::Kept;
use crate::secrets::Secrets;

pub use archive::{Archiving, UpTo};
pub use backup::backup_log;
pub use import::import_log;

/// Open requests and streams may take so long to end after SIGTERM.
const HTTP_DRAIN: Duration = Duration::from_secs(2);

/// Between two looks at the free space of the log's disk.
const SPACE_CHECK: Duration = Duration::from_millis(500);

/// Why the service did not start; the message says what helps.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
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
    /// What can be rebuilt beside the log cannot be opened.
    #[error("the cache: {0}")]
    Cache(String),
    /// Nothing was archived, or not all; the message says why.
    #[error(transparent)]
    Archive(#[from] BackupError),
    /// Events could not be imported.
    #[error("{0}")]
    Import(String),
    /// The Keystone client cannot be created.
    #[error("Keystone: {0}")]
    Keystone(String),
    /// The log does not say which installation it is of.
    #[error("the first event of the log cannot be read: {0}")]
    Installation(String),
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
    allow_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(io("the threads of the service"))?;
    actix::System::with_tokio_rt(move || runtime).block_on(run(config))
}

/// Takes as many open files as this process may have: each connection is one, and most systems
/// allow 1024 where nobody asks for more.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

async fn run(config: Config) -> Result<(), AppError> {
    let (stop, stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io("SIGINT"))?;
    let base = open(&config)?;
    let snapshots = base.snapshots.clone();
    let secrets = Secrets::new(config.data_dir.join("keys"));
    let own = |node_id| -> Arc<dyn Backend> {
        let backend = backend(&config.backend.engine, node_id);
        Arc::new(Unsealing::new(backend, secrets.clone()))
    };
    let parts = Parts::start(base, &config.backend, own, &stopping).await?;
    let listener = TcpListener::bind(config.http.listen)
        .await
        .map_err(io(format!("cannot listen on {}", config.http.listen)))?;
    let address = listener.local_addr().map_err(io("the address"))?;
    let installation = installation(parts.log.as_ref())?;
    let keystone = config.http.keystone.clone().map(Keystone::new).transpose();
    let keystone = keystone.map_err(|error| AppError::Keystone(error.to_string()))?;
    let state = AppState::new(http::Parts {
        auth: Auth::new(keystone),
        audit: Audit::new(parts.bus.clone(), config.http.audit),
        bus: parts.bus.clone(),
        reads: parts.reads.for_tenants(),
        secrets,
        kept: Kept::live(parts.reads.clone(), snapshots),
        log: parts.log.clone(),
        config: config.http.clone(),
        installation,
        stopping: stopping.clone(),
        low_space: watch_space(&config, &stopping),
    });
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

/// Opens what the data directory holds.
fn open(config: &Config) -> Result<Base, AppError> {
    let data = &config.data_dir;
    std::fs::create_dir_all(data).map_err(io(format!("{}", data.display())))?;
    // Before anything else: two processes in one folder would damage each other.
    let lock = FolderLock::take(&data.join("log"))?;
    let cache = open_cache(&data.join("cache").join("log")).map_err(cache_error)?;
    let log = open_log(config, lock, &cache)?;
    let snapshots = Snapshots::new(cache.open_tree("snapshots").map_err(cache_error)?);
    let views = Store::open(&data.join("cache").join("views")).map_err(cache_error)?;
    Ok(Base { log, snapshots, views })
}

fn open_log(
    config: &Config,
    lock: FolderLock,
    cache: &sled::Db,
) -> Result<Arc<dyn EventLog>, AppError> {
    let index = cache.open_tree("log").map_err(cache_error)?;
    let segment_bytes = config.log.segment_bytes;
    let options = SegmentOptions { segment_bytes, folder: clock::new_uuid() };
    Ok(Arc::new(SegmentLog::open_locked(lock, options, index)?))
}

/// Opens a log that no service uses, with its index in a cache, for one piece of work.
fn with_log<T>(
    cache: &Path,
    lock: FolderLock,
    work: impl AsyncFnOnce(&dyn EventLog) -> Result<T, AppError>,
) -> Result<T, AppError> {
    let cache = open_cache(cache).map_err(cache_error)?;
    let log = open_log(&Config::default(), lock, &cache)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(io("the threads of the work"))?.block_on(async {
        let done = work(log.as_ref()).await;
        log.close().await;
        done
    })
}

fn cache_error(error: impl std::fmt::Display) -> AppError {
    AppError::Cache(error.to_string())
}

fn backend(engine: &Engine, node_id: ObjectId) -> Arc<dyn Backend> {
    match engine {
        Engine::Docker { socket } => Arc::new(DockerBackend::new(socket.clone(), node_id)),
        Engine::Fake => {
            Arc::new(FakeBackend::new(FakeEngine::new(clock::now_and_instant()), node_id))
        }
    }
}

/// The id of the log's first event, which no other log has.
fn installation(log: &dyn EventLog) -> Result<Uuid, AppError> {
    let first =
        log.read(Position(0), 1).map_err(|error| AppError::Installation(error.to_string()))?;
    let first = first.first().ok_or_else(|| AppError::Installation("it is empty".to_owned()))?;
    Ok(first.id.get())
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

//! The composition root: starts the parts in order and stops them in reverse.
//!
//! Not here: flags (`cli`), what each part does.

mod archive;
mod backup;
mod check;
mod chronicle;
mod import;
pub mod parts;
pub mod site;
mod stop;
mod views;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::disable_transparent_huge_pages;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::check::DamageCheck;
use self::chronicle::Chronicle;
use self::parts::{Base, Parts};
use self::stop::Stop;
use crate::actors::snapshot::Snapshots;
use crate::backends::Backend;
use crate::backends::docker::DockerBackend;
use crate::backends::fake::{FakeBackend, FakeEngine};
use crate::backends::unsealing::Unsealing;
use crate::blocking;
use crate::clock;
use crate::config::{AuthConfig, BackendConfig, Config, Engine, StorageConfig};
use crate::events::log::segment::disk::free_bytes;
use crate::events::log::segment::manifest::BackupError;
use crate::events::log::segment::{FolderLock, SegmentLog, SegmentOptions};
use crate::events::log::{EventLog, OpenError};
use crate::files::{self, NotPrivate};
use crate::http::edge::audit::Audit;
use crate::http::edge::auth::Auth;
use crate::http::edge::tally::Tally;
use crate::http::{self, AppState, Tls};
use crate::ids::{ObjectId, Position};
use crate::projections::store::{Store, open_cache};
use crate::replay::verify::Kept;
use crate::secrets::Secrets;

pub use crate::http::edge::token_file::{IssuedToken, NewToken, TokenFile, TokenFileError};
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
    /// Others could change the data directory.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
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
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// Nobody can be asked who they are as the settings say.
    #[error("{0}")]
    Auth(String),
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
    report(&config);
    leave_no_dump();
    leave_huge_pages();
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

/// Keeps what is in memory from the disk and from other processes of this user: keys, tokens, and
/// values on their way to the engine.
fn leave_no_dump() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let kept = setrlimit(Resource::Core, none);
    let kept = kept.and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    if let Err(error) = kept {
        tracing::warn!(%error, "memory dumps of this process could not be prevented");
    }
}

/// Does without huge pages, which some systems give to every process: with them the allocator holds
/// several times the memory that is in use.
fn leave_huge_pages() {
    if let Err(error) = disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages could not be done without");
    }
}

async fn run(config: Config) -> Result<(), AppError> {
    let stop = Stop::on_signal().map_err(io("the signals"))?;
    let auth = Auth::new(&config.http, &config.data_dir).map_err(AppError::Auth)?;
    let (opening, stopping) = (config.clone(), stop.told());
    let opened = stop.or(blocking::run(move || open(&opening, &stopping))).await;
    let Some(opened) = opened else {
        // Nothing was accepted yet, so nothing is lost where it does not end in time.
        stop.closed();
        return Ok(());
    };
    let failed = |error| io("the data directory")(std::io::Error::other(error));
    let (base, check) = opened.map_err(failed)??;
    let log = base.log.clone();
    let Some(started) = stop.or(start(config, base, auth, &stop.told())).await else {
        log.close().await;
        stop.closed();
        return Ok(());
    };
    let Service { parts, mut server, url } = started?;
    tracing::info!(url, "listening");
    announce(&format!("magnum: listening on {url}"));
    check.go_on(stop.told());
    let has_ended = stop.or(&mut server).await.is_some();
    stop.begin();
    if !has_ended && tokio::time::timeout(HTTP_DRAIN, &mut server).await.is_err() {
        tracing::warn!("some requests did not end in time");
        server.abort();
    }
    parts.stop().await;
    stop.closed();
    tracing::info!("stopped");
    Ok(())
}

/// Says with which settings the service starts; none of them is secret.
fn report(config: &Config) {
    let http = &config.http;
    let auth = match &http.auth {
        AuthConfig::None => "none".to_owned(),
        AuthConfig::Tokens => "tokens".to_owned(),
        AuthConfig::Keystone(keystone) => format!("keystone at {}", keystone.url),
    };
    let engine = match &config.backend.engine {
        Engine::Docker { socket } => format!("docker at {}", socket.display()),
        Engine::Fake => "fake".to_owned(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        data = %config.data_dir.display(),
        listen = %http.listen,
        tls = http.tls.is_some(),
        public_url = http.public_url.as_ref().map(tracing::field::display),
        auth,
        engine,
        node = config.backend.host,
        request_wait_s = http.request_wait.as_secs(),
        segment_bytes = config.log.segment_bytes,
        reserve_bytes = config.log.reserve_bytes,
        audits_refusals = http.audit.refusals,
        audits_executes = http.audit.executes,
        audits_logs = http.audit.logs,
        access_log = http.access_log,
        "magnum starts"
    );
}

/// What runs once the service has started.
struct Service {
    parts: Parts,
    server: JoinHandle<()>,
    /// Where it listens.
    url: String,
}

/// Starts everything on what the data directory holds.
async fn start(
    mut config: Config,
    base: Base,
    auth: Auth,
    stopping: &watch::Receiver<bool>,
) -> Result<Service, AppError> {
    let own_port = config.share_own_port();
    let (snapshots, low_space) = (base.snapshots.clone(), base.low_space.clone());
    let secrets = Secrets::new(config.data_dir.join("keys"));
    let own = |node_id| -> Arc<dyn Backend> {
        let backend = backend(&config.backend, node_id);
        Arc::new(Unsealing::new(backend, secrets.clone()))
    };
    let before = *base.log.head().borrow();
    let parts = Parts::start(base, &config.backend, own, stopping).await?;
    let tally = Arc::<Tally>::default();
    let chronicle = Chronicle::new(parts.reads.clone(), tally.clone());
    tokio::spawn(chronicle.follow(parts.log.clone(), before));
    let listener = TcpListener::bind(config.http.listen)
        .await
        .map_err(io(format!("cannot listen on {}", config.http.listen)))?;
    let address = listener.local_addr().map_err(io("the address"))?;
    let tls = config.http.tls.clone().map(Tls::start).transpose().map_err(AppError::Tls)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    own_port.set(address.port());
    let installation = installation(parts.log.as_ref())?;
    let audit = Audit::new(parts.bus.clone(), config.http.audit);
    auth.start(&audit);
    let state = AppState::new(http::Parts {
        auth,
        audit,
        bus: parts.bus.clone(),
        reads: parts.reads.for_tenants(),
        underway: parts.underway.clone(),
        secrets,
        kept: Kept::live(parts.reads.clone(), snapshots),
        log: parts.log.clone(),
        config: config.http.clone(),
        installation,
        tally,
        storage: Some(StorageConfig {
            data_dir: config.data_dir.clone(),
            backup_dir: config.backup_dir.clone(),
        }),
        stopping: stopping.clone(),
        low_space,
    });
    let server = tokio::spawn(http::serve(listener, tls, state));
    Ok(Service { parts, server, url: format!("{scheme}://{address}") })
}

/// One line for a person, or a script, that waits for the service.
#[expect(clippy::print_stdout, reason = "the one line that a start prints")]
fn announce(line: &str) {
    println!("{line}");
}

/// Opens what the data directory holds.
fn open(
    config: &Config,
    stopping: &watch::Receiver<bool>,
) -> Result<(Base, DamageCheck), AppError> {
    let data = &config.data_dir;
    files::create_folders(data).map_err(io(format!("{}", data.display())))?;
    files::check_data(data)?;
    // Before anything else: two processes in one folder would damage each other.
    let lock = FolderLock::take(&data.join("log"))?;
    let cache = open_cache(&data.join("cache").join("log")).map_err(cache_error)?;
    // Where the system refuses threads, sled waits for its own forever when the last reference to
    // it goes, and nobody would learn why the start failed: one is kept.
    open_on(config, stopping, lock, &cache).inspect_err(|_| std::mem::forget(cache.clone()))
}

/// Opens the log and the read models of a data directory.
fn open_on(
    config: &Config,
    stopping: &watch::Receiver<bool>,
    lock: FolderLock,
    cache: &sled::Db,
) -> Result<(Base, DamageCheck), AppError> {
    let data = &config.data_dir;
    let log = open_log(config, lock, cache)?;
    let check = DamageCheck::begin(&log, config.log.check, stopping)?;
    let snapshots = Snapshots::new(cache.open_tree("snapshots").map_err(cache_error)?);
    let views = Store::open(&data.join("cache").join("views")).map_err(cache_error)?;
    let low_space = watch_space(config, stopping);
    let log = Arc::new(log);
    Ok((Base { log, snapshots, views, low_space, unique_names: config.log.unique_names }, check))
}

fn open_log(config: &Config, lock: FolderLock, cache: &sled::Db) -> Result<SegmentLog, AppError> {
    let index = cache.open_tree("log").map_err(cache_error)?;
    let segment_bytes = config.log.segment_bytes;
    let options = SegmentOptions { segment_bytes, folder: clock::new_uuid() };
    Ok(SegmentLog::open_locked(lock, options, index)?)
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
        let done = work(&log).await;
        log.close().await;
        done
    })
}

fn cache_error(error: impl std::fmt::Display) -> AppError {
    AppError::Cache(error.to_string())
}

fn backend(config: &BackendConfig, node_id: ObjectId) -> Arc<dyn Backend> {
    match &config.engine {
        Engine::Docker { socket } => {
            let backend = DockerBackend::new(socket.clone(), node_id);
            Arc::new(backend.allowing(config.allowed.clone()))
        }
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

//! Everything below the REST API, assembled over a log and stopped again.
//!
//! Not here: opening the files of a data directory, and the REST API (`app`).

use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::site::Site;
use super::views::Views;
use super::{AppError, cache_error, installation};
use crate::actors::audit::AuditWriter;
use crate::actors::directory::Directory;
use crate::actors::node::NodeCommand;
use crate::actors::objects::Objects;
use crate::actors::reactor::Reactor;
use crate::actors::reception::{HELLOS, Reception};
use crate::actors::snapshot::Snapshots;
use crate::backends::Backend;
use crate::blocking;
use crate::bus::local::LocalBus;
use crate::bus::{Authority, Bus, CommandMessage, Origin, delivery};
use crate::clock;
use crate::config::BackendConfig;
use crate::events::claim::HeldNames;
use crate::events::log::{EventLog, OpenError};
use crate::http::LatestNews;
use crate::ids::{ObjectId, Position, ProjectId};
use crate::projections::conductor::Conductor;
use crate::projections::node::NodeView;
use crate::projections::query::{ListQuery, QueryError};
use crate::projections::service_reads::ServiceReads;
use crate::projections::store::Store;

/// Work in progress may take so long to end after SIGTERM; the rest stays requested. With the
/// flushes after it the whole stop stays within 10 s.
const DRAIN: Duration = Duration::from_secs(6);

/// Read models may take so long to catch up at the start before it counts as a failure.
const CATCH_UP: Duration = Duration::from_secs(600);

/// Between two looks at whether the read models can catch up at all.
const DAMAGE_CHECK: Duration = Duration::from_millis(100);

/// What the parts stand on.
pub struct Base {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Folded states beside it.
    pub snapshots: Snapshots,
    /// Where the read models are kept.
    pub views: Store,
    /// Why there is too little room for changes; nothing while there is enough.
    pub low_space: watch::Receiver<Option<String>>,
    /// Whether no two objects may have one name.
    pub unique_names: bool,
}

/// Everything below the REST API.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// The way of the edge.
    pub bus: Arc<dyn Bus>,
    /// What answers queries.
    pub reads: ServiceReads,
    /// How far work is, beside that.
    pub underway: Arc<LatestNews>,
    /// Where the agent of this machine's node runs.
    pub site: Arc<Site>,
    conductor: Conductor,
    audit: AuditWriter,
    reactor: JoinHandle<()>,
    arbiters: Vec<Arbiter>,
}

/// What runs them, and how.
struct Threads {
    reads: ServiceReads,
    conductor: Conductor,
    /// Where the actors of objects live.
    entities: Vec<ArbiterHandle>,
    /// Where the worker does.
    worker: ArbiterHandle,
    /// Those that end with the parts.
    owned: Vec<Arbiter>,
    /// When they are to take little room.
    low_space: watch::Receiver<Option<String>>,
}

impl Parts {
    /// Starts them in an actix system, with a backend for the node of this machine.
    ///
    /// # Errors
    /// When the read models or the node cannot be had.
    pub async fn start(
        base: Base,
        config: &BackendConfig,
        backend: impl FnOnce(ObjectId) -> Arc<dyn Backend>,
        stopping: &watch::Receiver<bool>,
    ) -> Result<Self, AppError> {
        let Base { log, snapshots, views, low_space, unique_names } = base;
        let (reads, conductor) =
            Conductor::start(log.clone(), Arc::new(views)).map_err(cache_error)?;
        let own = Arbiter::new();
        let worker = own.handle();
        let mut owned: Vec<Arbiter> = (0..cores()).map(|_| Arbiter::new()).collect();
        let entities = owned.iter().map(Arbiter::handle).collect();
        owned.push(own);
        let threads = Threads { reads, conductor, entities, worker, owned, low_space };
        let direct = |bus| bus;
        let agent = |site: &Site| site.start_agent(direct, backend);
        let mut objects = Objects::new(log, snapshots);
        objects.unique_names = unique_names;
        Self::join(objects, threads, direct, config, agent, stopping).await
    }

    /// Starts them on the one thread of a simulation, which saves read models after each
    /// `save_interval`; `carry` may put something round each way to the bus, and `agent` starts the
    /// first agent.
    ///
    /// # Errors
    /// As [`Parts::start`].
    pub async fn start_simulated(
        (log, snapshots, views): (Arc<dyn EventLog>, Snapshots, Arc<Store>),
        save_interval: Duration,
        carry: impl Fn(Arc<dyn Bus>) -> Arc<dyn Bus>,
        config: &BackendConfig,
        agent: impl FnOnce(&Site),
        stopping: &watch::Receiver<bool>,
    ) -> Result<Self, AppError> {
        let (reads, conductor, following) =
            Conductor::unthreaded(log.clone(), views, save_interval);
        tokio::spawn(following);
        let here = Arbiter::current();
        let entities = vec![here.clone()];
        let (owned, low_space) = (vec![], watch::channel(None).1);
        let threads = Threads { reads, conductor, entities, worker: here, owned, low_space };
        Self::join(Objects::new(log, snapshots), threads, carry, config, agent, stopping).await
    }

    async fn join(
        objects: Objects,
        threads: Threads,
        carry: impl Fn(Arc<dyn Bus>) -> Arc<dyn Bus>,
        config: &BackendConfig,
        start_agent: impl FnOnce(&Site),
        stopping: &watch::Receiver<bool>,
    ) -> Result<Self, AppError> {
        let Threads { reads, conductor, entities, worker, owned, low_space } = threads;
        let log = objects.log.clone();
        let local = Arc::new(LocalBus::default());
        local.serve_commands(Arc::new(Directory::start(objects.clone(), entities)));
        let own = carry(local.port(Authority::Conductor));
        catch_up(&log, &reads).await?;
        learn_names(&log, &reads).await?;
        let node_id = register_node(&config.host, own.as_ref(), &reads).await?;
        let views = Arc::new(Views { log: log.clone(), reads: reads.clone() });
        let (hellos, heard) = mpsc::channel(HELLOS);
        let audit = AuditWriter::start(log.clone(), installation(log.as_ref())?, low_space);
        local.serve_conductor(Arc::new(Reception {
            bus: own.clone(),
            records: views.clone(),
            hellos,
            audit: audit.clone(),
        }));
        let underway = Arc::<LatestNews>::default();
        local.serve_edge(underway.clone());
        let bus = carry(local.port(Authority::Edge));
        let site = Site::new(local, node_id, config.clone(), worker, stopping.clone());
        start_agent(&site);
        let position = catch_up(&log, &reads).await?;
        let outstanding = reads.outstanding().map_err(cache_error)?;
        let reactor = Reactor::new(objects, own, views, heard);
        let reactor = tokio::spawn(reactor.run(outstanding, position, stopping.clone()));
        let site = Arc::new(site);
        Ok(Self { log, bus, reads, underway, site, conductor, audit, reactor, arbiters: owned })
    }

    /// Stops what starts work, lets work end, then closes the stores.
    pub async fn stop(self) {
        if tokio::time::timeout(DRAIN, self.site.drain()).await.is_err() {
            tracing::warn!("work is still in progress; it is looked up at the next start");
        }
        self.reactor.abort();
        self.site.stop();
        self.audit.close().await;
        self.log.close().await;
        for arbiter in self.arbiters {
            arbiter.stop();
        }
        if let Err(error) = blocking::run(move || self.conductor.stop()).await {
            tracing::warn!(%error, "the read models did not stop cleanly");
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Waits until queries answer for everything that the log holds, or can not because it is damaged.
async fn catch_up(log: &Arc<dyn EventLog>, reads: &ServiceReads) -> Result<Position, AppError> {
    let head = *log.head().borrow();
    let damage = async {
        loop {
            if let Some(words) = reads.damage() {
                return AppError::Log(OpenError::Damaged(words));
            }
            tokio::time::sleep(DAMAGE_CHECK).await;
        }
    };
    tokio::select! {
        at = reads.wait_for(head, CATCH_UP) => {
            at.map_err(|error| AppError::ReadModels(error.to_string()))
        }
        error = damage => Err(error),
    }
}

/// Tells the log who holds which name, where builds that record no claims gave objects names or
/// deleted some (rule L9). Once the records say it, this costs nothing.
async fn learn_names(log: &Arc<dyn EventLog>, reads: &ServiceReads) -> Result<(), AppError> {
    if log.knows_all_names() {
        log.all_names_are_recorded();
        return Ok(());
    }
    let (log, reads) = (log.clone(), reads.clone());
    let learn = move || {
        let mut held = HeldNames::new();
        reads.names(|holder, name| {
            held.insert((name.digest(), holder));
        })?;
        match log.learn_names(&held) {
            Ok(0) => log.all_names_are_recorded(),
            Ok(unrecorded) => tracing::info!(unrecorded, "an earlier version gave or freed names"),
            Err(error) => return Err(QueryError::Unreadable(error.to_string())),
        }
        Ok(())
    };
    blocking::run(learn).await.map_err(AppError::ReadModels)?.map_err(cache_error)
}

/// The node of this machine: the one that was registered under this host name, or a new one.
async fn register_node(
    host: &str,
    bus: &dyn Bus,
    reads: &ServiceReads,
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
    let message = CommandMessage::new(id, &command, Origin::service("serve", ""));
    let made = async { delivery::ask(bus, message?).await };
    made.await.map_err(|error| AppError::Node(error.to_string()))?;
    Ok(id)
}

//! A server from its start to its death, and who starts the next one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use magnum::actors::snapshot::Snapshots;
use magnum::app::parts::Parts;
use magnum::app::site::Site;
use magnum::backends::fake::FakeBackend;
use magnum::config::{BackendConfig, Config, Engine};
use magnum::events::log::segment::simulated::Faults;
use magnum::events::log::segment::{SegmentOptions, stepped};
use magnum::events::log::{EventLog, OpenError};
use magnum::http::edge::audit::Audit;
use magnum::http::edge::auth::Auth;
use magnum::http::{self, AppState};
use magnum::ids::Position;
use magnum::projections::service_reads::ServiceReads;
use magnum::projections::store::Store;
use magnum::replay::verify::Kept;
use magnum::secrets::Secrets;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::ports::{Fence, SimulatedBackend, SimulatedBus, SimulatedLog};
use crate::saved::Saved;
use crate::world::{World, locked};

/// Largest answer that a client reads.
const ANSWER_BYTES: usize = 16 << 20;

/// A server.
pub struct Life {
    pub fence: Arc<Fence>,
    pub reads: ServiceReads,
    pub log: Arc<SimulatedLog>,
    pub snapshots: Snapshots,
    api: BoxCloneSyncService<Request, Response, Infallible>,
    /// Until it stops.
    parts: Mutex<Option<Parts>>,
    stop: watch::Sender<bool>,
}

/// What a client gets.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub json: Value,
}

impl Answer {
    /// What a program tells refusals apart by.
    pub fn code(&self) -> &str {
        self.json["errors"][0]["code"].as_str().unwrap_or_default()
    }
}

impl Life {
    async fn start(
        world: &Arc<World>,
        fence: Arc<Fence>,
        saved: Arc<Store>,
    ) -> Result<Self, String> {
        let options = SegmentOptions { segment_bytes: world.segment_bytes, folder: world.folder };
        let disk = Arc::new(world.disk.clone());
        let words = |error: OpenError| error.to_string();
        let (log, steps) =
            stepped::open(disk, options, world.trees.index.clone()).map_err(words)?;
        let log = SimulatedLog::new(log, steps, &fence);
        let snapshots = Snapshots::new(world.trees.snapshots.clone());
        let (stop, stopping) = watch::channel(false);
        let (host, engine) = ("simulated".to_owned(), Engine::Fake);
        let config = BackendConfig {
            host,
            engine,
            concurrency: 4,
            allowed: Config::default().backend.allowed,
        };
        let carry = |inner| Arc::new(SimulatedBus { inner, fence: fence.clone() }) as _;
        let on = (log.clone() as Arc<dyn EventLog>, snapshots.clone(), saved);
        let agent = |site: &Site| start_agent(world, &fence, site);
        let save_every = Duration::from_millis(500 + world.below(30_000));
        let parts = Parts::start_simulated(on, save_every, carry, &config, agent, &stopping).await;
        let parts = parts.map_err(|error| error.to_string())?;
        tokio::spawn(supervise_agent(world.clone(), fence.clone(), parts.site.clone()));
        let first = log.read(Position(0), 1).map_err(|error| error.to_string())?;
        let installation = first.first().ok_or("the log is empty")?.id.get();
        let (config, keys) = (Config::default().http, world.trees.keys.path());
        let (_space, low_space) = watch::channel(None);
        let state = AppState::new(http::Parts {
            auth: Auth::new(&config, keys)?,
            audit: Audit::new(parts.bus.clone(), config.audit),
            bus: parts.bus.clone(),
            reads: parts.reads.for_tenants(),
            underway: parts.underway.clone(),
            secrets: Secrets::new(keys.to_owned()),
            kept: Kept::live(parts.reads.clone(), snapshots.clone()),
            log: parts.log.clone(),
            config,
            installation,
            tally: Arc::default(),
            storage: None,
            stopping,
            low_space,
        });
        let api = BoxCloneSyncService::new(http::service(state));
        let (reads, parts) = (parts.reads.clone(), Mutex::new(Some(parts)));
        Ok(Self { fence, reads, log, snapshots, api, parts, stop })
    }

    /// Has it stop as an operator would.
    pub fn order_stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops it once that was ordered, and returns when it has.
    async fn stopped(&self, world: &World) {
        drop(self.stop.subscribe().wait_for(|stops| *stops).await);
        world.note(|| "the server stops".to_owned());
        world.life.send_replace(None);
        // What is being answered may end.
        world.pause(2000).await;
        let parts = locked(&self.parts).take();
        if let Some(parts) = parts {
            parts.stop().await;
        }
        // The read models end by themselves.
        tokio::time::sleep(Duration::from_millis(1)).await;
        world.note(|| "the server has stopped".to_owned());
    }

    /// Whether it can still record something.
    pub fn is_well(&self) -> bool {
        !self.fence.is_dead() && self.log.health().failed.is_none()
    }

    /// Sends a request; `None` if the server dies before it answers.
    pub async fn call(&self, request: Request) -> Option<Answer> {
        let answered = async {
            let Ok(response) = self.api.clone().oneshot(request).await;
            let (head, body) = response.into_parts();
            let bytes = to_bytes(body, ANSWER_BYTES).await.ok()?;
            Some(Answer {
                status: head.status.as_u16(),
                json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            })
        };
        tokio::select! {
            biased;
            () = self.fence.died() => None,
            answer = answered => answer,
        }
    }

    /// A GET; `None` if the server dies.
    pub async fn get(&self, path: &str) -> Option<Answer> {
        self.call(request("GET", path, &BTreeMap::new(), None)).await
    }
}

/// A request as a client sends it.
pub fn request(
    method: &str,
    path: &str,
    headers: &BTreeMap<&str, String>,
    body: Option<&Value>,
) -> Request {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let body = match body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            Body::from(body.to_string())
        }
        None => Body::empty(),
    };
    request.body(body).expect("a request")
}

/// Starts a server, and another one after each that dies.
pub async fn supervise(world: Arc<World>) {
    loop {
        world.disk.inject(faults(&world));
        let (fence, saved) = (Fence::new(&world), Saved::new(&world));
        let started = tokio::select! {
            biased;
            () = fence.died() => None,
            started = Life::start(&world, fence.clone(), saved.store.clone()) => Some(started),
        };
        match started {
            Some(Ok(life)) => {
                world.note(|| "a server is up".to_owned());
                let life = Arc::new(life);
                world.life.send_replace(Some(life.clone()));
                tokio::select! {
                    biased;
                    () = fence.died() => {}
                    () = life.stopped(&world) => {}
                }
                world.life.send_replace(None);
            }
            Some(Err(words)) => {
                if world.is_calm() {
                    world.broken(format!("a server does not start: {words}"));
                    return;
                }
                world.note(|| format!("a server did not start: {words}"));
            }
            None => {}
        }
        // Dead also where it did not start: nothing of it may go on.
        fence.kill();
        saved.end(&world);
        lose(&world);
        let down_ms = 200 + world.below(if world.is_calm() { 1000 } else { 20_000 });
        world.note(|| format!("no server for {down_ms} ms"));
        tokio::time::sleep(Duration::from_millis(down_ms)).await;
    }
}

/// Starts an agent of a server.
fn start_agent(world: &Arc<World>, server: &Arc<Fence>, site: &Site) {
    let fence = Fence::agent(server);
    let carry = |inner| Arc::new(SimulatedBus { inner, fence: fence.clone() }) as _;
    let backend = |node_id| {
        let inner = FakeBackend::new(world.engine.clone(), node_id);
        Arc::new(SimulatedBackend { inner, fence: fence.clone() }) as _
    };
    site.start_agent(carry, backend);
}

/// Starts an agent after each that dies, while its server lives.
async fn supervise_agent(world: Arc<World>, server: Arc<Fence>, site: Arc<Site>) {
    loop {
        server.agent_died().await;
        if server.is_dead() {
            return;
        }
        let down_ms = 200 + world.below(if world.is_calm() { 1000 } else { 20_000 });
        world.note(|| format!("no agent for {down_ms} ms"));
        tokio::time::sleep(Duration::from_millis(down_ms)).await;
        if !server.is_dead() {
            world.note(|| "an agent is up".to_owned());
            start_agent(&world, &server, &site);
        }
    }
}

/// What is lost with a server.
fn lose(world: &World) {
    if world.disk.is_off() || (world.weather.power_cuts && world.one_in(2)) {
        world.note(|| "the power was cut".to_owned());
        world.disk.restart(world.below(u64::MAX));
    }
    world.disk.inject(Faults::default());
    world.trees.index.clear().expect("cleared");
    if world.one_in(3) {
        world.trees.snapshots.clear().expect("cleared");
    }
}

/// What goes wrong with the disk of the next server.
fn faults(world: &World) -> Faults {
    let mut faults = Faults::default();
    if !world.weather.disk_faults || world.is_calm() {
        return faults;
    }
    match world.below(4) {
        0 => faults.write_error_in = Some(world.below(200)),
        1 => faults.sync_error_in = Some(world.below(200)),
        2 => faults.power_off_in = Some(world.below(400)),
        _ => {}
    }
    faults
}

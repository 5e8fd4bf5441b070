//! The whole service over a bus that loses, repeats, delays and reorders every kind of message (F8,
//! F10, F11): it comes to the same end as over a good one, and nothing happens twice that must not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use magnum::actors::bay::BayCommand;
use magnum::actors::container::ContainerCommand as Command;
use magnum::actors::placement::NodeFacts;
use magnum::actors::snapshot::Snapshots;
use magnum::app::parts::Parts;
use magnum::app::site::Site;
use magnum::backends::Progress;
use magnum::backends::fake::{FakeBackend, FakeEngine};
use magnum::bus::local::LocalBus;
use magnum::bus::lossy::{Lossy, Odds, Trouble};
use magnum::bus::{
    Authority, Bus, CommandMessage, EdgePort, NounCommand, Origin, Place, SessionId, Underway,
    delivery,
};
use magnum::clock;
use magnum::config::{BackendConfig, Config};
use magnum::events::bay::BayPlan;
use magnum::events::container::ContainerSpec;
use magnum::events::log::EventLog;
use magnum::events::log::memory::MemoryLog;
use magnum::http::LatestNews;
use magnum::ids::{EventId, ObjectId, Timestamp};
use magnum::projections::TaskView;
use magnum::projections::container::ContainerView;
use magnum::projections::store::Store;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Longer than anything is retried: a work item's six attempts, each of them offered five times.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is left, and what was done on the way there.
#[derive(Debug, PartialEq)]
struct End {
    containers: Vec<(u128, Option<String>)>,
    on_engine: Vec<String>,
    networks: usize,
    once: Vec<&'static str>,
}

fn object(number: u128) -> ObjectId {
    ObjectId(Uuid::from_u128(number))
}

struct Life {
    parts: Parts,
    node: ObjectId,
}

impl Life {
    async fn ask<C: NounCommand>(&mut self, number: u128, command: &C) {
        let message = CommandMessage::new(object(number), command, Origin::default()).unwrap();
        delivery::ask(self.parts.bus.as_ref(), message).await.unwrap();
    }

    async fn create(&mut self, number: u128) {
        let spec = ContainerSpec {
            // Which is pulled first, so that it is told how far that is.
            image: "busybox:1".to_owned(),
            command: vec!["sleep".to_owned(), "100000".to_owned()],
            ..ContainerSpec::default()
        };
        let create = Command::Create {
            name: None,
            desc: None,
            spec,
            bay_id: object(1),
            node_id: self.node,
            host: "n1".to_owned(),
        };
        self.ask(number, &create).await;
    }

    async fn bay(&mut self) {
        let plan = BayPlan {
            name: None,
            baymodel_id: object(99),
            node_count: 1,
            discovery_url: None,
            create_timeout_min: 0,
            bay_type: None,
            image_id: None,
        };
        let node = NodeFacts {
            node_id: self.node,
            host: "n1".to_owned(),
            registered: true,
            unavailable: None,
            bays: 0,
        };
        self.ask(1, &BayCommand::Create { plan, nodes: vec![node], coe: None }).await;
    }

    /// Waits until nothing waits for work.
    async fn quiet(&self) {
        let begin = Instant::now();
        loop {
            let head = *self.parts.log.head().borrow();
            self.parts.reads.wait_for(head, PATIENCE).await.unwrap();
            let waiting = self.parts.reads.outstanding().unwrap();
            if waiting.is_empty() {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{waiting:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn live(carry: impl Fn(Arc<dyn Bus>) -> Arc<dyn Bus>) -> End {
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new());
    let engine = FakeEngine::new(clock::now_and_instant());
    let config = BackendConfig { host: "n1".to_owned(), ..Config::default().backend };
    let (_stop, stopping) = watch::channel(false);
    let mut node = ObjectId::default();
    let backend = |id| {
        node = id;
        Arc::new(FakeBackend::new(engine.clone(), id)) as _
    };
    let db = sled::Config::new().temporary(true).open().unwrap();
    let views = db.open_tree("views").unwrap();
    let on = (log, Snapshots::default(), Arc::new(Store::over(db, views)));
    let agent = |site: &Site| site.start_agent(&carry, backend);
    let save_every = Duration::from_secs(1);
    let parts = Parts::start_simulated(on, save_every, &carry, &config, agent, &stopping);
    let parts = parts.await.unwrap();
    let mut life = Life { parts, node };
    life.bay().await;
    life.quiet().await;
    for number in 1..=5 {
        life.create(number).await;
        life.ask(number, &Command::Start).await;
    }
    life.quiet().await;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    life.ask(1, &Command::Execute { command: words("echo hi") }).await;
    life.ask(1, &Command::Kill { signal: "SIGHUP".to_owned() }).await;
    life.ask(2, &Command::Kill { signal: "SIGKILL".to_owned() }).await;
    life.ask(3, &Command::Stop { grace_s: 0 }).await;
    life.ask(4, &Command::Pause).await;
    life.ask(5, &Command::Delete).await;
    life.quiet().await;
    // What the engine does by itself is found as well.
    engine.exit(object(1), 3);
    sleep(Duration::from_secs(180)).await;
    life.quiet().await;
    let status = |number| {
        let view = life.parts.reads.any::<ContainerView>(object(number)).unwrap();
        view.map(|view| view.status.name().to_owned())
    };
    let containers = (1..=5).map(|number| (number, status(number))).collect();
    let mut on_engine: Vec<String> =
        engine.containers().iter().map(|one| format!("{:?} {:?}", one.stream, one.state)).collect();
    on_engine.sort();
    let mut once: Vec<_> = engine.effects().into_iter().map(|(_, what)| what).collect();
    once.retain(|what| ["execute", "kill", "create"].contains(what));
    once.sort_unstable();
    let networks = engine.networks().len();
    life.parts.stop().await;
    End { containers, on_engine, networks, once }
}

#[test]
fn a_bad_bus_changes_nothing_about_the_end() {
    actix::System::new().block_on(async {
        tokio::time::pause();
        let expected = live(|bus| bus).await;
        let statuses: Vec<_> = expected.containers.iter().map(|(_, it)| it.as_deref()).collect();
        let wanted = [Some("Stopped"), Some("Stopped"), Some("Stopped"), Some("Paused"), None];
        assert_eq!(statuses, wanted);
        let odds = Odds { lost: 80, answer_lost: 80, twice: 150, late: 300, late_ms: 3_000 };
        for seed in 0..20 {
            let trouble = Arc::new(Trouble::new(odds, seed));
            let end = live(|bus| Lossy::around(bus, trouble.clone())).await;
            assert_eq!(end, expected, "seed {seed}");
        }
    });
}

/// What is shown of work in progress, and which news arrived of it.
#[derive(Default)]
struct Shown {
    latest: LatestNews,
    arrived: Mutex<Vec<u64>>,
}

impl EdgePort for Shown {
    fn underway(&self, news: Underway) {
        self.arrived.lock().unwrap().push(news.place.number);
        self.latest.underway(news);
    }
}

impl Shown {
    /// How far a container's image is, where the log says that it is being pulled.
    fn progress(&self, work_id: EventId) -> Option<String> {
        let task = TaskView {
            id: work_id,
            action: "create".to_owned(),
            requested_at: Timestamp(0),
            attempts: 0,
            blocked_on: None,
            reason: None,
            blocked_since: None,
            retry_at: None,
            progress: Some("pulling i".to_owned()),
        };
        let mut view = ContainerView { tasks: vec![task], ..ContainerView::default() };
        self.latest.tell(&mut view);
        view.tasks.remove(0).progress
    }
}

/// What comes late or twice takes nobody back, and what is lost is made up for by the next.
#[tokio::test(start_paused = true)]
async fn the_latest_that_arrives_of_work_in_progress_is_what_is_shown() {
    let odds = Odds { lost: 300, answer_lost: 0, twice: 300, late: 500, late_ms: 5_000 };
    let mut overtook = 0;
    for seed in 0..20 {
        let (local, shown) = (Arc::new(LocalBus::default()), Arc::new(Shown::default()));
        local.serve_edge(shown.clone());
        let node_id = object(1);
        let agent = local.port(Authority::Agent(node_id));
        let bus = Lossy::around(agent, Arc::new(Trouble::new(odds, seed)));
        let (work_id, session) = (EventId(Uuid::from_u128(2)), SessionId(Uuid::from_u128(3)));
        for number in 0..=20 {
            let place = Place { session, number };
            let progress = Progress::pulling("i", number * 1_000_000, 20_000_000);
            bus.underway(Underway { node_id, work_id, attempt: 1, place, progress }).await;
            sleep(Duration::from_secs(1)).await;
            let best = shown.arrived.lock().unwrap().iter().max().copied();
            let told = best.map(|mb| format!("pulling i ({mb} of 20 MB)"));
            assert_eq!(shown.progress(work_id), told.or(Some("pulling i".to_owned())), "{seed}");
        }
        overtook += u32::from(!shown.arrived.lock().unwrap().is_sorted());
    }
    assert!(overtook > 0);
}

//! The whole service over a bus that loses, repeats, delays and reorders every kind of message (F8,
//! F10, F11): it comes to the same end as over a good one, and nothing happens twice that must not.

use std::sync::Arc;
use std::time::Duration;

use magnum::actors::bay::BayCommand;
use magnum::actors::container::ContainerCommand as Command;
use magnum::actors::placement::NodeFacts;
use magnum::actors::snapshot::Snapshots;
use magnum::app::parts::Parts;
use magnum::app::site::Site;
use magnum::backends::fake::{FakeBackend, FakeEngine};
use magnum::bus::lossy::{Lossy, Odds, Trouble};
use magnum::bus::{Bus, CommandMessage, NounCommand, Origin, delivery};
use magnum::clock;
use magnum::config::{BackendConfig, Config};
use magnum::events::bay::BayPlan;
use magnum::events::container::ContainerSpec;
use magnum::events::log::EventLog;
use magnum::events::log::memory::MemoryLog;
use magnum::ids::ObjectId;
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
            image: "busybox:local".to_owned(),
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

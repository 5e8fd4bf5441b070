//! Commands within one process, beside appends to the same log without the road around them; and
//! how long an object takes to wake up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use futures_util::future::join_all;
use magnum::actors::aggregate::Aggregate;
use magnum::actors::baymodel::{Baymodel, BaymodelCommand};
use magnum::actors::directory::Directory;
use magnum::actors::objects::Objects;
use magnum::actors::snapshot::Snapshots;
use magnum::bus::{Authority, CommandMessage, CommandPort, Origin};
use magnum::clock;
use magnum::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
use magnum::events::log::segment::SegmentLog;
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::{FieldChange, UpdatedV1};
use magnum::events::{Meta, NewEvent};
use magnum::ids::{Kind, ObjectId, Revision, StreamId};
use uuid::Uuid;

use crate::log::{Opened, append_for};
use crate::report::{Report, percentile, rate};

/// Those who ask at the same time.
const CLIENTS: u128 = 64;

/// Appends and commands take turns so often, so that all see the same moods of the disk.
const TURNS: u32 = 4;

/// How long a turn lasts.
const TURN: Duration = Duration::from_secs(1);

/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 256;

/// How often an object is woken up.
const LOADS: usize = 200;

/// What commands do, and whether each makes an object.
const KINDS: [(&str, bool); 2] = [("changes an object", false), ("makes one", true)];

/// Measures commands, then waking up.
pub fn measure(report: &mut Report) {
    commands(report);
    loads(report);
}

fn commands(report: &mut Report) {
    let Opened { log, folder: _folder } = Opened::new();
    let events: Arc<dyn EventLog> = log.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("threads");
    let system = actix::System::with_tokio_rt(move || runtime);
    let arbiters = [Arbiter::new(), Arbiter::new()];
    let objects = Objects::new(events, Snapshots::default());
    let directory = Directory::start(objects, arbiters.iter().map(Arbiter::handle).collect());
    let directory = Arc::new(directory);
    let mut appends = Sum::default();
    let mut sums = KINDS.map(|_| Sum::default());
    // From 1 on, so that no two of these begin with the same object.
    for turn in 1..=u128::from(TURNS) {
        appends.measure(&log, || append_for(&log, CLIENTS as usize, TURN));
        for (number, ((_, makes), sum)) in (1..).zip(KINDS.iter().zip(&mut sums)) {
            let first = turn << (32 * number);
            sum.measure(&log, || system.block_on(command_for(&directory, first, *makes)));
        }
    }
    for ((what, _), sum) in KINDS.iter().zip(sums) {
        let share = sum.rate() / appends.rate();
        let figure = format!("{:.0}/s, {share:.2} of the append rate", sum.rate());
        let beside = format!(
            "{:.0} appends/s, {:.0} a sync; commands: {:.0} a sync",
            appends.rate(),
            appends.group(),
            sum.group()
        );
        let what = format!("The whole road, {CLIENTS} clients, each command {what}");
        report.add(&what, &figure, "0.5 of the append rate", share >= 0.5, &beside);
    }
}

/// What several turns come to.
#[derive(Default)]
struct Sum {
    appends: u64,
    syncs: u64,
    took: Duration,
}

impl Sum {
    fn measure(&mut self, log: &SegmentLog, turn: impl FnOnce() -> Duration) {
        let before = log.health();
        self.took += turn();
        let after = log.health();
        self.appends += after.appends - before.appends;
        self.syncs += after.syncs - before.syncs;
    }

    fn rate(&self) -> f64 {
        rate(self.appends, self.took)
    }

    fn group(&self) -> f64 {
        self.appends as f64 / self.syncs.max(1) as f64
    }
}

/// Has every client send commands until the time is over, each to an object of its own, or each
/// to a new one; how long it was. Objects are numbered from `first` on.
async fn command_for(directory: &Arc<Directory>, first: u128, makes: bool) -> Duration {
    let begin = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let directory = directory.clone();
        tokio::spawn(async move {
            for turn in 0.. {
                let (number, turn) = if makes { (turn, 0) } else { (0, turn) };
                let number = 1 + first + client + CLIENTS * u128::from(number);
                let message = command(number, turn);
                directory.command(message, Authority::Edge).await.expect("a command");
                if begin.elapsed() > TURN {
                    break;
                }
            }
        })
    });
    for client in join_all(clients).await {
        client.expect("a client");
    }
    begin.elapsed()
}

/// The first command of an object makes it, every other one changes it.
fn command(number: u128, turn: u64) -> CommandMessage {
    let command = if turn == 0 {
        BaymodelCommand::Create { fields: fields() }
    } else {
        let value = serde_json::to_string(&text()).expect("a text");
        BaymodelCommand::Update { changes: vec![FieldChange { field: "name".into(), value }] }
    };
    let origin = Origin { request_id: "req-1".to_owned(), ..Origin::default() };
    CommandMessage::new(stream(number).id, &command, origin).expect("a command")
}

/// Waking up: all events of an object, and a snapshot with what came after it.
fn loads(report: &mut Report) {
    let Opened { log, folder } = Opened::new();
    let cache = sled::open(folder.path().join("cache")).expect("a cache");
    let kept = Snapshots::new(cache.open_tree("snapshots").expect("a tree"));
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let (whole, tail) = (stream(1), stream(2));
    runtime.block_on(fill(&log, whole, 0, 1_000));
    runtime.block_on(fill(&log, tail, 0, 900));
    load(tail, &log, &kept);
    runtime.block_on(fill(&log, tail, 900, 100));
    for (what, stream, snapshots, limit) in [
        ("1,000 events", whole, Snapshots::default(), Duration::from_millis(1)),
        ("100 events after a snapshot", tail, kept, Duration::from_micros(200)),
    ] {
        let mut times: Vec<Duration> = (0..LOADS)
            .map(|_| {
                let start = Instant::now();
                load(stream, &log, &snapshots);
                start.elapsed()
            })
            .collect();
        let median = percentile(&mut times, 0.5);
        let beside = format!("median of {LOADS}; p99 {:.2?}", percentile(&mut times, 0.99));
        let what = format!("Load one actor: {what}");
        let (figure, target) = (format!("{median:.2?}"), format!("{limit:.0?}"));
        report.add(&what, &figure, &target, median <= limit, &beside);
    }
    runtime.block_on(log.close());
}

fn load(stream: StreamId, log: &SegmentLog, snapshots: &Snapshots) {
    Aggregate::<Baymodel>::load(stream, log, snapshots).expect("an object");
}

/// Gives an object so many events, from a revision on.
async fn fill(log: &SegmentLog, stream: StreamId, from: u64, count: u64) {
    let meta = Meta { user: "bench".into(), request_id: "req-1".into(), ..Meta::default() };
    let events = (from..from + count).map(|revision| {
        let event = if revision == 0 { created() } else { updated() };
        NewEvent::new(clock::new_event_id(), clock::now(), meta.clone(), &event)
    });
    let expected =
        from.checked_sub(1).map_or(Expected::NoStream, |before| Expected::Exact(Revision(before)));
    let append = Append { stream, expected, command: None, events: events.collect() };
    log.append(append).await.expect("an append");
}

fn created() -> BaymodelEvent {
    BaymodelEvent::Created(BaymodelCreatedV1 { fields: fields() })
}

fn updated() -> BaymodelEvent {
    let value = serde_json::to_string(&text()).expect("a text");
    BaymodelEvent::Updated(UpdatedV1 { changes: vec![FieldChange { field: "name".into(), value }] })
}

fn fields() -> BaymodelFields {
    BaymodelFields { name: Some(text()), coe: "docker".into(), ..BaymodelFields::default() }
}

fn text() -> String {
    "x".repeat(PAYLOAD_BYTES - 32)
}

fn stream(number: u128) -> StreamId {
    StreamId::new(Kind::Baymodel, ObjectId(Uuid::from_u128(number)))
}

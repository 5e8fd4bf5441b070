//! The event log by itself: appending, folding, verifying, opening, and the room it takes.
//!
//! `MAGNUM_BENCH_EVENTS` is the size of the log that is verified and opened (10,000,000). Not here:
//! what stands on it (actors, views, the REST API).

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs};

use magnum::actors::container::{Container, ContainerState};
use magnum::actors::{Entity, Fact};
use magnum::clock;
use magnum::events::container::{
    ActionDoneV1, ActionRequestedV1, ContainerEvent, CreateRequestedV1, CreatedV1, StopRequestedV1,
};
use magnum::events::log::chain::CONTENT_HEADER_BYTES;
use magnum::events::log::segment::{SegmentLog, SegmentOptions, info, verify};
use magnum::events::log::{Append, CommandKey, EventLog, Expected, LogHealth};
use magnum::events::work::Placement;
use magnum::events::{EventRef, EventType, Meta, NewEvent, codec};
use magnum::ids::{
    CommandId, EventId, Kind, ObjectId, Position, ProjectId, Revision, StreamId, Timestamp,
};
use magnum::projections::store::open_cache;
use tempfile::TempDir;

use crate::probe::Probe;
use crate::report::{Report, rate};

/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 256;

/// Bytes of a segment, as the server makes them.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Log and probe take turns so often, so that both see the same moods of the disk.
const TURNS: u32 = 5;

/// How long a turn of either lasts.
const TURN: Duration = Duration::from_secs(1);

/// Events that are folded.
const FOLDED: u64 = 1_000_000;

/// Events of an object in the logs that are made here, and of one append of them.
const OBJECT_EVENTS: u64 = 50;
const APPEND_EVENTS: u64 = 10;

/// Appends that are on their way at once while a log is made.
const WAVE: usize = 1000;

/// Tells this program to make a log in a folder, and to be killed.
const FILL: &str = "MAGNUM_BENCH_FILL";

/// Appends by one and by many clients.
pub fn appends(report: &mut Report) {
    for clients in [1, 64, 512] {
        append(report, clients);
    }
}

/// Everything else.
pub fn measure(report: &mut Report) {
    fold(report);
    large(report);
}

/// A log with its folder.
pub struct Opened {
    /// The log.
    pub log: Arc<SegmentLog>,
    /// Its folder, on the disk of `target`.
    pub folder: TempDir,
}

impl Opened {
    /// A new log.
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let log = Arc::new(open(folder.path()));
        Self { log, folder }
    }
}

fn open(folder: &Path) -> SegmentLog {
    let options = SegmentOptions { segment_bytes: SEGMENT_BYTES, folder: clock::new_uuid() };
    let index = open_cache(&folder.join("index")).expect("an index");
    let index = index.open_tree("log").expect("a tree");
    SegmentLog::open(&folder.join("log"), options, index).expect("a log")
}

/// An id that no other event of this run has: making one is the caller's, not the log's.
fn event_id() -> EventId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    EventId(uuid::Uuid::from_u64_pair(0x4A, NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Who and why, as a request has it.
fn meta() -> Meta {
    Meta {
        project: ProjectId("b1d6b1c4a0f24d1c".to_owned()),
        user: "operator".to_owned(),
        roles: vec!["member".to_owned()],
        request_id: "req-5f2f6f6e-0f5e-4d0e-8b7a-6c1f7f9c8a11".to_owned(),
        ..Meta::default()
    }
}

/// An event with a payload of [`PAYLOAD_BYTES`].
fn event() -> NewEvent {
    NewEvent {
        id: event_id(),
        time: Timestamp(1_700_000_000_000_000),
        event_type: EventType::known("container.started"),
        version: 1,
        meta: meta(),
        payload: vec![0xEE; PAYLOAD_BYTES].into(),
    }
}

/// What happens to a container: made, started, and then stopped and started again and again.
fn history(number: u64, before: EventId) -> NewEvent {
    let work_id = before;
    let event = match number {
        0 => ContainerEvent::CreateRequested(CreateRequestedV1 {
            name: Some("web".to_owned()),
            desc: None,
            spec: magnum::events::container::ContainerSpec {
                image: "registry.example.com/team/web:1.2.3".to_owned(),
                command: vec!["serve".to_owned(), "--port".to_owned(), "80".to_owned()],
                ..Default::default()
            },
            bay_id: ObjectId(uuid::Uuid::from_u128(1)),
            placement: Placement {
                node_id: ObjectId(uuid::Uuid::from_u128(2)),
                verdicts: Vec::new(),
            },
        }),
        1 => ContainerEvent::Created(CreatedV1 { work_id, engine_id: "8f1d".repeat(16) }),
        _ => match number % 4 {
            2 => ContainerEvent::StartRequested(ActionRequestedV1 {}),
            3 => ContainerEvent::Started(ActionDoneV1 { work_id }.into()),
            0 => ContainerEvent::StopRequested(StopRequestedV1 { grace_s: 10 }),
            _ => ContainerEvent::Stopped(ActionDoneV1 { work_id }.into()),
        },
    };
    NewEvent::new(event_id(), Timestamp(1_700_000_000_000_000), meta(), &event)
}

/// Makes a log of so many events in objects of [`OBJECT_EVENTS`], each append with a command id.
fn fill(log: &SegmentLog, events: u64, new: impl Fn(u64, EventId) -> NewEvent) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let objects = events / OBJECT_EVENTS;
    let stream = |object| StreamId::new(Kind::Container, ObjectId(uuid::Uuid::from_u128(object)));
    let mut last: Vec<EventId> = Vec::new();
    for first in (0..objects).step_by(WAVE) {
        let objects = first..objects.min(first + WAVE as u64);
        last.clear();
        last.resize(WAVE, EventId(uuid::Uuid::nil()));
        for revision in (0..OBJECT_EVENTS).step_by(APPEND_EVENTS as usize) {
            let appends = objects.clone().zip(&mut last).map(|(object, last)| {
                let events = (revision..revision + APPEND_EVENTS).map(|number| {
                    let event = new(number, *last);
                    *last = event.id;
                    event
                });
                let expected = revision
                    .checked_sub(1)
                    .map_or(Expected::NoStream, |before| Expected::Exact(Revision(before)));
                let id = CommandId(format!("b1d6b1c4a0f24d1c/{object}-{revision}"));
                let command = Some(CommandKey { id, digest: [7; 32] });
                let stream = stream(u128::from(object));
                log.append(Append { stream, expected, command, events: events.collect() })
            });
            let appends: Vec<_> = appends.collect();
            for answer in runtime.block_on(futures_util::future::join_all(appends)) {
                answer.expect("appended");
            }
        }
    }
}

/// Reads the log on this thread and folds every container in it.
fn fold(report: &mut Report) {
    let Opened { log, folder: _folder } = Opened::new();
    fill(&log, FOLDED, history);
    let mut best = Duration::MAX;
    for _ in 0..TURNS {
        let mut states: HashMap<ObjectId, ContainerState> = HashMap::new();
        let begin = Instant::now();
        let mut each = |event: &EventRef<'_>| {
            let payload: ContainerEvent = event.decode().expect("an event");
            let fact = Fact {
                id: event.id,
                object: event.stream.id,
                time: event.time,
                project: event.project,
                request_id: event.request_id,
            };
            Container::evolve(states.entry(fact.object).or_default(), &payload, fact);
            Ok(())
        };
        let folded = log.scan(Position(0), usize::MAX, &mut each).expect("readable");
        best = best.min(begin.elapsed());
        assert_eq!((folded as u64, states.len() as u64), (FOLDED, FOLDED / OBJECT_EVENTS));
    }
    let reached = rate(FOLDED, best);
    report.add(
        "Fold: scan, checksum, decode, evolve, one core",
        &format!("{reached:.0} events/s"),
        "1500000 events/s",
        reached >= 1_500_000.0,
        &format!("{FOLDED} events of {} containers, best of {TURNS}", FOLDED / OBJECT_EVENTS),
    );
}

/// Makes a log in the folder that the environment names, and is killed as by `kill -9`. Returns
/// where it names none.
pub fn fill_if_asked() {
    let Some(folder) = env::var_os(FILL) else { return };
    let log = open(Path::new(&folder));
    fill(&log, large_events(), |_, _| event());
    let me = rustix::process::getpid();
    rustix::process::kill_process(me, rustix::process::Signal::KILL).expect("killed");
    std::thread::sleep(Duration::MAX);
}

/// Events of a large log.
pub fn large_events() -> u64 {
    let asked = env::var("MAGNUM_BENCH_EVENTS").ok();
    asked.map_or(10_000_000, |events| events.parse().expect("a number of events"))
}

/// A large log whose writer was killed: opened, verified, and how much room it takes.
fn large(report: &mut Report) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let events = large_events();
    let program = env::current_exe().expect("this program");
    let killed = Command::new(program).env(FILL, folder.path()).status().expect("a log");
    assert!(!killed.success(), "the writer is killed");
    let begin = Instant::now();
    let index = open_cache(&folder.path().join("index")).expect("an index");
    let index_took = begin.elapsed();
    drop(index);
    let begin = Instant::now();
    let log = open(folder.path());
    let last = log.read(Position(events - 1), 1).expect("readable");
    let took = begin.elapsed();
    assert_eq!(last.len(), 1, "all events are there");
    report.add(
        &format!("Open after kill -9 with {events} events (the log's part)"),
        &format!("{took:.2?}"),
        "1 s to ready",
        took < Duration::from_secs(1),
        &format!("{index_took:.2?} for sled to open the index once before"),
    );
    drop(log);
    let begin = Instant::now();
    let verified = verify(&folder.path().join("log")).expect("verified");
    let reached = rate(events, begin.elapsed());
    assert_eq!((verified.head, verified.damage.len()), (Position(events), 0));
    report.add(
        "`log verify`",
        &format!("{reached:.0} events/s"),
        "2000000 events/s",
        reached >= 2_000_000.0,
        &format!("{events} events, read from the page cache as far as they are in it"),
    );
    let event = event();
    let content = CONTENT_HEADER_BYTES
        + event.event_type.as_str().len()
        + codec::encode(&event.meta).len()
        + event.payload.len();
    let (log, index) = (taken(&folder.path().join("log")), taken(&folder.path().join("index")));
    let each = |bytes: u64| bytes as f64 / events as f64;
    let ratio = each(log + index) / content as f64;
    report.add(
        &format!("Disk: an event of {PAYLOAD_BYTES} bytes at rest"),
        &format!("{:.0} bytes", each(log + index)),
        "1.6 times payload and envelope",
        ratio < 1.6,
        &format!(
            "{ratio:.2} of {content}; {:.0} in segments, {:.0} in the index",
            each(log),
            each(index)
        ),
    );
}

/// Bytes that the files in a folder take on the disk.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file"));
    entries
        .map(|entry| {
            let found = entry.metadata().expect("a file");
            if found.is_dir() { taken(&entry.path()) } else { found.blocks() * 512 }
        })
        .sum()
}

/// Appends of one event by so many clients, each waiting for its answer, beside the probe at the
/// size of the writes that formed.
fn append(report: &mut Report, clients: usize) {
    let Opened { log, folder } = Opened::new();
    let mut probe = Probe::new(folder.path());
    let (mut sum, mut took) = (LogHealth::default(), Duration::ZERO);
    let mut record_bytes = 0.0;
    for _ in 0..TURNS {
        let before = (log.health(), used(folder.path()));
        took += append_for(&log, clients, TURN);
        let after = log.health();
        sum.events += after.events - before.0.events;
        sum.syncs += after.syncs - before.0.syncs;
        record_bytes =
            (used(folder.path()) - before.1) as f64 / (after.events - before.0.events) as f64;
        let batch = (after.events - before.0.events) as f64 / (after.syncs - before.0.syncs) as f64;
        probe.run((record_bytes * batch) as usize, TURN);
    }
    let (events, syncs) = (rate(sum.events, took), rate(sum.syncs, took));
    let batch = sum.events as f64 / sum.syncs as f64;
    let ratio = syncs / probe.rate();
    let least = if clients == 1 { 0.9 } else { 0.8 };
    report.add(
        &format!("Durable append, {clients} clients, 1 event of {PAYLOAD_BYTES} bytes each"),
        &format!("{events:.0} events/s"),
        &format!("{least} of the probe"),
        ratio >= least,
        &format!(
            "{ratio:.2} of the probe's {:.0} syncs/s at {batch:.1} records of {record_bytes:.0} \
             bytes a sync",
            probe.rate()
        ),
    );
}

/// Appends until the time is over; how long it was.
pub fn append_for(log: &Arc<SegmentLog>, clients: usize, lasts: Duration) -> Duration {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    runtime.block_on(async {
        let clients: Vec<_> = (0..clients)
            .map(|_| tokio::spawn(client(Arc::clone(log), Arc::clone(&stop))))
            .collect();
        tokio::time::sleep(lasts).await;
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.expect("a client");
        }
    });
    begin.elapsed()
}

async fn client(log: Arc<SegmentLog>, stop: Arc<AtomicBool>) {
    let stream = StreamId::new(Kind::Container, ObjectId(clock::new_uuid()));
    let mut expected = Expected::NoStream;
    while !stop.load(Ordering::Relaxed) {
        let append = Append { stream, expected, command: None, events: vec![event()] };
        let appended = log.append(append).await.expect("appended");
        expected = Expected::Exact(appended.revision);
    }
}

/// Bytes in use in the segments of a log.
fn used(folder: &Path) -> u64 {
    let info = info(&folder.join("log")).expect("a log");
    info.segments.iter().map(|segment| segment.used).sum()
}

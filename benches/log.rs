//! The event log by itself: appending, reading, opening, verifying, and the room it takes.
//!
//! Not here: what stands on it (actors, views, the REST API).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use magnum::clock;
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected, LogHealth};
use magnum::events::{EventType, Meta, NewEvent};
use magnum::ids::{Kind, ObjectId, ProjectId, StreamId};
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

/// All figures of the log.
pub fn measure(report: &mut Report) {
    for clients in [1, 64, 512] {
        append(report, clients);
    }
}

/// A log with its folder and the index's sled.
pub struct Opened {
    /// The log.
    pub log: Arc<SegmentLog>,
    /// Its folder, on the disk of this checkout.
    pub folder: TempDir,
}

impl Opened {
    /// A new log.
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a folder");
        let log = Arc::new(open(folder.path()));
        Self { log, folder }
    }
}

fn open(folder: &Path) -> SegmentLog {
    let options = SegmentOptions { segment_bytes: SEGMENT_BYTES, folder: clock::new_uuid() };
    let sled = sled::open(folder.join("index")).expect("an index");
    let index = sled.open_tree("log").expect("a tree");
    SegmentLog::open(&folder.join("log"), options, index).expect("a log")
}

/// An event as a request makes one, with a payload of [`PAYLOAD_BYTES`].
fn event() -> NewEvent {
    let meta = Meta {
        project: ProjectId("b1d6b1c4a0f24d1c".to_owned()),
        user: "operator".to_owned(),
        roles: vec!["member".to_owned()],
        request_id: "req-5f2f6f6e-0f5e-4d0e-8b7a-6c1f7f9c8a11".to_owned(),
        ..Meta::default()
    };
    NewEvent {
        id: clock::new_event_id(),
        time: clock::now(),
        event_type: EventType::known("container.started"),
        version: 1,
        meta,
        payload: vec![0xEE; PAYLOAD_BYTES].into(),
    }
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
    let info = magnum::events::log::segment::info(&folder.join("log")).expect("a log");
    info.segments.iter().map(|segment| segment.used).sum()
}

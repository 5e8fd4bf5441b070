//! A commit that is held back while others read (F42, F43): nobody sees a position before it is
//! durable, nobody skips one, and one that never became durable leaves no gap.
//!
//! Not here: a disk that loses power (`seeds`), many who append at once (`log`).

#![expect(clippy::expect_used, reason = "tests fail by panicking")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use magnum::clock;
use magnum::events::log::segment::disk::{Disk, DiskFile};
use magnum::events::log::segment::simulated::{Faults, SimulatedDisk};
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, AppendError, EventLog, Expected};
use magnum::events::node::{NodeCreatedV1, NodeEvent};
use magnum::events::subscription::Subscription;
use magnum::events::{Meta, NewEvent};
use magnum::ids::{Kind, Position, Revision, StreamId};
use magnum::projections::conductor::Conductor;
use magnum::projections::node::NodeView;
use magnum::projections::service_reads::ServiceReads;
use magnum::projections::store::Store;

use crate::log::{append, key, read_all, stream};

/// Commits that are held back, one after the other.
const ROUNDS: u64 = 40;

/// How long a commit is held while everybody looks.
const HELD: Duration = Duration::from_millis(10);

/// Where syncs wait.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    fn set(&self, closed: bool) {
        self.state.lock().expect("a gate").closed = closed;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("a gate");
        state.waiting += 1;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.closed).expect("a gate");
        state.waiting -= 1;
    }

    /// Waits until a sync waits.
    fn wait_for_a_commit(&self) {
        let state = self.state.lock().expect("a gate");
        drop(self.changed.wait_while(state, |state| state.waiting == 0).expect("a gate"));
    }
}

/// A disk that shows at once what is written, and makes it durable when it is let.
#[derive(Clone, Default)]
struct HeldDisk {
    disk: SimulatedDisk,
    gate: Arc<Gate>,
}

struct HeldFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl HeldDisk {
    fn held(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(HeldFile { file, gate: self.gate.clone() })
    }

    fn open_log(&self) -> SegmentLog {
        let index = sled::Config::new().temporary(true).open().expect("an index");
        let index = index.open_tree("log").expect("a tree");
        let options = SegmentOptions { segment_bytes: 16 << 10, folder: clock::new_uuid() };
        SegmentLog::open_on(Arc::new(self.clone()), None, options, index).expect("a log")
    }
}

impl Disk for HeldDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.held(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name).map(|file| self.held(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn identity(&self) -> io::Result<u64> {
        self.disk.identity()
    }

    fn path(&self) -> String {
        self.disk.path()
    }
}

impl DiskFile for HeldFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.file.allocate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }

    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
}

/// What readers may see, and whether they are to end.
struct Watched {
    durable: AtomicU64,
    ends: AtomicBool,
}

impl Watched {
    /// Notes what a reader saw.
    fn see(&self, seen: &mut Vec<u64>, position: Position) {
        let durable = self.durable.load(Ordering::SeqCst);
        assert!(position.get() <= durable, "{position} was seen, {durable} is durable");
        seen.push(position.get());
    }
}

/// Reads what there is, again and again, by one of the log's two ways.
fn tail(log: &dyn EventLog, watched: &Watched, scans: bool) -> Vec<u64> {
    let mut seen = Vec::new();
    loop {
        let ends = watched.ends.load(Ordering::SeqCst);
        let (had, after) = (seen.len(), Position(seen.last().copied().unwrap_or_default()));
        let limit = 1 + had % 7;
        if scans {
            let scanned = log.scan(after, limit, &mut |event| {
                watched.see(&mut seen, event.position);
                Ok(())
            });
            scanned.expect("readable");
        } else {
            let events = log.read(after, limit).expect("readable");
            events.iter().for_each(|event| watched.see(&mut seen, event.position));
        }
        if ends && seen.len() == had {
            return seen;
        }
    }
}

/// Follows the log until it is closed, as event streams do.
async fn follow(log: Arc<dyn EventLog>, watched: Arc<Watched>) -> Vec<u64> {
    let mut subscription = Subscription::new(log, Position(0));
    let mut seen = Vec::new();
    while let Some(page) = subscription.next_page(3).await.expect("readable") {
        page.events.iter().for_each(|event| watched.see(&mut seen, event.position));
    }
    seen
}

/// A new node, so that the read models have something to show, with a key.
fn new_node(number: usize) -> Append {
    let event = NodeEvent::Created(NodeCreatedV1 {
        node_type: None,
        image_id: Some("i".repeat(number % 500)),
        ironic_node_id: None,
        host: None,
    });
    let new = NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), &event);
    Append {
        stream: StreamId::new(Kind::Node, clock::new_object_id()),
        expected: Expected::NoStream,
        command: key(&clock::new_uuid().to_string(), 1),
        events: vec![new],
    }
}

/// Nobody can tell that this was asked for.
fn is_unseen(log: &dyn EventLog, reads: &ServiceReads, append: &Append) -> bool {
    let command = append.command.as_ref().expect("a key");
    log.stream_head(append.stream).expect("readable").is_none()
        && log.read_stream(append.stream, Revision(0), 9).expect("readable").is_empty()
        && log.command(&command.id).expect("readable").is_none()
        && reads.any::<NodeView>(append.stream.id).expect("readable").is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f42_a_commit_that_is_held_back_is_seen_by_nobody_and_skipped_by_nobody() {
    let disk = HeldDisk::default();
    let log: Arc<dyn EventLog> = Arc::new(disk.open_log());
    let home = tempfile::tempdir().expect("a folder");
    let store = Store::open(&home.path().join("views")).expect("a store");
    let (reads, conductor) = Conductor::start(log.clone(), Arc::new(store)).expect("views");
    let watched =
        Arc::new(Watched { durable: AtomicU64::new(u64::MAX), ends: AtomicBool::new(false) });
    let tails = [false, true].map(|scans| {
        let (log, watched) = (log.clone(), watched.clone());
        thread::spawn(move || tail(log.as_ref(), &watched, scans))
    });
    let follower = tokio::spawn(follow(log.clone(), watched.clone()));

    let mut acknowledged = 0;
    for round in 0..ROUNDS as usize {
        let head = *log.head().borrow();
        watched.durable.store(head.get(), Ordering::SeqCst);
        disk.gate.set(true);
        let appends: Vec<Append> = (0..1 + round % 9).map(|it| new_node(round * it)).collect();
        let waiting: Vec<_> = appends
            .iter()
            .map(|append| {
                let (log, append) = (log.clone(), append.clone());
                tokio::spawn(async move { log.append(append).await })
            })
            .collect();
        disk.gate.wait_for_a_commit();
        tokio::time::sleep(HELD).await;
        assert!(appends.iter().all(|append| is_unseen(log.as_ref(), &reads, append)), "{round}");
        assert!(waiting.iter().all(|answer| !answer.is_finished()), "acknowledged in {round}");
        assert_eq!((*log.head().borrow(), *reads.position().borrow() <= head), (head, true));
        watched.durable.store(u64::MAX, Ordering::SeqCst);
        disk.gate.set(false);
        for answer in waiting {
            let appended = answer.await.expect("an end").expect("appended");
            assert!(*log.head().borrow() >= appended.last, "the first answer sees itself");
            acknowledged += 1;
        }
        let head = *log.head().borrow();
        reads.wait_for(head, Duration::from_secs(60)).await.expect("views that follow");
        assert!(appends.iter().all(|append| !is_unseen(log.as_ref(), &reads, append)), "{round}");
    }
    watched.ends.store(true, Ordering::SeqCst);
    let all: Vec<u64> = (1..=acknowledged).collect();
    for tail in tails {
        assert_eq!(tail.join().expect("a reader"), all);
    }
    log.close().await;
    assert_eq!(follower.await.expect("a reader"), all);
    conductor.stop();
}

/// F43: a commit that fails is seen by nobody either, and the next one takes its positions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_a_commit_that_fails_leaves_no_gap() {
    for seed in 0..20 {
        let disk = HeldDisk::default();
        let log = Arc::new(disk.open_log());
        log.append(append(stream(), Expected::NoStream, 2)).await.expect("appended");
        let before = read_all(log.as_ref(), 9);
        disk.gate.set(true);
        let lost = stream();
        let answer = tokio::spawn({
            let log = log.clone();
            async move { log.append(append(lost, Expected::NoStream, 3)).await }
        });
        disk.gate.wait_for_a_commit();
        disk.disk.inject(Faults { sync_error_in: Some(0), ..Faults::default() });
        disk.gate.set(false);
        let answer = answer.await.expect("an end");
        assert!(matches!(answer, Err(AppendError::OutcomeUnknown(_))), "{answer:?}");
        assert_eq!(read_all(log.as_ref(), 9), before);
        assert_eq!(log.stream_head(lost).expect("readable"), None);
        log.close().await;
        disk.disk.restart(seed);
        let log = disk.open_log();
        let head = *log.head().borrow();
        assert_eq!(read_all(&log, 9).len() as u64, head.get());
        let next = log.append(append(stream(), Expected::NoStream, 1)).await.expect("appended");
        assert_eq!(next.first, head.next());
    }
}

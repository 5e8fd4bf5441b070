//! The read models: building them from the log, taking them up after a crash, asking them over
//! HTTP, and the memory they take.
//!
//! Not here: what a log is like without them (`log`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use magnum::events::log::EventLog;
use magnum::ids::Position;
use magnum::projections::as_of::SystemState;
use magnum::projections::conductor::Conductor;
use magnum::projections::container::ContainerView;
use magnum::projections::store::Store;
use tempfile::TempDir;

use crate::report::Report;
use crate::server::Server;
use crate::world::{self, Shape};

/// Events of the logs that are folded.
const EVENTS: u64 = 1_000_000;

/// Containers where there are many.
const CONTAINERS: u64 = 100_000;

/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(8);

/// The longest of ninety-nine in a hundred.
const P99: Duration = Duration::from_millis(10);

/// All figures of the read models.
pub fn measure(report: &mut Report) {
    rebuild(report, 1_000, Shape::Random, "1,000 objects");
    rebuild(report, CONTAINERS, Shape::Random, "100,000 objects at random");
    let data = rebuild(report, CONTAINERS, Shape::Close, "100,000 objects, one after the other");
    serve(report, data.path());
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// Builds the read models from nothing, and takes them up again.
fn rebuild(report: &mut Report, containers: u64, shape: Shape, words: &str) -> TempDir {
    let data = folder();
    world::write(data.path(), containers, EVENTS, shape);
    let log = world::open(data.path());
    let begin = Instant::now();
    let mut at = Position(0);
    while let Some(last) = log.read(at, 512).expect("events").last() {
        at = last.position;
    }
    let read = begin.elapsed();
    let (built, saved) = follow(&log, &data.path().join("cache").join("views"));
    report.add(
        &format!("Rebuild of all read models from 1,000,000 events of {words}"),
        &format!("{:.2} s", built.as_secs_f64()),
        "3 s",
        built.as_secs_f64() <= 3.0,
        &format!(
            "reading alone {:.2} s; saved for the next start after {:.2} s",
            read.as_secs_f64(),
            saved.as_secs_f64()
        ),
    );
    let (taken_up, _) = follow(&log, &data.path().join("cache").join("views"));
    let begin = Instant::now();
    let system = SystemState::as_of(&*log, Position(u64::MAX)).expect("a world");
    let folded = begin.elapsed();
    let count = system.views.of::<ContainerView>().len();
    report.add(
        &format!("The read models of {count} objects taken up at a start"),
        &format!("{:.2} s", taken_up.as_secs_f64()),
        "1 s",
        taken_up.as_secs_f64() <= 1.0,
        &format!("as of any position in memory: {:.2} s", folded.as_secs_f64()),
    );
    data
}

/// Time until the read models are at the log's head, and until they are saved.
fn follow(log: &Arc<impl EventLog>, folder: &Path) -> (Duration, Duration) {
    let store = Arc::new(Store::open(folder).expect("a folder"));
    let head = *log.head().borrow();
    let begin = Instant::now();
    let log = Arc::clone(log) as Arc<dyn EventLog>;
    let (reads, conductor) = Conductor::start(log, store).expect("a thread");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(reads.wait_for(head, Duration::from_secs(600))).expect("read models");
    let built = begin.elapsed();
    while reads.stats().saved < head {
        std::thread::sleep(Duration::from_millis(5));
    }
    let saved = begin.elapsed();
    conductor.stop();
    (built, saved)
}

/// The whole program over 100,000 containers.
fn serve(report: &mut Report, data: &Path) {
    world::add_bays(data);
    // What the first start has to build is taken up by the second one after a kill.
    let first = Server::start_in(data);
    std::thread::sleep(Duration::from_secs(5));
    drop(first);
    let server = Server::start_in(data);
    let ready = server.ready.as_secs_f64();
    report.add(
        "Ready after kill -9 with 1,000,000 events of 100,000 objects",
        &format!("{ready:.2} s"),
        "1 s",
        ready <= 1.0,
        "from the start of the process to its listening",
    );
    let id = "string.format('01900000-0000-7000-8000-%012x', math.random(0, 99999))";
    let one = format!("return wrk.format('GET', '/v1/containers/' .. {id})");
    ask(report, &server, "GET one object", 64, &one, 20_000.0);
    for filter in ["image_id=nginx:1.27", "status=Stopped"] {
        let list = format!(
            "return wrk.format('GET', '/v1/containers?limit=100&{filter}&marker=' .. {id})"
        );
        let what = format!("List 100 of 100,000 from anywhere, {filter}");
        ask(report, &server, &what, 8, &list, 2_000.0);
    }
}

fn ask(
    report: &mut Report,
    server: &Server,
    what: &str,
    connections: u32,
    request: &str,
    least: f64,
) {
    let load = server.load(connections, LOAD, request);
    report.add(
        what,
        &format!("{:.0}/s, p50 {:.2?}, p99 {:.2?}", load.rate, load.p50, load.p99),
        &format!("{least:.0}/s, p99 under 10 ms"),
        load.rate >= least && load.p99 < P99 && load.failed == 0,
        &format!("{connections} connections, wrk on the same cores; {} failed", load.failed),
    );
}

//! The read models: building them from the log, taking them up after a crash, asking them over
//! HTTP, and the memory they take.
//!
//! Not here: what a log is like without them (`log`).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use magnum::events::log::EventLog;
use magnum::ids::Position;
use magnum::projections::conductor::Conductor;
use magnum::projections::past::World;
use magnum::projections::store::Store;
use tempfile::TempDir;

use crate::report::Report;
use crate::service::{Service, load};
use crate::world::{self, Shape};

/// Events of the logs that are folded.
const EVENTS: u64 = 1_000_000;

/// Containers where there are many.
const CONTAINERS: u64 = 100_000;

/// How long each load lasts.
const LOAD_SECONDS: u32 = 8;

/// All figures of the read models.
pub fn measure(report: &mut Report) {
    rebuild(report, 1_000, Shape::Random, "1,000 objects");
    rebuild(report, CONTAINERS, Shape::Random, "100,000 objects at random");
    let data = rebuild(report, CONTAINERS, Shape::Close, "100,000 objects, one after the other");
    idle(report);
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
    let world = World::as_of(&*log, Position(u64::MAX)).expect("a world");
    let folded = begin.elapsed();
    report.add(
        &format!("The read models of {} objects taken up at a start", world.containers.len()),
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

fn idle(report: &mut Report) {
    let data = folder();
    let service = Service::start(data.path());
    std::thread::sleep(Duration::from_secs(2));
    memory(report, &service, "idle", 40.0);
}

fn memory(report: &mut Report, service: &Service, words: &str, most_mib: f64) {
    let mib = service.resident_mib();
    report.add(
        &format!("Resident memory, {words}"),
        &format!("{mib:.0} MiB"),
        &format!("{most_mib} MiB"),
        mib <= most_mib,
        "the whole program",
    );
}

/// The whole program over 100,000 containers.
fn serve(report: &mut Report, data: &Path) {
    // What the first start has to build is taken up by the second one after a kill.
    let first = Service::start(data);
    std::thread::sleep(Duration::from_secs(5));
    first.kill();
    let service = Service::start(data);
    let ready = service.ready.as_secs_f64();
    report.add(
        "Ready after kill -9 with 1,000,000 events of 100,000 objects",
        &format!("{ready:.2} s"),
        "1 s",
        ready <= 1.0,
        "from the start of the process to its listening",
    );
    std::thread::sleep(Duration::from_secs(2));
    memory(report, &service, "100,000 objects known and asleep", 200.0);
    let one = "function request()
        local n = math.random(0, 99999)
        return wrk.format('GET', string.format('/v1/containers/01900000-0000-7000-8000-%012x', n))
    end";
    ask(report, &service, "GET one object", 64, one, 20_000.0);
    for filter in ["image_id=nginx:1.27", "status=Stopped"] {
        let list = format!(
            "function request()
                local n = math.random(0, 99999)
                local marker = string.format('01900000-0000-7000-8000-%012x', n)
                return wrk.format('GET', '/v1/containers?limit=100&{filter}&marker=' .. marker)
            end"
        );
        let what = format!("List 100 of 100,000 from anywhere, {filter}");
        ask(report, &service, &what, 8, &list, 2_000.0);
    }
    memory(report, &service, "100,000 objects, after the load", 200.0);
}

fn ask(
    report: &mut Report,
    service: &Service,
    what: &str,
    connections: u32,
    script: &str,
    least: f64,
) {
    let came = load(service, connections, LOAD_SECONDS, script);
    report.add(
        what,
        &format!("{:.0}/s, p99 {:.1} ms", came.rate, came.p99_ms),
        &format!("{least:.0}/s, p99 under 10 ms"),
        came.rate >= least && came.p99_ms < 10.0 && came.failures.is_empty(),
        &format!("{connections} connections, wrk on the same cores {}", came.failures),
    );
}

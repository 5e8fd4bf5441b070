//! Resident memory of the server: idle, with many objects asleep, with some of them awake.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use magnum::clock;
use magnum::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::{Meta, NewEvent};
use magnum::ids::{Kind, ObjectId, ProjectId, StreamId};
use uuid::Uuid;

use crate::report::Report;
use crate::server::Server;

/// Objects that the log knows.
const KNOWN: u128 = 100_000;

/// Objects that were just asked something.
const AWAKE: u128 = 10_000;

/// Between what happened and the look at the memory.
const SETTLE: Duration = Duration::from_secs(3);

/// Long enough to ask each of them.
const WAKING: Duration = Duration::from_secs(6);

/// Measures a new server, then one that starts with many objects.
pub fn measure(report: &mut Report) {
    add(report, &Server::start(), "idle", 40, "a new log, one node");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    fill(&folder.path().join("log"));
    let server = Server::start_in(folder.path());
    add(report, &server, "100,000 objects asleep", 200, "their views just built from the log");
    let request = format!(
        r#"return wrk.format("PATCH", string.format(
        "/v1/baymodels/00000000-0000-0000-0000-%012x", 1 + n % {AWAKE}), {{
        ["Content-Type"] = "application/json" }}, string.format(
        '[{{"op":"replace","path":"/name","value":"n%d"}}]', n))"#
    );
    let load = server.load(64, WAKING, &request);
    assert_eq!(load.failed, 0, "requests failed");
    let asked = (load.rate * WAKING.as_secs_f64()) as u128;
    assert!(asked >= AWAKE, "only {asked} were asked");
    let beside = format!("just after {asked} changes of them");
    add(report, &server, "10,000 of them awake", 300, &beside);
}

fn add(report: &mut Report, server: &Server, what: &str, most_mib: u64, beside: &str) {
    sleep(SETTLE);
    let mib = server.resident_bytes() >> 20;
    let (figure, target) = (format!("{mib} MiB"), format!("{most_mib} MiB"));
    report.add(&format!("Resident memory: {what}"), &figure, &target, mib <= most_mib, beside);
}

/// A log with all the objects.
fn fill(folder: &Path) {
    let cache = sled::Config::new().temporary(true).open().expect("a cache");
    let index = cache.open_tree("log").expect("a tree");
    let options = SegmentOptions { segment_bytes: 64 << 20, folder: clock::new_uuid() };
    let log = SegmentLog::open(folder, options, index).expect("a log");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let numbers: Vec<u128> = (1..=KNOWN).collect();
        for page in numbers.chunks(1_000) {
            let appends = page.iter().map(|number| log.append(made(*number)));
            for appended in futures_util::future::join_all(appends).await {
                appended.expect("an append");
            }
        }
        log.close().await;
    });
}

fn made(number: u128) -> Append {
    let fields = BaymodelFields {
        name: Some(format!("m{number}")),
        coe: "docker".to_owned(),
        image_id: "busybox".to_owned(),
        keypair_id: Some("k".to_owned()),
        ..BaymodelFields::default()
    };
    let meta = Meta {
        project: ProjectId::default(),
        user: "anonymous".to_owned(),
        request_id: "req-5f2f6f6e-0f5e-4d0e-8b7a-6c1f7f9c8a11".to_owned(),
        ..Meta::default()
    };
    let event = BaymodelEvent::Created(BaymodelCreatedV1 { fields });
    Append {
        stream: StreamId::new(Kind::Baymodel, ObjectId(Uuid::from_u128(number))),
        expected: Expected::NoStream,
        command: None,
        events: vec![NewEvent::new(clock::new_event_id(), clock::now(), meta, &event)],
    }
}

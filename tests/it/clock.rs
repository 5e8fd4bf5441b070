//! The wall clock is set forward and back while objects change (F17): positions say what came
//! first, waiting is measured by a clock that nobody sets, and times find what they say.
//!
//! Not here: finding a time among many events (`events/log/moment.rs`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use magnum::actors::Entity;
use magnum::actors::cascade::Members;
use magnum::actors::container::{Container, ContainerCommand, ContainerState};
use magnum::actors::perform::Objects;
use magnum::actors::reactor::Reactor;
use magnum::actors::snapshot::Snapshots;
use magnum::backends::{BackendError, Work};
use magnum::bus::local::LocalBus;
use magnum::bus::{Authority, Ctx, Hello, LogRequest, NodePort, Offer, SessionId, Taken};
use magnum::clock;
use magnum::events::container::{ContainerEvent, ContainerSpec};
use magnum::events::log::memory::MemoryLog;
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::WorkBlockedV1;
use magnum::events::{Meta, NewEvent};
use magnum::ids::{EventId, Kind, ObjectId, Position, Revision, StreamId, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::harness::{Options, PATIENCE, Server};
use crate::stream_client::{Follower, Message, Transport};

/// A library that is loaded before all others and adds the seconds in a file to the wall clock.
const SHIFT: &str = r#"
use std::ffi::{c_char, c_int, c_long, c_void};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getenv(name: *const c_char) -> *const c_char;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn read(file: c_int, into: *mut c_void, bytes: usize) -> isize;
    fn close(file: c_int) -> c_int;
}

#[cfg(target_arch = "x86_64")]
const CLOCK_GETTIME: c_long = 228;
#[cfg(target_arch = "aarch64")]
const CLOCK_GETTIME: c_long = 113;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut i64) -> c_int {
    unsafe {
        let told = syscall(CLOCK_GETTIME, clock as c_long, time);
        if clock == 0 && told == 0 {
            let file = open(getenv(c"SHIFT_SECONDS".as_ptr()), 0);
            let mut shift = [0_u8; 8];
            if read(file, shift.as_mut_ptr().cast(), 8) == 8 {
                *time += i64::from_ne_bytes(shift);
            }
            close(file);
        }
        told as c_int
    }
}
"#;

/// A wall clock that the test sets, for one server.
struct WallClock {
    home: TempDir,
}

impl WallClock {
    fn new() -> Self {
        let clock = Self { home: TempDir::new().unwrap() };
        clock.set(0);
        fs::write(clock.file("shift.rs"), SHIFT).unwrap();
        let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition", "2024", "--crate-type", "cdylib", "-o"])
            .args([clock.file("shift.so"), clock.file("shift.rs")])
            .status();
        assert!(built.unwrap().success());
        clock
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// So many seconds off, at once.
    fn set(&self, seconds: i64) {
        fs::write(self.file("new"), seconds.to_ne_bytes()).unwrap();
        fs::rename(self.file("new"), self.file("seconds")).unwrap();
    }

    fn options(&self) -> Options {
        Options::fake()
            .variable("LD_PRELOAD", &self.file("shift.so"))
            .variable("SHIFT_SECONDS", &self.file("seconds"))
    }
}

const HOUR: i64 = 3600;

/// How far the clock is off, one after the other.
const JUMPS: [i64; 6] = [0, 3 * HOUR, -2 * HOUR, 26 * HOUR, -30 * HOUR, HOUR];

fn make(server: &Server, name: &str) -> String {
    let body = json!({"name": name, "coe": "docker", "image_id": "i", "keypair_id": "k"});
    let made = server.post("/v1/baymodels", &body).expect(201);
    made["uuid"].as_str().unwrap().to_owned()
}

fn rename(server: &Server, path: &str, name: &str) {
    let patch = json!([{"op": "replace", "path": "/name", "value": name}]);
    server.patch(path, &patch).expect(200);
}

/// Events of the log, each once and in order, up to and including a position.
fn follow(follower: &mut Follower, head: u64) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    while (events.len() as u64) < head {
        let Message { position, data, .. } = follower.event();
        assert_eq!(position, Some(events.len() as u64 + 1));
        events.push(data);
    }
    events
}

fn time(event: &Value) -> &str {
    event["time"].as_str().unwrap()
}

/// How many of these come before the first one that is not earlier, or that is later.
fn before(events: &[&Value], is_late: impl Fn(&str) -> bool) -> usize {
    events.iter().position(|event| is_late(time(event))).unwrap_or(events.len())
}

#[test]
fn f17_a_clock_that_jumps_changes_no_order_and_holds_nothing_back() {
    let clock = WallClock::new();
    let mut server = Server::start(clock.options());
    let mut follower = Follower::open(&server, Transport::Sse, "after=0", None).unwrap();
    let body = json!({"name": "c", "image": "busybox:local", "command": "sleep 9999"});
    let made = server.post("/v1/containers", &body).expect(201);
    let container = format!("/v1/containers/{}", made["uuid"].as_str().unwrap());
    let model = format!("/v1/baymodels/{}", make(&server, "m"));
    let mut others = vec![];
    for (turn, seconds) in JUMPS.into_iter().enumerate() {
        clock.set(seconds);
        rename(&server, &model, &format!("m{turn}"));
        others.push(make(&server, &format!("o{turn}")));
        // Work is asked for, done and waited for.
        let (verb, status) = [("start", "Running"), ("stop", "Stopped")][turn % 2];
        server.put(&format!("{container}/{verb}")).expect(200);
        assert_eq!(server.get(&container).expect(200)["status"], status);
    }
    let head = server.get("/v1/events?limit=1").expect(200)["head"].as_u64().unwrap();
    let events = follow(&mut follower, head);
    let jumped = events.windows(2).filter(|pair| time(&pair[1]) < time(&pair[0])).count();
    let set_back = JUMPS.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(jumped >= set_back, "the clock was set back: {events:?}");

    assert_eq!(server.get(&model).expect(200)["name"], "m5", "the last one by position");
    let listed = server.get("/v1/baymodels?sort_key=created_at").expect(200);
    let all = listed["baymodels"].as_array().unwrap().iter();
    let listed: Vec<_> = all.map(|it| it["uuid"].as_str().unwrap()).collect();
    assert_eq!(listed[listed.len() - others.len()..], others, "in the order of creation");
    times_find_what_they_say(&server, &model, &events);
    heartbeats_come(&clock, &mut follower);

    // A clock that is behind everything in the log, at the start.
    assert!(server.stop().success());
    clock.set(-100 * HOUR);
    server.restart();
    rename(&server, &model, "restarted");
    assert_eq!(server.get(&model).expect(200)["name"], "restarted");
    let history = server.get(&format!("{model}/history")).expect(200);
    let last = history["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["revision"], (JUMPS.len() + 1).to_string());
    assert!(time(last) < time(&events[0]), "{last}");
}

/// `since=` starts with the first event that is not earlier; `at=` ends before the first one of
/// the object that is later.
fn times_find_what_they_say(server: &Server, model: &str, events: &[Value]) {
    let all: Vec<&Value> = events.iter().collect();
    let subject = format!("baymodel/{}", model.rsplit('/').next().unwrap());
    let own: Vec<&Value> = events.iter().filter(|event| event["subject"] == subject).collect();
    assert_eq!(own.len(), JUMPS.len() + 1);
    for event in events {
        let at = time(event);
        let page = server.get(&format!("/v1/events?limit=1&since={at}")).expect(200);
        let first = before(&all, |time| time >= at) as u64 + 1;
        assert_eq!(page["events"][0]["position"], first.to_string(), "since {at}");
        let then = server.get(&format!("{model}?at={at}"));
        match before(&own, |time| time > at) {
            0 => assert_eq!(then.status, 404, "at {at}: {}", then.text),
            1 => assert_eq!(then.expect(200)["name"], "m", "at {at}"),
            by_then => {
                assert_eq!(then.expect(200)["name"], format!("m{}", by_then - 2), "at {at}");
            }
        }
    }
}

/// A stream at its end hears from the server in its usual time, whatever the clock does.
fn heartbeats_come(clock: &WallClock, follower: &mut Follower) {
    for seconds in [-50 * HOUR, 50 * HOUR] {
        clock.set(seconds);
        let began = Instant::now();
        let message = follower.next().expect("the stream goes on");
        assert_eq!(message.control, "heartbeat", "{message:?}");
        assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    }
}

/// A node that notes what it is given to do.
struct Noting(mpsc::UnboundedSender<Work>);

#[async_trait]
impl NodePort for Noting {
    async fn work(&self, offer: Offer) -> Result<Taken, BackendError> {
        let ended = |_| BackendError::Unavailable("the test ended".to_owned());
        self.0.send(offer.work).map(|()| Taken).map_err(ended)
    }

    async fn logs(&self, _: LogRequest) -> Result<Taken, BackendError> {
        Err(BackendError::Missing("nobody asks for output here".to_owned()))
    }
}

struct Nobody;

#[async_trait]
impl Members for Nobody {
    async fn of(&self, _: ObjectId) -> Result<Vec<ObjectId>, String> {
        Ok(vec![])
    }

    async fn has_bay(&self, _: ObjectId) -> Result<bool, String> {
        Ok(true)
    }

    async fn orphans(&self) -> Result<Vec<(ObjectId, ObjectId)>, String> {
        Ok(vec![])
    }
}

/// Records events of a container.
async fn record(log: &MemoryLog, stream: StreamId, events: &[ContainerEvent]) -> Vec<EventId> {
    let events: Vec<NewEvent> = events
        .iter()
        .map(|event| NewEvent::new(clock::new_event_id(), clock::now(), Meta::default(), event))
        .collect();
    let ids = events.iter().map(|event| event.id).collect();
    let head = log.stream_head(stream).unwrap();
    let expected = head.map_or(Expected::NoStream, Expected::Exact);
    log.append(Append { stream, expected, command: None, events }).await.unwrap();
    ids
}

/// Work that was blocked when the clock showed a day more is tried within a minute, and not at
/// once; what was blocked when it showed less is tried at once.
#[tokio::test(start_paused = true)]
async fn f17_blocked_work_waits_no_longer_than_a_minute_when_the_clock_was_set_back() {
    let log = Arc::new(MemoryLog::new());
    let stream = StreamId::new(Kind::Container, clock::new_object_id());
    let node_id = clock::new_object_id();
    let create = ContainerCommand::Create {
        name: None,
        desc: None,
        spec: ContainerSpec { image: "busybox:local".to_owned(), ..ContainerSpec::default() },
        bay_id: clock::new_object_id(),
        node_id,
        host: "n1".to_owned(),
    };
    let ctx = Ctx { now: clock::now() };
    let asked = Container::decide(&ContainerState::default(), create, &ctx).unwrap();
    let work_id = record(&log, stream, &asked).await[0];
    let blocked = |attempt, retry_at| {
        let (blocked_on, reason) = ("node n1".to_owned(), "no answer".to_owned());
        let blocked = WorkBlockedV1 { work_id, attempt, blocked_on, reason, retry_at };
        [ContainerEvent::WorkBlocked(blocked)]
    };
    let day_ms = 24 * 3_600_000;
    record(&log, stream, &blocked(1, clock::now().plus_ms(day_ms))).await;

    let (tell, mut told) = mpsc::unbounded_channel();
    let bus = Arc::new(LocalBus::default());
    bus.serve_node(node_id, Arc::new(Noting(tell)));
    let (_stop, stopping) = watch::channel(false);
    let (hellos, heard) = mpsc::channel(1);
    let objects = Objects::new(log.clone(), Snapshots::default());
    let own = bus.port(Authority::Conductor);
    let reactor = Reactor::new(objects, own, Arc::new(Nobody), heard);
    let hello = Hello { node_id, session: SessionId::default(), beat: 1, holds: vec![] };
    hellos.send(hello).await.unwrap();
    let head = Position(log.stream_head(stream).unwrap().map_or(0, Revision::get) + 1);
    tokio::spawn(reactor.run(vec![stream], head, stopping));
    let mut next = async |least_s: u64, most_s: u64| {
        let began = tokio::time::Instant::now();
        let work = tokio::time::timeout(Duration::from_secs(600), told.recv()).await;
        let (work, waited) = (work.expect("it is tried").unwrap(), began.elapsed().as_secs());
        assert_eq!((work.id, work.stream), (work_id, stream));
        assert!((least_s..=most_s).contains(&waited), "attempt {}: {waited} s", work.attempt);
        work.attempt
    };
    // As it was found at the start, and as it is recorded later.
    let attempt = next(59, 61).await;
    record(&log, stream, &blocked(attempt, clock::now().plus_ms(day_ms))).await;
    let attempt = next(59, 61).await;
    record(&log, stream, &blocked(attempt, clock::now().plus_ms(20_000))).await;
    let attempt = next(19, 21).await;
    record(&log, stream, &blocked(attempt, Timestamp(0))).await;
    next(0, 1).await;
}

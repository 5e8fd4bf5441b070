//! The wall clock is set forward and back while objects change (F17): positions say what came
//! first, waiting is measured by a clock that nobody sets, and times find what they say.
//!
//! Not here: finding a time among many events (`events/log/moment.rs`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

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
    let all = server.list("/v1/baymodels?sort_key=created_at");
    let listed: Vec<_> = all.iter().map(|it| it["uuid"].as_str().unwrap()).collect();
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

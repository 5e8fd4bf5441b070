//! Thousands of readers that wait and some that never read: what they cost, and whom they hold up.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::harness::{Options, PATIENCE, Server, wait_until};
use crate::requests::{baymodel, head};
use crate::stream_client::{Follower, Transport};

/// Readers that wait for what does not come.
const IDLE: u64 = 5_000;

/// Readers that never read anything.
const STALLED: usize = 50;

/// Most memory for one that waits, in KiB: its connection, its task, its place.
const IDLE_KIB: u64 = 64;

/// Most memory for one that does not read, in KiB: what is written but not taken, a page, and its
/// text.
const STALLED_KIB: u64 = 4 << 10;

/// Lets this process have as many connections as it may; how many that is.
fn all_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, all).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

/// Opens a stream and reads no further than its status.
fn open(server: &Server, query: &str) -> TcpStream {
    let address = server.url().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /v1/events/stream?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200", "{query}");
    stream
}

/// Resident memory of the server in KiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn f28_readers_that_wait_or_stall_cost_little_and_hold_nobody_up() {
    let files = all_files();
    // A file here and one in the server for each, and what the tests beside this one need.
    let idle = IDLE.min(files.saturating_sub(1_000));
    if idle < IDLE {
        eprintln!("only {files} files may be open here: {idle} readers that wait, not {IDLE}");
    }
    let server = Server::start(Options::fake());
    head(&server);
    // More than fits between a server and a client that does not read.
    let label = "x".repeat(200_000);
    let write = |name: &str| {
        let body = json!({ "name": name, "image": "i", "labels": { "l": label } });
        server.post("/v1/containers", &body).expect(201);
    };
    for number in 0..24 {
        write(&format!("before-{number}"));
    }
    let before = memory(&server);
    let idle: Vec<_> = (0..idle).map(|_| open(&server, "type=bay.deleted")).collect();
    let waiting = memory(&server).saturating_sub(before);
    let stalled: Vec<_> = (0..STALLED).map(|_| open(&server, "after=0")).collect();
    for number in 0..100 {
        server.post("/v1/baymodels", &baymodel(&format!("m{number}"))).expect(201);
    }
    let stalling = memory(&server).saturating_sub(before + waiting);
    for number in 0..24 {
        write(&format!("after-{number}"));
    }
    // What is new waits in the log, not in memory for each of those who do not read. What was
    // needed for a moment goes back to the system within seconds, as long as something is asked.
    let most = STALLED as u64 * 1024;
    let mut grown = 0;
    wait_until("the memory to come down", PATIENCE, || {
        server.get("/v1/baymodels").expect(200);
        grown = memory(&server).saturating_sub(before + waiting + stalling);
        grown < most
    });
    eprintln!(
        "{} waiting: {waiting} KiB; {STALLED} stalled: {stalling} KiB; then {grown} KiB for {} \
         KiB of new events",
        idle.len(),
        24 * 2 * 200
    );
    assert!(waiting < idle.len() as u64 * IDLE_KIB, "{waiting} KiB");
    assert!(stalling < STALLED as u64 * STALLED_KIB, "{stalling} KiB");
    // Everything was recorded, and whoever reads gets it.
    let position = head(&server);
    let mut reader = Follower::open(&server, Transport::Lines, "after=0", None).unwrap();
    for wanted in 1..=position {
        assert_eq!(reader.event().position, Some(wanted));
    }
    drop((idle, stalled));
}

//! A consumer that is killed at any moment and resumes where it was, some of the time because the
//! server was killed: it sees every event once and in order, on each transport.
//!
//! Rounds: `MAGNUM_STREAM_ROUNDS`, 50 without it; `make soak` does 1,000. What a failed run did:
//! `MAGNUM_STREAM_SEED`.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use magnum::clock;
use magnum::events::baymodel::{BaymodelCreatedV1, BaymodelEvent, BaymodelFields};
use magnum::events::log::segment::simulated::Chance;
use magnum::events::log::segment::{SegmentLog, SegmentOptions};
use magnum::events::log::{Append, EventLog, Expected};
use magnum::events::work::UpdatedV1;
use magnum::events::{Meta, NewEvent};
use magnum::ids::{Kind, Revision, StreamId};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::crash::setting;
use crate::harness::{Http, Options, Server};
use crate::requests::{baymodel, head};
use crate::stream_client::{Follower, Message, TRANSPORTS};

/// Events that are there before the server starts, for each round: more than it reads in one.
const EVENTS: u64 = 600;

/// Events of one append.
const BATCH: u64 = 500;

/// A log of so many events of one object, written as fast as it goes.
pub async fn write(data: &std::path::Path, events: u64, name: Option<String>) {
    let index = sled::Config::new().temporary(true).open().unwrap();
    let options = SegmentOptions { segment_bytes: 4 << 20, folder: clock::new_uuid() };
    let tree = index.open_tree("log").unwrap();
    let log = SegmentLog::open(&data.join("log"), options, tree).unwrap();
    let stream = StreamId::new(Kind::Baymodel, clock::new_object_id());
    let new = |event: &BaymodelEvent| {
        let meta = Meta { user: "somebody".to_owned(), ..Meta::default() };
        NewEvent::new(clock::new_event_id(), clock::now(), meta, event)
    };
    let fields = BaymodelFields { name, coe: "docker".to_owned(), ..BaymodelFields::default() };
    let first = vec![new(&BaymodelEvent::Created(BaymodelCreatedV1 { fields }))];
    let append = Append { stream, expected: Expected::NoStream, command: None, events: first };
    let mut last = log.append(append).await.unwrap();
    let updated = BaymodelEvent::Updated(UpdatedV1 { changes: Vec::new() });
    while last.last.get() < events {
        let events = (0..BATCH).map(|_| new(&updated)).collect();
        let expected = Expected::Exact(Revision(last.revision.get()));
        last = log.append(Append { stream, expected, command: None, events }).await.unwrap();
    }
    log.close().await;
}

/// What a consumer keeps: how far it is, and a checksum over all that it saw.
struct Seen {
    position: u64,
    sum: blake3::Hasher,
    started: Instant,
    reading: Duration,
}

impl Seen {
    /// Takes an event: the next one, or it fails.
    fn take(&mut self, message: &Message) {
        let Message { position, control, data } = message;
        match (control.as_str(), *position) {
            ("", Some(position)) => {
                assert_eq!(position, self.position + 1, "once and in order: {data}");
                self.position = position;
                add(&mut self.sum, &data["id"], &data["chainhash"]);
            }
            // Everything is wanted, so nothing was skipped.
            (_, Some(position)) => assert_eq!(position, self.position, "{data}"),
            (_, None) => panic!("{data}"),
        }
    }

    /// Reads until so many are read, or the stream ends.
    fn read(&mut self, stream: &mut Follower, events: u64) {
        let (start, until) = (Instant::now(), self.position + events);
        while self.position < until
            && let Some(message) = stream.next()
        {
            self.take(&message);
        }
        self.reading += start.elapsed();
    }
}

fn add(sum: &mut blake3::Hasher, id: &Value, hash: &Value) {
    for text in [id, hash] {
        sum.update(text.as_str().unwrap().as_bytes());
    }
}

/// The checksum of the whole log, out of its files; the position of its end.
fn of_log(server: &Server) -> (u64, blake3::Hash) {
    let export = Command::new(env!("CARGO_BIN_EXE_magnum"))
        .args(["log", "export", "--data"])
        .arg(server.data())
        .output()
        .unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let (mut head, mut sum) = (0, blake3::Hasher::new());
    for line in String::from_utf8(export.stdout).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        head = event["position"].as_u64().unwrap();
        add(&mut sum, &event["id"], &event["hash"]);
    }
    (head, sum.finalize())
}

/// Keeps changing something, also while the server is away, until it is told to stop.
fn keep_writing(http: &Http, stop: &AtomicBool) {
    let path = "/v1/baymodels/busy";
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let patch = json!([{ "op": "replace", "path": "/image_id", "value": number.to_string() }]);
        if http.try_send(reqwest::Method::PATCH, path, &[], Some(&patch)).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Tells a writer to stop, also when the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f29_a_killed_consumer_sees_every_event_once_and_in_order() {
    let rounds: u64 = setting("MAGNUM_STREAM_ROUNDS", 50);
    let seed: u64 = setting("MAGNUM_STREAM_SEED", clock::now().0 as u64);
    eprintln!("killed consumer: {rounds} rounds, MAGNUM_STREAM_SEED={seed}");
    let data = TempDir::new().unwrap();
    write(data.path(), rounds * EVENTS, None).await;
    let folder = data.path().to_owned();
    // The harness has a runtime of its own, which must not live in this one.
    let done = thread::spawn(move || consume(&folder, rounds, Chance::new(seed)));
    done.join().unwrap();
}

fn consume(data: &std::path::Path, rounds: u64, mut chance: Chance) {
    let mut server = Server::start(Options::fake().data(data));
    server.post("/v1/baymodels", &baymodel("busy")).expect(201);
    let mut seen = Seen {
        position: 0,
        sum: blake3::Hasher::new(),
        started: Instant::now(),
        reading: Duration::ZERO,
    };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (http, stop) = (server.http(), &stop);
        let ends = Ends(stop);
        scope.spawn(move || keep_writing(&http, stop));
        for round in 0..rounds {
            let transport = TRANSPORTS[round as usize % TRANSPORTS.len()];
            // Where it was: as browsers say it, or in the address.
            let (query, last) = match chance.below(2) {
                0 => (format!("after={}", seen.position), None),
                _ => ("after=0".to_owned(), Some(seen.position)),
            };
            let mut stream = Follower::open(&server, transport, &query, last).unwrap();
            seen.read(&mut stream, chance.below(2 * EVENTS));
            // Some of the time the server goes, in the middle of what is being sent, either way.
            match chance.below(12) {
                0 => server.kill(),
                1 => assert!(server.stop().success()),
                _ => continue,
            }
            seen.read(&mut stream, u64::MAX >> 1);
            server.restart();
        }
        drop(ends);
    });
    let head = head(&server);
    let mut stream =
        Follower::open(&server, TRANSPORTS[0], &format!("after={}", seen.position), None).unwrap();
    let left = head - seen.position;
    seen.read(&mut stream, left);
    drop(stream);
    server.kill();
    let (end, sum) = of_log(&server);
    assert_eq!((seen.position, seen.sum.finalize()), (end, sum), "what the log holds");
    let (all, reading) = (seen.started.elapsed().as_secs_f64(), seen.reading.as_secs_f64());
    let events = seen.position as f64;
    eprintln!("{events} events in {all:.1} s, {:.0}/s while reading", events / reading);
}

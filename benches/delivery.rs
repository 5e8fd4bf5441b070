//! How long an event takes from its decision to its subscribers, over real connections.

use std::collections::HashMap;
use std::io::BufRead;
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use magnum::{clock, credentials};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::report::{Report, percentile, rate};
use crate::server::{Server, processor};

/// Those who follow: what the way itself takes, and what so many do.
const SUBSCRIBERS: [usize; 2] = [1, 100];

/// Events in a second.
const EVENTS: u64 = 1_000;

/// Connections that make them.
const WRITERS: u64 = 20;

/// How long events are made.
const LASTS: Duration = Duration::from_secs(10);

/// After the last event, until its readers have it.
const LINGER: Duration = Duration::from_secs(1);

/// The longest of ninety-nine in a hundred.
const P99: Duration = Duration::from_millis(5);

/// Microseconds since 1970 at which an event, by its position, was decided or arrived.
type Times = Vec<(u64, i64)>;

/// Measures the way of events to those who follow all of them.
pub fn measure(report: &mut Report) {
    SUBSCRIBERS.into_iter().for_each(|subscribers| deliver(report, subscribers));
}

fn deliver(report: &mut Report, subscribers: usize) {
    let server = Server::start();
    let until = Instant::now() + LASTS + LINGER;
    // Those who read and those who write wait for each other's processor as little as they can:
    // one thread each.
    let url = server.url.clone();
    let reading = thread::spawn(move || runtime().block_on(read(&url, subscribers, until)));
    thread::sleep(LINGER / 2);
    let before = (server.processor(), processor("self"));
    let made = runtime().block_on(write_all(&server.url));
    let arrived = reading.join().expect("readers");
    let each = |after: Duration, before: Duration| (after - before) / made as u32;
    let costs = [each(server.processor(), before.0), each(processor("self"), before.1)];
    let decided: HashMap<u64, i64> =
        arrived.iter().flat_map(|reader| &reader.decided).copied().collect();
    let mut delays: Vec<Duration> = Vec::new();
    for (position, at) in arrived.iter().flat_map(|reader| &reader.arrived) {
        let micros = at - decided.get(position).expect("somebody read when it was decided");
        delays.push(Duration::from_micros(micros.max(0).unsigned_abs()));
    }
    assert_eq!(delays.len(), made * subscribers, "everybody got everything");
    let reads: usize = arrived.iter().map(|reader| reader.reads).sum();
    let (p50, p99) = (percentile(&mut delays, 0.5), percentile(&mut delays, 0.99));
    let beside = format!(
        "p50 {p50:.2?}; from the decision, so with the append itself; {:.0} events/s, {:.1} a read; \
         processor an event: server {:.2?}, who reads and writes on the same cores {:.2?}",
        rate(made as u64, LASTS - LINGER),
        delays.len() as f64 / reads as f64,
        costs[0],
        costs[1],
    );
    let figure = format!("p99 {p99:.2?}");
    let what = format!("Append to delivery, {subscribers} subscribers");
    report.add(&what, &figure, "p99 5 ms", p99 <= P99, &beside);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn read(url: &str, subscribers: usize, until: Instant) -> Vec<Reader> {
    let address = url.strip_prefix("http://").expect("an address");
    let readers = (0..subscribers)
        .map(|number| tokio::spawn(Reader::run(address.to_owned(), number == 0, until)));
    let read = join_all(readers).await;
    read.into_iter().map(|reader| reader.expect("a reader")).collect()
}

async fn write_all(url: &str) -> usize {
    let writers = (0..WRITERS).map(|number| tokio::spawn(write(url.to_owned(), number)));
    join_all(writers).await.into_iter().map(|made| made.expect("a writer")).sum()
}

/// Makes its share of the events, each when it is time; how many.
async fn write(url: String, number: u64) -> usize {
    let client = credentials::plain().build().expect("a client");
    let every = Duration::from_secs(1) / EVENTS as u32;
    // One after the other, not all at once.
    let first = tokio::time::Instant::now() + every * number as u32;
    let mut times = tokio::time::interval_at(first, every * WRITERS as u32);
    let (begin, mut made) = (Instant::now(), 0);
    while begin.elapsed() < LASTS - LINGER {
        times.tick().await;
        let body = format!(
            r#"{{"name":"m{number}-{made}","image_id":"busybox","keypair_id":"k","coe":"docker"}}"#
        );
        let request = client.post(format!("{url}/v1/baymodels"));
        let request = request.header("content-type", "application/json").body(body);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), 201);
        // To its end, so that the connection is used again.
        drop(answer.bytes().await);
        made += 1;
    }
    made
}

/// A subscriber.
#[derive(Default)]
struct Reader {
    /// When events were decided; only one reader looks, so that reading costs little.
    decided: Times,
    arrived: Times,
    /// How often it was given something.
    reads: usize,
}

impl Reader {
    async fn run(address: String, looks: bool, until: Instant) -> Self {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        // HTTP/1.0: no chunks between the lines. The node may come up meanwhile.
        let request = "GET /v1/events/stream?kind=baymodel HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut reader = Self::default();
        let (mut buffer, mut position) = (Vec::with_capacity(1 << 16), None);
        let mut end = pin!(tokio::time::sleep_until(until.into()));
        loop {
            let read = tokio::select! {
                read = stream.read_buf(&mut buffer) => read.expect("a stream"),
                () = &mut end => return reader,
            };
            assert!(read > 0, "the stream ended");
            let now = clock::now().0;
            let mut rest = buffer.as_slice();
            // Up to the last line that is there as a whole.
            loop {
                let mut after = rest;
                let length = after.skip_until(b'\n').expect("memory");
                let Some(line) = rest.get(..length).and_then(|line| line.strip_suffix(b"\n"))
                else {
                    break;
                };
                reader.see(line, &mut position, looks, now);
                rest = after;
            }
            let taken = buffer.len() - rest.len();
            buffer.drain(..taken);
            reader.reads += usize::from(taken > 0);
        }
    }

    /// Takes in a line. Messages with a name are no events.
    fn see(&mut self, line: &[u8], position: &mut Option<u64>, looks: bool, now: i64) {
        if let Some(id) = line.strip_prefix(b"id: ") {
            *position = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        } else if line.starts_with(b"event: ") {
            *position = None;
        } else if let Some(data) = line.strip_prefix(b"data: ")
            && let Some(position) = position.take()
        {
            self.arrived.push((position, now));
            if looks {
                let event: serde_json::Value = serde_json::from_slice(data).expect("an event");
                let time = event.get("time").and_then(serde_json::Value::as_str);
                let time: DateTime<Utc> = time.expect("its time").parse().expect("a time");
                self.decided.push((position, time.timestamp_micros()));
            }
        }
    }
}

//! The real program, started for a benchmark: on a free port, with a data folder of its own on
//! the disk of this checkout, and the engine that does nothing. And what loads it: `wrk`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Has wrk say what it measured in one line; its times are microseconds.
const DONE: &str = r#"
function done(summary, latency)
  local failed = 0
  for _, count in pairs(summary.errors) do failed = failed + count end
  print("measured", summary.requests / summary.duration * 1e6, latency:percentile(50),
        latency:percentile(99), failed)
end
"#;

/// More requests than a load has.
const MAX_REQUESTS: u64 = 100_000_000;

/// Loads so far.
static LOADS: AtomicU64 = AtomicU64::new(0);

/// A running server; ends with the value, as by `kill -9`.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// From its start to its readiness.
    pub ready: Duration,
    /// Where its data is, unless that is somebody else's.
    data: Option<TempDir>,
}

impl Server {
    /// Starts it with an empty log.
    pub fn start() -> Self {
        Self::start_with("fake")
    }

    /// Starts it with an empty log, over an engine.
    pub fn start_with(backend: &str) -> Self {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut server = Self::start_over(data.path(), backend);
        server.data = Some(data);
        server
    }

    /// Starts it on a data folder, and waits until it serves.
    pub fn start_in(data: &Path) -> Self {
        Self::start_over(data, "fake")
    }

    fn start_over(data: &Path, backend: &str) -> Self {
        let begin = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_magnum"))
            .args(["serve", "--backend", backend, "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("MAGNUM_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        let url = lines.find_map(|line| {
            Some(line.ok()?.strip_prefix("magnum: listening on ")?.trim_end_matches('/').to_owned())
        });
        let url = url.expect("a server that listens");
        Self { child, url, ready: begin.elapsed(), data: None }
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("a process that runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("its memory") << 10
    }

    /// Processor time that it has taken so far.
    pub fn processor(&self) -> Duration {
        processor(&self.child.id().to_string())
    }

    /// Makes an object.
    pub fn post(&self, path: &str, body: &str) {
        let address = self.url.strip_prefix("http://").expect("an address");
        let mut stream = TcpStream::connect(address).expect("a connection");
        let head = "HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length:";
        let head = format!("POST {path} {head} {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.0 201"), "{answer}");
    }

    /// Loads it for a while over so many connections that stay open. `request` is the body of a
    /// Lua function; `n` counts its calls, of all loads, so that no two requests are the same.
    pub fn load(&self, connections: u32, lasts: Duration, request: &str) -> Load {
        let script = tempfile::NamedTempFile::new().expect("a file for the script");
        let first = LOADS.fetch_add(1, Ordering::Relaxed) * MAX_REQUESTS;
        let head = format!("local n = {first}\nfunction request()\n  n = n + 1");
        let lua = format!("{head}\n  {request}\nend\n{DONE}");
        fs::write(script.path(), lua).expect("a script");
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &connections.to_string()])
            .args(["--duration", &format!("{}s", lasts.as_secs())])
            .arg("--script")
            .arg(script.path())
            .arg(&self.url)
            .output()
            .expect("wrk, which `make bench` installs");
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
        Load::parse(&words).expect("figures at the end of what wrk says")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What does not end any more has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that a process has taken so far, by its id or `self`.
pub fn processor(process: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process that runs");
    // After the name, which may hold anything: user and system time are the 12th and 13th field,
    // in ticks of 10 ms.
    let (_, fields) = stat.rsplit_once(") ").expect("its name");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>());
    Duration::from_millis(ticks.map(|ticks| ticks.expect("a number") * 10).sum())
}

/// What a load came to.
pub struct Load {
    /// Answers in a second.
    pub rate: f64,
    /// Half of the answers took at most this long.
    pub p50: Duration,
    /// All but one of a hundred took at most this long.
    pub p99: Duration,
    /// Answers that were no success, and connections that failed.
    pub failed: u64,
}

impl Load {
    fn parse(words: &str) -> Option<Self> {
        let line = words.lines().find_map(|line| line.strip_prefix("measured"))?;
        let mut numbers = line.split_whitespace().map(|number| number.parse::<f64>().ok());
        let mut next = || numbers.next().flatten();
        let (rate, p50, p99, failed) = (next()?, next()?, next()?, next()?);
        let micros = |number: f64| Duration::from_micros(number as u64);
        Some(Self { rate, p50: micros(p50), p99: micros(p99), failed: failed as u64 })
    }
}

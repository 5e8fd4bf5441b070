//! The real program, started for a benchmark, and load on it by wrk from the same machine.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server on the model of an engine; ends with the value.
pub struct Service {
    child: Child,
    /// Where it listens.
    pub url: String,
    /// From its start to its readiness.
    pub ready: Duration,
}

impl Service {
    /// Starts it on a data folder and waits until it serves.
    pub fn start(data: &Path) -> Self {
        let begin = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_magnum"))
            .args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("magnum: listening on ").map(str::to_owned));
        let url = url.expect("that it listens");
        Self { child, url, ready: begin.elapsed() }
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024.0
    }

    /// Ends it as a power cut would, but that the kernel lives.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a load came to.
#[derive(Debug)]
pub struct Load {
    /// Answers in a second.
    pub rate: f64,
    /// Milliseconds within which 99 of 100 answers came.
    pub p99_ms: f64,
    /// Answers that were no success, and connections that failed.
    pub failures: String,
}

/// Lets wrk ask for what a Lua script says, over so many connections that are kept.
pub fn load(service: &Service, connections: u32, seconds: u32, script: &str) -> Load {
    let path = std::env::temp_dir().join(format!("magnum-bench-{}.lua", std::process::id()));
    fs::write(&path, script).expect("a script");
    let asked = Command::new("wrk")
        .args(["--latency", "-t", "1", "-c", &connections.to_string()])
        .args(["-d", &format!("{seconds}s"), "-s"])
        .arg(&path)
        .arg(&service.url)
        .output()
        .expect("wrk, from the distribution's package of that name");
    fs::remove_file(&path).expect("the script");
    let said = String::from_utf8_lossy(&asked.stdout);
    let value = |name: &str| {
        said.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_default().trim()
    };
    let failed = |line: &&str| line.contains("Non-2xx") || line.contains("Socket errors");
    let failures: Vec<&str> = said.lines().map(str::trim).filter(failed).collect();
    Load {
        rate: value("Requests/sec:").parse().unwrap_or_default(),
        p99_ms: milliseconds(value("99%")),
        failures: failures.join("; "),
    }
}

/// `812.00us`, `1.20ms` or `2.01s`.
fn milliseconds(text: &str) -> f64 {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let parsed = units.iter().find_map(|(unit, ms)| {
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number * ms)
    });
    parsed.unwrap_or(f64::NAN)
}

//! The real program as a server that is asked byte by byte, and what it was like at its end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use magnum::text::is_hidden;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// After so long without a byte nothing more is expected of what was sent, which may be half a
/// request.
const QUIET: Duration = Duration::from_millis(25);

/// Most bytes that are read of one answer: events that go on forever.
const ENOUGH: usize = 1 << 20;

/// Most memory that it may ever have used: several times what a new server takes.
const MAX_MEMORY_KB: u64 = 1 << 20;

/// Longest text of a refusal: 1 KiB of reason, what it was about, and the same for old clients.
const MAX_REFUSAL_BYTES: usize = 16 << 10;

pub struct Server {
    child: Child,
    home: TempDir,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

/// An answer; its status is 0 where there was none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        assert!(status.is_some() || text.is_empty(), "{text}");
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Self { status: status.unwrap_or(0), text: body.to_owned() }
    }

    /// The body, where it is JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// Checks what the server says of what it does not do.
    #[track_caller]
    pub fn is_plain(&self) {
        if self.status >= 400 {
            assert!(self.text.len() <= MAX_REFUSAL_BYTES, "{} bytes", self.text.len());
            let shown = |c: char| !is_hidden(c) || matches!(c, '\n' | '\r');
            assert!(self.text.chars().all(shown), "{:?}", self.text);
        }
    }
}

impl Server {
    /// On the model of an engine, with these arguments besides.
    pub fn start(args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = fs::File::create(home.path().join("stderr")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_magnum"))
            .args(["serve", "--backend", "fake", "--listen", "127.0.0.1:0"])
            .args(["--request-wait", "0", "--data"])
            .arg(home.path().join("data"))
            .args(args)
            .env("MAGNUM_KEYSTONE_PASSWORD", "secret")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = child.stdout.take().unwrap();
        while !said.contains('\n') {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            said.push(char::from(byte[0]));
        }
        let address = said.trim().rsplit("http://").next().unwrap().to_owned();
        let server = Self { child, home, address };
        server.is_healthy();
        server
    }

    /// Sends bytes; what comes until nothing more does.
    pub fn send(&self, bytes: &[u8]) -> Answer {
        self.send_within(bytes, QUIET)
    }

    /// The same for a request that is known to be whole, however long its answer takes.
    pub fn ask(&self, bytes: &[u8]) -> Answer {
        self.send_within(bytes, PATIENCE)
    }

    fn send_within(&self, bytes: &[u8], quiet: Duration) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(quiet)).unwrap();
        // It may have been refused before it was sent.
        let _refused = stream.write_all(bytes);
        let (mut answer, mut piece, mut is_open) = (Vec::new(), [0; 4096], true);
        while answer.len() < ENOUGH {
            match stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&piece[..count]),
                Err(error) if is_timeout(&error) && is_open && answer.is_empty() => {
                    // Half a request ends here.
                    is_open = false;
                    let _gone = stream.shutdown(std::net::Shutdown::Write);
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                }
                Err(error) if is_timeout(&error) => {
                    assert!(!answer.is_empty(), "no answer and no end of the connection");
                    break;
                }
                Err(_) => break,
            }
        }
        Answer::of(&answer)
    }

    /// A request of one line and these headers, on a connection of its own.
    pub fn get(&self, path: &str, headers: &str) -> Answer {
        let address = &self.address;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("{head}{headers}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        Answer::of(&answer)
    }

    #[track_caller]
    pub fn is_healthy(&self) {
        let answer = self.get("/healthz", "");
        assert_eq!(answer.status, 200, "{}\n{}", answer.text, self.stderr());
    }

    /// What it logged.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.home.path().join("stderr")).unwrap()
    }

    /// Checks what it was like at the end.
    pub fn was_well(&self) {
        self.is_healthy();
        let stderr = self.stderr();
        assert!(!stderr.contains("panicked"), "{stderr}");
        for line in stderr.lines() {
            assert!(line.len() <= 4096, "{} bytes in a line: {line:.500}", line.len());
        }
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
        assert!(peak <= MAX_MEMORY_KB, "{peak} kB");
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

//! What the command line reads from a server: documents, events and errors that are nearly right.
//! It ends, says in words what is wrong, and writes nothing that a terminal would obey but its own
//! colours, whether it writes to one or not.
//!
//! Output of containers and commands is written as it is, so that is not asked for.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use magnum::text::is_hidden;
use proptest::sample::select;
use proptest::strategy::Strategy;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::mutation::{self, Change};
use crate::{CASES, fuzz};

/// Longer than any command takes on a busy machine, with two times that it connects again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it sets colours with, and ends them.
const COLOURS: [&str; 4] = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[0m"];

const COMMANDS: [&str; 30] = [
    "container-list",
    "container-list -o yaml",
    "container-show web",
    "container-show web -o json",
    "container-history web",
    "container-execution-list web",
    "container-start web",
    "container-create --name web --image i",
    "container-delete web other",
    "--debug bay-show b",
    "bay-list",
    "node-list",
    "keys list",
    "keys erase 0123456789abcdef --yes",
    "events list",
    "events list -o wide",
    "events list -o json",
    "events show 7",
    "events tail --limit 2",
    "events tail -o wide --limit 2",
    "events tail -o yaml --limit 2",
    "why container/web",
    "trace req-1",
    "replay state container/web",
    "replay timeline container/web",
    "replay diff container/web --from 1",
    "replay blame container/web status",
    "replay verify",
    "replay find status==\"Error\" container",
    "bundle export container/web -",
];

/// One document that has what each command looks for.
fn document() -> Value {
    let event = json!({
        "specversion": "1.0", "id": "019ab6d4-0000-7ddb-b143-0c6e8259f7bd", "position": "7",
        "revision": 2, "type": "magnum.container.started.v1", "time": "2026-11-30T11:12:02.332Z",
        "subject": "container/019ab6d4-0000-7ddb-b143-0c6e8259f7bb", "user": "alice",
        "requestid": "req-1", "request_id": "req-1", "reason": "why",
        "data": { "reason": "exited", "exit_code": 3, "work_id": "w", "changes": [] },
    });
    let object = json!({
        "uuid": "019ab6d4-0000-7ddb-b143-0c6e8259f7bb", "name": "web", "status": "Error",
        "status_reason": "gone", "image_id": "i", "host": "n1", "node_uuid": "n", "id": "k",
        "tasks": { "queue": [{ "action": "stop", "blocked_on": "n1" }] }, "links": [],
        "command": ["sh", "-c"], "requested_at": "2026-11-30T11:12:02Z", "blocked_on": null,
    });
    let mut document = object.clone();
    let fields = document.as_object_mut().unwrap();
    let lists =
        ["containers", "bays", "nodes", "baymodels", "executions", "keys", "moments", "objects"];
    fields.extend(lists.map(|list| (list.to_owned(), json!([object]))));
    let lists = ["events", "causes", "entries", "history", "timeline", "steps", "chain"];
    fields.extend(lists.map(|list| (list.to_owned(), json!([event]))));
    let rest = json!({
        "object": "container/019ab6d4-0000-7ddb-b143-0c6e8259f7bb", "at": 7, "head": 7,
        "position": 7, "revision": 2, "next": null, "event": event, "field": "status",
        "request_id": "req-1", "state": { "head": { "revision": 2 }, "fields": object },
        "changes": [{ "field": "status", "from": "Running", "to": "Error", "by": event }],
        "facts": [{ "what": "it failed", "event": event }], "waits_for": "node n1",
        "last_error": { "reason": "no", "event": event }, "differences": [], "version": 1,
        "errors": [{ "status": 409, "code": "conflict", "title": "no", "detail": "It is so." }],
        "error_message": "{\"faultstring\": \"It is so.\", \"debuginfo\": null}",
    });
    fields.extend(rest.as_object().unwrap().clone());
    document
}

/// What a server answers to every request.
#[derive(Clone, Debug)]
struct Script {
    document: Value,
    status: u16,
    content_type: &'static str,
    /// Of all bytes, heads as well.
    changes: Vec<Change>,
}

fn script() -> impl Strategy<Value = Script> {
    let status = select(vec![200, 200, 200, 200, 200, 201, 202, 204, 400, 401, 404, 409, 500, 503]);
    let types = select(vec!["application/json", "application/json", "application/json", "x/y"]);
    let changes = proptest::option::of(mutation::changes());
    (mutation::large_document(document(), 24), status, types, changes).prop_map(
        |(document, status, content_type, changes)| {
            let changes = changes.unwrap_or_default();
            Script { document, status, content_type, changes }
        },
    )
}

impl Script {
    /// An answer up to the end of the connection; events come once, and then the stream is gone.
    fn answer(&self, path: &str, is_first: bool) -> Vec<u8> {
        let is_stream = path.starts_with("/v1/events/stream");
        let (status, content_type) = match (is_stream, is_first) {
            (true, true) => (200, "text/event-stream"),
            (true, false) => (410, "application/json"),
            _ => (self.status, self.content_type),
        };
        let event = self.document.get("event").unwrap_or(&Value::Null);
        let id = self.document.get("position").unwrap_or(&Value::Null);
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let body = match (is_stream && is_first, status) {
            (true, _) => format!(": hi\n\nid: {id}\nevent: container.started\ndata: {event}\n\n"),
            (false, 204) => String::new(),
            _ => self.document.to_string(),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n"
        );
        mutation::changed(format!("{head}{body}").into_bytes(), &self.changes)
    }
}

/// Reads a request; its path.
fn path_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    let _gone = stream.read_exact(&mut body);
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// A server with a script that can be exchanged; where it listens.
fn server(script: Arc<Mutex<(Script, u32)>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let path = path_of(&mut stream);
            let mut script = script.lock().unwrap();
            let answer = script.0.answer(&path, script.1 == 0);
            script.1 += u32::from(path.starts_with("/v1/events/stream"));
            // The client may have seen enough.
            let _gone = stream.write_all(&answer);
        }
    });
    url
}

/// Runs a command to its end, its output on a terminal or in a file; what it wrote.
fn run(url: &str, command: &str, on_terminal: bool) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| File::create(folder.path().join(name)).unwrap();
    let (stdout, screen) = if on_terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        (File::options().read(true).write(true).open(name).unwrap(), Some(File::from(master)))
    } else {
        (file("stdout"), None)
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_magnum"))
        .args(["--magnum-url", url])
        .args(command.split(' '))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(file("stderr"))
        .spawn()
        .unwrap();
    let screen = screen.map(|mut screen| {
        thread::spawn(move || {
            let (mut bytes, mut all) = ([0; 4096], Vec::new());
            // Ends with an error when the program is gone.
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                all.extend_from_slice(&bytes[..read]);
            }
            all
        })
    });
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("{command} does not end");
        }
        sleep(Duration::from_millis(1));
    };
    let mut written = fs::read(folder.path().join("stderr")).unwrap();
    written.extend(match screen {
        Some(screen) => screen.join().unwrap(),
        None => fs::read(folder.path().join("stdout")).unwrap(),
    });
    let code = status.code().unwrap_or_else(|| panic!("{command}: {status}"));
    (code, String::from_utf8(written).unwrap())
}

#[test]
fn what_a_server_says() {
    let start = Script { document: Value::Null, status: 200, content_type: "", changes: vec![] };
    let current = Arc::new(Mutex::new((start, 0)));
    let url = server(Arc::clone(&current));
    let asked = (script(), select(COMMANDS.to_vec()), proptest::bool::ANY);
    fuzz(CASES / 2, asked, |(script, command, on_terminal)| {
        *current.lock().unwrap() = (script, 0);
        let (code, written) = run(&url, command, on_terminal);
        // A request that is no use to the server is a usage error.
        let is_refused = code == 2 && written.contains("ERROR: ");
        assert!([0, 1].contains(&code) || is_refused, "{command}: {code} {written}");
        assert!(written.len() <= 4 << 20, "{command}: {} bytes", written.len());
        let mut plain = written.replace("\r\n", "\n");
        for colour in COLOURS.iter().filter(|_| on_terminal) {
            plain = plain.replace(colour, "");
        }
        let shown = |c: char| c == '\n' || !is_hidden(c);
        assert!(plain.chars().all(shown), "{command}: {written:?}");
    });
}

#[test]
fn an_answer_without_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        path_of(&mut stream);
        stream.write_all(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n").unwrap();
        let piece = vec![b' '; 1 << 20];
        while stream.write_all(&piece).is_ok() {}
    });
    let (code, written) = run(&url, "bay-list", false);
    assert!(code == 1 && written.contains("is larger than"), "{code} {written}");
    server.join().unwrap();
}

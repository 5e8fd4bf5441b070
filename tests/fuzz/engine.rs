//! Answers of a Docker engine, as a real one gave them, changed in their values and in their bytes,
//! through the real client: what comes out is bounded, and words without hidden characters.
//!
//! The engine listens on a socket in the same thread, and time passes a hundred times as fast: so
//! limits end what an answer leaves open, without waiting for them.

use std::cell::Cell;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use magnum::allowed::Allowed;
use magnum::backends::docker::DockerBackend;
use magnum::backends::{
    Action, Backend, BackendError, Desired, Done, EngineObject, Exec, LogQuery, Observed,
    Operation, OutputFrame, Progress, Removed, Reporter, Work,
};
use magnum::events::container::{ContainerSpec, RestartPolicy};
use magnum::ids::{EventId, Kind, ObjectId, ProjectId, StreamId};
use magnum::sources::Sources;
use magnum::text::is_hidden;
use proptest::prelude::any;
use proptest::sample::select;
use proptest::strategy::Strategy;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::mutation::{self, Change};
use crate::{CASES, fuzz};

/// An engine's answers: a few values are others, and the bytes of all answers of one kind.
#[derive(Clone, Debug)]
struct Script {
    answers: Value,
    /// What is refused, with which status.
    refused: (&'static str, u16),
    changed: (&'static str, Vec<Change>),
    /// Whether the last of what it tells of a pull, an error, is left out.
    can_pull: bool,
}

/// The kinds of answers; the output of commands is no document.
const KINDS: [&str; 14] = [
    "info",
    "container",
    "containers",
    "networks",
    "network",
    "image",
    "made",
    "made_network",
    "exec",
    "error",
    "events",
    "pull",
    "output",
    "done",
];

fn answers() -> Value {
    serde_json::from_str(include_str!("engine.json")).unwrap()
}

fn script() -> impl Strategy<Value = Script> {
    let refused = (select(KINDS.to_vec()), select(vec![200, 304, 400, 403, 404, 409, 500, 503]));
    let changed = (select(KINDS.to_vec()), mutation::changes());
    (mutation::large_document(answers(), 24), refused, changed, any::<bool>()).prop_map(
        |(answers, refused, changed, can_pull)| Script { answers, refused, changed, can_pull },
    )
}

/// What a request asks for.
fn kind(head: &str) -> &'static str {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match (method, &*parts) {
        ("GET", ["info"]) => "info",
        ("GET", ["events"]) => "events",
        ("GET", ["containers", "json"]) => "containers",
        ("GET", ["containers", .., "json"]) => "container",
        ("GET", ["exec", .., "json"]) => "exec",
        ("GET", ["networks"]) => "networks",
        ("GET", ["networks", ..]) => "network",
        ("GET", ["images", ..]) => "image",
        ("GET", ["containers", .., "logs"]) | ("POST", ["exec", .., "start"]) => "output",
        ("POST", ["images", "create"]) => "pull",
        ("POST", ["networks", "create"]) => "made_network",
        ("POST", ["containers", "create"] | ["containers", .., "exec"]) => "made",
        _ => "done",
    }
}

impl Script {
    /// An answer up to the end of the connection.
    fn answer(&self, head: &str) -> Vec<u8> {
        let kind = kind(head);
        let (status, told) = match self.refused {
            (refused, status) if refused == kind && status != 200 => (status, "error"),
            _ if kind == "done" => (204, kind),
            _ => (200, kind),
        };
        let body = match (told, self.answers.get(told)) {
            // Output of both kinds, one piece each.
            ("output", _) => b"\x02\0\0\0\0\0\0\x04err\n\x01\0\0\0\0\0\0\x04out\n".to_vec(),
            ("events" | "pull", Some(Value::Array(lines))) => {
                let count =
                    lines.len().saturating_sub(usize::from(told == "pull" && self.can_pull));
                lines
                    .iter()
                    .take(count)
                    .map(|line| format!("{line}\r\n"))
                    .collect::<String>()
                    .into()
            }
            (_, body) => body.map(Value::to_string).unwrap_or_default().into_bytes(),
        };
        let content_type = match told {
            "output" => "application/vnd.docker.raw-stream",
            _ => "application/json",
        };
        let (status, upgrade) = match (told, head.starts_with("POST")) {
            ("output", true) => ("101 UPGRADED".to_owned(), "Upgrade: tcp\r\nConnection: Upgrade"),
            _ => (format!("{status} X"), "Connection: close"),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n{upgrade}\r\n\r\n");
        let (changed, changes) = &self.changed;
        let changes = if *changed == kind { &**changes } else { &[] };
        mutation::changed([head.into_bytes(), body].concat(), changes)
    }

    async fn serve(self: Arc<Self>, mut stream: UnixStream) {
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read_buf(&mut head).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let answer = self.answer(&String::from_utf8_lossy(&head));
        // The client may have seen enough.
        let _gone = stream.write_all(&answer).await;
        let _gone = stream.shutdown().await;
        // What it still sends is taken, since closing before would break the connection.
        let mut rest = Vec::new();
        let _gone = stream.read_to_end(&mut rest).await;
    }
}

/// Checks that words are what people may be shown.
#[track_caller]
fn is_plain(words: &str) {
    // The engine's, cut, and what is said about them.
    assert!(words.len() <= 2048, "{} bytes: {words}", words.len());
    assert!(!words.chars().any(is_hidden), "{words:?}");
}

#[track_caller]
fn is_sound<T>(answer: Result<T, BackendError>) -> Option<T> {
    answer.map_err(|error| is_plain(&error.to_string())).ok()
}

fn is_done(answer: Result<Done, BackendError>) -> bool {
    let done = is_sound(answer);
    if let Some(id) = done.as_ref().and_then(|done| done.engine_id.as_deref()) {
        is_plain(id);
    }
    done.is_some()
}

fn is_observed(observed: &Observed) {
    is_plain(&observed.engine_id);
    is_plain(&observed.engine_name);
    assert!(observed.ends.len() <= 48, "{}", observed.ends.len());
    assert!(observed.finished_at.is_none_or(|time| time.0 > 0));
    // It crosses the bus.
    let bytes = serde_json::to_vec(observed).unwrap();
    assert_eq!(&serde_json::from_slice::<Observed>(&bytes).unwrap(), observed);
}

/// Checks what it is told.
#[derive(Default)]
struct Listener(Mutex<usize>);

#[async_trait]
impl Reporter for Listener {
    async fn progress(&self, progress: Progress) {
        is_plain(&progress.message);
        assert!(progress.current_bytes <= progress.total_bytes, "{progress:?}");
    }

    async fn underway(&self, progress: Progress) {
        self.progress(progress).await;
    }

    async fn output(&self, frame: OutputFrame) {
        *self.0.lock().unwrap() += frame.data.len();
    }
}

const NODE: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d4_0000_7ddb_b143_0c6e_8259_f7ba));
const CONTAINER: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d4_0000_7ddb_b143_0c6e_8259_f7bb));
const BAY: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d4_0000_7ddb_b143_0c6e_8259_f7bc));

fn spec() -> ContainerSpec {
    ContainerSpec {
        // An address, so that no name is looked up.
        image: "198.51.100.7/busybox:1".to_owned(),
        command: vec!["true".to_owned()],
        environment: Default::default(),
        ports: Vec::new(),
        labels: Default::default(),
        memory_bytes: None,
        cpu_millis: None,
        working_dir: None,
        user: None,
        restart_policy: RestartPolicy::No,
    }
}

/// Every kind of work, some also at the second attempt, which looks for what the first one did.
fn works() -> Vec<Work> {
    let (bay, object) = (StreamId::new(Kind::Bay, BAY), StreamId::new(Kind::Container, CONTAINER));
    let container = Desired::Container { name: None, bay_id: BAY, spec: spec() };
    let command = vec!["id".to_owned()];
    let work = |attempt, stream, action| Work {
        id: EventId(Uuid::from_u128(0x019a_b6d4_0000_7ddb_b143_0c6e_8259_f7bd)),
        attempt,
        not_before: None,
        due_at: None,
        stream,
        project: ProjectId("p".to_owned()),
        node_id: NODE,
        request_id: "req-1".to_owned(),
        action,
    };
    vec![
        work(1, bay, Action::Apply(Desired::Network)),
        work(1, object, Action::Apply(container.clone())),
        work(2, object, Action::Apply(container)),
        work(1, object, Action::Do(Operation::Start)),
        work(1, object, Action::Do(Operation::Stop { grace_s: 1 })),
        work(1, object, Action::Exec(Exec::Start { command })),
        work(1, object, Action::Remove(Removed::Container)),
        work(2, object, Action::Remove(Removed::Container)),
        work(1, bay, Action::Remove(Removed::Network)),
    ]
}

/// Asks for everything that a backend can be asked for; how much of it was answered.
async fn ask(socket: &Path) -> usize {
    let registries = vec!["198.51.100.7".parse().unwrap()];
    let images = Sources { is_operator: false, shared: Vec::new(), registries };
    let allowed = Allowed { images, ..Allowed::default() };
    let object = StreamId::new(Kind::Container, CONTAINER);
    let backend = DockerBackend::new(socket.to_owned(), NODE).allowing(allowed);
    let mut answered = 0;
    if let Some(facts) = is_sound(backend.probe().await) {
        is_plain(&facts.engine);
        answered += 1;
    }
    if let Some(mut notices) = is_sound(backend.notices().await) {
        let mut count = 0;
        while notices.next().await.is_some() {
            count += 1;
        }
        assert!(count <= 1024, "{count}");
        answered += count;
    }
    for (_, object) in is_sound(backend.inventory().await).unwrap_or_default() {
        answered += 1;
        match object {
            EngineObject::Container(observed) => is_observed(&observed),
            EngineObject::Network(network) => {
                is_plain(&network.engine_id);
                is_plain(&network.engine_name);
            }
            EngineObject::Pod(pod) => {
                is_plain(&pod.engine_id);
                pod.containers.iter().for_each(|one| {
                    is_plain(&one.name);
                    is_observed(&one.observed);
                });
            }
        }
    }
    if let Some(observed) = is_sound(backend.inspect(object).await).flatten() {
        is_observed(&observed);
        answered += observed.ends.len();
    }
    let query = LogQuery { follow: true, ..LogQuery::default() };
    if let Some(mut output) = is_sound(backend.logs(object, query).await) {
        let mut bytes = 0;
        while let Some(frame) = output.next().await {
            bytes += is_sound(frame).map_or(0, |frame| frame.data.len());
        }
        assert!(bytes <= 4096, "{bytes}");
        answered += bytes;
    }
    let listener = Listener::default();
    for work in works() {
        answered += usize::from(is_done(backend.perform(&work, &listener).await));
    }
    let bytes = *listener.0.lock().unwrap();
    assert!(bytes <= 4096, "{bytes}");
    answered + bytes
}

/// Time passes in such steps, each of them in [`TICK`].
const STEP: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);

/// Lets time pass. Nobody waits for it to pass by itself: it would at each wait for the socket.
async fn hurry() {
    let (sender, mut ticks) = mpsc::channel(1);
    // As long as this runs time stands still.
    tokio::task::spawn_blocking(move || {
        while sender.blocking_send(()).is_ok() {
            thread::sleep(TICK);
        }
    });
    while ticks.recv().await.is_some() {
        tokio::time::advance(STEP).await;
    }
}

/// Asks an engine with these answers.
fn ask_of(script: Script, socket: &Path, in_a_hurry: bool) -> usize {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(in_a_hurry).build().unwrap();
    runtime.block_on(async {
        if in_a_hurry {
            tokio::spawn(hurry());
        }
        let listener = UnixListener::bind(socket).unwrap();
        let script = Arc::new(script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&script).serve(stream));
            }
        });
        let limit = Duration::from_secs(3600);
        tokio::time::timeout(limit, ask(socket)).await.expect("everything ends")
    })
}

#[test]
fn answers_as_they_were_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (refused, changed) = (("info", 200), ("info", Vec::new()));
    let script = Script { answers: answers(), refused, changed, can_pull: true };
    // The engine's facts, three notices, two objects, one end, each piece of work, and 8 bytes of
    // output twice.
    let all = 1 + 3 + 2 + 1 + works().len() + 8 + 8;
    assert_eq!(ask_of(script, &folder.path().join("engine.sock"), false), all);
}

#[test]
fn answers_of_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let asked = Cell::new(0);
    fuzz(CASES / 2, script(), |script| {
        asked.set(asked.get() + 1);
        let socket = socket.with_extension(asked.get().to_string());
        ask_of(script, &socket, true);
        std::fs::remove_file(&socket).unwrap();
    });
}

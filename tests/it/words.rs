//! Text from outside is data: words of any length, characters that a terminal would obey, names
//! that look alike, and what an engine or a client says where facts are meant.
//!
//! Not here: what a real engine says (`backend/docker_engine`).

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use magnum::agent::node::NodeAgent;
use magnum::agent::worker::WorkerHandle;
use magnum::backends::fake::{FakeBackend, FakeEngine, Fault};
use magnum::backends::{
    Action, BackendError, Desired, Done, Exec, Operation, Outcome, Progress, Removed, WorkResult,
};
use magnum::bus::delivery::report;
use magnum::bus::local::LocalBus;
use magnum::bus::{
    Asked, Authority, CommandError, CommandMessage, CommandPort, CommandReply, NodePort, Offer,
    ServiceCommand,
};
use magnum::clock;
use magnum::ids::{Kind, ObjectId, Position, Revision, StreamId};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backend::{spec, words, work};
use crate::harness::{Options, PATIENCE, Server, wait_for, wait_until};
use crate::requests::refused;

/// Longest words of somebody else that are recorded, in bytes.
const LONGEST: usize = 1024;

/// What some registries and engines say: more than an event holds, and much of one.
const SIZES: [usize; 2] = [5_000_000, 3_000_000];

/// Words of a length that a terminal would obey.
fn hostile(size: usize) -> String {
    format!("denied: \u{1b}]0;title\u{7}\u{202e}\u{2028}\n{}", "x".repeat(size))
}

#[track_caller]
fn is_plain(told: &str) {
    assert!(!told.is_empty() && told.len() <= LONGEST, "{} bytes", told.len());
    let is_bad = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}');
    assert!(!told.chars().any(is_bad), "{told:?}");
}

/// Takes the outcomes of work, as the conductor does; refuses some as a log would.
struct Conductor {
    told: mpsc::UnboundedSender<WorkResult>,
    can_record: fn(&WorkResult) -> bool,
}

#[async_trait]
impl CommandPort for Conductor {
    async fn command(
        &self,
        message: CommandMessage,
        _: Authority,
    ) -> Result<CommandReply, CommandError> {
        if let Asked::Service(ServiceCommand::Outcome(Outcome { result, .. })) = message.asked() {
            if !(self.can_record)(result) {
                return Err(CommandError::Internal("the payload is too large".to_owned()));
            }
            self.told.send(result.clone()).unwrap();
        }
        let (position, revision) = (Position(1), Revision(0));
        let stream = message.stream;
        Ok(CommandReply { stream, position, revision, work: None, repeated: false })
    }
}

/// A bus to a conductor, and what that is told.
fn conductor(
    can_record: fn(&WorkResult) -> bool,
) -> (Arc<LocalBus>, mpsc::UnboundedReceiver<WorkResult>) {
    let (told, hears) = mpsc::unbounded_channel();
    let bus = Arc::new(LocalBus::default());
    bus.serve_commands(Arc::new(Conductor { told, can_record }));
    (bus, hears)
}

/// Every kind of work, on a container or a bay.
fn all_work() -> Vec<(Kind, Action)> {
    let bay_id = clock::new_object_id();
    let execution_id = clock::new_event_id();
    let container = Desired::Container { name: None, bay_id, spec: spec("sleep 100") };
    let on_containers = [
        Action::Apply(container),
        Action::Do(Operation::Start),
        Action::Do(Operation::Stop { grace_s: 0 }),
        Action::Do(Operation::Reboot { grace_s: 0 }),
        Action::Do(Operation::Pause),
        Action::Do(Operation::Unpause),
        Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() }),
        Action::Exec(Exec::Start { command: words("true") }),
        Action::Exec(Exec::End { execution_id }),
        Action::Remove(Removed::Container),
    ];
    let on_bays = [Action::Apply(Desired::Network), Action::Remove(Removed::Network)];
    let containers = on_containers.into_iter().map(|action| (Kind::Container, action));
    containers.chain(on_bays.into_iter().map(|action| (Kind::Bay, action))).collect()
}

/// Whatever an engine says of whatever work, in whatever way: the outcome fits into an event.
#[test]
fn the_outcome_of_all_work_is_short_whatever_the_engine_says() {
    actix::System::new().block_on(async {
        let (bus, mut told) = conductor(|_| true);
        let engine = FakeEngine::new(clock::now_and_instant());
        let node_id = clock::new_object_id();
        let backend = FakeBackend::new(engine.clone(), node_id);
        let agent = bus.port(Authority::Agent(node_id));
        let node = NodeAgent::new(node_id, "n1".to_owned(), Arc::new(backend), agent, 8);
        let worker = WorkerHandle::start(Arc::new(node), &actix::Arbiter::current());
        let ways: [fn(String) -> BackendError; 5] = [
            BackendError::Refused,
            BackendError::Failed,
            BackendError::Missing,
            BackendError::TimedOut,
            BackendError::Unavailable,
        ];
        for (size, way) in SIZES.into_iter().flat_map(|size| ways.map(|way| (size, way))) {
            for (kind, action) in all_work() {
                engine.inject(Fault::Fail(way(hostile(size))));
                let stream = StreamId::new(kind, clock::new_object_id());
                let work = work(node_id, stream, action);
                let session = worker.node().session;
                let offer = Offer { work, revision: Revision(0), session, reply_to: None };
                worker.work(offer).await.unwrap();
                match timeout(PATIENCE, told.recv()).await.unwrap().unwrap() {
                    WorkResult::Failed { reason }
                    | WorkResult::Unknown { reason }
                    | WorkResult::Blocked { reason, .. } => is_plain(&reason),
                    other => panic!("{other:?}"),
                }
            }
        }
        for size in SIZES {
            let bay = StreamId::new(Kind::Bay, clock::new_object_id());
            engine.inject(Fault::Tell(hostile(size)));
            let work = work(node_id, bay, Action::Apply(Desired::Network));
            let session = worker.node().session;
            let offer = Offer { work, revision: Revision(0), session, reply_to: None };
            worker.work(offer).await.unwrap();
            let progress = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
            let WorkResult::Progress(progress) = progress else { panic!("{progress:?}") };
            is_plain(&progress.message);
            let done = timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
            assert!(matches!(done, WorkResult::Done(_)), "{done:?}");
        }
    });
}

/// An outcome that cannot be recorded as it is becomes one that can; how far work is does not, as
/// the work goes on.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_cannot_be_recorded_becomes_a_smaller_one() {
    let (bus, mut told) = conductor(|result| matches!(result, WorkResult::Unknown { .. }));
    let node_id = ObjectId::default();
    let agent = bus.port(Authority::Agent(node_id));
    let stream = StreamId::new(Kind::Container, clock::new_object_id());
    let work = work(node_id, stream, Action::Do(Operation::Start));
    let progress = Progress { message: "layer".to_owned(), ..Progress::default() };
    report(agent.as_ref(), &work, WorkResult::Progress(progress)).await;
    assert!(told.try_recv().is_err());
    let reason = "no".to_owned();
    let done = Done { engine_id: Some("x".repeat(5_000_000)), ..Done::default() };
    for result in [WorkResult::Done(done), WorkResult::Failed { reason }] {
        report(agent.as_ref(), &work, result).await;
        let WorkResult::Unknown { reason } = told.try_recv().unwrap() else { panic!() };
        assert_eq!(reason, "its outcome could not be recorded");
    }
}

/// An engine that has one network, whatever it is asked for, and refuses every change with words of
/// a length. It ends with the value.
struct Talker {
    socket: std::path::PathBuf,
    size: Arc<Mutex<usize>>,
    _folder: tempfile::TempDir,
    _runtime: Runtime,
}

impl Talker {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let size = Arc::new(Mutex::new(0));
        let runtime = Runtime::new().unwrap();
        let said = Arc::clone(&size);
        let engine = Router::new().fallback(async move |method: Method, uri: Uri| {
            let path = uri.path();
            let (status, answer) = if path.ends_with("/info") {
                let time = "2026-01-01T00:00:00Z";
                (200, json!({ "ServerVersion": "1", "NCPU": 1, "SystemTime": time }))
            } else if path.ends_with("/containers/json") || path.ends_with("/networks") {
                (200, json!([]))
            } else if path.ends_with("/events") {
                return std::future::pending().await;
            } else if method == Method::GET {
                (404, json!({ "message": "there is none" }))
            } else {
                (500, json!({ "message": hostile(*said.lock().unwrap()) }))
            };
            (StatusCode::from_u16(status).unwrap(), axum::Json(answer))
        });
        let listener = {
            let _runtime = runtime.enter();
            UnixListener::bind(&socket).unwrap()
        };
        runtime.spawn(async move { axum::serve(listener, engine).await });
        Self { socket, size, _folder: folder, _runtime: runtime }
    }
}

/// What an engine says is short in every form, and what it is about settles and can be deleted.
#[test]
fn objects_settle_and_go_whatever_the_engine_says() {
    let talker = Talker::new();
    let socket = talker.socket.to_str().unwrap();
    let server = Server::start(Options::docker().arg("--docker-socket").arg(socket));
    wait_until("the engine", PATIENCE, || server.get("/readyz").json["nodes_available"] == 1);
    for size in SIZES {
        *talker.size.lock().unwrap() = size;
        let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
        let path = format!("/v1/bays/{}", bay["uuid"].as_str().unwrap());
        let failed = wait_for("the bay to settle", PATIENCE, || {
            let bay = server.get(&path).expect(200);
            (bay["status"] == "CREATE_FAILED").then_some(bay)
        });
        let reason = failed["status_reason"].as_str().unwrap();
        assert!(reason.contains("denied: ]0;title x"), "{reason}");
        is_plain(reason.strip_prefix("create failed: ").unwrap_or(reason));
        let history = server.get(&format!("{path}/history"));
        assert!(history.text.len() < 64 * LONGEST, "{} bytes", history.text.len());
        server.delete(&path);
        wait_until("the bay to go", PATIENCE, || server.get(&path).status == 404);
    }
}

fn container(fields: Value) -> Value {
    let mut body = json!({ "image": "busybox:local", "command": "sleep 100" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// What the engine refuses for good is refused before anything is recorded.
#[test]
fn what_no_engine_takes_is_refused_at_once() {
    let server = Server::start(Options::fake());
    for (field, value, phrase) in [
        ("labels", json!({ "magnum.node": "x" }), "reserved"),
        ("labels", json!({ "exitCode": "0" }), "reserved"),
        ("labels", json!(["signal=9"]), "reserved"),
        ("labels", json!({ "a": "\u{202e}" }), "U+202E"),
        ("user", json!("-1"), "from 0 to"),
        ("user", json!("4294967295"), "from 0 to"),
        ("user", json!("root:99999999999999"), "from 0 to"),
        ("workdir", json!("/ab".repeat(1334)), "maximum"),
        ("workdir", json!(format!("/{}", "x".repeat(256))), "255"),
        ("ports", json!(["80:80", "127.0.0.1:80:81"]), "published twice"),
        ("ports", json!(["127.0.0.256:80:80"]), "IP address"),
        ("name", json!("a\u{200b}b"), "U+200B"),
        ("name", json!("\u{202e}txt.exe"), "U+202E"),
        ("name", json!("a\u{e0041}"), "U+E0041"),
        ("name", json!("a\u{2028}b"), "U+2028"),
        ("name", json!("\u{3164}"), "U+3164"),
        ("desc", json!("a\u{202e}b"), "U+202E"),
    ] {
        let answer = server.post("/v1/containers", &container(json!({ field: value })));
        let words = refused(&answer, 400);
        assert!(words.contains(phrase) && words.contains(field), "{field}: {words}");
    }
    assert_eq!(server.list("/v1/containers").len(), 0);
    for path in ["/v1/bays", "/v1/baymodels"] {
        let body = json!({
            "name": "a\u{200f}", "coe": "docker", "image_id": "i", "keypair_id": "k"
        });
        assert!(refused(&server.post(path, &body), 400).contains("U+200F"), "{path}");
    }
    let headers = [("X-Magnum-Reason", "because\u{202e}")];
    let body = container(json!({}));
    let answer = server.send(Method::POST, "/v1/containers", &headers, Some(&body));
    refused(&answer, 400);
}

/// A name is the same however its letters are written, in paths, filters, bodies and updates.
#[test]
fn a_name_is_found_however_it_is_written() {
    let (one, two) = ("caf\u{e9}", "cafe\u{301}");
    let encoded =
        |name: &str| -> String { name.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    for (made, asked) in [(one, two), (two, one)] {
        let server = Server::start(Options::fake());
        let bay = json!({ "name": made });
        server.post("/v1/bays", &bay).expect(201);
        let desc = "می\u{200c}خواهم";
        let body = container(json!({ "name": made, "desc": desc }));
        let head = server.post("/v1/containers", &body).expect(201);
        assert_eq!((&head["name"], &head["desc"]), (&json!(one), &json!(desc)));
        let path = format!("/v1/containers/{}", encoded(asked));
        assert_eq!(server.get(&path).expect(200)["uuid"], head["uuid"]);
        assert_eq!(server.list(&format!("/v1/bays?name={}", encoded(asked))).len(), 1);
        let position = server.get(&path).header("x-magnum-position").to_owned();
        let past = format!("/v1/bays?at={position}&name={}", encoded(asked));
        assert_eq!(server.list(&past).len(), 1);
        let rename = json!([{ "op": "replace", "path": "/name", "value": format!("{asked}s") }]);
        let renamed = server.patch(&path, &rename).expect(200);
        assert_eq!(renamed["name"], format!("{one}s"));
        assert_eq!(server.get(&format!("{path}s")).expect(200)["uuid"], head["uuid"]);
    }
}

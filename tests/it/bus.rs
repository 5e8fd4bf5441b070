//! What carries messages: what every bus must do, and that each message survives its bytes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use magnum::actors::container::ContainerCommand;
use magnum::actors::node::NodeCommand;
use magnum::backends::{
    Action, BackendError, EngineFacts, LogQuery, Observed, ObservedNetwork, Operation, Outcome,
    OutputFrame, OutputStream, Progress, RunState, Work, WorkResult,
};
use magnum::bus::local::LocalBus;
use magnum::bus::output::{Credit, Outlet, Piece, PieceContent, WINDOW, frames};
use magnum::bus::wire::{Message, decode, encode};
use magnum::bus::{
    AuditRecord, AuditReply, Audited, Authority, Bus, CommandError, CommandMessage, CommandReply,
    Comparison, EdgePort, Hello, Inventory, Listed, ListedPod, LogRequest, Noted, Offer, Origin,
    OutputErasure, Place, Refusal, ReplyTo, ServiceCommand, SessionId, Strays, Taken, Underway,
};
use magnum::clock;
use magnum::events::Meta;
use magnum::events::audit::ReadV1;
use magnum::ids::{
    CommandId, EventId, Kind, ObjectId, Position, ProjectId, Revision, StreamId, Timestamp,
};
use serde_json::json;
use uuid::Uuid;

use crate::harness::{Options, Server};

fn reply_to() -> ReplyTo {
    ReplyTo(clock::new_uuid())
}

fn edge() -> Arc<dyn Bus> {
    Arc::new(LocalBus::default()).port(Authority::Edge)
}

fn frame(text: &str) -> OutputFrame {
    OutputFrame { stream: OutputStream::Stdout, data: Bytes::from(text.to_owned()) }
}

fn container() -> StreamId {
    StreamId::new(Kind::Container, ObjectId(Uuid::from_u128(1)))
}

fn observed() -> Observed {
    Observed {
        engine_id: "e".to_owned(),
        engine_name: "magnum-e".to_owned(),
        name_is_ours: true,
        state: RunState::Paused,
        exit_code: Some(-1),
        oom_killed: true,
        finished_at: Some(Timestamp(1_234_567)),
        ends: vec![],
        restarts: 2,
        run: None,
    }
}

fn work() -> Work {
    Work {
        id: EventId(Uuid::from_u128(2)),
        attempt: 3,
        not_before: Some(Timestamp(-1)),
        due_at: None,
        stream: container(),
        project: ProjectId("p".to_owned()),
        node_id: ObjectId(Uuid::from_u128(3)),
        request_id: "req-1".to_owned(),
        action: Action::Do(Operation::Kill { signal: "SIGHUP".to_owned() }),
    }
}

fn origin() -> Origin {
    Origin {
        project: ProjectId("p".to_owned()),
        user: "u".to_owned(),
        roles: vec!["member".to_owned()],
        request_id: "req-1".to_owned(),
        command_id: Some(CommandId("c".to_owned())),
        digest: Some([4; 32]),
        reason: Some("r".to_owned()),
        causation: Some(EventId(Uuid::from_u128(2))),
        if_match: Some(Revision(7)),
    }
}

#[track_caller]
fn survives<T: Message + PartialEq + std::fmt::Debug>(message: T) {
    let bytes = encode(&message).unwrap();
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(&message), "{}", String::from_utf8_lossy(&bytes));
}

/// Rule B2: what crosses the bus is bytes, and comes out of them as it went in.
#[test]
fn b2_every_message_survives_its_bytes() {
    let create = ContainerCommand::Kill { signal: "9".to_owned() };
    let mut command = CommandMessage::new(ObjectId::default(), &create, origin()).unwrap();
    command.reply_to = Some(reply_to());
    command.place = Some(Place { session: SessionId(Uuid::from_u128(5)), number: 6 });
    survives(command);
    survives(CommandMessage::again(container(), origin()));
    for service in [
        ServiceCommand::Observe(Some(observed())),
        ServiceCommand::Down { reason: "d".to_owned() },
        ServiceCommand::Delete,
        ServiceCommand::Abandon,
        ServiceCommand::Outcome(Outcome {
            work_id: work().id,
            attempt: 1,
            result: WorkResult::Waiting { blocked_on: "n".to_owned(), reason: "r".to_owned() },
        }),
    ] {
        survives(CommandMessage::service(container(), service, origin()));
    }
    let reply = CommandReply {
        stream: container(),
        position: Position(8),
        revision: Revision(9),
        work: None,
        repeated: true,
    };
    survives::<Result<CommandReply, CommandError>>(Ok(reply));
    let refused =
        CommandError::Refused(Refusal::TooManyExecutions { object: "c".into(), limit: 1 });
    survives::<Result<CommandReply, CommandError>>(Err(refused));
    let what = Audited::Read(ReadV1 { object: "o".into(), what: "logs".into() });
    survives(AuditRecord { id: work().id, meta: Meta::default(), what });
    survives::<Result<AuditReply, CommandError>>(Ok(AuditReply));
    survives(Offer {
        work: work(),
        revision: Revision(3),
        session: SessionId(clock::new_uuid()),
        reply_to: Some(reply_to()),
    });
    survives::<Result<Taken, BackendError>>(Ok(Taken));
    survives::<Result<Taken, BackendError>>(Err(BackendError::Cancelled));
    let query = LogQuery { tail: Some(1), ..LogQuery::default() };
    let node_id = work().node_id;
    let execution = Some(clock::new_event_id());
    let stream = container();
    survives(OutputErasure { node_id, project: ProjectId("p".to_owned()) });
    survives(LogRequest { node_id, stream, execution, query, reply_to: reply_to() });
    survives(Hello { node_id, session: SessionId::default(), beat: 1, holds: vec![work().id] });
    survives::<Result<Noted, CommandError>>(Ok(Noted));
    let network = ObservedNetwork {
        bay_id: ObjectId::default(),
        engine_id: "n".to_owned(),
        engine_name: "magnum-n".to_owned(),
    };
    let listed = Listed { stream: container(), observed: observed(), ended: true };
    let pods = vec![ListedPod { stream: container(), changed: true }];
    let (containers, networks) = (vec![listed], vec![network.clone()]);
    survives(Inventory { node_id, containers, networks, pods });
    survives(Comparison { inspect: vec![container()], ..Comparison::default() });
    let containers = vec![(container(), observed())];
    survives(Strays { node_id, containers, networks: vec![network] });
    let place = Place { session: SessionId(Uuid::from_u128(5)), number: 6 };
    survives(Underway::new(&work(), place, Progress::pulling("i", 1, 2)));
    let part = PieceContent::Frame(OutputFrame { data: vec![0, 255, b'"'].into(), ..frame("") });
    survives(Piece { reply_to: reply_to(), number: u64::MAX, part });
    let part = PieceContent::End(Some(BackendError::Missing("m".to_owned())));
    survives(Piece { reply_to: reply_to(), number: 0, part });
    survives(Credit { reply_to: reply_to(), pieces: 64 });
}

/// What only the service asks is, as JSON, the noun's own command.
#[test]
fn what_the_service_asks_is_read_by_the_nouns() {
    let text = |command| CommandMessage::service(container(), command, Origin::default()).text();
    let facts = EngineFacts { engine: "e".to_owned(), cpus: 1, memory_bytes: 2 };
    let outcome = Outcome {
        work_id: work().id,
        attempt: 1,
        result: WorkResult::Failed { reason: "r".to_owned() },
    };
    let container = |text: String| serde_json::from_str::<ContainerCommand>(&text).unwrap();
    let node = |text: String| serde_json::from_str::<NodeCommand>(&text).unwrap();
    assert_eq!(
        container(text(ServiceCommand::Outcome(outcome.clone()))),
        ContainerCommand::Outcome(outcome)
    );
    assert_eq!(
        container(text(ServiceCommand::Observe(Some(observed())))),
        ContainerCommand::Observe(Some(observed()))
    );
    assert_eq!(container(text(ServiceCommand::Delete)), ContainerCommand::Delete);
    assert_eq!(container(text(ServiceCommand::Abandon)), ContainerCommand::Abandon);
    assert_eq!(node(text(ServiceCommand::Up(facts.clone()))), NodeCommand::Up(facts));
    let reason = "r".to_owned();
    assert_eq!(
        node(text(ServiceCommand::Down { reason: reason.clone() })),
        NodeCommand::Down { reason }
    );
}

/// Rules B3 and T4: what a sender may do follows from the way that its message came.
#[tokio::test]
async fn b3_authority_comes_from_the_port() {
    let local = Arc::new(LocalBus::default());
    let own = ObjectId(Uuid::from_u128(1));
    let node = |id| StreamId::new(Kind::Node, id);
    let forbidden = async |authority, message| {
        let answer = local.port(authority).command(message).await;
        matches!(answer, Err(CommandError::Forbidden(_)))
    };
    let service = |stream, command| CommandMessage::service(stream, command, origin());
    let down = || ServiceCommand::Down { reason: String::new() };
    let other = ObjectId(Uuid::from_u128(2));
    assert!(forbidden(Authority::Edge, service(node(own), down())).await);
    assert!(forbidden(Authority::Agent(own), service(node(other), down())).await);
    assert!(!forbidden(Authority::Agent(own), service(node(own), down())).await);
    for goes in [ServiceCommand::Delete, ServiceCommand::Abandon] {
        assert!(forbidden(Authority::Agent(own), service(container(), goes.clone())).await);
        assert!(forbidden(Authority::Edge, service(container(), goes)).await);
    }
    let delete = CommandMessage::new(own, &ContainerCommand::Delete, origin()).unwrap();
    assert!(forbidden(Authority::Agent(own), delete.clone()).await);
    assert!(!forbidden(Authority::Edge, delete).await);
    let hello = Hello { node_id: other, session: SessionId::default(), beat: 1, holds: vec![] };
    for authority in [Authority::Agent(own), Authority::Edge] {
        let answer = local.port(authority).hello(hello.clone()).await;
        assert!(matches!(answer, Err(CommandError::Forbidden(_))), "{answer:?}");
    }
    let heard = Arc::new(Listener::default());
    local.serve_edge(heard.clone());
    let node_id = work().node_id;
    let news = Underway::new(
        &work(),
        Place { session: SessionId::default(), number: 0 },
        Progress::pulling("i", 1, 2),
    );
    for authority in [Authority::Agent(own), Authority::Edge, Authority::Conductor] {
        local.port(authority).underway(news.clone()).await;
    }
    assert!(heard.0.lock().unwrap().is_empty());
    local.port(Authority::Agent(node_id)).underway(news.clone()).await;
    assert_eq!(*heard.0.lock().unwrap(), [news]);
}

/// Keeps what is said of work in progress.
#[derive(Default)]
struct Listener(Mutex<Vec<Underway>>);

impl EdgePort for Listener {
    fn underway(&self, news: Underway) {
        self.0.lock().unwrap().push(news);
    }
}

/// A key has one owner, and is free again when that one has gone.
#[tokio::test]
async fn t4_a_reply_key_has_one_reader() {
    let (bus, key) = (edge(), reply_to());
    assert!(Outlet::new(bus.clone(), key).is_err(), "nobody reads it");
    let mut first = frames(&bus, key).unwrap();
    assert!(frames(&bus, key).is_err(), "it is taken");
    let mut outlet = Outlet::new(bus.clone(), key).unwrap();
    let sends = async {
        outlet.send(frame("a")).await.unwrap();
        outlet.send(frame("b")).await.unwrap();
        outlet.end(None).await;
    };
    let reads = async {
        let mut all = vec![];
        while let Some(frame) = first.next().await {
            all.push(frame.unwrap());
        }
        all
    };
    let ((), all) = tokio::join!(sends, reads);
    assert_eq!(all, [frame("a"), frame("b")]);
    drop(first);
    assert!(Outlet::new(bus.clone(), key).is_err());
    assert!(frames(&bus, key).is_ok());
}

/// Rule B5.
#[tokio::test(start_paused = true)]
async fn b5_a_slow_reader_slows_its_own_source_only() {
    let bus = edge();
    let (slow, quick) = (reply_to(), reply_to());
    let mut reads_slowly = frames(&bus, slow).unwrap();
    let mut reads = frames(&bus, quick).unwrap();
    let mut outlet = Outlet::new(bus.clone(), slow).unwrap();
    let first = tokio::spawn(async move {
        outlet.send(frame("0")).await.unwrap();
        outlet
    });
    reads_slowly.next().await.unwrap().unwrap();
    let mut outlet = first.await.unwrap();
    let mut sent = 1;
    while tokio::time::timeout(Duration::from_secs(60), outlet.send(frame("x"))).await.is_ok() {
        sent += 1;
        assert!(sent <= WINDOW + 1, "it sends more than it may");
    }
    assert!(sent >= WINDOW - 1, "{sent}");
    let mut other = Outlet::new(bus.clone(), quick).unwrap();
    let sends = tokio::spawn(async move {
        for _ in 0..10 * WINDOW {
            other.send(frame("y")).await.unwrap();
        }
        other.end(None).await;
    });
    let mut all = 0;
    while let Some(frame) = reads.next().await {
        frame.unwrap();
        all += 1;
    }
    assert_eq!(all, 10 * WINDOW);
    sends.await.unwrap();
    assert!(!outlet.is_unread());
    drop(reads_slowly);
    assert!(outlet.is_unread() && outlet.unread().now_or_never().is_some());
    assert!(outlet.send(frame("z")).await.is_err());
}

/// Output that is lost on the way is not silently shorter.
#[tokio::test(start_paused = true)]
async fn what_is_lost_of_the_output_is_told() {
    let (bus, key) = (edge(), reply_to());
    let mut reads = frames(&bus, key).unwrap();
    for (number, text) in [(1, "b"), (0, "a"), (0, "again"), (3, "d")] {
        bus.piece(Piece { reply_to: key, number, part: PieceContent::Frame(frame(text)) }).await;
    }
    assert_eq!(reads.next().await, Some(Ok(frame("a"))));
    assert_eq!(reads.next().await, Some(Ok(frame("b"))));
    assert!(matches!(reads.next().await, Some(Err(BackendError::Failed(_)))));
    assert_eq!(reads.next().await, None);
}

/// Two requests may have one request id: OpenStack gives the same one to all of a user's action.
/// Each gets the output of its own command.
#[test]
fn output_goes_to_who_asked_for_it_whatever_the_request_id() {
    let server = Server::start(Options::fake());
    let made: Vec<String> = ["a", "b"]
        .iter()
        .map(|name| {
            let body = json!({"name": name, "image": "busybox:local", "command": "sleep 600"});
            let made = server.post("/v1/containers", &body).expect(201);
            let id = made["uuid"].as_str().unwrap().to_owned();
            server.put(&format!("/v1/containers/{id}/start")).expect(200);
            id
        })
        .collect();
    let asked: Vec<_> = made
        .iter()
        .zip(["A", "B"])
        .map(|(id, name)| {
            let (http, id) = (server.http(), id.clone());
            std::thread::spawn(move || {
                let script = format!("sh -c 'sleep 0.3; echo {name}1; sleep 0.3; echo {name}2'");
                let script = script.replace(' ', "%20").replace('\'', "%27").replace(';', "%3B");
                let path = format!("/v1/containers/{id}/execute?command={script}");
                let headers =
                    [("X-Openstack-Request-Id", "req-11111111-2222-4333-8444-555555555555")];
                http.send(reqwest::Method::PUT, &path, &headers, None).expect(200)
            })
        })
        .collect();
    let answers: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
    assert_eq!(answers[0], json!({"output": "A1\nA2\n", "exit_code": 0}));
    assert_eq!(answers[1], json!({"output": "B1\nB2\n", "exit_code": 0}));
}

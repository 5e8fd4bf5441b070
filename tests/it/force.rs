//! Bays that cannot be deleted: they are given up on request, with an exact list of what stays
//! behind, which the node goes on showing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use magnum::actors::bay::BayCommand;
use magnum::actors::baymodel::BaymodelCommand;
use magnum::backends::fake::FakeEngine;
use magnum::bus::{CommandError, CommandMessage, Origin, Refusal};
use magnum::clock;
use magnum::events::baymodel::BaymodelFields;
use magnum::events::codec;
use magnum::events::log::{Append, EventLog};
use magnum::ids::Kind;
use magnum::projections::bay::BayView;
use magnum::projections::container::ContainerView;
use magnum::projections::node::NodeView;
use serde_json::{Value, json};

use crate::crash_points::{Condition, Life, Scenario, decide_again, object, unknown_networks};
use crate::harness::{Options, PATIENCE, Server, docker, wait_until};
use crate::log_tools::magnum;
use crate::noun::settled;
use crate::requests::refused;

/// A bay with a container, and nothing else.
fn world() -> Scenario {
    let mut all = Scenario::default();
    let fields = BaymodelFields { coe: "docker".into(), ..BaymodelFields::default() };
    all.ask(Kind::Baymodel, 1, &BaymodelCommand::Create { fields });
    all.bay(1).until(Condition::Quiet);
    all.create(1, 1, "busybox:local", "sleep 600").until(Condition::Quiet);
    all
}

async fn ask(life: &Life, command: &BayCommand) -> Result<(), CommandError> {
    let message = CommandMessage::new(object(1), command, Origin::default()).unwrap();
    life.parts.bus.command(message).await.map(drop)
}

/// Waits for something that the read models say.
async fn until(life: &Life, what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    loop {
        life.parts.reads.wait_for(*life.log.head().borrow(), PATIENCE).await.unwrap();
        if holds() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{what}\n{}", life.story());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn bay(life: &Life) -> Option<BayView> {
    life.parts.reads.any::<BayView>(object(1)).unwrap()
}

fn container(life: &Life) -> Option<ContainerView> {
    life.parts.reads.any::<ContainerView>(object(1)).unwrap()
}

fn node(life: &Life) -> NodeView {
    life.parts.reads.any::<NodeView>(life.node_id).unwrap().unwrap()
}

fn is_blocked(life: &Life) -> bool {
    bay(life).unwrap().tasks.iter().any(|task| task.blocked_on.is_some())
}

fn abandon() -> BayCommand {
    BayCommand::Abandon { network_id: None, containers: vec![], still_deleted: vec![] }
}

/// The events of this type, as their data.
fn told(life: &Life, event_type: &str) -> Vec<Value> {
    let events = life.events().into_iter();
    let found = events.filter(|event| event.event_type.as_str() == event_type);
    found
        .map(|it| codec::payload_json(it.stream.kind, event_type, it.version, &it.payload).unwrap())
        .collect()
}

#[test]
fn a_network_that_stays_is_told_until_somebody_removes_it() {
    actix::System::new().block_on(async {
        let engine = FakeEngine::new(clock::now_and_instant());
        let life = Life::begin("a foreign container".to_owned(), &[], engine.clone()).await;
        life.live(&world().0).await;
        engine.join_network(object(1));
        let early = ask(&life, &abandon()).await;
        assert!(matches!(early, Err(CommandError::Refused(Refusal::Conflict { .. }))), "{early:?}");
        ask(&life, &BayCommand::Delete).await.unwrap();
        until(&life, "the bay to be blocked", || is_blocked(&life)).await;
        assert!(container(&life).is_none(), "its container could be deleted");
        ask(&life, &abandon()).await.unwrap();
        until(&life, "the bay to be gone", || bay(&life).is_none()).await;

        let [end] = &told(&life, "bay.abandoned")[..] else { panic!("{}", life.story()) };
        assert_eq!(end["left_behind"][0]["engine_name"], format!("magnum-{}", object(1)));
        assert!(end["left_behind"][0]["reason"].as_str().unwrap().contains("active endpoints"));
        // Everything is compared again with an engine that comes back.
        let compare = || {
            engine.go_away();
            engine.come_back();
        };
        compare();
        let shown = |node: NodeView| node.unknown_networks;
        until(&life, "the network to be told", || shown(node(&life)).len() == 1).await;
        assert_eq!(unknown_networks(&life).await, [object(1)]);
        engine.leave_network(object(1));
        engine.remove_network_behind(object(1));
        compare();
        until(&life, "the network to be gone", || shown(node(&life)).is_empty()).await;
        decide_again(&life);
        life.end().await;
    });
}

/// A bay whose engine is away, given up in a life that may end right after that.
async fn given_up(engine: &Arc<FakeEngine>) -> Life {
    let life = Life::begin("an engine that is away".to_owned(), &[], engine.clone()).await;
    life.live(&world().0).await;
    engine.go_away();
    ask(&life, &BayCommand::Delete).await.unwrap();
    until(&life, "the bay to be blocked", || is_blocked(&life)).await;
    let why = container(&life).unwrap().stuck().unwrap().to_owned();
    assert!(why.contains("Connection refused"), "{why}");
    ask(&life, &abandon()).await.unwrap();
    until(&life, "the container to be gone", || container(&life).is_none()).await;
    life
}

#[test]
fn containers_of_a_bay_that_was_given_up_are_given_up_and_told() {
    actix::System::new().block_on(async {
        let engine = FakeEngine::new(clock::now_and_instant());
        let life = given_up(&engine).await;
        let [end] = &told(&life, "container.abandoned")[..] else { panic!("{}", life.story()) };
        assert!(end["reason"].as_str().unwrap().contains("Connection refused"), "{end}");
        assert!(life.parts.reads.outstanding().unwrap().is_empty(), "{}", life.story());
        engine.come_back();
        let both = |node: NodeView| (node.unknown_containers.len(), node.unknown_networks.len());
        until(&life, "both to be told", || both(node(&life)) == (1, 1)).await;
        assert_eq!(node(&life).unknown_containers[0].container_id, object(1));
        decide_again(&life);
        let appends = life.end().await.appends;

        // The service died before the containers were told.
        let is_end = |name: &str| {
            let is_it = |append: &Append| {
                append.events.iter().any(|event| event.event_type.as_str() == name)
            };
            appends.iter().position(is_it).unwrap()
        };
        let (bay_ends, container_ends) = (is_end("bay.abandoned"), is_end("container.abandoned"));
        assert!(bay_ends < container_ends);
        engine.go_away();
        let life = Life::begin("the next life".to_owned(), &appends[..=bay_ends], engine).await;
        until(&life, "the container to be gone", || container(&life).is_none()).await;
        assert_eq!(told(&life, "container.abandoned"), std::slice::from_ref(end));
        life.end().await;
    });
}

#[test]
fn a_bay_that_cannot_be_deleted_is_deleted_by_force_only_once_that_was_tried() {
    let server = Server::start(Options::fake());
    server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    settled(Kind::Bay, &server, "b");
    let words = refused(&server.delete("/v1/bays/b?force=1"), 409);
    assert!(words.ends_with("delete it without force first."), "{words}");
    assert_eq!(server.get("/v1/bays/b").expect(200)["status"], "CREATE_COMPLETE");
    let words = refused(&server.delete("/v1/bays/b?force=perhaps"), 400);
    assert!(words.contains("force") && words.contains("perhaps"), "{words}");
    refused(&server.delete("/v1/bays/none?force=1"), 404);
    refused(&server.delete("/v1/baymodels/default?force=1"), 400);
    let args = ["--magnum-url", server.url(), "--no-wait", "bay-delete", "b", "--force"];
    let told = magnum(&server.data(), &args);
    assert!(told.code == 1 && told.err.contains("delete it without force first"), "{told:?}");
    // What can be deleted is deleted, and nothing is said of force.
    let args = ["--magnum-url", server.url(), "bay-delete", "b", "--force"];
    let told = magnum(&server.data(), &args);
    assert_eq!((told.code, told.out.as_str()), (0, ""), "{told:?}");
    refused(&server.get("/v1/bays/b"), 404);
}

/// A container that the engine has besides, until the test ends.
struct Foreign(String);

impl Foreign {
    fn in_network(network: &str) -> Self {
        let name = format!("foreign-{}", clock::new_object_id());
        docker(&["run", "--detach", "--name", &name, "busybox:local", "sleep", "600"]);
        docker(&["network", "connect", network, &name]);
        Self(name)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

/// The unknown networks that a node shows, by the engine's names.
fn networks(server: &Server, node: &str) -> Vec<String> {
    let shown = server.get(&format!("/v1/nodes/{node}")).expect(200);
    let all = shown["unknown_networks"].as_array().unwrap();
    all.iter().map(|it| it["engine_name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bay_that_docker_does_not_let_go_is_given_up_with_a_list() {
    let mut server = Server::start(Options::docker());
    let made = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    let (bay, node) = (made["uuid"].as_str().unwrap(), made["node_uuid"].as_str().unwrap());
    let network_id = settled(Kind::Bay, &server, "b")["network_id"].take();
    let body = json!({ "name": "c", "image": "busybox:local", "bay_uuid": bay });
    let container = server.post("/v1/containers", &body).expect(201);
    let network = format!("magnum-{bay}");
    let foreign = Foreign::in_network(&network);

    let url = server.url().to_owned();
    let run = |server: &Server, args: &[&str]| {
        magnum(&server.data(), &[&["--magnum-url", &url], args].concat())
    };
    let given_up = run(&server, &["bay-delete", "b", "--force", "-o", "json"]);
    assert_eq!(given_up.code, 0, "{given_up:?}");
    assert!(given_up.err.contains("Bay b was given up"), "{given_up:?}");
    assert!(given_up.err.contains(&format!("magnum node-show {node}")), "{given_up:?}");
    let document = given_up.json();
    assert_eq!((&document["uuid"], &document["status"]), (&json!(bay), &json!("DELETED")));
    let [left] = &document["left_behind"].as_array().unwrap()[..] else { panic!("{given_up:?}") };
    assert_eq!((&left["kind"], &left["object_id"]), (&json!("network"), &json!(bay)));
    assert_eq!((&left["engine_name"], &left["engine_id"]), (&json!(network), &network_id));
    let reason = left["reason"].as_str().unwrap();
    assert!(reason.contains("active endpoints: 1 container that is not of the bay"), "{left}");

    refused(&server.get(&format!("/v1/bays/{bay}")), 404);
    let container = container["uuid"].as_str().unwrap();
    let history = server.get(&format!("/v1/containers/{container}/history")).expect(200);
    let last = &history["events"].as_array().unwrap().last().unwrap()["type"];
    assert_eq!(last, "magnum.container.deleted.v1");
    let history = server.get(&format!("/v1/bays/{bay}/history")).expect(200);
    let last = history["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["type"], "magnum.bay.abandoned.v1");
    assert_eq!(last["data"]["left_behind"][0], *left);
    let told = run(&server, &["bay-history", bay]);
    assert!(told.out.contains("abandoned"), "{told:?}");
    let why = server.get(&format!("/v1/bays/{bay}/why")).expect(200);
    assert!(why["says"].as_str().unwrap().contains("was given up at"), "{why}");
    let verified = server.get("/v1/replay/verify").expect(200);
    assert_eq!((&verified["difference"], &verified["parked"]), (&Value::Null, &json!([])));

    // With the start everything is compared at once.
    assert!(server.stop().success());
    server.restart();
    wait_until("the network to be told", PATIENCE, || networks(&server, node) == [&*network]);
    let shown = run(&server, &["node-show", node]);
    assert!(shown.out.contains("unknown_networks") && shown.out.contains(&network), "{shown:?}");
    let is_there = || docker(&["network", "ls", "--quiet", "--filter", &format!("name={network}")]);
    assert_ne!(is_there(), "", "it is left alone");
    drop(foreign);
    docker(&["network", "rm", &network]);
    assert!(server.stop().success());
    server.restart();
    wait_until("the network to be gone", PATIENCE, || networks(&server, node).is_empty());
    // The name is free.
    let again = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    assert_ne!(again["uuid"], bay);
}

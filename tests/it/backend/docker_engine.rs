//! What only a real engine can show: networks, limits, pulls, an engine that is away or hangs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::iter;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use futures_util::StreamExt;
use magnum::allowed::{Allowed, OwnPort, Ports};
use magnum::backends::docker::{DockerBackend, Limits};
use magnum::backends::{
    Action, Backend, BackendError, Desired, Done, Exec, LogQuery, Notice, Observed, Operation,
    Progress, Pull, Removed, RunState, Work,
};
use magnum::clock;
use magnum::events::container::{ContainerSpec, PortMapping, RestartPolicy};
use magnum::ids::StreamId;
use magnum::sources::Sources;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::{
    Bench, Docker, IMAGE, NOTICES_OF_THE_ENGINE, Notes, PATIENCE, SOCKET, act, bay, by_output,
    container, containers, create, created, docker, ended, observed, open_bay, spec, started,
    words, work,
};
use crate::faults::Cable;
use crate::harness::wait_for;

/// A container with a name in a bay, running. It tells its address to all who connect to its port
/// 7000.
async fn named(bench: &Docker, bay: StreamId, name: &str) -> StreamId {
    let stream = container();
    let create = Action::Apply(Desired::Container {
        name: Some(name.to_owned()),
        bay_id: bay.id,
        spec: spec("nc -ll -p 7000 -e hostname -i"),
    });
    act(bench, stream, create).await.unwrap();
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    stream
}

/// Whether a command succeeds in a container.
async fn succeeds(bench: &Docker, stream: StreamId, command: &str) -> bool {
    let action = Action::Exec(Exec::Start { command: words(command) });
    act(bench, stream, action).await.unwrap().exit_code == Some(0)
}

/// Waits until a command in a container ends well, and gives what it wrote: on a machine that is
/// busy the first packet may come too late.
async fn reaches(bench: &Docker, from: StreamId, command: &str) -> String {
    let attempt = async || {
        let notes = Notes::default();
        let action = Action::Exec(Exec::Start { command: words(command) });
        let work = work(bench.node(), from, action);
        let done = bench.backend().perform(&work, &notes).await.unwrap();
        (done.exit_code, by_output(notes.output.into_inner().unwrap()))
    };
    let mut last = attempt().await;
    for _ in 0..10 {
        if last.0 == Some(0) {
            return last.1.0;
        }
        last = attempt().await;
    }
    panic!("{command}: {last:?}")
}

/// Whether a command in a container fails, if not at once: while the engine makes a network it
/// takes the rule that keeps bays apart out for an instant, to put it first again.
async fn fails(bench: &Docker, from: StreamId, command: &str) -> bool {
    for _ in 0..10 {
        if !succeeds(bench, from, command).await {
            return true;
        }
    }
    false
}

/// A command that asks a container of [`named`] for its address, and fails without one.
fn ask(name: &str, seconds: u32) -> String {
    format!(r#"sh -c "nc -w {seconds} {name} 7000 | grep .""#)
}

/// The address of a container.
fn address(of: StreamId) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    docker(&["inspect", "-f", format, &format!("magnum-{}", of.id)])
}

#[tokio::test]
async fn containers_reach_their_bay_by_name_and_no_other() {
    let bench = Docker::new();
    let (one, other) = (open_bay(&bench).await, open_bay(&bench).await);
    let web = named(&bench, one, "web").await;
    let db = named(&bench, one, "db").await;
    let web_elsewhere = named(&bench, other, "web").await;
    let lonely = named(&bench, other, "lonely").await;
    for name in ["web".to_owned(), web.id.to_string(), format!("magnum-{}", web.id)] {
        reaches(&bench, db, &ask(&name, 5)).await;
    }
    // Neither its name nor its address leads into another bay.
    assert!(fails(&bench, db, &ask("lonely", 1)).await);
    let by_address = ask(&address(lonely), 1);
    assert!(fails(&bench, db, &by_address).await);
    reaches(&bench, web_elsewhere, &by_address).await;
    // The same name is another container there.
    let (here, there) = (address(web), address(web_elsewhere));
    for (from, wanted, not) in [(db, &here, &there), (lonely, &there, &here)] {
        let text = reaches(&bench, from, &ask("web", 5)).await;
        assert!(text.contains(wanted) && !text.contains(not), "{text}");
    }
}

/// While it runs the engine has no subnet of its own for anybody: so what is not needed any more
/// goes at once, and all else that runs now has its networks by what is tested here.
#[tokio::test]
async fn there_are_more_bays_than_the_engine_has_subnets_for() {
    let bench = Docker::new();
    // As distributed it has 31: 172.17.0.0/16 to 172.31.0.0/16, and 192.168.0.0/16 by /20.
    let bays: Vec<_> = (0..40).map(|_| bay()).collect();
    for bay in &bays {
        act(&bench, *bay, Action::Apply(Desired::Network)).await.unwrap();
    }
    let format = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
    let is_ours = |bay: &StreamId| {
        docker(&["network", "inspect", "-f", format, &format!("magnum-{}", bay.id)])
            .split_once('/')
            .is_some_and(|(address, bits)| is_in_our_range(address) && bits == "24")
    };
    let (late, early): (Vec<_>, Vec<_>) = bays.into_iter().partition(is_ours);
    let (kept, spare) = late.split_at_checked(2).expect("an engine with its own pools only");
    assert!(early.len() <= 31 && !spare.is_empty(), "{} and {}", early.len(), late.len());
    for bay in early.iter().chain(spare) {
        act(&bench, *bay, Action::Remove(Removed::Network)).await.unwrap();
    }
    let web = named(&bench, kept[0], "web").await;
    let db = named(&bench, kept[0], "db").await;
    let lonely = named(&bench, kept[1], "lonely").await;
    assert!(is_in_our_range(&address(web)) && is_in_our_range(&address(lonely)));
    reaches(&bench, db, &ask("web", 5)).await;
    for unreachable in ["lonely", &address(lonely)] {
        assert!(fails(&bench, db, &ask(unreachable, 1)).await);
    }
}

#[tokio::test]
async fn what_was_noticed_is_known_when_the_engine_has_forgotten() {
    let _whole = NOTICES_OF_THE_ENGINE.lock().await;
    let bench = Docker::new();
    let (command, restart_policy) = (bench.stumbling(), RestartPolicy::OnFailure(1));
    let stream = created(&bench, ContainerSpec { command, restart_policy, ..spec("") }).await;
    let backend = bench.backend();
    let mut notices = backend.notices().await.unwrap();
    act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
    bench.stumble(stream.id);
    // Its first start, its end, and the start that followed.
    for wanted in iter::once(Notice::Connected).chain(iter::repeat_n(Notice::Changed(stream), 3)) {
        let next = tokio::time::timeout(PATIENCE, notices.next()).await.unwrap();
        assert_eq!(next, Some(wanted));
    }
    bench.forget_notices(stream.id);
    let seen = backend.inspect(stream).await.unwrap().unwrap();
    let codes: Vec<_> = seen.ends.iter().map(|end| end.exit_code).collect();
    assert_eq!(codes, [Some(3)]);
}

/// Whether an address is in 10.192.0.0/12.
fn is_in_our_range(address: &str) -> bool {
    let address: std::net::Ipv4Addr = address.parse().unwrap();
    matches!(address.octets(), [10, 192..=207, ..])
}

/// An engine that has two networks and no subnet for another one, and says of so many subnets as it
/// is asked for that they overlap.
struct Exhausted {
    backend: DockerBackend,
    /// The subnets that it was asked for, as in the requests.
    asked: Arc<Mutex<Vec<Option<String>>>>,
    _folder: tempfile::TempDir,
}

impl Exhausted {
    /// Says `refusal` when it is to choose a subnet by itself.
    fn serve(refusal: &'static str, overlaps: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let asked_here = Arc::clone(&asked);
        let engine = Router::new().fallback(async move |uri: Uri, body: String| {
            let mut asked = asked_here.lock().unwrap();
            if uri.path().ends_with("/networks/create") {
                let body: Value = serde_json::from_str(&body).unwrap();
                asked.push(body["IPAM"]["Config"][0]["Subnet"].as_str().map(str::to_owned));
            }
            let made = asked.len() > overlaps + 1;
            let (status, answer) = if !uri.path().ends_with("/networks/create") {
                let others = if uri.query().is_some() { 0 } else { 2 };
                (200, json!(vec![json!({ "Id": "1" }); others + usize::from(made)]))
            } else if made {
                (201, json!({ "Id": "1", "Warning": "" }))
            } else if asked.len() == 1 {
                (404, json!({ "message": refusal }))
            } else {
                let words = "Pool overlaps with other one on this address space";
                (403, json!({ "message": words }))
            };
            (StatusCode::from_u16(status).unwrap(), axum::Json(answer))
        });
        let _serving = tokio::spawn(async move { axum::serve(listener, engine).await });
        let backend = DockerBackend::new(socket, clock::new_object_id());
        Self { backend, asked, _folder: folder }
    }

    /// What a bay's network comes to, and what the engine was asked for.
    async fn answer(&self) -> (Result<Done, BackendError>, Vec<Option<String>>) {
        let work = work(clock::new_object_id(), bay(), Action::Apply(Desired::Network));
        let answer = self.backend.perform(&work, &Notes::default()).await;
        (answer, self.asked.lock().unwrap().clone())
    }
}

const NO_SUBNET_LEFT: &str = "could not find an available, non-overlapping IPv4 address pool among \
                              the defaults to assign to the network";

#[tokio::test]
async fn a_subnet_that_is_taken_is_followed_by_another() {
    let (answer, asked) = Exhausted::serve(NO_SUBNET_LEFT, 3).answer().await;
    assert_eq!(answer.unwrap().engine_id.as_deref(), Some("1"));
    // First the engine is to choose.
    assert_eq!((asked.len(), &asked[0]), (5, &None));
    let subnets: BTreeSet<_> = asked.iter().flatten().collect();
    assert_eq!(subnets.len(), 4, "{asked:?}");
}

#[tokio::test]
async fn an_engine_without_any_subnet_is_told_what_it_needs() {
    let (answer, asked) = Exhausted::serve(NO_SUBNET_LEFT, usize::MAX - 1).answer().await;
    assert_eq!(asked.len(), 17);
    let Err(BackendError::Failed(words)) = answer else { panic!("{answer:?}") };
    for phrase in ["the 2 networks", "10.192.0.0/12", "`default-address-pools`", NO_SUBNET_LEFT] {
        assert!(words.contains(phrase), "{words}");
    }
}

#[tokio::test]
async fn a_subnet_is_chosen_only_when_the_engine_has_none() {
    let (answer, asked) = Exhausted::serve("plugin \"bridge\" not found", 0).answer().await;
    assert!(matches!(answer, Err(BackendError::Missing(_))), "{answer:?}");
    assert_eq!(asked, [None]);
}

/// What the engine says is in a network that it does not remove.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// An endpoint of a container that is gone.
    Stale,
    /// Another one too, of one that is not.
    Live,
    /// Nothing; it has miscounted.
    Nothing,
}

/// What an engine with a bay's network is asked to do about it, in order.
async fn removal_of_a_network(holds: Holds) -> (Result<Done, BackendError>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asked_here = Arc::clone(&asked);
    let engine = Router::new().fallback(async move |method: Method, uri: Uri, body: String| {
        let mut asked = asked_here.lock().unwrap();
        // Without the version of the API.
        let start = ["/networks", "/containers"].iter().find_map(|part| uri.path().find(part));
        let path = &uri.path()[start.unwrap_or_default()..];
        let endpoint = |name: &str| json!({ "Name": name, "EndpointID": "e" });
        let endpoints = match holds {
            Holds::Stale => json!({ "ep-1": endpoint("magnum-gone") }),
            Holds::Live => json!({ "ep-1": endpoint("magnum-gone"), "c2": endpoint("stranger") }),
            Holds::Nothing => json!({}),
        };
        let is_free =
            holds == Holds::Stale && asked.iter().any(|call: &String| call.contains("disconnect"));
        let (status, answer) = match (method.as_str(), path) {
            ("GET", "/networks") => (200, json!([{ "Id": "n1", "Name": "magnum-x" }])),
            ("GET", "/networks/n1") => (200, json!({ "Id": "n1", "Containers": endpoints })),
            ("GET", "/containers/c2/json" | "/containers/stranger/json") => {
                (200, json!({ "Id": "c2", "Name": "/stranger" }))
            }
            ("DELETE", "/networks/n1") if is_free => (200, Value::Null),
            ("DELETE", "/networks/n1") => {
                (403, json!({ "message": "network magnum-x id n1 has active endpoints" }))
            }
            ("POST", "/networks/n1/disconnect") => (200, Value::Null),
            _ => (404, json!({ "message": "no such container" })),
        };
        if method != Method::GET {
            asked.push(format!("{method} {path} {body}"));
        }
        (StatusCode::from_u16(status).unwrap(), axum::Json(answer))
    });
    let _serving = tokio::spawn(async move { axum::serve(listener, engine).await });
    let backend = DockerBackend::new(socket, clock::new_object_id());
    let work = work(clock::new_object_id(), bay(), Action::Remove(Removed::Network));
    let answer = backend.perform(&work, &Notes::default()).await;
    let asked = asked.lock().unwrap().clone();
    (answer, asked)
}

#[tokio::test]
async fn an_endpoint_whose_container_is_gone_keeps_no_network() {
    let stale = r#"POST /networks/n1/disconnect {"Container":"magnum-gone","Force":true}"#;
    let remove = "DELETE /networks/n1 ";
    let (answer, asked) = removal_of_a_network(Holds::Stale).await;
    assert_eq!(answer, Ok(Done::default()));
    assert_eq!(asked, [remove, stale, remove]);
    let (answer, asked) = removal_of_a_network(Holds::Live).await;
    let Err(BackendError::Failed(words)) = answer else { panic!("{answer:?}") };
    assert!(words.contains("1 container that is not of the bay is connected to it"), "{words}");
    assert_eq!(asked, [remove, stale, remove], "somebody's container that runs stays connected");
    let (answer, asked) = removal_of_a_network(Holds::Nothing).await;
    let Err(BackendError::Failed(words)) = answer else { panic!("{answer:?}") };
    assert!(words.contains("no container is in it") && words.contains("restart the Docker engine"));
    assert_eq!(asked, [remove, remove]);
}

/// How an engine of this version is asked to remove many containers of one bay at once: how many
/// gave up their endpoint at the same time at most, and how many were disconnected before.
async fn removals_at_once(version: &'static str) -> (usize, usize) {
    const CONTAINERS: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (node, bay_id) = (clock::new_object_id(), clock::new_object_id());
    // Who is giving up an endpoint, how many were at once, who has given it up.
    let state = Arc::new(Mutex::new((0_usize, 0_usize, BTreeSet::<String>::new())));
    let state_here = Arc::clone(&state);
    let engine = Router::new().fallback(async move |method: Method, uri: Uri, body: String| {
        let path = uri.path();
        if path.ends_with("/info") {
            return (StatusCode::OK, axum::Json(json!({ "ServerVersion": version })));
        }
        if method == Method::GET {
            let name = path.trim_end_matches("/json").rsplit('/').next().unwrap().to_owned();
            let id = name.trim_start_matches("magnum-");
            let labels = json!({ "magnum.node": node.to_string(), "magnum.bay": bay_id.to_string(),
                "magnum.container": id });
            let container = json!({ "Id": id, "Name": format!("/{name}"),
                "State": { "Status": "running" }, "Config": { "Labels": labels } });
            return (StatusCode::OK, axum::Json(container));
        }
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let id = match body["Container"].as_str() {
            Some(id) => id.to_owned(),
            None => path.rsplit('/').next().unwrap().to_owned(),
        };
        let gives_up = {
            let mut state = state_here.lock().unwrap();
            let gives_up = !state.2.contains(&id);
            state.0 += usize::from(gives_up);
            state.1 = state.1.max(state.0);
            gives_up
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        if gives_up {
            let mut state = state_here.lock().unwrap();
            state.0 -= 1;
            if method == Method::POST {
                state.2.insert(id);
            }
        }
        (StatusCode::OK, axum::Json(Value::Null))
    });
    let _serving = tokio::spawn(async move { axum::serve(listener, engine).await });
    let backend = DockerBackend::new(socket, node);
    backend.probe().await.unwrap();
    let removals = (0..CONTAINERS).map(|_| async {
        let work = work(node, container(), Action::Remove(Removed::Container));
        backend.perform(&work, &Notes::default()).await.unwrap();
    });
    futures_util::future::join_all(removals).await;
    let state = state.lock().unwrap();
    (state.1, state.2.len())
}

#[tokio::test]
async fn an_engine_that_miscounts_endpoints_is_told_of_one_at_a_time() {
    let (at_once, disconnected) = removals_at_once("20.10.24+dfsg1").await;
    assert_eq!(at_once, 1);
    assert!(disconnected > 0, "the rest of the removals is done at once");
    let (at_once, disconnected) = removals_at_once("28.1.1").await;
    assert!(at_once > 1 && disconnected == 0, "{at_once}, {disconnected}");
}

/// An image whose label has the name that the engine's events have for the exit code.
struct Forging(String);

impl Forging {
    fn new(bench: &Docker) -> Self {
        let tag = format!("magnum-test-forging:{}", bench.node());
        let mark = format!("magnum-test={}", bench.node());
        let id = docker(&["create", "--label", &mark, IMAGE, "true"]);
        docker(&["commit", "--change", "LABEL exitCode=0", &id, &tag]);
        Self(tag)
    }
}

impl Drop for Forging {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["rmi", "-f", &self.0]).output());
    }
}

#[tokio::test]
async fn a_label_of_an_image_says_no_exit_code() {
    let _whole = NOTICES_OF_THE_ENGINE.lock().await;
    let bench = Docker::new();
    let image = Forging::new(&bench);
    let forging = |command: &str, restart_policy| ContainerSpec {
        image: image.0.clone(),
        restart_policy,
        ..spec(command)
    };
    let stream = created(&bench, forging(r#"sh -c "exit 7""#, RestartPolicy::No)).await;
    act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let seen = ended(&bench, stream).await;
    assert_eq!(seen.exit_code, Some(7));
    let codes = |seen: &Observed| seen.ends.iter().map(|end| end.exit_code).collect::<Vec<_>>();
    assert_eq!(codes(&seen), [Some(7)]);
    // Of an end before the last one nobody says the code: it is unknown, not what the label says.
    let twice = forging(r#"sh -c "exit 7""#, RestartPolicy::OnFailure(1));
    let stream = created(&bench, twice).await;
    act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            let seen = observed(&bench, stream).await;
            if seen.restarts == 1 && seen.state == RunState::Exited {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let seen = seen.await.unwrap();
    assert_eq!((seen.exit_code, codes(&seen)), (Some(7), vec![None, Some(7)]));
}

#[tokio::test]
async fn what_the_engine_cannot_do_is_refused_at_once_without_its_own_paths() {
    let bench = Docker::new();
    let foreign = PortMapping {
        container_port: 80,
        host_port: Some(8080),
        host_ip: Some("192.0.2.1".to_owned()),
        protocol: "tcp".to_owned(),
    };
    for asked in [
        ContainerSpec { user: Some("-1".to_owned()), ..spec("true") },
        ContainerSpec { user: Some("99999999999999".to_owned()), ..spec("true") },
        ContainerSpec { user: Some("4294967295".to_owned()), ..spec("true") },
        ContainerSpec { working_dir: Some("/bin/busybox".to_owned()), ..spec("true") },
        ContainerSpec { working_dir: Some("/ab".repeat(1333)), ..spec("true") },
        ContainerSpec { working_dir: Some("/proc/version".to_owned()), ..spec("true") },
        ContainerSpec { working_dir: Some("/bin/busybox/x".to_owned()), ..spec("true") },
        ContainerSpec { user: Some("nobodyxx".to_owned()), ..spec("true") },
        ContainerSpec { user: Some("0:nobodyxx".to_owned()), ..spec("true") },
        ContainerSpec { user: Some("0:4294967295".to_owned()), ..spec("true") },
        spec("/bin"),
        spec("/proc/version"),
        spec("/bin/busybox/x"),
        ContainerSpec { ports: vec![foreign], ..spec("true") },
    ] {
        let (stream, bay) = (container(), open_bay(&bench).await);
        let mut answer = act(&bench, stream, create(bay, asked.clone())).await;
        if answer.is_ok() {
            answer = act(&bench, stream, Action::Do(Operation::Start)).await;
        }
        let words = match answer {
            Err(BackendError::Refused(words) | BackendError::NotStarted { words, .. }) => words,
            other => panic!("{asked:?}: {other:?}"),
        };
        assert!(!words.contains("overlay2") && words.len() <= 1024, "{words}");
    }
}

/// An exit code is that of the start that was refused, or of nothing; never that of the process
/// before.
#[tokio::test]
async fn a_refused_start_has_no_exit_code_of_the_process_before() {
    let bench = Docker::new();
    let (stream, bay) = (container(), open_bay(&bench).await);
    act(&bench, stream, create(bay, spec(r#"sh -c "exit 127""#))).await.unwrap();
    act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
    assert_eq!(ended(&bench, stream).await.exit_code, Some(127));
    act(&bench, bay, Action::Remove(Removed::Network)).await.unwrap();
    let answer = act(&bench, stream, Action::Do(Operation::Start)).await;
    assert!(matches!(answer, Err(BackendError::Refused(_))), "{answer:?}");

    let not_runnable = created(&bench, spec("/proc/version")).await;
    let answer = act(&bench, not_runnable, Action::Do(Operation::Start)).await;
    assert!(matches!(answer, Err(BackendError::NotStarted { exit_code: 126, .. })), "{answer:?}");
}

#[tokio::test]
async fn a_stop_tells_what_the_process_made_of_its_signal() {
    let bench = Docker::new();
    let waits = r#"sh -c "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done""#;
    let stream = started(&bench, waits).await;
    super::written(&bench, stream, "up\n").await;
    let stop = Action::Do(Operation::Stop { grace_s: 60 });
    let end = act(&bench, stream, stop).await.unwrap().end.unwrap();
    assert_eq!((end.exit_code, end.oom_killed), (Some(5), false));
}

#[tokio::test]
async fn what_was_asked_for_is_what_the_engine_has() {
    let bench = Docker::new();
    let port = |container_port, protocol: &str, host_ip: Option<&str>| PortMapping {
        container_port,
        host_port: None,
        host_ip: host_ip.map(str::to_owned),
        protocol: protocol.to_owned(),
    };
    let spec = ContainerSpec {
        environment: BTreeMap::from([("A".to_owned(), "b=c d".to_owned())]),
        ports: vec![port(80, "tcp", Some("127.0.0.1")), port(53, "udp", None)],
        labels: BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
        memory_bytes: Some(64 << 20),
        cpu_millis: Some(250),
        working_dir: Some("/bin".to_owned()),
        user: Some("1000:1000".to_owned()),
        restart_policy: RestartPolicy::OnFailure(3),
        ..spec("sleep 100")
    };
    let stream = container();
    let bay = open_bay(&bench).await;
    let create =
        Action::Apply(Desired::Container { name: Some("web".to_owned()), bay_id: bay.id, spec });
    let work = work(bench.node(), stream, create);
    bench.backend().perform(&work, &Notes::default()).await.unwrap();
    act(&bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let all: Value =
        serde_json::from_str(&docker(&["inspect", &format!("magnum-{}", stream.id)])).unwrap();
    let (config, host) = (&all[0]["Config"], &all[0]["HostConfig"]);
    assert!(config["Env"].as_array().unwrap().contains(&"A=b=c d".into()));
    assert_eq!(config["Cmd"], json!(["sleep", "100"]));
    assert_eq!((&config["WorkingDir"], &config["User"]), (&"/bin".into(), &"1000:1000".into()));
    assert_eq!(
        config["Labels"],
        json!({
            "tier": "front",
            "magnum.node": bench.node().to_string(),
            "magnum.container": stream.id.to_string(),
            "magnum.bay": bay.id.to_string(),
            "magnum.project": "default",
            "magnum.name": "web",
            "magnum.work": work.id.to_string(),
        })
    );
    assert_eq!((&host["Memory"], &host["NanoCpus"]), (&(64 << 20).into(), &250_000_000.into()));
    let policy = json!({ "Name": "on-failure", "MaximumRetryCount": 3 });
    assert_eq!(host["RestartPolicy"], policy);
    assert_eq!((&host["PidsLimit"], &host["CapDrop"]), (&4096.into(), &json!(["NET_RAW"])));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges=true"]));
    let files = json!({ "max-size": "10485760", "max-file": "3" });
    assert_eq!(host["LogConfig"], json!({ "Type": "json-file", "Config": files }));
    assert!(succeeds(&bench, stream, r#"grep -q "NoNewPrivs:.*1" /proc/self/status"#).await);
    let ports = &all[0]["NetworkSettings"]["Ports"];
    assert_eq!(ports["80/tcp"][0]["HostIp"], "127.0.0.1");
    assert!(ports["53/udp"][0]["HostPort"].as_str().unwrap().parse::<u16>().unwrap() > 0);
    assert!(succeeds(&bench, stream, r#"sh -c "test $(pwd) = /bin -a $(id -u) = 1000""#).await);
}

#[tokio::test]
async fn a_port_that_is_taken_is_tried_again() {
    let bench = Docker::new();
    let mut last = None;
    // Others may get a port as soon as it is free.
    for _ in 0..5 {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = PortMapping {
            container_port: 80,
            host_port: Some(taken.local_addr().unwrap().port()),
            host_ip: Some("127.0.0.1".to_owned()),
            protocol: "tcp".to_owned(),
        };
        let spec = ContainerSpec { ports: vec![port], ..spec("sleep 100") };
        let stream = created(&bench, spec).await;
        let answer = act(&bench, stream, Action::Do(Operation::Start)).await;
        assert!(matches!(answer, Err(BackendError::Failed(_))), "{answer:?}");
        drop(taken);
        let again = act(&bench, stream, Action::Do(Operation::Start)).await;
        if again.is_ok() {
            assert_eq!(observed(&bench, stream).await.state, RunState::Running);
            return;
        }
        last = Some(again);
    }
    panic!("{last:?}");
}

#[tokio::test]
async fn what_a_user_names_never_reaches_another_call() {
    let (bench, bay) = (Docker::new(), bay());
    act(&bench, bay, Action::Apply(Desired::Network)).await.unwrap();
    for image in ["", "..", "a/../../containers/x", "a?b", "Bad_Case", "-x", &"a".repeat(600)] {
        let spec = ContainerSpec { image: image.to_owned(), ..spec("true") };
        let answer = act(&bench, container(), create(bay, spec)).await;
        assert!(matches!(answer, Err(BackendError::Refused(_))), "{image}: {answer:?}");
    }
}

/// Its own settings count, whatever whoever accepted the request went by.
#[tokio::test]
async fn a_node_refuses_what_its_operator_does_not_allow() {
    let (bench, bay) = (Docker::new(), bay());
    act(&bench, bay, Action::Apply(Desired::Network)).await.unwrap();
    let port = |host_port, host_ip: Option<&str>| PortMapping {
        container_port: 80,
        host_port: Some(host_port),
        host_ip: host_ip.map(str::to_owned),
        protocol: "tcp".to_owned(),
    };
    let with = |ports| ContainerSpec { ports: vec![ports], ..spec("true") };
    let label = BTreeMap::from([("Traefik.enable".to_owned(), "true".to_owned())]);
    let allowed = Allowed {
        ports: Ports { has_loopback: false, own: OwnPort::new(9511), ..Allowed::default().ports },
        reserved_labels: vec!["traefik.".to_owned()],
        ..Allowed::default()
    };
    let backend = DockerBackend::new(SOCKET.into(), bench.node()).allowing(allowed);
    for spec in [
        with(port(22, None)),
        with(port(9511, None)),
        with(port(8080, Some("127.0.0.1"))),
        ContainerSpec { labels: label, ..spec("true") },
    ] {
        let work = work(bench.node(), container(), create(bay, spec));
        let answer = backend.perform(&work, &Notes::default()).await;
        assert!(matches!(answer, Err(BackendError::Refused(_))), "{answer:?}");
    }
    assert_eq!(containers(&bench).await, []);
}

#[tokio::test]
async fn a_name_that_is_no_host_name_is_no_obstacle() {
    let bench = Docker::new();
    let stream = named(&bench, open_bay(&bench).await, "My web server, größer!").await;
    assert_eq!(observed(&bench, stream).await.state, RunState::Running);
}

/// F25: output that is followed by the end at once.
#[tokio::test]
async fn much_output_arrives_whole() {
    let bench = Docker::new();
    let stream = started(&bench, "sleep 100").await;
    // 20 MB, binary, without a line end: what would break a decoder by lines.
    let command = words(r#"sh -c "dd if=/dev/zero bs=1000000 count=20 2>/dev/null; exit 5""#);
    let notes = Notes::default();
    let work = work(bench.node(), stream, Action::Exec(Exec::Start { command }));
    let done = bench.backend().perform(&work, &notes).await.unwrap();
    assert_eq!(done.exit_code, Some(5));
    let bytes: usize = notes.output.into_inner().unwrap().iter().map(|f| f.data.len()).sum();
    assert_eq!(bytes, 20_000_000);
}

#[tokio::test]
async fn a_command_ends_with_its_container_and_not_with_its_children() {
    let bench = Docker::new();
    let stream = started(&bench, "sleep 100").await;
    // What it leaves behind holds its output open.
    let command = words(r#"sh -c "sleep 500 & echo done""#);
    let done = act(&bench, stream, Action::Exec(Exec::Start { command }));
    let done = tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
    assert_eq!(done.exit_code, Some(0));
    let (node, backend) = (bench.node(), bench.backend());
    let running = tokio::spawn(async move {
        let action = Action::Exec(Exec::Start { command: words("sleep 70") });
        backend.perform(&work(node, stream, action), &Notes::default()).await
    });
    while !docker(&["top", &format!("magnum-{}", stream.id)]).contains("sleep 70") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    act(&bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    // The engine may know its exit code still, or may not.
    assert!(
        matches!(&answer, Ok(done) if done.exit_code == Some(137))
            || matches!(answer, Err(BackendError::TimedOut(_))),
        "{answer:?}"
    );
}

/// F21, F37: a refused connection is told at once, and not where the engine listens.
#[tokio::test]
async fn an_engine_that_is_away_says_so_without_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("none.sock");
    let dead = folder.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    for socket in [gone, dead] {
        let backend = DockerBackend::new(socket, clock::new_object_id());
        let stream = container();
        let work = work(clock::new_object_id(), stream, create(bay(), spec("true")));
        let answers = [
            backend.perform(&work, &Notes::default()).await.err(),
            backend.inspect(stream).await.err(),
            backend.inventory().await.err(),
            backend.notices().await.err(),
            backend.logs(stream, LogQuery::default()).await.err(),
            backend.probe().await.err(),
        ];
        for answer in answers {
            let BackendError::Unavailable(words) = answer.clone().unwrap() else {
                panic!("{answer:?}");
            };
            assert!(!words.contains(".sock") && !words.contains("/tmp"), "{words}");
        }
    }
}

/// F21: each call has its own time.
#[tokio::test]
async fn an_engine_that_hangs_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hangs.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let _hanging = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let limits = Limits { quick: Duration::from_millis(50), ..Limits::default() };
    let backend = DockerBackend::with_limits(socket, clock::new_object_id(), limits);
    let stream = container();
    let work = work(clock::new_object_id(), stream, Action::Do(Operation::Start));
    for answer in [
        backend.perform(&work, &Notes::default()).await.err(),
        backend.inspect(stream).await.err(),
        backend.inventory().await.err(),
        backend.notices().await.err(),
        backend.probe().await.err(),
    ] {
        assert!(matches!(answer, Some(BackendError::TimedOut(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn streams_end_with_the_connection_and_calls_find_the_way_back() {
    let bench = Docker::new();
    let stream = started(&bench, "sleep 100").await;
    let cable = Cable::new();
    cable.plug();
    let backend = DockerBackend::new(cable.path.clone(), bench.node());
    let mut notices = backend.notices().await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Connected));
    // One notice shows that the engine is listened to.
    act(&bench, stream, Action::Do(Operation::Pause)).await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Changed(stream)));
    act(&bench, stream, Action::Do(Operation::Unpause)).await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Changed(stream)));
    let action = Action::Exec(Exec::Start { command: words("sleep 30") });
    let execute = work(bench.node(), stream, action);
    let notes = Notes::default();
    let (answer, ()) = tokio::join!(backend.perform(&execute, &notes), async {
        while !docker(&["top", &format!("magnum-{}", stream.id)]).contains("sleep 30") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cable.cut();
    });
    assert!(matches!(answer, Err(BackendError::TimedOut(_))), "{answer:?}");
    // What the engine said before may come first.
    let ended = async { while notices.next().await.is_some() {} };
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await, Ok(()));
    let answer = backend.inspect(stream).await;
    assert!(matches!(answer, Err(BackendError::Unavailable(_))), "{answer:?}");
    cable.plug();
    let mut notices = backend.notices().await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Connected));
    let found = backend.inspect(stream).await.unwrap().unwrap();
    assert_eq!(found.state, RunState::Running);
}

/// Bytes of an image that takes some moments.
const LARGE: u64 = 20_000_000;

/// A registry of our own, gone with this.
struct Registry {
    process: Child,
    address: String,
    image: String,
    _folder: tempfile::TempDir,
}

impl Registry {
    /// Serves one image; asks for a password where `secret`.
    fn serve(secret: bool) -> Self {
        Self::serve_at("127.0.0.1:0", secret)
    }

    fn serve_at(address: &str, secret: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let auth = if secret { htpasswd(folder.path()) } else { String::new() };
        let root = folder.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '{address}'}}\n{auth}",
            root.display()
        );
        let (path, log) = (folder.path().join("config.yml"), folder.path().join("log"));
        std::fs::write(&path, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .expect("the package docker-registry is installed");
        let address = wait_for("the registry to say where it listens", PATIENCE, || {
            let said = std::fs::read_to_string(&log).unwrap();
            let (_, rest) = said.split_once("listening on ")?;
            Some(rest.split_once('"')?.0.to_owned())
        });
        let image = format!("{address}/busybox:1");
        Self { process, address, image, _folder: folder }
    }

    /// Puts the image there, and nowhere else.
    fn fill(&self) {
        docker(&["tag", IMAGE, &self.image]);
        docker(&["push", &self.image]);
        docker(&["rmi", &self.image]);
    }

    /// Puts an image there that the engine has no part of, of so many bytes that nothing makes
    /// fewer.
    fn fill_with(&self, bytes: u64) {
        let folder = tempfile::tempdir().unwrap();
        let (part, archive) = (folder.path().join("part"), folder.path().join("image.tar"));
        let mut random = std::fs::File::open("/dev/urandom").unwrap().take(bytes);
        std::io::copy(&mut random, &mut std::fs::File::create(&part).unwrap()).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-cf").arg(&archive).arg("-C").arg(folder.path()).arg("part");
        assert!(tar.status().unwrap().success());
        docker(&["import", archive.to_str().unwrap(), &self.image]);
        docker(&["push", &self.image]);
        docker(&["rmi", &self.image]);
    }
}

/// A registry's setting for one user nobody knows the password of.
fn htpasswd(folder: &Path) -> String {
    let path = folder.join("htpasswd");
    let hash = "$2y$05$8Kx7L2Rr3uUHzR4mPCTAHOm0SeyPMXMJhYNCrcV6ccOTUGpqpFTzW";
    std::fs::write(&path, format!("magnum:{hash}\n")).unwrap();
    format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(Command::new("docker").args(["rmi", "-f", &self.image]).output());
    }
}

async fn pull(bench: &Docker, image: &str) -> Work {
    let spec = ContainerSpec { image: image.to_owned(), ..spec("true") };
    work(bench.node(), container(), create(open_bay(bench).await, spec))
}

/// F22.
#[tokio::test]
async fn a_pull_is_told_when_it_begins_and_when_it_has_ended() {
    let registry = Registry::serve(false);
    registry.fill();
    let bench = Docker::new();
    let notes = Notes::default();
    bench.backend().perform(&pull(&bench, &registry.image).await, &notes).await.unwrap();
    let steps = notes.progress.into_inner().unwrap();
    let [began, ended] = steps.as_slice() else { panic!("{steps:?}") };
    let Some(Pull::Started { image }) = &began.pull else { panic!("{began:?}") };
    let Some(Pull::Ended { digest, .. }) = &ended.pull else { panic!("{ended:?}") };
    assert!(registry.image.ends_with(image.as_str()) || image.ends_with(&registry.image));
    assert!(digest.as_ref().is_some_and(|digest| digest.starts_with("sha256:")), "{digest:?}");
    let notes = Notes::default();
    bench.backend().perform(&pull(&bench, &registry.image).await, &notes).await.unwrap();
    assert_eq!(notes.progress.into_inner().unwrap(), []);
}

/// F22.
#[tokio::test]
async fn a_pull_says_how_far_it_is_up_to_its_end() {
    let registry = Registry::serve(false);
    registry.fill_with(LARGE);
    let (bench, notes) = (Docker::new(), Notes::default());
    bench.backend().perform(&pull(&bench, &registry.image).await, &notes).await.unwrap();
    let underway = notes.underway.into_inner().unwrap();
    let steps = notes.progress.into_inner().unwrap();
    let [began, ended] = steps.as_slice() else { panic!("{steps:?}") };
    let so_far = |progress: &Progress| (progress.current_bytes, progress.total_bytes);
    assert!(underway.iter().is_sorted_by_key(so_far), "{underway:?}");
    assert!(underway.iter().all(|it| it.message == began.message && it.pull.is_none()));
    let all = ended.total_bytes;
    assert!(all > LARGE, "{ended:?}");
    assert_eq!(underway.last().map(so_far), Some((all, all)), "{underway:?}");
}

/// F22: also where the registry wants a password (401).
#[tokio::test]
async fn a_pull_that_fails_says_why_and_whether_to_try_again() {
    let registry = Registry::serve(false);
    registry.fill();
    let secret = Registry::serve(true);
    let bench = Docker::new();
    for (image, refused, phrase) in [
        (format!("{}/nothing:1", registry.address), true, "nothing"),
        (format!("{}/busybox:none", registry.address), true, "none"),
        (format!("{}/busybox:1", secret.address), true, "no basic auth credentials"),
        ("127.0.0.1:1/busybox:1".to_owned(), false, "connection refused"),
    ] {
        let answer = bench.backend().perform(&pull(&bench, &image).await, &Notes::default()).await;
        match answer {
            Err(BackendError::Refused(words)) if refused => {
                assert!(words.contains(phrase), "{image}: {words}");
            }
            Err(BackendError::Failed(words)) if !refused => {
                assert!(words.contains(phrase), "{image}: {words}");
            }
            other => panic!("{image}: {other:?}"),
        }
    }
    assert_eq!(containers(&bench).await, []);
}

/// The engine as tenants may use it.
fn for_tenants(bench: &Docker, shared: &[&str], registries: &[&str]) -> DockerBackend {
    let images = Sources {
        is_operator: false,
        shared: shared.iter().map(|image| image.parse().unwrap()).collect(),
        registries: registries.iter().map(|registry| registry.parse().unwrap()).collect(),
    };
    let allowed = Allowed { images, ..Allowed::default() };
    DockerBackend::new(SOCKET.into(), bench.node()).allowing(allowed)
}

/// Its registry can have the engine ask whatever the engine reaches: by a realm or a redirect. The
/// engine's words then have what that one answers.
#[tokio::test]
async fn what_a_clients_registry_makes_the_engine_say_is_not_told() {
    const ANSWER: &str = "the-answer-of-another-service";
    let failures = [
        (500, format!("error parsing HTTP 401 response body: invalid character: \"{ANSWER}\"")),
        (500, format!("unauthorized: {ANSWER}")),
        (404, format!("manifest unknown: {ANSWER}")),
        (500, format!("Get \"http://127.0.0.1:1/\": dial tcp: {ANSWER}")),
        (200, format!("unexpected status from GET request: {ANSWER}")),
    ];
    for (status, words) in failures {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = Router::new().fallback(async move |uri: Uri| {
            let (status, answer) = match uri.path() {
                path if path.ends_with("/info") => (200, json!({ "LoggingDriver": "none" })),
                path if path.ends_with("/networks") => (200, json!([{ "Id": "1" }])),
                // Once the pull has begun, errors come as news.
                path if path.ends_with("/images/create") && status == 200 => {
                    (200, json!({ "errorDetail": { "message": words }, "error": words }))
                }
                path if path.contains("/distribution/") && status == 200 => {
                    let image = json!({ "mediaType": "x", "digest": "sha256:0", "size": 1 });
                    (200, json!({ "Descriptor": image, "Platforms": [] }))
                }
                _ => (status, json!({ "message": words })),
            };
            let json = [("content-type", "application/json")];
            (StatusCode::from_u16(status).unwrap(), json, format!("{answer}\n"))
        });
        let _serving = tokio::spawn(async move { axum::serve(listener, engine).await });
        let digest = format!("@sha256:{}", "0".repeat(64));
        for image in [":1", &digest].map(|version| format!("8.8.8.8:1/x{version}")) {
            let told = async |registries: &[&str]| {
                let spec = ContainerSpec { image: image.clone(), ..spec("true") };
                let create = work(clock::new_object_id(), container(), create(bay(), spec));
                let images = Sources {
                    is_operator: false,
                    shared: vec![],
                    registries: registries.iter().map(|name| name.parse().unwrap()).collect(),
                };
                let allowed = Allowed { images, ..Allowed::default() };
                let backend = DockerBackend::new(socket.clone(), create.node_id).allowing(allowed);
                let notes = Notes::default();
                let error = backend.perform(&create, &notes).await.unwrap_err();
                format!("{error:?} {:?}", notes.progress.into_inner().unwrap())
            };
            let words = told(&[]).await;
            assert!(!words.contains(ANSWER) && words.contains(&image), "{words}");
            // The operator answers for a registry on the list.
            let words = told(&["8.8.8.8:1"]).await;
            assert!(words.contains(ANSWER), "{words}");
        }
    }
}

#[tokio::test]
async fn an_image_that_others_pulled_is_not_a_tenants() {
    let registry = Registry::serve(false);
    registry.fill();
    let secret = format!("{}/secret:1", registry.address);
    docker(&["tag", IMAGE, &secret]);
    let id = docker(&["inspect", "-f", "{{.Id}}", IMAGE]);
    let digits = id.strip_prefix("sha256:").unwrap();
    let bench = Docker::new();
    let refused = async |backend: &DockerBackend, image: &str| {
        let answer = backend.perform(&pull(&bench, image).await, &Notes::default()).await;
        match answer {
            Err(BackendError::Refused(words)) => words,
            other => panic!("{image}: {other:?}"),
        }
    };
    // That the engine has it does not count: its registry does not give it to everybody.
    let open = for_tenants(&bench, &[], &[&registry.address]);
    let words = refused(&open, &secret).await;
    assert!(words.contains("unknown") || words.contains("not found"), "{words}");
    for by_id in [&id, digits, &digits[..12]] {
        let words = refused(&open, by_id).await;
        assert!(words.contains("id"), "{words}");
    }
    // A registry that only this host reaches is asked nothing.
    let closed = for_tenants(&bench, &[], &[]);
    for image in [&*registry.image, "127.0.0.1:1/x:1", "localhost:1/x:1"] {
        let words = refused(&closed, image).await;
        assert!(words.contains("--registry"), "{words}");
    }
    assert_eq!(containers(&bench).await, []);
    // What is shared is taken as it is, and no more than that.
    let sharing = for_tenants(&bench, &[&secret], &[]);
    let notes = Notes::default();
    sharing.perform(&pull(&bench, &secret).await, &notes).await.unwrap();
    assert_eq!(notes.progress.into_inner().unwrap(), []);
    docker(&["rmi", "-f", &secret]);
    let words = refused(&sharing, &secret).await;
    assert!(words.contains("--registry"), "{words}");
}

/// The engine has what a digest names, and takes it without a question to the registry.
#[tokio::test]
async fn an_image_that_others_pulled_is_not_a_tenants_by_its_digest_either() {
    let mut registry = Registry::serve(false);
    registry.fill();
    docker(&["pull", &registry.image]);
    // The same image may have come from other registries too.
    let digests = docker(&["inspect", "-f", "{{join .RepoDigests \" \"}}", &registry.image]);
    let ours = digests.split(' ').find(|digest| digest.starts_with(&registry.address));
    let exact = ours.expect(&digests).to_owned();
    let bench = Docker::new();
    let backend = for_tenants(&bench, &[], &[&registry.address]);
    let create = async |backend: &DockerBackend, image: &str| {
        backend.perform(&pull(&bench, image).await, &Notes::default()).await
    };
    create(&backend, &exact).await.unwrap();
    // From now on it gives nothing to those who have no password.
    registry.process.kill().unwrap();
    registry.process.wait().unwrap();
    let _secret = Registry::serve_at(&registry.address, true);
    for image in [&exact, &registry.image] {
        let answer = create(&backend, image).await;
        let Err(BackendError::Refused(words)) = answer else { panic!("{image}: {answer:?}") };
        assert!(words.contains("no basic auth credentials"), "{words}");
    }
    let sharing = for_tenants(&bench, &[&exact], &[&registry.address]);
    create(&sharing, &exact).await.unwrap();
}

#[tokio::test]
async fn a_tenants_container_is_made_from_what_was_pulled_for_it() {
    let registry = Registry::serve(false);
    registry.fill();
    let bench = Docker::new();
    let backend = for_tenants(&bench, &[], &[&registry.address]);
    // Also the second time, when the engine has it.
    for _ in 0..2 {
        let (work, notes) = (pull(&bench, &registry.image).await, Notes::default());
        backend.perform(&work, &notes).await.unwrap();
        let progress = notes.progress.into_inner().unwrap();
        let is_pull =
            |news: &Progress| matches!(news.pull, Some(Pull::Ended { digest: Some(_), .. }));
        assert!(progress.iter().any(is_pull), "{progress:?}");
        let name = format!("magnum-{}", work.stream.id);
        let image = docker(&["inspect", "-f", "{{.Config.Image}}", &name]);
        let exact = format!("{}/busybox@sha256:", registry.address);
        assert!(image.starts_with(&exact), "{image}");
    }
}

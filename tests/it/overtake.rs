//! What a delete, a stop or a failure overtakes, on the real engine: nothing comes back, nothing is
//! left behind, and the first cause stays the cause (rules W5, W9, E6).

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Http, Options, PATIENCE, Server, docker, wait_for, wait_until};

/// What does not wait for its outcome.
const AT_ONCE: [(&str, &str); 1] = [("Prefer", "respond-async")];

fn uuid(made: &Value) -> String {
    made["uuid"].as_str().unwrap().to_owned()
}

fn is_gone(server: &Http, path: &str) {
    wait_until("it to be gone", PATIENCE, || server.get(path).status == 404);
}

fn types(server: &Http, path: &str) -> Vec<String> {
    let history = server.get(&format!("{path}/history?limit=1000")).expect(200);
    let events = history["events"].as_array().unwrap();
    events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// A registry that takes connections and never answers; the image to pull from it.
fn silent_registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let connections: Vec<_> = listener.incoming().collect();
        drop(connections);
    });
    format!("127.0.0.1:{port}/silent:1")
}

#[test]
fn a_bay_deleted_while_it_is_created_stays_deleted_and_leaves_nothing() {
    let server = Server::start(Options::docker());
    let node = server.get("/v1/nodes").expect(200)["nodes"][0]["uuid"].clone();
    let filter = format!("label=magnum.node={}", node.as_str().unwrap());
    for round in 0..4 {
        let bay = server.post("/v1/bays", &json!({ "name": format!("b{round}") })).expect(201);
        let (path, stop) = (format!("/v1/bays/{}", uuid(&bay)), AtomicBool::new(false));
        let made: Vec<String> = thread::scope(|scope| {
            let creators: Vec<_> = (0..3)
                .map(|_| {
                    let (server, bay, stop) = (server.http(), &bay, &stop);
                    scope.spawn(move || {
                        let body = json!({ "image": "busybox:local", "bay_uuid": bay["uuid"] });
                        let mut made = vec![];
                        while !stop.load(Ordering::Relaxed) {
                            let path = "/v1/containers";
                            let answer = server.send(Method::POST, path, &AT_ONCE, Some(&body));
                            if answer.status < 300 {
                                made.push(uuid(&answer.json));
                            } else {
                                assert!([400, 404, 409].contains(&answer.status), "{answer:?}");
                            }
                        }
                        made
                    })
                })
                .collect();
            assert_eq!(server.delete(&path).status, 204);
            wait_until("the bay to be gone", PATIENCE, || {
                let bay = server.get(&path);
                assert!(bay.status == 404 || bay.json["status"] == "DELETE_IN_PROGRESS", "{bay:?}");
                bay.status == 404
            });
            stop.store(true, Ordering::Relaxed);
            creators.into_iter().flat_map(|creator| creator.join().unwrap()).collect()
        });
        for container in &made {
            is_gone(&server, &format!("/v1/containers/{container}"));
        }
        let history = types(&server, &path);
        let asked = history.iter().filter(|it| *it == "magnum.bay.delete_requested.v1").count();
        assert_eq!(asked, 1, "{history:?}");
    }
    let containers = docker(&["ps", "--all", "--quiet", "--filter", &filter]);
    let networks = docker(&["network", "ls", "--quiet", "--filter", &filter]);
    assert_eq!((containers.as_str(), networks.as_str()), ("", ""), "nothing is left behind");
}

#[test]
fn a_delete_ends_a_pull_from_a_registry_that_never_answers() {
    let server = Server::start(Options::docker());
    let body = json!({ "name": "c", "image": silent_registry() });
    let answer = server.send(Method::POST, "/v1/containers", &AT_ONCE, Some(&body));
    let container = format!("/v1/containers/{}", uuid(&answer.expect(202)));
    // The same in a bay that is deleted with all in it.
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    let body = json!({ "name": "d", "image": silent_registry(), "bay_uuid": bay["uuid"] });
    let answer = server.send(Method::POST, "/v1/containers", &AT_ONCE, Some(&body));
    let member = format!("/v1/containers/{}", uuid(&answer.expect(202)));
    assert_eq!(server.delete(&container).status, 204);
    is_gone(&server, &container);
    let history = types(&server, &container);
    assert!(!history.iter().any(|it| it.contains("work_blocked")), "{history:?}");
    assert_eq!(server.delete(&format!("/v1/bays/{}", uuid(&bay))).status, 204);
    is_gone(&server, &format!("/v1/bays/{}", uuid(&bay)));
    is_gone(&server, &member);
}

#[test]
fn what_is_queued_behind_a_failed_create_is_cancelled_and_the_cause_stays() {
    let server = Server::start(Options::docker());
    let body = json!({ "name": "c", "image": "127.0.0.1:1/none:1" });
    let answer = server.send(Method::POST, "/v1/containers", &AT_ONCE, Some(&body));
    let path = format!("/v1/containers/{}", uuid(&answer.expect(202)));
    let start = server.send(Method::PUT, &format!("{path}/start"), &AT_ONCE, None);
    assert_eq!(start.status, 202, "{}", start.text);
    let failed = wait_for("the create to fail", PATIENCE, || {
        let container = server.get(&path).expect(200);
        (container["status"] == "Error").then_some(container)
    });
    let reason = failed["status_reason"].as_str().unwrap();
    assert!(reason.starts_with("create failed"), "{reason}");
    assert_eq!(failed["task"], Value::Null);
    let history = types(&server, &path);
    assert_eq!(history.last().unwrap(), "magnum.container.work_failed.v2", "{history:?}");
}

/// A container that is found in the status `Restarting`, since the engine waits for twelve seconds
/// before it starts it again.
fn restarting(server: &Http, name: &str) -> String {
    let body = json!({
        "name": name, "image": "busybox:local", "command": "sh -c 'exit 7'",
        "restart_policy": "always",
    });
    let path =
        format!("/v1/containers/{}", uuid(&server.post("/v1/containers", &body).expect(201)));
    server.put(&format!("{path}/start")).expect(200);
    // The first delay is 100 ms, and each is twice the one before: after the eighth end 12.8 s. The
    // engine counts a restart before its delay, and the record may be an end behind.
    let name = engine_name(&path);
    wait_until("the engine's eighth restart back-off", PATIENCE, || {
        let counted = docker(&["inspect", "--format", "{{.RestartCount}}", &name]);
        let is_counted = counted.parse().is_ok_and(|count: u32| count >= 8);
        let history = types(server, &path);
        let recorded = history.iter().filter(|it| *it == "magnum.container.exited.v3").count();
        let status = server.get(&path).expect(200)["status"].take();
        is_counted && recorded >= 8 && status == "Restarting"
    });
    path
}

fn engine_name(path: &str) -> String {
    format!("magnum-{}", path.rsplit('/').next().unwrap())
}

/// The engine's word for the state of a container.
fn state(path: &str) -> String {
    docker(&["inspect", "--format", "{{.State.Status}}", &engine_name(path)])
}

#[test]
fn a_container_in_restart_back_off_is_restarting_and_can_be_stopped_killed_and_deleted() {
    let server = Server::start(Options::docker());
    // At once, because each takes its time to get there.
    thread::scope(|scope| {
        for ends in [is_stopped, is_killed, is_deleted] {
            let http = server.http();
            scope.spawn(move || ends(&http));
        }
    });
}

fn is_stopped(server: &Http) {
    let path = restarting(server, "r1");
    let found = server.list("/v1/containers?status=Restarting");
    assert!(found.iter().any(|one| one["name"] == "r1"), "{found:?}");
    let refused = server.put(&format!("{path}/pause"));
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.text.contains("is Restarting"), "{}", refused.text);
    server.put(&format!("{path}/stop?timeout=1")).expect(200);
    assert_eq!(server.get(&path).expect(200)["status"], "Stopped");
    assert_eq!(state(&path), "exited");
    let history = types(server, &path);
    assert!(history.iter().any(|it| it == "magnum.container.stop_requested.v1"), "{history:?}");
}

fn is_killed(server: &Http) {
    let path = restarting(server, "r2");
    server.put(&format!("{path}/kill")).expect(200);
    wait_until("the kill to end it", PATIENCE, || {
        server.get(&path).expect(200)["status"] == "Stopped"
    });
    assert_eq!(state(&path), "exited");
}

fn is_deleted(server: &Http) {
    let path = restarting(server, "r3");
    assert_eq!(server.delete(&path).status, 204);
    is_gone(server, &path);
}

#[test]
fn commands_that_hang_take_no_control_away_and_can_be_ended_one_by_one() {
    let server = Server::start(Options::docker());
    let body = json!({ "name": "c", "image": "busybox:local", "command": "sleep 600" });
    let path =
        format!("/v1/containers/{}", uuid(&server.post("/v1/containers", &body).expect(201)));
    server.put(&format!("{path}/start")).expect(200);
    let execute = format!("{path}/execute?command=sleep+300");
    let mut refused = None;
    for _ in 0..20 {
        let answer = server.send(Method::PUT, &execute, &AT_ONCE, None);
        match answer.status {
            202 => {}
            status => refused = Some((status, answer.text)),
        }
    }
    let (status, text) = refused.expect("more commands than a container runs at once");
    assert_eq!(status, 429, "{text}");
    assert!(text.contains("runs 16 commands already"), "{text}");

    let executions = format!("{path}/executions");
    let listed = server.get(&executions).expect(200)["executions"].take();
    assert_eq!(listed.as_array().unwrap().len(), 16, "{listed}");
    assert_eq!(listed[0]["command"], json!(["sleep", "300"]));
    let one = format!("{executions}/{}", listed[0]["id"].as_str().unwrap());
    wait_until("the first command to run", PATIENCE, || {
        docker(&["top", &engine_name(&path)]).matches("sleep 300").count() == 16
    });
    let ended = server.delete(&one);
    assert_eq!(ended.status, 204, "{}", ended.text);
    wait_until("one command less", PATIENCE, || {
        server.get(&executions).expect(200)["executions"].as_array().unwrap().len() == 15
    });
    assert_eq!(server.delete(&one).status, 404, "it has ended");

    server.put(&format!("{path}/stop?timeout=1")).expect(200);
    assert_eq!(server.get(&path).expect(200)["status"], "Stopped");
    wait_until("the commands to have ended with it", PATIENCE, || {
        server.get(&executions).expect(200)["executions"] == json!([])
    });
}

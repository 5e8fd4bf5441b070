//! What the service says on stderr: its start, its engine, work that fails or is blocked, requests;
//! never a secret, and each event on one line.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, wait_for, wait_until};

/// The lines with all of these words.
fn lines(server: &Server, words: &[&str]) -> Vec<String> {
    let log = server.stderr();
    let found = log.lines().filter(|line| words.iter().all(|word| line.contains(word)));
    found.map(str::to_owned).collect()
}

#[track_caller]
fn wait_for_line(server: &Server, words: &[&str]) -> String {
    wait_for(&words.join(" "), PATIENCE, || lines(server, words).pop())
}

#[test]
fn it_tells_how_the_service_starts_and_stops() {
    let mut server = Server::start(Options::fake().arg("--host").arg("n1"));
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let start = ["magnum starts", &*version, "auth=\"none\"", "engine=\"fake\"", "node=\"n1\""];
    wait_for_line(&server, &start);
    wait_for_line(&server, &["listening", "url=\"http://127.0.0.1:"]);
    wait_for_line(&server, &["INFO", "the engine answers", "node=\"n1\"", "cpus="]);
    server.stop();
    assert_eq!(lines(&server, &["INFO", "stopped"]).len(), 1, "{}", server.stderr());
}

#[test]
fn it_tells_that_the_engine_is_away() {
    let server = Server::start(Options::docker().arg("--docker-socket").arg("/nowhere.sock"));
    wait_for_line(&server, &["WARN", "the engine does not answer", "reason="]);
    let is_down = || server.list("/v1/nodes/detail")[0]["status"] == "unavailable";
    wait_until("the node to be unavailable", PATIENCE, is_down);
    // It is tried again all the time.
    let body = json!({ "name": "web", "image_id": "busybox:local" });
    let headers = [("prefer", "respond-async")];
    server.send(Method::POST, "/v1/containers", &headers, Some(&body)).expect(202);
    let has_waited =
        || server.get("/v1/containers/web").json["task"]["attempts"].as_u64() > Some(2);
    wait_until("some attempts", PATIENCE, has_waited);
    let away = lines(&server, &["the engine does not answer"]);
    assert_eq!(away.len(), 1, "{}", server.stderr());
}

#[test]
fn it_tells_of_work_that_fails_or_is_blocked_once() {
    let server = Server::start(Options::docker());
    let body = json!({ "name": "stuck", "image_id": "127.0.0.1:1/x:1" });
    let headers = [("prefer", "respond-async")];
    let answer = server.send(Method::POST, "/v1/containers", &headers, Some(&body));
    let request = answer.header("x-openstack-request-id").to_owned();
    let made = answer.expect(202);
    let object = format!("object=container/{}", made["uuid"].as_str().unwrap());
    let work = format!("work={}", made["task"]["id"].as_str().unwrap());
    let said = [&*object, &*work, "name=\"stuck\"", "action=\"create\"", &*request];
    wait_for_line(&server, &[&said[..], &["WARN", "work is blocked", "reason="]].concat());
    let task = || server.get("/v1/containers/stuck").json["task"]["attempts"].as_u64();
    wait_until("some attempts", PATIENCE, || task().is_none_or(|attempts| attempts > 2));
    assert_eq!(lines(&server, &["work is blocked", &*work]).len(), 1, "{}", server.stderr());
    wait_for_line(&server, &[&said[..], &["WARN", "work failed", "reason="]].concat());
    assert_eq!(lines(&server, &["work failed", &*work]).len(), 1, "{}", server.stderr());
}

#[test]
fn requests_are_told_without_what_may_be_secret() {
    let server = Server::start(Options::fake().arg("--access-log"));
    let headers = [("x-auth-token", "hunter2"), ("authorization", "Bearer hunter3")];
    let path = "/v1/containers?name=hunter4";
    let answer = server.send(Method::GET, path, &headers, None);
    let request = answer.header("x-openstack-request-id").to_owned();
    let line = wait_for_line(&server, &["INFO", "magnum::access", &*request]);
    let bytes = format!("bytes={} ", answer.text.len());
    let who = "project=\"default\" user=\"anonymous\"";
    for word in ["method=GET", "path=\"/v1/containers\"", "status=200", "ms=", &*bytes, who] {
        assert!(line.contains(word), "{word}: {line}");
    }
    let body = json!({
        "name": "web",
        "image_id": "missing/image",
        "environment": { "PASSWORD": "hunter5" },
    });
    server.post("/v1/containers", &body);
    wait_for_line(&server, &["magnum::access", "method=POST", "path=\"/v1/containers\""]);
    assert!(!server.stderr().contains("hunter"), "{}", server.stderr());
}

#[test]
fn without_being_asked_it_tells_of_no_request() {
    let mut server = Server::start(Options::fake());
    server.get("/v1/containers").expect(200);
    server.stop();
    assert!(lines(&server, &["magnum::access"]).is_empty(), "{}", server.stderr());
}

#[test]
fn debug_tells_what_a_request_led_to() {
    let server = Server::start(Options::fake().variable("MAGNUM_LOG", Path::new("debug")));
    // A container that waited for its bay is told as one that was blocked.
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    wait_until("a bay", PATIENCE, || {
        server.get("/v1/bays/b").expect(200)["status"] == "CREATE_COMPLETE"
    });
    let body = json!({ "name": "web", "image_id": "busybox:local", "bay_uuid": bay["uuid"] });
    let answer = server.post("/v1/containers", &body);
    let request = answer.header("x-openstack-request-id").to_owned();
    let made: Value = answer.expect(201);
    let uuid = made["uuid"].as_str().unwrap();
    for words in [
        ["DEBUG", "decided", "container.create_requested"],
        ["DEBUG", "work is asked for", "action=\"create\""],
        ["DEBUG", "work is offered", "action=\"create\""],
        ["DEBUG", "the engine is asked", "action=\"create\""],
        ["DEBUG", "the engine has answered", "action=\"create\""],
        ["DEBUG", "decided", "container.created"],
        ["DEBUG", "work is done", "action=\"create\""],
    ] {
        wait_for_line(&server, &[&words[..], &[&*request, uuid]].concat());
    }
}

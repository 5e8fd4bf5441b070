//! Containers over REST, on the model of an engine. On a real one: `tour`, `crash`, `client`.

use std::thread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Http, Options, PATIENCE, Server, wait_until};
use crate::requests::refused;

/// An image that the model does not have and cannot get.
const ABSENT: &str = "missing/none";

/// Makes a container; its uuid.
fn create(server: &Http, body: Value) -> String {
    server.post("/v1/containers", &body).expect(201)["uuid"].as_str().unwrap().to_owned()
}

/// Makes a container that runs; its path.
fn running(server: &Http, name: &str) -> String {
    create(server, json!({ "name": name, "image_id": "busybox" }));
    let path = format!("/v1/containers/{name}");
    server.put(&format!("{path}/start")).expect(200);
    path
}

fn status(server: &Http, path: &str) -> String {
    server.get(path).expect(200)["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_container_from_birth_to_death() {
    let server = Server::start(Options::fake());
    let body = json!({
        "name": "c", "image_id": "busybox", "command": "sleep '1000'", "bay_uuid": null,
        "memory": "512m", "environment": { "SECRET": "hunter2" }, "ports": ["8080:80/tcp"],
        "labels": { "a": "b" }, "cpu": "0.5", "restart_policy": "on-failure:3",
    });
    let answer = server.post("/v1/containers", &body);
    let place = answer.header("location").to_owned();
    let made = answer.expect(201);
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    assert_eq!(place, format!("{}/v1/containers/{uuid}", server.url()));
    assert_eq!(made["status"], "Stopped");
    assert_eq!(made["task"], Value::Null);
    assert_eq!(made["command"], "sleep 1000");
    assert_eq!(made["environment"], json!({ "SECRET": "***" }));
    assert_eq!(made["memory"], 512 << 20);
    assert_eq!(made["cpu"], 0.5);
    assert_eq!(made["restart_policy"], "on-failure:3");
    assert_eq!(made["ports"][0]["host_port"], 8080);
    assert_eq!(made["labels"], json!({ "a": "b" }));
    let bay = server.get("/v1/bays/default").expect(200);
    assert_eq!(made["bay_uuid"], bay["uuid"]);
    let path = format!("/v1/containers/{uuid}");
    for (action, wanted) in [
        ("start", "Running"),
        ("start", "Running"),
        ("pause", "Paused"),
        ("unpause", "Running"),
        ("reboot?timeout=0", "Running"),
        ("stop?timeout=1", "Stopped"),
        ("stop", "Stopped"),
    ] {
        let answer = server.put(&format!("{path}/{action}"));
        assert_eq!((answer.status, answer.text.as_str()), (200, "null"), "{action}");
        assert_eq!(status(&server, &path), wanted, "{action}");
    }
    let words = refused(&server.put(&format!("{path}/pause")), 409);
    assert_eq!(
        words,
        "Container c is Stopped; it cannot pause now. Possible now: start, reboot, recreate, \
         delete."
    );
    assert_eq!(server.delete(&path).status, 204);
    refused(&server.get(&path), 404);
    refused(&server.put(&format!("{path}/start")), 404);
    let history = server.get(&format!("{path}/history")).expect(200);
    let types: Vec<_> = history["events"].as_array().unwrap().iter().map(|e| &e["type"]).collect();
    assert_eq!(types.first().unwrap().as_str(), Some("magnum.container.create_requested.v1"));
    assert_eq!(types.last().unwrap().as_str(), Some("magnum.container.deleted.v1"));
    for path in [format!("{path}/history"), "/v1/events?limit=1000".to_owned()] {
        assert!(!server.get(&path).text.contains("hunter2"), "{path}");
    }
    assert!(!server.stderr().contains("hunter2"));
}

#[test]
fn a_create_that_fails_is_an_object_that_says_why() {
    let server = Server::start(Options::fake());
    let body = json!({ "name": "c", "image_id": format!("{ABSENT}:1") });
    let made = server.post("/v1/containers", &body).expect(201);
    assert_eq!(made["status"], "Error");
    assert!(made["status_reason"].as_str().unwrap().contains("pull access denied"), "{made}");
    let words = refused(&server.put("/v1/containers/c/start"), 409);
    assert!(words.contains("delete"), "{words}");
    assert_eq!(server.delete("/v1/containers/c").status, 204);
}

#[test]
fn the_clients_of_2014_need_only_a_name_and_an_image() {
    let server = Server::start(Options::fake());
    create(&server, json!({ "name": "a", "image": "busybox" }));
    let first = server.get("/v1/containers/a").expect(200)["bay_uuid"].take();
    // Many at once still make one default bay, also after it was deleted.
    assert_eq!(server.delete("/v1/bays/default").status, 204);
    wait_until("the bay to be gone", PATIENCE, || server.get("/v1/bays/default").status == 404);
    let makers: Vec<_> = (0..8)
        .map(|n| {
            let server = server.http();
            thread::spawn(move || {
                create(&server, json!({ "name": format!("m{n}"), "image": "busybox" }))
            })
        })
        .collect();
    let made: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
    for uuid in made {
        assert_eq!(server.get(&format!("/v1/containers/{uuid}")).expect(200)["bay_uuid"], first);
    }
    assert_eq!(server.list("/v1/bays").len(), 1);
}

#[test]
fn the_record_of_a_container_can_change() {
    let server = Server::start(Options::fake());
    create(&server, json!({ "name": "c", "image_id": "busybox", "command": ["a", "b c"] }));
    let patch = |value: Value| server.patch("/v1/containers/c", &value);
    let changed = patch(json!([
        { "op": "replace", "path": "/command", "value": "echo 'x y'" },
        { "op": "add", "path": "/desc", "value": "what it is for" },
    ]));
    let changed = changed.expect(200);
    assert_eq!(changed["desc"], "what it is for");
    // What runs has not changed, and is shown beside what is wanted (rule E7).
    assert_eq!(changed["command"], "a 'b c'");
    assert_eq!(changed["desired"], json!({ "command": "echo 'x y'" }));
    assert_eq!(changed["conditions"], json!(["NeedsRecreate"]));
    let image = json!([{ "op": "replace", "path": "/image_id", "value": "other:1" }]);
    let changed = patch(image).expect(200);
    assert_eq!(changed["image_id"], "busybox");
    assert_eq!(changed["desired"], json!({ "command": "echo 'x y'", "image_id": "other:1" }));
    let row = &server.list("/v1/containers")[0];
    assert_eq!((&row["image_id"], &row["command"]), (&json!("busybox"), &json!("a 'b c'")));
    assert_eq!(row["conditions"], json!(["NeedsRecreate"]));
    let why = server.get("/v1/containers/c/why").expect(200);
    let says = why["says"].as_str().unwrap();
    assert!(says.contains("image_id \"other:1\"") && says.contains("recreate"), "{says}");
    let blame = |field: &str| {
        let blame = server.get(&format!("/v1/containers/c/blame?field={field}")).expect(200);
        blame["chain"][0]["type"].clone()
    };
    assert_eq!(blame("image_id"), "container.create_requested");
    assert_eq!(blame("desired"), "container.updated");
    // Back to what runs: nothing is left to want.
    let changed = patch(json!([
        { "op": "replace", "path": "/command", "value": "a 'b c'" },
        { "op": "replace", "path": "/image_id", "value": "busybox" },
    ]));
    let changed = changed.expect(200);
    assert_eq!((&changed["desired"], &changed["conditions"]), (&json!({}), &json!([])));
    for (path, words) in [
        ("/status", "'/status' is an internal attribute and can not be updated"),
        ("/uuid", "'/uuid' is an internal attribute and can not be updated"),
    ] {
        let answer = patch(json!([{ "op": "replace", "path": path, "value": "x" }]));
        assert_eq!(refused(&answer, 400), words);
    }
    refused(&patch(json!([{ "op": "replace", "path": "/command", "value": "echo 'x" }])), 400);
    refused(&patch(json!({ "op": "x" })), 400);
}

#[test]
fn output_of_commands_and_containers() {
    let server = Server::start(Options::fake());
    let script = "echo out; echo err >&2; sleep 1000";
    create(&server, json!({ "name": "c", "image_id": "i", "command": ["sh", "-c", script] }));
    server.put("/v1/containers/c/start").expect(200);
    let execute = |command: &str| {
        let command: String = form_urlencoded::byte_serialize(command.as_bytes()).collect();
        server.put(&format!("/v1/containers/c/execute?command={command}"))
    };
    let done = execute("echo 'a b'").expect(200);
    assert_eq!(done, json!({ "output": "a b\n", "exit_code": 0 }));
    let done = execute("sh -c 'echo x; exit 3'").expect(200);
    assert_eq!(done, json!({ "output": "x\n", "exit_code": 3 }));
    let logs = |query: &str| {
        let answer = server.get(&format!("/v1/containers/c/logs{query}")).expect(200);
        answer["output"].as_str().unwrap().to_owned()
    };
    wait_until("its output", PATIENCE, || logs("") == "out\nerr\n");
    assert_eq!(logs("?tail=1"), "err\n");
    assert_eq!(logs("?stdout=1"), "out\n");
    assert_eq!(logs("?stderr=1"), "err\n");
    assert_eq!(logs("?stderr=0"), "out\n");
    assert!(logs("?timestamps=1").starts_with("20"));
    server.put("/v1/containers/c/stop?timeout=0").expect(200);
    // Following ends with the container.
    let followed = server.get("/v1/containers/c/logs?follow=1");
    assert!(followed.header("content-type").starts_with("text/plain"));
    assert_eq!(followed.text, "out\nerr\n");
    refused(&execute("true"), 409);
}

#[test]
fn who_does_not_wait_gets_202_and_the_object_as_it_is() {
    let server = Server::start(Options::fake());
    let path = running(&server, "c");
    let asynchronous = [("prefer", "respond-async")];
    // Also of one that may have ended before its acceptance is answered.
    for command in ["sleep+1", "echo+a", "echo+b", "echo+c", "echo+d"] {
        let command = format!("{path}/execute?command={command}");
        let answer = server.send(Method::PUT, &command, &[("prefer", "wait=0")], None);
        assert_eq!(answer.expect(202), json!({ "output": "", "exit_code": null }));
    }
    let body = json!({ "name": "d", "image_id": "another" });
    let answer = server.send(Method::POST, "/v1/containers", &asynchronous, Some(&body));
    assert!(answer.header("location").contains("/v1/containers/"));
    assert!([201, 202].contains(&answer.status), "{}", answer.text);
    assert_eq!(answer.json["name"], "d");
    let answer = server.send(Method::DELETE, "/v1/containers/d", &asynchronous, None);
    // It may be done already.
    if answer.status != 204 {
        assert_eq!(answer.expect(202)["name"], "d");
    }
    wait_until("it to be gone", PATIENCE, || server.get("/v1/containers/d").status == 404);
}

#[test]
fn the_same_action_with_the_same_key_is_one_action() {
    let server = Server::start(Options::fake());
    let path = running(&server, "c");
    let key = [("idempotency-key", "reboot-1")];
    for _ in 0..3 {
        let answer = server.send(Method::PUT, &format!("{path}/reboot"), &key, None);
        assert_eq!(answer.text, "null");
    }
    let history = server.get(&format!("{path}/history")).expect(200);
    let types = history["events"].as_array().unwrap().iter().map(|event| &event["type"]);
    assert_eq!(types.filter(|name| *name == "magnum.container.reboot_requested.v1").count(), 1);
    let body = json!({ "name": "d", "image_id": "i" });
    let create = || {
        let key = [("idempotency-key", "create-1")];
        server.send(Method::POST, "/v1/containers", &key, Some(&body)).expect(201)["uuid"].take()
    };
    let first = create();
    assert_eq!(create(), first);
    server.delete("/v1/containers/d");
    assert_eq!(create(), first);
    assert_eq!(server.get("/v1/containers?name=d").expect(200)["containers"], json!([]));
}

#[test]
fn a_bay_that_goes_takes_no_more() {
    let server = Server::start(Options::fake());
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201);
    running(&server, "elsewhere");
    server.delete("/v1/bays/b");
    let body = json!({ "image_id": "i", "bay_uuid": bay["uuid"] });
    let answer = server.post("/v1/containers", &body);
    // Being deleted, or gone already.
    assert!([400, 409].contains(&answer.status), "{}", answer.text);
}

#[test]
fn the_containers_of_a_bay_that_is_gone_are_listed_as_of_before() {
    let server = Server::start(Options::fake());
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201)["uuid"].take();
    create(&server, json!({ "name": "c", "image_id": "i", "bay_uuid": bay }));
    let at = server.get("/v1/containers").header("x-magnum-position").to_owned();
    assert_eq!(server.delete("/v1/bays/b").status, 204);
    wait_until("the bay to be gone", PATIENCE, || server.get("/v1/bays/b").status == 404);
    let list = format!("/v1/containers?bay_ident={}", bay.as_str().unwrap());
    refused(&server.get(&list), 404);
    assert_eq!(server.list(&format!("{list}&at={at}"))[0]["name"], "c");
}

#[test]
fn what_was_never_made_says_why_it_has_no_output() {
    let server = Server::start(Options::fake());
    let body = json!({ "name": "c", "image_id": ABSENT });
    let made = server.post("/v1/containers", &body).expect(201);
    assert_eq!(made["status"], "Error");
    for query in ["", "?follow=1"] {
        let words = refused(&server.get(&format!("/v1/containers/c/logs{query}")), 409);
        let why = made["status_reason"].as_str().unwrap();
        assert!(words.starts_with("Container c has no output: "), "{words}");
        assert!(words.ends_with(&format!("It is Error: {why}")), "{words}");
    }
}

//! What no change of an object shows: refusals and reads, recorded before they are answered.

use std::thread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Options, PATIENCE, Server, wait_until};
use crate::requests::{baymodel, head, refused};
use crate::secrets::files_with;
use crate::stream_client::{Follower, Transport};

/// What the audit stream says, oldest first.
fn audited(server: &Http, query: &str) -> Vec<Value> {
    let page = server.get(&format!("/v1/events?kind=audit&limit=1000&{query}")).expect(200);
    page["events"].as_array().unwrap().clone()
}

/// The one event that a request left in the audit stream.
#[track_caller]
fn of_request(server: &Http, answer: &Answer) -> Value {
    let request = answer.header("x-openstack-request-id");
    let mut events = audited(server, &format!("request_id={request}"));
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

fn stopped(server: &Server, name: &str) -> String {
    let body = json!({ "name": name, "image": "i", "environment": { "PASSWORD": "hunter2" } });
    let made = server.post("/v1/containers", &body).expect(201);
    made["uuid"].as_str().unwrap().to_owned()
}

#[test]
fn a_refused_command_says_who_what_and_why() {
    let server = Server::start(Options::fake());
    let id = stopped(&server, "c");
    let path = format!("/v1/containers/{id}");
    let why = [("x-magnum-reason", "let it rest")];
    let answer = server.send(Method::PUT, &format!("{path}/pause"), &why, None);
    let words = refused(&answer, 409);
    let event = of_request(&server, &answer);
    assert_eq!(event["type"], "magnum.audit.command_refused.v1");
    let data = json!({
        "object": format!("container/{id}"), "command": "pause", "code": "illegal-transition",
        "reason": words,
    });
    assert_eq!(event["data"], data);
    for (name, wanted) in [
        ("user", "anonymous"),
        ("project", "default"),
        ("reason", "let it rest"),
        ("outcome", "refused"),
    ] {
        assert_eq!(event[name], wanted, "{name}");
    }
    // A key that was used before, and a revision that is not there any more.
    let key = [("idempotency-key", "k")];
    server.send(Method::PUT, &format!("{path}/start"), &key, None).expect(200);
    let answer = server.send(Method::PUT, &format!("{path}/stop"), &key, None);
    refused(&answer, 422);
    let event = of_request(&server, &answer);
    assert_eq!(event["data"]["code"], "idempotency-key-reused");
    assert_eq!(event["commandid"], "default/k");
    let answer = server.send(Method::DELETE, &path, &[("if-match", "\"0\"")], None);
    refused(&answer, 412);
    assert_eq!(of_request(&server, &answer)["data"]["code"], "revision-mismatch");
    // It is of that object, and of its bay, as much as the object's own events are.
    let all = audited(&server, "");
    assert_eq!(all.len(), 3);
    assert_eq!(audited(&server, &format!("object={id}")), all);
    assert_eq!(audited(&server, "outcome=refused&type=audit.command_refused"), all);
    assert_eq!(
        audited(&server, &format!("object={}", "00000000-0000-4000-8000-000000000000")),
        [Value::Null; 0]
    );
    let revisions: Vec<_> = all.iter().map(|event| event["revision"].as_str().unwrap()).collect();
    assert_eq!(revisions, ["0", "1", "2"]);
}

#[test]
fn what_is_malformed_or_reaches_nothing_is_not_recorded_and_secrets_never_are() {
    let server = Server::start(Options::fake());
    let id = stopped(&server, "c");
    let before = head(&server);
    refused(&server.post("/v1/containers", &json!({ "image": 5 })), 400);
    refused(&server.put("/v1/containers/nobody/start"), 404);
    refused(&server.put(&format!("/v1/containers/{id}/kill?signal=SIGFOO")), 400);
    assert_eq!(head(&server), before);
    // The same object again: refused before the command is made that would have its secret.
    let body = json!({ "uuid": id, "image": "i", "environment": { "PASSWORD": "hunter2" } });
    let answer = server.post("/v1/containers", &body);
    refused(&answer, 409);
    let event = of_request(&server, &answer);
    assert_eq!(event["command"], "\"create\"");
    // Neither the container's own first event nor the refusal has it.
    assert!(files_with(&server.data(), "hunter2").is_empty());
}

#[test]
fn reads_are_recorded_as_configured() {
    for (wanted, reads) in
        [("refusals,executes", &["execute_output"][..]), ("logs", &["logs", "logs"]), ("none", &[])]
    {
        let server = Server::start(Options::fake().arg("--audit").arg(wanted));
        let id = stopped(&server, "c");
        let path = format!("/v1/containers/{id}");
        server.put(&format!("{path}/start")).expect(200);
        server.put(&format!("{path}/execute?command=true")).expect(200);
        server.get(&format!("{path}/logs")).expect(200);
        server.get("/v1/containers/c/logs?tail=1").expect(200);
        refused(&server.put(&format!("{path}/unpause")), 409);
        let whats: Vec<_> = audited(&server, "type=audit.read")
            .iter()
            .map(|event| event["data"]["what"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(whats, reads, "{wanted}");
        let refusals = audited(&server, "outcome=refused").len();
        assert_eq!(refusals, usize::from(wanted.contains("refusals")), "{wanted}");
    }
}

#[test]
fn a_flood_is_recorded_or_counted_and_nothing_is_lost_in_silence() {
    let server = Server::start(Options::fake());
    let id = server.post("/v1/baymodels", &baymodel("a")).expect(201)["uuid"].take();
    let path = format!("/v1/baymodels/{}", id.as_str().unwrap());
    let (threads, each) = (8, 250);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (http, path) = (server.http(), path.clone());
            scope.spawn(move || {
                for _ in 0..each {
                    let stale = [("if-match", "\"7\"")];
                    assert_eq!(http.send(Method::DELETE, &path, &stale, None).status, 412);
                }
            });
        }
    });
    let mut stream = Follower::open(&server, Transport::Lines, "after=0&kind=audit", None).unwrap();
    let (mut recorded, mut counted) = (0, 0);
    while recorded + counted < threads * each {
        let event = stream.event().data;
        match event["type"].as_str().unwrap() {
            "magnum.audit.command_refused.v1" => recorded += 1,
            _ => counted += event["data"]["commands_refused"].as_u64().unwrap(),
        }
    }
    assert_eq!(recorded + counted, threads * each);
    wait_until("a span to be over", PATIENCE, || {
        let answer = server.send(Method::DELETE, &path, &[("if-match", "\"7\"")], None);
        let request = answer.header("x-openstack-request-id");
        !audited(&server, &format!("request_id={request}")).is_empty()
    });
}

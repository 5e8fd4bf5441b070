//! What holds for every request: paths, refusals, bodies, headers. What bad input does to each
//! noun: a 4xx that says why, and nothing in the log.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, Options, PATIENCE, Server, wait_until};

const NOBODY: &str = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";

/// A baymodel with nothing but what it must have.
pub fn baymodel(name: &str) -> Value {
    json!({ "name": name, "coe": "docker", "image_id": "i", "keypair_id": "k" })
}

/// Checks that a refusal has both shapes, and gives its words.
#[track_caller]
pub fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    let fault: Value =
        serde_json::from_str(answer.json["error_message"].as_str().unwrap()).unwrap();
    let item = &answer.json["errors"][0];
    assert_eq!(fault["faultstring"], item["detail"]);
    assert_eq!(fault["faultcode"], if status < 500 { "Client" } else { "Server" });
    assert_eq!(item["status"], status);
    for part in ["code", "title"] {
        assert!(!item[part].as_str().unwrap().is_empty());
    }
    assert_eq!(item["links"], json!([]));
    item["detail"].as_str().unwrap().to_owned()
}

/// The position of the last event, once the service has said all that it says by itself.
pub fn head(server: &Http) -> u64 {
    wait_until("the node's engine to answer", PATIENCE, || {
        server.get("/readyz").json["nodes_available"] == 1
    });
    server.get("/v1/events?limit=1").expect(200)["head"].as_u64().unwrap()
}

/// Sends bytes as they are; the status, and everything that came back.
pub fn raw(server: &Server, request: &[u8]) -> (u16, String) {
    let address = server.url().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// A request with a body of any bytes.
fn post(server: &Server, path: &str, body: &[u8]) -> (u16, String) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw(server, &[head.as_bytes(), body].concat())
}

#[test]
fn the_documents_of_2015_are_there() {
    let server = Server::start(Options::fake());
    let (url, root) = (server.url(), server.get("/").expect(200));
    assert_eq!(root["name"], "OpenStack Magnum API");
    let v1 = json!({ "id": "v1", "links": [{ "href": format!("{url}/v1/"), "rel": "self" }] });
    assert_eq!(root["versions"], json!([v1]));
    assert_eq!(root["default_version"], v1);
    for path in ["/v1", "/v1/"] {
        let version = server.get(path).expect(200);
        assert_eq!(version["id"], "v1");
        assert_eq!(
            version["bays"],
            json!([
                { "href": format!("{url}/v1/bays/"), "rel": "self" },
                { "href": format!("{url}/bays/"), "rel": "bookmark" },
            ])
        );
        assert!(version.get("containers").is_some() && version.get("nodes").is_none());
    }
    assert_eq!(server.get("/v1/openapi.json").expect(200)["openapi"], "3.1.0");
}

#[test]
fn paths_work_in_every_form_and_never_redirect() {
    let server = Server::start(Options::fake());
    for path in ["/v1/bays", "/v1/bays/", "/bays", "/bays/", "/v1/bays/?limit=3", "/bays?limit=3"] {
        let answer = server.get(path);
        assert_eq!(answer.header("content-type"), "application/json; charset=UTF-8");
        assert_eq!(answer.expect(200), json!({ "bays": [] }), "{path}");
    }
    for path in ["/v1/x", "/x", "/v1/bays/a/b/c", "/v2/bays", "/v1/services", "/v1/mservices"] {
        refused(&server.get(path), 404);
    }
    for (method, path) in [
        (Method::PUT, "/v1/bays"),
        (Method::PUT, "/v1/bays/b"),
        (Method::DELETE, "/v1/bays"),
        (Method::POST, "/v1/containers/c/start"),
        (Method::GET, "/v1/containers/c/start"),
        (Method::PUT, "/v1/containers/c/logs"),
        (Method::PATCH, "/healthz"),
    ] {
        let answer = server.send(method, path, &[], None);
        refused(&answer, 405);
        assert!(!answer.header("allow").is_empty());
    }
}

#[test]
fn options_says_which_methods_a_path_has() {
    let server = Server::start(Options::fake());
    let document = server.get("/v1/openapi.json").expect(200);
    let asked = |path: &str| server.send(Method::OPTIONS, path, &[], None);
    let methods_of =
        |allow: &str| -> BTreeSet<String> { allow.split(", ").map(str::to_owned).collect() };
    for (path, operations) in document["paths"].as_object().unwrap() {
        let answer = asked(path);
        assert_eq!((answer.status, answer.text.as_str()), (204, ""), "{path}");
        let mut wanted: BTreeSet<_> =
            operations.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        wanted.extend(wanted.contains("GET").then(|| "HEAD".to_owned()));
        wanted.insert("OPTIONS".to_owned());
        assert_eq!(methods_of(answer.header("allow")), wanted, "{path}");
        let is_of_cors = |name: &str| name.starts_with("access-control-");
        assert!(!answer.headers.keys().any(|name| is_of_cors(name.as_str())), "{path}");
    }
    // As paths are written in other requests, with whatever arguments.
    for path in ["/v1/bays/", "/bays", "/v1/bays?min_position=x&at=%ff"] {
        assert_eq!(asked(path).header("allow"), "GET, HEAD, POST, OPTIONS", "{path}");
    }
    for path in ["/v1/services", "/v1/bays/b/c/d", "/v2", "/metrics/x"] {
        refused(&asked(path), 404);
    }
    // A method that a path has not is told the same.
    let answer = server.put("/v1/bays");
    refused(&answer, 405);
    assert_eq!(answer.header("allow"), "GET, HEAD, POST, OPTIONS");
}

#[test]
fn bodies_that_are_none_are_refused_with_what_is_wrong() {
    let server = Server::start(Options::fake());
    let before = head(&server);
    let deep = "[".repeat(100_000);
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(1 << 20));
    let cases: [(&[u8], u16, &str); 9] = [
        (b"", 400, "empty"),
        (b"{", 400, "JSON"),
        (b"[]", 400, "object"),
        (b"5", 400, "object"),
        (b"\"x\"", 400, "object"),
        (b"null", 400, "object"),
        (b"{\"name\": \"\xff\"}", 400, "UTF-8"),
        (deep.as_bytes(), 400, "JSON"),
        (large.as_bytes(), 413, "larger"),
    ];
    for collection in ["bays", "baymodels", "nodes", "containers"] {
        for (body, status, words) in cases {
            let (got, text) = post(&server, &format!("/v1/{collection}"), body);
            assert_eq!(got, status, "{collection}: {text}");
            assert!(text.contains("error_message") && text.contains(words), "{text}");
        }
    }
    assert_eq!(head(&server), before);
}

#[test]
fn what_is_no_http_is_no_fault_of_ours() {
    let server = Server::start(Options::fake());
    let plain = |path: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        raw(&server, request.as_bytes()).0
    };
    for path in [
        "/v1/bays/%ff",
        "/v1/bays/%00",
        "/v1/bays/a%0ab",
        "/v1/bays?limit=%ff",
        &format!("/v1/bays/{}", "x".repeat(300)),
    ] {
        assert_eq!(plain(path), 400, "{path}");
    }
    for path in ["/v1/bays/%zz", "/v1/bays/x%2fy", "//", "/v1//", "/v1/bays//x", "/../etc/passwd"] {
        let status = plain(path);
        assert!((200..500).contains(&status), "{path}: {status}");
    }
}

#[test]
fn every_answer_says_its_request_and_its_position() {
    let server = Server::start(Options::fake());
    let id = format!("req-{NOBODY}");
    for (given, same) in [(id.as_str(), true), ("req-x", false), ("x", false)] {
        for path in ["/v1/bays", "/v1/bays/x", "/nowhere"] {
            let answer = server.send(Method::GET, path, &[("x-openstack-request-id", given)], None);
            let told = answer.header("x-openstack-request-id");
            assert_eq!(told == given, same, "{told}");
            assert!(told.starts_with("req-"));
            assert!(answer.header("x-magnum-position").parse::<u64>().is_ok(), "{path}");
        }
    }
}

/// F52, rule P5: or it says by how much it is behind.
#[test]
fn a_read_waits_for_the_position_it_asks_for() {
    let server = Server::start(Options::fake().arg("--request-wait").arg("1"));
    let made = server.post("/v1/baymodels", &baymodel("a"));
    let position: u64 = made.header("x-magnum-position").parse().unwrap();
    let answer = server.get(&format!("/v1/baymodels/a?min_position={position}"));
    assert!(answer.header("x-magnum-position").parse::<u64>().unwrap() >= position);
    answer.expect(200);
    let answer = server.get("/v1/baymodels/a?min_position=999999");
    assert!(refused(&answer, 503).contains("behind 999999"));
    assert_eq!(answer.header("retry-after"), "1");
    refused(&server.get("/v1/baymodels?min_position=x"), 400);
}

/// What is made on the way is in the record, whether or not the views show it yet: others keep them
/// busy here.
#[test]
fn the_default_objects_are_made_however_short_answers_wait() {
    let server = Server::start(Options::fake().arg("--request-wait").arg("0"));
    let number = AtomicUsize::new(0);
    let others = || {
        for _ in 0..100 {
            let name = format!("a{}", number.fetch_add(1, Ordering::Relaxed));
            server.post("/v1/baymodels", &baymodel(&name)).expect(201);
        }
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(others);
        }
        for round in 0..20 {
            let bay = server.post("/v1/bays", &json!({})).expect(201);
            let container = json!({ "name": format!("c{round}"), "image_id": "i" });
            let container = server.post("/v1/containers", &container);
            assert!(matches!(container.status, 201 | 202), "{}", container.text);
            for uuid in [&bay["uuid"], &container.json["bay_uuid"]] {
                let path = format!("/v1/bays/{}", uuid.as_str().unwrap());
                wait_until("the bay to be gone", PATIENCE, || server.delete(&path).status == 404);
            }
            assert_eq!(server.delete("/v1/baymodels/default").status, 204);
        }
    });
}

#[test]
fn a_key_or_revision_that_is_none_is_refused() {
    let server = Server::start(Options::fake());
    let long = "x".repeat(256);
    for (name, value) in [("idempotency-key", ""), ("idempotency-key", &long), ("if-match", "x")] {
        let path = format!("/v1/baymodels/{NOBODY}");
        refused(&server.send(Method::DELETE, &path, &[(name, value)], None), 400);
    }
    server.post("/v1/baymodels", &baymodel("a")).expect(201);
    let patch = json!([{ "op": "replace", "path": "/flavor_id", "value": "m1" }]);
    for (revision, then) in [("0", "\"1\""), ("*", "\"1\""), ("W/\"1\"", "\"1\"")] {
        let headers = [("if-match", revision)];
        let answer = server.send(Method::PATCH, "/v1/baymodels/a", &headers, Some(&patch));
        assert_eq!(answer.header("etag"), then, "{}", answer.text);
    }
}

#[test]
fn the_reason_of_a_change_is_recorded() {
    let server = Server::start(Options::fake());
    let reason = [("x-magnum-reason", "because I can")];
    let uuid = server.send(Method::POST, "/v1/baymodels", &reason, Some(&baymodel("a")));
    let id = uuid.header("x-openstack-request-id").to_owned();
    let uuid = uuid.expect(201)["uuid"].as_str().unwrap().to_owned();
    let event =
        server.get(&format!("/v1/baymodels/{uuid}/history")).expect(200)["events"][0].take();
    assert_eq!(event["reason"], "because I can");
    assert_eq!(event["requestid"], id);
    assert_eq!(event["type"], "magnum.baymodel.created.v1");
    assert_eq!(event["project"], "default");
    assert_eq!(event["user"], "anonymous");
    assert_eq!(event["subject"], format!("baymodel/{uuid}"));
    assert_eq!(event["data"]["fields"]["name"], "a");
    let command: Value = serde_json::from_str(event["command"].as_str().unwrap()).unwrap();
    assert_eq!(command["create"]["fields"]["name"], "a");
    let long = "x".repeat(1025);
    let answer = server.send(
        Method::POST,
        "/v1/baymodels",
        &[("x-magnum-reason", &long)],
        Some(&baymodel("a")),
    );
    refused(&answer, 400);
}

/// Posts a good body with one bad field after the other: each is refused by its name, and nothing
/// is recorded.
#[track_caller]
pub fn refuses(server: &Http, collection: &str, good: &Value, bad: &[(&str, Value)]) {
    let before = head(server);
    for (field, value) in bad {
        let mut body = good.clone();
        body[field] = value.clone();
        let answer = server.post(&format!("/v1/{collection}"), &body);
        let words = refused(&answer, 400);
        let told = answer.json["errors"][0]["field"] == *field;
        assert!(told || words.contains("could not be found"), "{field} {value}: {words}");
    }
    assert_eq!(head(server), before, "something was recorded");
}

#[test]
fn no_bad_baymodel_gets_through() {
    let server = Server::start(Options::fake());
    let wrong = [json!([]), json!({}), json!(true), json!(""), json!("a\u{1b}b"), json!("a\u{0}b")];
    for field in [
        "uuid",
        "name",
        "coe",
        "image_id",
        "keypair_id",
        "flavor_id",
        "dns_nameserver",
        "apiserver_port",
        "docker_volume_size",
        "ssh_authorized_key",
    ] {
        let cases: Vec<_> = wrong.iter().map(|value| (field, value.clone())).collect();
        refuses(&server, "baymodels", &baymodel("x"), &cases);
    }
    let cases = [
        ("name", json!("x".repeat(256))),
        ("image_id", json!(null)),
        ("image_id", json!([5])),
        ("uuid", json!("b")),
        ("uuid", json!(NOBODY.to_uppercase())),
        ("dns_nameserver", json!("8.8.8")),
        ("apiserver_port", json!(1023)),
        ("apiserver_port", json!("65536")),
        ("docker_volume_size", json!(0)),
        ("docker_volume_size", json!(-1)),
        ("docker_volume_size", json!(1e300)),
    ];
    refuses(&server, "baymodels", &baymodel("x"), &cases);
}

#[test]
fn no_bad_bay_or_node_gets_through() {
    let server = Server::start(Options::fake());
    server.post("/v1/baymodels", &baymodel("bm")).expect(201);
    let cases = [
        ("node_count", json!(0)),
        ("node_count", json!("0")),
        ("node_count", json!(-3)),
        ("node_count", json!("x")),
        ("node_count", json!(1.5)),
        ("node_count", json!(99_999_999_999_u64)),
        ("node_count", json!("99999999999999999999999999")),
        ("node_count", json!({})),
        ("bay_create_timeout", json!(-1)),
        ("name", json!("a\u{7f}")),
        ("name", json!("x".repeat(256))),
        ("uuid", json!(5)),
        ("baymodel_id", json!("nobody")),
        ("baymodel_id", json!(["bm"])),
        ("api_address", json!("x")),
        ("node_addresses", json!(["x"])),
    ];
    refuses(&server, "bays", &json!({ "baymodel_id": "bm" }), &cases);
    let cases = [("type", json!([5])), ("image_id", json!([])), ("uuid", json!("x"))];
    refuses(&server, "nodes", &json!({}), &cases);
}

#[test]
fn no_bad_container_gets_through() {
    let server = Server::start(Options::fake());
    let cases = [
        ("image_id", json!(null)),
        ("image_id", json!("a b")),
        ("image_id", json!("BusyBox:local")),
        ("image_id", json!("a/../b")),
        ("image_id", json!(format!("{}:{}", "a".repeat(247), "t".repeat(129)))),
        ("name", json!("a\tb")),
        ("name", json!("x".repeat(256))),
        ("bay_uuid", json!("b")),
        ("bay_uuid", json!(NOBODY)),
        ("command", json!("echo 'a")),
        ("command", json!(5)),
        ("environment", json!("A=1")),
        ("environment", json!(["A"])),
        ("environment", json!({ "A=B": "1" })),
        ("environment", json!({ "A": [1] })),
        ("ports", json!("80")),
        ("ports", json!(["x"])),
        ("ports", json!([99_999])),
        ("ports", json!([-1])),
        ("labels", json!(5)),
        ("memory", json!("1m")),
        ("memory", json!("lots")),
        ("memory", json!(-5)),
        ("cpu", json!(64)),
        ("cpu", json!(-1)),
        ("cpu", json!("NaN")),
        ("workdir", json!("relative")),
        ("user", json!(-5)),
        ("restart_policy", json!("sometimes")),
    ];
    refuses(&server, "containers", &json!({ "image_id": "busybox" }), &cases);
}

#[test]
fn a_page_in_a_browser_cannot_change_anything() {
    let server = Server::start(Options::fake());
    let post = |origin: &str| {
        server.send(Method::POST, "/v1/baymodels", &[("origin", origin)], Some(&baymodel("x")))
    };
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let answer = post(origin);
        assert!(answer.header("x-magnum-position").parse::<u64>().is_ok());
        assert!(refused(&answer, 403).contains("origin"));
    }
    post(server.url()).expect(201);
}

#[test]
fn no_bad_argument_gets_through() {
    let server = Server::start(Options::fake());
    let before = head(&server);
    for (path, words) in [
        ("/v1/bays?limit=0", "Limit must be positive"),
        ("/v1/bays?limit=-1", "Limit must be positive"),
        ("/v1/bays?limit=x", "limit"),
        (
            "/v1/bays?sort_dir=up",
            "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'",
        ),
        ("/v1/bays?sort_key=bogus", "sort_key"),
        ("/v1/bays?marker=b", "Expected a uuid but received b."),
        ("/v1/bays?bogus=1", "Unknown argument: \"bogus\""),
        ("/v1/bays?min%5Fposition=x", "min_position"),
        ("/v1/bays/b?bogus=1", "Unknown argument: \"bogus\""),
        ("/v1/nodes/b", "Expected a uuid but received b."),
        ("/v1/events?after=x", "after"),
        ("/v1/events?after=-1", "after"),
        ("/v1/events?limit=0", "Limit must be positive"),
        ("/v1/events?kind=service", "kind"),
        ("/v1/events?type=x", "type"),
        ("/v1/events?object=x", "object"),
        ("/v1/events/stream?after=999999", "ends at position"),
        ("/v1/containers/c/logs?tail=x", "tail"),
        ("/v1/containers/c/logs?since=yesterday", "since"),
        ("/v1/containers/c/logs?follow=perhaps", "follow"),
        ("/v1/baymodels/b?at=x", "at"),
    ] {
        let told = refused(&server.get(path), 400);
        assert!(told.contains(words), "{path}: {told}");
    }
    for (path, words) in [
        ("/v1/containers/c/stop?timeout=1.5", "timeout"),
        ("/v1/containers/c/stop?timeout=99999999999", "timeout"),
        ("/v1/containers/c/kill?signal=SIGFOO", "signal"),
        ("/v1/containers/c/execute", "Missing argument: \"command\""),
        ("/v1/containers/c/execute?command=", "command"),
        ("/v1/containers/c/execute?command=echo+'a", "command"),
        ("/v1/containers/c/start?bogus=1", "Unknown argument"),
    ] {
        let told = refused(&server.put(path), 400);
        assert!(told.contains(words), "{path}: {told}");
    }
    for (id, status) in [("x", 404), (&*"x".repeat(300), 400)] {
        refused(&server.delete(&format!("/v1/containers/c/executions/{id}")), status);
    }
    for collection in ["bays", "baymodels", "nodes", "containers"] {
        for path in
            [format!("/v1/{collection}/{NOBODY}"), format!("/v1/{collection}?marker={NOBODY}")]
        {
            assert!(refused(&server.get(&path), 404).contains(NOBODY), "{path}");
        }
        let path = format!("/v1/{collection}/{NOBODY}");
        refused(&server.get(&format!("{path}/history")), 404);
        refused(&server.get(&format!("{path}?at=1")), 404);
        refused(&server.delete(&path), 404);
        refused(&server.patch(&path, &json!([])), 404);
    }
    assert_eq!(head(&server), before, "something was recorded");
}

#[test]
fn it_says_how_it_is() {
    let server = Server::start(Options::fake());
    assert_eq!(server.get("/healthz").expect(200), json!({ "status": "ok" }));
    let ready = server.get("/readyz").expect(200);
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["problems"], json!([]));
    assert!(ready["head"].as_u64().unwrap() > 0);
    server.get("/v1/bays/nobody");
    let is_even = |text: &str| text.lines().any(|line| line == "magnum_views_lag 0");
    wait_until("the views to be there", PATIENCE, || is_even(&server.get("/metrics").text));
    let metrics = server.get("/metrics");
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "magnum_http_requests_total{method=\"GET\",route=\"/v1/bays/{ident}\",status=\"404\"} 1",
        "magnum_objects{kind=\"node\"} 1",
        "magnum_log_healthy 1",
    ] {
        assert!(metrics.text.lines().any(|other| other == line), "{line}\n{}", metrics.text);
    }
}

#[test]
fn a_command_may_come_in_the_body() {
    let server = Server::start(Options::fake());
    server.post("/v1/containers", &json!({ "name": "c", "image_id": "busybox" })).expect(201);
    server.put("/v1/containers/c/start").expect(200);
    let path = "/v1/containers/c/execute";
    let execute = |path: &str, body: Value| server.send(Method::PUT, path, &[], Some(&body));
    for command in [json!("echo '#a b'"), json!(["echo", "#a b"])] {
        let done = execute(path, json!({ "command": command })).expect(200);
        assert_eq!(done["output"], "#a b\n");
    }
    let long = "x".repeat(66_000);
    let done = execute(path, json!({ "command": ["echo", long] })).expect(200);
    assert_eq!(done["output"], format!("{long}\n"));
    for (path, body, words) in [
        (path, json!({ "command": "echo 'a" }), "unclosed quote"),
        (path, json!({ "command": [] }), "empty"),
        (path, json!({}), "Missing argument"),
        (path, json!({ "command": "id", "tty": true }), "nothing else"),
        ("/v1/containers/c/execute?command=id", json!({ "command": "id" }), "twice"),
    ] {
        let told = refused(&execute(path, body.clone()), 400);
        assert!(told.contains(words), "{body}: {told}");
    }
    // A form only with what no page sends without asking first.
    let form = |header: &str| {
        let body = "command=echo+%23a";
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(&server, request.as_bytes())
    };
    let (status, answer) = form("X-Auth-Token: t\r\n");
    assert!(status == 200 && answer.contains(r##""output":"#a\n""##), "{answer}");
    assert_eq!(form("").0, 415);
}

#[test]
fn values_are_taken_as_they_are_commonly_written() {
    let server = Server::start(Options::fake());
    let made = |field: &str, value: Value| {
        let body = json!({ "image_id": "busybox", field: value });
        server.post("/v1/containers", &body).expect(201)[field].take()
    };
    for (field, written, shown) in [
        ("name", json!(2015), json!("2015")),
        ("desc", json!("one\n\ttwo"), json!("one\n\ttwo")),
        ("user", json!(1000), json!("1000")),
        ("restart_policy", json!(false), json!("no")),
        ("memory", json!("1.5g"), json!(1_610_612_736)),
        ("memory", json!(0), Value::Null),
        ("cpu", json!("0"), Value::Null),
        ("command", json!(["sleep", 600]), json!("sleep 600")),
        ("command", json!("echo #a"), json!("echo '#a'")),
        ("labels", json!({ "a": null }), json!({ "a": "" })),
    ] {
        assert_eq!(made(field, written.clone()), shown, "{field} {written}");
    }
    let ports = made("ports", json!(["0:80", { "container_port": 81, "host_port": 0 }]));
    assert_eq!((&ports[0]["host_port"], &ports[1]["host_port"]), (&Value::Null, &Value::Null));
    // Raw, because a JSON library would round the numbers.
    let body = r#"{"name": "n", "image_id": "busybox", "command": "env",
        "environment": {"ID": 12345678901234567890123, "RATE": 1.10, "GONE": null}}"#;
    assert_eq!(post(&server, "/v1/containers", body.as_bytes()).0, 201);
    server.put("/v1/containers/n/start").expect(200);
    wait_until("its output", PATIENCE, || {
        server.get("/v1/containers/n/logs").expect(200)["output"] != ""
    });
    let logs = |query: &str| {
        let logs = server.get(&format!("/v1/containers/n/logs?{query}")).expect(200);
        logs["output"].as_str().unwrap().to_owned()
    };
    assert_eq!(logs("tail=all"), "ID=12345678901234567890123\nRATE=1.10\n");
    assert_eq!(logs("since=10m"), logs(""));
    assert_eq!(logs("until=2015-05-21T20:46:13"), "");
    assert_eq!(logs("until=0s&since=2015-05-21"), logs(""));
    for (path, words) in [
        ("n/logs?until=yesterday", "until"),
        ("n/stop?timeout=1.5", "timeout"),
        ("n/kill?signal=SIGRTMIN%2B16", "signal"),
    ] {
        let method = if path.contains("logs") { Method::GET } else { Method::PUT };
        let answer = server.send(method, &format!("/v1/containers/{path}"), &[], None);
        assert!(refused(&answer, 400).contains(words), "{path}");
    }
}

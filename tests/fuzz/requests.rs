//! Requests to a running server: bytes that are nearly a request, and requests of which a
//! parameter, a header or a field is not as it should be. It stays healthy, and each answer has a
//! status that `schemas/openapi.json` has for it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::option;
use proptest::sample::select;
use proptest::strategy::Strategy;
use serde_json::{Value, json};

use crate::mutation;
use crate::server::Server;
use crate::{CASES, fuzz};

/// Stands for the server's own address, and has its length.
const HERE: &str = "127.0.0.1:PORT5";

/// A request that another server would get may get this: what is no HTTP at all, or of a form that
/// no operation has. The server's own layers answer before there is an operation.
const OF_NO_OPERATION: [u16; 6] = [400, 404, 405, 414, 421, 431];

fn requests() -> Vec<Vec<u8>> {
    let body = r#"{"name": "w", "image_id": "i", "ports": ["80"], "labels": {"a": "b"}}"#;
    let length = body.len();
    let post = format!(
        "POST /v1/containers HTTP/1.1\r\nHost: {HERE}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nPrefer: respond-async\r\nIdempotency-Key: k-1\r\n\
         X-Magnum-Reason: why\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let chunked = format!(
        "POST /v1/bays HTTP/1.1\r\nHost: {HERE}\r\nConnection: close\r\nContent-Type: \
         application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\n{{\"a\":1\r\n1\r\n}}\r\n0\r\n\r\n"
    );
    let get = |path: &str, rest: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {HERE}\r\nConnection: close\r\n{rest}\r\n")
    };
    let socket = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let mut upgrade =
        get("/v1/events/stream?after=0&kind=bay", socket).replace("close", "x").into_bytes();
    // A text, a ping and a close, masked with zeros.
    upgrade.extend(b"\x81\x82\0\0\0\0hi\x89\x80\0\0\0\0\x88\x82\0\0\0\0\x03\xe8");
    let texts = [
        post,
        chunked,
        get("/v1/bays?limit=2&sort_key=name&sort_dir=asc&marker=x", "If-None-Match: \"1\"\r\n"),
        get("http://127.0.0.1:PORT5/v1/containers/web?at=v:1", "Cookie: magnum_session=x\r\n"),
        get("/v1/events?kind=bay&type=bay.created&after=0&limit=3", "X-Auth-Token: t\r\n"),
        get("/v1/events/stream?after=0", "Accept: text/event-stream\r\nLast-Event-ID: 3\r\n"),
        get("/v1/bays/%62", "Forwarded: for=1.2.3.4;host=x\r\nX-Forwarded-Host: a\r\n"),
        get("/v1/replay/find?among=bay&condition=status%3D%3D%22x%22", "Range: bytes=0-\r\n"),
        format!("OPTIONS * HTTP/1.1\r\nHost: {HERE}\r\nExpect: 100-continue\r\n\r\n"),
        format!("DELETE /v1/bays/x HTTP/1.1\r\nHost: {HERE}\r\nIf-Match: \"3\"\r\n\r\n"),
    ];
    texts.into_iter().map(String::into_bytes).chain([upgrade]).collect()
}

/// The bytes with the server's address for its place.
fn addressed(bytes: &[u8], server: &Server) -> Vec<u8> {
    // As long as the place, so that lengths and places stay.
    let address = format!("{:<15}", server.address);
    let mut bytes = bytes.to_vec();
    let places = bytes.windows(HERE.len()).enumerate().filter(|(_, at)| *at == HERE.as_bytes());
    let places: Vec<usize> = places.map(|(at, _)| at).collect();
    for at in places {
        bytes[at..at + HERE.len()].copy_from_slice(address.as_bytes());
    }
    bytes
}

#[test]
fn bytes_of_requests() {
    let server = Server::start(&[]);
    let known = documented(|_, _| true);
    fuzz(CASES, mutation::bytes(requests()), |bytes| {
        let answer = server.send(&addressed(&bytes, &server));
        answer.is_plain();
        let is_known = answer.status == 0 || known.contains(&answer.status);
        let is_known = is_known || OF_NO_OPERATION.contains(&answer.status);
        assert!(is_known && answer.status < 500, "{}: {}", answer.status, answer.text);
        server.is_healthy();
    });
    server.was_well();
}

/// The statuses that the document has for some operations.
fn documented(is_wanted: impl Fn(&str, &str) -> bool) -> BTreeSet<u16> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut found = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if let Some(answers) = operation["responses"].as_object()
                && is_wanted(method, path)
            {
                found.extend(answers.keys().map(|status| status.parse::<u16>().unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// A method, a path as in the document, and the parameters that it takes.
type Operation = (&'static str, &'static str, &'static [&'static str]);

const FILTERS: &[&str] = &[
    "after",
    "since",
    "limit",
    "kind",
    "object",
    "subject",
    "bay",
    "type",
    "project",
    "user",
    "request_id",
    "outcome",
    "snapshot",
];
const LISTS: &[&str] =
    &["limit", "marker", "sort_key", "sort_dir", "name", "status", "at", "min_position"];
const DEBUGGER: &[&str] = &["at", "from", "to", "field", "commands", "without", "limit", "related"];

const OPERATIONS: [Operation; 16] = [
    ("get", "/v1/events", FILTERS),
    ("get", "/v1/events/stream", FILTERS),
    ("get", "/v1/containers", LISTS),
    ("get", "/v1/bays/detail", LISTS),
    ("get", "/v1/bays/{ident}", &["at", "min_position"]),
    ("get", "/v1/bays/{ident}/diff", DEBUGGER),
    ("get", "/v1/bays/{ident}/what-if", DEBUGGER),
    ("get", "/v1/bays/{ident}/blame", DEBUGGER),
    ("get", "/v1/trace/{ident}", DEBUGGER),
    ("get", "/v1/containers/{ident}/logs", &["tail", "since", "timestamps", "follow"]),
    ("put", "/v1/containers/{ident}/stop", &["timeout"]),
    ("put", "/v1/containers/{ident}/kill", &["signal"]),
    ("put", "/v1/containers/{ident}/execute", &["command"]),
    ("delete", "/v1/bays/{ident}", &[]),
    ("post", "/v1/containers", &[]),
    ("patch", "/v1/bays/{ident}", &[]),
];

/// What may be right for some parameter or header.
const VALUES: [&str; 22] = [
    "1",
    "0",
    "v:1",
    "latest",
    "-1",
    "18446744073709551616",
    "2015-05-21T20:46:13.25+02:00",
    "9999-12-31T23:59:60Z",
    "container",
    "bay/b",
    "name",
    "asc",
    "b",
    "1.5",
    "\"1\"",
    "W/\"1\"",
    "respond-async, wait=3",
    "019ab6d4-0000-7ddb-b143-0c6e8259f7bb",
    "bay.created",
    "SIGTERM",
    "sh -c 'echo \"a",
    "%C3%A9\u{202e}é",
];

const HEADERS: [&str; 16] = [
    "If-Match",
    "If-None-Match",
    "Prefer",
    "Last-Event-ID",
    "Idempotency-Key",
    "X-Magnum-Reason",
    "X-Openstack-Request-Id",
    "X-Auth-Token",
    "Authorization",
    "Cookie",
    "X-CSRF-Token",
    "Accept",
    "Content-Type",
    "Origin",
    "Sec-Fetch-Site",
    "X-Forwarded-Proto",
];

fn container() -> Value {
    json!({
        "name": "web", "image_id": "busybox:1", "command": "sh -c 'echo a'", "memory": "64m",
        "ports": ["80", "127.0.0.1:8080:80/udp", "[::1]:9000-9001:1-2", { "container_port": 1 }],
        "labels": { "tier": "front" }, "environment": { "A": "b" }, "cpus": 0.5,
        "restart_policy": "on-failure:3", "user": "0:0", "working_dir": "/",
        "uuid": "019ab6d4-0000-7ddb-b143-0c6e8259f7bb", "bay_uuid": "b",
    })
}

fn patch() -> Value {
    json!([
        { "op": "replace", "path": "/name", "value": "x" },
        { "op": "add", "path": "/desc", "value": "d" },
        { "op": "remove", "path": "/desc" },
    ])
}

/// A few names of a list, each with a value.
fn named(most: usize) -> impl Strategy<Value = Vec<(usize, String)>> {
    vec((0..64_usize, mutation::text(&VALUES)), 0..most)
}

/// Percent-encodes what has no place in a path.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[test]
fn requests_with_odd_parameters_headers_and_bodies() {
    let server = Server::start(&[]);
    let bay = "POST /v1/bays HTTP/1.1\r\nHost: 127.0.0.1:PORT5\r\nConnection: close\r\n\
               Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"name\":\"b\"}";
    assert_eq!(server.ask(&addressed(bay.as_bytes(), &server)).status, 201);
    let ident = mutation::text(&["b", "web", "019ab6d4-0000-7ddb-b143-0c6e8259f7bb", "req-1"]);
    let body = option::of((mutation::document(container()), mutation::document(patch())));
    let asked = (select(OPERATIONS.to_vec()), ident, named(4), named(3), body);
    fuzz(CASES, asked, |((method, template, names), ident, query, headers, body)| {
        let path = template.replace("{ident}", &encoded(&ident).replace('+', "%20"));
        let name = |at: usize| names.get(at % names.len().max(1)).copied().unwrap_or("x");
        let query: Vec<String> =
            query.iter().map(|(at, value)| format!("{}={}", name(*at), encoded(value))).collect();
        let mut head = format!(
            "{} {path}?{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            method.to_uppercase(),
            query.join("&"),
            server.address,
        );
        for (at, value) in &headers {
            head += &format!("{}: {value}\r\n", HEADERS[at % HEADERS.len()]);
        }
        let body = match (method, body) {
            ("post", Some((container, _))) => container.to_string(),
            ("patch", Some((_, patch))) => patch.to_string(),
            _ => String::new(),
        };
        if !body.is_empty() && !head.contains("Content-Type") {
            head += "Content-Type: application/json\r\n";
        }
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = server.send(request.as_bytes());
        answer.is_plain();
        // An identifier may lead to another path, or to none.
        let known = documented(|of, path| of == method && path == template);
        let is_known = answer.status == 0 || known.contains(&answer.status);
        let is_known = is_known || OF_NO_OPERATION.contains(&answer.status);
        // A position that is not there yet is waited for.
        let is_fault = answer.status >= 500 && !request.contains("min_position=");
        assert!(is_known && !is_fault, "{request:?}: {} {}", answer.status, answer.text);
        server.is_healthy();
    });
    server.was_well();
}

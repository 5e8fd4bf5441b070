//! The command line against a server that records what it is asked and answers what it is told:
//! the requests of the 2015 contract, what is printed, exit codes. Not here: the real server
//! (one file a noun).

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode};
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::harness::Done;

const UUID: &str = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    line: String,
    headers: HeaderMap,
    body: Value,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| std::str::from_utf8(value.as_bytes()).unwrap())
    }
}

/// What is answered to a request line; in order where there are several, the last one forever.
#[derive(Clone)]
struct Canned {
    line: &'static str,
    status: u16,
    content_type: &'static str,
    body: String,
    /// Whether the connection stays open after the body.
    open: bool,
}

fn answer(line: &'static str, status: u16, body: Value) -> Canned {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    Canned { line, status, content_type: "application/json; charset=UTF-8", body, open: false }
}

fn ok(line: &'static str, body: Value) -> Canned {
    answer(line, 200, body)
}

fn text(line: &'static str, content_type: &'static str, body: &str) -> Canned {
    Canned { line, status: 200, content_type, body: body.to_owned(), open: false }
}

/// A refusal in the shape of the contract.
fn refusal(line: &'static str, status: u16, code: &str, words: &str) -> Canned {
    let fault = json!({"debuginfo": null, "faultcode": "Client", "faultstring": words});
    let item = json!({"status": status, "code": code, "title": "t", "detail": words, "links": []});
    answer(line, status, json!({"error_message": fault.to_string(), "errors": [item]}))
}

#[derive(Clone)]
struct Shared {
    canned: Arc<Mutex<VecDeque<Canned>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Server {
    url: String,
    shared: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start(canned: Vec<Canned>) -> Self {
        let canned = Arc::new(Mutex::new(canned.into()));
        let shared = Shared { canned, seen: Arc::default() };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, _runtime: runtime }
    }

    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = magnum(args);
        command.env("MAGNUM_URL", &self.url);
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let seen = Seen { line: line.clone(), headers: parts.headers, body };
    shared.seen.lock().unwrap().push(seen);
    let mut canned = shared.canned.lock().unwrap();
    let mut matching = canned.iter().enumerate().filter(|(_, canned)| canned.line == line);
    let (first, another) = (matching.next().map(|(at, _)| at), matching.next().is_some());
    let Some(at) = first else {
        let status = StatusCode::IM_A_TEAPOT;
        return Response::builder().status(status).body(Body::empty()).unwrap();
    };
    let response = |canned: &Canned| {
        Response::builder()
            .status(canned.status)
            .header("content-type", canned.content_type)
            .body(canned_body(canned))
            .unwrap()
    };
    if another { response(&canned.remove(at).unwrap()) } else { response(&canned[at]) }
}

fn canned_body(canned: &Canned) -> Body {
    if !canned.open {
        return Body::from(canned.body.clone());
    }
    let first: Result<_, std::convert::Infallible> = Ok(canned.body.clone());
    Body::from_stream(stream::iter([first]).chain(stream::pending()))
}

/// The program with nothing around it: no variables, no terminal, nothing on stdin.
fn magnum(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(args).env_clear().env("COLUMNS", "100").stdin(Stdio::null());
    command
}

/// Compares with a file that `MAGNUM_BLESS=1` writes.
fn golden(name: &str, actual: &str) {
    crate::harness::golden(&format!("cli/{name}"), actual);
}

fn bay() -> Value {
    json!({
        "uuid": UUID, "name": "b", "baymodel_id": UUID, "node_count": 3,
        "status": "CREATE_COMPLETE", "discovery_url": null, "node_addresses": ["10.0.0.2"],
        "links": [{"href": "http://h/v1/bays/x", "rel": "self"}],
    })
}

fn container(status: &str) -> Value {
    json!({
        "uuid": UUID, "name": "web", "image_id": "busybox", "status": status, "oom_killed": false,
        "environment": {"A": "***"}, "status_reason": null, "links": [],
    })
}

/// Runs a command and checks the requests that it makes: their lines and bodies.
fn requests(canned: Vec<Canned>, args: &[&str], expected: &[(&str, Value)]) {
    let server = Server::start(canned);
    let done = server.run(args);
    let seen: Vec<_> = server.seen().into_iter().map(|seen| (seen.line, seen.body)).collect();
    let expected: Vec<_> =
        expected.iter().map(|(line, body)| ((*line).to_owned(), body.clone())).collect();
    assert_eq!(seen, expected, "{args:?}");
    assert_eq!(done.code, 0, "{args:?}: {done:?}");
}

#[test]
fn bays_are_asked_for_as_in_2015() {
    let list = || vec![ok("GET /v1/bays", json!({"bays": [bay()]}))];
    requests(list(), &["bay-list"], &[("GET /v1/bays", Value::Null)]);

    let make = || {
        vec![
            ok("GET /v1/baymodels/km", json!({"uuid": UUID, "name": "km"})),
            answer("POST /v1/bays", 201, bay()),
        ]
    };
    let body = json!({"name": "b", "node_count": "3", "discovery_url": null, "baymodel_id": UUID,
        "bay_create_timeout": null});
    let expected = [("GET /v1/baymodels/km", Value::Null), ("POST /v1/bays", body)];
    requests(
        make(),
        &["bay-create", "--name", "b", "--baymodel", "km", "--node-count", "3"],
        &expected,
    );
    // As the clients of March 2015 and of 2014 spelt it.
    requests(
        make(),
        &["bay-create", "--name", "b", "--baymodel-id", "km", "--node_count", "3"],
        &expected,
    );
    let seed = json!({"name": "b", "node_count": "3", "discovery_url": null,
        "bay_create_timeout": "15", "type": "virt", "image_id": "Fedora"});
    requests(
        make(),
        &[
            "bay-create",
            "--name",
            "b",
            "--type",
            "virt",
            "--image_id",
            "Fedora",
            "--node_count",
            "3",
            "--timeout",
            "15",
        ],
        &[("POST /v1/bays", seed)],
    );

    let show = || vec![ok("GET /v1/bays/b", bay())];
    requests(show(), &["bay-show", "b"], &[("GET /v1/bays/b", Value::Null)]);
    requests(show(), &["bay-show", "--id", "b"], &[("GET /v1/bays/b", Value::Null)]);

    let change = || vec![ok("PATCH /v1/bays/b", bay())];
    let patch = json!([{"path": "/node_count", "value": 4, "op": "replace"}]);
    requests(
        change(),
        &["bay-update", "b", "replace", "node_count=4"],
        &[("PATCH /v1/bays/b", patch)],
    );
    let patch = json!([{"path": "/name", "op": "remove"}]);
    requests(change(), &["bay-update", "b", "remove", "name"], &[("PATCH /v1/bays/b", patch)]);

    let gone = vec![
        answer("DELETE /v1/bays/a", 204, Value::Null),
        answer("DELETE /v1/bays/b", 204, Value::Null),
        refusal("GET /v1/bays/a", 404, "not-found", "Bay a could not be found."),
        refusal("GET /v1/bays/b", 404, "not-found", "Bay b could not be found."),
    ];
    let lines = ["DELETE /v1/bays/a", "GET /v1/bays/a", "DELETE /v1/bays/b", "GET /v1/bays/b"];
    requests(gone, &["bay-delete", "a", "b"], &lines.map(|line| (line, Value::Null)));
}

#[test]
fn baymodels_and_nodes_are_asked_for_as_in_2015() {
    let made = || answer("POST /v1/baymodels", 201, json!({"uuid": UUID, "links": []}));
    let body = json!({"name": "km", "image_id": "i", "keypair_id": "k", "external_network_id": "n",
        "coe": "kubernetes", "flavor_id": "m1.medium", "master_flavor_id": null,
        "fixed_network": null, "dns_nameserver": "8.8.8.8", "docker_volume_size": "5",
        "ssh_authorized_key": null});
    requests(
        vec![made()],
        &[
            "baymodel-create",
            "--name",
            "km",
            "--image-id",
            "i",
            "--keypair-id",
            "k",
            "--external-network-id",
            "n",
            "--coe",
            "kubernetes",
            "--docker-volume-size",
            "5",
        ],
        &[("POST /v1/baymodels", body)],
    );
    requests(
        vec![ok("GET /v1/baymodels/km", json!({"uuid": UUID}))],
        &["baymodel-show", "km"],
        &[("GET /v1/baymodels/km", Value::Null)],
    );
    requests(
        vec![answer("DELETE /v1/baymodels/km", 204, Value::Null)],
        &["baymodel-delete", "km"],
        &[("DELETE /v1/baymodels/km", Value::Null)],
    );
    requests(
        vec![answer("POST /v1/nodes", 201, json!({"uuid": UUID}))],
        &["node-create", "--type", "virt", "--image_id", "Fedora"],
        &[("POST /v1/nodes", json!({"type": "virt", "image_id": "Fedora"}))],
    );
    requests(
        vec![ok("GET /v1/nodes", json!({"nodes": []}))],
        &["node-list"],
        &[("GET /v1/nodes", Value::Null)],
    );
}

#[test]
fn a_list_is_of_a_bay_by_option_and_by_filter() {
    let line = "GET /v1/containers/?bay_ident=web";
    let list = || ok(line, json!({"containers": []}));
    for args in [["--bay", "web"], ["--filter", "bay=web"]] {
        let args = [&["container-list"][..], &args].concat();
        requests(vec![list()], &args, &[(line, Value::Null)]);
    }
}

#[test]
fn container_actions_are_asked_for_as_in_2015() {
    for verb in ["start", "stop", "reboot", "pause", "unpause", "kill"] {
        let line = format!("PUT /v1/containers/c1/{verb}").leak();
        let command = format!("container-{verb}");
        requests(vec![ok(line, json!(null))], &[&command, "c1"], &[(line, Value::Null)]);
    }
    let line = "PUT /v1/containers/c1/stop?timeout=3";
    requests(
        vec![ok(line, Value::Null)],
        &["container-stop", "--timeout", "3", "c1"],
        &[(line, Value::Null)],
    );
    let line = "PUT /v1/containers/c1/kill?signal=SIGTERM";
    requests(
        vec![ok(line, Value::Null)],
        &["container-kill", "c1", "--signal", "SIGTERM"],
        &[(line, Value::Null)],
    );
    let line = "PUT /v1/containers/c1/execute?command=ls+-l+%2Ftmp";
    requests(
        vec![ok(line, json!({"output": "x"}))],
        &["container-execute", "--command", "ls -l /tmp", "c1"],
        &[(line, Value::Null)],
    );
    let line = "DELETE /v1/containers/c1/executions/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    requests(
        vec![answer(line, 204, Value::Null)],
        &["container-execution-end", "c1", UUID],
        &[(line, Value::Null)],
    );
    let line = "GET /v1/containers/c1/logs?tail=2&since=1&timestamps=1";
    requests(
        vec![ok(line, json!({"output": "x"}))],
        &["container-logs", "c1", "--tail", "2", "--since", "1", "--timestamps"],
        &[(line, Value::Null)],
    );
    let line = "DELETE /v1/containers/a%20b%2Fc%25%3F";
    requests(
        vec![answer(line, 204, Value::Null)],
        &["container-delete", "a b/c%?"],
        &[(line, Value::Null)],
    );
}

#[test]
fn running_commands_are_listed_and_a_missing_one_is_looked_up_there() {
    let running = json!({
        "id": UUID, "command": ["sh", "-c", "sleep 9"], "requested_at": "2015-05-21T20:46:13Z",
        "blocked_on": null, "blocked_since": null,
    });
    let list = ok("GET /v1/containers/c1/executions", json!({ "executions": [running] }));
    let line = "DELETE /v1/containers/c1/executions/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    let server = Server::start(vec![list, refusal(line, 404, "not-found", "none")]);
    golden("container-execution-list.txt", &server.run(&["container-execution-list", "c1"]).out);
    let ended = server.run(&["container-execution-end", "c1", UUID]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("Try: magnum container-execution-list c1"), "{ended:?}");
}

#[test]
fn containers_are_made_from_documents_from_flags_and_from_both() {
    let made = || answer("POST /v1/containers", 201, container("Stopped"));
    let document = r#"{"image_id": "ubuntu", "bay_uuid": "b", "command": "env", "name": "c1"}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.json");
    std::fs::write(&path, document).unwrap();
    let path = path.to_str().unwrap();
    let body: Value = serde_json::from_str(document).unwrap();
    let line = "POST /v1/containers";
    requests(vec![made()], &["container-create", "--json", path], &[(line, body.clone())]);

    let mut changed = body.clone();
    changed["name"] = json!("c2");
    changed["memory"] = json!("512m");
    requests(
        vec![made()],
        &["container-create", "--json", path, "--name", "c2", "--memory", "512m"],
        &[(line, changed)],
    );

    let server = Server::start(vec![made(), made()]);
    for args in [&["container-create"][..], &["container-create", "--json", "-"]] {
        let mut child = piped(server.command(args).stdin(Stdio::piped()));
        child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
        assert!(child.wait_with_output().unwrap().status.success());
        assert_eq!(server.seen()[0].body, body, "{args:?}");
    }

    let flags = json!({
        "name": "web", "image_id": "busybox", "command": "httpd -f", "bay_uuid": UUID,
        "environment": {"A": "1", "B": "x=y"}, "ports": ["8080:80/tcp", "53/udp"],
        "labels": {"tier": "front"}, "memory": "512m", "cpu": "0.5", "workdir": "/srv",
        "user": "nobody", "restart_policy": "on-failure:3",
    });
    requests(
        vec![ok("GET /v1/bays/b", bay()), made()],
        &[
            "container-create",
            "--name",
            "web",
            "--image",
            "busybox",
            "--command",
            "httpd -f",
            "--bay",
            "b",
            "--env",
            "A=1",
            "--env",
            "B=x=y",
            "--port",
            "8080:80/tcp",
            "--port",
            "53/udp",
            "--label",
            "tier=front",
            "--memory",
            "512m",
            "--cpu",
            "0.5",
            "--workdir",
            "/srv",
            "--user",
            "nobody",
            "--restart",
            "on-failure:3",
        ],
        &[("GET /v1/bays/b", Value::Null), (line, flags)],
    );
}

/// What stands on a command line can be read by every user of the machine.
#[test]
fn values_of_variables_come_from_the_environment_files_and_stdin() {
    let made = || answer("POST /v1/containers", 201, container("Stopped"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("variables");
    std::fs::write(&path, "# of the test\nA=file\nB=file\nOWN\n").unwrap();
    let path = path.to_str().unwrap();
    let server = Server::start(vec![made(), made()]);
    for (args, stdin, environment) in [
        (
            &["--env-file", path, "--env", "B=line", "--env", "PIN"][..],
            "",
            json!({"A": "file", "B": "line", "OWN": "own", "PIN": "7391"}),
        ),
        (
            &["--env-file", path, "--env-file", "-"],
            "A=in",
            json!({"A": "in", "B": "file", "OWN": "own"}),
        ),
    ] {
        let args = [&["container-create", "--image", "i"], args].concat();
        let mut command = server.command(&args);
        command.env("PIN", "7391").env("OWN", "own").stdin(Stdio::piped());
        let mut child = piped(&mut command);
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let done = Done::of(child.wait_with_output().unwrap());
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(server.seen()[0].body["environment"], environment, "{args:?}");
    }
    for (args, code, words) in [
        (&["--env", "NONE"][..], 2, "NONE is not set in the environment of this command"),
        (&["--env-file", "-", "--json", "-"], 2, "only one option can read stdin"),
        (&["--env-file", "/none"], 1, "/none: No such file"),
    ] {
        let done = server.run(&[&["container-create", "--image", "i"], args].concat());
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.err.contains(words), "{done:?}");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_document_with_an_unknown_key_is_refused_before_any_request() {
    let server = Server::start(vec![]);
    let mut child =
        piped(server.command(&["container-create", "--json", "-"]).stdin(Stdio::piped()));
    child.stdin.take().unwrap().write_all(b"{\"imgae\": \"x\"}").unwrap();
    let done = Done::of(child.wait_with_output().unwrap());
    assert_eq!(done.code, 1);
    assert!(done.err.starts_with("ERROR: stdin: unknown key imgae; Key must be in "), "{done:?}");
    assert!(server.seen().is_empty());
}

fn piped(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn lists_follow_pages_and_are_sorted_by_the_first_column() {
    let row = |uuid: &str| json!({"uuid": uuid, "name": null});
    let canned = || {
        vec![
            ok(
                "GET /v1/containers",
                json!({"containers": [row("c"), row("b")], "next": "http://elsewhere/"}),
            ),
            ok("GET /v1/containers/?marker=b", json!({"containers": [row("a")]})),
        ]
    };
    requests(
        canned(),
        &["container-list"],
        &[("GET /v1/containers", Value::Null), ("GET /v1/containers/?marker=b", Value::Null)],
    );
    let done = Server::start(canned()).run(&["container-list"]);
    golden("container-list-pages.txt", &done.out);
    let line = "GET /v1/containers/?limit=2&sort_key=name&sort_dir=desc&bay_ident=b&status=Running";
    requests(
        vec![ok(line, json!({"containers": [row("c"), row("b")], "next": "http://elsewhere/"}))],
        &[
            "container-list",
            "--limit",
            "2",
            "--sort-key",
            "name",
            "--sort-dir",
            "desc",
            "--bay",
            "b",
            "--filter",
            "status=Running",
        ],
        &[(line, Value::Null)],
    );
}

#[test]
fn results_look_as_they_did() {
    let server = Server::start(vec![
        ok("GET /v1/bays", json!({"bays": [bay(), {"uuid": "0", "name": null, "status": "x"}]})),
        ok("GET /v1/baymodels", json!({"baymodels": [{"uuid": UUID, "name": "km"}]})),
        ok(
            "GET /v1/nodes",
            json!({"nodes": [{"uuid": UUID, "type": "docker", "host": "n1",
            "status": "available", "cpus": 2, "image_id": null}]}),
        ),
        ok(
            "GET /v1/nodes/detail",
            json!({"nodes": [{"uuid": UUID, "type": "docker",
            "host": "n1", "status": "available", "cpus": null, "memory_bytes": 2048,
            "engine": "docker 20", "image_id": null, "status_reason": null}]}),
        ),
        ok("GET /v1/containers", json!({"containers": []})),
        ok("GET /v1/bays/b", bay()),
        ok("GET /v1/containers/web", container("Running")),
        ok("GET /v1/containers/web?at=v%3A1", container("Stopped")),
        ok(
            "GET /v1/containers/web/history",
            json!({"events": [{"position": "9", "subject": format!("container/{UUID}"),
                "type": "magnum.container.started.v1", "user": "anonymous", "requestid": "req-1",
                "time": "2015-05-21T20:46:13.000000+00:00", "reason": "it\u{1b}[31m's late"}]}),
        ),
    ]);
    for (name, args) in [
        ("bay-list.txt", &["bay-list"][..]),
        ("bay-list.json", &["bay-list", "-o", "json"]),
        ("baymodel-list.txt", &["baymodel-list"]),
        ("node-list.txt", &["node-list"]),
        ("node-list-wide.txt", &["node-list", "-o", "wide"]),
        ("container-list-empty.txt", &["container-list"]),
        ("bay-show.txt", &["bay-show", "b"]),
        ("bay-show.yaml", &["-o", "yaml", "bay-show", "b"]),
        ("container-show.txt", &["container-show", "web"]),
        ("container-show.json", &["container-show", "--json", "web"]),
        ("container-show-at.txt", &["container-show", "web", "--at", "v:1"]),
        ("container-history.txt", &["container-history", "web"]),
    ] {
        let done = server.run(args);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}");
        golden(name, &done.out);
    }
}

#[test]
fn output_is_printed_as_it_is() {
    let server = Server::start(vec![
        ok("GET /v1/containers/c/logs", json!({"output": "a\tb\u{1b}[0m\nc"})),
        ok("PUT /v1/containers/c/execute?command=true", json!({"output": "d", "exit_code": 0})),
        ok("PUT /v1/containers/c/execute?command=false", json!({"output": "e", "exit_code": 3})),
        text("GET /v1/containers/c/logs?follow=1", "text/plain", "one\ntwo\n"),
    ]);
    let logs = server.run(&["container-logs", "c"]);
    assert_eq!((logs.code, logs.out.as_str()), (0, "a\tb\u{1b}[0m\nc"));
    let good = server.run(&["container-execute", "c", "--command", "true"]);
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "d", ""));
    let bad = server.run(&["container-execute", "c", "--command", "false"]);
    assert_eq!((bad.code, bad.out.as_str(), bad.err.as_str()), (3, "e", ""));
    let follow = server.run(&["container-logs", "c", "--follow"]);
    assert_eq!((follow.code, follow.out.as_str()), (0, "one\ntwo\n"));
}

#[test]
fn refusals_are_told_with_what_to_do_next() {
    let server = Server::start(vec![
        refusal("GET /v1/bays/x", 404, "not-found", "Bay x could not be found."),
        refusal("PUT /v1/containers/c/start", 409, "illegal-transition", "It is paused."),
        answer("GET /v1/nodes", 503, Value::Null),
        text("GET /v1/baymodels", "text/html", "<html>"),
    ]);
    let told = |args: &[&str]| {
        let done = server.run(args);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{args:?}");
        done.err
    };
    assert_eq!(
        told(&["bay-show", "x"]),
        "ERROR: Bay x could not be found. (HTTP 404)\nTry: magnum bay-list\n"
    );
    let start = told(&["container-start", "c"]);
    let request = server.seen().pop().unwrap();
    let id = request.header("x-openstack-request-id").unwrap();
    assert_eq!(
        start,
        format!(
            "ERROR: Start for container c failed: It is paused. (HTTP 409)\n\
             Request id: {id}\nTry: magnum container-show c\n"
        )
    );
    assert_eq!(told(&["node-list"]), "ERROR: Service Unavailable (HTTP 503)\n");
    assert!(told(&["baymodel-list"]).contains("is it a Magnum server?"));
}

#[test]
fn one_failure_of_several_fails_but_all_are_tried() {
    let server = Server::start(vec![
        answer("DELETE /v1/bays/a", 204, Value::Null),
        refusal("DELETE /v1/bays/x", 404, "not-found", "Bay x could not be found."),
        answer("DELETE /v1/bays/b", 204, Value::Null),
        refusal("GET /v1/bays/a", 404, "not-found", "Bay a could not be found."),
        refusal("GET /v1/bays/b", 404, "not-found", "Bay b could not be found."),
    ]);
    let done = server.run(&["bay-delete", "a", "x", "b", "--idempotency-key", "k"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""));
    let words = "ERROR: Delete for bay x failed: Bay x could not be found. (HTTP 404)\n";
    let seen = server.seen();
    let refused = seen.iter().find(|seen| seen.line == "DELETE /v1/bays/x").unwrap();
    let id = refused.header("x-openstack-request-id").unwrap();
    assert_eq!(done.err, format!("{words}Request id: {id}\nTry: magnum bay-list\n"));
    let keys: Vec<_> = seen.iter().filter_map(|seen| seen.header("idempotency-key")).collect();
    assert_eq!(keys, ["k:a", "k:x", "k:b"]);
}

#[test]
fn no_server_is_said_in_words_and_how_to_start_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let done = Done::of(magnum(&["bay-list"]).env("MAGNUM_URL", &url).output().unwrap());
    assert_eq!(done.code, 1);
    let words = format!("ERROR: no Magnum server is reachable at {url} ");
    assert!(done.err.starts_with(&words), "{done:?}");
    assert!(done.err.contains("'magnum serve'") && done.err.contains("MAGNUM_URL"), "{done:?}");
}

#[test]
fn the_server_is_named_by_option_then_ours_then_the_old_variable() {
    let list = || ok("GET /v1/bays", json!({"bays": []}));
    let (right, wrong) = (Server::start(vec![list()]), "http://127.0.0.1:1");
    let v1 = format!("{}/v1/", right.url);
    for (args, variables) in [
        (vec!["--magnum-url", &v1, "bay-list"], vec![("MAGNUM_URL", wrong)]),
        (vec!["bay-list", "--bypass_url", &v1], vec![("MAGNUM_URL", wrong)]),
        (vec!["bay-list"], vec![("MAGNUM_URL", &*v1), ("BYPASS_URL", wrong)]),
        (vec!["bay-list"], vec![("BYPASS_URL", &*v1)]),
    ] {
        let done = Done::of(magnum(&args).envs(variables).output().unwrap());
        assert_eq!(done.code, 0, "{args:?} {done:?}");
    }
    let other = Done::of(magnum(&["bay-list", "--magnum-url", "ftp://h"]).output().unwrap());
    assert_eq!(other.code, 1);
    assert!(other.err.contains("https://HOST:PORT"), "{other:?}");
}

#[test]
fn what_is_said_of_a_change_goes_with_it_and_not_with_reads() {
    let server = Server::start(vec![
        ok("GET /v1/baymodels/km", json!({"uuid": UUID})),
        answer("POST /v1/bays", 202, bay()),
    ]);
    let done = server.run(&[
        "--os-username",
        "u",
        "--os-password=p",
        "--os_auth_url",
        "http://k/v2.0",
        "--os-cache",
        "--magnum-api-version",
        "1",
        "bay-create",
        "--baymodel",
        "km",
        "--reason",
        "für Jörg",
        "--no-wait",
        "--idempotency-key",
        "k1",
    ]);
    assert_eq!(done.code, 0, "{done:?}");
    let look = format!("bay {UUID} is still in progress. Check with: magnum bay-show {UUID}");
    assert!(done.err.contains(&look), "{done:?}");
    let [read, change] = server.seen().try_into().unwrap();
    for name in ["x-magnum-reason", "prefer", "idempotency-key"] {
        assert_eq!(read.header(name), None);
    }
    assert_eq!(change.header("x-magnum-reason"), Some("für Jörg"));
    assert_eq!(change.header("prefer"), Some("respond-async"));
    assert_eq!(change.header("idempotency-key"), Some("k1"));
    assert_eq!(change.header("content-type"), Some("application/json"));
    assert_eq!(change.header("accept"), Some("application/json"));
}

#[test]
fn a_container_that_could_not_be_made_is_shown_and_fails() {
    let mut made = container("Error");
    made["status_reason"] = json!("no such image");
    let server = Server::start(vec![answer("POST /v1/containers", 201, made)]);
    let done = server.run(&["container-create", "--image", "nope"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains("| status        | Error"), "{done:?}");
    assert!(done.err.contains("could not be created: no such image"), "{done:?}");
    assert!(done.err.contains(&format!("Try: magnum container-history {UUID}")), "{done:?}");
}

#[test]
fn what_is_accepted_is_asked_for_until_it_is_done() {
    let start = "PUT /v1/containers/c/start";
    let creating = || {
        let mut object = container("Creating");
        object["task"] = json!({"action": "create", "progress": "pulling busybox"});
        object
    };
    let look = || ok("GET /v1/containers/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f", creating());
    let server = Server::start(vec![
        answer(start, 202, creating()),
        answer(start, 202, creating()),
        ok(start, Value::Null),
        look(),
    ]);
    let done = server.run(&["container-start", "c"]);
    assert_eq!((done.code, done.out.as_str()), (0, ""), "{done:?}");
    assert_eq!(done.err, "c: Creating — pulling busybox\n");
    let seen = server.seen();
    let starts: Vec<_> = seen.iter().filter(|seen| seen.line == start).collect();
    let keys: Vec<_> = starts.iter().map(|seen| seen.header("idempotency-key").unwrap()).collect();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let id = |seen: &&Seen| seen.header("x-openstack-request-id").unwrap().to_owned();
    let ids: Vec<_> = starts.iter().map(id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one request with one id: {ids:?}");

    let server = Server::start(vec![
        answer(start, 202, creating()),
        refusal(start, 409, "work-failed", "port is taken"),
        look(),
    ]);
    let done = server.run(&["container-start", "c"]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("Start for container c failed: port is taken"), "{done:?}");

    let server = Server::start(vec![answer(start, 202, creating()), look()]);
    for option in ["--wait-timeout=2", "--timeout=2"] {
        let done = server.run(&["container-start", "c", option]);
        assert_eq!((done.code, done.out.as_str()), (124, ""), "{done:?}");
        assert!(done.err.contains("still waiting for c: Creating — pulling busybox"), "{done:?}");
    }
    server.seen();
    let done = server.run(&["container-start", "c", "--no-wait"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.err.contains("container c is still in progress"), "{done:?}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn bays_are_waited_for_until_their_status_is_settled() {
    const LOOK: &str = "GET /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    let with = |status: &str| {
        let mut bay = bay();
        bay["status"] = json!(status);
        bay["status_reason"] = json!("no address pool");
        bay
    };
    for (last, code) in [("CREATE_COMPLETE", 0), ("CREATE_FAILED", 1)] {
        let server = Server::start(vec![
            answer("POST /v1/bays", 201, with("CREATE_IN_PROGRESS")),
            ok(LOOK, with("CREATE_IN_PROGRESS")),
            ok(LOOK, with(last)),
        ]);
        let done = server.run(&["bay-create", "--name", "b"]);
        assert_eq!(done.code, code, "{done:?}");
        assert!(done.out.contains(last), "{done:?}");
        assert_eq!(done.err.contains("could not be created: no address pool"), code == 1);
    }
    let gone = || refusal(LOOK, 404, "not-found", "Bay b could not be found.");
    for (last, code) in [(gone(), 0), (ok(LOOK, with("DELETE_FAILED")), 1)] {
        let server = Server::start(vec![
            answer("DELETE /v1/bays/b", 204, Value::Null),
            ok("GET /v1/bays/b", with("DELETE_IN_PROGRESS")),
            ok(LOOK, with("DELETE_IN_PROGRESS")),
            last,
        ]);
        let done = server.run(&["bay-delete", "b"]);
        assert_eq!(done.code, code, "{done:?}");
        assert_eq!(done.err.contains("Delete for bay b failed: no address pool"), code == 1);
    }
}

/// What helps is said, and what is left behind.
#[test]
fn a_bay_that_cannot_be_deleted_is_given_up_by_force() {
    const LOOK: &str = "GET /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    const DELETE: &str = "DELETE /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    const FORCE: &str = "DELETE /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f?force=1";
    const END: &str = "GET /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f/history?after=0&limit=1";
    let with = |status: &str, blocked_on: Value| {
        let mut bay = bay();
        bay["status"] = json!(status);
        bay["status_reason"] = json!("delete failed: the network is in use");
        bay["node_uuid"] = json!("n1");
        bay["task"] = json!({ "reason": "the network is in use", "blocked_on": blocked_on });
        bay
    };
    let deleted = |line| answer(line, 204, Value::Null);
    let failed = || with("DELETE_FAILED", Value::Null);
    let server = Server::start(vec![deleted("DELETE /v1/bays/b"), ok("GET /v1/bays/b", failed())]);
    let done = server.run(&["bay-delete", "b"]);
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
    let helps = "Delete for bay b failed: the network is in use; what cannot be deleted can be \
        left behind with: magnum bay-delete b --force\n";
    assert!(done.err.contains(helps) && done.err.contains("Try: magnum bay-show b"), "{done:?}");

    let blocked = || with("DELETE_IN_PROGRESS", json!("network magnum-b"));
    let looks = [ok("GET /v1/bays/b", blocked()), ok(LOOK, blocked())];
    let server = Server::start([vec![deleted("DELETE /v1/bays/b")], looks.into()].concat());
    let done = server.run(&["bay-delete", "b", "--timeout", "3"]);
    assert_eq!(done.code, 124, "{done:?}");
    let helps = "look with: magnum bay-show b; what cannot be deleted can be left behind with: \
        magnum bay-delete b --force";
    assert!(done.err.contains(helps), "{done:?}");

    let left = |kind: &str, name: Value, engine_name: &str| {
        json!({
            "kind": kind, "name": name, "engine_name": engine_name, "engine_id": null,
            "object_id": UUID, "reason": "in use",
        })
    };
    let end = json!({ "events": [{ "type": "magnum.bay.abandoned.v1", "data": {
        "left_behind": [
            left("container", json!("web"), "magnum-c"), left("network", Value::Null, "magnum-b"),
        ],
        "still_deleted": [UUID], "cancelled": [],
    } }] });
    let forced = |looks: Vec<Canned>| {
        let rest = [ok("GET /v1/bays/b", failed()), deleted(FORCE), ok(END, end.clone())];
        Server::start([looks, rest.into()].concat())
    };
    let server = forced(vec![deleted(DELETE), ok(LOOK, failed())]);
    let done = server.run(&["bay-delete", "b", "--force"]);
    assert_eq!(done.code, 0, "{done:?}");
    golden("bay-delete-force.txt", &format!("{}{}", done.err, done.out));
    // Without waiting only the forced one is asked for.
    let server = forced(vec![]);
    let done = server.run(&["bay-delete", "b", "--force", "--no-wait", "--idempotency-key", "k"]);
    assert_eq!(done.code, 0, "{done:?}");
    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(lines, ["GET /v1/bays/b", FORCE, END]);
    assert_eq!(seen[1].headers["idempotency-key"], "k:force");
    // What is deleted meanwhile is not given up.
    let gone = refusal(LOOK, 404, "not-found", "Bay b could not be found.");
    let server = forced(vec![deleted(DELETE), gone]);
    let done = server.run(&["bay-delete", "b", "--force"]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "", ""));
}

#[test]
fn a_bay_that_is_not_given_up_has_a_document_and_a_request_as_well() {
    let look = "GET /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    let force = "DELETE /v1/bays/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f?force=1";
    let mut bay = bay();
    bay["status"] = json!("DELETE_FAILED");
    let refused = refusal(force, 409, "conflict", "Delete it without force first.");
    let server = Server::start(vec![ok("GET /v1/bays/b", bay.clone()), refused, ok(look, bay)]);
    let done = server.run(&["bay-delete", "b", "--force", "--no-wait", "-o", "json"]);
    assert_eq!(done.code, 1, "{done:?}");
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&told["result"], &told["status"]), (&json!("failed"), &json!("DELETE_FAILED")));
    assert!(done.err.contains(told["request_id"].as_str().unwrap()), "{done:?}");
}

#[test]
fn shortcuts_ask_for_what_the_long_commands_do() {
    for (args, line) in [
        (&["stop", "-t", "3", "c"][..], "PUT /v1/containers/c/stop?timeout=3"),
        (&["restart", "c"], "PUT /v1/containers/c/reboot"),
        (&["start", "c"], "PUT /v1/containers/c/start"),
        (&["pause", "c"], "PUT /v1/containers/c/pause"),
        (&["unpause", "c"], "PUT /v1/containers/c/unpause"),
        (&["kill", "-s", "TERM", "c"], "PUT /v1/containers/c/kill?signal=TERM"),
        (&["rm", "-f", "c"], "DELETE /v1/containers/c"),
        (&["logs", "-n", "5", "c"], "GET /v1/containers/c/logs?tail=5"),
        (&["inspect", "c"], "GET /v1/containers/c"),
        (&["exec", "c", "ls", "-l", "a b"], "PUT /v1/containers/c/execute?command=ls+-l+%27a+b%27"),
    ] {
        requests(vec![ok(line, json!({}))], args, &[(line, Value::Null)]);
    }
    let mut stopped = container("Stopped");
    stopped["name"] = json!("off");
    let list = json!({"containers": [container("Running"), stopped]});
    let server = Server::start(vec![
        ok("GET /v1/containers", list),
        ok("GET /v1/containers/c", container("Running")),
    ]);
    let some = server.run(&["ps"]).out;
    assert!(some.contains("web") && !some.contains("off"), "{some}");
    assert!(server.run(&["ps", "-a"]).out.contains("off"));
    let refused = server.run(&["rm", "c"]);
    assert!(refused.code == 1 && refused.err.contains("is running"), "{refused:?}");
    let made = || answer("POST /v1/containers", 201, container("Stopped"));
    let start = "PUT /v1/containers/3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f/start";
    let body = json!({"image_id": "busybox", "name": "web", "command": ["sleep", "-1"],
        "ports": ["80:80"], "environment": {"A": "b"}});
    requests(
        vec![made(), ok(start, Value::Null)],
        &["run", "-d", "--name", "web", "-e", "A=b", "-p", "80:80", "busybox", "sleep", "-1"],
        &[("POST /v1/containers", body), (start, Value::Null)],
    );
}

#[test]
fn what_is_not_there_yet_is_said_and_typing_mistakes_are_put_right() {
    let server = Server::start(vec![]);
    for command in ["service-create", "service-list", "rc-show"] {
        let done = server.run(&[command]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains("yet") && !done.err.contains("similar"), "{done:?}");
    }
    let typo = server.run(&["bay-shw"]);
    assert!(typo.err.contains("bay-show"), "{typo:?}");
}

#[test]
fn usage_errors_exit_2_and_make_no_request() {
    let server = Server::start(vec![]);
    for args in [
        &["container-show"][..],
        &["container-delete"],
        &["container-delete", ""],
        &["container-show", ".."],
        &["container-show", "a", "--id", "b"],
        &["container-execute", "c"],
        &["container-logs", "c", "--since", "tomorrow"],
        &["container-create", "--env", "A", "--image", "x"],
        &["bay-update", "b", "change", "x=1"],
        &["bay-list", "--reason"],
        &["bay-list", "--limit", "0"],
        &["bay-delete", "b", "--reason", "two\nlines"],
        &["bay-shw"],
        &[],
    ] {
        let done = server.run(args);
        assert_eq!(done.code, 2, "{args:?} {done:?}");
    }
    assert!(server.seen().is_empty());
    assert!(server.run(&["bay-shw"]).err.contains("'bay-show'"));
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let rows: Vec<_> = (0..20_000).map(|n| json!({"uuid": format!("{n:036}")})).collect();
    let server = Server::start(vec![ok("GET /v1/containers", json!({"containers": rows}))]);
    let mut child = piped(&mut server.command(&["container-list"]));
    let mut byte = [0];
    child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
    let done = Done::of(child.wait_with_output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (0, ""));
}

/// An event as the stream sends it.
fn sse(position: u64) -> String {
    let event = json!({
        "specversion": "1.0", "id": "e", "source": "/magnum/x",
        "subject": format!("container/{UUID}"), "objectname": "web", "bayname": "shop",
        "position": position.to_string(), "revision": "0", "type": "magnum.container.exited.v1",
        "time": "2015-05-21T20:46:13.000000+00:00", "user": "alice", "requestid": "req-1",
        "reason": "wörk",
        "data": {"exit_code": 137, "work_id": "x", "oom_killed": true, "finished_at": null},
    });
    format!("id: {position}\nevent: container.exited\ndata: {event}\n\n")
}

const STREAM: &str = "text/event-stream";

#[test]
fn a_tail_goes_on_exactly_where_the_connection_broke() {
    let first = format!(
        "{}{}id: 44\nevent: heartbeat\ndata: {{\"position\":44}}\n\nid: 45\nevent: end\n\
         data: {{\"position\":45,\"reason\":\"the service stops\"}}\n\n",
        sse(41),
        sse(42)
    );
    let server = Server::start(vec![
        text("GET /v1/events/stream?kind=container&after=latest", STREAM, &first),
        answer("GET /v1/events/stream?kind=container&after=45", 503, Value::Null),
        text("GET /v1/events/stream?kind=container&after=45", STREAM, &sse(46)),
    ]);
    let args = ["events", "tail", "--filter", "kind=container", "--limit", "3"];
    let done = server.run(&args);
    assert_eq!(done.code, 0, "{done:?}");
    golden("events-tail.txt", &done.out);
    let words =
        "The server ended the stream (the service stops) after position 45; reconnecting.\n";
    assert_eq!(done.err, words);
    let seen = server.seen();
    let last_ids: Vec<_> = seen.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(last_ids, [None, Some("45"), Some("45")]);
    assert_eq!(seen[0].header("accept"), Some(STREAM));
}

#[test]
fn a_tail_ends_with_ctrl_c_and_exits_0() {
    let stream = text("GET /v1/events/stream?after=0", STREAM, &sse(1));
    let server = Server::start(vec![Canned { open: true, ..stream }]);
    let mut child = piped(&mut server.command(&["events", "tail", "--after", "0"]));
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "2015-05-21\n");
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("     1  20:46:13  container web  exited"), "{line}");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tail_that_is_refused_says_so() {
    let server = Server::start(vec![refusal(
        "GET /v1/events/stream?colour=red&after=latest",
        400,
        "bad-request",
        "Unknown argument: \"colour\"",
    )]);
    let done = server.run(&["events", "tail", "--filter", "colour=red"]);
    assert_eq!(done.code, 1);
    assert_eq!(done.err, "ERROR: Unknown argument: \"colour\" (HTTP 400)\n");
}

/// A page of events from the end, as the server answers it.
fn page_before(events: &[Value], from: u64, earlier: &Value, more: bool) -> Value {
    let previous = more.then_some("http://h/");
    json!({
        "events": events, "position": 40, "head": 40, "next": null, "from": from,
        "earlier": earlier, "previous": previous,
    })
}

#[test]
fn the_last_matches_are_listed_and_those_before_counted() {
    let event = |position: u64| {
        json!({
            "position": position.to_string(), "type": "magnum.bay.created.v1", "subject": "bay/x",
            "objectname": format!("b{position}"),
        })
    };
    let earlier = |matches: u64, from: u64, is_all: bool| {
        let (matches, from, is_all) = (json!(matches), json!(from), json!(is_all));
        json!({ "matches": matches, "from": from, "is_all": is_all })
    };
    // The server looks so far at once: it is asked again until there are as many as wanted, and
    // then how many are left.
    let server = Server::start(vec![
        ok(
            "GET /v1/events?kind=bay&bay=b&before=latest&limit=2",
            page_before(&[event(35)], 30, &earlier(0, 30, false), true),
        ),
        ok(
            "GET /v1/events?kind=bay&bay=b&before=30&limit=1",
            page_before(&[event(25)], 25, &earlier(3, 20, false), true),
        ),
        ok(
            "GET /v1/events?kind=bay&bay=b&before=20&limit=0",
            page_before(&[], 20, &earlier(4, 1, true), true),
        ),
    ]);
    let args = ["events", "list", "--filter", "kind=bay", "--bay", "b", "--limit", "2"];
    let done = server.run(&args);
    assert_eq!(done.code, 0, "{done:?}");
    let names: Vec<_> = done.out.lines().filter(|line| line.contains("bay b")).collect();
    assert!(names[0].contains("bay b25") && names[1].contains("bay b35"), "{done:?}");
    assert_eq!(done.err, "Before these: 7 earlier events. --before 25 lists them.\n");
    // Without a filter every position is one, and nothing needs to be counted.
    let all = || page_before(&[event(35)], 35, &earlier(34, 1, true), true);
    let line = "GET /v1/events?before=latest&limit=1";
    let done = Server::start(vec![ok(line, all())]).run(&["events", "list", "--limit", "1"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let line = "GET /v1/events?before=35&limit=1";
    requests(
        vec![ok(line, all())],
        &["events", "list", "--before", "35", "--limit", "1"],
        &[(line, Value::Null)],
    );
    // The log begins with what an archive has left.
    let mut archived = page_before(&[event(35)], 31, &earlier(0, 31, true), false);
    archived["archived"] = json!({ "position": 30, "oldest": "2015-05-21T20:46:13+00:00" });
    let line = "GET /v1/events?before=latest&limit=100";
    let done = Server::start(vec![ok(line, archived)]).run(&["events", "list"]);
    assert_eq!(
        done.err,
        "Events up to position 30 were archived: the oldest one here is at position 31, of \
         2015-05-21T20:46:13+00:00.\n"
    );
}

#[test]
fn a_count_that_would_have_no_end_says_how_far_it_went() {
    let mut canned = vec![ok(
        "GET /v1/events?kind=bay&before=latest&limit=1",
        page_before(&[json!({})], 900, &json!({"matches": 1, "from": 800, "is_all": false}), true),
    )];
    for count in 0..50 {
        let earlier = json!({ "matches": 2, "from": 799 - count, "is_all": false });
        let line = format!("GET /v1/events?kind=bay&before={}&limit=0", 800 - count);
        canned.push(ok(line.leak(), page_before(&[], 0, &earlier, true)));
    }
    let done = Server::start(canned)
        .run(&["events", "list", "--filter", "kind=bay", "--limit", "1", "-o", "json"]);
    assert_eq!((done.code, done.out.as_str()), (0, "[\n  {}\n]\n"), "{done:?}");
    assert_eq!(
        done.err,
        "Before these: at least 101 earlier events, counted back to position 750 only. --before \
         900 lists them.\n"
    );
}

#[test]
fn events_are_listed_from_a_position_or_a_time() {
    let event = json!({"position": "35", "type": "magnum.bay.created.v1", "reason": null});
    let page = || json!({"events": [event], "position": 40, "head": 40, "next": null});
    // The server looked far without finding all that is wanted.
    let (first, second) = (
        "GET /v1/events?kind=bay&after=5&limit=100",
        "GET /v1/events?kind=bay&after=20005&limit=99",
    );
    let part = json!({"events": [event], "position": 20005, "head": 30000, "next": "http://h/"});
    requests(
        vec![ok(first, part.clone()), ok(second, page())],
        &["events", "list", "--after", "5", "--filter", "kind=bay"],
        &[(first, Value::Null), (second, Value::Null)],
    );
    // There are as many as wanted, and the log goes on.
    let line = "GET /v1/events?after=5&limit=1";
    let done = Server::start(vec![ok(line, part)])
        .run(&["events", "list", "--after", "5", "--limit", "1"]);
    assert_eq!(done.err, "More may match after position 20005: continue with --after 20005.\n");
    let line = "GET /v1/events?since=2015-05-21T00%3A00%3A00.000000%2B00%3A00&limit=100";
    let mut archived = page();
    archived["archived"] = json!({ "position": 34, "oldest": null });
    let done =
        Server::start(vec![ok(line, archived)]).run(&["events", "list", "--since", "2015-05-21"]);
    let words = "Events up to position 34 were archived: the oldest one here is at position 35.\n";
    assert_eq!((done.code, done.err.as_str()), (0, words), "{done:?}");
}

#[test]
fn a_list_starts_at_a_time_goes_on_and_names_what_it_is_about() {
    let event = |position: u64| {
        let text = sse(position);
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        serde_json::from_str::<Value>(data).unwrap()
    };
    let refusal = json!({
        "subject": format!("audit/{UUID}"), "type": "magnum.audit.command_refused.v1",
        "position": "8", "time": "2015-05-22T00:00:01.000000+00:00", "user": "bob",
        "objectname": "b\u{1b}[1m", "requestid": "req-2", "data": {
            "object": format!("bay/{UUID}"), "command": "delete", "code": "conflict",
            "reason": "it is in use",
        },
    });
    let executed = json!({
        "subject": format!("container/{UUID}"), "type": "magnum.container.execute_requested.v1",
        "position": "9", "time": "2015-05-22T00:00:02.000000+00:00", "user": "bob",
        "objectname": "web", "data": { "command": ["sh", "-c", "rm -r /data"] },
    });
    let page = json!({
        "events": [event(7), refusal, executed], "position": 9, "head": 9, "next": null,
    });
    let canned = || vec![ok("GET /v1/events?kind=container&since=15m&limit=100", page.clone())];
    let args = ["events", "list", "--filter", "kind=container", "--since", "15m"];
    for (name, more) in [("events-list.txt", &[][..]), ("events-list-wide.txt", &["-o", "wide"])] {
        let done = Server::start(canned()).run(&[&args[..], more].concat());
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
        golden(name, &done.out);
    }
    let mut all = canned();
    all.push(text("GET /v1/events/stream?kind=container&after=9", STREAM, &sse(10)));
    let server = Server::start(all);
    let mut child = piped(&mut server.command(&[&args[..], &["--follow"]].concat()));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.map_while(Result::ok).filter(|line| line.contains("exited")).take(2).count(),
        2
    );
    child.kill().unwrap();
    child.wait().unwrap();
    let one = json!({"events": [event(7)], "position": 7, "head": 8, "next": "http://h/"});
    let show = "GET /v1/events?after=6&limit=1";
    let done = Server::start(vec![ok(show, one)]).run(&["events", "show", "7", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap(), event(7));
    let none = json!({"events": [], "position": 8, "head": 8, "next": null});
    let done = Server::start(vec![ok(show, none)]).run(&["events", "show", "7"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("There is no event at position 7"), "{done:?}");
}

#[test]
fn debugging_shows_requests_but_no_secrets() {
    let server = Server::start(vec![answer("POST /v1/containers", 201, container("Stopped"))]);
    let args = ["container-create", "--image", "i", "--env", "P=hunter2", "--debug"];
    let done = server.run(&args);
    assert_eq!(done.code, 0);
    for shown in ["> POST http://127.0.0.1:", "> content-type:", "\"image_id\":\"i\"", "< 201"] {
        assert!(done.err.contains(shown), "{shown} {done:?}");
    }
    assert!(!done.err.contains("hunter2"), "{done:?}");
}

#[test]
fn serving_beyond_loopback_is_refused_unless_said_in_so_many_words() {
    let done = Done::of(magnum(&["serve", "--listen", "0.0.0.0:0"]).output().unwrap());
    assert_eq!(done.code, 1);
    assert!(done.err.contains("--allow-remote-without-authentication"), "{done:?}");
}

/// Where threads cannot be made, the process would end without a word.
#[test]
fn serving_with_little_address_space_is_refused_in_words() {
    let program = env!("CARGO_BIN_EXE_magnum");
    let limited = format!("ulimit -v 1000000 && exec {program} serve --backend fake");
    let done = Done::of(Command::new("sh").args(["-c", &limited]).output().unwrap());
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("address space") && done.err.contains("ulimit -v"), "{done:?}");
}

#[test]
fn shells_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let done = Done::of(magnum(&["completion", shell]).output().unwrap());
        assert_eq!(done.code, 0);
        assert!(done.out.contains("container-create"), "{shell}");
    }
    let words = Done::of(magnum(&["bash-completion"]).output().unwrap()).out;
    let words: Vec<_> = words.split_whitespace().collect();
    for word in ["bay-list", "container-unpause", "--baymodel", "--node-count", "help"] {
        assert!(words.contains(&word), "{word}");
    }
    assert!(!words.contains(&"bash-completion"));
}

#[test]
fn help_is_as_recorded() {
    let root = Done::of(magnum(&["--help"]).output().unwrap());
    golden("help/magnum.txt", &root.out);
    let listed = root.out.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 35, "{names:?}");
    for name in names {
        let done = Done::of(magnum(&[name, "--help"]).output().unwrap());
        assert_eq!(done.code, 0, "{name}");
        golden(&format!("help/{name}.txt"), &done.out);
    }
    for name in ["tail", "list", "show"] {
        let done = Done::of(magnum(&["events", name, "--help"]).output().unwrap());
        golden(&format!("help/events-{name}.txt"), &done.out);
    }
    for name in ["state", "timeline", "diff", "blame", "verify", "check"] {
        let done = Done::of(magnum(&["replay", name, "--help"]).output().unwrap());
        golden(&format!("help/replay-{name}.txt"), &done.out);
    }
    for name in ["list", "erase"] {
        let done = Done::of(magnum(&["keys", name, "--help"]).output().unwrap());
        golden(&format!("help/keys-{name}.txt"), &done.out);
    }
    for name in ["verify", "anchor", "info", "archive", "repair", "export", "import"] {
        let done = Done::of(magnum(&["log", name, "--help"]).output().unwrap());
        golden(&format!("help/log-{name}.txt"), &done.out);
    }
}

#[test]
fn warnings_of_a_server_are_said_on_stderr() {
    let words = "'volumes' was ignored: a container has no such option.";
    let mut made = container("Stopped");
    made["warnings"] = json!([words]);
    let create = ["container-create", "--image", "i"];
    for format in [&[][..], &["-o", "json"]] {
        let server = Server::start(vec![answer("POST /v1/containers", 201, made.clone())]);
        let done = server.run(&[&create, format].concat());
        assert_eq!((done.code, done.err.as_str()), (0, &*format!("Warning: {words}\n")));
        assert_eq!(done.out.contains("volumes"), !format.is_empty(), "{done:?}");
    }
}

//! What `/v1/openapi.json` promises, held against the server by schemathesis, which makes requests
//! from the document, valid ones and ones that are not: no fault of the server, no status and no
//! body that the document does not have, what is valid is taken, what is not is refused.
//!
//! It makes some 5,000 requests at the limits of all forms, and for each operation as many random
//! ones as `MAGNUM_SCHEMATHESIS_EXAMPLES` says; always the same ones. `make test` installs it.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::harness::{Options, PATIENCE, Server, python};

/// Random requests of each operation where nothing else is said: half a minute with the others.
const EXAMPLES: &str = "5";

/// What is looked at where it is known that everything asked for is there.
const OF_ANSWERS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance";

/// Runs it with a document and these checks, or all that its settings leave; panics with its report
/// where it finds something.
fn run(server: &Server, document: &Value, checks: Option<&str>) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("openapi.json");
    fs::write(&file, document.to_string()).unwrap();
    let examples = env::var("MAGNUM_SCHEMATHESIS_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    // Absolute, since it runs in another folder.
    let bin = python().parent().unwrap().canonicalize().unwrap();
    let output = Command::new(bin.join("schemathesis"))
        .arg("--config-file")
        .arg(here.join("schemathesis.toml"))
        .arg("run")
        .arg(&file)
        .args(["--url", server.url(), "--max-examples", &examples])
        // Checks that are named go before the settings.
        .args(checks.map(|checks| ["--checks", checks]).into_iter().flatten())
        .args(["--phases", "coverage,fuzzing", "--generation-deterministic"])
        .args(["--continue-on-failure", "--max-failures", "20", "--no-color"])
        // It leaves files where it runs.
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", here.join("schemathesis.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}");
    // Nothing was found because nothing was asked?
    assert!(report.contains("passed"), "{report}\n{errors}");
}

fn document(server: &Server) -> Value {
    server.get("/v1/openapi.json").expect(200)
}

#[test]
fn requests_get_what_the_document_promises() {
    // No answer waits for the engine.
    let server = Server::start(Options::fake().arg("--request-wait").arg("0"));
    run(&server, &document(&server), None);
    server.get("/healthz").expect(200);
}

/// Objects with a history: of every noun one, and a container that is gone. Their paths.
fn objects(server: &Server) -> Vec<String> {
    let model = json!({ "name": "m", "coe": "docker", "image_id": "i", "keypair_id": "k" });
    server.post("/v1/baymodels", &model).expect(201);
    let bay = server.post("/v1/bays", &json!({ "name": "b", "baymodel_id": "m" })).expect(201);
    let rename = json!([{ "op": "replace", "path": "/desc", "value": "d" }]);
    let mut gone = Value::Null;
    for name in ["gone", "web"] {
        let container = json!({
            "name": name,
            "image_id": "busybox:local",
            "bay_uuid": bay["uuid"],
            "environment": { "SECRET": "hunter2" },
            "labels": { "tier": "front" },
            "ports": ["80"],
        });
        let container = server.post("/v1/containers", &container).expect(201);
        let path = format!("/v1/containers/{name}");
        server.put(&format!("{path}/start")).expect(200);
        server.put(&format!("{path}/execute?command=ls")).expect(200);
        server.patch(&path, &rename).expect(200);
        server.put(&format!("{path}/pause")).expect(200);
        // Refused, and recorded as such.
        server.put(&format!("{path}/start")).expect(409);
        server.put(&format!("{path}/unpause")).expect(200);
        // Following its logs ends.
        server.put(&format!("{path}/stop")).expect(200);
        if name == "gone" {
            gone = container["uuid"].clone();
            server.delete(&path).expect(204);
        }
    }
    let node = server.list("/v1/nodes")[0]["uuid"].clone();
    let gone = gone.as_str().unwrap();
    let events = server.list(&format!("/v1/events?object={gone}"));
    let request = events[0]["requestid"].as_str().unwrap();
    vec![
        "/v1/baymodels/m".to_owned(),
        "/v1/bays/b".to_owned(),
        "/v1/containers/web".to_owned(),
        format!("/v1/containers/{gone}"),
        format!("/v1/nodes/{}", node.as_str().unwrap()),
        format!("/v1/trace/{request}"),
    ]
}

/// A document of the questions about these objects and a command that was executed in one of them,
/// in place of those about any.
fn about(mut document: Value, objects: &[String], execution: &str) -> Value {
    let mut asked = Map::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some((collection, question)) = path.split_once("/{ident}") else { continue };
        let Some(get) = operations.get("get") else { continue };
        for object in objects.iter().filter(|object| object.starts_with(&format!("{collection}/")))
        {
            let mut get = get.clone();
            let id = format!("{}_{}", get["operationId"].as_str().unwrap(), asked.len());
            get["operationId"] = Value::from(id);
            // What stood in the path.
            let in_query = |parameter: &Value| parameter["in"] != "path";
            get["parameters"].as_array_mut().unwrap().retain(in_query);
            let question = question.replace("{id}", execution);
            asked.insert(format!("{object}{question}"), json!({ "get": get }));
        }
    }
    assert!(asked.len() > 40, "{:?}", asked.keys());
    document["paths"] = Value::Object(asked);
    document
}

#[test]
fn answers_about_objects_are_as_the_document_says() {
    let server = Server::start(Options::fake());
    let objects = objects(&server);
    let executed = server.list("/v1/events?type=container.execute_requested");
    let execution = executed[1]["id"].as_str().unwrap();
    run(&server, &about(document(&server), &objects, execution), Some(OF_ANSWERS));
}

#[test]
fn what_a_path_does_not_take_is_refused_as_such() {
    let server = Server::start(Options::fake());
    let bad = "min_position=x&at=%ff";
    for (method, path) in [
        ("TRACE", "/v1/bays"),
        ("DELETE", "/v1/containers/web/why"),
        ("POST", "/v1/containers/web"),
        ("GET", "/v1/containers/web/start"),
        ("PUT", "/v1/bays"),
        ("BREW", "/v1"),
    ] {
        let method = method.parse().unwrap();
        let answer = server.send(method, &format!("{path}?{bad}"), &[], None);
        assert_eq!(answer.status, 405, "{path}: {}", answer.text);
    }
    server.get(&format!("/v1/services?{bad}")).expect(404);
    server.get(&format!("/v1/bays?{bad}")).expect(400);
    server.get("/v1/bays?min_position=x").expect(400);
    server.put("/v1/containers/web/start?min_position=x").expect(400);
}

#[test]
fn a_name_stands_once_in_an_object_of_a_body() {
    let server = Server::start(Options::fake());
    let address = server.url().strip_prefix("http://").unwrap();
    let twice = [
        r#"{"name": "a", "name": "b"}"#,
        r#"{"name": "a", "n\u0061me": "a"}"#,
        r#"{"name": "a", "other": [{"x": 1, "x": 2}]}"#,
    ];
    for body in twice {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST /v1/bays HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body}: {answer}");
        assert!(answer.contains("occurs twice"), "{body}: {answer}");
    }
    assert!(server.list("/v1/bays").is_empty());
}

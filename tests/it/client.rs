//! The real python-magnumclient 2.1.0 (2016), the newest that has containers, drives this server
//! on the real engine (F58). `make test` installs it into `.venv`.
//!
//! It always asks Keystone for a token first; a responder of two answers stands in for that, and in
//! one test the server itself, which it then finds in the catalog.
//! Without `/v1` in its URL it asks for `/bays`, with it for `/v1/bays`: both must work.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, thread};

use reqwest::Method;
use serde_json::json;

use crate::harness::{Options, PATIENCE, Server, wait_until};
use crate::requests::refused;
use crate::rights::Issuer;

/// Prints a word, then runs until it is told to stop.
const TALKER: &str =
    "sh -c 'echo heard from the container; trap \"exit 0\" TERM; while :; do sleep 0.1; done'";

/// The old `magnum` program against one server.
struct OldClient {
    program: PathBuf,
    keystone_url: String,
    /// Where the catalog is not asked.
    server_url: Option<String>,
}

/// What it printed, and how it ended.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl OldClient {
    fn new(server_url: &str) -> Self {
        let venv = env::var_os("MAGNUM_VENV").unwrap_or_else(|| ".venv".into());
        let program = PathBuf::from(venv).join("bin/magnum");
        assert!(program.exists(), "{} is missing: run make test", program.display());
        Self { program, keystone_url: keystone(), server_url: Some(server_url.to_owned()) }
    }

    /// One that gets its token and the server's address at this URL.
    fn by_catalog(keystone_url: String) -> Self {
        Self { keystone_url, server_url: None, ..Self::new("") }
    }

    fn run(&self, args: &[&str]) -> Ran {
        // Those of version 2 do not take any.
        let domains = [("OS_USER_DOMAIN_NAME", "Default"), ("OS_PROJECT_DOMAIN_NAME", "Default")];
        let output = Command::new(&self.program)
            .args(args)
            .env_remove("BYPASS_URL")
            .envs(self.server_url.iter().map(|url| ("BYPASS_URL", url)))
            .env("OS_AUTH_URL", &self.keystone_url)
            .envs([("OS_USERNAME", "u"), ("OS_PASSWORD", "p"), ("OS_TENANT_NAME", "t")])
            .envs(domains.into_iter().filter(|_| self.keystone_url.ends_with("/v3")))
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed; it says so by 0 and by not printing "failed".
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        let failed = ran.code != 0 || ran.stdout.contains(" failed: ");
        assert!(!failed, "{args:?}: {}\n{}{}", ran.code, ran.stdout, ran.stderr);
        ran.stdout
    }

    /// One property of what a create, show or update prints.
    #[track_caller]
    fn property(&self, args: &[&str], name: &str) -> String {
        let table = rows(&self.ok(args));
        let row = table.iter().find(|row| row[0] == name);
        row.unwrap_or_else(|| panic!("no {name} in {table:?}"))[1].clone()
    }

    /// The column of names of a list, in its order.
    fn names(&self, args: &[&str]) -> Vec<String> {
        rows(&self.ok(args)).into_iter().skip(1).map(|row| row[1].clone()).collect()
    }
}

/// The cells of a table, the header first.
fn rows(table: &str) -> Vec<Vec<String>> {
    let lines = table.lines().filter(|line| line.starts_with('|'));
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.map(|line| cells(line.trim_matches('|'))).collect()
}

/// Serves what the client asks of Keystone until the process ends; its URL.
fn keystone() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v2.0", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().flatten().for_each(answer_as_keystone));
    url
}

/// A token for `POST /v2.0/tokens`; 404 for the discovery document, which it can do without.
fn answer_as_keystone(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !complete(&request) {
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => request.extend_from_slice(&chunk[..count]),
            _ => return,
        }
    }
    let (status, body) = if request.starts_with(b"POST ") {
        let user = r#""user":{"id":"u","name":"u","roles":[]}"#;
        let token = r#""token":{"id":"t","expires":"2099-01-01T00:00:00Z"}"#;
        ("200 OK", format!(r#"{{"access":{{{token},{user}}}}}"#))
    } else {
        ("404 Not Found", "{}".to_owned())
    };
    let head = "Content-Type: application/json\r\nConnection: close\r\nContent-Length:";
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{head} {}\r\n\r\n{body}", body.len());
}

/// Whether a request is all there: its head, and as many bytes as that announces.
fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// Makes a baymodel and a bay, and waits until that is there.
fn make_bay(old: &OldClient, bay: &str) {
    let model = format!("{bay}-model");
    let uuid = old.property(
        &[
            "baymodel-create",
            "--name",
            &model,
            "--image-id",
            "fedora",
            "--keypair-id",
            "k",
            "--external-network-id",
            "public",
            "--coe",
            "docker",
        ],
        "uuid",
    );
    assert_eq!(old.property(&["baymodel-show", &model], "uuid"), uuid);
    let made = old.property(&["bay-create", "--name", bay, "--baymodel", &model], "baymodel_id");
    assert_eq!(made, uuid);
    wait_until("the bay", PATIENCE, || {
        old.property(&["bay-show", bay], "status") == "CREATE_COMPLETE"
    });
}

#[test]
fn the_old_client_drives_baymodels_and_bays() {
    let server = Server::start(Options::docker());
    let old = OldClient::new(server.url());
    make_bay(&old, "prod");

    let changed = old
        .property(&["baymodel-update", "prod-model", "replace", "flavor_id=m1.big"], "flavor_id");
    assert_eq!(changed, "m1.big");
    assert!(old.names(&["baymodel-list"]).contains(&"prod-model".to_owned()));

    assert_eq!(old.property(&["bay-update", "prod", "replace", "node_count=1"], "node_count"), "1");
    let more = ["bay-update", "prod", "replace", "node_count=2"];
    assert_eq!(old.property(&more, "node_count"), "1", "there is one node");
    make_bay(&old, "test");
    let page = ["bay-list", "--limit", "1", "--sort-key", "name", "--sort-dir", "desc"];
    assert_eq!(old.names(&page), ["test"]);
    let all = old.names(&["bay-list", "--sort-key", "name"]);
    assert!(all.ends_with(&["prod".to_owned(), "test".to_owned()]), "{all:?}");

    let refused = old.run(&["baymodel-delete", "prod-model"]);
    assert!(refused.stdout.contains("referenced by one or multiple bays"), "{}", refused.stdout);
    old.ok(&["bay-delete", "prod", "test"]);
    wait_until("the bays to be gone", PATIENCE, || {
        let names = old.names(&["bay-list"]);
        !names.iter().any(|name| ["prod", "test"].contains(&name.as_str()))
    });
    old.ok(&["baymodel-delete", "prod-model", "test-model"]);

    let missing = old.run(&["bay-show", "prod"]);
    assert_eq!(missing.code, 1);
    assert!(
        missing.stderr.contains("Bay prod could not be found. (HTTP 404)"),
        "{}",
        missing.stderr
    );
}

#[test]
fn the_old_client_drives_containers() {
    let server = Server::start(Options::docker());
    let old = OldClient::new(&format!("{}/v1", server.url()));
    make_bay(&old, "web");

    let create = ["container-create", "--name", "talker", "--image", "busybox:local"];
    let create = [&create[..], &["--bay", "web", "--memory", "64m", "--command", TALKER]].concat();
    let uuid = old.property(&create, "uuid");
    let status = || old.property(&["container-show", "talker"], "status");
    assert_eq!(status(), "Stopped");
    for (action, becomes) in [
        ("container-start", "Running"),
        ("container-pause", "Paused"),
        ("container-unpause", "Running"),
        ("container-reboot", "Running"),
    ] {
        old.ok(&[action, "talker"]);
        assert_eq!(status(), becomes, "after {action}");
    }

    wait_until("the container's word twice: it was started and rebooted", PATIENCE, || {
        old.ok(&["container-logs", "talker"]).matches("heard from the container").count() == 2
    });
    let said = old.ok(&["container-exec", "--command", "echo a 'b  c'", &uuid]);
    assert_eq!(said, "a b  c\n\n", "the client adds a line break");
    assert_eq!(old.names(&["container-list", "--bay", "web"]), ["talker"]);
    assert_eq!(old.names(&["container-list"]), ["talker"]);

    old.ok(&["container-stop", "talker"]);
    assert_eq!(status(), "Stopped");
    old.ok(&["container-delete", "talker"]);
    let missing = old.run(&["container-start", "talker"]);
    let words =
        "Start for container talker failed: Container talker could not be found. (HTTP 404)";
    // Newer clients put the request id behind it.
    assert!(missing.stdout.starts_with(words), "{}", missing.stdout);
    assert!(old.names(&["container-list"]).is_empty());
}

#[test]
fn the_old_client_drives_pods() {
    let server = Server::start(Options::docker());
    let old = OldClient::new(&format!("{}/v1", server.url()));
    make_bay(&old, "web");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pod.yaml");
    let file = file.to_str().unwrap();
    let manifest = "\
apiVersion: v1
kind: Pod
metadata: {name: talker, labels: {app: talker}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: c, image: 'busybox:local', command: [sleep, '600']}
";
    fs::write(file, manifest).unwrap();
    let create = ["pod-create", "--manifest", file, "--bay", "web"];
    let uuid = old.property(&create, "uuid");
    let show = ["pod-show", "talker", "--bay", "web"];
    wait_until("the pod to run", PATIENCE, || old.property(&show, "status") == "Running");
    assert_eq!(old.property(&show, "images"), "['busybox:local']");
    assert_eq!(old.property(&show, "labels"), "{'app': 'talker'}");
    assert_eq!(old.names(&["pod-list", "--bay", "web"]), ["talker"]);
    old.ok(&["pod-update", "--bay", "web", "talker", "replace", "desc=changed"]);
    let desc = server.get(&format!("/v1/pods/{uuid}")).expect(200)["desc"].take();
    assert_eq!(desc, "changed");
    old.ok(&["pod-delete", "talker", "--bay", "web"]);
    assert!(old.names(&["pod-list", "--bay", "web"]).is_empty());
}

#[test]
fn the_old_client_needs_no_keystone_where_nobody_is_asked_who_they_are() {
    let server = Server::start(Options::fake());
    for version in ["v2.0", "v3"] {
        let old = OldClient::by_catalog(format!("{}/{version}", server.url()));
        old.ok(&["bay-create", "--name", version, "--baymodel", "default"]);
        wait_until("the bay", PATIENCE, || {
            old.property(&["bay-show", version], "status") == "CREATE_COMPLETE"
        });
        let create = ["container-create", "--name", version, "--image", "i", "--bay", version];
        let uuid = old.property(&create, "uuid");
        old.ok(&["container-start", version]);
        assert_eq!(old.property(&["container-show", version], "uuid"), uuid);
    }
    // By the name that the client used, and not by another one.
    let by = |host: &str, path: &str| {
        server.send(Method::POST, path, &[("host", host)], Some(&json!({})))
    };
    let v2 = by("localhost:81", "/v2.0/tokens").expect(200);
    let place = &v2["access"]["serviceCatalog"][0];
    assert_eq!(place["type"], "container");
    assert_eq!(place["endpoints"][0]["publicURL"], "http://localhost:81/v1");
    let v3 = by("[::1]:82", "/v3/auth/tokens");
    assert_eq!(v3.header("x-subject-token"), "anonymous");
    let url = v3.expect(201)["token"]["catalog"][0]["endpoints"][0]["url"].clone();
    assert_eq!(url, "http://[::1]:82/v1");
    assert_eq!(by("evil.example", "/v2.0/tokens").status, 421);
}

#[test]
fn nobody_gets_such_a_token_where_tokens_count() {
    let issuer = Issuer::new();
    let server = Server::start(issuer.options());
    for path in ["/v2.0/tokens", "/v3/auth/tokens"] {
        let answer = server.as_nobody().post(path, &json!({}));
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(answer.text.contains(&format!("at {path};")), "{}", answer.text);
    }
    refused(&server.as_nobody().get("/v3"), 404);
}

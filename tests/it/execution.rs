//! Commands in containers: output as it comes, exit codes, and output that is asked for later.
//!
//! Not here: how a backend runs them (`backend`), how they are ended (`overtake`).

use std::process::{Command, Output, Stdio};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Http, Options, PATIENCE, Server, wait_for, wait_until};
use crate::requests::refused;
use crate::rights::Issuer;

const STREAM: &str = "application/vnd.docker.multiplexed-stream";

/// A container that runs on an engine; its path.
fn running(server: &Http, name: &str) -> String {
    // With something to seal, so that the project has a key.
    let environment = json!({ "A": "b" });
    let body = json!({ "name": name, "image_id": "busybox:local", "command": ["sleep", "1000"],
        "environment": environment });
    let made = server.post("/v1/containers", &body).json;
    let path = format!("/v1/containers/{}", made["uuid"].as_str().unwrap());
    server.put(&format!("{path}/start"));
    // Some of these servers do not wait for long.
    wait_until("the container to run", PATIENCE, || {
        server.get(&path).expect(200)["status"] == "Running"
    });
    path
}

/// What the CLI does.
fn magnum(server: &Http, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(args).env_clear().env("MAGNUM_URL", server.url()).stdin(Stdio::null());
    command.output().unwrap()
}

/// What the CLI gives of a command in a shell in container `c`.
fn shell(server: &Http, script: &str) -> Output {
    magnum(server, &["exec", "c", "sh", "-c", script])
}

/// Starts a command without waiting for it; its id.
fn begun(server: &Http, path: &str, command: &str) -> String {
    let command: String = form_urlencoded::byte_serialize(command.as_bytes()).collect();
    let path = format!("{path}/execute?command={command}");
    let answer = server.send(Method::PUT, &path, &[("prefer", "respond-async")], None);
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.header("x-magnum-execution").to_owned()
}

/// How a command ended.
fn ended(server: &Http, path: &str, id: &str) -> Value {
    wait_for("the command to end", PATIENCE, || {
        let state = server.get(&format!("{path}/executions/{id}")).expect(200);
        (!["waiting", "running"].contains(&state["status"].as_str().unwrap())).then_some(state)
    })
}

#[test]
fn every_byte_comes_back_and_the_exit_code_is_that_of_the_command() {
    let server = Server::start(Options::docker().arg("--request-wait=1"));
    let path = running(&server, "c");
    let script = "for i in $(seq 0 255); do printf \"\\\\$(printf %03o $i)\"; done >/tmp/b
        for i in $(seq 2000); do cat /tmp/b; done";
    let done = shell(&server, script);
    let all: Vec<u8> = (0..=255).cycle().take(256 * 2000).collect();
    assert!(done.stdout == all, "{} bytes", done.stdout.len());
    assert_eq!((done.status.code(), &*done.stderr), (Some(0), &b""[..]));

    let done = shell(&server, "echo out; echo err >&2; exit 3");
    let both = (&*done.stdout, &*done.stderr);
    assert_eq!((done.status.code(), both), (Some(3), (&b"out\n"[..], &b"err\n"[..])));

    // Longer than the server waits for any outcome.
    let done = shell(&server, "echo early; sleep 3; echo late; exit 9");
    assert_eq!((done.status.code(), &*done.stdout), (Some(9), &b"early\nlate\n"[..]), "{done:?}");

    let done = magnum(&server, &["exec", "c", "no-such-command"]);
    assert!([Some(126), Some(127)].contains(&done.status.code()), "{done:?}");
    server.put(&format!("{path}/stop?timeout=0")).expect(200);
    for container in ["c", "nobody"] {
        let done = magnum(&server, &["exec", container, "true"]);
        assert_eq!(done.status.code(), Some(125), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stderr).starts_with("ERROR: "), "{done:?}");
    }
}

#[test]
fn output_is_there_for_who_comes_later_up_to_a_limit() {
    let server = Server::start(Options::docker());
    let path = running(&server, "c");
    let id = begun(&server, &path, "sh -c 'echo out; echo err >&2; sleep 1; echo end; exit 4'");
    // One that comes while it runs, and one that comes after its end.
    for _ in 0..2 {
        let done = magnum(&server, &["container-output", "c", &id]);
        assert_eq!(done.status.code(), Some(4), "{done:?}");
        assert_eq!((&*done.stdout, &*done.stderr), (&b"out\nend\n"[..], &b"err\n"[..]));
    }
    let output = server.get(&format!("{path}/executions/{id}/output")).expect(200);
    assert_eq!(output["exit_code"], 4);
    assert_eq!((&output["status"], &output["incomplete"]), (&json!("done"), &Value::Null));
    assert!(output["output"].as_str().unwrap().contains("end\n"), "{output}");

    // All of it for who reads it at once, the first 16 MiB for who comes later.
    let done = shell(&server, "head -c 17000000 /dev/zero");
    assert_eq!((done.status.code(), done.stdout.len()), (Some(0), 17_000_000));
    let id = begun(&server, &path, "head -c 17000000 /dev/zero");
    assert_eq!(ended(&server, &path, &id)["exit_code"], 0);
    let late = magnum(&server, &["container-output", "c", &id]);
    assert_eq!((late.status.code(), late.stdout.len()), (Some(125), 16 << 20));
    let words = String::from_utf8_lossy(&late.stderr).into_owned();
    assert!(words.contains("only the first 16777216 bytes"), "{words}");

    // It may show what the erased key sealed.
    let id = begun(&server, &path, "echo secret");
    assert_eq!(ended(&server, &path, &id)["status"], "done");
    let keys = server.get("/v1/keys").expect(200);
    let key = keys["keys"][0]["id"].as_str().unwrap();
    server.delete(&format!("/v1/keys/{key}")).expect(204);
    refused(&server.get(&format!("{path}/executions/{id}/output")), 404);
    // Nothing of it outlives the container.
    let id = begun(&server, &path, "echo a");
    assert_eq!(ended(&server, &path, &id)["status"], "done");
    server.get(&format!("{path}/executions/{id}/output")).expect(200);
    server.delete(&path).expect(204);
    refused(&server.get(&format!("{path}/executions/{id}/output")), 404);
}

#[test]
fn a_command_is_for_its_project_and_its_container_alone() {
    let issuer = Issuer::new();
    let server = Server::start(issuer.options());
    let http = server.with_token(&issuer.token("shop", "member"));
    let other = server.with_token(&issuer.token("bank", "admin"));
    let reader = server.with_token(&issuer.token("shop", "reader"));
    wait_until("the tokens to be read", PATIENCE, || {
        [&http, &other, &reader].iter().all(|http| http.get("/v1").status != 401)
    });
    let (path, beside) = (running(&http, "c"), running(&http, "d"));
    let id = begun(&http, &path, "echo secret");
    assert_eq!(ended(&http, &path, &id)["status"], "done");
    let (state, output) =
        (format!("{path}/executions/{id}"), format!("{path}/executions/{id}/output"));
    assert_eq!(http.get(&output).expect(200)["output"], "secret\n");
    for path in [&state, &output] {
        refused(&other.get(path), 404);
        refused(&http.get(&path.replace(&id, &beside[15..])), 404);
        refused(&http.get(&path.replace(&id, "x")), 404);
    }
    refused(&http.get(&format!("{beside}/executions/{id}/output")), 404);
    refused(&http.get(&format!("{beside}/executions/{id}")), 404);
    // Who may look may know how it ended, and not what it wrote.
    assert_eq!(reader.get(&state).expect(200)["exit_code"], 0);
    refused(&reader.get(&output), 403);
}

#[test]
fn a_read_of_output_is_on_record_where_there_was_some() {
    let server = Server::start(Options::fake().arg("--audit=executes").arg("--request-wait=1"));
    let path = running(&server, "c");
    let reads = || server.list("/v1/events?type=audit.read").len();
    // Nothing came before the server waits no longer.
    let answer = server.put(&format!("{path}/execute?command=sleep+1000"));
    assert_eq!(answer.expect(202), json!({ "output": "", "exit_code": null }));
    let id = begun(&server, &path, "true");
    ended(&server, &path, &id);
    let output = format!("{path}/executions/{id}/output");
    assert_eq!(server.get(&output).expect(200)["output"], "");
    let stream = [("accept", STREAM)];
    let empty = server.send(Method::GET, &output, &stream, None);
    assert_eq!((empty.status, empty.header("content-type"), &*empty.text), (200, STREAM, ""));
    assert_eq!(reads(), 0);

    let id = begun(&server, &path, "sh -c 'echo out; echo err >&2; exit 3'");
    ended(&server, &path, &id);
    let output = format!("{path}/executions/{id}/output");
    let frames = "\u{1}\0\0\0\0\0\0\u{4}out\n\u{2}\0\0\0\0\0\0\u{4}err\n";
    assert_eq!(server.send(Method::GET, &output, &stream, None).text, frames);
    assert_eq!(reads(), 1);
    assert_eq!(server.get(&format!("{output}?stream=1")).text, frames);
    assert_eq!(server.get(&output).expect(200)["output"], "out\nerr\n");
    let execute = format!("{path}/execute?command=echo+a&stream=1");
    let key = [("idempotency-key", "k")];
    for _ in 0..2 {
        let answer = server.send(Method::PUT, &execute, &key, None);
        assert_eq!(&*answer.text, "\u{1}\0\0\0\0\0\0\u{2}a\n");
        let id = answer.header("x-magnum-execution");
        assert_eq!(ended(&server, &path, id)["exit_code"], 0);
    }
    assert_eq!(reads(), 5);
}

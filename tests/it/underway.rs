//! How far a pull is while it goes on: shown with the container, said by the CLI that waits, and
//! nowhere in the log. Not here: what a real engine says of a pull (`backend/docker_engine`).

use std::fs::{self, File};
use std::process::{Command, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Options, PATIENCE, Server, wait_for, wait_until};

/// So much of a slow image is there until another image is pulled.
const SO_FAR: &str = " (1 of 5 MB)";

fn progress(server: &Server, path: &str) -> Value {
    server.get(path).expect(200)["task"]["progress"].clone()
}

/// Waits until a container says how far the pull of an image is.
fn is_pulling(server: &Server, path: &str, image: &str) {
    let told = json!(format!("pulling {image}{SO_FAR}"));
    wait_until("it to say how far it is", PATIENCE, || progress(server, path) == told);
}

/// Has slow pulls come to their end.
fn release(server: &Server, other_image: &str) {
    server.post("/v1/containers", &json!({ "image_id": other_image })).expect(201);
}

/// What the log has of a container's pulls.
fn pulls(server: &Server, path: &str) -> Vec<String> {
    let history = server.get(&format!("{path}/history?limit=1000")).expect(200);
    let types = history["events"].as_array().unwrap().iter();
    let types = types.map(|event| event["type"].as_str().unwrap().to_owned());
    types.filter(|name| name.contains(".pull")).collect()
}

const BEGAN: &str = "magnum.container.pull_started.v1";
const ENDED: &str = "magnum.container.pulled.v1";

#[test]
fn a_pull_says_how_far_it_is_while_it_lasts_and_records_two_events() {
    let server = Server::start(Options::fake());
    let body = json!({ "name": "c", "image_id": "trickling/x:1" });
    let at_once = [("prefer", "respond-async")];
    server.send(Method::POST, "/v1/containers", &at_once, Some(&body)).expect(202);
    let path = "/v1/containers/c";
    is_pulling(&server, path, "trickling/x:1");
    let listed = server.list("/v1/containers/detail");
    assert_eq!(listed[0]["task"]["progress"], json!(format!("pulling trickling/x:1{SO_FAR}")));
    // The log knows the step alone, and so does whoever asks what it says.
    let shown = server.get(path);
    let at = shown.header("x-magnum-position").to_owned();
    for past in [format!("{path}?at={at}"), format!("/v1/containers/detail?at={at}")] {
        let then = server.get(&past).expect(200).to_string();
        assert!(then.contains("\"pulling trickling/x:1\"") && !then.contains(SO_FAR), "{then}");
    }
    assert_eq!(pulls(&server, path), [BEGAN]);
    release(&server, "other:1");
    wait_until("it to be created", PATIENCE, || {
        let container = server.get(path).expect(200);
        container["status"] == "Stopped" && container["task"].is_null()
    });
    assert_eq!(pulls(&server, path), [BEGAN, ENDED]);
    // So it is where a container is recreated.
    let image = json!([{ "op": "replace", "path": "/image_id", "value": "trickling/y:1" }]);
    server.patch(path, &image).expect(200);
    server.send(Method::PUT, &format!("{path}/recreate"), &at_once, None).expect(202);
    is_pulling(&server, path, "trickling/y:1");
    release(&server, "other:2");
    wait_until("it to be made anew", PATIENCE, || {
        let container = server.get(path).expect(200);
        container["image_id"] == "trickling/y:1" && container["task"].is_null()
    });
    assert_eq!(pulls(&server, path), [BEGAN, ENDED, BEGAN, ENDED]);
}

#[test]
fn a_command_that_waits_for_a_pull_says_how_far_it_is() {
    let server = Server::start(Options::fake());
    let home = TempDir::new().unwrap();
    let said = home.path().join("stderr");
    let mut waits = Command::new(env!("CARGO_BIN_EXE_magnum"))
        .args(["container-create", "--name", "c", "--image", "trickling/x:1"])
        .env_clear()
        .env("MAGNUM_URL", server.url())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let line = format!("c: Creating — pulling trickling/x:1{SO_FAR}\n");
    wait_until("a line", PATIENCE, || fs::read_to_string(&said).unwrap().contains(&line));
    release(&server, "other:1");
    let ended = wait_for("the command to end", PATIENCE, || waits.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}

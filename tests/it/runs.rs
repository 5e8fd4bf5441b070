//! What is shown of a container's process: how it ended, how it is, and where it is reached; on the
//! real engine.

use std::process::Command;

use serde_json::{Value, json};

use crate::backend::{NOTICES_OF_THE_ENGINE, checked_image};
use crate::harness::{Options, PATIENCE, Server, docker, wait_until};
use crate::replay::magnum;

fn made(server: &Server, body: &Value) -> String {
    let made = server.post("/v1/containers", body).expect(201);
    made["uuid"].as_str().unwrap().to_owned()
}

fn sleeper(name: &str) -> Value {
    json!({"name": name, "image": "busybox:local", "command": "sleep 600"})
}

fn act(server: &Server, id: &str, action: &str) {
    server.put(&format!("/v1/containers/{id}/{action}")).expect(200);
}

fn show(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/containers/{id}")).expect(200)
}

/// The types of the events of a container, in short.
fn types(server: &Server, id: &str) -> Vec<String> {
    let history = server.get(&format!("/v1/containers/{id}/history?limit=1000")).expect(200);
    let events = history["events"].as_array().unwrap().iter();
    let short = |event: &Value| {
        let name = event["type"].as_str().unwrap().trim_start_matches("magnum.container.");
        name.rsplit_once(".v").unwrap().0.to_owned()
    };
    events.map(short).collect()
}

#[test]
fn every_end_has_its_exit_code_and_a_start_clears_it() {
    let server = Server::start(Options::docker());
    let ends = |id: &str| {
        let shown = show(&server, id);
        let times = [&shown["started_at"], &shown["finished_at"]].map(Value::is_string);
        (shown["status"].clone(), shown["exit_code"].clone(), times)
    };
    let id = made(&server, &sleeper("ended"));
    assert_eq!(ends(&id), (json!("Stopped"), Value::Null, [false, false]));
    act(&server, &id, "start");
    assert_eq!(ends(&id), (json!("Running"), Value::Null, [true, false]));
    act(&server, &id, "stop?timeout=0");
    assert_eq!(ends(&id), (json!("Stopped"), json!(137), [true, true]));
    act(&server, &id, "start");
    assert_eq!(ends(&id), (json!("Running"), Value::Null, [true, true]));
    // As Docker does it: it runs on, as another process.
    act(&server, &id, "pause");
    let before = show(&server, &id)["started_at"].clone();
    act(&server, &id, "reboot?timeout=0");
    assert_eq!(ends(&id), (json!("Running"), Value::Null, [true, true]));
    assert_ne!(show(&server, &id)["started_at"], before);
    act(&server, &id, "pause");
    act(&server, &id, "stop?timeout=0");
    assert_eq!(ends(&id), (json!("Stopped"), json!(137), [true, true]));
    // `why` counts from the process, not from the first one.
    act(&server, &id, "start");
    act(&server, &id, "reboot?timeout=0");
    let why = magnum(server.url(), &["why", &format!("container/{id}"), "-o", "json"]).json();
    let last = why["chain"][0]["type"].as_str().unwrap();
    assert_eq!(last, "container.rebooted", "{why}");

    let body = json!({"name": "none", "image": "busybox:local", "command": "no-such-command"});
    let id = made(&server, &body);
    let refused = server.put(&format!("/v1/containers/{id}/start"));
    assert!(refused.status >= 400, "{}", refused.text);
    assert_eq!(ends(&id), (json!("Error"), json!(127), [false, false]));
    assert_eq!(
        types(&server, &id)[2..],
        ["start_requested", "not_started", "work_failed"].map(str::to_owned)
    );
}

#[test]
fn a_kill_outside_is_told_from_our_own() {
    let _whole = NOTICES_OF_THE_ENGINE.blocking_lock();
    let server = Server::start(Options::docker());
    let stopped = |id: &str| {
        wait_until("the end", PATIENCE, || show(&server, id)["status"] == "Stopped");
        show(&server, id)["status_reason"].as_str().unwrap().to_owned()
    };
    let id = made(&server, &sleeper("killed"));
    act(&server, &id, "start");
    docker(&["kill", &format!("magnum-{id}")]);
    let outside = "killed outside Magnum with SIGKILL (exit code 137)";
    assert_eq!(stopped(&id), outside);
    let why = magnum(server.url(), &["why", &format!("container/{id}"), "-o", "json"]).json();
    assert!(why["says"].as_str().unwrap().contains(outside), "{why}");
    let told = magnum(server.url(), &["events", "list", "--filter", &format!("object={id}")]);
    assert!(told.out.contains(outside), "{}", told.out);
    act(&server, &id, "start");
    act(&server, &id, "kill");
    assert_eq!(stopped(&id), "exited with code 137");
}

/// What has the engine say by which port it publishes a port for IPv4: that for IPv6 may have
/// another number.
fn chosen(port: &str) -> String {
    let of = "{{if ne .HostIp \"::\"}}{{.HostPort}}{{end}}";
    format!("{{{{range index .NetworkSettings.Ports \"{port}/tcp\"}}}}{of}{{{{end}}}}")
}

#[test]
fn what_runs_is_shown_with_its_address_and_the_ports_that_were_chosen() {
    let server = Server::start(Options::docker());
    let mut body = sleeper("web");
    body["ports"] = json!(["80", "127.0.0.1::81/tcp"]);
    let id = made(&server, &body);
    let engine = |format: &str| docker(&["inspect", "-f", format, &format!("magnum-{id}")]);
    let hosts = || {
        let ports = show(&server, &id)["ports"].as_array().unwrap().clone();
        ports.iter().map(|port| port["host_port"].clone()).collect::<Vec<_>>()
    };
    let chosen = |port| json!(engine(&chosen(port)).parse::<u16>().unwrap());
    assert_eq!(hosts(), [Value::Null, Value::Null]);
    for action in ["start", "reboot?timeout=0"] {
        act(&server, &id, action);
        assert_eq!(hosts(), [chosen("80"), chosen("81")], "{action}");
        let shown = show(&server, &id);
        let address = engine("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}");
        assert_eq!(shown["address"], address);
        assert_eq!(shown["image_digest"], engine("{{.Image}}"));
        assert_eq!((&shown["restart_count"], &shown["health"]), (&json!(0), &json!("none")));
    }
    act(&server, &id, "stop?timeout=0");
    assert_eq!(hosts(), [Value::Null, Value::Null]);
    assert_eq!(show(&server, &id)["address"], Value::Null);
}

#[test]
fn a_restart_by_policy_is_shown_with_its_count() {
    let server = Server::start(Options::docker());
    let mut body = sleeper("again");
    body["command"] =
        json!("sh -c 'sleep 0.2; test -e /again && exec sleep 600; touch /again; exit 3'");
    body["restart_policy"] = json!("on-failure:3");
    body["ports"] = json!(["80"]);
    let id = made(&server, &body);
    act(&server, &id, "start");
    wait_until("the restart", PATIENCE, || {
        let shown = show(&server, &id);
        shown["restart_count"] == 1 && shown["status"] == "Running"
    });
    let engine = |format: &str| docker(&["inspect", "-f", format, &format!("magnum-{id}")]);
    let port = engine(&chosen("80"));
    let shown = show(&server, &id);
    assert_eq!(shown["ports"][0]["host_port"].to_string(), port);
    assert_eq!(shown["exit_code"], Value::Null);
}

/// An image that is removed with this.
struct Image(String);

impl Drop for Image {
    fn drop(&mut self) {
        drop(Command::new("docker").args(["rmi", "-f", &self.0]).output());
    }
}

#[test]
fn health_is_shown_filtered_by_and_recorded_when_it_changes() {
    let image = Image(checked_image(&format!("rest-{}", std::process::id())));
    let mut server = Server::start(Options::docker());
    let mut body = sleeper("checked");
    body["image"] = json!(image.0);
    let id = made(&server, &body);
    assert_eq!(show(&server, &id)["health"], "none");
    act(&server, &id, "start");
    let becomes = |server: &Server, health: &str, output: &str| {
        wait_until(health, PATIENCE, || show(server, &id)["health"] == health);
        assert_eq!(show(server, &id)["health_output"], output);
        let list = server.get(&format!("/v1/containers?health={health}")).expect(200);
        assert_eq!(list["containers"][0]["uuid"], id, "{list}");
    };
    becomes(&server, "unhealthy", "not well");
    docker(&["exec", &format!("magnum-{id}"), "touch", "/well"]);
    becomes(&server, "healthy", "well");
    let count = |server: &Server| {
        types(server, &id).iter().filter(|name| *name == "health_changed").count()
    };
    assert_eq!(count(&server), 2, "{:?}", types(&server, &id));
    // What changed while nobody looked is found.
    server.kill();
    docker(&["exec", &format!("magnum-{id}"), "rm", "/well"]);
    let health = ["inspect", "-f", "{{.State.Health.Status}}", &format!("magnum-{id}")];
    wait_until("a failed check", PATIENCE, || docker(&health) == "unhealthy");
    server.restart();
    becomes(&server, "unhealthy", "not well");
    assert_eq!(count(&server), 3);
    act(&server, &id, "stop?timeout=0");
    assert_eq!(show(&server, &id)["health"], "none");
}

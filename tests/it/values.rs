//! Values that mean something to the engine, on a real one. Those that the edge checks: `requests`.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Options, PATIENCE, Server, wait_for, wait_until};
use crate::requests::refused;

#[test]
fn the_engine_takes_signals_stops_and_variables_as_docker_does() {
    let server = Server::start(Options::docker());
    // The variables that it was given; the shell adds its own to those of its children.
    let script = "trap 'exit 3' TERM; trap 'exit 5' 37; xargs -0 -n1 echo < /proc/1/environ; \
        while :; do sleep 0.1; done";
    let start = |name: &str| {
        let body = json!({
            "name": name, "image": "busybox:local", "command": ["/bin/sh", "-c", script],
            "environment": { "PATH": null, "LEFT": "" },
        });
        server.post("/v1/containers", &body).expect(201);
        server.put(&format!("/v1/containers/{name}/start")).expect(200);
        let logs = format!("/v1/containers/{name}/logs");
        // The traps are set by then.
        wait_for("its variables", PATIENCE, || {
            let output = server.get(&logs).expect(200)["output"].take();
            output.as_str().filter(|text| text.contains("LEFT=")).map(str::to_owned)
        })
    };
    let ended = |name: &str| {
        wait_for("its end", PATIENCE, || {
            let shown = server.get(&format!("/v1/containers/{name}")).expect(200);
            (shown["status"] == "Stopped").then_some(shown)
        })
    };
    let variables = start("signalled");
    assert!(variables.lines().any(|line| line == "LEFT="), "{variables}");
    assert!(!variables.contains("PATH="), "the image's is left out: {variables}");
    let until = "/v1/containers/signalled/logs?until=2015-05-21";
    assert_eq!(server.get(until).expect(200)["output"], "");
    let since = "/v1/containers/signalled/logs?since=10m&until=0s";
    assert_eq!(server.get(since).expect(200)["output"], variables);
    server.put("/v1/containers/signalled/kill?signal=SIGRTMIN%2B3").expect(200);
    assert_eq!(ended("signalled")["exit_code"], 5);
    start("patient");
    server.put("/v1/containers/patient/stop?timeout=-1").expect(200);
    ended("patient");
}

#[test]
fn an_engine_that_is_away_is_503_for_everything_that_needs_it() {
    let home = TempDir::new().unwrap();
    let socket = home.path().join("engine.sock");
    let attach = || symlink("/var/run/docker.sock", &socket).unwrap();
    attach();
    let server =
        Server::start(Options::docker().arg("--docker-socket").arg(socket.to_str().unwrap()));
    let body = json!({ "name": "c", "image": "busybox:local", "command": "sleep 600" });
    server.post("/v1/containers", &body).expect(201);
    server.put("/v1/containers/c/start").expect(200);
    fs::remove_file(&socket).unwrap();
    let available = || server.get("/readyz").json["nodes_available"].clone();
    wait_until("the node to be away", PATIENCE, || available() == 0);
    for answer in
        [server.put("/v1/containers/c/execute?command=id"), server.get("/v1/containers/c/logs")]
    {
        assert_eq!(answer.header("retry-after"), "1", "{}", answer.text);
        refused(&answer, 503);
    }
    attach();
    wait_until("the node to be back", PATIENCE, || available() == 1);
    server.put("/v1/containers/c/execute?command=id").expect(200);
}

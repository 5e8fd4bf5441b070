//! What the engine, or somebody at it, does behind our back: each becomes one event and a status
//! that is true, on the real engine (F20, F24).

use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, docker, wait_for, wait_until};

/// A running container, with its engine name.
fn running(server: &Server, body: Value) -> (String, String) {
    let made = server.post("/v1/containers", &body).expect(201);
    let id = made["uuid"].as_str().unwrap().to_owned();
    server.put(&format!("/v1/containers/{id}/start")).expect(200);
    let name = format!("magnum-{id}");
    (id, name)
}

fn sleeper(name: &str) -> Value {
    json!({"name": name, "image": "busybox:local", "command": "sleep 600"})
}

fn show(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/containers/{id}")).expect(200)
}

/// Events of a container that no request asked for.
fn unasked(server: &Server, id: &str) -> Vec<Value> {
    let history = server.get(&format!("/v1/containers/{id}/history?limit=1000")).expect(200);
    let own = |event: &&Value| event["user"] == "magnum:watcher";
    history["events"].as_array().unwrap().iter().filter(own).cloned().collect()
}

/// Waits for the status, and that exactly this was recorded since `seen` events.
#[track_caller]
fn becomes(server: &Server, id: &str, status: &str, seen: &mut usize, event: &str) -> Value {
    wait_until(&format!("{event}, {status}"), PATIENCE, || {
        show(server, id)["status"] == status && unasked(server, id).len() > *seen
    });
    let events = unasked(server, id);
    assert_eq!(events.len(), *seen + 1, "one event each: {events:?}");
    *seen += 1;
    assert_eq!(events[*seen - 1]["type"], format!("magnum.{event}.v1"));
    events[*seen - 1]["data"].clone()
}

#[test]
fn f24_whatever_somebody_does_at_the_engine_is_recorded_once() {
    let server = Server::start(Options::docker());
    let (id, name) = running(&server, sleeper("victim"));
    let mut seen = 0;
    docker(&["pause", &name]);
    let data = becomes(&server, &id, "Paused", &mut seen, "container.drifted");
    assert_eq!(data["drift"], "Paused");
    docker(&["unpause", &name]);
    becomes(&server, &id, "Running", &mut seen, "container.drifted");
    docker(&["kill", &name]);
    let data = becomes(&server, &id, "Stopped", &mut seen, "container.exited");
    assert_eq!((&data["exit_code"], &data["oom_killed"]), (&json!(137), &json!(false)));
    docker(&["start", &name]);
    becomes(&server, &id, "Running", &mut seen, "container.drifted");
    docker(&["stop", "--time", "0", &name]);
    becomes(&server, &id, "Stopped", &mut seen, "container.exited");
    let other = format!("{name}-moved");
    docker(&["rename", &name, &other]);
    let data = becomes(&server, &id, "Stopped", &mut seen, "container.drifted");
    assert_eq!(data["drift"]["Renamed"]["found"], other);
    // It is still ours, whatever it is called.
    server.put(&format!("/v1/containers/{id}/start")).expect(200);
    docker(&["rm", "--force", &other]);
    wait_until("the loss to be known", PATIENCE, || show(&server, &id)["status"] == "Error");
    let last = unasked(&server, &id).pop().unwrap();
    assert_eq!(
        (&last["type"], &last["data"]["drift"]),
        (&json!("magnum.container.drifted.v1"), &json!("Removed"))
    );
    assert!(show(&server, &id)["status_reason"].as_str().unwrap().contains("removed"));
    let refused = server.put(&format!("/v1/containers/{id}/start"));
    assert_eq!(refused.status, 409, "{}", refused.text);
    server.delete(&format!("/v1/containers/{id}")).expect(204);
}

#[test]
fn f20_an_end_for_want_of_memory_says_so() {
    let server = Server::start(Options::docker());
    // `tail` keeps what it reads until there is a line, and /dev/zero has none.
    let body = json!({
        "name": "hungry", "image": "busybox:local", "memory": "8m",
        "command": "sh -c 'sleep 0.3; exec tail /dev/zero'",
    });
    let (id, _) = running(&server, body);
    let shown = wait_for("the end", PATIENCE, || {
        let shown = show(&server, &id);
        (shown["oom_killed"] == true).then_some(shown)
    });
    assert_eq!((&shown["status"], &shown["exit_code"]), (&json!("Stopped"), &json!(137)));
    assert!(shown["status_reason"].as_str().unwrap().contains("memory"), "{shown}");
}

#[test]
fn an_end_by_itself_has_its_exit_code_and_a_restart_policy_is_followed() {
    let server = Server::start(Options::docker());
    let body = |name: &str, policy: &str| {
        json!({
            "name": name, "image": "busybox:local", "restart_policy": policy,
            "command": "sh -c 'sleep 0.2; exit 3'",
        })
    };
    let (once, _) = running(&server, body("once", "no"));
    wait_until("the exit code", PATIENCE, || {
        let shown = show(&server, &once);
        shown["status"] == "Stopped" && shown["exit_code"] == 3
    });
    let (again, _) = running(&server, body("again", "on-failure:2"));
    wait_until("ends and restarts", PATIENCE, || {
        let types = unasked(&server, &again);
        let count = |wanted: &str| {
            types.iter().filter(|event| event["type"] == format!("magnum.{wanted}.v1")).count()
        };
        count("container.exited") >= 2 && count("container.restarted") >= 1
    });
    wait_until("the last end", PATIENCE, || show(&server, &again)["status"] == "Stopped");
}

/// A bay takes its containers along, and its network; others keep theirs.
#[test]
fn a_bay_goes_with_everything_in_it_and_nothing_else() {
    let server = Server::start(Options::docker());
    let bay = |name: &str| {
        let made = server.post("/v1/bays", &json!({ "name": name })).expect(201);
        let uuid = made["uuid"].as_str().unwrap().to_owned();
        wait_until("the bay", PATIENCE, || {
            server.get(&format!("/v1/bays/{uuid}")).expect(200)["status"] == "CREATE_COMPLETE"
        });
        uuid
    };
    let (goes, stays) = (bay("goes"), bay("stays"));
    let inside = |bay: &str, name: &str| {
        let mut body = sleeper(name);
        body["bay_uuid"] = json!(bay);
        running(&server, body)
    };
    let gone = [inside(&goes, "a"), inside(&goes, "b")];
    let (kept, kept_name) = inside(&stays, "a");
    server.delete(&format!("/v1/bays/{goes}")).expect(204);
    wait_until("the bay to be gone", PATIENCE, || {
        server.get(&format!("/v1/bays/{goes}")).status == 404
    });
    for (id, name) in gone {
        assert_eq!(server.get(&format!("/v1/containers/{id}")).status, 404);
        let filter = format!("name={name}");
        assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", &filter]), "");
    }
    let filter = format!("label=magnum.bay={goes}");
    assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &filter]), "");
    assert_eq!(show(&server, &kept)["status"], "Running");
    assert_eq!(docker(&["inspect", "--format", "{{.State.Running}}", &kept_name]), "true");
}

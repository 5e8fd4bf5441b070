//! What the engine, or somebody at it, does outside Magnum: each becomes one event and a status
//! that is true, on the real engine (F20, F24). Also what a restored log does not know (F54).

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backend::NOTICES_OF_THE_ENGINE;
use crate::harness::{Options, PATIENCE, Server, docker, wait_for, wait_until};
use crate::log_tools::magnum;
use crate::requests::refused;

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

/// Events of a container that no request asked for, without those that only add to the one before.
fn unasked(server: &Server, id: &str) -> Vec<Value> {
    let history = server.get(&format!("/v1/containers/{id}/history?limit=1000")).expect(200);
    let own = |event: &&Value| {
        event["user"] == "magnum:watcher" && event["type"] != "magnum.container.run_changed.v1"
    };
    history["events"].as_array().unwrap().iter().filter(own).cloned().collect()
}

/// The type of an event with the version that is recorded now.
fn full(event: &str) -> String {
    let version = match event {
        "container.exited" => 3,
        "container.restarted" => 2,
        _ => 1,
    };
    format!("magnum.{event}.v{version}")
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
    assert_eq!(events[*seen - 1]["type"], full(event));
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
    // An engine of this age that is busy misses the kernel's word now and then, for good: of five
    // containers it hears of one.
    for _ in 0..5 {
        let (id, _) = running(&server, body.clone());
        wait_until("the end", PATIENCE, || show(&server, &id)["status"] == "Stopped");
        // The end and the want of memory may be told one after the other.
        let end = Instant::now();
        while show(&server, &id)["oom_killed"] != true && end.elapsed() < PATIENCE / 6 {
            thread::sleep(Duration::from_millis(20));
        }
        let shown = show(&server, &id);
        assert_eq!((&shown["status"], &shown["exit_code"]), (&json!("Stopped"), &json!(137)));
        if shown["oom_killed"] == true {
            assert!(shown["status_reason"].as_str().unwrap().contains("memory"), "{shown}");
            return;
        }
    }
    panic!("the engine never says that memory was wanting");
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
        let count =
            |wanted: &str| types.iter().filter(|event| event["type"] == full(wanted)).count();
        count("container.exited") >= 2 && count("container.restarted") >= 1
    });
    wait_until("the last end", PATIENCE, || show(&server, &again)["status"] == "Stopped");
}

fn signal(server: &Server, signal: Signal) {
    let process = Pid::from_raw(server.pid().cast_signed()).unwrap();
    kill_process(process, signal).unwrap();
}

/// What the engine does while nobody looks is recorded all the same: as long as the server hears
/// of it late, and when it was not there at all.
#[test]
fn f20_no_end_is_lost_to_the_restart_that_followed() {
    let _whole = NOTICES_OF_THE_ENGINE.blocking_lock();
    let mut server = Server::start(Options::docker());
    let body = |name: &str| {
        json!({
            "name": name, "image": "busybox:local", "restart_policy": "on-failure:2",
            "command": "sh -c 'sleep 2; test -e /tmp/twice && exec sleep 600; \
                        test -e /tmp/once && touch /tmp/twice; touch /tmp/once; exit 3'",
        })
    };
    let twice: Vec<_> = ["exited", "restarted", "exited", "restarted"].into();
    let types = |server: &Server, id: &str| -> Vec<String> {
        unasked(server, id).iter().map(|event| event["type"].to_string()).collect()
    };
    let restarted = |name: &str| {
        let state = ["inspect", "--format", "{{.RestartCount}} {{.State.Status}}", name];
        wait_until("the last restart", PATIENCE, || docker(&state) == "2 running");
    };
    let recorded = |server: &Server, id: &str| {
        wait_until("all of it", PATIENCE, || types(server, id).len() >= twice.len());
        let expected = twice.iter().map(|it| format!("\"{}\"", full(&format!("container.{it}"))));
        assert_eq!(types(server, id), expected.collect::<Vec<_>>());
        let codes = unasked(server, id);
        assert_eq!(
            (&codes[0]["data"]["exit_code"], &codes[2]["data"]["exit_code"]),
            (&json!(3), &json!(3))
        );
        assert_eq!(show(server, id)["status"], "Running");
    };
    let (halted, name) = running(&server, body("halted"));
    signal(&server, Signal::STOP);
    restarted(&name);
    signal(&server, Signal::CONT);
    recorded(&server, &halted);

    let (away, name) = running(&server, body("away"));
    server.kill();
    restarted(&name);
    server.restart();
    recorded(&server, &away);
    recorded(&server, &halted);
    // A reboot is none.
    server.put(&format!("/v1/containers/{away}/reboot?timeout=0")).expect(200);
    assert!(server.stop().success());
    server.restart();
    let (last, _) = running(&server, sleeper("last"));
    assert_eq!(show(&server, &last)["status"], "Running");
    recorded(&server, &away);
}

/// A new bay that is there.
fn bay(server: &Server, name: &str) -> String {
    let made = server.post("/v1/bays", &json!({ "name": name })).expect(201);
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    wait_until("the bay", PATIENCE, || {
        server.get(&format!("/v1/bays/{uuid}")).expect(200)["status"] == "CREATE_COMPLETE"
    });
    uuid
}

fn sleeper_in(bay: &str, name: &str) -> Value {
    let mut body = sleeper(name);
    body["bay_uuid"] = json!(bay);
    body
}

/// A bay takes its containers along, and its network; others keep theirs.
#[test]
fn a_bay_goes_with_everything_in_it_and_nothing_else() {
    let server = Server::start(Options::docker());
    let (goes, stays) = (bay(&server, "goes"), bay(&server, "stays"));
    let inside = |bay: &str, name: &str| running(&server, sleeper_in(bay, name));
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

/// The engine's ids of a node's containers.
fn on_engine(node: &str) -> Vec<String> {
    let filter = format!("label=magnum.node={node}");
    let listed = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]);
    let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
    ids.sort_unstable();
    ids
}

/// What the node says that it has without a record, `container`s or `network`s, and how often it
/// said so.
fn unknown(server: &Server, node: &str, noun: &str) -> (Vec<Value>, usize, usize) {
    let shown = server.get(&format!("/v1/nodes/{node}")).expect(200);
    let history = server.get(&format!("/v1/nodes/{node}/history?limit=1000")).expect(200);
    let count = |wanted: &str| {
        let wanted = format!("magnum.node.unknown_{noun}_{wanted}.v1");
        history["events"].as_array().unwrap().iter().filter(|it| it["type"] == wanted).count()
    };
    let all = shown[format!("unknown_{noun}s")].as_array().unwrap().clone();
    (all, count("found"), count("gone"))
}

/// A log that is older than the engine: each difference becomes known, in both directions, and
/// nothing on the engine is removed or changed for it.
#[test]
fn f54_after_the_restore_of_an_old_backup_nothing_is_deleted() {
    let mut server = Server::start(Options::docker());
    let home = TempDir::new().unwrap();
    let node = server.get("/v1/nodes").expect(200)["nodes"][0]["uuid"].clone();
    let node = node.as_str().unwrap();
    let (same, _) = running(&server, sleeper("same"));
    let (deleted, _) = running(&server, sleeper("deleted"));
    let (stopped, _) = running(&server, sleeper("stopped"));
    let old_bay = bay(&server, "old");
    assert_eq!(unknown(&server, node, "container"), (vec![], 0, 0));
    assert_eq!(unknown(&server, node, "network"), (vec![], 0, 0));
    let target = home.path().join("backup");
    let done = magnum(&server.data(), &["backup", target.to_str().unwrap()]);
    assert_eq!(done.code, 0, "{done:?}");

    server.delete(&format!("/v1/containers/{deleted}")).expect(204);
    server.put(&format!("/v1/containers/{stopped}/stop?timeout=0")).expect(200);
    let new_bay = bay(&server, "new");
    let (made, made_name) = running(&server, sleeper_in(&new_bay, "made"));
    let other = server.post("/v1/containers", &sleeper("other")).expect(201);
    server.kill();
    let before = on_engine(node);
    assert_eq!(before.len(), 4);

    let new = home.path().join("new");
    let args = ["restore", target.to_str().unwrap(), "--data", new.to_str().unwrap(), "--yes"];
    let done = magnum(&new, &args);
    assert_eq!(done.code, 0, "{done:?}");
    let mut copy = Server::start(Options::docker().data(&new));
    let (found, ..) = wait_for("what no record knows", PATIENCE, || {
        Some(unknown(&copy, node, "container")).filter(|(found, ..)| found.len() == 2)
    });
    let mut known: Vec<_> = found.iter().map(|it| it["container_uuid"].clone()).collect();
    known.sort_by_key(Value::to_string);
    assert_eq!(known, [json!(made), other["uuid"].clone()], "ids sort by their time");
    let running_one = found.iter().find(|it| it["container_uuid"] == *made).unwrap();
    assert_eq!(running_one["state"], "running");
    assert_eq!(running_one["engine_name"], made_name);
    only_network_without_a_bay(&copy, node, &new_bay);
    wait_until("the loss to be known", PATIENCE, || show(&copy, &deleted)["status"] == "Error");
    wait_until("the stop to be known", PATIENCE, || show(&copy, &stopped)["status"] == "Stopped");
    assert_eq!(show(&copy, &same)["status"], "Running");
    assert_eq!(on_engine(node), before, "nothing is removed");

    // What is gone says so, what has no record is not there, and all else goes on.
    let words = refused(&copy.put(&format!("/v1/containers/{deleted}/start")), 409);
    assert!(words.contains("Possible now: recreate, delete"), "{words}");
    let why = show(&copy, &deleted)["status_reason"].to_string();
    assert!(why.contains("removed"), "{why}");
    copy.delete(&format!("/v1/containers/{deleted}")).expect(204);
    refused(&copy.get(&format!("/v1/containers/{made}")), 404);
    refused(&copy.get(&format!("/v1/bays/{new_bay}")), 404);
    assert_eq!(copy.get(&format!("/v1/bays/{old_bay}")).expect(200)["status"], "CREATE_COMPLETE");
    let (after, _) = running(&copy, sleeper("after"));
    copy.put(&format!("/v1/containers/{same}/stop?timeout=0")).expect(200);
    assert_eq!(show(&copy, &after)["status"], "Running");

    are_told_once_until_they_go(
        &mut copy,
        node,
        &new_bay,
        [&made, other["uuid"].as_str().unwrap()],
    );
}

/// Waits for the network of a bay that is not recorded; those of other bays are.
fn only_network_without_a_bay(server: &Server, node: &str, bay: &str) {
    let (found, ..) = wait_for("the network of no bay", PATIENCE, || {
        Some(unknown(server, node, "network")).filter(|(found, ..)| !found.is_empty())
    });
    assert_eq!(found.len(), 1, "{found:?}");
    let name = format!("magnum-{bay}");
    let id = docker(&["network", "inspect", "--format", "{{.Id}}", &name]);
    assert_eq!(
        (&found[0]["bay_uuid"], &found[0]["engine_name"], &found[0]["engine_id"]),
        (&json!(bay), &json!(name), &json!(id))
    );
}

/// Two containers, the first one running in the bay, and the bay's network: without a record.
fn are_told_once_until_they_go(copy: &mut Server, node: &str, bay: &str, containers: [&str; 2]) {
    let [made_name, other_name] = containers.map(|id| format!("magnum-{id}"));
    assert!(copy.stop().success());
    copy.restart();
    wait_until("the node", PATIENCE, || {
        copy.get(&format!("/v1/nodes/{node}")).expect(200)["status"] == "available"
    });
    let state = || docker(&["inspect", "--format", "{{.State.Running}}", &made_name]);
    assert_eq!(state(), "true");
    let told = |noun| {
        let (_, found, gone) = unknown(copy, node, noun);
        (found, gone)
    };
    assert_eq!((told("container"), told("network")), ((2, 0), (1, 0)));
    docker(&["rm", "--force", &made_name]);
    wait_until("it to be gone", PATIENCE, || unknown(copy, node, "container").0.len() == 1);
    assert_eq!((told("container"), told("network")), ((2, 1), (1, 0)));
    let shown = magnum(&copy.data(), &["--magnum-url", copy.url(), "node-show", node]);
    assert!(shown.out.contains("unknown_containers"), "{shown:?}");
    assert!(shown.out.contains("unknown_networks") && shown.out.contains(bay), "{shown:?}");
    // Networks are compared along with containers.
    docker(&["network", "rm", &format!("magnum-{bay}")]);
    docker(&["rm", "--force", &other_name]);
    wait_until("both to be gone", PATIENCE, || {
        told("container") == (2, 2) && told("network") == (1, 1)
    });
    // What is recorded is shown a moment later.
    wait_until("none to be shown", PATIENCE, || unknown(copy, node, "network").0.is_empty());
}

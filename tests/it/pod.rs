//! Pods over REST: on the model of an engine, and where the namespaces of a kernel count on a real
//! one. Not here: what a manifest may have (`src/manifest`), what engines do (`backend`), the old
//! client (`client`).

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Http, Options, PATIENCE, Server, docker, run, wait_for, wait_until};
use crate::noun::settled;
use crate::replay::magnum;
use crate::requests::refused;
use magnum::ids::Kind;

/// A pod of containers that sleep.
fn manifest(name: &str, containers: &[&str]) -> Value {
    let container = |name: &&str| {
        json!({
            "name": name, "image": "busybox:local", "command": ["sleep"], "args": ["600"],
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "web" } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": containers.iter().map(container).collect::<Vec<_>>(),
        },
    })
}

/// Makes a bay; its uuid, once it is there.
fn bay(server: &Http, name: &str) -> String {
    let made = server.post("/v1/bays", &json!({ "name": name })).expect(201);
    settled(Kind::Bay, server, name);
    made["uuid"].as_str().unwrap().to_owned()
}

fn create(server: &Http, bay: &str, manifest: &Value) -> Value {
    server.post("/v1/pods", &json!({ "bay_uuid": bay, "manifest": manifest })).expect(201)
}

/// A pod, once it has a status and its work is done.
fn awaited(server: &Http, name: &str, status: &str) -> Value {
    wait_for(&format!("{name} to be {status}"), PATIENCE, || {
        let pod = server.get(&format!("/v1/pods/{name}")).expect(200);
        (pod["status"] == status && pod["task"].is_null()).then_some(pod)
    })
}

/// The types of the events of a pod, in short, without repetitions in a row.
fn types(server: &Http, uuid: &str) -> Vec<String> {
    let history = server.get(&format!("/v1/pods/{uuid}/history?limit=1000")).expect(200);
    let short = |event: &Value| {
        let name = event["type"].as_str().unwrap().trim_start_matches("magnum.pod.");
        name.rsplit_once(".v").unwrap().0.to_owned()
    };
    let mut types: Vec<_> = history["events"].as_array().unwrap().iter().map(short).collect();
    types.dedup();
    types
}

#[test]
fn a_pod_from_birth_to_death() {
    let server = Server::start(Options::fake());
    let bay = bay(&server, "b");
    let mut manifest = manifest("front", &["nginx", "log"]);
    manifest["spec"]["containers"][0]["env"] = json!([{ "name": "TOKEN", "value": "hunter2" }]);
    let body = json!({ "bay_uuid": bay, "manifest": manifest.to_string(), "desc": "d" });
    let answer = server.post("/v1/pods", &body);
    let place = answer.header("location").to_owned();
    let made = answer.expect(201);
    let uuid = made["uuid"].as_str().unwrap().to_owned();
    assert_eq!(place, format!("{}/v1/pods/{uuid}", server.url()));
    assert_eq!(
        (&made["name"], &made["bay_uuid"], &made["desc"]),
        (&json!("front"), &json!(bay), &json!("d"))
    );
    assert_eq!(made["images"], json!(["busybox:local", "busybox:local"]));
    assert_eq!(made["labels"], json!({ "app": "web" }));
    let pod = awaited(&server, "front", "Running");
    let containers = pod["containers"].as_array().unwrap();
    let names: Vec<_> = containers.iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["nginx", "log"]);
    for container in containers {
        assert_eq!((&container["state"], &container["ready"]), (&json!("running"), &json!(true)));
    }
    let ready = pod["conditions"].as_array().unwrap().iter().all(|it| it["status"] == "True");
    assert!(ready, "{pod}");
    for list in ["/v1/pods", "/v1/pods/?bay_ident=b", "/v1/pods?status=Running&name=front"] {
        assert_eq!(server.list(list).len(), 1, "{list}");
    }
    assert_eq!(server.list("/v1/pods?status=Failed").len(), 0);
    assert_eq!(server.delete("/v1/pods/front").status, 204);
    refused(&server.get("/v1/pods/front"), 404);
    let told = types(&server, &uuid);
    // What its containers do when they are stopped may be seen or not.
    let asked: Vec<_> = told.iter().filter(|it| *it != "state_changed").collect();
    assert_eq!(
        asked,
        [
            "create_requested",
            "created",
            "start_requested",
            "started",
            "delete_requested",
            "deleted"
        ]
    );
    assert_eq!(told[3..5], ["state_changed", "started"], "it runs once it is said to be started");
    for path in [format!("/v1/pods/{uuid}/history"), "/v1/events?limit=1000".to_owned()] {
        assert!(!server.get(&path).text.contains("hunter2"), "{path}");
    }
    assert!(!server.stderr().contains("hunter2"));
}

#[test]
fn a_manifest_that_cannot_be_is_refused_before_anything_is_recorded() {
    let server = Server::start(Options::fake());
    let bay = bay(&server, "b");
    let head = server.get("/v1/pods").header("x-magnum-position").to_owned();
    let pod = |spec: Value| json!({ "metadata": { "name": "a" }, "spec": spec });
    let one = json!([{ "name": "c", "image": "i" }]);
    let of_host = json!([{ "name": "v", "hostPath": { "path": "/" } }]);
    for (manifest, words) in [
        (json!(""), "'manifest' can't be empty"),
        (json!("[1]"), "The manifest is not a JSON object or YAML mapping."),
        (json!({ "spec": {} }), "Field metadata['name'] can't be empty in manifest."),
        (pod(json!({})), "Field spec['containers'] can't be empty in manifest."),
        (pod(json!({ "containers": one, "hostNetwork": true })), "spec.hostNetwork"),
        (pod(json!({ "containers": one, "serviceAccountName": "x" })), "spec.serviceAccountName"),
        (pod(json!({ "containers": one, "volumes": of_host })), "spec.volumes[0].hostPath"),
    ] {
        let body = json!({ "bay_uuid": bay, "manifest": manifest });
        let said = refused(&server.post("/v1/pods", &body), 400);
        assert!(said.contains(words), "{manifest}: {said}");
    }
    for (body, words) in [
        (json!({ "bay_uuid": bay }), "'manifest' can't be empty"),
        (json!({ "bay_uuid": bay, "manifest": {} }), "in manifest."),
        (json!({ "bay_uuid": bay, "manifest_url": "ftp://h/x" }), "Invalid URL scheme ftp"),
        (
            json!({ "bay_uuid": "b", "manifest": pod(json!({ "containers": one })) }),
            "Expected a uuid but received b.",
        ),
        (json!({ "bay_uuid": bay, "name": "n" }), "Cannot set read only field."),
    ] {
        let said = refused(&server.post("/v1/pods", &body), 400);
        assert!(said.contains(words), "{body}: {said}");
    }
    assert_eq!(server.get("/v1/pods").header("x-magnum-position"), head);
}

#[test]
fn what_a_pod_cannot_be_made_from_is_an_object_that_says_why() {
    let server = Server::start(Options::fake());
    let bay = bay(&server, "b");
    let mut absent = manifest("a", &["c"]);
    absent["spec"]["containers"][0]["image"] = json!("missing/none:1");
    let made = create(&server, &bay, &absent);
    assert_eq!(made["status"], "Failed");
    assert!(made["status_reason"].as_str().unwrap().contains("pull access denied"), "{made}");
    assert_eq!(server.delete("/v1/pods/a").status, 204);
}

#[test]
fn pods_go_with_their_bay_and_their_names_are_unique_in_it() {
    let server = Server::start(Options::fake());
    let (first, second) = (bay(&server, "b1"), bay(&server, "b2"));
    create(&server, &first, &manifest("a", &["c"]));
    create(&server, &second, &manifest("a", &["c"]));
    let body = json!({ "bay_uuid": first, "manifest": manifest("a", &["c"]) });
    let words = refused(&server.post("/v1/pods", &body), 409);
    assert!(words.contains('a'), "{words}");
    assert_eq!(server.delete("/v1/bays/b1").status, 204);
    wait_until("the bay to be gone", PATIENCE, || server.get("/v1/bays/b1").status == 404);
    let left = server.list("/v1/pods");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["bay_uuid"], json!(second));
}

#[test]
fn commands_and_logs_are_those_of_one_container() {
    let server = Server::start(Options::docker());
    let bay = bay(&server, "b");
    let mut manifest = manifest("a", &["first", "second"]);
    for (index, name) in ["first", "second"].into_iter().enumerate() {
        let script = format!("echo said by {name}; exec sleep 600");
        manifest["spec"]["containers"][index]["command"] = json!(["sh", "-c", script]);
        manifest["spec"]["containers"][index]["args"] = json!([]);
        manifest["spec"]["containers"][index]["env"] = json!([{ "name": "ME", "value": name }]);
    }
    create(&server, &bay, &manifest);
    awaited(&server, "a", "Running");
    for (container, name) in [("", "first"), ("container=second", "second")] {
        let logs = server.get(&format!("/v1/pods/a/logs?{container}")).expect(200);
        assert_eq!(logs["output"], format!("said by {name}\n"));
        let path = format!("/v1/pods/a/execute?command=sh+-c+'echo+$ME'&{container}");
        let done = server.put(&path).expect(200);
        assert_eq!((&done["output"], &done["exit_code"]), (&json!(format!("{name}\n")), &json!(0)));
    }
    let words = refused(&server.get("/v1/pods/a/logs?container=third"), 400);
    assert!(words.contains("The pod has the containers first, second."), "{words}");
    let cli =
        magnum(server.url(), &["pod-execute", "a", "-c", "second", "--command", "sh -c 'exit 7'"]);
    assert_eq!(cli.code, 7, "{cli:?}");
    assert_eq!(server.delete("/v1/pods/a").status, 204);
}

#[test]
fn what_is_done_to_a_pod_outside_is_recorded_and_it_comes_back() {
    let server = Server::start(Options::docker());
    let bay = bay(&server, "b");
    let uuid = create(&server, &bay, &manifest("a", &["c"]))["uuid"].as_str().unwrap().to_owned();
    awaited(&server, "a", "Running");
    // A process that dies is started again by the engine.
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &format!("magnum-{uuid}-c")]);
    assert!(run(Command::new("kill").args(["-9", pid.trim()])).code == 0);
    let pod = wait_for("the restart to be recorded", PATIENCE, || {
        let pod = server.get("/v1/pods/a").expect(200);
        (pod["containers"][0]["restart_count"] == 1 && pod["status"] == "Running").then_some(pod)
    });
    assert_eq!(pod["containers"][0]["exit_code"], 137);
    // The sandbox takes all of them along.
    docker(&["kill", &format!("magnum-{uuid}")]);
    wait_until("the pod to be started again", PATIENCE, || {
        types(&server, &uuid).iter().filter(|it| *it == "started").count() == 2
    });
    awaited(&server, "a", "Running");
    server.put("/v1/pods/a/execute?command=wget+-qO-+http://a:1").expect(200);
    let all = docker(&["ps", "-aq", "--filter", &format!("label=magnum.pod={uuid}")]);
    let mut remove = Command::new("docker");
    assert!(run(remove.args(["rm", "-f"]).args(all.split_whitespace())).code == 0);
    let pod = awaited(&server, "a", "Failed");
    let why = pod["status_reason"].as_str().unwrap();
    // It may be seen without its sandbox first, and cannot be started again then.
    let seen = ["removed outside Magnum", "the Docker engine has no pod"];
    assert!(seen.iter().any(|words| why.contains(words)), "{why}");
    assert_eq!(server.delete("/v1/pods/a").status, 204);
    let volumes = docker(&["volume", "ls", "-q", "--filter", &format!("label=magnum.pod={uuid}")]);
    assert_eq!(volumes, "");
}

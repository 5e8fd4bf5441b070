//! The record is what runs: what is wanted stands beside it, and a recreate makes it so.

use serde_json::{Value, json};

use crate::harness::{Options, PATIENCE, Server, docker, wait_until};
use crate::replay::magnum;
use crate::requests::refused;

fn show(server: &Server, name: &str) -> Value {
    server.get(&format!("/v1/containers/{name}")).expect(200)
}

/// A container that runs; the engine's name of it.
fn running(server: &Server, body: &Value) -> String {
    let made = server.post("/v1/containers", body).expect(201);
    let uuid = made["uuid"].as_str().unwrap();
    server.put(&format!("/v1/containers/{uuid}/start")).expect(200);
    format!("magnum-{uuid}")
}

fn replace(field: &str, value: &str) -> Value {
    json!([{ "op": "replace", "path": format!("/{field}"), "value": value }])
}

/// The types of what happened to a container, without their versions.
fn story(server: &Server, name: &str) -> Vec<String> {
    let history = server.get(&format!("/v1/containers/{name}/history?limit=1000")).expect(200);
    let types = history["events"].as_array().unwrap().iter().map(|event| {
        let name = event["type"].as_str().unwrap();
        let step = event["data"]["step"].as_str().map(|step| format!(" {step}"));
        let name = name.trim_start_matches("magnum.").rsplit_once(".v").unwrap().0;
        format!("{name}{}", step.unwrap_or_default())
    });
    types.collect()
}

#[test]
fn a_patch_that_recreates_makes_what_is_wanted_and_records_each_step() {
    let server = Server::start(Options::fake());
    running(&server, &json!({ "name": "c", "image_id": "busybox", "command": "sleep 1000" }));
    let before = show(&server, "c");
    server.patch("/v1/containers/c", &replace("command", "sleep 2000")).expect(200);
    let path = "/v1/containers/c?recreate=true";
    let made = server.patch(path, &replace("image_id", "other:1")).expect(200);
    assert_eq!((&made["image_id"], &made["command"]), (&json!("other:1"), &json!("sleep 2000")));
    assert_eq!((&made["desired"], &made["conditions"]), (&json!({}), &json!([])));
    assert_eq!((&made["status"], &made["status_reason"]), (&json!("Running"), &Value::Null));
    for another in ["engine_id", "started_at", "address", "image_digest"] {
        assert!(made[another].is_string() && made[another] != before[another], "{another}");
    }
    assert!(made["finished_at"].is_string() && before["finished_at"].is_null());
    let mut told = story(&server, "c");
    let from = told.iter().position(|it| it == "container.recreate_requested").unwrap();
    let mut told = told.split_off(from);
    told.retain(|it| !it.starts_with("container.pull"));
    let expected = [
        "container.recreate_requested",
        "container.updated",
        "container.recreate_advanced Prepared",
        "container.recreate_advanced SetAside",
        "container.recreate_advanced Made",
        "container.recreate_advanced Started",
        "container.recreated",
    ];
    assert_eq!(told, expected);
    let blame = server.get("/v1/containers/c/blame?field=image_id").expect(200);
    assert_eq!(blame["chain"][0]["type"], "container.recreated");
    // One that does not run is made anew and not started.
    server.put("/v1/containers/c/stop?timeout=0").expect(200);
    server.put("/v1/containers/c/recreate").expect(200);
    assert_eq!(show(&server, "c")["status"], "Stopped");
    server.put("/v1/containers/c/start").expect(200);
    server.put("/v1/containers/c/pause").expect(200);
    let words = refused(&server.put("/v1/containers/c/recreate"), 409);
    assert!(words.contains("unpause"), "{words}");
}

#[test]
fn what_cannot_be_recreated_runs_on_and_the_record_says_why() {
    let server = Server::start(Options::fake());
    running(&server, &json!({ "name": "c", "image_id": "busybox", "command": "sleep 1000" }));
    let before = show(&server, "c");
    let path = "/v1/containers/c?recreate=1";
    for (field, value, why) in [
        ("image_id", "missing/none:1", "recreate failed: pull access denied"),
        ("command", "no-such-command", "recreate failed: executable file not found"),
    ] {
        let answer = server.patch(path, &replace(field, value));
        assert!((400..500).contains(&answer.status), "{}", answer.text);
        let now = show(&server, "c");
        for same in ["status", "image_id", "command", "engine_id"] {
            assert_eq!(now[same], before[same], "{same} after {value}");
        }
        assert_eq!(now["desired"], json!({ field: value }));
        assert_eq!(now["conditions"], json!(["NeedsRecreate"]));
        let reason = now["status_reason"].as_str().unwrap();
        assert!(reason.starts_with(why), "{reason}");
        server.patch("/v1/containers/c", &replace(field, before[field].as_str().unwrap()));
    }
    let told = story(&server, "c");
    assert!(told.contains(&"container.recreate_advanced Restored".to_owned()), "{told:?}");
    assert!(!told.iter().any(|it| it == "container.exited" || it == "container.drifted"));
    assert!(server.put("/v1/containers/c/stop?timeout=0").status == 200, "it can be stopped");
}

#[test]
fn what_disappeared_from_the_engine_comes_back_with_its_environment() {
    let server = Server::start(Options::docker());
    let bay = server.post("/v1/bays", &json!({ "name": "b" })).expect(201)["uuid"].take();
    let body = |name: &str, image: &str| {
        json!({
            "name": name, "image_id": image, "command": "sleep 600", "bay_uuid": bay,
            "environment": { "PIN": "7391" }, "labels": { "tier": "front" },
        })
    };
    let gone = running(&server, &body("gone", "busybox:local"));
    let kept = running(&server, &body("kept", "busybox:local"));
    let failed = server.post("/v1/containers", &body("failed", "127.0.0.1:1/none:1"));
    assert!([201, 202].contains(&failed.status), "{}", failed.text);
    wait_until("the create to fail", PATIENCE, || show(&server, "failed")["status"] == "Error");
    docker(&["rm", "-f", &gone]);
    wait_until("it to be missed", PATIENCE, || show(&server, "gone")["status"] == "Error");
    let now = show(&server, "gone");
    assert_eq!(now["conditions"], json!(["NeedsRecreate"]));
    server.patch("/v1/containers/failed", &replace("image_id", "busybox:local")).expect(200);
    let kept_id = docker(&["inspect", "-f", "{{.Id}}", &kept]);

    let done = magnum(server.url(), &["bay-recreate", "b"]);
    assert_eq!(done.code, 0, "{done:?}");
    let mut lines: Vec<&str> = done.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Recreated container failed.", "Recreated container gone."]);
    assert_eq!(show(&server, "gone")["status"], "Running", "it ran before");
    assert_eq!(show(&server, "failed")["status"], "Stopped");
    assert_eq!(docker(&["inspect", "-f", "{{.Id}}", &kept]), kept_id, "nothing was wrong with it");
    let command = "/v1/containers/gone/execute?command=sh+-c+'echo+%24PIN'";
    assert_eq!(server.put(command).expect(200)["output"], "7391\n");
    let label = "{{index .Config.Labels \"tier\"}}";
    assert_eq!(docker(&["inspect", "-f", label, &gone]), "front");
    let again = magnum(server.url(), &["bay-recreate", "b"]);
    assert_eq!(again.out, "None of 3 containers needs to be recreated.\n");
    let stray =
        docker(&["ps", "-aq", "--filter", &format!("label=magnum.bay={}", bay.as_str().unwrap())]);
    assert_eq!(stray.lines().count(), 3);
}

#[test]
fn limits_change_in_place_and_labels_with_a_recreate() {
    let server = Server::start(Options::docker());
    let name = running(
        &server,
        &json!({
            "name": "c", "image_id": "busybox:local", "command": "sleep 600", "memory": "64m",
            "cpu": 0.5, "restart_policy": "no", "labels": { "tier": "front" },
        }),
    );
    let started = docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &name]);
    let patch = json!([
        { "op": "replace", "path": "/memory", "value": "256m" },
        { "op": "replace", "path": "/cpu", "value": 0.25 },
        { "op": "replace", "path": "/restart_policy", "value": "on-failure:3" },
    ]);
    let now = server.patch("/v1/containers/c", &patch).expect(200);
    assert_eq!((&now["desired"], &now["conditions"]), (&json!({}), &json!([])));
    assert_eq!((&now["memory"], &now["cpu"]), (&json!(256 << 20), &json!(0.25)));
    assert_eq!(now["restart_policy"], "on-failure:3");
    let limits =
        "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(docker(&["inspect", "-f", limits, &name]), "268435456 250000000 on-failure");
    assert_eq!(docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &name]), started);
    let labels = json!([
        { "op": "add", "path": "/labels/tier", "value": "back" },
        { "op": "remove", "path": "/cpu" },
    ]);
    let now = server.patch("/v1/containers/c", &labels).expect(200);
    assert_eq!((&now["labels"], &now["cpu"]), (&json!({ "tier": "front" }), &json!(0.25)));
    assert_eq!(now["desired"], json!({ "cpu": null, "labels": { "tier": "back" } }));
    server.put("/v1/containers/c/recreate").expect(200);
    let now = show(&server, "c");
    assert_eq!((&now["labels"], &now["cpu"]), (&json!({ "tier": "back" }), &Value::Null));
    assert_eq!((&now["memory"], &now["desired"]), (&json!(256 << 20), &json!({})));
    let label = "{{index .Config.Labels \"tier\"}} {{.HostConfig.NanoCpus}}";
    assert_eq!(docker(&["inspect", "-f", label, &name]), "back 0");
    let reserved = json!([{ "op": "add", "path": "/labels/magnum.node", "value": "x" }]);
    refused(&server.patch("/v1/containers/c", &reserved), 400);
}

#[test]
fn a_renamed_container_is_reached_by_its_new_name_alone() {
    let server = Server::start(Options::docker());
    let web = |name: &str, folder: &str| {
        let command = format!("httpd -f -h {folder}");
        json!({ "name": name, "image_id": "busybox:local", "command": command, "ports": ["80"] })
    };
    let first = running(&server, &web("first", "/"));
    running(
        &server,
        &json!({ "name": "asker", "image_id": "busybox:local", "command": "sleep 600" }),
    );
    let asks = |name: &str, file: &str| {
        let command = format!("wget+-q+-O+-+http://{name}/{file}");
        let path = format!("/v1/containers/asker/execute?command={command}");
        server.put(&path).expect(200)["exit_code"] == 0
    };
    wait_until("it to serve", PATIENCE, || asks("first", "etc/passwd"));
    let renamed = server.patch("/v1/containers/first", &replace("name", "second")).expect(200);
    assert_eq!((&renamed["name"], &renamed["task"]), (&json!("second"), &Value::Null));
    assert!(asks("second", "etc/passwd") && !asks("first", "etc/passwd"));
    assert!(docker(&["port", &first]).starts_with("80/tcp"), "it is published");
    assert_eq!(show(&server, "second")["status"], "Running");
    // Another one takes the old name, and again after a restart.
    running(&server, &web("first", "/bin"));
    server.put("/v1/containers/second/reboot?timeout=0").expect(200);
    wait_until("both to serve", PATIENCE, || asks("first", "ls") && asks("second", "etc/passwd"));
    assert!(!asks("second", "ls"));
    // One that does not run is found by its new name when it does.
    server.put("/v1/containers/second/stop?timeout=0").expect(200);
    server.patch("/v1/containers/second", &replace("name", "third")).expect(200);
    server.put("/v1/containers/third/start").expect(200);
    wait_until("it to serve", PATIENCE, || asks("third", "etc/passwd"));
    assert!(!asks("second", "etc/passwd"));
    let told = story(&server, "third");
    assert!(told.contains(&"container.renamed".to_owned()), "{told:?}");
    assert!(!told.contains(&"container.drifted".to_owned()), "{told:?}");
}

#[test]
fn an_image_is_replaced_on_the_engine_and_what_was_published_stays() {
    let server = Server::start(Options::docker());
    let name = running(
        &server,
        &json!({
            "name": "web", "image_id": "busybox:local", "command": "httpd -f -h /", "ports": ["80"],
        }),
    );
    let id = docker(&["inspect", "-f", "{{.Id}}", &name]);
    let update = ["container-update", "web", "replace", "command=httpd -f -h /bin", "--recreate"];
    let done = magnum(server.url(), &update);
    assert_eq!(done.code, 0, "{done:?}");
    assert_ne!(docker(&["inspect", "-f", "{{.Id}}", &name]), id);
    assert_eq!(
        docker(&["inspect", "-f", "{{json .Config.Cmd}}", &name]),
        r#"["httpd","-f","-h","/bin"]"#
    );
    assert!(docker(&["port", &name]).starts_with("80/tcp"), "it is published");
    assert_eq!(show(&server, "web")["command"], "httpd -f -h /bin");
    let aside = format!("name={name}-replaced");
    assert_eq!(docker(&["ps", "-aq", "--filter", &aside]), "");
}

#[test]
fn volumes_of_the_image_go_from_the_old_container_to_the_new_one() {
    let server = Server::start(Options::docker());
    let image = format!("volume-{}", std::process::id());
    let plain = docker(&["create", "busybox:local"]);
    docker(&["commit", "--change", "VOLUME /data", &plain, &image]);
    docker(&["rm", &plain]);
    let body = json!({ "name": "store", "image_id": image, "command": "sleep 600" });
    let name = running(&server, &body);
    docker(&["exec", &name, "sh", "-c", "echo kept > /data/x"]);
    let format = "{{range .Mounts}}{{.Name}}{{end}}";
    let volume = docker(&["inspect", "-f", format, &name]);
    // The second time the container before it had the volume from another one.
    for command in ["sleep 601", "sleep 602"] {
        let change = format!("command={command}");
        let update = ["container-update", "store", "replace", &change, "--recreate"];
        let done = magnum(server.url(), &update);
        assert_eq!(done.code, 0, "{done:?}");
        assert_eq!(docker(&["exec", &name, "cat", "/data/x"]), "kept", "{command}");
        assert_eq!(docker(&["inspect", "-f", format, &name]), volume);
    }
    // What does not start leaves the volume to the one that comes back.
    let update = ["container-update", "store", "replace", "command=/none", "--recreate"];
    assert_eq!(magnum(server.url(), &update).code, 1);
    assert_eq!(docker(&["exec", &name, "cat", "/data/x"]), "kept");
    assert_eq!(magnum(server.url(), &["container-delete", "store"]).code, 0);
    let left = docker(&["volume", "ls", "-q", "--filter", &format!("name={volume}")]);
    assert_eq!(left, "", "it goes with its last container");
    docker(&["rmi", &image]);
}

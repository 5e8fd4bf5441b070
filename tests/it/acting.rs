//! What the commands of the CLI that act print for scripts, and what a failure says for
//! `magnum trace`, with a real server. Not here: how they ask for it (`cli`).

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Done, Http, Options, PATIENCE, Server, run, wait_until};
use crate::replay_step::Terminal;

/// What a document has, in its order.
const FIELDS: [&str; 8] =
    ["action", "error", "kind", "name", "request_id", "result", "status", "uuid"];

fn magnum(server: &Http, args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    run(command.args(args).env_clear().env("MAGNUM_URL", server.url()))
}

/// The document of a command that is about one object.
#[track_caller]
fn acted(server: &Http, args: &[&str]) -> Value {
    let done = magnum(server, &[&["-o", "json"], args].concat());
    let document = done.json();
    let fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, FIELDS, "{args:?}");
    let is_failed = document["result"] == "failed";
    assert_eq!((done.code, document["error"].is_string()), (i32::from(is_failed), is_failed));
    document
}

/// The events of a request, by the command that is there for it.
#[track_caller]
fn traced(server: &Http, request_id: &str) -> Vec<String> {
    let trace = magnum(server, &["-o", "json", "trace", request_id]).json();
    let name = |event: &Value| event["event"]["type"].as_str().unwrap().to_owned();
    trace["events"].as_array().unwrap().iter().map(name).collect()
}

fn container(server: &Http, name: &str) -> Value {
    let made = json!({ "name": name, "image_id": "busybox:local", "command": "sleep 1000" });
    server.post("/v1/containers", &made).expect(201)
}

#[test]
fn commands_that_act_print_what_became_of_it_and_the_request_to_trace() {
    let server = Server::start(Options::fake());
    let made = container(&server, "web");
    for (args, action, status) in [
        (&["container-start", "web"][..], "start", Some("Running")),
        (&["container-pause", "web"], "pause", Some("Paused")),
        (&["container-unpause", "web"], "unpause", Some("Running")),
        (&["restart", "web"], "reboot", Some("Running")),
        (&["container-kill", "web", "--signal", "USR1"], "kill", None),
        (&["container-stop", "web", "--timeout", "1"], "stop", Some("Stopped")),
        (&["container-recreate", "web"], "recreate", Some("Stopped")),
        (&["rm", "web"], "delete", Some("Deleted")),
    ] {
        let told = acted(&server, args);
        let wanted = json!({ "kind": "container", "uuid": made["uuid"], "name": "web",
            "action": action, "result": "done", "error": null });
        for (field, value) in wanted.as_object().unwrap() {
            assert_eq!(told[field], *value, "{args:?}: {told}");
        }
        assert!(status.is_none_or(|status| told["status"] == status), "{args:?}: {told}");
        let events = traced(&server, told["request_id"].as_str().unwrap());
        assert_eq!(events[0], format!("container.{action}_requested"), "{events:?}");
    }
    let bay = made["bay_uuid"].as_str().unwrap();
    assert_eq!(magnum(&server, &["-o", "json", "bay-recreate", bay]).json(), json!([]));
    let told = acted(&server, &["bay-delete", bay]);
    let [result, status] = ["result", "status"].map(|field| told[field].as_str().unwrap());
    assert_eq!((result, status, &told["uuid"]), ("done", "DELETED", &made["bay_uuid"]));
    assert_eq!(traced(&server, told["request_id"].as_str().unwrap())[0], "bay.delete_requested");
}

#[test]
fn what_goes_on_and_what_failed_is_told_too() {
    let server = Server::start(Options::fake());
    container(&server, "a");
    container(&server, "b");
    let told = acted(&server, &["container-start", "a", "--no-wait"]);
    assert_eq!((&told["result"], &told["name"]), (&json!("in_progress"), &json!("a")));
    let many = magnum(&server, &["-o", "json", "container-unpause", "b", "nosuch"]);
    assert_eq!(many.code, 1);
    let told = many.json();
    let of = |at: usize| ["name", "result", "status"].map(|field| told[at][field].clone());
    assert_eq!(of(0), [json!("b"), json!("failed"), json!("Stopped")]);
    assert_eq!(of(1), [json!("nosuch"), json!("failed"), Value::Null]);
    assert!(told[1]["error"].as_str().unwrap().ends_with("could not be found. (HTTP 404)"));
    for document in told.as_array().unwrap() {
        let id = document["request_id"].as_str().unwrap();
        assert!(many.err.contains(&format!("Request id: {id}\n")), "{many:?}");
    }
}

#[test]
fn objects_that_are_made_or_changed_have_the_request_to_trace() {
    let server = Server::start(Options::fake());
    let of = |args: &[&str]| {
        let mut object = magnum(&server, &[&["-o", "json"], args].concat()).json();
        let id = object.as_object_mut().unwrap().remove("request_id").unwrap();
        (object, traced(&server, id.as_str().unwrap()))
    };
    let image = ["--image", "busybox:local"];
    for (args, event) in [
        (
            &["baymodel-create", "--name", "m", "--image-id", "i", "--keypair-id", "k"][..],
            "baymodel",
        ),
        (&["bay-create", "--name", "b", "--baymodel", "m"], "bay"),
        (&[&["container-create", "--name", "c", "--bay", "b"], &image[..]].concat(), "container"),
    ] {
        let (object, events) = of(args);
        let shown = server.get(&format!("/v1/{event}s/{}", object["uuid"].as_str().unwrap()));
        let (own, shown): (Vec<_>, Vec<_>) = [&object, &shown.expect(200)]
            .map(|object| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>())
            .into();
        assert_eq!(own, shown, "{event}: nothing else was added");
        assert!(events[0].starts_with(&format!("{event}.create")), "{events:?}");
    }
    let (_, events) = of(&["container-update", "c", "replace", "memory=64m"]);
    assert!(events[0].starts_with("container."), "{events:?}");
    // The old client's table has no such row.
    let args = [&["container-create", "--name", "d"], &image[..]].concat();
    assert!(!magnum(&server, &args).out.contains("request_id"));
}

#[test]
fn an_erased_key_has_a_document_too() {
    let server = Server::start(Options::fake());
    let sealed = json!({ "image_id": "busybox:local", "environment": { "A": "b" } });
    server.post("/v1/containers", &sealed).expect(201);
    let key = server.get("/v1/keys").expect(200)["keys"][0]["id"].as_str().unwrap().to_owned();
    let erase = || magnum(&server, &["-o", "json", "keys", "erase", &key, "--yes"]);
    let done = erase();
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let mut told = done.json();
    let id = told.as_object_mut().unwrap().remove("request_id").unwrap();
    let mut wanted = json!({ "kind": "key", "uuid": null, "name": key, "action": "erase",
        "result": "done", "status": null, "error": null, "unkeyed_digests": 0 });
    assert_eq!(told, wanted);
    assert_eq!(traced(&server, id.as_str().unwrap()), ["audit.key_erased"]);
    // It is gone, which is told in the same form, and as a failure.
    let failed = erase();
    let mut told = failed.json();
    let id = told.as_object_mut().unwrap().remove("request_id").unwrap();
    let words = told["error"].as_str().unwrap().to_owned();
    wanted["result"] = json!("failed");
    wanted["error"] = json!(words);
    wanted["unkeyed_digests"] = Value::Null;
    assert_eq!((failed.code, told), (1, wanted));
    for said in [&*words, id.as_str().unwrap()] {
        assert!(failed.err.contains(said), "{failed:?}");
    }
}

#[test]
fn a_failure_names_the_request_that_can_be_traced() {
    let server = Server::start(Options::fake());
    container(&server, "web");
    for args in [
        &["container-unpause", "web"][..],
        &["container-execute", "web", "--command", "true"],
        &["container-create", "--name", "web", "--image", "busybox:local"],
        &["container-update", "web", "replace", "memory=1"],
    ] {
        let done = magnum(&server, args);
        assert_ne!(done.code, 0, "{args:?}");
        assert_eq!(done.out, "", "{args:?}");
        let id = done.err.lines().find_map(|line| line.strip_prefix("Request id: "));
        let id = id.unwrap_or_else(|| panic!("{args:?}: {done:?}"));
        assert!(server.get(&format!("/v1/trace/{id}")).status != 400, "{args:?}");
    }
    let done = magnum(&server, &["container-unpause", "web"]);
    let id = done.err.lines().find_map(|line| line.strip_prefix("Request id: ")).unwrap();
    assert_eq!(traced(&server, id), ["audit.command_refused"]);
    // What only looks leaves nothing that could be traced.
    let done = magnum(&server, &["container-show", "nosuch"]);
    assert!(!done.err.contains("Request id"), "{done:?}");
}

/// A command in a terminal of the usual size.
fn typed(server: &Http, args: &[&str]) -> Terminal {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    command.args(args).env_clear().env("MAGNUM_URL", server.url());
    Terminal::of(&mut command, (24, 80))
}

#[test]
fn a_terminal_is_asked_before_containers_go_with_their_bay() {
    let server = Server::start(Options::fake());
    for bay in ["full", "empty", "forced", "script"] {
        assert_eq!(magnum(&server, &["bay-create", "--name", bay]).code, 0);
    }
    for (bay, name) in [("full", "a"), ("full", "b"), ("forced", "a"), ("script", "a")] {
        let args = ["container-create", "--bay", bay, "--name", name, "--image", "busybox:local"];
        assert_eq!(magnum(&server, &args).code, 0);
    }
    let is_there = |bay: &str| server.get(&format!("/v1/bays/{bay}")).status == 200;
    let gone = |bay: &str| wait_until("the bay to go", PATIENCE, || !is_there(bay));
    let question = "Delete 2 containers of bay full too? [y/N]";
    let mut asked = typed(&server, &["bay-delete", "full"]);
    asked.settles_at(question);
    asked.press("\n");
    asked.settles_at("Nothing was deleted.");
    assert!(is_there("full"));
    assert_eq!(server.list("/v1/containers").len(), 4);
    let mut asked = typed(&server, &["bay-delete", "empty", "full"]);
    asked.settles_at(question);
    assert!(is_there("empty"), "nothing goes before the answer");
    asked.press("y\n");
    gone("full");
    gone("empty");
    // With -y, and where nobody can answer, there is no question.
    let _asked = typed(&server, &["bay-delete", "forced", "-y"]);
    gone("forced");
    assert_eq!(magnum(&server, &["bay-delete", "script"]).code, 0);
    assert!(!is_there("script"));
}

#[test]
fn a_timeline_is_readable_in_a_terminal_of_80_columns() {
    let server = Server::start(Options::fake());
    container(&server, "web");
    server.put("/v1/containers/web/start").expect(200);
    let mut shown = typed(&server, &["replay", "timeline", "container/web"]);
    let screen = shown.settles_at("work: start");
    let row = screen.lines().find(|line| line.contains("create_requested")).unwrap();
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    let [_, _, time, event, by, details, _] = cells[..] else { panic!("{row:?}") };
    let told = server.get("/v1/containers/web/timeline").expect(200);
    let of_first = &told["events"][0]["event"];
    assert_eq!(Some(time), of_first["time"].as_str().and_then(|time| time.get(..19)));
    assert_eq!((event, by), ("create_requested", "anonymous"));
    assert!(details.starts_with("name=web") && details.ends_with('…'), "{row:?}");
    // Nothing is left out of the wide one.
    let wide = magnum(&server, &["replay", "timeline", "container/web", "-o", "wide"]).out;
    for words in ["container.create_requested", "| took ", of_first["time"].as_str().unwrap()] {
        let words = words.get(..23).unwrap_or(words);
        assert!(wide.contains(words), "{words}: {wide}");
    }
}

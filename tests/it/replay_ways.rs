//! The debugger's questions about what might be: when a condition became true, and what would be
//! without an event or with a command more. Nothing of it is done.

use serde_json::{Value, json};

use crate::replay::{both, document, golden, magnum, with_a_story};

#[test]
fn a_condition_is_found_when_it_became_true() {
    let server = with_a_story();
    let find = |args: &[&str]| {
        let args = [&["replay", "find"], args, &["-o", "json"]].concat();
        let found = document(&both(&server, &args));
        let moments = found["moments"].as_array().unwrap().iter();
        let told = |moment: &Value| {
            let text = |at: &str| moment.pointer(at).unwrap().as_str().unwrap_or("-").to_owned();
            (text("/name"), text("/event/type"))
        };
        moments.map(told).collect::<Vec<_>>()
    };
    let moment = |name: &str, event: &str| (name.to_owned(), event.to_owned());
    // It comes and goes: created, then started and stopped again.
    let stopped = [moment("web", "container.created"), moment("web", "container.stopped")];
    assert_eq!(find(&["status == \"Stopped\"", "container"]), stopped);
    assert_eq!(find(&["status == \"Stopped\"", "container/web", "--first"]), stopped[..1]);
    assert_eq!(find(&["status == \"Stopped\""]), stopped);
    // By bisection the same, where it stays true.
    let third = [moment("web", "container.start_requested")];
    for how in [&[][..], &["--monotone"], &["--monotone", "--first"]] {
        let condition = ["revision >= 2 && name.startsWith('w')", "container"];
        assert_eq!(find(&[&condition, how].concat()), third, "{how:?}");
    }
    assert_eq!(find(&["state.status == \"Running\"", "container"]).len(), 1);
    assert_eq!(find(&["status == \"Paused\"", "container"]), []);
    golden("find.txt", &both(&server, &["replay", "find", "status == \"Stopped\""]).out);
}

#[test]
fn a_bad_condition_is_told_what_is_wrong() {
    let server = with_a_story();
    for (args, words) in [
        (&["status ==", "container"][..], "is not a condition"),
        (&["status", "container"], "is string, not true or false"),
        (&["1 == 1"], "names no field"),
        (&["statuss == \"x\"", "container"], "there is no field statuss. There are: "),
        (&["status == \"x\"", "service"], "'service' is not a kind of object"),
        (&["status == \"x\"", "container/nope"], "There is no container nope"),
        (&["nope(status)", "container"], "nope"),
    ] {
        let done = both(&server, &[&["replay", "find"], args].concat());
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{args:?} {done:?}");
        assert!(done.err.contains(words), "{args:?} {done:?}");
    }
    let never = both(&server, &["replay", "find", "nope == \"x\""]);
    assert!(never.err.contains("could never be evaluated: there is no field nope. "), "{never:?}");
    assert!(never.err.ends_with(", state.\n"), "{never:?}");
}

#[test]
fn what_would_be_is_decided_and_not_done() {
    let server = with_a_story();
    let timeline = ["replay", "timeline", "container/web", "-o", "json"];
    let told = document(&both(&server, &timeline));
    let events = told["events"].as_array().unwrap();
    let id_of = |name: &str| {
        let step = events.iter().find(|step| step["event"]["type"] == name).unwrap();
        step["event"]["id"].as_str().unwrap().to_owned()
    };
    // Without the stop it would still run.
    let (stopped, asked) = (id_of("container.stopped"), id_of("container.stop_requested"));
    let drop = ["replay", "what-if", "container/web", "--drop", &stopped, "--drop", &asked];
    let without = document(&both(&server, &[&drop[..], &["-o", "json"]].concat()));
    assert_eq!(without["view"]["status"], "Running");
    let changes = without["changes"].as_array().unwrap();
    assert!(changes.iter().any(|it| {
        (&it["field"], &it["was"], &it["would_be"])
            == (&json!("status"), &json!("Stopped"), &json!("Running"))
    }));
    golden("what-if-drop.txt", &both(&server, &drop).out);
    // Asked to start, and then to pause while the start is in progress.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[\"start\", \"pause\", \"unpause\"]").unwrap();
    let path = file.path().to_str().unwrap();
    let apply = ["replay", "what-if", "container/web", "--apply", path, "-o", "json"];
    let tried = document(&both(&server, &apply));
    let asked = tried["asked"].as_array().unwrap();
    assert_eq!(asked[0]["events"][0]["type"], "container.start_requested");
    assert_eq!(asked[0]["refused"], Value::Null);
    assert_eq!(tried["work"][0]["action"], "start_container");
    golden("what-if-apply.txt", &both(&server, &apply[..5]).out);
    // Nothing happened.
    assert_eq!(document(&both(&server, &timeline)), told);
    assert_eq!(server.get("/v1/containers/web").expect(200)["status"], "Stopped");
    std::fs::write(file.path(), "fly").unwrap();
    let bad = magnum(server.url(), &apply);
    assert!(bad.code == 2 && bad.err.contains("Use JSON for a command"), "{bad:?}");
    std::fs::write(file.path(), "\"fly\"").unwrap();
    let bad = both(&server, &apply);
    assert!(bad.code == 2 && bad.err.contains("not a command of container"), "{bad:?}");
    let nobody = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
    let bad = both(&server, &["replay", "what-if", "container/web", "--drop", nobody]);
    assert!(bad.code == 2 && bad.err.contains("has no event 3f0c6a52"), "{bad:?}");
}

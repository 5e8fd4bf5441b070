//! What programs get from the debugger where that is short, bundles, and events as people and
//! programs see them. Not here: what the answers must say (`replay`, `replay_*`).

use serde_json::{Value, json};

use crate::replay::{both, document, golden, magnum, on_files, with_a_story};

#[test]
fn answers_are_the_documents_on_record() {
    let server = with_a_story();
    let asked = document(&both(&server, &["replay", "state", "container/web", "-o", "json"]));
    let last = |field: &str| asked["last"][field].as_str().unwrap();
    let commands = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(commands.path(), r#"["start", "start"]"#).unwrap();
    let apply = commands.path().to_str().unwrap();
    for (name, args) in [
        ("state", &["replay", "state", "container/web", "--at", "v:2"][..]),
        ("diff-all", &["replay", "diff", "--all", "--from", "5"]),
        ("blame", &["replay", "blame", "container/web", "status"]),
        ("find", &["replay", "find", "status == \"Stopped\"", "--first"]),
        ("why", &["why", "container/web", "--at", "v:2"]),
        ("trace", &["trace", last("request_id")]),
        ("timeline", &["replay", "timeline", "container/web"]),
        ("diff", &["replay", "diff", "container/web", "--from", "v:2", "--to", "v:4"]),
        (
            "what-if",
            &["replay", "what-if", "container/web", "--drop", last("id"), "--apply", apply],
        ),
    ] {
        let done = both(&server, &[args, &["-o", "json"]].concat());
        assert_eq!(done.code, 0, "{name}: {done:?}");
        golden(&format!("{name}.json"), &done.out);
    }
    golden("verify.json", &magnum(server.url(), &["replay", "verify", "-o", "json"]).out);
}

#[test]
fn a_bundle_is_as_on_record() {
    let server = with_a_story();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.json");
    let path = file.to_str().unwrap();
    let export = ["bundle", "export", "container/web", path, "--redact"];
    let exported = on_files(&server.data(), &export);
    assert_eq!((exported.code, exported.err.as_str()), (0, ""), "{exported:?}");
    let lasting = |text: &str| text.replace(path, "FILE").replace(env!("CARGO_PKG_VERSION"), "V");
    golden("bundle-export.txt", &lasting(&exported.out));
    let imported = magnum(server.url(), &["bundle", "import", path, "-o", "json"]);
    golden("bundle-import.json", &lasting(&imported.out));
    // One event is as the other, and a schema is what schemas/events has.
    let mut held: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    held["events"].as_array_mut().unwrap().truncate(1);
    held["schemas"] = json!(held["schemas"].as_object().unwrap().keys().collect::<Vec<_>>());
    golden("bundle.json", &lasting(&(serde_json::to_string_pretty(&held).unwrap() + "\n")));
}

#[test]
fn events_are_as_on_record() {
    let server = with_a_story();
    for (name, args) in [
        ("events-list.txt", &["events", "list"][..]),
        (
            "events-list-wide.txt",
            &["events", "list", "--filter", "outcome=requested", "-o", "wide"],
        ),
        ("events-show.txt", &["events", "show", "8"]),
        ("events-show.json", &["events", "show", "8", "-o", "json"]),
        ("events-tail.txt", &["events", "tail", "--after", "7", "--limit", "3"]),
        ("events-tail.json", &["events", "tail", "--after", "8", "--limit", "1", "-o", "json"]),
    ] {
        let done = magnum(server.url(), args);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{name}: {done:?}");
        golden(name, &done.out.replace(server.url(), "http://HOST"));
    }
}

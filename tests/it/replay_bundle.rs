//! A bundle holds what happened, opens in the debugger, and shows when it was tampered with.

use magnum::events::log::export::to_hex;
use serde_json::{Value, json};

use crate::harness::Done;
use crate::replay::{NOBODY, document, magnum, on_files, with_a_story};

#[test]
fn a_bundle_tells_what_the_server_told() {
    let server = with_a_story();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.bundle");
    let path = file.to_str().unwrap();
    let export = ["bundle", "export", "container/web", path, "--related"];
    let done = magnum(server.url(), &export);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("hunter2"), "a server gives no secrets away");
    assert!(text.contains("container.started.v2.json"), "schemas are in it");
    let held = document(&magnum(NOBODY, &["bundle", "import", path, "-o", "json"]));
    assert_eq!((&held["name"], &held["redacted"]), (&json!("web"), &json!(true)));
    assert!(held["proof"].as_str().unwrap().contains("leads to the log's head"), "{held}");
    for question in [
        &["replay", "state", "container/web"][..],
        &["replay", "timeline", "container/web"],
        &["replay", "timeline", "container/web", "--related"],
        &["replay", "find", "status == \"Running\"", "container"],
        &["replay", "state", "container/web", "--at", "v:2"],
    ] {
        let question = [question, &["-o", "json"]].concat();
        let live = document(&magnum(server.url(), &question));
        let bundled = document(&on_files(&file, &question));
        // How far was looked differs: the bundle ends with the object's last event.
        let same = |mut answer: Value| {
            answer.as_object_mut().unwrap().remove("position");
            answer
        };
        assert_eq!(same(live), same(bundled), "{question:?}");
    }
    // From the files everything is there, unless it is taken out.
    let offline = |more: &[&str]| {
        let args = [&export[..3], &["-"], more].concat();
        let done = on_files(&server.data(), &args);
        assert_eq!(done.code, 0, "{done:?}");
        done.out
    };
    // Values stand in the payload's bytes, in hex, sealed.
    let (sealed, secret) = (to_hex(b"sealed:v1:"), to_hex(b"hunter2"));
    assert!(offline(&[]).contains(&sealed));
    assert!(!offline(&["--redact"]).contains(&sealed));
    assert!(!offline(&[]).contains(&secret));
    // A bundle does not have what its chain was made of, so nothing can be proved from it.
    let again = folder.path().join("again.bundle");
    let export = ["bundle", "export", "container/web", again.to_str().unwrap(), "-o", "json"];
    let held = document(&on_files(&file, &export));
    assert!(held["proof"].as_str().unwrap().starts_with("none: "), "{held}");
}

#[test]
fn a_bundle_that_was_tampered_with_is_refused() {
    let server = with_a_story();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.bundle");
    let path = file.to_str().unwrap();
    assert_eq!(on_files(&server.data(), &["bundle", "export", "container/web", path]).code, 0);
    let whole = std::fs::read_to_string(&file).unwrap();
    let opened = || -> Done { on_files(&file, &["replay", "timeline", "container/web"]) };
    assert_eq!(opened().code, 0);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut bundle: Value = serde_json::from_str(&whole).unwrap();
        change(&mut bundle);
        std::fs::write(&file, bundle.to_string()).unwrap();
        let done = opened();
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{done:?}");
        done.err
    };
    let told = with(&|bundle| bundle["events"][1]["meta"]["user"] = json!("mallory"));
    assert!(told.contains("was changed after its export"), "{told}");
    with(&|bundle| {
        bundle["events"].as_array_mut().unwrap().remove(2);
    });
    with(&|bundle| bundle["head"]["position"] = json!(99));
    let told = with(&|bundle| bundle["format"] = json!("magnum-bundle-9"));
    assert!(told.contains("this magnum reads magnum-bundle-1"), "{told}");
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    for done in [opened(), magnum(NOBODY, &["replay", "check", path])] {
        assert!(done.code == 2 && done.err.contains("not a bundle"), "{done:?}");
    }
}

//! `replay verify` where objects have snapshots: all of them are compared, and one that is not what
//! the log says is named. Not here: read models (`replay`), damaged snapshots (`snapshot`).

use std::path::Path;

use magnum::actors::container::{Container, ContainerState};
use magnum::actors::snapshot::{EVERY, Snapshots};
use magnum::ids::{Kind, StreamId};
use serde_json::json;

use crate::harness::Server;
use crate::replay::{document, golden, magnum, on_files, with_a_story};

/// Gives an object more events than go without a snapshot.
fn has_a_snapshot(server: &Server, path: &str, field: &str) {
    for number in 1..=EVERY + 1 {
        let patch = json!([{"op": "replace", "path": field, "value": number.to_string()}]);
        server.patch(path, &patch).expect(200);
    }
}

/// Changes the snapshot of the container, as whoever can write the file and seal it could.
fn change(data: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let cache = sled::open(data.join("cache").join("log")).unwrap();
    let snapshots = Snapshots::new(cache.open_tree("snapshots").unwrap());
    let is_container = |stream: &StreamId| stream.kind == Kind::Container;
    let stream = snapshots.streams().into_iter().find(is_container).unwrap();
    let (state, naming, place) = snapshots.load::<Container>(stream).unwrap();
    let mut document = serde_json::to_value(&state).unwrap();
    change(&mut document);
    let state: ContainerState = serde_json::from_value(document).unwrap();
    snapshots.save::<Container>(stream, (&state, &naming), place);
    cache.flush().unwrap();
}

#[test]
fn snapshots_are_compared_with_what_the_log_says() {
    let mut server = with_a_story();
    has_a_snapshot(&server, "/v1/containers/web", "/desc");
    has_a_snapshot(&server, "/v1/bays/b", "/node_count");
    let verified = magnum(server.url(), &["replay", "verify"]);
    assert_eq!((verified.code, verified.err.as_str()), (0, ""), "{verified:?}");
    golden("verify-snapshots.txt", &verified.out);
    server.stop();
    let data = server.data();
    let verify = |more: &[&str]| on_files(&data, &[&["replay", "verify"], more].concat());
    let sound = document(&verify(&["-o", "json"]));
    assert_eq!((&sound["snapshots"], &sound["difference"]), (&json!(2), &json!(null)));
    change(&data, |state| state["lifecycle"]["status"] = json!("Paused"));
    let found = verify(&[]);
    assert_eq!((found.code, found.err.as_str()), (1, ""), "{found:?}");
    golden("verify-snapshot-difference.txt", &found.out);
    // Put right it is sound again.
    change(&data, |state| state["lifecycle"]["status"] = json!("Stopped"));
    assert_eq!(document(&verify(&["-o", "json"])), sound);
}

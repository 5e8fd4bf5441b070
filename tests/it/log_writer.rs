//! One writer of a data directory, on the real program: a second process, a lock that was left
//! over, a copied folder. Each is noticed and said.
//!
//! Not here: the same inside the engine (`log_segment`).

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Options, Server};

/// What a start says of a folder whose last user was killed.
const KILLED: &str = "the process that used this data directory last was killed";

/// What a start says of a folder that was copied.
const COPIED: &str = "this data directory is a copy of one that was used elsewhere";

fn run(data: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magnum"));
    let output = command.args(args).env("MAGNUM_DATA", data).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn make(server: &Server) -> Value {
    make_named(server, "b")
}

fn make_named(server: &Server, name: &str) -> Value {
    let body = json!({
        "name": name, "image_id": "fedora", "keypair_id": "k", "external_network_id": "n",
        "coe": "swarm",
    });
    server.post("/v1/baymodels", &body).expect(201)["uuid"].clone()
}

#[test]
fn a_second_process_is_told_who_has_the_folder_and_disturbs_nobody() {
    let server = Server::start(Options::fake());
    let uuid = make(&server);
    let data = server.data();
    let lock = std::fs::read_to_string(data.join("log/lock")).unwrap();
    let holder = lock.trim();
    assert!(holder.contains(" on "), "{holder}");
    for args in [
        &["serve", "--backend", "fake", "--listen", "127.0.0.1:0"][..],
        &["log", "repair", "--truncate", "--yes"],
    ] {
        let (code, _, said) = run(&data, args);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("in use by process"), "{said}");
        assert!(said.contains(holder) && said.contains("stop that one first"), "{said}");
    }
    assert_eq!(std::fs::read_to_string(data.join("log/lock")).unwrap(), lock);
    server.get(&format!("/v1/baymodels/{}", uuid.as_str().unwrap())).expect(200);
    make_named(&server, "c");
}

#[test]
fn a_lock_that_was_left_over_is_no_obstacle_and_is_said() {
    let mut server = Server::start(Options::fake());
    let uuid = make(&server);
    let lock = std::fs::read_to_string(server.data().join("log/lock")).unwrap();
    server.kill();
    let left = std::fs::read_to_string(server.data().join("log/lock")).unwrap();
    assert_eq!(left, lock, "nobody let go of it");
    server.restart();
    let said = server.stderr();
    assert_eq!(said.matches(KILLED).count(), 1, "{said}");
    assert!(said.contains(lock.trim()), "{said}");
    server.get(&format!("/v1/baymodels/{}", uuid.as_str().unwrap())).expect(200);
    // One that ended in order is not worth a word.
    assert!(server.stop().success());
    server.restart();
    let said = server.stderr();
    assert_eq!(said.matches(KILLED).count(), 1, "{said}");
}

#[test]
fn a_copied_data_folder_is_noticed_and_said() {
    let mut server = Server::start(Options::fake());
    let uuid = make(&server);
    let path = format!("/v1/baymodels/{}", uuid.as_str().unwrap());
    assert!(server.stop().success());
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("data");
    let copied = Command::new("cp").arg("-a").arg(server.data()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let copied = |data: &Path| {
        let (code, out, said) = run(data, &["-o", "json", "log", "info"]);
        assert_eq!(code, Some(0), "{said}");
        serde_json::from_str::<Value>(&out).unwrap()["copied"].clone()
    };
    assert_eq!((copied(&copy), copied(&server.data())), (json!(true), json!(false)));
    {
        let other = Server::start(Options::fake().data(&copy));
        let said = other.stderr();
        assert!(said.contains(COPIED) && said.contains("stop one of them"), "{said}");
        other.get(&path).expect(200);
    }
    // Whoever wrote to it last is at home there.
    assert_eq!(copied(&copy), json!(false));
    server.restart();
    assert!(!server.stderr().contains(COPIED), "{}", server.stderr());
    server.get(&path).expect(200);
}

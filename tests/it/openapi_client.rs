//! A client that `openapi-python-client` makes from `/v1/openapi.json` works: with types, enums,
//! filters and formats of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{Options, Server, python, run};

#[test]
fn a_generated_client_creates_finds_and_deletes() {
    let server = Server::start(Options::fake());
    let folder = tempfile::tempdir().unwrap();
    let (file, made) = (folder.path().join("openapi.json"), folder.path().join("made"));
    fs::write(&file, server.get("/v1/openapi.json").text).unwrap();
    let bin = python().parent().unwrap().canonicalize().unwrap();
    let generated = run(Command::new(bin.join("openapi-python-client"))
        .args(["generate", "--meta", "none", "--path"])
        .arg(&file)
        .arg("--output-path")
        .arg(&made)
        .current_dir(folder.path()));
    assert_eq!(generated.code, 0, "{generated:?}");
    // Nothing is left out; it says so of what it cannot make.
    assert!(!generated.out.contains("WARNING"), "{}", generated.out);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi_client.py");
    let driven = run(Command::new(python())
        .arg(script)
        .arg(folder.path())
        .arg(server.url())
        .env("NO_PROXY", "*")
        .env("PYTHONDONTWRITEBYTECODE", "1"));
    assert_eq!(driven.code, 0, "{}\n{}", driven.out, driven.err);
}

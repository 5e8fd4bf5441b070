//! `make install` and `make uninstall`; what shells complete with what was installed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Done, Options, Server, run};

/// Runs a target of the Makefile for the program that the tests run.
fn make(target: &str, folder: &Path) -> Done {
    let mut make = Command::new("make");
    make.current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg(target)
        .arg("PREFIX=/opt/m")
        .arg(format!("DESTDIR={}", folder.display()))
        .arg(format!("BINARY={}", env!("CARGO_BIN_EXE_magnum")))
        .env_remove("MAKEFLAGS");
    run(&mut make)
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn it_is_installed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let done = make("install", folder.path());
    assert_eq!(done.code, 0, "{done:?}");
    let wanted = [
        "opt/m/bin/magnum",
        "opt/m/lib/systemd/system/magnum.service",
        "opt/m/lib/sysusers.d/magnum.conf",
        "opt/m/share/bash-completion/completions/magnum",
        "opt/m/share/fish/vendor_completions.d/magnum.fish",
        "opt/m/share/zsh/site-functions/_magnum",
    ];
    assert_eq!(files(folder.path()), wanted.map(str::to_owned).into());
    let mut version = Command::new(folder.path().join("opt/m/bin/magnum"));
    assert!(run(version.arg("--version")).out.contains(env!("CARGO_PKG_VERSION")));
    let unit = fs::read_to_string(folder.path().join(wanted[1])).unwrap();
    assert_unit(&unit);
    let done = make("uninstall", folder.path());
    assert_eq!(done.code, 0, "{done:?}");
    assert!(files(folder.path()).is_empty());
}

/// Sections, each line an assignment, and what the service cannot be without.
fn assert_unit(unit: &str) {
    let mut section = "";
    let mut settings = BTreeSet::new();
    for line in unit.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        assert!(name.chars().all(char::is_alphanumeric), "{line}");
        settings.insert(format!("{section}.{name}={value}"));
    }
    for wanted in [
        "Service.ExecStart=/opt/m/bin/magnum serve $MAGNUM_OPTIONS",
        "Service.SupplementaryGroups=docker",
        "Service.StateDirectory=magnum",
        "Service.Environment=MAGNUM_DATA=/var/lib/magnum",
        "Service.NoNewPrivileges=yes",
        // The engine's socket, and clients.
        "Service.RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "Install.WantedBy=multi-user.target",
    ] {
        assert!(settings.contains(wanted), "{wanted}: {settings:#?}");
    }
}

/// What bash offers at the end of a line.
fn completed(server: &Server, script: &Path, line: &[&str]) -> Vec<String> {
    let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let asked = format!(
        "source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _magnum_and_names magnum \"${{COMP_WORDS[COMP_CWORD]}}\" \
         \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let folder = Path::new(env!("CARGO_BIN_EXE_magnum")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    let bash = bash.args(["--norc", "-c", &asked]).env("PATH", path);
    let done = run(bash.env("MAGNUM_URL", server.url()));
    assert_eq!(done.err, "");
    done.out.lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete_names_of_objects() {
    let server = Server::start(Options::fake());
    for name in ["web-1", "web-2", "db", "odd $(name)"] {
        let body = json!({ "name": name, "image_id": "busybox:local" });
        server.post("/v1/containers", &body).expect(201);
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("magnum");
    let made = run(Command::new(env!("CARGO_BIN_EXE_magnum")).args(["completion", "bash"]));
    fs::write(&script, made.out).unwrap();
    let completed = |line: &[&str]| completed(&server, &script, line);
    let mut names = completed(&["magnum", "container-show", "web"]);
    names.sort();
    assert_eq!(names, ["web-1", "web-2"]);
    let all = completed(&["magnum", "container-stop", ""]);
    assert!(all.contains(&"db".to_owned()), "{all:?}");
    assert!(!all.iter().any(|name| name.contains("odd")), "{all:?}");
    let objects = completed(&["magnum", "why", "container/d"]);
    assert_eq!(objects, ["container/db"]);
    let commands = completed(&["magnum", "container-unp"]);
    assert_eq!(commands, ["container-unpause"]);
}

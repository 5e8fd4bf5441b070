//! The tests run on a new machine: what they need outside the checkout, scripts/install.sh brings.

use crate::check;
use crate::source::{Source, read, sources};

/// Programs of every Debian system, and of Rust itself.
const ALWAYS_THERE: [&str; 7] = ["cp", "kill", "mount", "rustc", "sh", "tar", "umount"];

/// Files outside the checkout that the tests may name: the engine's socket, and a file that every
/// Linux has.
const FILES: [&str; 2] = ["/var/run/docker.sock", "/etc/hostname"];

/// Folders inside containers, which are never looked for on the machine.
const IN_CONTAINERS: [&str; 1] = ["/srv"];

/// Where files lie that somebody once made on a machine.
const FOLDERS: [&str; 7] = ["/etc", "/home", "/opt", "/root", "/srv", "/usr", "/var"];

fn tests() -> impl Iterator<Item = Source> {
    // These rules name what they forbid.
    let rules = |source: &Source| source.path.starts_with("tests/tidy/");
    ["tests", "benches"].into_iter().flat_map(sources).filter(move |source| !rules(source))
}

/// What stands between `before` and the next quote, with its line.
fn quoted_after<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    (1..).zip(text.lines()).flat_map(move |(number, line)| {
        let after = line.split(before).skip(1);
        after.filter_map(move |rest| Some((number, rest.split('"').next()?)))
    })
}

#[test]
fn programs_that_tests_run_are_installed() {
    let installs = read("scripts/install.sh");
    let mut breaches = Vec::new();
    for source in tests() {
        for (number, program) in quoted_after(&source.text, "Command::new(\"") {
            let installed = installs.contains(&format!("has {program} || packages "));
            if !installed && !ALWAYS_THERE.contains(&program) {
                breaches.push(format!("{}:{number}: {program}", source.path));
            }
        }
    }
    check(&breaches, "Have scripts/install.sh install it, or do without it.");
}

#[test]
fn tests_read_no_files_that_nobody_installs() {
    let mut breaches = Vec::new();
    for source in tests() {
        for (number, path) in quoted_after(&source.text, "\"") {
            let outside = FOLDERS.iter().any(|folder| {
                path.strip_prefix(folder)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if outside && !FILES.contains(&path) && !IN_CONTAINERS.contains(&path) {
                breaches.push(format!("{}:{number}: {path}", source.path));
            }
        }
    }
    check(&breaches, "A test makes what it needs in a temporary folder.");
}

#[test]
fn quoted_texts_are_found() {
    let text = "let a = (\"/etc\", \"b\");\nlet c = \"d\";\nCommand::new(\"sh\").arg(\"e\");";
    let all: Vec<_> = quoted_after(text, "\"").collect();
    assert!([(1, "/etc"), (1, "b"), (2, "d"), (3, "sh")].iter().all(|it| all.contains(it)));
    assert_eq!(quoted_after(text, "Command::new(\"").collect::<Vec<_>>(), [(3, "sh")]);
}

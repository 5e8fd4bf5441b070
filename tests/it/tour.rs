//! The five-minute tour of the README, run as pasted: each `sh` block of that section, line by
//! line. What stands behind `# ` on a line must be in what it prints.

use std::env;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Options, Server};

/// The lines of the tour, in order.
fn tour() -> Vec<String> {
    let readme = include_str!("../../README.md");
    let (_, tour) = readme.split_once("## Five minutes").expect("the README has a tour");
    let (tour, _) = tour.split_once("\n## ").expect("something follows the tour");
    let blocks = tour.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    lines.map(str::to_owned).collect()
}

#[test]
fn the_tour_of_the_readme_works_as_pasted() {
    let server = Server::start(Options::docker());
    let programs = Path::new(env!("CARGO_BIN_EXE_magnum")).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", env::var("PATH").unwrap());
    let home = TempDir::new().unwrap();
    symlink(server.data(), home.path().join("data")).unwrap();
    let lines = tour();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let output = Command::new("sh")
            .args(["-c", &line])
            .env("PATH", &path)
            // The data directory is found as from where `make run` was typed.
            .current_dir(home.path())
            .env("MAGNUM_URL", server.url())
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{stdout}{stderr}");
        let (_, expected) = line.split_once(" # ").unwrap_or_default();
        assert!(stdout.contains(expected.trim()), "{line}\n{stdout}{stderr}");
    }
}

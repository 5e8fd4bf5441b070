//! The five-minute tour of the README, run as pasted: each `sh` block of that section, line by
//! line.

use std::env;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Options, Server};

/// What lines print, among other things: how each begins, in the order of the tour.
const PRINTED: &[(&str, &str)] = &[
    ("magnum bay-create --name web", "CREATE_"),
    ("magnum container-create --name hello --bay web --image busyb", "Stopped"),
    ("magnum container-list", "Running"),
    ("magnum container-logs hello", "hello, world"),
    ("magnum container-create --name friend --bay web --image busy", "friend"),
    ("magnum container-execute friend --command 'wget -qO- http://", "root"),
    ("magnum pod-list", "Running"),
    ("magnum pod-execute front --container clock --command 'wget", "root"),
    ("magnum pod-logs front --container clock --tail 1", "20"),
    ("magnum container-execute hello --command 'wget -qO- http://f", "root"),
    ("magnum container-show friend", "Stopped"),
    ("magnum container-history friend", "exited"),
    ("magnum why container/friend", "has been Stopped"),
    ("magnum events tail --after 0 --filter kind=container --limit 8", "create requested"),
    ("magnum container-history hello", "end of the tour"),
    ("magnum log verify", "is sound up to position"),
    ("magnum log info", "0000000001.seg"),
    ("magnum backup my-backup", "holds the log up to position"),
    ("magnum backup my-backup", "chain"),
    ("magnum backup --verify my-backup", "is sound up to position"),
    ("magnum restore my-backup --data restored --to-position 12 --yes", "ends at position"),
    ("magnum log verify --data restored", "is sound up to position"),
    ("magnum log import events.jsonl --data imported", "ends at position"),
];

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
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    symlink(docs, home.path().join("docs")).unwrap();
    let lines = tour();
    assert!(lines.len() > 10, "{lines:?}");
    let mut printed = PRINTED.iter().peekable();
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
        if let Some((_, words)) = printed.next_if(|(start, _)| line.starts_with(start)) {
            assert!(stdout.contains(words), "{line}\n{stdout}{stderr}");
        }
    }
    assert_eq!(printed.next(), None, "the tour has no such line");
}

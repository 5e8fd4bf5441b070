//! Commands in a document with their output, as pasted from a run: run again, and compared, so
//! that no document tells what is not so any more.
//!
//! A `console` block holds them: `$ ` and a command, then what it printed; `…` stands for
//! anything. Ids, times, durations, hashes and the width of columns may differ.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::replay::lasting;

/// A section of a document.
pub struct Section {
    path: PathBuf,
    before: String,
    text: String,
    after: String,
}

/// A command and what it printed.
type Entry = (String, String);

impl Section {
    /// The section of a heading, up to the next one.
    pub fn of(document: &str, heading: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
        let whole = fs::read_to_string(&path).unwrap();
        let heading = format!("\n## {heading}\n");
        let (before, text) = whole.split_at(whole.find(&heading).expect(&heading));
        let (text, after) = text.split_at(text[1..].find("\n## ").map_or(text.len(), |at| at + 1));
        Self { path, before: before.to_owned(), text: text.to_owned(), after: after.to_owned() }
    }

    /// The lines of its `sh` blocks, which are run and not compared.
    pub fn lines(&self) -> Vec<&str> {
        let blocks = self.text.split("```").filter_map(|part| part.strip_prefix("sh\n"));
        blocks.flat_map(str::lines).collect()
    }

    /// Runs what is in its `console` blocks and compares what that prints with what was pasted.
    /// `MAGNUM_BLESS=1` pastes all of it again where something differs.
    #[track_caller]
    pub fn is_as_pasted(&self, run: impl Fn(&str) -> String) {
        let mut ids = Vec::new();
        let (mut anew, mut differences) = (self.before.clone(), String::new());
        for (place, part) in self.text.split("```").enumerate() {
            anew += if place == 0 { "" } else { "```" };
            let Some(block) = part.strip_prefix("console\n") else {
                anew += part;
                continue;
            };
            anew += "console\n";
            for (command, pasted) in entries(block) {
                let command = renamed(command, &ids);
                let (pasted, printed) = (ended(&pasted), ended(&run(&command)));
                if !fits(&redacted(&pasted), &redacted(&printed)) {
                    differences += &format!("$ {command}\n{printed}--- as pasted ---\n{pasted}");
                }
                ids.extend(uuids(&pasted).into_iter().zip(uuids(&printed)));
                anew += &format!("$ {command}\n{printed}");
            }
        }
        if env::var_os("MAGNUM_BLESS").is_some() && !differences.is_empty() {
            fs::write(&self.path, anew + &self.after).unwrap();
        } else {
            let path = self.path.display();
            assert!(differences.is_empty(), "{path}: MAGNUM_BLESS=1 accepts\n{differences}");
        }
    }
}

/// Runs a line as a person would type it, in a folder, with `magnum` in the path. What it prints.
pub fn sh(line: &str, folder: &Path, url: &str) -> String {
    let programs = Path::new(env!("CARGO_BIN_EXE_magnum")).parent().unwrap().display().to_string();
    let output = Command::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{programs}:{}", env::var("PATH").unwrap()))
        .env("MAGNUM_URL", url)
        .current_dir(folder)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.is_empty(), "{line}\n{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands of a block.
fn entries(block: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), entries.last_mut()) {
            (Some(command), _) => entries.push((command.to_owned(), String::new())),
            (None, Some((_, printed))) => *printed += &format!("{line}\n"),
            (None, None) => panic!("a block begins with a command: {line}"),
        }
    }
    entries
}

/// With one line feed at the end, unless there is nothing.
fn ended(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

/// A command with the ids of this run instead of those that were pasted.
fn renamed(command: String, ids: &[(String, String)]) -> String {
    ids.iter().fold(command, |command, (pasted, here)| command.replace(pasted, here))
}

/// All ids in a text.
fn uuids(text: &str) -> Vec<String> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let id = text.get(at..at + 36).filter(|id| uuid::Uuid::parse_str(id).is_ok());
        found.extend(id.map(str::to_owned));
        at += id.map_or(1, str::len);
    }
    found
}

/// A text without what differs from run to run.
fn redacted(text: &str) -> String {
    let mut text = lasting(text);
    for id in uuids(&text) {
        text = text.replace(&id, "ID");
    }
    text
}

/// Whether a text is what was pasted, where `…` stands for anything.
fn fits(pasted: &str, printed: &str) -> bool {
    let mut pieces = pasted.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| printed.strip_prefix(first)) else {
        return false;
    };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, inner)) = pieces.split_last() else { return rest.is_empty() };
    for piece in inner {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn what_is_left_out_fits_and_nothing_else() {
    for (pasted, printed, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("a…d", "abcd", true),
        ("a…c…d", "abcd", true),
        ("a…c…d", "abd", false),
        ("…d", "abc", false),
    ] {
        assert_eq!(fits(pasted, printed), expected, "{pasted} {printed}");
    }
}

//! What nobody uses: public items, which the compiler cannot see in a package that is a library
//! for its own tests, and dependencies.

use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::source::{Source, read, sources, words};

/// What declares an item that other files could name.
const ITEMS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "macro"];

/// How many files may declare a type of one name: a reader can tell two apart by their folders.
const SAME_NAME: usize = 2;

/// Type names that more files declare. Nothing may be added.
const NOT_YET: &[&str] = &[
    "Asked",
    "Checked",
    "Done",
    "End",
    "Entry",
    "Found",
    "Outcome",
    "Page",
    "Parts",
    "Place",
    "Shared",
    "State",
    "Trouble",
    "UnknownContainer",
];

/// In how many files each word stands.
fn files_of_words(sources: &[Source]) -> BTreeMap<&str, usize> {
    let mut files = BTreeMap::new();
    for source in sources {
        let words: BTreeSet<&str> = words(&source.code).map(|(_, word)| word).collect();
        for word in words {
            *files.entry(word).or_default() += 1;
        }
    }
    files
}

#[test]
fn public_items_are_used_by_another_file() {
    let sources: Vec<Source> = ["src", "tests", "benches"].into_iter().flat_map(sources).collect();
    let files = files_of_words(&sources);
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
        for (number, line) in (1..).zip(source.code_without_tests.lines()) {
            if let Some((what, name)) = public_item(line)
                && files.get(name) == Some(&1)
                && !shows_itself(source, what, name)
            {
                breaches.push(format!("{}:{number}: {what} {name}", source.path));
            }
        }
    }
    check(
        &breaches,
        "Nobody outside its file names it: make it private, and the compiler says whether it is \
         used at all.",
    );
}

/// What a line declares as public, and its name.
fn public_item(line: &str) -> Option<(&str, &str)> {
    let mut words = words(line.trim_start().strip_prefix("pub ")?).map(|(_, word)| word);
    let what = words.find(|word| !["async", "unsafe"].contains(word))?;
    let next = words.next()?;
    match (what, next) {
        ("const", "fn") => Some(("fn", words.next()?)),
        _ => ITEMS.contains(&what).then_some((what, next)),
    }
}

/// Whether a type is part of another public item of its file, which makes it as public as that
/// although nobody has to name it.
fn shows_itself(source: &Source, what: &str, name: &str) -> bool {
    let is_type = ["struct", "enum", "trait", "type"].contains(&what);
    let code = &source.code_without_tests;
    let uses = words(code).filter(|(_, word)| *word == name).count();
    let own = code
        .lines()
        .filter(|line| {
            let line = line.trim_start();
            public_item(line).is_some_and(|(_, declared)| declared == name)
                || line.starts_with("impl")
        })
        .flat_map(words)
        .filter(|(_, word)| *word == name)
        .count();
    is_type && uses > own
}

#[test]
fn each_dependency_is_used() {
    let manifest = read("Cargo.toml");
    let code = |folders: &[&str]| -> BTreeSet<String> {
        let sources: Vec<Source> = folders.iter().flat_map(|folder| sources(folder)).collect();
        let all = sources.iter().flat_map(|source| words(&source.code));
        all.map(|(_, word)| word.to_owned()).collect()
    };
    let (program, around) = (code(&["src"]), code(&["tests", "benches"]));
    let (mut section, mut breaches) = ("", Vec::new());
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let used = match section {
            "[dependencies]" => &program,
            "[dev-dependencies]" => &around,
            _ => continue,
        };
        if let Some((name, _)) = line.split_once(" =")
            && !used.contains(&name.replace('-', "_"))
        {
            breaches.push(format!("{section} {name}"));
        }
    }
    check(&breaches, "Remove it from Cargo.toml and docs/dependencies.md.");
}

#[test]
fn few_types_share_a_name() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources("src") {
        for line in source.code_without_tests.lines() {
            if let Some(name) = declared_type(line) {
                files.entry(name.to_owned()).or_default().insert(source.path.clone());
            }
        }
    }
    let mut breaches = Vec::new();
    for (name, files) in &files {
        if files.len() > SAME_NAME && !NOT_YET.contains(&name.as_str()) {
            let files: Vec<&str> = files.iter().map(String::as_str).collect();
            breaches.push(format!("{name}: {}", files.join(", ")));
        }
    }
    let stale = |name: &&&str| files.get(**name).is_none_or(|files| files.len() <= SAME_NAME);
    for name in NOT_YET.iter().filter(stale) {
        breaches.push(format!("{name} is declared seldom enough: remove it from NOT_YET"));
    }
    check(&breaches, "Name a type after what it is, so that its name alone tells which is meant.");
}

/// The type that a line declares.
fn declared_type(line: &str) -> Option<&str> {
    let bare = line.trim_start();
    let visibility = ["pub ", "pub(crate) ", "pub(super) "];
    let rest = visibility.iter().find_map(|word| bare.strip_prefix(word)).unwrap_or(bare);
    let (what, name) = rest.split_once(' ')?;
    // An associated type has the name that its trait gives it, and stands indented.
    let declares =
        ["struct", "enum", "trait"].contains(&what) || what == "type" && bare.len() == line.len();
    words(name).next().map(|(_, name)| name).filter(|_| declares)
}

#[test]
fn public_items_are_recognised() {
    for (line, expected) in [
        ("pub fn a() {}", Some(("fn", "a"))),
        ("    pub const fn b(&self) -> u8 {", Some(("fn", "b"))),
        ("pub async fn c() {", Some(("fn", "c"))),
        ("pub const D: u8 = 1;", Some(("const", "D"))),
        ("pub struct E<T> {", Some(("struct", "E"))),
        ("    pub f: u8,", None),
        ("pub mod g;", None),
        ("pub(crate) fn h() {}", None),
    ] {
        assert_eq!(public_item(line), expected, "{line}");
    }
}

//! House rules as tests over the source tree: what the design asks for and a compiler cannot see.
//!
//! Each rule collects every breach and says what to do about it. Not here: what rustfmt and
//! clippy check (see `rustfmt.toml`, `clippy.toml`, `[lints]` in `Cargo.toml`).

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use magnum::ids::Kind;

/// Who may import whom: a top-level module and the ones it may name. `app` wires all of them
/// but `cli`; nobody names `cli` but the programs in `src/bin`.
const IMPORTS: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("clock", &["ids"]),
    ("blocking", &["clock"]),
    ("secrets", &["clock", "ids"]),
    ("credentials", &[]),
    ("config", &["credentials"]),
    ("events", &["blocking", "ids"]),
    ("backends", &["events", "ids", "secrets"]),
    ("bus", &["events", "backends", "ids"]),
    ("actors", &["events", "backends", "blocking", "bus", "clock", "ids"]),
    ("agent", &["backends", "bus", "clock", "ids"]),
    ("projections", &["events", "ids"]),
    // `bus` for what a decision may know besides the state; what acts on one is out of reach.
    ("replay", &["actors", "projections", "events", "bus", "ids"]),
    (
        "http",
        &[
            "replay",
            "actors",
            "projections",
            "events",
            "bus",
            "backends",
            "blocking",
            "ids",
            "clock",
            "config",
            "credentials",
            "secrets",
        ],
    ),
    (
        "app",
        &[
            "actors",
            "agent",
            "backends",
            "blocking",
            "bus",
            "clock",
            "config",
            "events",
            "http",
            "ids",
            "projections",
            "secrets",
        ],
    ),
    // `events` for `cli/{log,backup}.rs` alone: offline tools work on the log's files themselves.
    ("cli", &["ids", "clock", "config", "credentials", "events", "replay", "app"]),
];

/// The layers of the grid: each has one file for each noun.
const LAYERS: [&str; 5] = ["events", "actors", "projections", "http", "cli"];

/// Where a backend may be named as such: to run it, and to hand it over.
const NAMES_BACKEND: [&str; 3] = ["src/agent", "src/actors/reactor", "src/app"];

/// Where the actor library may be named; everything else is plain Rust that any runtime carries.
const NAMES_ACTIX: [&str; 4] =
    ["src/actors/entity", "src/actors/directory", "src/agent/worker", "src/app"];

/// Lines of a file without its tests: more than a reader takes in at one sitting.
const FILE_LINES: usize = 400;
/// Lines of a function: one screen.
const FUNCTION_LINES: usize = 70;
/// Columns of a line: what rustfmt keeps for code, and leaves alone in comments and strings.
const COLUMNS: usize = 100;

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "type", "types", "helper", "helpers", "misc"];

/// What git ignores at the top level, and git itself.
const IGNORED: [&str; 4] = [".git", ".venv", "data", "target"];

/// A source file, as text and as code alone.
struct Source {
    /// From the top of the repository, with `/`.
    path: String,
    /// As it is.
    text: String,
    /// Without comments and the contents of strings, line for line.
    code: String,
    /// The same without `#[cfg(test)]` modules.
    code_without_tests: String,
}

impl Source {
    /// The path in the module tree: `src/events/log/mod.rs` is `["events", "log"]`.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !["mod", "lib"].contains(part)).collect()
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder, sorted.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    let sources = found.iter().map(|path| {
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = read(&path);
        let code = code_only(&text);
        let code_without_tests = without_tests(&code);
        Source { path, text, code, code_without_tests }
    });
    sources.collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Replaces comments and the contents of strings and characters by blanks; keeps line breaks.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let starts =
        |at: usize, what: &str| what.chars().eq(chars[at..].iter().copied().take(what.len()));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            (at + 2..chars.len()).find(|i| starts(*i, "*/")).map_or(chars.len(), |i| i + 2)
        } else if chars[at] == 'r' && (starts(at, "r\"") || starts(at, "r#\"")) {
            let close = if starts(at, "r\"") { "\"" } else { "\"#" };
            let from = at + 1 + close.len();
            (from..chars.len()).find(|i| starts(*i, close)).map_or(chars.len(), |i| i + close.len())
        } else if chars[at] == '"' {
            string_end(&chars, at)
        } else if chars[at] == '\'' && char_literal(&chars, at) {
            let from = if chars[at + 1] == '\\' { at + 3 } else { at + 2 };
            (from..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |i| i + 1)
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// The end of a plain string that starts here.
fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Whether this quote opens a character, not a lifetime.
fn char_literal(chars: &[char], at: usize) -> bool {
    chars.get(at + 1) == Some(&'\\') || chars.get(at + 2) == Some(&'\'')
}

/// Blanks the modules under `#[cfg(test)]`, which rustfmt closes at their own indentation.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut until: Option<String> = None;
    let mut armed = false;
    for line in code.lines() {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        if let Some(close) = &until {
            if line == close {
                until = None;
            }
            out.push('\n');
            continue;
        }
        if line.trim() == "#[cfg(test)]" {
            armed = true;
        } else if armed && line.trim_end().ends_with('{') && line.trim().starts_with("mod ") {
            until = Some(format!("{indent}}}"));
            armed = false;
        } else if !line.trim_start().starts_with("#[") {
            armed = false;
        }
        out.push_str(if armed || until.is_some() { "" } else { line });
        out.push('\n');
    }
    out
}

/// Every identifier of a text with its byte offset.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// The line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Fails with every breach and what to do.
fn check(breaches: &[String], what_to_do: &str) {
    let mut message = String::new();
    for breach in breaches {
        let _ = writeln!(message, "  {breach}");
    }
    assert!(breaches.is_empty(), "\n{message}\n{what_to_do}\n");
}

/// The names that directly follow `prefix` in use trees and paths: `crate::{a::b, c}` gives a, c.
fn names_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices(prefix) {
        let boundary = code[..offset].chars().next_back();
        if boundary.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c)) {
            continue;
        }
        let rest = &code[offset + prefix.len()..];
        let line = line_of(code, offset);
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group).into_iter().map(|name| (line, name)));
        } else if let Some((0, name)) = words(rest).next()
            && !rest[name.len()..].starts_with('!')
        {
            found.push((line, name.to_owned()));
        }
    }
    found
}

/// The first name of each entry of a use group whose `{` was read already.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut entry) = (0_usize, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => heads.push(std::mem::take(&mut entry)),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => entry.push(c),
            _ => {}
        }
    }
    heads.push(entry);
    heads.iter().filter_map(|entry| words(entry).next().map(|(_, word)| word.to_owned())).collect()
}

/// The top-level modules that a file names, with the line: by `crate::`, or by enough `super::`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let depth = source.module().len();
    let up = "super::".repeat(depth);
    let mut named = names_after(&source.code_without_tests, "crate::");
    named.extend(names_after(&source.code_without_tests, &up));
    // What is no module is a macro or an item of the crate itself.
    named.retain(|(_, name)| IMPORTS.iter().any(|(module, _)| module == name));
    named
}

#[test]
fn each_noun_has_a_file_in_each_layer() {
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        let layers = LAYERS.iter().map(|layer| format!("src/{layer}/{kind}.rs"));
        for path in layers.chain([format!("tests/it/{kind}.rs")]) {
            if !root().join(&path).is_file() {
                missing.push(path);
            }
        }
    }
    check(&missing, "A noun has the same file name in every layer (`ls src/*/bay.rs`): add these.");
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut breaches = Vec::new();
    for source in sources("src") {
        let module = source.module();
        let Some(top) = module.first().copied().filter(|top| *top != "bin") else { continue };
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == top) else {
            breaches.push(format!("{}: module {top} is not in the table", source.path));
            continue;
        };
        for (line, name) in imports(&source) {
            if name != top && !allowed.contains(&name.as_str()) {
                breaches.push(format!("{}:{line}: {top} must not see {name}", source.path));
            }
        }
    }
    check(
        &breaches,
        "Turn the dependency round, or hand the thing in. A new module is added to the table in \
         tests/tidy.rs and to the code map in ARCHITECTURE.md.",
    );
}

#[test]
fn programs_are_thin_and_see_only_the_cli() {
    let mut breaches = Vec::new();
    for source in sources("src/bin") {
        for (line, name) in names_after(&source.code_without_tests, "magnum::") {
            if name != "cli" {
                breaches.push(format!("{}:{line}: sees {name}", source.path));
            }
        }
    }
    check(&breaches, "A program calls cli and returns its exit code; put the rest in a layer.");
}

/// Breaches of "only these files name this word".
fn named_elsewhere(word: &str, places: &[&str]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources("src") {
        if places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for (offset, found) in words(&source.code_without_tests) {
            if found == word {
                let line = line_of(&source.code_without_tests, offset);
                breaches.push(format!("{}:{line}: names {word}", source.path));
            }
        }
    }
    breaches
}

#[test]
fn only_worker_and_reactor_name_a_backend() {
    let places: Vec<&str> = NAMES_BACKEND.into_iter().chain(["src/backends"]).collect();
    check(
        &named_elsewhere("Backend", &places),
        "Work reaches a backend over the bus, so that replay can never run any (rule W7).",
    );
}

#[test]
fn replay_can_reach_nothing_that_acts() {
    let acts = ["Backend", "Bus", "Reactor", "WorkerHandle", "Directory", "append", "clock"];
    let mut breaches = Vec::new();
    for source in sources("src") {
        let is_replay = source.path.starts_with("src/replay/");
        for (offset, word) in words(&source.code_without_tests).filter(|_| is_replay) {
            if acts.contains(&word) {
                let line = line_of(&source.code_without_tests, offset);
                breaches.push(format!("{}:{line}: names {word}", source.path));
            }
        }
    }
    check(&breaches, "Replay looks at what was; it executes and changes nothing (rule W7).");
}

#[test]
fn few_files_name_the_actor_library() {
    check(
        &named_elsewhere("actix", &NAMES_ACTIX),
        "Keep actix to the entity shell, the directory, the worker and the composition root.",
    );
}

#[test]
fn sizes_stay_readable() {
    let mut breaches = Vec::new();
    let mut lengths = Vec::new();
    for source in sources("src") {
        let lines = source.code_without_tests.trim_end().lines().count();
        lengths.push(lines);
        if lines > FILE_LINES {
            breaches.push(format!("{}: {lines} lines, {FILE_LINES} at most", source.path));
        }
    }
    for source in sources("src").into_iter().chain(sources("tests")) {
        let mut is_table = false;
        for (number, line) in (1..).zip(source.text.lines()) {
            // A table that is laid out by hand keeps each row on a line.
            is_table = (is_table || line == "#[rustfmt::skip]") && line != "}";
            let columns = if is_table { 0 } else { line.chars().count() };
            if columns > COLUMNS {
                breaches.push(format!("{}:{number}: {columns} columns", source.path));
            }
        }
        for (line, length) in functions(&source.code) {
            if length > FUNCTION_LINES {
                breaches.push(format!("{}:{line}: a function of {length} lines", source.path));
            }
        }
    }
    lengths.sort_unstable();
    println!("files: {}, median {} lines", lengths.len(), lengths[lengths.len() / 2]);
    check(&breaches, "Split by what a reader looks for, not by line count alone.");
}

/// First line and length of each function, as rustfmt lays them out.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let before = line.split("fn ").next().unwrap_or_default();
        let qualifiers = ["pub", "const", "async", "unsafe", "crate", "super", "in", "extern"];
        let starts =
            line.contains("fn ") && words(before).all(|(_, word)| qualifiers.contains(&word));
        if !starts || !before.chars().all(|c| c.is_alphanumeric() || " ()".contains(c)) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let signature_ends = |line: &&&str| line.trim_end().ends_with(['{', ';', '}']);
        let Some(body) = lines[start..].iter().position(|line| signature_ends(&line)) else {
            continue;
        };
        if lines[start + body].trim_end().ends_with('{') {
            let end = lines[start..].iter().position(|line| line.starts_with(&close));
            found.push((start + 1, end.map_or(lines.len() - start, |end| end + 1)));
        }
    }
    found
}

#[test]
fn each_file_opens_by_saying_what_is_here() {
    let files = sources("src").into_iter().chain(sources("tests"));
    let breaches: Vec<String> = files
        .filter(|source| {
            let first = source.text.lines().next().unwrap_or_default();
            first.len() < "//! Why not".len() || !first.starts_with("//! ")
        })
        .map(|source| source.path)
        .collect();
    check(&breaches, "Open with `//!`: what is here, and what is deliberately not.");
}

#[test]
fn each_file_is_declared_by_a_module() {
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests/it")) {
        let path = Path::new(&source.path);
        let is_root = ["src/lib.rs", "tests/it/main.rs"].contains(&source.path.as_str());
        if is_root || source.path.starts_with("src/bin/") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let (name, folder) = if stem == "mod" {
            (folder.file_name().unwrap().to_str().unwrap(), folder.parent().unwrap())
        } else {
            (stem, folder)
        };
        let parents = ["mod.rs", "lib.rs", "main.rs"].map(|file| folder.join(file));
        let declared = parents.iter().chain([&folder.with_extension("rs")]).any(|parent| {
            fs::read_to_string(root().join(parent)).is_ok_and(|text| {
                code_only(&text).lines().any(|line| {
                    let (visibility, rest) = line.split_once("mod ").unwrap_or((line, ""));
                    let is_public = visibility.is_empty() || visibility.starts_with("pub");
                    is_public && rest.strip_suffix(';') == Some(name)
                })
            })
        });
        if !declared {
            breaches.push(source.path.clone());
        }
    }
    check(&breaches, "Nothing compiles these files: declare them with `mod`, or delete them.");
}

#[test]
fn each_folder_is_named_by_the_documents() {
    let documents = read("README.md") + &read("ARCHITECTURE.md");
    let mut breaches = Vec::new();
    for (folder, prefix) in [("", ""), ("src", "src/")] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let skipped = folder.is_empty() && IGNORED.contains(&name.as_str());
            if entry.path().is_dir() && !skipped && !documents.contains(&format!("{prefix}{name}/"))
            {
                breaches.push(format!("{prefix}{name}/"));
            }
        }
    }
    check(&breaches, "Name the folder in the code map of ARCHITECTURE.md, or delete it.");
}

#[test]
fn names_say_what_is_inside() {
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let parts: BTreeSet<&str> = source.path.trim_end_matches(".rs").split(['/', '_']).collect();
        if EMPTY_NAMES.iter().any(|name| parts.contains(name)) {
            breaches.push(source.path);
        }
    }
    check(&breaches, "Name a file after what it holds, in the words of the field.");
}

#[test]
fn nothing_is_left_for_later() {
    let in_text = ["TODO", "FIXME", "XXX"];
    let in_code = ["unimplemented!", "todo!", "#[ignore", "[allow(", "do_send", "dbg!"];
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.path == "tests/tidy.rs" {
            continue;
        }
        let lines = source.text.lines().zip(source.code.lines());
        for (number, (text, code)) in (1..).zip(lines) {
            let found = in_text.iter().filter(|word| words(text).any(|(_, found)| found == **word));
            for word in found.chain(in_code.iter().filter(|word| code.contains(**word))) {
                breaches.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    check(
        &breaches,
        "Do it now or leave it out; `#[expect(.., reason = \"..\")]` instead of allow; send or \
         try_send instead of do_send.",
    );
}

#[test]
fn payloads_use_nothing_that_a_positional_codec_breaks() {
    let banned = ["serde(default", "skip_serializing_if", "flatten", "untagged", "serde(skip"];
    let mut breaches = Vec::new();
    for source in sources("src/events") {
        // What macros say and what goes outward as JSON.
        let others = ["/codec.rs", "/cloudevent.rs"];
        let payloads =
            source.module().len() == 2 && !others.iter().any(|name| source.path.ends_with(name));
        for (number, line) in (1..).zip(source.code_without_tests.lines()).filter(|_| payloads) {
            for word in banned.iter().filter(|word| line.contains(**word)) {
                breaches.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    check(&breaches, "Bincode is positional: a change is a new struct with the next version.");
}

#[test]
fn each_dependency_is_explained() {
    let manifest = read("Cargo.toml");
    let explained = read("docs/dependencies.md");
    let mut section = "";
    let mut breaches = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once(" =")
            && !explained.contains(&format!("`{name}`"))
        {
            breaches.push(name.to_owned());
        }
    }
    check(&breaches, "Say in docs/dependencies.md why this one, its licence, who maintains it.");
}

/// The rules above see only what these see: each must find what it is for.
mod of_the_rules {
    use super::*;

    #[test]
    fn code_only_blanks_comments_strings_and_chars() {
        let text =
            "let a = \"crate::x \\\" //\"; // crate::y\nlet b: &'a str = r#\"crate::\"#; '\"'";
        let code = code_only(text);
        assert_eq!(code.len(), text.len());
        assert!(
            !code.contains("crate") && code.contains("&'a str") && code.contains('\n'),
            "{code}"
        );
    }

    #[test]
    fn imports_are_found_in_groups_and_by_super() {
        let code = "use crate::{bus::{Ctx, Bus}, ids::X};\nuse super::super::cli;\ncrate::m!();";
        let source = Source {
            path: "src/events/bay.rs".to_owned(),
            text: String::new(),
            code: String::new(),
            code_without_tests: code.to_owned(),
        };
        let names: Vec<String> = imports(&source).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["bus", "ids", "cli"]);
    }

    #[test]
    fn test_modules_do_not_count() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\nfn b() {}\n";
        let left = without_tests(code);
        assert_eq!(left.lines().count(), code.lines().count());
        assert!(!left.contains("cli") && left.contains("fn b"), "{left}");
    }

    #[test]
    fn functions_are_measured() {
        let body = "    pub async fn a(\n        b: u8,\n    ) {\n        c\n    }\n";
        let code = format!("impl A {{\n{body}}}\nfn d() {{}}\n");
        assert_eq!(functions(&code), [(2, 5)]);
    }
}

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

mod circles;
mod citations;
mod machine;
mod shape;
mod source;
mod unused;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use magnum::ids::Kind;

use source::{Source, code_only, line_of, names_after, read, root, sources, words};

/// Who may import whom: a top-level module and the ones it may name. `app` wires all of them
/// but `cli`; nobody names `cli` but the programs in `src/bin`.
const IMPORTS: &[(&str, &[&str])] = &[
    // Its rows name the types of every layer; each layer makes of them what it needs.
    ("nouns", &["ids"]),
    ("ids", &[]),
    ("clock", &["ids"]),
    ("text", &[]),
    ("json", &["text"]),
    ("command_line", &[]),
    ("time_text", &["ids"]),
    ("blocking", &["clock"]),
    ("files", &[]),
    ("secrets", &["clock", "files", "ids"]),
    ("credentials", &[]),
    ("image", &[]),
    ("addresses", &[]),
    ("sources", &["addresses", "image"]),
    ("allowed", &["sources"]),
    ("manifest", &["allowed", "image", "json", "text"]),
    ("config", &["credentials", "text", "allowed"]),
    ("events", &["blocking", "files", "ids", "text"]),
    // `clock` to hold an engine's clock against ours.
    (
        "backends",
        &[
            "clock",
            "command_line",
            "events",
            "ids",
            "secrets",
            "text",
            "addresses",
            "allowed",
            "image",
            "manifest",
            "sources",
        ],
    ),
    ("bus", &["events", "backends", "clock", "ids", "text"]),
    ("actors", &["events", "backends", "blocking", "bus", "clock", "command_line", "ids"]),
    ("agent", &["backends", "bus", "clock", "ids"]),
    ("projections", &["command_line", "events", "files", "ids", "text"]),
    // `bus` for what a decision may know besides the state; what acts on one is out of reach.
    ("replay", &["actors", "projections", "events", "bus", "ids", "text"]),
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
            "command_line",
            "config",
            "credentials",
            "files",
            "secrets",
            "json",
            "text",
            "time_text",
            "addresses",
            "allowed",
            "image",
            "manifest",
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
            "files",
            "http",
            "ids",
            "projections",
            "secrets",
            "replay",
        ],
    ),
    // `projections` for the tables of fields alone; `events` for `cli/{log,backup}.rs` alone:
    // offline tools work on the log's files themselves.
    (
        "cli",
        &[
            "ids",
            "clock",
            "command_line",
            "config",
            "credentials",
            "events",
            "files",
            "projections",
            "replay",
            "app",
            "text",
            "time_text",
            "allowed",
            "image",
            "sources",
        ],
    ),
];

/// The layers of the grid: each has one file for each noun.
const LAYERS: [&str; 5] = ["events", "actors", "projections", "http", "cli"];

/// Where a backend may be named as such: to run it, to hand it over, and to be one.
const NAMES_BACKEND: [&str; 3] = ["src/agent", "src/app", "src/backends"];

/// Where the actor library may be named; everything else is plain Rust that any runtime carries.
const NAMES_ACTIX: [&str; 4] =
    ["src/actors/entity", "src/actors/directory", "src/agent/worker", "src/app"];

/// What makes files and folders, or opens them to be written to.
const MAKES_FILES: [&str; 8] = [
    "DirBuilder",
    "File::create",
    "File::options",
    "OpenOptions",
    "fs::copy(",
    "fs::create_dir",
    "fs::hard_link",
    "fs::write(",
];

/// What git ignores at the top level, and git itself.
const IGNORED: [&str; 4] = [".git", ".venv", "data", "target"];

/// Fails with every breach and what to do.
fn check(breaches: &[String], what_to_do: &str) {
    let mut message = String::new();
    for breach in breaches {
        let _ = writeln!(message, "  {breach}");
    }
    assert!(breaches.is_empty(), "\n{message}\n{what_to_do}\n");
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
         tests/tidy/main.rs and to the code map in ARCHITECTURE.md.",
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
fn only_agent_and_app_name_a_backend() {
    check(
        &named_elsewhere("Backend", &NAMES_BACKEND),
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

/// What reaches objects of every project, and where the REST API may still name it: where it holds
/// the project of what it reads against the caller's, or shows all on purpose.
const WHATEVER_THE_PROJECT: &[(&str, &[&str])] = &[
    ("ServiceReads", &[]),
    ("any_view", &[]),
    ("Source::new", &[]),
    (".whole()", &["replay.rs"]),
    (
        ".read_stream(",
        &[
            "command.rs",
            "read.rs",
            "resource.rs",
            "stream/filter.rs",
            "stream/pages.rs",
            "verbs/execution.rs",
        ],
    ),
    (".stream_head(", &["stream/pages.rs"]),
];

#[test]
fn requests_name_the_project_of_what_they_look_up() {
    let mut breaches = Vec::new();
    for source in sources("src/http") {
        let name = source.path.trim_start_matches("src/http/");
        for (number, line) in (1..).zip(source.code_without_tests.lines()) {
            let named = WHATEVER_THE_PROJECT.iter().filter(|(what, _)| line.contains(what));
            for (what, _) in named.filter(|(_, files)| !files.contains(&name)) {
                breaches.push(format!("{}:{number}: {what}", source.path));
            }
        }
    }
    check(
        &breaches,
        "Look it up in ReadModels, as_of::view or Source::of_project, with the caller's project \
        (rule T2).",
    );
}

/// Where the REST API may read on a thread that waits: what takes a place for it, or reads so
/// little that it needs none.
const READS_ON_A_THREAD: [&str; 7] = [
    // Takes a place itself.
    "read.rs",
    // As one of few streams in their snapshot.
    "stream/snapshot.rs",
    // The events since a command, of one object.
    "command.rs",
    // The first event of an object.
    "resource.rs",
    // A key, which is a file.
    "keys.rs",
    // The system's authorities.
    "input/manifest_url.rs",
    // A manifest of the request's body, which takes the processor for long.
    "pod.rs",
];

#[test]
fn requests_take_a_place_to_read_much() {
    let mut breaches = Vec::new();
    for source in sources("src/http") {
        let name = source.path.trim_start_matches("src/http/");
        if source.code_without_tests.contains("blocking(") && !READS_ON_A_THREAD.contains(&name) {
            breaches.push(source.path);
        }
    }
    check(&breaches, "Use read::scan or read::question: they limit how many read at once.");
}

#[test]
fn few_files_name_the_actor_library() {
    check(
        &named_elsewhere("actix", &NAMES_ACTIX),
        "Keep actix to the entity shell, the directory, the worker and the composition root.",
    );
}

#[test]
fn files_are_made_in_one_place() {
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().filter(|source| source.path != "src/files.rs") {
        for what in MAKES_FILES {
            for (offset, _) in source.code_without_tests.match_indices(what) {
                let line = line_of(&source.code_without_tests, offset);
                breaches.push(format!("{}:{line}: {what}", source.path));
            }
        }
    }
    check(&breaches, "Use src/files.rs, which sets modes and follows no links.");
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
fn nothing_is_left_for_later() {
    let in_text = ["TODO", "FIXME", "XXX"];
    let in_code = ["unimplemented!", "todo!", "#[ignore", "[allow(", "do_send", "dbg!"];
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.path == "tests/tidy/main.rs" {
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

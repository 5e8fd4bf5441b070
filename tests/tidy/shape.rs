//! What a reader meets first: sizes, names, and what each file says about itself.

use std::collections::BTreeSet;

use crate::check;
use crate::source::{sources, words};

/// Lines of a file without its tests: more than a reader takes in at one sitting.
const FILE_LINES: usize = 400;
/// Lines of a function: one screen.
const FUNCTION_LINES: usize = 70;
/// Columns of a line: what rustfmt keeps for code, and leaves alone in comments and strings.
const COLUMNS: usize = 100;

/// Names that say nothing about what is in a file.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "type", "types", "helper", "helpers", "misc"];

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
fn functions_are_measured() {
    let body = "    pub async fn a(\n        b: u8,\n    ) {\n        c\n    }\n";
    let code = format!("impl A {{\n{body}}}\nfn d() {{}}\n");
    assert_eq!(functions(&code), [(2, 5)]);
}

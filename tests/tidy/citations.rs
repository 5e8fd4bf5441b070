//! Rules and failures that are cited by letter and number are in docs/rules.md and
//! docs/failures.md.

use std::collections::BTreeSet;
use std::fs;

use crate::check;
use crate::source::{Source, read, root, sources};

/// The letters of the rules.
const RULES: &str = "LEWBPSTN";

/// Everything with citations: sources and documents, with their paths.
fn texts() -> Vec<(String, String)> {
    let sources = ["src", "tests", "benches"].into_iter().flat_map(sources);
    let mut texts: Vec<(String, String)> =
        sources.map(|Source { path, text, .. }| (path, text)).collect();
    let documents = fs::read_dir(root().join("docs")).unwrap();
    let documents = documents.map(|entry| format!("docs/{}", entry.unwrap().file_name().display()));
    for path in documents.chain(["README.md", "ARCHITECTURE.md", "clippy.toml"].map(str::to_owned))
    {
        texts.push((path.clone(), read(&path)));
    }
    texts
}

/// What a document defines: `* **E1** …` or `1. …`, as E1 and F1.
fn defined() -> BTreeSet<String> {
    let rules = read("docs/rules.md");
    let rules = rules.lines().filter_map(|line| line.strip_prefix("* **")?.split_once("**"));
    let failures = read("docs/failures.md");
    let failures = failures.lines().filter_map(|line| line.split_once(". "));
    let failures = failures.filter(|(number, _)| number.chars().all(|c| c.is_ascii_digit()));
    let rules = rules.map(|(rule, _)| rule.to_owned());
    rules.chain(failures.map(|(number, _)| format!("F{number}"))).collect()
}

/// What a line cites: `rule E1`, `rules L1 and L2`, `F12`, `fn f12_…`.
fn cited(line: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut after_rule = false;
    let mut failure_name =
        ["fn ", "async fn "].iter().any(|start| line.trim_start().starts_with(start));
    for word in line.split(|c: char| !is_word(c)).filter(|word| !word.is_empty()) {
        let (letter, number) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        let numbered = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        let rule = numbered && RULES.contains(letter);
        let named = number.split('_').next().unwrap_or_default();
        if after_rule && rule || letter == "F" && numbered {
            found.push(word.to_owned());
        } else if failure_name
            && letter == "f"
            && named.len() < number.len()
            && named.parse::<u32>().is_ok()
        {
            found.push(format!("F{named}"));
        }
        failure_name &= ["fn", "async"].contains(&word);
        let goes_on = rule || ["and", "or", "to"].contains(&word);
        after_rule = ["rule", "rules"].contains(&word) || after_rule && goes_on;
    }
    found
}

#[test]
fn every_citation_is_defined() {
    let defined = defined();
    assert!(defined.contains("E1") && defined.contains("F59"), "{defined:?}");
    let mut breaches = Vec::new();
    for (path, text) in texts() {
        for (number, line) in (1..).zip(text.lines()) {
            for name in cited(line).into_iter().filter(|name| !defined.contains(name)) {
                breaches.push(format!("{path}:{number}: {name}"));
            }
        }
    }
    check(&breaches, "Define it in docs/rules.md or docs/failures.md, or cite what is meant.");
}

#[test]
fn citations_are_recognised() {
    for (line, expected) in [
        ("/// Decided again (rule L5).", vec!["L5"]),
        ("// See rules P1, P2 and P5: p99, P99.", vec!["P1", "P2", "P5"]),
        ("//! What is lost (F20, F24), as f64", vec!["F20", "F24"]),
        ("fn f48_a_full_disk() {", vec!["F48"]),
        ("async fn f1_a_retry(value: f64) {", vec!["F1"]),
        ("const P99: u8 = 1;", vec![]),
    ] {
        assert_eq!(cited(line), expected, "{line}");
    }
}

//! The source tree as the rules see it: each file as text, as code without comments and strings,
//! and without its tests; the paths that it names.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, as text and as code alone.
pub struct Source {
    /// From the top of the repository, with `/`.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and the contents of strings, line for line.
    pub code: String,
    /// The same without `#[cfg(test)]` modules.
    pub code_without_tests: String,
}

impl Source {
    /// The path in the module tree: `src/events/log/mod.rs` is `["events", "log"]`.
    pub fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|part| !["mod", "lib"].contains(part)).collect()
    }
}

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder, sorted.
pub fn sources(folder: &str) -> Vec<Source> {
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
pub fn code_only(text: &str) -> String {
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
pub fn without_tests(code: &str) -> String {
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
        } else if armed
            && line.trim_end().ends_with('{')
            && line.trim().trim_start_matches("pub ").starts_with("mod ")
        {
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
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// The line of a byte offset, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The names that directly follow `prefix` in use trees and paths: `crate::{a::b, c}` gives a, c.
pub fn names_after(code: &str, prefix: &str) -> Vec<(usize, String)> {
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

#[test]
fn code_only_blanks_comments_strings_and_chars() {
    let text = "let a = \"crate::x \\\" //\"; // crate::y\nlet b: &'a str = r#\"crate::\"#; '\"'";
    let code = code_only(text);
    assert_eq!(code.len(), text.len());
    assert!(!code.contains("crate") && code.contains("&'a str") && code.contains('\n'), "{code}");
}

#[test]
fn test_modules_do_not_count() {
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\nfn b() {}\n";
    let left = without_tests(code);
    assert_eq!(left.lines().count(), code.lines().count());
    assert!(!left.contains("cli") && left.contains("fn b"), "{left}");
}

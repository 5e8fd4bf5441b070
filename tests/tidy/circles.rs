//! No import circles: the files and folders of a folder have an order in which they can be read.
//!
//! A folder's `mod.rs` is what its files share, above and below all of them, so it takes no part;
//! but a name that it re-exports counts as an import from where that name is declared.

use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::source::{Source, sources};

/// For each file or folder of a folder, those beside it that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_folder_has_an_import_circle() {
    let sources = sources("src");
    let folders: BTreeSet<Vec<&str>> = sources.iter().map(folder).collect();
    let mut breaches = Vec::new();
    for folder in folders {
        let path = [&["src"], &folder[..]].concat().join("/");
        let found = circles(&imports_within(&folder, &sources));
        for circle in found {
            breaches.push(format!("{path}: {}", circle.join(", ")));
        }
    }
    check(
        &breaches,
        "These import each other, so none of them can be read or moved alone. Move what they \
         share into a file that imports none of them.",
    );
}

/// The module path of the folder that a file is in.
fn folder(source: &Source) -> Vec<&str> {
    let mut module = source.module();
    if !is_parent(source) {
        module.pop();
    }
    module
}

/// Whether it is what a folder's files share.
fn is_parent(source: &Source) -> bool {
    source.path.ends_with("/mod.rs") || source.path == "src/lib.rs"
}

/// Who imports whom directly within a folder.
fn imports_within(folder: &[&str], sources: &[Source]) -> Imports {
    let below = |source: &&Source| source.module().starts_with(folder);
    let child = |source: &Source| source.module().get(folder.len()).map(|name| (*name).to_owned());
    let mut imports: Imports = sources
        .iter()
        .filter(below)
        .filter_map(child)
        .map(|child| (child, BTreeSet::new()))
        .collect();
    let parent = sources.iter().find(|source| is_parent(source) && source.module() == folder);
    let exported = parent.map(exports).unwrap_or_default();
    for source in sources.iter().filter(below) {
        let Some(from) = child(source) else { continue };
        for path in paths(source) {
            let inside = path.iter().zip(folder).all(|(name, own)| name == own);
            let Some(name) = path.get(folder.len()).filter(|_| inside) else { continue };
            let target = if imports.contains_key(name) { Some(name) } else { exported.get(name) };
            if let Some(target) = target.filter(|target| **target != from)
                && let Some(targets) = imports.get_mut(&from)
            {
                targets.insert(target.clone());
            }
        }
    }
    imports
}

/// The names that a parent re-exports, with the child that has each.
fn exports(parent: &Source) -> BTreeMap<String, String> {
    let code = &parent.code_without_tests;
    let mut exported = BTreeMap::new();
    for (at, before) in code.match_indices("pub use ") {
        for path in expand(&code[at + before.len()..]) {
            let own = path.iter().position(|name| name != "self").unwrap_or_default();
            if let (Some(child), Some(name)) = (path.get(own), path.last()) {
                exported.insert(name.clone(), child.clone());
            }
        }
    }
    exported
}

/// Every path within the crate that a file names, from the top.
fn paths(source: &Source) -> Vec<Vec<String>> {
    let code = &source.code_without_tests;
    let module: Vec<String> = source.module().into_iter().map(str::to_owned).collect();
    let starts = ["crate::", "super::"].into_iter().flat_map(|start| code.match_indices(start));
    let mut found = Vec::new();
    for (at, start) in starts {
        let boundary = code[..at].chars().next_back();
        if boundary.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c)) {
            continue;
        }
        for path in expand(&code[at..]) {
            let up = path.iter().take_while(|name| *name == "super").count();
            let base = if start == "crate::" { 0 } else { module.len().saturating_sub(up) };
            let skipped = up.max(1);
            found.push([&module[..base], &path[skipped.min(path.len())..]].concat());
        }
    }
    found
}

/// The paths of a use tree, or of a path in an expression, that a text begins with.
fn expand(text: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut open: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut rest = text;
    loop {
        let name: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || "_*".contains(*c)).collect();
        rest = &rest[name.len()..];
        if !name.is_empty() {
            path.push(name);
        }
        if let Some(more) = rest.strip_prefix("::") {
            rest = more;
            if let Some(more) = rest.strip_prefix('{') {
                open.push(path.clone());
                rest = more.trim_start();
            }
            continue;
        }
        if open.last().is_none_or(|start| start.len() < path.len()) {
            paths.push(path.clone());
        }
        rest = rest.trim_start();
        if let Some(more) = rest.strip_prefix("as ").filter(|_| !open.is_empty()) {
            rest = more.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start();
        }
        while let Some(more) = rest.strip_prefix('}').filter(|_| !open.is_empty()) {
            open.pop();
            rest = more.trim_start();
        }
        match (open.last(), rest.strip_prefix(',')) {
            (Some(start), Some(more)) => {
                path.clone_from(start);
                rest = more.trim_start();
            }
            _ => return paths,
        }
    }
}

/// The strongly connected components of more than one, by Tarjan's algorithm.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let (numbers, lowest) = (BTreeMap::new(), BTreeMap::new());
    let mut search = Search { imports, numbers, lowest, stack: Vec::new(), found: Vec::new() };
    for name in imports.keys() {
        if !search.numbers.contains_key(name.as_str()) {
            search.visit(name);
        }
    }
    search.found
}

struct Search<'a> {
    imports: &'a Imports,
    /// In the order of discovery.
    numbers: BTreeMap<&'a str, usize>,
    /// The lowest number that can be reached.
    lowest: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, name: &'a str) {
        let number = self.numbers.len();
        self.numbers.insert(name, number);
        self.lowest.insert(name, number);
        self.stack.push(name);
        for target in &self.imports[name] {
            if !self.numbers.contains_key(target.as_str()) {
                self.visit(target);
                self.reaches(name, self.lowest[target.as_str()]);
            } else if self.stack.contains(&target.as_str()) {
                self.reaches(name, self.numbers[target.as_str()]);
            }
        }
        if self.lowest[name] == number
            && let Some(at) = self.stack.iter().position(|other| *other == name)
        {
            let circle = self.stack.split_off(at);
            if circle.len() > 1 {
                self.found.push(circle.into_iter().map(str::to_owned).collect());
            }
        }
    }

    fn reaches(&mut self, name: &'a str, number: usize) {
        let lowest = self.lowest.entry(name).or_insert(number);
        *lowest = number.min(*lowest);
    }
}

#[test]
fn use_trees_are_expanded() {
    let text = "crate::{bus::{Ctx, local::{self, Bus}}, ids::X as Y, log::*};\nuse other::A;";
    let paths: Vec<String> = expand(text).into_iter().map(|path| path.join("::")).collect();
    let all = ["bus::Ctx", "bus::local::self", "bus::local::Bus", "ids::X", "log::*"];
    assert_eq!(paths, all.map(|path| format!("crate::{path}")));
    assert_eq!(expand("super::list::page(a, b)"), [["super", "list", "page"]]);
}

#[test]
fn circles_are_found_and_what_only_leads_to_one_is_not() {
    let imports = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a"), ("c", "e"), ("e", "f")];
    let mut graph = Imports::new();
    for (from, to) in imports {
        graph.entry(from.to_owned()).or_default().insert(to.to_owned());
        graph.entry(to.to_owned()).or_default();
    }
    assert_eq!(circles(&graph), [["b", "c"]]);
}

#[test]
fn imports_are_found_by_every_spelling() {
    let source = |path: &str, code: &str| Source {
        path: path.to_owned(),
        text: String::new(),
        code: String::new(),
        code_without_tests: code.to_owned(),
    };
    let sources = [
        source("src/http/mod.rs", "mod a;\npub use d::{D, E};"),
        source("src/http/a.rs", "use super::b;\nuse crate::http::{c::C, D};"),
        source("src/http/b.rs", "fn f() { super::super::http::c::f() }\nuse crate::events::a;"),
        source("src/http/c.rs", ""),
        source("src/http/d/mod.rs", "pub struct D;"),
        source("src/http/d/e.rs", "use super::super::a::A;\npub(super) fn f() {}"),
    ];
    let found = imports_within(&["http"], &sources);
    let expected = [("a", vec!["b", "c", "d"]), ("b", vec!["c"]), ("c", vec![]), ("d", vec!["a"])];
    let expected: Vec<(&str, Vec<&str>)> = expected.into_iter().collect();
    let found: Vec<(&str, Vec<&str>)> = found
        .iter()
        .map(|(from, to)| (from.as_str(), to.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(found, expected);
}

//! The engine's own paths on its machine, which its errors contain and users are not told.
//!
//! Not here: what the errors mean (`error`).

use std::sync::{PoisonError, RwLock};

/// Where the engine mounts the files of a container, below a folder of its own for each.
const LAYERS: &str = "/merged/";

/// The engine's data directory, as the last engine said; empty before the first did.
static DATA_ROOT: RwLock<String> = RwLock::new(String::new());

/// The engine's own folders, where it has not been told otherwise: no user has files there.
const ENGINE_FOLDERS: &[&str] = &[
    "/var/lib/docker/",
    "/var/lib/containerd/",
    "/var/run/docker/",
    "/run/docker/",
    "/run/containerd/",
];

/// What stands for a path below them.
const ENGINE_PATH: &str = "(a path of the engine)";

/// Where a path ends, and another word begins.
const PATH_ENDS: &[char] = &[' ', '"', '\'', '(', ')', ':', ',', ';', '='];

/// Keeps the paths below an engine's data directory from being told.
pub(super) fn note_data_root(root: &str) {
    // All paths are below `/`.
    let root = root.trim_end_matches('/');
    root.clone_into(&mut DATA_ROOT.write().unwrap_or_else(PoisonError::into_inner));
}

/// The words without the engine's own folders. A container's files are below one of them, and its
/// user knows them by their names in the container.
pub(super) fn without_engine_paths(words: &str) -> String {
    let root = DATA_ROOT.read().unwrap_or_else(PoisonError::into_inner);
    let is_below_root = |path: &str| {
        let rest = path.strip_prefix(root.as_str()).filter(|_| !root.is_empty());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut told = String::with_capacity(words.len());
    for word in words.split_inclusive(PATH_ENDS) {
        let path = word.trim_end_matches(PATH_ENDS);
        let end = word.strip_prefix(path).unwrap_or_default();
        match path.split_once(LAYERS) {
            Some((engine, inside)) if engine.contains('/') => {
                told.extend(["/", inside, end]);
            }
            _ if ENGINE_FOLDERS.iter().any(|folder| path.starts_with(folder))
                || is_below_root(path) =>
            {
                told.extend([ENGINE_PATH, end]);
            }
            _ => told.push_str(word),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_directory_that_the_engine_names_is_not_told() {
        for root in ["/mnt/engine-data", "/mnt/engine-data/", "/"] {
            note_data_root(root);
            let words = "stat /mnt/engine-data/volumes/x, /mnt/engine-data-2/x, /mnt/x: failed";
            let hidden = "stat (a path of the engine), /mnt/engine-data-2/x, /mnt/x: failed";
            let told = if root == "/" { words } else { hidden };
            assert_eq!(without_engine_paths(words), told, "{root}");
        }
    }
}

//! `node-*`: machines where work executes. Those that run a backend register themselves.

use super::noun::Noun;
use super::verbs::{Commands, option};
use crate::ids::Kind;

const MORE: &[&str] = &["host", "status", "cpus"];
const WIDE: &[&str] = &["memory_bytes", "engine", "image_id", "status_reason"];

/// Nodes: what they are and how they are; the image of 2015 is in the wide list.
pub const NODE: Commands = Commands {
    noun: Noun { kind: Kind::Node, columns: &["uuid", "type"], more: MORE, wide: WIDE },
    lists: "Print a list of configured nodes",
    deletes: "Delete nodes; refused while they have bays",
    forces: None,
    options: || {
        vec![
            option("type", "TYPE", "Type of the node: virt or bare"),
            option("image-id", "IMAGE", "Name or UUID of the image of the node"),
        ]
    },
};

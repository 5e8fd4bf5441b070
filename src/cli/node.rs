//! `node-*`: machines where work executes. Those that run a backend register themselves.

use super::noun::Noun;
use super::verbs::{Commands, option};
use crate::ids::Kind;

/// Nodes, with the columns of 2015.
pub const NODE: Commands = Commands {
    noun: Noun { kind: Kind::Node, columns: &["uuid", "type", "image_id"] },
    lists: "Print a list of configured nodes",
    deletes: "Delete nodes; refused while they have bays",
    options: || {
        vec![
            option("type", "TYPE", "Type of the node: virt or bare"),
            option("image-id", "IMAGE", "Name or UUID of the image of the node"),
        ]
    },
};

//! `bay-*`: groups of containers with a network of their own.

use super::args::ident;
use super::noun::Noun;
use super::verbs::{Commands, option};
use crate::ids::Kind;

/// Bays, with the columns of 2015.
pub const BAY: Commands = Commands {
    noun: Noun {
        kind: Kind::Bay,
        columns: &["uuid", "name", "node_count", "status"],
        more: &[],
        wide: &["baymodel_id", "node_addresses", "status_reason", "created_at"],
    },
    lists: "Print a list of available bays",
    deletes: "Delete bays and the containers in them",
    forces: Some(FORCES),
    options: || {
        vec![
            option("name", "NAME", "Name of the bay"),
            option("baymodel", "NAME|UUID", BAYMODEL)
                .id("baymodel_id")
                .alias("baymodel-id")
                .value_parser(ident),
            option("node-count", "N", "Number of nodes"),
            option("discovery-url", "URL", "Discovery URL of a swarm"),
            option("timeout", "MINUTES", "Minutes until the creation fails; 0: no limit")
                .id("bay_create_timeout"),
            option("type", "TYPE", "Type of the bay, as in 2014").hide(true),
            option("image-id", "IMAGE", "Image of the bay's machines, as in 2014").hide(true),
        ]
    },
};

const FORCES: &str = "Give up what cannot be deleted: if the deletion is blocked or fails, the bay \
    leaves the record, and what stays behind is listed. With --no-wait only a bay whose deletion \
    was tried before";

const BAYMODEL: &str = "Name or UUID of the baymodel [default: the built-in baymodel]";

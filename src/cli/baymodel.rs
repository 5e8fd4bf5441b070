//! `baymodel-*`: templates of bays.

use super::noun::Noun;
use super::verbs::{Commands, option};
use crate::ids::Kind;

/// Baymodels, with the columns of 2015.
pub const BAYMODEL: Commands = Commands {
    noun: Noun {
        kind: Kind::Baymodel,
        columns: &["uuid", "name"],
        more: &[],
        wide: &["coe", "image_id", "created_at"],
    },
    lists: "Print a list of baymodels",
    deletes: "Delete baymodels; refused while bays use them",
    forces: None,
    options: || {
        vec![
            option("name", "NAME", "Name of the baymodel"),
            option("image-id", "IMAGE", "Name or UUID of the image of the machines").required(true),
            option("keypair-id", "KEYPAIR", "Name or UUID of the SSH key pair of the machines")
                .required(true),
            option("external-network-id", "NETWORK", "External network"),
            option("coe", "COE", COE),
            option("fixed-network", "NETWORK", "Fixed network of the machines"),
            option("ssh-authorized-key", "KEY", "SSH public key that may log in"),
            option("dns-nameserver", "IPv4", "Name server of the machines")
                .default_value("8.8.8.8"),
            option("flavor-id", "FLAVOR", "Flavor of the machines").default_value("m1.medium"),
            option("master-flavor-id", "FLAVOR", "Flavor of the master"),
            option("docker-volume-size", "GB", "Size of the Docker volume, in GB"),
        ]
    },
};

const COE: &str = "Container orchestration engine: docker, kubernetes, swarm [default: docker]";

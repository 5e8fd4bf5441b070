//! What queries know of baymodels.

use serde::{Deserialize, Serialize};

use super::field_table::{FieldDef, MAX_COUNT, Rule, SortAs};
use super::{View, ViewHead};
use crate::events::baymodel::{BaymodelEvent, BaymodelFields};
use crate::field;

/// A baymodel as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaymodelView {
    /// What every view has.
    pub head: ViewHead,
    /// All that it holds.
    pub fields: BaymodelFields,
}

const COE: &str = "Container orchestration engine: `docker`, `kubernetes`, `swarm`.";
const DEFAULT_COE: &str = "The same; defaults to `docker`.";
const PORT: Rule = Rule::Integer(1024, 65535);
const SIZE: Rule = Rule::Integer(1, MAX_COUNT);

impl View for BaymodelView {
    const TABLE: &'static [FieldDef<Self>] = &[
        FieldDef::uuid(""),
        field!("name", fields.name).in_lists().writable(Rule::Name, ""),
        field!("coe", fields.coe)
            .means(COE)
            .in_lists()
            .given(Rule::Name, DEFAULT_COE)
            .kept(Rule::Name),
        field!("image_id", fields.image_id).in_lists().needed(Rule::Name, "").kept(Rule::Name),
        field!("keypair_id", fields.keypair_id).needed(Rule::Name, "").kept(Rule::Name),
        field!("flavor_id", fields.flavor_id).writable(Rule::Name, ""),
        field!("master_flavor_id", fields.master_flavor_id).writable(Rule::Name, ""),
        field!("external_network_id", fields.external_network_id).writable(Rule::Name, ""),
        field!("fixed_network", fields.fixed_network).writable(Rule::Name, ""),
        field!("dns_nameserver", fields.dns_nameserver).writable(Rule::Ipv4, "An IPv4 address."),
        field!("apiserver_port", fields.apiserver_port)
            .listed()
            .filter(SortAs::Number)
            .writable(PORT, ""),
        field!("docker_volume_size", fields.docker_volume_size_gb)
            .means("Gigabytes.")
            .writable(SIZE, "Gigabytes."),
        field!("ssh_authorized_key", fields.ssh_authorized_key).writable(Rule::Text, ""),
        field!("cluster_distro", fields.cluster_distro).writable(Rule::Name, ""),
    ];

    fn first(payload: &BaymodelEvent) -> Option<Self> {
        let BaymodelEvent::Created(created) = payload else { return None };
        Some(Self { fields: created.fields.clone(), ..Self::default() })
    }
}

//! The events of a baymodel: payloads, frozen once released, and the status that they lead to.
//!
//! Not here: which commands are legal (`actors/baymodel.rs`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status;
use super::work::UpdatedV1;
use crate::{noun_events, statuses};

/// The fields of a baymodel, as in the 2015 API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BaymodelFields {
    /// Its name.
    pub name: Option<String>,
    /// Container orchestration engine: `kubernetes`, `swarm`, `docker`.
    pub coe: String,
    /// Image of the machines.
    pub image_id: String,
    /// SSH key pair of the machines.
    pub keypair_id: Option<String>,
    /// Flavor of the machines.
    pub flavor_id: Option<String>,
    /// Flavor of the master.
    pub master_flavor_id: Option<String>,
    /// Network to the outside.
    pub external_network_id: Option<String>,
    /// Network of the machines.
    pub fixed_network: Option<String>,
    /// IPv4 address of a name server.
    pub dns_nameserver: Option<String>,
    /// 1024 to 65535.
    pub apiserver_port: Option<u16>,
    /// Gigabytes.
    pub docker_volume_size_gb: Option<u32>,
    /// Public key.
    pub ssh_authorized_key: Option<String>,
    /// Distribution of the image.
    pub cluster_distro: Option<String>,
}

/// A baymodel was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BaymodelCreatedV1 {
    /// All of it.
    pub fields: BaymodelFields,
}

/// A baymodel is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BaymodelDeletedV1 {}

noun_events! {
    /// Everything that can happen to a baymodel.
    BaymodelEvent {
        /// Made.
        Created(BaymodelCreatedV1) = "baymodel.created", 1, Changed;
        /// Fields set by a PATCH.
        Updated(UpdatedV1) = "baymodel.updated", 1, Changed { updated };
        /// Gone.
        Deleted(BaymodelDeletedV1) = "baymodel.deleted", 1, Changed { end };
    }
}

statuses! {
    /// Whether there is a baymodel. Nobody is shown more than that.
    Status {
        /// Never made.
        Absent = "Absent", gone;
        /// There.
        Present = "Present";
        /// Gone.
        Deleted = "Deleted", gone;
    }
}

impl status::Status for Status {
    type Event = BaymodelEvent;

    fn after(self, event: &BaymodelEvent) -> Self {
        match (self, event) {
            (_, BaymodelEvent::Created(_)) => Self::Present,
            (Self::Present, BaymodelEvent::Deleted(_)) => Self::Deleted,
            (_, BaymodelEvent::Updated(_) | BaymodelEvent::Deleted(_)) => self,
        }
    }
}

//! A bay's network: created once, removed when nothing uses it.
//!
//! The engine identifies networks by id and allows several with one name. So creation is guarded
//! three times: one at a time in this process, the engine's own check (best effort, as it says),
//! and a check afterwards that removes duplicates. Not here: subnets for networks that do not fit
//! the engine's pools (`subnet.rs`).

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use bollard::{BollardRequest, body_full};

use super::super::{BackendError, Done, ObservedNetwork, labels};
use super::subnet::{self, Subnet};
use super::{DockerBackend, error};
use crate::ids::{ObjectId, ProjectId};
use crate::text;

/// What helps where the engine names nothing that uses a network. It counts anew when it starts.
const MISCOUNTED: &str = "but no container is in it: Docker before 28.1 miscounts when several \
    containers end at once; restart the Docker engine, then delete the bay again";

/// What is remembered of networks.
#[derive(Default)]
pub(super) struct Networks {
    /// Held while a network is created: the engine would create two of the same name.
    creating: tokio::sync::Mutex<()>,
    /// Bays whose network existed when it was last looked. Saves a call for each container; if a
    /// network was removed outside Magnum since, the engine refuses to start the container.
    known: Mutex<HashSet<ObjectId>>,
}

impl Networks {
    fn known(&self) -> MutexGuard<'_, HashSet<ObjectId>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DockerBackend {
    /// Makes a bay's network unless it is there.
    pub(super) async fn ensure_network(
        &self,
        bay_id: ObjectId,
        project: &ProjectId,
    ) -> Result<Done, BackendError> {
        let _alone = self.networks.creating.lock().await;
        if let Some(id) = self.only_network(bay_id).await? {
            return Ok(Done { engine_id: Some(id), ..Done::default() });
        }
        let made = self.make_network(bay_id, project).await;
        match (self.only_network(bay_id).await?, made) {
            (Some(id), _) => Ok(Done { engine_id: Some(id), ..Done::default() }),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(BackendError::Failed(format!(
                "the network {} was removed outside Magnum while it was created",
                labels::network_name(bay_id)
            ))),
        }
    }

    /// Whether a bay has a network; one that is being created is waited for.
    pub(super) async fn has_network(&self, bay_id: ObjectId) -> Result<bool, BackendError> {
        if self.networks.known().contains(&bay_id) {
            return Ok(true);
        }
        let _alone = self.networks.creating.lock().await;
        let exists = !self.networks_of(bay_id).await?.is_empty();
        if exists {
            self.networks.known().insert(bay_id);
        }
        Ok(exists)
    }

    /// Removes a bay's network.
    pub(super) async fn delete_network(&self, bay_id: ObjectId) -> Result<Done, BackendError> {
        self.networks.known().remove(&bay_id);
        for network in self.networks_of(bay_id).await? {
            self.remove_network(&network).await?;
        }
        Ok(Done::default())
    }

    async fn make_network(
        &self,
        bay_id: ObjectId,
        project: &ProjectId,
    ) -> Result<(), BackendError> {
        match self.request_network(bay_id, project, None).await {
            Err(BackendError::Failed(words)) if error::has_no_subnet_left(&words) => {
                self.make_network_beyond_pools(bay_id, project, &words).await
            }
            other => other,
        }
    }

    /// Makes it with a subnet that we choose: the engine has used up those that it chooses from.
    async fn make_network_beyond_pools(
        &self,
        bay_id: ObjectId,
        project: &ProjectId,
        exhausted: &str,
    ) -> Result<(), BackendError> {
        let routes = subnet::routed().await;
        let mut tried = 0;
        for subnet in subnet::candidates(bay_id, &routes).take(subnet::ATTEMPTS) {
            match self.request_network(bay_id, project, Some(subnet)).await {
                Err(BackendError::Refused(words) | BackendError::Failed(words))
                    if subnet::is_taken(&words) => {}
                other => return other,
            }
            tried += 1;
        }
        let docker = self.connection.client()?;
        let networks = self.connection.quick(docker.list_networks(None)).await?.len();
        Err(BackendError::Failed(format!(
            "the {networks} networks of the Docker engine have used up its address pools, and \
             no subnet of {} is free ({tried} tried, leaving out those that routes of this \
             machine use): delete bays, or give the engine more `default-address-pools` \
             ({exhausted})",
            subnet::RANGE
        )))
    }

    /// Asks for it once, with a subnet or with one that the engine chooses.
    async fn request_network(
        &self,
        bay_id: ObjectId,
        project: &ProjectId,
        subnet: Option<Subnet>,
    ) -> Result<(), BackendError> {
        let ipam = subnet.map(|subnet| Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        });
        let request = NetworkCreateRequest {
            name: labels::network_name(bay_id),
            driver: Some("bridge".to_owned()),
            labels: Some(labels::of_network(self.node_id, bay_id, project)),
            ipam,
            ..NetworkCreateRequest::default()
        };
        let docker = self.connection.client()?;
        let docker = match checked(&request) {
            Some(body) => docker.with_request_modifier(move |call| with_body(call, &body)),
            None => docker,
        };
        self.connection.quick(docker.create_network(request)).await.map(drop)
    }

    /// The bay's network; where there are several, all but the first are removed.
    async fn only_network(&self, bay_id: ObjectId) -> Result<Option<String>, BackendError> {
        let mut networks = self.networks_of(bay_id).await?.into_iter();
        let Some(first) = networks.next() else { return Ok(None) };
        for extra in networks {
            self.remove_network(&extra).await?;
        }
        Ok(first.id.map(|id| text::words(&id)))
    }

    /// Our networks of a bay, the oldest first.
    async fn networks_of(&self, bay_id: ObjectId) -> Result<Vec<Network>, BackendError> {
        let mut networks = self.own_networks(&[(labels::BAY, bay_id.to_string())]).await?;
        networks.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(networks)
    }

    /// Every network of ours.
    pub(super) async fn observe_networks(&self) -> Result<Vec<ObservedNetwork>, BackendError> {
        let networks = self.own_networks(&[]).await?.into_iter();
        let observed = networks.filter_map(|network| {
            Some(ObservedNetwork {
                bay_id: labels::bay_of(network.labels.as_ref())?,
                engine_id: text::words(&network.id?),
                engine_name: text::words(&network.name.unwrap_or_default()),
            })
        });
        let observed: Vec<ObservedNetwork> = observed.collect();
        *self.networks.known() = observed.iter().map(|network| network.bay_id).collect();
        Ok(observed)
    }

    /// Our networks with these labels besides the node's.
    async fn own_networks(&self, wanted: &[(&str, String)]) -> Result<Vec<Network>, BackendError> {
        let mut wanted = wanted.to_vec();
        wanted.push((labels::NODE, self.node_id.to_string()));
        let ours = labels::filter(&wanted);
        let options = ListNetworksOptionsBuilder::new().filters(&ours).build();
        let docker = self.connection.client()?;
        self.connection.quick(docker.list_networks(Some(options))).await
    }

    /// Removes one network; fine if it is gone. The engine sometimes keeps the endpoint of a
    /// container that it has removed, and with it the network.
    async fn remove_network(&self, network: &Network) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let id = network.id.as_deref().unwrap_or_default();
        let removed = match self.connection.quick(docker.remove_network(id)).await {
            Err(BackendError::Failed(words)) if error::is_in_use(&words) => {
                let endpoints = self.drop_stale_endpoints(id).await?;
                let removed = self.connection.quick(docker.remove_network(id)).await;
                removed.map_err(|error| explained(error, endpoints))
            }
            other => other,
        };
        match removed {
            Err(BackendError::Missing(_)) => Ok(()),
            other => other,
        }
    }

    /// Removes the endpoints of a network whose containers are gone. Those of containers that exist
    /// stay, whoever has made them.
    async fn drop_stale_endpoints(&self, network: &str) -> Result<Counted, BackendError> {
        let docker = self.connection.client()?;
        let call = docker.inspect_network(network, None::<InspectNetworkOptions>);
        let endpoints = self.connection.quick(call).await?.containers.unwrap_or_default();
        let mut found = Counted { known: endpoints.len(), in_use: 0 };
        for (container_id, endpoint) in endpoints {
            // The engine knows an endpoint without a container by the name of the container alone.
            let Some(name) = endpoint.name.filter(|name| !name.is_empty()) else { continue };
            if self.look(&container_id).await?.is_some() || self.look(&name).await?.is_some() {
                found.in_use += 1;
                continue;
            }
            let stale = NetworkDisconnectRequest { container: name, force: Some(true) };
            let call = docker.disconnect_network(network, stale);
            // If this fails, so does the removal of the network, which says why.
            if let Err(error) = self.connection.quick(call).await {
                tracing::debug!(network, %error, "a stale endpoint was not removed");
            }
        }
        Ok(found)
    }
}

/// Endpoints of a network that is in use.
struct Counted {
    /// How many the engine knew of.
    known: usize,
    /// How many of them are of containers that exist.
    in_use: usize,
}

/// Why a network is in use that has these endpoints, and what helps.
fn explained(error: BackendError, endpoints: Counted) -> BackendError {
    let words = match error {
        BackendError::Failed(words) if error::is_in_use(&words) => words,
        other => return other,
    };
    BackendError::Failed(match endpoints {
        Counted { known: 0, .. } => format!("{words}, {MISCOUNTED}"),
        Counted { in_use: 0, .. } => words,
        Counted { in_use: 1, .. } => format!(
            "{words}: 1 container that is not of the bay is connected to it; disconnect or remove \
             it"
        ),
        Counted { in_use, .. } => format!(
            "{words}: {in_use} containers that are not of the bay are connected to it; disconnect \
             or remove them"
        ),
    })
}

/// The request with the engine's check for a name that is taken. Engines from API 1.44 on always
/// check; before, they must be asked to, which the client does not know any more.
fn checked(request: &NetworkCreateRequest) -> Option<Vec<u8>> {
    let mut body = serde_json::to_value(request).ok()?;
    body.as_object_mut()?.insert("CheckDuplicate".to_owned(), true.into());
    serde_json::to_vec(&body).ok()
}

fn with_body(call: BollardRequest, body: &[u8]) -> BollardRequest {
    call.map(|_| body_full(body.to_vec().into()))
}

//! A bay's network: made once, removed when nothing uses it.
//!
//! The engine knows networks by id and lets several have one name. So making one is guarded three
//! times: one at a time in this process, the engine's own check (best effort, as it says), and a
//! look afterwards that removes what is there twice.

use bollard::models::{Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use bollard::{BollardRequest, body_full};

use super::super::{BackendError, Done};
use super::{DockerBackend, labels};
use crate::ids::{ObjectId, ProjectId};

impl DockerBackend {
    /// Makes a bay's network unless it is there.
    pub(super) async fn ensure_network(
        &self,
        bay_id: ObjectId,
        project: &ProjectId,
    ) -> Result<Done, BackendError> {
        let _alone = self.making_network.lock().await;
        if let Some(id) = self.only_network(bay_id).await? {
            return Ok(Done { engine_id: Some(id), exit_code: None });
        }
        let made = self.make_network(bay_id, project).await;
        match (self.only_network(bay_id).await?, made) {
            (Some(id), _) => Ok(Done { engine_id: Some(id), exit_code: None }),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => Err(BackendError::Failed(format!(
                "the network {} was removed by somebody while it was made",
                labels::network_name(bay_id)
            ))),
        }
    }

    /// Removes a bay's network.
    pub(super) async fn delete_network(&self, bay_id: ObjectId) -> Result<Done, BackendError> {
        for network in self.networks(bay_id).await? {
            self.remove_network(&network).await?;
        }
        Ok(Done::default())
    }

    async fn make_network(
        &self,
        bay_id: ObjectId,
        project: &ProjectId,
    ) -> Result<(), BackendError> {
        let request = NetworkCreateRequest {
            name: labels::network_name(bay_id),
            driver: Some("bridge".to_owned()),
            labels: Some(labels::of_network(self.node_id, bay_id, project)),
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
        let mut networks = self.networks(bay_id).await?.into_iter();
        let Some(first) = networks.next() else { return Ok(None) };
        for extra in networks {
            self.remove_network(&extra).await?;
        }
        Ok(first.id)
    }

    /// Our networks of a bay, the oldest first.
    async fn networks(&self, bay_id: ObjectId) -> Result<Vec<Network>, BackendError> {
        let ours = labels::filter(&[
            (labels::NODE, self.node_id.to_string()),
            (labels::BAY, bay_id.to_string()),
        ]);
        let options = ListNetworksOptionsBuilder::new().filters(&ours).build();
        let docker = self.connection.client()?;
        let mut networks = self.connection.quick(docker.list_networks(Some(options))).await?;
        networks.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(networks)
    }

    /// Removes one network; fine if it is gone.
    async fn remove_network(&self, network: &Network) -> Result<(), BackendError> {
        let docker = self.connection.client()?;
        let id = network.id.as_deref().unwrap_or_default();
        match self.connection.quick(docker.remove_network(id)).await {
            Err(BackendError::Missing(_)) => Ok(()),
            other => other,
        }
    }
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

//! The names by which the containers of a bay reach one of them: aliases in the bay's network.
//!
//! The engine sets aliases when a container joins a network, so it leaves the network and joins it
//! again. That takes milliseconds, ends open connections, and publishes its ports anew. The label
//! with its name cannot be changed and stays as it was until the container is recreated.

use bollard::models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::InspectContainerOptions;

use super::super::{BackendError, Done, Work, labels};
use super::DockerBackend;
use super::lifecycle::missing;
use crate::ids::ObjectId;

/// Characters of a container's id that the engine has among its aliases.
const SHORT_ID: usize = 12;

impl DockerBackend {
    /// Lets a container be reached by a name and by no other. An earlier attempt may have ended
    /// between leaving the network and joining it.
    pub(super) async fn rename_in_network(
        &self,
        work: &Work,
        name: Option<&str>,
        bay_id: ObjectId,
    ) -> Result<Done, BackendError> {
        let found = self.find(work.stream).await?.ok_or_else(|| missing(work.stream))?;
        let (id, network) = (found.observed.engine_id, labels::network_name(bay_id));
        let docker = self.connection.client()?;
        let call = docker.inspect_container(&id, None::<InspectContainerOptions>);
        let settings = self.connection.quick(call).await?.network_settings.unwrap_or_default();
        let endpoint = settings.networks.unwrap_or_default().remove(&network);
        let aliases = labels::aliases(name, work.stream.id);
        if let Some(endpoint) = endpoint {
            if has(&endpoint, &id, &aliases) {
                return Ok(Done::default());
            }
            let turn = self.endpoints.turn(bay_id);
            let _alone = turn.lock().await;
            let leave = NetworkDisconnectRequest { container: id.clone(), force: None };
            self.connection.quick(docker.disconnect_network(&network, leave)).await?;
        }
        let endpoint = EndpointSettings { aliases: Some(aliases), ..EndpointSettings::default() };
        let join = NetworkConnectRequest { container: id, endpoint_config: Some(endpoint) };
        match self.connection.quick(docker.connect_network(&network, join)).await {
            Ok(()) => Ok(Done::default()),
            // Of two attempts at once one has done it.
            Err(BackendError::Refused(words)) => Err(BackendError::Failed(words)),
            Err(error) => Err(error),
        }
    }
}

/// Whether these are its aliases, besides the one that the engine gives it.
fn has(endpoint: &EndpointSettings, id: &str, wanted: &[String]) -> bool {
    let short = id.get(..SHORT_ID).unwrap_or(id);
    let mut found: Vec<&String> = endpoint.aliases.iter().flatten().collect();
    found.retain(|alias| *alias != short);
    found.len() == wanted.len() && wanted.iter().all(|alias| found.contains(&alias))
}

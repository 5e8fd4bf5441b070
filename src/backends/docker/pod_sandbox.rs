//! A pod's sandbox: the container that holds the network and the shared memory of all the others,
//! whatever becomes of them.
//!
//! It is in the bay's network under the pod's name, runs a program that does nothing (`pause`), and
//! may do nothing. The engine never restarts it: with its namespaces the pod begins again, which is
//! for `pod_start`.

use std::collections::HashMap;

use bollard::body_full;
use bollard::models::{ContainerCreateBody, EndpointSettings, HostConfig, NetworkingConfig};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;

use super::super::labels;
use super::super::{BackendError, Work};
use super::DockerBackend;
use super::bounds::bounded;
use super::connection::within;
use super::observe::Found;
use super::pause::{self, IMAGE, PROGRAM, REPOSITORY, TAG};
use super::pod_observe::is_up;
use super::pod_volumes::of_sandbox;
use crate::ids::ObjectId;
use crate::manifest::plan::PodPlan;

/// Longest host name that Linux takes of Kubernetes: one label (RFC 1035, section 2.3.4).
const HOST_NAME_MAX: usize = 63;

/// Nobody: the user and group of Kubernetes' sandboxes.
const NOBODY: &str = "65535:65535";

impl DockerBackend {
    /// The sandbox that an earlier attempt of this work made; refused if another one has its name.
    pub(super) async fn find_sandbox(&self, work: &Work) -> Result<Option<Found>, BackendError> {
        let name = labels::container_name(work.stream.id);
        let named = self.look(&name).await?;
        let id = named.map(|found| self.adopt(work, &name, found)).transpose()?;
        match id.and_then(|done| done.engine_id) {
            Some(id) => self.look(&id).await,
            None => Ok(None),
        }
    }

    /// Makes a pod's sandbox, not running.
    pub(super) async fn make_sandbox(
        &self,
        work: &Work,
        name: &str,
        bay_id: ObjectId,
        plan: &PodPlan,
        labels: HashMap<String, String>,
    ) -> Result<Found, BackendError> {
        self.ensure_pause().await?;
        let hosts = plan.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}"));
        let config = HostConfig {
            network_mode: Some(labels::network_name(bay_id)),
            ipc_mode: Some("shareable".to_owned()),
            mounts: Some(of_sandbox(work.stream.id, &plan.volumes)),
            extra_hosts: Some(hosts.collect()),
            ..HostConfig::default()
        };
        let config = bounded(config, &self.allowed.bounds, self.log_driver().await?);
        let body = body(work, name, bay_id, plan, labels, config);
        let id = self.request(work, None, body).await?.engine_id.unwrap_or_default();
        self.look(&id).await?.ok_or_else(|| vanished(&id))
    }

    /// Starts a pod's sandbox unless it runs; what the engine then says of it.
    pub(super) async fn start_sandbox(&self, sandbox: Found) -> Result<Found, BackendError> {
        if is_up(&sandbox) {
            return Ok(sandbox);
        }
        let id = sandbox.observed.engine_id;
        let docker = self.connection.client()?;
        match within(self.connection.limits.quick, docker.start_container(&id, None)).await {
            // The network is missing.
            Err(BackendError::Missing(words)) => return Err(BackendError::Refused(words)),
            started => started?,
        }
        self.look(&id).await?.filter(is_up).ok_or_else(|| vanished(&id))
    }

    /// Has the engine take up the image of sandboxes unless it has it.
    async fn ensure_pause(&self) -> Result<(), BackendError> {
        let _alone = self.importing.lock().await;
        let docker = self.connection.client()?;
        match self.connection.quick(docker.inspect_image(IMAGE)).await {
            Err(BackendError::Missing(_)) => {}
            found => return found.map(drop),
        }
        let machine = self.info().await?.architecture.unwrap_or_default();
        let files = pause::files(&machine).ok_or_else(|| {
            let words = format!("pods need an engine on x86_64 or aarch64, and this is {machine}");
            BackendError::Refused(words)
        })?;
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(REPOSITORY)
            .tag(TAG)
            .message("the sandbox of Magnum's pods")
            .build();
        let news = docker.create_image(Some(options), Some(body_full(files.into())), None);
        self.connection.quick(news.try_collect::<Vec<_>>()).await.map(drop)
    }
}

/// What the engine is asked for.
fn body(
    work: &Work,
    name: &str,
    bay_id: ObjectId,
    plan: &PodPlan,
    labels: HashMap<String, String>,
    config: HostConfig,
) -> ContainerCreateBody {
    let aliases = labels::aliases(Some(name), work.stream.id);
    let endpoint = EndpointSettings { aliases: Some(aliases), ..EndpointSettings::default() };
    let network = labels::network_name(bay_id);
    ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        entrypoint: Some(vec![PROGRAM.to_owned()]),
        hostname: Some(host_name(plan.hostname.as_deref().unwrap_or(name))),
        user: Some(NOBODY.to_owned()),
        labels: Some(labels),
        // A first process has no handler for any other signal.
        stop_signal: Some("SIGKILL".to_owned()),
        host_config: Some(HostConfig { cap_drop: Some(vec!["ALL".to_owned()]), ..config }),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

/// A pod's host name, cut to what fits, as Kubernetes does.
fn host_name(name: &str) -> String {
    let cut: String = name.chars().take(HOST_NAME_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// It was just there. Somebody removed it, or its process ended at once.
fn vanished(id: &str) -> BackendError {
    BackendError::Failed(format!("the sandbox {id} of the pod does not stay"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_have_63_characters_at_most() {
        assert_eq!(host_name("web-1.a"), "web-1.a");
        assert_eq!(host_name(&format!("{}.{}", "a".repeat(62), "b")), "a".repeat(62));
        assert_eq!(host_name(&"a".repeat(253)), "a".repeat(63));
    }
}

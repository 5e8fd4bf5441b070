//! Creating a container: adopt the one that an earlier attempt created, or pull the image, find the
//! bay's network and create it.
//!
//! It never creates the network: that would bring back the network of a bay that is being deleted.
//! Not here: pulling (`pull.rs`), networks (`network.rs`), what bounds each container
//! (`bounds.rs`).

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, NetworkingConfig, PortBinding,
    RestartPolicy as EnginePolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;

use super::super::labels::{self, PodPlace};
use super::super::{
    BackendError, Done, Reporter, RunState, Work, name_taken, no_network, unless_cancelled,
};
use super::DockerBackend;
use super::bounds::bounded;
use super::observe::Found;
use crate::events::container::{ContainerSpec, PortMapping, RestartPolicy, UNSET};
use crate::ids::ObjectId;
use crate::image::Reference;
use crate::text;

/// The engine counts CPU time in billionths of a CPU.
pub(super) const NANO_PER_MILLI: i64 = 1_000_000;

/// The engine's words for a name that another container has.
const NAME_TAKEN: &str = "is already in use by container";

impl DockerBackend {
    /// Makes a container, not running.
    pub(super) async fn create(
        &self,
        work: &Work,
        name: Option<&str>,
        bay_id: ObjectId,
        spec: &ContainerSpec,
        reporter: &dyn Reporter,
    ) -> Result<Done, BackendError> {
        let image = Reference::parse(&spec.image).map_err(BackendError::Refused)?;
        // Before the first attempt there is none; one that came of this attempt has its name.
        if work.attempt > 1
            && let Some(found) = unless_cancelled(reporter, self.find_by_label(work.stream)).await?
        {
            return self.adopt(work, &labels::container_name(work.stream.id), found);
        }
        self.check_allowed(&image, spec)?;
        let body = self.body(work, name, bay_id, spec);
        let mut body = unless_cancelled(reporter, body).await?;
        unless_cancelled(reporter, self.require_network(bay_id)).await?;
        if self.allowed.images.may_use(&image) {
            body.image = Some(self.name_of(&image, &spec.image));
            match self.request(work, None, body.clone()).await {
                // Asked for without a look at the image: it is there for all containers but the
                // first.
                Err(BackendError::Missing(_)) => {}
                answer => return answer,
            }
        }
        let image = self.ensure_image(&image, &spec.image, reporter);
        body.image = Some(unless_cancelled(reporter, image).await?);
        // It may have been removed meanwhile.
        unless_cancelled(reporter, self.require_network(bay_id)).await?;
        match self.request(work, None, body).await {
            // The image or the network went away between two calls.
            Err(BackendError::Missing(words)) => Err(BackendError::Failed(words)),
            answer => answer,
        }
    }

    /// Refuses what this machine is not there for. The REST API has done so by its own settings; a
    /// request may be older than ours.
    pub(super) fn check_allowed(
        &self,
        image: &Reference,
        spec: &ContainerSpec,
    ) -> Result<(), BackendError> {
        let port =
            |port: &PortMapping| self.allowed.ports.check(port.host_ip.as_deref(), port.host_port);
        self.allowed
            .images
            .check(image)
            .and_then(|()| spec.ports.iter().try_for_each(port))
            .map_err(BackendError::Refused)
    }

    /// What the engine is asked for, but for the image.
    pub(super) async fn body(
        &self,
        work: &Work,
        name: Option<&str>,
        bay_id: ObjectId,
        spec: &ContainerSpec,
    ) -> Result<ContainerCreateBody, BackendError> {
        let reserved = &self.allowed.reserved_labels;
        let labels = labels::of_container(work, name, bay_id, &spec.labels, reserved)?;
        let config = host_config(spec, labels::network_name(bay_id));
        let config = bounded(config, &self.allowed.bounds, self.log_driver().await?);
        Ok(body(work, name, bay_id, spec, labels, config))
    }

    /// Asks the engine for the container of an object, or for that in a place of a pod. It cannot
    /// be undone, so it is never given up.
    pub(super) async fn request(
        &self,
        work: &Work,
        place: Option<&PodPlace>,
        body: ContainerCreateBody,
    ) -> Result<Done, BackendError> {
        let name = labels::engine_name(work.stream.id, place);
        let docker = self.connection.client()?;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        match self.connection.quick(docker.create_container(Some(options), body)).await {
            Ok(made) => Ok(Done { engine_id: Some(text::words(&made.id)), ..Done::default() }),
            // The name may be taken by an earlier attempt of this work that was slow. The engine
            // holds a name before and after the container that has it can be seen.
            Err(BackendError::Refused(words)) => match self.look(&name).await? {
                Some(found) => self.adopt(work, &name, found),
                None if words.contains(NAME_TAKEN) => Err(BackendError::Failed(words)),
                None => Err(BackendError::Refused(words)),
            },
            Err(other) => Err(other),
        }
    }

    /// Refuses a bay whose network is not there.
    pub(super) async fn require_network(&self, bay_id: ObjectId) -> Result<(), BackendError> {
        let exists = self.has_network(bay_id).await?;
        if exists { Ok(()) } else { Err(no_network(bay_id)) }
    }

    /// A container that has our name or labels, if an earlier attempt of this work made it.
    pub(super) fn adopt(
        &self,
        work: &Work,
        name: &str,
        found: Found,
    ) -> Result<Done, BackendError> {
        let made_by_this = found.node_id == Some(self.node_id)
            && found.stream == Some(work.stream)
            && found.work_id == Some(work.id);
        match found.observed.state {
            _ if !made_by_this => Err(name_taken(name, &found.observed.engine_id)),
            RunState::Dead => Err(BackendError::Failed(format!(
                "the container {name} is being removed; it is created again when it is gone"
            ))),
            _ => Ok(Done { engine_id: Some(found.observed.engine_id), ..Done::default() }),
        }
    }
}

/// What the engine is asked for, but for the image.
fn body(
    work: &Work,
    name: Option<&str>,
    bay_id: ObjectId,
    spec: &ContainerSpec,
    labels: HashMap<String, String>,
    config: HostConfig,
) -> ContainerCreateBody {
    let network = labels::network_name(bay_id);
    let aliases = labels::aliases(name, work.stream.id);
    let endpoint = EndpointSettings { aliases: Some(aliases), ..EndpointSettings::default() };
    ContainerCreateBody {
        cmd: (!spec.command.is_empty()).then(|| spec.command.clone()),
        env: Some(spec.environment.iter().map(variable).collect()),
        exposed_ports: Some(spec.ports.iter().map(port_key).collect()),
        labels: Some(labels),
        working_dir: spec.working_dir.clone(),
        user: spec.user.clone(),
        host_config: Some(config),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network, endpoint)])),
        }),
        ..ContainerCreateBody::default()
    }
}

/// The part that binds it to the machine.
fn host_config(spec: &ContainerSpec, network: String) -> HostConfig {
    let mut bindings: HashMap<_, Option<Vec<_>>> = HashMap::new();
    for port in &spec.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.host_port.map(|port| port.to_string()),
        };
        bindings.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    HostConfig {
        network_mode: Some(network),
        port_bindings: Some(bindings),
        memory: spec.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        nano_cpus: spec.cpu_millis.map(|millis| i64::from(millis) * NANO_PER_MILLI),
        restart_policy: Some(restart_policy(&spec.restart_policy)),
        ..HostConfig::default()
    }
}

/// `80/tcp`.
fn port_key(port: &PortMapping) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

pub(super) fn restart_policy(policy: &RestartPolicy) -> EnginePolicy {
    let (name, retries) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartPolicy::OnFailure(times) => {
            (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(*times)))
        }
    };
    EnginePolicy { name: Some(name), maximum_retry_count: retries }
}

/// A variable for the engine, which takes a name alone for one that the image has and the container
/// is not to have.
pub(super) fn variable((name, value): (&String, &String)) -> String {
    if value == UNSET { name.clone() } else { format!("{name}={value}") }
}

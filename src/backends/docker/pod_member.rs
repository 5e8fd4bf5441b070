//! What the engine is asked for where a container of a pod is made.
//!
//! It has the network, the host name and the shared memory of the sandbox. Ports are for people to
//! read: nothing of a pod is published on the host. Not here: in which order (`pod_create`).

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountVolumeOptions};

use super::super::labels::{self, PodPlace};
use super::super::pods::{Addresses, WantedPod};
use super::super::{BackendError, Work};
use super::bounds::bounded;
use super::create::{NANO_PER_MILLI, restart_policy, variable};
use super::pod_volumes::mount;
use crate::allowed::Bounds;
use crate::ids::ObjectId;
use crate::manifest::plan::{self, PlannedContainer};

/// What the containers of a pod have in common.
pub(super) struct Surroundings<'a> {
    /// What they are made for.
    pub(super) work: &'a Work,
    /// The pod.
    pub(super) wanted: &'a WantedPod,
    /// The labels of the sandbox.
    pub(super) labels: HashMap<String, String>,
    /// The engine's id of the sandbox.
    pub(super) sandbox_id: String,
    /// Where the pod is.
    pub(super) addresses: Addresses,
    /// What bounds each container.
    pub(super) bounds: &'a Bounds,
    /// The engine's log driver.
    pub(super) log_driver: String,
}

impl Surroundings<'_> {
    /// What the engine is asked for, with an image by the engine's name of it.
    pub(super) fn body(
        &self,
        place: &PodPlace,
        container: &PlannedContainer,
        image: String,
    ) -> Result<ContainerCreateBody, BackendError> {
        let expanded = self.wanted.expanded(self.work, container, &self.addresses)?;
        let given = |words: Vec<String>| (!words.is_empty()).then_some(words);
        let variables = expanded.environment.iter().map(|(name, value)| variable((name, value)));
        Ok(ContainerCreateBody {
            image: Some(image),
            entrypoint: given(expanded.entrypoint),
            cmd: given(expanded.args),
            env: Some(variables.collect()),
            labels: Some(labels::of_member(self.labels.clone(), place)),
            working_dir: container.working_dir.clone(),
            user: container.user.clone(),
            open_stdin: Some(container.stdin),
            tty: Some(container.tty),
            host_config: Some(self.host_config(place, container)),
            ..ContainerCreateBody::default()
        })
    }

    /// The part that binds it to the machine and to the pod.
    fn host_config(&self, place: &PodPlace, container: &PlannedContainer) -> HostConfig {
        let namespace = format!("container:{}", self.sandbox_id);
        let memory = container.memory_bytes.or(self.bounds.memory_bytes);
        let millis = container.cpu_millis.or(self.bounds.cpu_millis);
        let mounts = container.mounts.iter().map(|it| of_container(self.work.stream.id, it));
        let config = HostConfig {
            network_mode: Some(namespace.clone()),
            ipc_mode: Some(namespace),
            mounts: Some(mounts.collect()),
            memory: memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            nano_cpus: millis.map(|millis| i64::from(millis) * NANO_PER_MILLI),
            readonly_rootfs: Some(container.read_only_root),
            restart_policy: Some(restart_policy(&self.wanted.restart_policy(place))),
            ..HostConfig::default()
        };
        let config = bounded(config, self.bounds, self.log_driver.clone());
        let dropped = config.cap_drop.into_iter().flatten().chain(container.dropped.clone());
        HostConfig { cap_drop: Some(dropped.collect()), ..config }
    }
}

/// A volume, or a part of one, as a container has it.
fn of_container(pod_id: ObjectId, planned: &plan::Mount) -> Mount {
    let whole = mount(pod_id, &planned.volume, planned.path.clone(), planned.read_only);
    let options = whole.volume_options.unwrap_or_default();
    let subpath = planned.sub_path.clone();
    Mount { volume_options: Some(MountVolumeOptions { subpath, ..options }), ..whole }
}

//! The plan of a pod as a whole: its name, its volumes, and its containers in their order.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, HostAlias, Pod, Volume};

use super::container::{self, Around};
use super::{PlannedContainer, PodPlan, PodRestart, PodVolume};
use crate::manifest::invalid::Invalid;
use crate::manifest::{names, quantity};

/// Time between SIGTERM and SIGKILL where the manifest names none: Kubernetes' default.
const GRACE_S: u32 = 30;

/// The plan of a pod that was checked.
pub(super) fn plan(pod: Pod) -> Result<PodPlan, Invalid> {
    let spec = pod.spec.unwrap_or_default();
    let grace = spec.termination_grace_period_seconds.map(u32::try_from);
    let grace_s = grace.transpose().map_err(|_| {
        Invalid::at("spec.terminationGracePeriodSeconds", &format!("at most {}", u32::MAX))
    })?;
    let all = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let around = Around { security: spec.security_context.as_ref(), containers: all().collect() };
    let containers = |list: &[Container], name: &str| -> Result<Vec<PlannedContainer>, Invalid> {
        let numbered = list.iter().enumerate();
        numbered
            .map(|(at, it)| container::plan(it, &around, &format!("spec.{name}[{at}]")))
            .collect()
    };
    Ok(PodPlan {
        name: pod.metadata.name.unwrap_or_default(),
        hostname: spec.hostname.clone().filter(|name| !name.is_empty()),
        extra_hosts: extra_hosts(spec.host_aliases.as_deref().unwrap_or_default())?,
        restart: match spec.restart_policy.as_deref() {
            Some("OnFailure") => PodRestart::OnFailure,
            Some("Never") => PodRestart::Never,
            _ => PodRestart::Always,
        },
        grace_s: grace_s.unwrap_or(GRACE_S),
        volumes: volumes(spec.volumes.as_deref().unwrap_or_default())?,
        init: containers(spec.init_containers.as_deref().unwrap_or_default(), "initContainers")?,
        containers: containers(&spec.containers, "containers")?,
    })
}

fn extra_hosts(aliases: &[HostAlias]) -> Result<Vec<(String, IpAddr)>, Invalid> {
    let mut hosts = Vec::new();
    for (index, alias) in aliases.iter().enumerate() {
        let field = format!("spec.hostAliases[{index}]");
        let address = alias.ip.parse();
        let address =
            address.map_err(|_| Invalid::at(format!("{field}.ip"), "use an IP address"))?;
        for (at, name) in alias.hostnames.iter().flatten().enumerate() {
            names::subdomain(name)
                .map_err(|what| Invalid::at(format!("{field}.hostnames[{at}]"), &what))?;
            hosts.push((name.clone(), address));
        }
    }
    Ok(hosts)
}

fn volumes(volumes: &[Volume]) -> Result<Vec<PodVolume>, Invalid> {
    let mut planned = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = |field: &str| format!("spec.volumes[{index}].emptyDir.{field}");
        // Kubernetes makes one without a source an emptyDir.
        let folder = volume.empty_dir.as_ref();
        let is_memory = match folder.and_then(|it| it.medium.as_deref()) {
            None | Some("") => false,
            Some("Memory") => true,
            Some(_) => {
                return Err(Invalid::at(at("medium"), "a Docker bay has disk and Memory only"));
            }
        };
        let limit = folder.and_then(|it| it.size_limit.as_ref());
        let limit = limit.map(|limit| quantity::whole(&limit.0)).transpose();
        let limit = limit.map_err(|what| Invalid::at(at("sizeLimit"), &what))?;
        let size_limit_bytes = limit.filter(|bytes| *bytes > 0);
        planned.push(PodVolume { name: volume.name.clone(), is_memory, size_limit_bytes });
    }
    Ok(planned)
}

//! A container of a pod: its name and image, ports, variables, limits and mounts.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, ResourceRequirements, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::one_of;
use crate::manifest::invalid::Invalid;
use crate::manifest::{names, quantity};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Checks the container at `field`, in a pod with these volumes.
pub(super) fn check(
    container: &Container,
    field: &str,
    volumes: &BTreeSet<&str>,
) -> Result<(), Invalid> {
    let at = |name: &str| format!("{field}.{name}");
    names::label(&container.name).map_err(|what| Invalid::at(at("name"), &what))?;
    let image = container.image.as_deref().unwrap_or_default();
    if image.is_empty() {
        return Err(Invalid::empty(&at("image")));
    }
    if image.trim() != image {
        return Err(Invalid::at(at("image"), "it begins or ends with white space"));
    }
    if let Some(policy) = container.image_pull_policy.as_deref().filter(|it| !it.is_empty()) {
        one_of(policy, &PULL_POLICIES).map_err(|what| Invalid::at(at("imagePullPolicy"), &what))?;
    }
    for (index, one) in container.env.iter().flatten().enumerate() {
        variable(one, &at(&format!("env[{index}]")))?;
    }
    ports(container.ports.as_deref().unwrap_or_default(), &at("ports"))?;
    if let Some(of) = &container.resources {
        resources(of, &at("resources"))?;
    }
    mounts(container.volume_mounts.as_deref().unwrap_or_default(), &at("volumeMounts"), volumes)
}

fn variable(variable: &EnvVar, field: &str) -> Result<(), Invalid> {
    let at = |name: &str| format!("{field}.{name}");
    names::variable(&variable.name).map_err(|what| Invalid::at(at("name"), &what))?;
    let value = variable.value.as_deref().unwrap_or_default();
    if value.contains('\0') {
        return Err(Invalid::at(at("value"), "it must not contain the character U+0000"));
    }
    if !value.is_empty() && variable.value_from.is_some() {
        return Err(Invalid::at(at("valueFrom"), "this variable has a value as well"));
    }
    Ok(())
}

fn ports(ports: &[ContainerPort], field: &str) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let at = |name: &str| format!("{field}[{index}].{name}");
        if !(1..=65_535).contains(&port.container_port) {
            return Err(Invalid::at(at("containerPort"), "use a port from 1 to 65535"));
        }
        if let Some(protocol) = port.protocol.as_deref().filter(|it| !it.is_empty()) {
            one_of(protocol, &PROTOCOLS).map_err(|what| Invalid::at(at("protocol"), &what))?;
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            names::port(name).map_err(|what| Invalid::at(at("name"), &what))?;
            if !names.insert(name) {
                return Err(Invalid::at(at("name"), "another port of the container has it"));
            }
        }
    }
    Ok(())
}

fn resources(resources: &ResourceRequirements, field: &str) -> Result<(), Invalid> {
    let limits = amounts(&resources.limits, &format!("{field}.limits"))?;
    for (name, amount) in amounts(&resources.requests, &format!("{field}.requests"))? {
        if limits.get(name).is_some_and(|limit| amount > *limit) {
            let field = format!("{field}.requests['{name}']");
            return Err(Invalid::at(field, "it is more than its limit"));
        }
    }
    Ok(())
}

/// Amounts of resources: of memory and the like in units, of CPUs in thousandths.
fn amounts<'a>(
    amounts: &'a Option<BTreeMap<String, Quantity>>,
    field: &str,
) -> Result<BTreeMap<&'a str, u64>, Invalid> {
    let mut read = BTreeMap::new();
    for (name, Quantity(text)) in amounts.iter().flatten() {
        let parse = if name == "cpu" { quantity::thousandths } else { quantity::whole };
        let amount = parse(text);
        let amount = amount.map_err(|what| Invalid::at(format!("{field}['{name}']"), &what))?;
        read.insert(name.as_str(), amount);
    }
    Ok(read)
}

fn mounts(mounts: &[VolumeMount], field: &str, volumes: &BTreeSet<&str>) -> Result<(), Invalid> {
    let mut paths = BTreeSet::new();
    for (index, mount) in mounts.iter().enumerate() {
        let at = |name: &str| format!("{field}[{index}].{name}");
        if !volumes.contains(mount.name.as_str()) {
            return Err(Invalid::at(at("name"), "the pod has no volume of this name"));
        }
        if mount.mount_path.is_empty() || mount.mount_path.contains(':') {
            return Err(Invalid::at(at("mountPath"), "use a path without :"));
        }
        if !paths.insert(&mount.mount_path) {
            return Err(Invalid::at(at("mountPath"), "another volume is mounted there"));
        }
        let within = mount.sub_path.as_deref().unwrap_or_default();
        if within.starts_with('/') || within.split('/').any(|part| part == "..") {
            return Err(Invalid::at(at("subPath"), "use a path without .. that begins without /"));
        }
    }
    Ok(())
}

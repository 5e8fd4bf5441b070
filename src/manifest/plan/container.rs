//! The plan of one container.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort as Port, PodSecurityContext, SecurityContext, VolumeMount,
};

use super::environment;
use super::{ContainerPort, Mount, PlannedContainer, PullPolicy};
use crate::allowed::{MAX_CPUS, MIN_CPUS, MIN_MEMORY_BYTES};
use crate::image::Reference;
use crate::manifest::invalid::Invalid;
use crate::manifest::quantity::{self, Parse};

/// Largest id of a user or a group: what the engine's library for looking them up takes.
const MAX_USER_ID: i64 = i32::MAX as i64;

/// What a container has around it in its pod.
pub(super) struct Around<'a> {
    /// What goes for all containers unless they say something else.
    pub(super) security: Option<&'a PodSecurityContext>,
    /// All containers of the pod, init containers first.
    pub(super) containers: Vec<&'a Container>,
}

/// The plan of the container at `field`, of a pod that was checked.
pub(super) fn plan(
    container: &Container,
    around: &Around<'_>,
    field: &str,
) -> Result<PlannedContainer, Invalid> {
    let at = |name: &str| format!("{field}.{name}");
    let image = container.image.clone().unwrap_or_default();
    let reference = Reference::parse(&image);
    let reference = reference.map_err(|what| whole_sentence(at("image"), &what))?;
    let (cpu_millis, memory_bytes) = limits(container, field)?;
    let security = container.security_context.as_ref();
    let planned = PlannedContainer {
        name: container.name.clone(),
        image,
        pull: pull(container.image_pull_policy.as_deref(), &reference),
        entrypoint: words(container.command.as_deref(), &at("command"))?,
        args: words(container.args.as_deref(), &at("args"))?,
        environment: environment::plan(container, &around.containers, &at("env"))?,
        working_dir: folder(container.working_dir.as_deref(), &at("workingDir"))?,
        memory_bytes,
        cpu_millis,
        user: user(container, around, field)?,
        read_only_root: security.and_then(|it| it.read_only_root_filesystem) == Some(true),
        dropped: dropped(security),
        mounts: mounts(container.volume_mounts.as_deref().unwrap_or_default(), field)?,
        ports: container.ports.iter().flatten().map(port).collect(),
        stdin: container.stdin == Some(true),
        tty: container.tty == Some(true),
    };
    // What references to variables make too large is refused before anything is created.
    planned.expanded(|_| String::new()).map_err(|what| Invalid::at(field, &what))?;
    Ok(planned)
}

/// A field of which a sentence says what is wrong.
fn whole_sentence(field: String, sentence: &str) -> Invalid {
    Invalid { message: format!("{field}: {sentence}"), field: Some(field) }
}

/// Without a policy: each time if the tag is the one that moves, as Kubernetes does.
fn pull(policy: Option<&str>, reference: &Reference) -> PullPolicy {
    match policy {
        Some("Always") => PullPolicy::Always,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        Some("Never") => PullPolicy::Never,
        _ if reference.canonical().ends_with(":latest") => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

fn words(words: Option<&[String]>, field: &str) -> Result<Vec<String>, Invalid> {
    let words = words.unwrap_or_default();
    match words.iter().position(|word| word.contains('\0')) {
        Some(at) => {
            let field = format!("{field}[{at}]");
            Err(Invalid::at(field, "it must not contain the character U+0000"))
        }
        None => Ok(words.to_vec()),
    }
}

fn folder(folder: Option<&str>, field: &str) -> Result<Option<String>, Invalid> {
    match folder.filter(|folder| !folder.is_empty()) {
        Some(folder) if !is_path(folder) => Err(Invalid::at(field, ABSOLUTE)),
        folder => Ok(folder.map(str::to_owned)),
    }
}

const ABSOLUTE: &str = "use a path that begins with /, without control characters";

fn is_path(path: &str) -> bool {
    path.starts_with('/') && !path.chars().any(char::is_control)
}

/// The limits of CPU and memory; 0 is none.
fn limits(container: &Container, field: &str) -> Result<(Option<u32>, Option<u64>), Invalid> {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let limit = |name: &str, parse: Parse| {
        let limit = limits.and_then(|limits| limits.get(name));
        let limit = limit.map(|limit| parse(&limit.0)).transpose();
        limit.map(|limit| limit.filter(|limit| *limit > 0)).map_err(|what| at(field, name, &what))
    };
    let memory = limit("memory", quantity::whole)?;
    if memory.is_some_and(|bytes| bytes < MIN_MEMORY_BYTES) {
        let what = format!("the smallest limit is {MIN_MEMORY_BYTES} bytes");
        return Err(at(field, "memory", &what));
    }
    let cpus = limit("cpu", quantity::thousandths)?;
    let cpu_millis = cpus.map(u32::try_from).transpose();
    let fits = |millis: u32| (MIN_CPUS..=MAX_CPUS).contains(&(f64::from(millis) / 1000.0));
    match cpu_millis {
        Ok(cpu_millis) if cpu_millis.is_none_or(fits) => Ok((cpu_millis, memory)),
        _ => Err(at(field, "cpu", &format!("use a limit from {MIN_CPUS} to {MAX_CPUS}"))),
    }
}

fn at(field: &str, resource: &str, what: &str) -> Invalid {
    Invalid::at(format!("{field}.resources.limits['{resource}']"), what)
}

/// Whom the container runs as: what it says itself goes before what its pod says.
fn user(
    container: &Container,
    around: &Around<'_>,
    field: &str,
) -> Result<Option<String>, Invalid> {
    let own = container.security_context.as_ref();
    let pod = around.security;
    let user = own.and_then(|it| it.run_as_user).or(pod.and_then(|it| it.run_as_user));
    let group = own.and_then(|it| it.run_as_group).or(pod.and_then(|it| it.run_as_group));
    let must_not_be_root = own.and_then(|it| it.run_as_non_root);
    let must_not_be_root = must_not_be_root.or(pod.and_then(|it| it.run_as_non_root)) == Some(true);
    let at = |name: &str, what: &str| Invalid::at(format!("{field}.securityContext.{name}"), what);
    for (name, id) in [("runAsUser", user), ("runAsGroup", group)] {
        if id.is_some_and(|id| !(0..=MAX_USER_ID).contains(&id)) {
            return Err(at(name, &format!("use a number from 0 to {MAX_USER_ID}")));
        }
    }
    match (user, group) {
        (None | Some(0), _) if must_not_be_root => Err(at(
            "runAsNonRoot",
            "a Docker bay does not look whom an image runs as; use runAsUser",
        )),
        (None, Some(_)) => Err(at("runAsGroup", "a Docker bay needs runAsUser with it")),
        (None, None) => Ok(None),
        (Some(user), None) => Ok(Some(user.to_string())),
        (Some(user), Some(group)) => Ok(Some(format!("{user}:{group}"))),
    }
}

fn dropped(security: Option<&SecurityContext>) -> Vec<String> {
    let capabilities = security.and_then(|security| security.capabilities.as_ref());
    capabilities.and_then(|capabilities| capabilities.drop.clone()).unwrap_or_default()
}

fn mounts(mounts: &[VolumeMount], field: &str) -> Result<Vec<Mount>, Invalid> {
    let mut planned = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        if !is_path(&mount.mount_path) {
            return Err(Invalid::at(format!("{field}.volumeMounts[{index}].mountPath"), ABSOLUTE));
        }
        planned.push(Mount {
            volume: mount.name.clone(),
            path: mount.mount_path.clone(),
            read_only: mount.read_only == Some(true),
            sub_path: mount.sub_path.clone().filter(|path| !path.is_empty()),
        });
    }
    Ok(planned)
}

fn port(port: &Port) -> ContainerPort {
    let protocol = port.protocol.as_deref().filter(|protocol| !protocol.is_empty());
    ContainerPort {
        name: port.name.clone().filter(|name| !name.is_empty()),
        // The check has seen to it that it is one.
        port: u16::try_from(port.container_port).unwrap_or_default(),
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
    }
}

//! The names and labels that mark the engine's objects as ours.
//!
//! Several Magnums may share one engine: only objects with the label of our node are ours, and
//! all others are neither touched nor listed.

use std::collections::{BTreeMap, HashMap};

use super::{BackendError, Work};
use crate::allowed::check_label;
use crate::ids::{Kind, ObjectId, ProjectId, StreamId};

/// The node that made it.
pub(super) const NODE: &str = "magnum.node";
/// The container, as we know it.
pub(super) const CONTAINER: &str = "magnum.container";
/// The bay.
pub(super) const BAY: &str = "magnum.bay";
/// The tenant.
pub(super) const PROJECT: &str = "magnum.project";
/// The name that people gave it.
pub(super) const NAME: &str = "magnum.name";
/// The work that made it (rule W2).
pub(super) const WORK: &str = "magnum.work";

/// The engine's name of a container.
pub fn container_name(id: ObjectId) -> String {
    format!("magnum-{id}")
}

/// The engine's name of a container whose place another one is about to take.
pub(super) fn aside_name(id: ObjectId) -> String {
    format!("magnum-{id}-replaced")
}

/// The engine's name of a bay's network.
pub fn network_name(bay_id: ObjectId) -> String {
    format!("magnum-{bay_id}")
}

/// All labels of a container: the user's, which may not begin with what is reserved, and ours.
pub(super) fn of_container(
    work: &Work,
    name: Option<&str>,
    bay_id: ObjectId,
    user: &BTreeMap<String, String>,
    reserved: &[String],
) -> Result<HashMap<String, String>, BackendError> {
    let mut given = user.keys();
    given.try_for_each(|label| check_label(label, reserved)).map_err(BackendError::Refused)?;
    let mut labels: HashMap<_, _> = user.clone().into_iter().collect();
    labels.extend(of_network(work.node_id, bay_id, &work.project));
    labels.insert(CONTAINER.to_owned(), work.stream.id.to_string());
    labels.insert(WORK.to_owned(), work.id.to_string());
    if let Some(name) = name {
        labels.insert(NAME.to_owned(), name.to_owned());
    }
    Ok(labels)
}

/// All labels of a bay's network.
pub(super) fn of_network(
    node_id: ObjectId,
    bay_id: ObjectId,
    project: &ProjectId,
) -> HashMap<String, String> {
    HashMap::from([
        (NODE.to_owned(), node_id.to_string()),
        (BAY.to_owned(), bay_id.to_string()),
        (PROJECT.to_owned(), project.to_string()),
    ])
}

/// The container that labels belong to.
pub(super) fn container_of(labels: Option<&HashMap<String, String>>) -> Option<StreamId> {
    let id = labels?.get(CONTAINER)?.parse().ok()?;
    Some(StreamId::new(Kind::Container, id))
}

/// The bay that a network's labels name.
pub(super) fn bay_of(labels: Option<&HashMap<String, String>>) -> Option<ObjectId> {
    labels?.get(BAY)?.parse().ok()
}

/// The names by which the containers of a bay reach one of them.
pub(super) fn aliases(name: Option<&str>, id: ObjectId) -> Vec<String> {
    let name = name.filter(|name| is_host_name(name)).map(str::to_owned);
    name.into_iter().chain([id.to_string()]).collect()
}

/// The engine's filter for things with these labels.
pub(super) fn filter(labels: &[(&str, String)]) -> HashMap<String, Vec<String>> {
    let wanted = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    HashMap::from([("label".to_owned(), wanted)])
}

/// Longest label of a host name, and longest host name (RFC 1035, section 2.3.4).
const HOST_LABEL_MAX: usize = 63;
const HOST_NAME_MAX: usize = 253;

/// Whether the containers of a bay can reach one by this name. Underscores are let in: resolvers
/// take them, and they are common in the names of containers.
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=HOST_LABEL_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_NAME_MAX && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_other_names() {
        for name in ["web", "web-1", "db_main", "a.b.c", "7"] {
            assert!(is_host_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", "a b", "-a", "a-", "a..b", "é", "a/b", &long] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}

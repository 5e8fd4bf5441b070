//! The names and labels that mark the engine's objects as ours.
//!
//! Several Magnums may share one engine: only objects with the label of our node are ours, and
//! all others are neither touched nor listed.

use std::collections::{BTreeMap, HashMap};

use super::{BackendError, Work};
use crate::allowed::check_label;
use crate::ids::{Kind, ObjectId, ProjectId, StreamId};
use crate::text;

/// The node that made it.
pub(super) const NODE: &str = "magnum.node";
/// The container, as we know it.
pub(super) const CONTAINER: &str = "magnum.container";
/// The pod, as we know it: of its sandbox, its containers and its volumes.
pub(super) const POD: &str = "magnum.pod";
/// A container of a pod by its name in the manifest.
const POD_CONTAINER: &str = "magnum.pod.container";
/// Its place in the manifest, from 0; those that initialise the pod come first.
const POD_ORDER: &str = "magnum.pod.order";
/// Whether it initialises the pod.
const POD_INIT: &str = "magnum.pod.init";
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

/// The engine's name of a container of a pod.
pub(super) fn member_name(pod_id: ObjectId, container: &str) -> String {
    format!("magnum-{pod_id}-{container}")
}

/// The engine's name of a volume of a pod.
pub(super) fn volume_name(pod_id: ObjectId, volume: &str) -> String {
    format!("magnum-{pod_id}-{volume}")
}

/// Which of a pod's containers one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodPlace {
    /// Its name in the manifest.
    pub(super) name: String,
    /// Its place in the manifest, from 0; those that initialise the pod come first.
    pub(super) order: u32,
    /// Whether it initialises the pod.
    pub(super) is_init: bool,
}

/// The engine's name for what an object has: its container, a pod's sandbox, or the container in
/// this place of a pod.
pub(super) fn engine_name(id: ObjectId, place: Option<&PodPlace>) -> String {
    place.map_or_else(|| container_name(id), |place| member_name(id, &place.name))
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

/// All labels of a pod's sandbox.
pub(super) fn of_pod(work: &Work, name: &str, bay_id: ObjectId) -> HashMap<String, String> {
    let mut labels = of_network(work.node_id, bay_id, &work.project);
    labels.insert(POD.to_owned(), work.stream.id.to_string());
    labels.insert(WORK.to_owned(), work.id.to_string());
    labels.insert(NAME.to_owned(), name.to_owned());
    labels
}

/// All labels of a container of a pod, by those of its sandbox.
pub(super) fn of_member(
    mut labels: HashMap<String, String>,
    place: &PodPlace,
) -> HashMap<String, String> {
    labels.insert(POD_CONTAINER.to_owned(), place.name.clone());
    labels.insert(POD_ORDER.to_owned(), place.order.to_string());
    labels.insert(POD_INIT.to_owned(), place.is_init.to_string());
    labels
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

/// The container or pod that labels belong to.
pub(super) fn object_of(labels: Option<&HashMap<String, String>>) -> Option<StreamId> {
    let labels = labels?;
    let (kind, id) = match labels.get(POD) {
        Some(id) => (Kind::Pod, id),
        None => (Kind::Container, labels.get(CONTAINER)?),
    };
    Some(StreamId::new(kind, id.parse().ok()?))
}

/// Which of a pod's containers has these labels; none for its sandbox.
pub(super) fn place_of(labels: &HashMap<String, String>) -> Option<PodPlace> {
    let label = |name: &str| labels.get(name).map(String::as_str);
    Some(PodPlace {
        name: text::words(label(POD_CONTAINER)?),
        order: label(POD_ORDER).and_then(|order| order.parse().ok()).unwrap_or_default(),
        is_init: label(POD_INIT) == Some("true"),
    })
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
    fn nothing_of_a_pod_is_taken_for_a_container() {
        let id = ObjectId(uuid::Uuid::from_u128(7));
        let place = PodPlace { name: "web".to_owned(), order: 2, is_init: true };
        let sandbox = HashMap::from([(POD.to_owned(), id.to_string())]);
        let member = of_member(sandbox.clone(), &place);
        for labels in [&sandbox, &member] {
            assert_eq!(object_of(Some(labels)), Some(StreamId::new(Kind::Pod, id)));
        }
        assert_eq!((place_of(&sandbox), place_of(&member)), (None, Some(place)));
        let container = HashMap::from([(CONTAINER.to_owned(), id.to_string())]);
        assert_eq!(object_of(Some(&container)), Some(StreamId::new(Kind::Container, id)));
    }

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

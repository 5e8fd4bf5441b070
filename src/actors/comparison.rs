//! What a node says that it has, held against the record: where to look closer, and what has no
//! record at all.
//!
//! Not here: what a difference comes to (`drift`, `unrecorded`), who looks at the engine
//! (`agent/reconciler`).

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::node::NodeCommand;
use super::unrecorded::{MAX_UNKNOWN, Unrecorded, UnrecordedContainer};
use crate::backends::{Observed, RunState};
use crate::bus::{
    Bus, CommandError, CommandMessage, Comparison, Inventory, Listed, Noted, Origin, Strays,
};
use crate::events::container::Status;
use crate::ids::{ObjectId, StreamId};

/// What the read models say of a node's containers and bays.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// Containers of a node with their status; an error in words if nobody can say.
    async fn on_node(&self, node_id: ObjectId) -> Result<Vec<(StreamId, Status)>, String>;

    /// Pods of a node; an error in words if nobody can say.
    async fn pods_on(&self, node_id: ObjectId) -> Result<Vec<StreamId>, String>;

    /// Bays of a node; an error in words if nobody can say.
    async fn bays_on(&self, node_id: ObjectId) -> Result<HashSet<ObjectId>, String>;
}

/// Compares an inventory with the record.
///
/// # Errors
/// When the record cannot be read.
pub async fn compare(
    records: &dyn Records,
    inventory: Inventory,
) -> Result<Comparison, CommandError> {
    let Inventory { node_id, containers, networks, pods } = inventory;
    let known = records.on_node(node_id).await.map_err(CommandError::Unavailable)?;
    let known_pods = records.pods_on(node_id).await.map_err(CommandError::Unavailable)?;
    let bays = records.bays_on(node_id).await.map_err(CommandError::Unavailable)?;
    let mut found: HashMap<StreamId, Listed> =
        containers.into_iter().map(|listed| (listed.stream, listed)).collect();
    let mut inspect = vec![];
    for (stream, status) in known {
        let there = found.remove(&stream);
        let has_ended = there.as_ref().is_some_and(|listed| listed.ended);
        if has_ended || !agrees(status, there.map(|listed| listed.observed).as_ref()) {
            inspect.push(stream);
        }
    }
    let mut found_pods: HashMap<StreamId, bool> =
        pods.into_iter().map(|listed| (listed.stream, listed.changed)).collect();
    // What it has of a pod is held against the record by the pod itself.
    inspect.extend(known_pods.into_iter().filter(|it| found_pods.remove(it) != Some(false)));
    let mut unrecorded: Vec<StreamId> = found.into_keys().chain(found_pods.into_keys()).collect();
    unrecorded.sort_unstable();
    let networks = networks.into_iter().filter(|network| !bays.contains(&network.bay_id));
    let unrecorded_networks = networks.map(|network| network.engine_id).collect();
    Ok(Comparison { inspect, unrecorded, unrecorded_networks })
}

/// Tells a node's actor what it has without a record.
///
/// # Errors
/// When that is not recorded.
pub async fn note(bus: &dyn Bus, strays: Strays) -> Result<Noted, CommandError> {
    let Strays { node_id, containers, networks } = strays;
    let each = containers.into_iter();
    let containers =
        each.map(|(stream, observed)| UnrecordedContainer { container_id: stream.id, observed });
    let (containers, complete) = told_at_once(containers.collect());
    let (networks, all_networks) = told_at_once(networks);
    for command in [
        NodeCommand::Unknown { containers, complete },
        NodeCommand::UnknownNetworks { networks, complete: all_networks },
    ] {
        let origin = Origin::service("watcher", "");
        bus.command(CommandMessage::new(node_id, &command, origin)?).await?;
    }
    Ok(Noted)
}

/// As many as are told at once, always the same, and whether these are all.
fn told_at_once<T: Unrecorded>(mut found: Vec<T>) -> (Vec<T>, bool) {
    let complete = found.len() <= MAX_UNKNOWN;
    if !complete {
        let unknown = found.len();
        tracing::warn!(
            unknown,
            recorded = MAX_UNKNOWN,
            "the engine has more unrecorded {} than are reported at once",
            T::NOUN
        );
        found.sort_unstable_by(|a, b| a.engine_id().cmp(b.engine_id()));
        found.truncate(MAX_UNKNOWN);
    }
    (found, complete)
}

/// Whether a status and what the engine has agree at first sight. While work is in progress the
/// record is bound to lag; its outcome says what is there.
fn agrees(status: Status, found: Option<&Observed>) -> bool {
    matches!(
        (status, found.map(|observed| (observed.state, observed.name_is_ours))),
        (Status::Creating | Status::Deleting, _)
            | (Status::Running, Some((RunState::Running, true)))
            | (Status::Paused, Some((RunState::Paused, true)))
            | (Status::Stopped, Some((RunState::Created | RunState::Exited, true)))
            | (Status::Error, Some((RunState::Created | RunState::Exited, true)) | None)
    )
}

//! Watches a node's engine: whether it answers, and what it does that nobody here asked for.
//!
//! Notices only say where to look; what is found is decided by the object (`container`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::outbox::record;
use super::worker::WorkerHandle;
use crate::actors::drift::{MAX_UNKNOWN, UnknownContainer, Unrecorded};
use crate::actors::node::NodeCommand;
use crate::backends::{BackendError, Notice, Observed, RunState};
use crate::bus::{CommandMessage, Ctx};
use crate::clock;
use crate::ids::{Kind, ObjectId, StreamId, Timestamp};

/// Between two tries to reach an engine that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks at an engine that answers.
const PROBE: Duration = Duration::from_secs(10);

/// Between two comparisons of everything, for what no notice told.
const RESYNC: Duration = Duration::from_secs(60);

/// What the read models say of a node's containers and bays.
#[async_trait]
pub trait Inventory: Send + Sync + 'static {
    /// Containers of a node with their status; an error in words where nobody can say.
    async fn on_node(&self, node_id: ObjectId) -> Result<Vec<(StreamId, String)>, String>;

    /// Bays of a node; an error in words where nobody can say.
    async fn bays_on(&self, node_id: ObjectId) -> Result<HashSet<ObjectId>, String>;
}

/// Watches until the service stops.
pub async fn watch(
    worker: WorkerHandle,
    inventory: Arc<dyn Inventory>,
    mut stopping: watch::Receiver<bool>,
) {
    tokio::select! {
        () = keep_watching(&worker, inventory.as_ref()) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

async fn keep_watching(worker: &WorkerHandle, inventory: &dyn Inventory) {
    loop {
        if let Err(error) = follow(worker, inventory).await {
            let reason = error.to_string();
            tell(worker, NodeCommand::Down { reason }).await;
        }
        sleep(RETRY).await;
    }
}

/// Follows the engine until it goes away.
async fn follow(worker: &WorkerHandle, inventory: &dyn Inventory) -> Result<(), BackendError> {
    let backend = &worker.node().backend;
    let facts = backend.probe().await?;
    let mut notices = backend.notices().await?;
    tell(worker, NodeCommand::Up(facts)).await;
    let (mut probe, mut resync) = (interval(PROBE), interval(RESYNC));
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    resync.tick().await;
    // What has no record, as of the last comparison.
    let mut unknown = HashSet::new();
    let mut ends = HashMap::new();
    loop {
        let compares = tokio::select! {
            notice = notices.next() => match notice {
                Some(Notice::Connected) => true,
                Some(Notice::Changed(stream)) if unknown.contains(&stream) => {
                    backend.inspect(stream).await?.is_none()
                }
                Some(Notice::Changed(stream)) => {
                    worker.inspect(stream).await;
                    false
                }
                None => return backend.probe().await.map(drop),
            },
            _ = probe.tick() => {
                tell(worker, NodeCommand::Up(backend.probe().await?)).await;
                false
            }
            _ = resync.tick() => true,
        };
        if compares {
            if let Some(found) = compare(worker, inventory, &mut ends).await? {
                unknown = found;
            }
            compare_networks(worker, inventory).await?;
        }
    }
}

/// The last end of each container that runs again, or did, as of the last comparison.
type LastEnds = HashMap<StreamId, Timestamp>;

/// Inspects every container whose record and engine do not agree at first sight, or that may have
/// ended since the last comparison, and says which have no record; none where nobody can say.
/// Nothing else is done about those.
async fn compare(
    worker: &WorkerHandle,
    inventory: &dyn Inventory,
    ends: &mut LastEnds,
) -> Result<Option<HashSet<StreamId>>, BackendError> {
    let node = worker.node();
    let mut found: HashMap<StreamId, Observed> = node.backend.list().await?.into_iter().collect();
    let known = match inventory.on_node(node.node_id).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "not compared with the engine");
            return Ok(None);
        }
    };
    let before = std::mem::take(ends);
    for (stream, status) in &known {
        let there = found.get(stream);
        let last = there.and_then(unrecorded);
        ends.extend(last.map(|last| (*stream, last)));
        if !agrees(status, there) || last != before.get(stream).copied() {
            worker.inspect(*stream).await;
        }
    }
    known.iter().for_each(|(stream, _)| drop(found.remove(stream)));
    if !found.is_empty() {
        // One that was deleted meanwhile has no record, and is gone by now.
        let still: HashMap<StreamId, Observed> = node.backend.list().await?.into_iter().collect();
        found.retain(|stream, _| still.contains_key(stream));
    }
    let unknown = found.keys().copied().collect();
    let each = found.into_iter();
    let containers =
        each.map(|(stream, observed)| UnknownContainer { container_id: stream.id, observed });
    let (containers, complete) = told_at_once(containers.collect());
    tell(worker, NodeCommand::Unknown { containers, complete }).await;
    Ok(Some(unknown))
}

/// Says which networks the engine has for bays that are not recorded. Nothing else is done about
/// them. No notice tells of networks, so one that goes is missed at the next comparison.
async fn compare_networks(
    worker: &WorkerHandle,
    inventory: &dyn Inventory,
) -> Result<(), BackendError> {
    let node = worker.node();
    // Before the bays: a bay is recorded before its network is made.
    let mut found = node.backend.networks().await?;
    let known = match inventory.bays_on(node.node_id).await {
        Ok(known) => known,
        Err(error) => {
            tracing::warn!(%error, "networks are not compared with the engine");
            return Ok(());
        }
    };
    found.retain(|network| !known.contains(&network.bay_id));
    if !found.is_empty() {
        // One whose bay was deleted meanwhile is gone by now.
        let still = node.backend.networks().await?.into_iter();
        let still: HashSet<String> = still.map(|network| network.engine_id).collect();
        found.retain(|network| still.contains(&network.engine_id));
    }
    let (networks, complete) = told_at_once(found);
    tell(worker, NodeCommand::UnknownNetworks { networks, complete }).await;
    Ok(())
}

/// As many as are told at once, always the same, and whether these are all.
fn told_at_once<T: Unrecorded>(mut found: Vec<T>) -> (Vec<T>, bool) {
    let complete = found.len() <= MAX_UNKNOWN;
    if !complete {
        let unknown = found.len();
        tracing::warn!(
            unknown,
            recorded = MAX_UNKNOWN,
            "the engine has more {} without a record than are told at once",
            T::NOUN
        );
        found.sort_unstable_by(|a, b| a.engine_id().cmp(b.engine_id()));
        found.truncate(MAX_UNKNOWN);
    }
    (found, complete)
}

/// Whether a status and what the engine has agree at first sight. While work is under way the
/// record is bound to lag; its outcome says what is there.
fn agrees(status: &str, found: Option<&Observed>) -> bool {
    matches!(
        (status, found.map(|observed| (observed.state, observed.name_is_ours))),
        ("Creating" | "Deleting", _)
            | ("Running", Some((RunState::Running, true)))
            | ("Paused", Some((RunState::Paused, true)))
            | ("Stopped", Some((RunState::Created | RunState::Exited, true)))
            | ("Error", Some((RunState::Created | RunState::Exited, true)) | None)
    )
}

/// The last end of a container that the record may not know though both agree in all else.
fn unrecorded(observed: &Observed) -> Option<Timestamp> {
    let again =
        observed.restarts > 0 || matches!(observed.state, RunState::Running | RunState::Paused);
    observed.ends.last().filter(|_| again).map(|end| end.finished_at)
}

async fn tell(worker: &WorkerHandle, command: NodeCommand) {
    let node = worker.node();
    let stream = StreamId::new(Kind::Node, node.node_id);
    let Ok(command) = serde_json::to_value(&command) else { return };
    let ctx = Ctx::service(clock::now(), "watcher", "");
    record(node.bus.as_ref(), CommandMessage { stream, command, ctx }).await;
}

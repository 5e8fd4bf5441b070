//! Watches a node's engine: whether it answers, what it has, and what it does that was not asked
//! for.
//!
//! Notices only say where to look, and an inventory is everything that the engine has. What differs
//! from the record is found by the conductor (`actors/comparison`) and decided by the object
//! (`actors/drift`).

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::worker::WorkerHandle;
use crate::backends::{
    Backend, BackendError, EngineObject, Notice, Observed, ObservedNetwork, ObservedPod, RunState,
};
use crate::bus::{Comparison, Inventory, Listed, ListedPod, ServiceCommand, Strays};
use crate::ids::{Kind, StreamId, Timestamp};

/// Between two tries to reach an engine that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Between two looks at an engine that answers.
const PROBE: Duration = Duration::from_secs(10);

/// Between two inventories, for what no notice told.
const RESYNC: Duration = Duration::from_secs(60);

/// Watches until the service stops.
pub async fn watch(worker: WorkerHandle, mut stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = keep_watching(&worker) => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

async fn keep_watching(worker: &WorkerHandle) {
    let (host, mut last) = (&worker.node().host, None);
    loop {
        let mut is_up = false;
        if let Err(error) = follow(worker, &mut is_up).await {
            let reason = error.to_string();
            // Once, however often it is tried.
            if is_up || last.as_ref() != Some(&reason) {
                tracing::warn!(node = host, reason, "the engine does not answer");
            }
            last = Some(reason.clone());
            tell(worker, ServiceCommand::Down { reason }).await;
        }
        sleep(RETRY).await;
    }
}

/// Follows the engine until it goes away; says whether it was there.
async fn follow(worker: &WorkerHandle, is_up: &mut bool) -> Result<(), BackendError> {
    let backend = &worker.node().backend;
    let facts = backend.probe().await?;
    let mut notices = backend.notices().await?;
    *is_up = true;
    let (node, engine) = (&worker.node().host, &facts.engine);
    let (cpus, memory_bytes) = (facts.cpus, facts.memory_bytes);
    tracing::info!(node, engine, cpus, memory_bytes, "the engine answers");
    tell(worker, ServiceCommand::Up(facts)).await;
    let (mut probe, mut resync) = (interval(PROBE), interval(RESYNC));
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
    resync.tick().await;
    // What fails once may fail for good: each inventory in doubt waits longer than the one before.
    let doubted = async |wait| {
        worker.node().doubted().await;
        sleep(wait).await;
    };
    let mut wait = RETRY;
    let mut in_doubt = pin!(doubted(wait));
    // What has no record, as of the last inventory.
    let mut unrecorded = HashSet::new();
    let mut seen = LastSeen::default();
    loop {
        let takes_stock = tokio::select! {
            notice = notices.next() => match notice {
                Some(Notice::Connected) => true,
                Some(Notice::Changed(stream)) if unrecorded.contains(&stream) => {
                    is_gone(backend.as_ref(), stream).await?
                }
                Some(Notice::Changed(stream)) => {
                    worker.inspect(stream).await;
                    false
                }
                None => return backend.probe().await.map(drop),
            },
            _ = probe.tick() => {
                tell(worker, ServiceCommand::Up(backend.probe().await?)).await;
                false
            }
            _ = resync.tick() => {
                wait = RETRY;
                true
            }
            () = &mut in_doubt => {
                wait = RESYNC.min(wait * 2);
                in_doubt.set(doubted(wait));
                true
            }
        };
        if takes_stock && let Some(found) = take_stock(worker, &mut seen).await? {
            unrecorded = found;
        }
    }
}

/// Whether the engine has nothing of an object.
async fn is_gone(backend: &dyn Backend, stream: StreamId) -> Result<bool, BackendError> {
    match stream.kind.noun() {
        Some(Kind::Pod) => Ok(backend.inspect_pod(stream).await?.is_none()),
        _ => Ok(backend.inspect(stream).await?.is_none()),
    }
}

/// What the engine had as of the last inventory.
#[derive(Default)]
struct LastSeen {
    containers: HashMap<StreamId, Observed>,
    pods: HashMap<StreamId, ObservedPod>,
}

/// Reports everything that the engine has, has inspected what seems to differ from the record, and
/// answers with what has none; `None` if nobody can say. Nothing else is done about that.
async fn take_stock(
    worker: &WorkerHandle,
    last: &mut LastSeen,
) -> Result<Option<HashSet<StreamId>>, BackendError> {
    let node = worker.node();
    // What such work started may have ended before anybody told of it, and the record does not even
    // say that it began. Asked before the inventory: what begins now is told of.
    let at_work = worker.at_work();
    // Before the record is read: a bay is recorded before its network is created.
    let Stock { containers, networks, pods } = by_kind(node.backend.inventory().await?);
    let before = std::mem::take(last);
    let listed_pods = pods.iter().map(|(stream, observed)| {
        let changed = before.pods.get(stream) != Some(observed);
        ListedPod { stream: *stream, changed }
    });
    let listed_pods = listed_pods.collect();
    let listed = containers.into_iter().map(|(stream, observed)| {
        let end = last_end(&observed);
        let ended = match before.containers.get(&stream) {
            Some(before) => end != last_end(before) || has_changed(before, &observed),
            // Of one that was not seen before only its health may have changed without a trace.
            None => end.is_some() || observed.run.as_ref().is_some_and(|run| run.health.is_some()),
        };
        last.containers.insert(stream, observed.clone());
        Listed { stream, observed, ended }
    });
    let containers = listed.collect();
    let inventory = Inventory { node_id: node.node_id, containers, networks, pods: listed_pods };
    last.pods = pods.into_iter().collect();
    let compared = match node.bus.inventory(inventory).await {
        Ok(compared) => compared,
        Err(error) => {
            tracing::warn!(%error, "the engine could not be compared with the record");
            // What ended since then is not known to be seen.
            *last = before;
            node.doubt();
            return Ok(None);
        }
    };
    for stream in compared.inspect.iter().chain(&at_work) {
        worker.inspect(*stream).await;
    }
    let unrecorded = compared.unrecorded.iter().copied().collect();
    tell_strays(worker, compared).await?;
    Ok(Some(unrecorded))
}

/// Whether the same process is another than before.
fn has_changed(before: &Observed, now: &Observed) -> bool {
    let runs = before.run.as_ref().zip(now.run.as_ref());
    runs.is_some_and(|(before, now)| before.started_at == now.started_at && before != now)
}

/// Says what has no record and is still there: what was deleted meanwhile has no record either, and
/// is gone by now.
async fn tell_strays(worker: &WorkerHandle, compared: Comparison) -> Result<(), BackendError> {
    let node = worker.node();
    let Comparison { unrecorded, unrecorded_networks, .. } = compared;
    let anything = !(unrecorded.is_empty() && unrecorded_networks.is_empty());
    let still = if anything { node.backend.inventory().await? } else { vec![] };
    let Stock { mut containers, mut networks, pods } = by_kind(still);
    containers.extend(pods.into_iter().map(|(stream, pod)| (stream, pod.as_container())));
    containers.retain(|(stream, _)| unrecorded.contains(stream));
    networks.retain(|network| unrecorded_networks.contains(&network.engine_id));
    let strays = Strays { node_id: node.node_id, containers, networks };
    if let Err(error) = node.bus.strays(strays).await {
        tracing::warn!(%error, "unrecorded objects could not be reported");
        node.doubt();
    }
    Ok(())
}

/// An inventory, sorted by kind.
fn by_kind(seen: Vec<(StreamId, EngineObject)>) -> Stock {
    let mut found = Stock::default();
    for (stream, seen) in seen {
        match seen {
            EngineObject::Container(observed) => found.containers.push((stream, observed)),
            EngineObject::Network(observed) => found.networks.push(observed),
            EngineObject::Pod(observed) => found.pods.push((stream, observed)),
        }
    }
    found
}

/// An inventory, sorted by kind.
#[derive(Default)]
struct Stock {
    containers: Vec<(StreamId, Observed)>,
    networks: Vec<ObservedNetwork>,
    pods: Vec<(StreamId, ObservedPod)>,
}

/// The last end of a container that the record may not know though both agree in all else.
fn last_end(observed: &Observed) -> Option<Timestamp> {
    let again =
        observed.restarts > 0 || matches!(observed.state, RunState::Running | RunState::Paused);
    observed.ends.last().filter(|_| again).map(|end| end.finished_at)
}

async fn tell(worker: &WorkerHandle, command: ServiceCommand) {
    let node = worker.node();
    let stream = StreamId::new(Kind::Node, node.node_id);
    node.say(stream, command).await;
}

//! The model: what the engine has, and what it does when a backend calls it.
//!
//! Its clock starts at the time given at its creation, which need not be that of the service; the
//! model knows both.
//! Not here: processes (`run.rs`), faults and outside changes (`knobs.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::time::Instant;

use super::super::{
    BackendError, Done, ObservedNetwork, Operation, RunState, Work, labels, name_taken,
};
use super::container::FakeContainer;
use super::fault::Faults;
use crate::ids::{Kind, ObjectId, StreamId, Timestamp, WorkId};

/// Notices that wait for one reader, as with the real engine.
const NOTICES_WAITING_MAX: usize = 1024;

/// Exit code of a process that `SIGKILL` ended: 128 and the signal's number. Stopping ends like
/// this as well, because a first process has no handler of its own for the stop signal.
pub(super) const KILLED: i64 = 137;

/// Images under this are in no registry.
const ABSENT_IMAGES: &str = "missing/";

/// A container and the object it is ours for.
type Changed = (ObjectId, StreamId);

/// A container engine in memory.
#[derive(Debug)]
pub struct FakeEngine {
    state: Mutex<State>,
    /// Held while work changes the state and is noted, so that a picture has both or neither.
    work: Mutex<()>,
    /// What its clock showed, and when.
    pub(super) began: (Timestamp, Instant),
    /// Counts changes; wakes followers of its output.
    pub(super) changes: watch::Sender<u64>,
    /// Lets hanging work go on.
    pub(super) releases: Semaphore,
    /// Counts its crashes.
    pub(super) crashes: watch::Sender<u64>,
    /// Counts pulls.
    pub(super) pulls: watch::Sender<u64>,
}

/// What the engine has.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, FakeContainer>,
    /// By node and bay, with their ids.
    pub(super) networks: BTreeMap<(ObjectId, ObjectId), String>,
    /// The networks of containers that were removed without their endpoints.
    stale_endpoints: BTreeSet<(ObjectId, ObjectId)>,
    /// Volumes of pods by their names, each with its pod.
    pub(super) volumes: BTreeMap<String, (ObjectId, StreamId)>,
    /// The container of each command that runs in one.
    pub(super) commands: BTreeMap<WorkId, String>,
    images: BTreeSet<String>,
    /// Things made so far; their ids are numbers.
    made: u64,
    pub(super) notices: broadcast::Sender<Changed>,
    pub(super) faults: Faults,
    /// Why it does not answer.
    pub(super) away: Option<String>,
    /// Whether it is down: it does nothing at all, also not by itself.
    pub(super) is_down: bool,
    /// What work really did, in order.
    pub(super) effects: Vec<(WorkId, &'static str)>,
}

impl State {
    pub(super) fn new_id(&mut self) -> String {
        self.made += 1;
        format!("{:064x}", self.made)
    }

    /// Removes the network of a node for a bay, as an engine does; whether there was one. It stays
    /// while it has endpoints: of containers that run in it, whosever they are, and stale ones.
    fn remove_network(&mut self, whose: (ObjectId, ObjectId)) -> Result<bool, BackendError> {
        let (node_id, bay_id) = whose;
        let uses = |one: &FakeContainer| {
            let can_be_in_it = one.node_id.is_none_or(|node| node == node_id);
            can_be_in_it && one.bay_id == Some(bay_id) && one.is_alive()
        };
        if self.stale_endpoints.contains(&whose) || self.containers.values().any(uses) {
            let name = labels::network_name(bay_id);
            return Err(BackendError::Failed(format!("network {name} has active endpoints")));
        }
        Ok(self.networks.remove(&whose).is_some())
    }
}

impl FakeEngine {
    /// An engine without containers, with the image `busybox:local`, and the clock that it began
    /// with.
    pub fn new(began: (Timestamp, Instant)) -> Arc<Self> {
        let state = State {
            containers: BTreeMap::new(),
            networks: BTreeMap::new(),
            stale_endpoints: BTreeSet::new(),
            volumes: BTreeMap::new(),
            commands: BTreeMap::new(),
            images: BTreeSet::from(["busybox:local".to_owned()]),
            made: 0,
            notices: new_notices(),
            faults: Faults::default(),
            away: None,
            is_down: false,
            effects: Vec::new(),
        };
        Self::with(state, began)
    }

    /// An engine that has all this.
    pub(super) fn with(state: State, began: (Timestamp, Instant)) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            work: Mutex::new(()),
            began,
            changes: watch::Sender::new(0),
            releases: Semaphore::new(0),
            crashes: watch::Sender::new(0),
            pulls: watch::Sender::new(0),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps work whole.
    pub(super) fn whole(&self) -> MutexGuard<'_, ()> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Timestamp {
        let (began, clock) = self.began;
        Timestamp(began.0 + i64::try_from(clock.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// Whether it answers at all.
    pub(super) fn answers(&self) -> Result<(), BackendError> {
        self.lock().away.clone().map_or(Ok(()), |words| Err(BackendError::Unavailable(words)))
    }

    /// Every container that it has, including foreign ones, without those of pods.
    pub fn containers(&self) -> Vec<FakeContainer> {
        let (_, others) = self.apart();
        others
    }

    /// Every network that it has: its node and its bay.
    pub fn networks(&self) -> Vec<(ObjectId, ObjectId)> {
        self.lock().networks.keys().copied().collect()
    }

    /// A node's networks.
    pub(super) fn networks_of(&self, node_id: ObjectId) -> Vec<ObservedNetwork> {
        let state = self.lock();
        let own = state.networks.iter().filter(|((node, _), _)| *node == node_id);
        let observed = own.map(|((_, bay_id), engine_id)| ObservedNetwork {
            bay_id: *bay_id,
            engine_id: engine_id.clone(),
            engine_name: labels::network_name(*bay_id),
        });
        observed.collect()
    }

    /// A node's container for an object: of several the one with our name.
    pub(super) fn find(&self, node_id: ObjectId, stream: StreamId) -> Option<FakeContainer> {
        let name = labels::container_name(stream.id);
        let mut all = self.all_of(node_id, stream);
        let named = all.iter().position(|one| one.name == name);
        (!all.is_empty()).then(|| all.swap_remove(named.unwrap_or(0)))
    }

    /// What changes from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.lock().notices.subscribe()
    }

    /// The container that an earlier attempt of this work made, if any.
    pub(super) fn adopt(
        &self,
        node_id: ObjectId,
        work: &Work,
    ) -> Result<Option<Done>, BackendError> {
        let name = labels::container_name(work.stream.id);
        let named = self.all().into_iter().find(|container| container.name == name);
        let Some(found) = named.or_else(|| self.find(node_id, work.stream)) else {
            return Ok(None);
        };
        let ours = (found.node_id, found.stream, found.work_id);
        if ours == (Some(node_id), Some(work.stream), Some(work.id)) {
            return Ok(Some(Done { engine_id: Some(found.engine_id), ..Done::default() }));
        }
        Err(name_taken(&name, &found.engine_id))
    }

    /// Whether it has an image.
    pub(super) fn has_image(&self, image: &str) -> bool {
        self.lock().images.contains(image)
    }

    /// Has an image from now on; refused where no registry has it.
    pub(super) fn pull(&self, image: &str) -> Result<(), BackendError> {
        self.pulls.send_modify(|count| *count += 1);
        if image.starts_with(ABSENT_IMAGES) {
            let words = format!("pull access denied for {image}, repository does not exist");
            return Err(BackendError::Refused(words));
        }
        self.lock().images.insert(image.to_owned());
        Ok(())
    }

    pub(super) fn create_network(&self, node_id: ObjectId, work: &Work) -> Done {
        let _whole = self.whole();
        let (id, is_new) = self.ensure_network(node_id, work.stream.id);
        if is_new {
            self.lock().effects.push((work.id, work.action.name()));
        }
        Done { engine_id: Some(id), ..Done::default() }
    }

    /// A network of a node for a bay, and whether it is new.
    pub(super) fn ensure_network(&self, node_id: ObjectId, bay_id: ObjectId) -> (String, bool) {
        let mut state = self.lock();
        let new = state.new_id();
        let id = state.networks.entry((node_id, bay_id)).or_insert_with(|| new.clone()).clone();
        let is_new = id == new;
        (id, is_new)
    }

    pub(super) fn delete_network(
        &self,
        node_id: ObjectId,
        work: &Work,
    ) -> Result<Done, BackendError> {
        let whose = (node_id, work.stream.id);
        let mut state = self.lock();
        let is_removed = match state.remove_network(whose) {
            Err(_) if state.stale_endpoints.remove(&whose) => state.remove_network(whose)?,
            removed => removed?,
        };
        if is_removed {
            state.effects.push((work.id, work.action.name()));
        }
        Ok(Done::default())
    }

    /// Refuses what an engine refuses to start: a container whose network is gone.
    pub(super) fn require_network(&self, id: &str) -> Result<(), BackendError> {
        let state = self.lock();
        let whose = state.containers.get(id).and_then(|one| one.node_id.zip(one.bay_id));
        match whose.filter(|whose| !state.networks.contains_key(whose)) {
            Some((_, bay_id)) => {
                let name = labels::network_name(bay_id);
                Err(BackendError::Refused(format!("network {name} not found")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn delete(&self, node_id: ObjectId, work: &Work) -> Done {
        let _whole = self.whole();
        let all = self.all_of(node_id, work.stream);
        if !all.is_empty() {
            self.lock().effects.push((work.id, work.action.name()));
        }
        all.iter().for_each(|container| self.discard(&container.engine_id));
        Done::default()
    }

    /// Brings a container into the state that the work asks for.
    pub(super) fn change(
        self: &Arc<Self>,
        node_id: ObjectId,
        work: &Work,
        operation: &Operation,
    ) -> Result<Done, BackendError> {
        let _whole = self.whole();
        let found = self.find(node_id, work.stream).ok_or_else(|| missing(work.stream))?;
        if work.is_settled(found.state, found.started_at) {
            return Ok(found.done(operation, None));
        }
        let id = &found.engine_id;
        let refused = |words: String| Err(BackendError::Refused(words));
        let mut end = None;
        match operation {
            Operation::Start if found.state == RunState::Paused => {
                return refused("cannot start a paused container, try unpause instead".to_owned());
            }
            Operation::Pause => {
                found.require_running()?;
                self.alter(id, |one| one.state = RunState::Paused);
            }
            Operation::Start | Operation::StartPod => self.start(id)?,
            Operation::Stop { .. } => self.kill(id),
            Operation::Reboot { .. } => {
                self.kill(id);
                let ended = self.find(node_id, work.stream).filter(|_| found.has_process());
                end = ended.and_then(|one| one.end());
                self.start(id)?;
            }
            Operation::Unpause => self.alter(id, |one| one.state = RunState::Running),
            Operation::Kill { signal } => match signal.trim_start_matches("SIG") {
                "KILL" | "9" => self.kill(id),
                // Nobody handles them, but any signal ends a restart back-off.
                "TERM" | "INT" | "HUP" | "QUIT" | "USR1" | "USR2" => {
                    if found.state == RunState::Restarting {
                        self.end(id, KILLED, false);
                    }
                }
                real_time if real_time.starts_with("RTM") => {}
                _ => return refused(format!("Invalid signal: {signal}")),
            },
        }
        self.lock().effects.push((work.id, work.action.name()));
        let now = self.find(node_id, work.stream).unwrap_or(found);
        Ok(now.done(operation, end))
    }

    /// The container in which a command is about to run.
    pub(super) fn begin_execute(
        &self,
        node_id: ObjectId,
        work: &Work,
        member: Option<&str>,
    ) -> Result<FakeContainer, BackendError> {
        let found = self.find_one(node_id, work.stream, member)?;
        found.require_running()?;
        let mut state = self.lock();
        state.effects.push((work.id, work.action.name()));
        state.commands.insert(work.id, found.engine_id.clone());
        Ok(found)
    }

    /// Changes a container, and says so.
    pub(super) fn alter(&self, id: &str, change: impl FnOnce(&mut FakeContainer)) {
        let mut state = self.lock();
        if let Some(container) = state.containers.get_mut(id) {
            change(container);
            let whose = container.node_id.zip(container.stream);
            self.tell(&state, whose);
        }
    }

    /// Removes a container, and says so.
    pub(super) fn discard(&self, id: &str) {
        let mut state = self.lock();
        if let Some(container) = state.containers.remove(id) {
            let network = container.node_id.zip(container.bay_id);
            state.stale_endpoints.extend(network.filter(|_| container.leaves_endpoint));
            self.tell(&state, container.node_id.zip(container.stream));
        }
    }

    /// A container of somebody else's, which runs in the network of a bay if there is one.
    pub(super) fn add_foreign(&self, name: String, bay_id: Option<ObjectId>) {
        let mut state = self.lock();
        let mut container = FakeContainer::foreign(state.new_id(), name);
        if bay_id.is_some() {
            (container.bay_id, container.state) = (bay_id, RunState::Running);
        }
        state.containers.insert(container.engine_id.clone(), container);
    }

    /// Wakes those waiting for changes.
    pub(super) fn tell(&self, state: &State, whose: Option<Changed>) {
        if let Some(whose) = whose {
            // Nobody may listen.
            drop(state.notices.send(whose));
        }
        self.changes.send_modify(|count| *count += 1);
    }
}

/// The engine has nothing for this object.
pub(super) fn missing(stream: StreamId) -> BackendError {
    BackendError::Missing(format!("the engine has no {stream}"))
}

/// The container of an object.
pub(super) fn container(id: ObjectId) -> StreamId {
    StreamId::new(Kind::Container, id)
}

/// New channel for notices: all who listened to the old one have reached its end.
pub(super) fn new_notices() -> broadcast::Sender<Changed> {
    broadcast::Sender::new(NOTICES_WAITING_MAX)
}

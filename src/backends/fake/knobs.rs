//! How tests make the model fail, and what people do to its containers outside Magnum.

use std::sync::Arc;

use super::super::{BackendError, RunState, labels};
use super::container::FakeContainer;
use super::engine::{FakeEngine, KILLED, container, new_notices};
use super::fault::Fault;
use crate::events::run::{Health, HealthStatus};
use crate::ids::{Kind, ObjectId, StreamId, WorkId};
use crate::text;

impl FakeEngine {
    /// The next piece of work of any backend of this engine meets a fault.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.work.push_back(fault);
    }

    /// A step of recreating a container, or of work on a pod, meets this instead, after so many
    /// others; once.
    pub fn inject_at_step(&self, steps_before: usize, error: BackendError) {
        self.lock().faults.step = Some((steps_before, error));
    }

    pub(super) fn next_step_fault(&self) -> Option<BackendError> {
        let mut state = self.lock();
        let place = &mut state.faults.step;
        match place.take() {
            Some((0, error)) => Some(error),
            later => {
                *place = later.map(|(steps, error)| (steps.saturating_sub(1), error));
                None
            }
        }
    }

    /// The next inspection meets this instead.
    pub fn inject_at_inspection(&self, error: BackendError) {
        self.lock().faults.inspection = Some(error);
    }

    pub(super) fn next_inspect_fault(&self) -> Option<BackendError> {
        self.lock().faults.inspection.take()
    }

    /// Lets one piece of work go on that hangs, or will.
    pub fn release(&self) {
        self.releases.add_permits(1);
    }

    /// Does not answer any more; streams end. Containers go on.
    pub fn go_away(&self) {
        let mut state = self.lock();
        state.away = Some("no connection to the engine: Connection refused".to_owned());
        state.notices = new_notices();
        self.tell(&state, None);
    }

    /// Dies, and all containers and commands with it; what it was asked for has no answer.
    pub fn crash(&self) {
        let _whole = self.whole();
        self.lock().is_down = true;
        self.end_all();
        self.crashes.send_modify(|count| *count += 1);
        self.go_away();
    }

    /// Answers again; after a crash, once it has started what the restart policies say.
    pub fn start_up(self: &Arc<Self>) {
        let was_down = std::mem::take(&mut self.lock().is_down);
        if was_down {
            self.restart_all();
        }
        self.come_back();
    }

    /// Answers again.
    pub fn come_back(&self) {
        self.lock().away = None;
    }

    /// Returns when it dies.
    pub(super) async fn crashed(&self) {
        // It is never closed, and this is a new receiver, which has seen all that was.
        drop(self.crashes.subscribe().changed().await);
    }

    /// What work really did so far, in order: each piece of work should be here once.
    pub fn effects(&self) -> Vec<(WorkId, &'static str)> {
        self.lock().effects.clone()
    }

    /// How many commands run in a container besides its own process.
    pub fn commands_in(&self, object: ObjectId) -> usize {
        let ids = self.ids_of(object);
        self.lock().commands.values().filter(|id| ids.contains(id)).count()
    }

    /// The process of a container ends by itself.
    pub fn exit(self: &Arc<Self>, object: ObjectId, exit_code: i64) {
        for id in self.ids_of(object) {
            self.end_by_itself(&id, exit_code, false);
        }
    }

    /// The process of a container ends, and the engine has started it again before anybody looks.
    pub fn end_unseen(self: &Arc<Self>, object: ObjectId, exit_code: i64, oom_killed: bool) {
        for id in self.ids_of(object) {
            let now = self.now();
            drop(self.begin(&id, |one| {
                one.ended(exit_code, oom_killed, now);
                one.restarted();
            }));
        }
    }

    /// The engine has no notices any more of how a container ended.
    pub fn forget_notices(&self, object: ObjectId) {
        for id in self.ids_of(object) {
            self.alter(&id, FakeContainer::forget_notices);
        }
    }

    /// The kernel OOM-kills a container.
    pub fn oom_kill(self: &Arc<Self>, object: ObjectId) {
        for id in self.ids_of(object) {
            self.end_by_itself(&id, KILLED, true);
        }
    }

    /// `docker start`.
    pub fn start_behind(self: &Arc<Self>, object: ObjectId) -> Result<(), BackendError> {
        self.ids_of(object).iter().try_for_each(|id| self.start(id))
    }

    /// `docker stop`, or `docker kill`.
    pub fn stop_behind(&self, object: ObjectId) {
        for id in self.ids_of(object) {
            self.kill(&id);
        }
    }

    /// The health check of a container that has one says something.
    pub fn check_health(&self, object: ObjectId, status: HealthStatus, output: &str) {
        for id in self.ids_of(object) {
            self.alter(&id, |one| {
                if let Some(health) = &mut one.health {
                    *health = Health { status, output: text::words(output) };
                }
            });
        }
    }

    /// `docker pause`.
    pub fn pause_behind(&self, object: ObjectId) {
        self.switch(object, RunState::Running, RunState::Paused);
    }

    /// `docker unpause`.
    pub fn unpause_behind(&self, object: ObjectId) {
        self.switch(object, RunState::Paused, RunState::Running);
    }

    /// `docker rename`.
    pub fn rename_behind(&self, object: ObjectId, name: &str) {
        for id in self.ids_of(object) {
            self.alter(&id, |one| one.name = name.to_owned());
        }
    }

    /// `docker kill`, of a container of a pod, or of its sandbox.
    pub fn kill_in_pod(&self, pod: ObjectId, container: Option<&str>) {
        for id in self.ids_in_pod(pod, container) {
            self.kill(&id);
        }
    }

    /// `docker rm -f`, of a container of a pod, or of its sandbox.
    pub fn remove_in_pod(&self, pod: ObjectId, container: Option<&str>) {
        for id in self.ids_in_pod(pod, container) {
            self.discard(&id);
        }
    }

    /// The process of a container of a pod ends by itself.
    pub fn exit_in_pod(self: &Arc<Self>, pod: ObjectId, container: &str, exit_code: i64) {
        for id in self.ids_in_pod(pod, Some(container)) {
            self.end_by_itself(&id, exit_code, false);
        }
    }

    /// The engine's ids of a container of a pod, or of its sandbox.
    fn ids_in_pod(&self, pod: ObjectId, container: Option<&str>) -> Vec<String> {
        let stream = Some(StreamId::new(Kind::Pod, pod));
        let is_wanted = |one: &FakeContainer| {
            one.stream == stream && one.place.as_ref().map(|it| it.name.as_str()) == container
        };
        self.all().into_iter().filter(is_wanted).map(|one| one.engine_id).collect()
    }

    /// `docker rm -f`.
    pub fn remove_behind(&self, object: ObjectId) {
        for id in self.ids_of(object) {
            self.discard(&id);
        }
    }

    /// `docker network rm`, of a bay's network.
    pub fn remove_network_behind(&self, bay: ObjectId) {
        self.lock().networks.retain(|(_, bay_id), _| *bay_id != bay);
    }

    /// Somebody else makes a container that has the name which is meant for ours.
    pub fn occupy_name(&self, object: ObjectId) {
        self.add_foreign(labels::container_name(object), None);
    }

    /// Somebody else runs a container in a bay's network.
    pub fn join_network(&self, bay: ObjectId) {
        self.add_foreign(format!("in-{bay}"), Some(bay));
    }

    /// That container is removed again.
    pub fn leave_network(&self, bay: ObjectId) {
        let foreign = |one: &FakeContainer| one.node_id.is_none() && one.bay_id == Some(bay);
        self.containers().iter().filter(|one| foreign(one)).for_each(|one| {
            self.discard(&one.engine_id);
        });
    }

    /// The engine keeps the endpoint of a container when that is removed.
    pub fn keep_endpoint(&self, object: ObjectId) {
        for id in self.ids_of(object) {
            self.alter(&id, |one| one.leaves_endpoint = true);
        }
    }

    fn switch(&self, object: ObjectId, from: RunState, to: RunState) {
        for id in self.ids_of(object) {
            self.alter(&id, |one| one.state = if one.state == from { to } else { one.state });
        }
    }

    /// The engine's ids of our containers for an object.
    fn ids_of(&self, object: ObjectId) -> Vec<String> {
        let ours = self.containers().into_iter();
        let ours = ours.filter(|one| one.stream == Some(container(object)));
        ours.map(|one| one.engine_id).collect()
    }

    pub(super) fn next_fault(&self) -> Option<Fault> {
        self.lock().faults.work.pop_front()
    }

    /// Waits until it is asked for another image from now on.
    pub(super) fn next_pull(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut pulls = self.pulls.subscribe();
        async move { drop(pulls.changed().await) }
    }

    /// Waits until it may go on.
    pub(super) async fn released(&self) {
        // It is never closed; each permit is for one piece of work.
        if let Ok(permit) = self.releases.acquire().await {
            permit.forget();
        }
    }
}

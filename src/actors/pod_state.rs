//! What a pod's events fold to, and what the engine has of it held against that.
//!
//! Pure. Its containers start, end and start again by themselves, so what they do is no difference
//! from the record but news for it. Not here: its commands (`pod`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ObjectState;
use super::lifecycle::{DueWork, Lifecycle};
use crate::backends::{Observed, ObservedMember, ObservedPod, RunState};
use crate::events::pod::{
    ContainerStage, Phase, PodContainerStatus, PodDrift, PodDriftedV1, PodEvent as Event,
    PodStartRequestedV1, PodStateChangedV1, Restarts, Status,
};
use crate::events::run::RunEnd;
use crate::ids::{Kind, ObjectId, ProjectId, WorkId};

/// What a pod's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PodState {
    pub(super) lifecycle: Lifecycle<Status>,
    pub(super) name: String,
    pub(super) bay_id: ObjectId,
    /// The engine's id of it, while the engine has it.
    pub(super) engine_id: Option<String>,
    /// When its containers are started again.
    pub(super) restarts: Restarts,
    /// Seconds from the stop signal to the kill when it is deleted.
    pub(super) grace_s: u32,
    /// What its containers are called, as far as they were observed.
    pub(super) recorded: PodStateChangedV1,
}

impl ObjectState for PodState {
    const HAS_WORK: bool = true;

    fn project(&self) -> Option<&ProjectId> {
        self.lifecycle.project()
    }

    fn due(&self, kind: Kind) -> Vec<DueWork> {
        self.lifecycle.due(kind)
    }

    fn awaits(&self, id: WorkId) -> bool {
        self.lifecycle.awaits(id)
    }
}

impl PodState {
    /// How messages call it.
    pub(super) fn label(&self) -> String {
        format!("Pod {}", self.name)
    }
}

/// What is news in what the engine has. What is not there yet, or is gone already, is none.
pub fn observe(state: &PodState, observed: Option<&ObservedPod>) -> Vec<Event> {
    let (Some(engine_id), false) = (&state.engine_id, state.lifecycle.status().is_gone()) else {
        return vec![];
    };
    let is_deleting = state.lifecycle.status().is_deleting();
    let waits = state.lifecycle.work().queued().next().is_some();
    let drifted = |drift| vec![Event::Drifted(PodDriftedV1 { drift })];
    let Some(observed) = observed else {
        return if waits { vec![] } else { drifted(PodDrift::Removed) };
    };
    if observed.engine_id.is_empty() {
        return if waits { vec![] } else { drifted(PodDrift::SandboxRemoved) };
    }
    if &observed.engine_id != engine_id {
        let found = observed.engine_id.clone();
        return if waits { vec![] } else { drifted(PodDrift::Replaced { found }) };
    }
    let now = PodStateChangedV1 {
        phase: phase(observed, state),
        address: observed.address.clone(),
        containers: observed.containers.iter().map(status_of).collect(),
    };
    let mut events = vec![];
    let is_over = matches!(now.phase, Phase::Succeeded | Phase::Failed);
    if now != state.recorded {
        events.push(Event::StateChanged(now));
    }
    if !(observed.is_up || is_over || waits || is_deleting) {
        let because = Some("its network was gone: its sandbox had ended".to_owned());
        events.push(Event::StartRequested(PodStartRequestedV1 { because }));
    }
    events
}

/// How far a pod is whose engine has this (Kubernetes' kubelet, `getPhase`).
fn phase(pod: &ObservedPod, state: &PodState) -> Phase {
    let ended = |one: &ObservedMember| one.observed.state.has_ended();
    let succeeded = |one: &ObservedMember| one.observed.exit_code == Some(0);
    let was_started = |one: &ObservedMember| one.observed.state != RunState::Created;
    let (init, own): (Vec<_>, Vec<_>) = pod.containers.iter().partition(|one| one.is_init);
    let before = state.recorded.phase;
    let is_over = matches!(before, Phase::Succeeded | Phase::Failed);
    let goes_on = !is_over && state.restarts != Restarts::Never;
    let has_failed = |one: &&ObservedMember| was_started(one) && ended(one) && !succeeded(one);
    // Its start was refused, and is not tried again.
    let is_refused = state.lifecycle.status() == Status::Failed
        && state.lifecycle.work().queued().next().is_none();
    let unstarted = if is_refused { Phase::Failed } else { Phase::Pending };
    if own.iter().all(|one| !was_started(one)) {
        return if init.iter().any(has_failed) { Phase::Failed } else { unstarted };
    }
    match own.iter().all(|one| was_started(one) && ended(one)) {
        // They ended with their sandbox, and are started again with it.
        true if !pod.is_up && goes_on => before,
        true if own.iter().all(|one| succeeded(one)) => Phase::Succeeded,
        true => Phase::Failed,
        false if own.iter().any(|one| !was_started(one)) => unstarted,
        false => Phase::Running,
    }
}

/// How a container is, in Kubernetes' words.
fn status_of(member: &ObservedMember) -> PodContainerStatus {
    let observed = &member.observed;
    let (stage, reason) = match observed.state {
        RunState::Created => (ContainerStage::Waiting, Some("ContainerCreating")),
        RunState::Running | RunState::Paused => (ContainerStage::Running, None),
        RunState::Restarting => (ContainerStage::Waiting, Some("CrashLoopBackOff")),
        RunState::Exited | RunState::Dead => (ContainerStage::Terminated, Some(why(observed))),
    };
    let run = observed.run.as_ref();
    let is_done = member.is_init && observed.exit_code == Some(0);
    PodContainerStatus {
        name: member.name.clone(),
        is_init: member.is_init,
        stage,
        reason: reason.map(str::to_owned),
        ready: stage == ContainerStage::Running || (is_done && stage == ContainerStage::Terminated),
        restart_count: observed.restarts,
        started_at: run.and_then(|run| run.started_at),
        last_end: last_end(observed),
        image_digest: run.and_then(|run| run.image_digest.clone()),
        engine_id: observed.engine_id.clone(),
    }
}

/// Why a container has ended.
fn why(observed: &Observed) -> &'static str {
    match observed.exit_code {
        _ if observed.oom_killed => "OOMKilled",
        Some(0) => "Completed",
        _ => "Error",
    }
}

/// How its process ended that has ended, or the one before the one that runs.
fn last_end(observed: &Observed) -> Option<RunEnd> {
    let now = observed.finished_at.map(|finished_at| RunEnd {
        exit_code: observed.exit_code,
        oom_killed: observed.oom_killed,
        finished_at: Some(finished_at),
    });
    let before = observed.ends.last().map(|end| RunEnd {
        exit_code: end.exit_code,
        oom_killed: end.oom_killed,
        finished_at: Some(end.finished_at),
    });
    now.or(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::pod::Pod;
    use crate::actors::{Entity as _, Fact};
    use crate::events::container::ActionDoneV1;
    use crate::events::pod::{PodCreateRequestedV1, PodCreatedV1, PodSpec};
    use crate::events::work::{Placement, WorkFailedV2};
    use crate::ids::{EventId, Timestamp};

    const ENGINE_ID: &str = "e1";

    fn one(name: &str, is_init: bool, state: RunState, exit_code: Option<i64>) -> ObservedMember {
        let observed = Observed {
            engine_id: name.to_owned(),
            engine_name: name.to_owned(),
            name_is_ours: true,
            state,
            exit_code,
            oom_killed: false,
            finished_at: None,
            ends: vec![],
            restarts: 0,
            run: None,
        };
        ObservedMember { name: name.to_owned(), is_init, observed }
    }

    fn pod(is_up: bool, containers: Vec<ObservedMember>) -> ObservedPod {
        let engine_id = ENGINE_ID.to_owned();
        let engine_name = "magnum-1".to_owned();
        ObservedPod { engine_id, engine_name, work_id: None, is_up, address: None, containers }
    }

    fn tell(state: &mut PodState, number: u128, event: &Event) -> EventId {
        let id = EventId(uuid::Uuid::from_u128(number));
        let (object, time) = (ObjectId::default(), Timestamp(0));
        Pod::evolve(state, event, Fact { id, object, time, project: "p", request_id: "" });
        id
    }

    /// A pod that is created; its containers are being started.
    fn created(restarts: Restarts) -> (PodState, WorkId) {
        let mut state = PodState::default();
        let placement = Placement { node_id: ObjectId::default(), verdicts: vec![] };
        let spec = PodSpec { restarts, ..PodSpec::default() };
        let (name, bay_id) = ("web".to_owned(), ObjectId::default());
        let asked = PodCreateRequestedV1 { name, desc: None, spec, bay_id, placement };
        let work_id = tell(&mut state, 1, &Event::CreateRequested(asked));
        let engine_id = ENGINE_ID.to_owned();
        tell(&mut state, 2, &Event::Created(PodCreatedV1 { work_id, engine_id }));
        let start = PodStartRequestedV1 { because: None };
        let start = tell(&mut state, 3, &Event::StartRequested(start));
        (state, start)
    }

    #[test]
    fn the_phase_is_that_of_what_runs() {
        use RunState::{Created, Exited, Restarting, Running};
        let own = |state, code| one("a", false, state, code);
        let other = |state, code| one("b", false, state, code);
        let init = |state, code| one("i", true, state, code);
        let (state, _) = created(Restarts::Always);
        for (containers, expected) in [
            (vec![own(Created, None)], Phase::Pending),
            (vec![init(Running, None), own(Created, None)], Phase::Pending),
            (vec![init(Exited, Some(0)), own(Created, None)], Phase::Pending),
            (vec![init(Restarting, Some(1)), own(Created, None)], Phase::Pending),
            (vec![init(Exited, Some(1)), own(Created, None)], Phase::Failed),
            (vec![own(Running, None), other(Created, None)], Phase::Pending),
            (vec![own(Running, None), other(Running, None)], Phase::Running),
            (vec![own(Running, None), other(Exited, Some(1))], Phase::Running),
            (vec![own(Restarting, Some(1))], Phase::Running),
            (vec![own(Exited, Some(0)), other(Exited, Some(0))], Phase::Succeeded),
            (vec![own(Exited, Some(0)), other(Exited, Some(3))], Phase::Failed),
            (vec![init(Exited, Some(0)), own(Exited, Some(0))], Phase::Succeeded),
        ] {
            let found = phase(&pod(true, containers.clone()), &state);
            assert_eq!(found, expected, "{containers:?}");
        }
    }

    #[test]
    fn a_pod_whose_sandbox_ended_is_started_again_unless_it_is_never_to_be() {
        let up = pod(true, vec![one("a", false, RunState::Running, None)]);
        let down = pod(false, vec![one("a", false, RunState::Exited, Some(137))]);
        let ended = pod(false, vec![one("a", false, RunState::Exited, Some(0))]);
        for (restarts, found, status, is_started) in [
            (Restarts::Always, &down, Status::Running, true),
            (Restarts::OnFailure, &down, Status::Running, true),
            (Restarts::Never, &down, Status::Failed, false),
            (Restarts::Never, &ended, Status::Succeeded, false),
        ] {
            let (mut state, work_id) = created(restarts);
            assert_eq!(state.lifecycle.status(), Status::Pending);
            let events = observe(&state, Some(&up));
            assert!(matches!(&*events, [Event::StateChanged(_)]), "{events:?}");
            tell(&mut state, 4, &events[0]);
            assert_eq!(state.lifecycle.status(), Status::Running);
            assert_eq!(observe(&state, Some(&up)), [], "nothing is said twice");
            let while_it_starts = observe(&state, Some(found));
            assert!(matches!(&*while_it_starts, [Event::StateChanged(_)]), "{while_it_starts:?}");
            tell(&mut state, 5, &Event::Started(ActionDoneV1 { work_id }));
            let events = observe(&state, Some(found));
            let starts = matches!(events.last(), Some(Event::StartRequested(_)));
            assert_eq!(starts, is_started, "{restarts:?}: {events:?}");
            tell(&mut state, 6, &events[0]);
            assert_eq!(state.lifecycle.status(), status, "{restarts:?}");
        }
    }

    #[test]
    fn a_pod_whose_start_was_refused_has_failed() {
        let (mut state, work_id) = created(Restarts::Always);
        let half = |state| pod(true, vec![one("a", false, RunState::Running, None), state]);
        let half = half(one("b", false, RunState::Created, None));
        assert_eq!(phase(&half, &state), Phase::Pending);
        let (action, reason) = ("start".to_owned(), "no such program".to_owned());
        let failed = WorkFailedV2 { work_id, action, reason, cancelled: vec![] };
        tell(&mut state, 4, &Event::WorkFailed(failed));
        assert_eq!(phase(&half, &state), Phase::Failed);
    }

    #[test]
    fn what_is_gone_or_another_is_a_difference_once_nothing_is_under_way() {
        let (mut state, work_id) = created(Restarts::Always);
        assert_eq!(observe(&state, None), [], "it may be on its way");
        tell(&mut state, 4, &Event::Started(ActionDoneV1 { work_id }));
        let other = ObservedPod { engine_id: "e2".to_owned(), ..pod(true, vec![]) };
        let found = "e2".to_owned();
        let replaced = Event::Drifted(PodDriftedV1 { drift: PodDrift::Replaced { found } });
        assert_eq!(observe(&state, Some(&other)), [replaced]);
        let bare = ObservedPod { engine_id: String::new(), ..pod(false, vec![]) };
        let lost = Event::Drifted(PodDriftedV1 { drift: PodDrift::SandboxRemoved });
        assert_eq!(observe(&state, Some(&bare)), [lost]);
        let removed = Event::Drifted(PodDriftedV1 { drift: PodDrift::Removed });
        assert_eq!(observe(&state, None), std::slice::from_ref(&removed));
        tell(&mut state, 5, &removed);
        assert_eq!(state.lifecycle.status(), Status::Failed);
        assert_eq!(observe(&state, None), [], "it is said once");
    }
}

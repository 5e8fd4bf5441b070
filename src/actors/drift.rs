//! Compares the engine with the record and turns differences into events: of the container if it
//! has a record, otherwise of the node.
//!
//! Pure. Differences are never corrected: an engine that has more than the record may be right
//! after a log was restored from an older backup. Not here: when to compare (`agent/reconciler`),
//! what a difference changes (`container`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::container::ContainerState;
use crate::backends::{End, Observed, ObservedNetwork, RunState};
use crate::events::container::{
    ContainerEvent as Event, Drift, DriftedV1, ExitedV2, RestartedV1, Status,
};
use crate::events::node::{
    NodeEvent, NodeUnknownContainerFoundV1, NodeUnknownContainerGoneV1, NodeUnknownNetworkFoundV1,
    NodeUnknownNetworkGoneV1,
};
use crate::ids::{ObjectId, Timestamp};

/// Containers without a record that a node knows of at once, and networks: with as many that are
/// gone they fit into one append. What is beyond is looked at again when there is room.
pub const MAX_UNKNOWN: usize = 500;

/// What a node's engine may have without a record.
pub trait Unrecorded {
    /// As people call them.
    const NOUN: &'static str;
    /// The engine's id of it.
    fn engine_id(&self) -> &str;
    /// That it was found.
    fn found(self) -> NodeEvent;
    /// That what had this id is gone.
    fn gone(engine_id: String) -> NodeEvent;
}

/// A container of a node that no object is the record of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnrecordedContainer {
    /// The object that its labels name.
    pub container_id: ObjectId,
    /// As the engine has it.
    pub observed: Observed,
}

impl Unrecorded for UnrecordedContainer {
    const NOUN: &'static str = "containers";

    fn engine_id(&self) -> &str {
        &self.observed.engine_id
    }

    fn found(self) -> NodeEvent {
        let Self { container_id, observed } = self;
        NodeEvent::UnknownContainerFound(NodeUnknownContainerFoundV1 {
            engine_id: observed.engine_id,
            engine_name: observed.engine_name,
            container_id,
            state: observed.state.name().to_owned(),
        })
    }

    fn gone(engine_id: String) -> NodeEvent {
        NodeEvent::UnknownContainerGone(NodeUnknownContainerGoneV1 { engine_id })
    }
}

impl Unrecorded for ObservedNetwork {
    const NOUN: &'static str = "networks";

    fn engine_id(&self) -> &str {
        &self.engine_id
    }

    fn found(self) -> NodeEvent {
        let Self { bay_id, engine_id, engine_name } = self;
        NodeEvent::UnknownNetworkFound(NodeUnknownNetworkFoundV1 { engine_id, engine_name, bay_id })
    }

    fn gone(engine_id: String) -> NodeEvent {
        NodeEvent::UnknownNetworkGone(NodeUnknownNetworkGoneV1 { engine_id })
    }
}

/// What a node has without a record, held against what was said of it. `complete` says that
/// `found` is all, so that what is not in it is gone.
pub fn unknown<T: Unrecorded>(
    known: &BTreeSet<String>,
    found: Vec<T>,
    complete: bool,
) -> Vec<NodeEvent> {
    let there: BTreeSet<&str> = found.iter().map(T::engine_id).collect();
    let gone = known.iter().filter(|id| complete && !there.contains(id.as_str())).cloned();
    let mut events: Vec<NodeEvent> = gone.map(T::gone).collect();
    let room = MAX_UNKNOWN.saturating_sub(known.len());
    let new = found.into_iter().filter(|it| !known.contains(it.engine_id())).take(room);
    events.extend(new.map(T::found));
    events
}

/// What the engine has, held against what should be. While work is open, which may have been done
/// without an answer, only what was before its turn: so every difference is not our doing.
pub fn observe(state: &ContainerState, observed: Option<&Observed>) -> Vec<Event> {
    if matches!(
        state.lifecycle.status(),
        Status::Absent | Status::Creating | Status::Deleting | Status::Deleted
    ) {
        return vec![];
    }
    let Some(engine_id) = &state.engine_id else { return vec![] };
    let waits = state.lifecycle.work().queued().next().is_some();
    let Some(observed) = observed else {
        return if waits { vec![] } else { drifted(Drift::Removed) };
    };
    if &observed.engine_id != engine_id {
        let found = observed.engine_id.clone();
        return if waits { vec![] } else { drifted(Drift::Replaced { found }) };
    }
    let ends: Vec<&End> = unrecorded(state, &observed.ends)
        .filter(|end| !waits || Some(end.finished_at) < state.lifecycle.work().turn())
        .collect();
    if waits && ends.is_empty() {
        return vec![];
    }
    let mut events = vec![];
    let runs = matches!(observed.state, RunState::Running | RunState::Paused);
    let mut alive = state.is_alive();
    for (index, end) in ends.iter().enumerate() {
        let is_last = index + 1 == ends.len();
        let restarting =
            if is_last && !runs { observed.state == RunState::Restarting } else { state.restarts };
        alive = tell(state, alive, end, restarting, &mut events);
    }
    if waits {
        events.extend((runs && !alive).then(|| begun(state)));
        return events;
    }
    events.extend(status_change(state, observed, alive, events.is_empty()));
    let found = (!observed.name_is_ours).then(|| observed.engine_name.clone());
    if found.is_some() && found != state.renamed_to {
        events.extend(found.map(|found| drifted(Drift::Renamed { found })).unwrap_or_default());
    }
    events
}

/// Ends that were not requested and are not recorded, or are recorded without the OOM flag. None
/// for a container in error: which of its ends were requested is unknown.
fn unrecorded<'a>(state: &ContainerState, ends: &'a [End]) -> impl Iterator<Item = &'a End> {
    let known_to = state.ends_known_to;
    let late = move |end: &&End| Some(end.finished_at) == known_to && end.oom_killed;
    let exited = state.exited;
    let ours = ends
        .iter()
        .find(|end| Some(end.finished_at) > known_to)
        .filter(|end| Some(end.finished_at) <= state.rebooted_by);
    let ends = if state.lifecycle.status() == Status::Error { &[] } else { ends };
    ends.iter()
        .filter(move |end| Some(end.finished_at) > known_to || (exited && late(end)))
        .filter(move |end| ours.is_none_or(|ours| ours.finished_at != end.finished_at))
}

/// One end of a container that was alive or not, and whether it is alive after that. All that is
/// known of an end that the engine has forgotten is that the container was started again.
fn tell(
    state: &ContainerState,
    alive: bool,
    end: &End,
    restarting: bool,
    events: &mut Vec<Event>,
) -> bool {
    let late = Some(end.finished_at) == state.ends_known_to;
    events.extend((!(alive || late)).then(|| begun(state)));
    let (oom_killed, finished_at) = (end.oom_killed, Some(end.finished_at));
    events.push(match end.exit_code {
        Some(exit_code) => {
            Event::Exited(ExitedV2 { exit_code, oom_killed, finished_at, restarting })
        }
        None => begun(state),
    });
    end.exit_code.is_none()
}

/// What is said of it when it runs and nobody here started it.
const fn begun(state: &ContainerState) -> Event {
    if state.restarts {
        Event::Restarted(RestartedV1 {})
    } else {
        Event::Drifted(DriftedV1 { drift: Drift::Started })
    }
}

/// How what the engine has differs from a container that is alive or not by now.
fn status_change(
    state: &ContainerState,
    observed: &Observed,
    alive: bool,
    is_first: bool,
) -> Vec<Event> {
    let status = state.lifecycle.status();
    let restarting = observed.state == RunState::Restarting;
    let oom = status == Status::Stopped && state.exited && observed.oom_killed;
    // The engine may learn only after the end what it was for, and may give up restarting.
    let late = match status {
        Status::Stopped => oom || restarting,
        Status::Restarting => !restarting,
        _ => false,
    };
    let frozen = is_first && status == Status::Paused;
    match observed.state {
        RunState::Exited | RunState::Dead | RunState::Restarting if alive || (is_first && late) => {
            vec![Event::Exited(ExitedV2 {
                exit_code: observed.exit_code.unwrap_or_default(),
                oom_killed: observed.oom_killed,
                finished_at: observed.finished_at,
                restarting,
            })]
        }
        RunState::Paused if !frozen => drifted(Drift::Paused),
        RunState::Running if frozen => drifted(Drift::Unpaused),
        RunState::Running if !alive => vec![begun(state)],
        _ => vec![],
    }
}

fn drifted(drift: Drift) -> Vec<Event> {
    vec![Event::Drifted(DriftedV1 { drift })]
}

/// What an event says of the container's ends, before it changes anything else.
pub fn note_ends(state: &mut ContainerState, event: &Event, now: Timestamp) {
    let known_to = match event {
        Event::Started(_) | Event::Rebooted(_) => state.lifecycle.work().turn(),
        Event::Stopped(_) => Some(now),
        Event::Exited(exit) => exit.finished_at.or(Some(now)),
        // It has ended before, and nobody can say how.
        Event::Restarted(_) | Event::Drifted(DriftedV1 { drift: Drift::Started })
            if !is_at_rest(state) =>
        {
            Some(now)
        }
        _ => return,
    };
    let ended = matches!(event, Event::Rebooted(_)) && !is_at_rest(state);
    state.rebooted_by = ended.then_some(now);
    state.ends_known_to = state.ends_known_to.max(known_to);
}

/// Whether its last end is recorded and it has not been started since.
fn is_at_rest(state: &ContainerState) -> bool {
    matches!(state.lifecycle.status(), Status::Stopped | Status::Restarting)
}

/// The state once a difference is recorded.
pub fn take(state: &mut ContainerState, drift: &Drift) {
    match drift {
        Drift::Removed => state.engine_id = None,
        Drift::Renamed { found } => state.renamed_to = Some(found.clone()),
        Drift::Replaced { found } => state.engine_id = Some(found.clone()),
        Drift::Started | Drift::Paused | Drift::Unpaused => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(engine_id: &str) -> UnrecordedContainer {
        let observed = Observed {
            engine_id: engine_id.to_owned(),
            engine_name: "magnum-x".to_owned(),
            name_is_ours: true,
            state: RunState::Paused,
            exit_code: None,
            oom_killed: false,
            finished_at: None,
            ends: vec![],
            restarts: 0,
        };
        UnrecordedContainer { container_id: ObjectId::default(), observed }
    }

    /// The engine's ids of what was found and what is gone.
    fn told(known: &[&str], found: &[&str], complete: bool) -> (Vec<String>, Vec<String>) {
        let known = known.iter().map(|id| (*id).to_owned()).collect();
        let found = found.iter().map(|id| container(id)).collect();
        let (mut new, mut gone) = (vec![], vec![]);
        for event in unknown(&known, found, complete) {
            match event {
                NodeEvent::UnknownContainerFound(found) => {
                    assert_eq!(found.state, "paused");
                    new.push(found.engine_id);
                }
                NodeEvent::UnknownContainerGone(it) => gone.push(it.engine_id),
                other => panic!("{other:?}"),
            }
        }
        (new, gone)
    }

    #[test]
    fn what_has_no_record_is_told_once_until_it_goes() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(told(&[], &["a", "b"], true), (ids(&["a", "b"]), ids(&[])));
        assert_eq!(told(&["a", "b"], &["a", "b"], true), (ids(&[]), ids(&[])));
        assert_eq!(told(&["a", "b"], &["b", "c"], true), (ids(&["c"]), ids(&["a"])));
        assert_eq!(told(&["a", "b"], &["c"], false), (ids(&["c"]), ids(&[])));
    }

    #[test]
    fn a_network_without_a_record_is_told_until_it_goes() {
        let network = ObservedNetwork {
            bay_id: ObjectId::default(),
            engine_id: "n".to_owned(),
            engine_name: "magnum-x".to_owned(),
        };
        let found = unknown(&BTreeSet::new(), vec![network.clone()], true);
        assert_eq!(found, [network.clone().found()]);
        let known = BTreeSet::from(["n".to_owned()]);
        assert_eq!(unknown(&known, vec![network], true), []);
        let gone = unknown::<ObservedNetwork>(&known, vec![], true);
        assert_eq!(gone, [ObservedNetwork::gone("n".to_owned())]);
    }

    #[test]
    fn more_than_fit_into_one_append_are_told_later() {
        let many: Vec<String> = (0..2 * MAX_UNKNOWN).map(|it| it.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (first, second) = many.split_at(MAX_UNKNOWN);
        assert_eq!(told(&[], &many, false).0.len(), MAX_UNKNOWN);
        assert_eq!(told(first, &many, false), (vec![], vec![]), "as many as are kept in mind");
        assert_eq!(told(first, second, true).1.len(), MAX_UNKNOWN);
    }
}

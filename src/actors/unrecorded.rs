//! What a node's engine has without a record, told to the node.
//!
//! Not here: finding it (`comparison`), differences from a record (`drift`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::backends::{Observed, ObservedNetwork};
use crate::events::node::{
    NodeEvent, NodeUnknownContainerFoundV1, NodeUnknownContainerGoneV1, NodeUnknownNetworkFoundV1,
    NodeUnknownNetworkGoneV1,
};
use crate::ids::ObjectId;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::RunState;

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
            run: None,
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

//! A node: its state and commands, and which are legal when.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::unrecorded::{UnrecordedContainer, unknown};
use super::{Entity, Fact, ObjectState};
use crate::backends::{EngineFacts, ObservedNetwork};
use crate::bus::{Ctx, Refusal};
use crate::events::node::{
    NodeCameUpV1, NodeCreatedV1, NodeDeletedV1, NodeEvent as Event, NodeWentDownV1, Status,
};
use crate::events::status::Status as _;
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::{ObjectId, ProjectId};
use crate::noun_commands;

noun_commands! {
    /// What can be asked of a node.
    NodeCommand {
        /// Make it known.
        Create {
            /// `docker` where a backend registers it.
            node_type: Option<String>,
            /// Image of the machine.
            image_id: Option<String>,
            /// Bare-metal node of OpenStack Ironic.
            ironic_node_id: Option<String>,
            /// Host name, where a backend registers it; none from users.
            host: Option<String>,
        },
        /// Remove it; refused while bays are on it.
        Delete {
            /// How many bays are.
            bays: u64,
        },
    } internal {
        /// Its engine answers.
        Up(EngineFacts),
        /// Its engine does not answer.
        Down {
            /// The backend's words.
            reason: String,
        },
        /// Its engine has containers that no object is the record of.
        Unknown {
            /// Which.
            containers: Vec<UnrecordedContainer>,
            /// Whether these are all of them, so that others are gone.
            complete: bool,
        },
        /// Its engine has networks of bays that are not recorded.
        UnknownNetworks {
            /// Which.
            networks: Vec<ObservedNetwork>,
            /// Whether these are all of them, so that others are gone.
            complete: bool,
        },
    }
}

/// What a node's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct NodeState {
    project: Option<ProjectId>,
    id: ObjectId,
    status: Status,
    /// A backend registered it.
    registered: bool,
    ironic_node_id: Option<String>,
    /// What its engine said of itself when it came up last.
    facts: Option<EngineFacts>,
    /// The engine's ids of containers that no object is the record of.
    unknown_containers: BTreeSet<String>,
    /// The engine's ids of networks of bays that are not recorded.
    unknown_networks: BTreeSet<String>,
}

impl ObjectState for NodeState {
    fn project(&self) -> Option<&ProjectId> {
        self.project.as_ref()
    }
}

/// The node noun.
pub struct Node;

impl Entity for Node {
    type State = NodeState;
    type Command = NodeCommand;
    type Event = Event;

    fn decide(state: &NodeState, command: NodeCommand, _ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
        Ok(match (!state.status.is_gone(), command) {
            (false, NodeCommand::Create { node_type, image_id, ironic_node_id, host }) => {
                vec![Event::Created(NodeCreatedV1 { node_type, image_id, ironic_node_id, host })]
            }
            (true, NodeCommand::Create { .. }) => return Err(Self::already_exists(state.id)),
            (false, _) => return Err(Self::not_found(state.id)),
            (true, NodeCommand::Update { changes }) => update(state, changes)?,
            (true, NodeCommand::Delete { bays }) => delete(state, bays)?,
            (true, NodeCommand::Up(facts))
                if state.status == Status::Available && state.facts.as_ref() == Some(&facts) =>
            {
                vec![]
            }
            (true, NodeCommand::Up(facts)) => vec![Event::CameUp(NodeCameUpV1 {
                engine: facts.engine,
                cpus: facts.cpus,
                memory_bytes: facts.memory_bytes,
            })],
            (true, NodeCommand::Down { .. }) if state.status == Status::Unavailable => vec![],
            (true, NodeCommand::Down { reason }) => {
                vec![Event::WentDown(NodeWentDownV1 { reason })]
            }
            (true, NodeCommand::Unknown { containers, complete }) => {
                unknown(&state.unknown_containers, containers, complete)
            }
            (true, NodeCommand::UnknownNetworks { networks, complete }) => {
                unknown(&state.unknown_networks, networks, complete)
            }
        })
    }

    fn evolve(state: &mut NodeState, event: &Event, fact: Fact<'_>) {
        state.status = state.status.after(event);
        match event {
            Event::Created(created) => {
                *state = NodeState {
                    project: Some(ProjectId(fact.project.to_owned())),
                    id: fact.object,
                    status: state.status,
                    registered: created.host.is_some(),
                    ironic_node_id: created.ironic_node_id.clone(),
                    ..NodeState::default()
                };
            }
            Event::CameUp(up) => {
                state.facts = Some(EngineFacts {
                    engine: up.engine.clone(),
                    cpus: up.cpus,
                    memory_bytes: up.memory_bytes,
                });
            }
            Event::Updated(updated) => {
                if let Some(ironic_node_id) = updated.text("ironic_node_id") {
                    state.ironic_node_id = ironic_node_id;
                }
            }
            Event::UnknownContainerFound(found) => {
                state.unknown_containers.insert(found.engine_id.clone());
            }
            Event::UnknownContainerGone(gone) => {
                state.unknown_containers.remove(&gone.engine_id);
            }
            Event::UnknownNetworkFound(found) => {
                state.unknown_networks.insert(found.engine_id.clone());
            }
            Event::UnknownNetworkGone(gone) => {
                state.unknown_networks.remove(&gone.engine_id);
            }
            Event::WentDown(_) | Event::Deleted(_) => {}
        }
    }
}

/// An Ironic node stays the one it is, as in the 2015 API.
fn update(state: &NodeState, changes: Vec<FieldChange>) -> Result<Vec<Event>, Refusal> {
    let moves = |change: &FieldChange| {
        let asked: Option<String> = serde_json::from_str(&change.value).unwrap_or_default();
        change.field == "ironic_node_id" && asked.is_some() && asked != state.ironic_node_id
    };
    if state.ironic_node_id.is_some() && changes.iter().any(moves) {
        return Err(Refusal::Conflict {
            reason: format!("Node {} is associated with an Ironic node already.", state.id),
        });
    }
    Ok(Vec::from_iter(UpdatedV1::of(changes).map(Event::Updated)))
}

fn delete(state: &NodeState, bays: u64) -> Result<Vec<Event>, Refusal> {
    if state.registered {
        let why = match bays {
            0 => "its backend is running".to_owned(),
            1 => "a bay is on it".to_owned(),
            _ => format!("{bays} bays are on it"),
        };
        return Err(Refusal::Conflict {
            reason: format!("Node {} cannot be deleted: {why}.", state.id),
        });
    }
    Ok(vec![Event::Deleted(NodeDeletedV1 {})])
}

//! A bay: its state and commands, and which are legal in which status.
//!
//! On Docker a bay is a network on one node, as a bridge network does not span nodes.

use super::lifecycle::{Cascade, Effect, Lifecycle, Task};
use super::naming::Naming;
use super::placement::{self, NodeFacts};
use super::{Entity, Fact};
use crate::backends::{Action, Desired, Done, Outcome, Removed, network_name};
use crate::bus::{Ctx, Refusal};
use crate::events::Verb;
use crate::events::bay::{
    BayAbandonedV1, BayCreateRefusedV1, BayCreateRequestedV1, BayCreatedV1, BayDeleteRequestedV1,
    BayDeletedV1, BayEmptiedV1, BayEvent as Event, BayPlan, LeftBehind, Status,
};
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::ObjectId;
use crate::noun_commands;

noun_commands! {
    /// What can be asked of a bay.
    BayCommand {
        /// Make it.
        Create {
            /// What it is to be.
            plan: BayPlan,
            /// The nodes there are.
            nodes: Vec<NodeFacts>,
            /// The container orchestration engine of its baymodel; none in what earlier builds
            /// recorded.
            #[serde(default)]
            coe: Option<String>,
        },
        /// Remove it with everything in it.
        Delete,
        /// Give it up: its deletion was tried and does not end.
        Abandon {
            /// The engine's id of its network, if that is recorded.
            network_id: Option<String>,
            /// Containers that it has whose deletion does not end either.
            containers: Vec<LeftBehind>,
            /// Its other containers.
            still_deleted: Vec<ObjectId>,
        },
    } internal {
        /// The outcome of work.
        Outcome(Outcome),
    }
}

/// The bay noun.
pub struct Bay;

impl Entity for Bay {
    type State = Lifecycle<Status>;
    type Command = BayCommand;
    type Event = Event;

    /// The one table (rule E4).
    fn decide(state: &Self::State, command: BayCommand, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
        use Status::{CreateComplete, DeleteInProgress, UpdateComplete};
        Ok(match (state.status(), command) {
            (status, BayCommand::Create { plan, nodes, coe }) if status.is_gone() => {
                let placement = placement::place(&nodes)?;
                let refused = placement::unserved(plan.node_count, coe.as_deref(), &placement);
                vec![match refused {
                    None => Event::CreateRequested(BayCreateRequestedV1 { plan, placement }),
                    Some(reason) => {
                        let action = Verb::Create.name().to_owned();
                        let asked = BayCreateRefusedV1 { plan, placement, action, reason };
                        Event::CreateRefused(asked)
                    }
                }]
            }
            (_, BayCommand::Create { .. }) => return Err(Self::already_exists(state.id())),
            (_, BayCommand::Outcome(outcome)) => {
                state.settle(&outcome, ctx.now, |task, result| done(task, outcome.attempt, result))
            }
            (status, _) if status.is_gone() => return Err(Self::not_found(state.id())),
            (DeleteInProgress, BayCommand::Delete) => vec![],
            (_, BayCommand::Delete) => vec![Event::DeleteRequested(BayDeleteRequestedV1 {})],
            (_, BayCommand::Abandon { network_id, containers, still_deleted }) => {
                let network = network(state, network_id)?;
                vec![Event::Abandoned(BayAbandonedV1 {
                    left_behind: containers.into_iter().chain([network]).collect(),
                    still_deleted,
                    cancelled: state.open(),
                })]
            }
            (CreateComplete | UpdateComplete, BayCommand::Update { changes }) => update(changes)?,
            (status, BayCommand::Update { .. }) => {
                let status = status.name();
                let reason =
                    format!("Updating a bay when stack status is \"{status}\" is not supported.");
                return Err(Refusal::NotAllowed { reason });
            }
        })
    }

    fn evolve(state: &mut Self::State, event: &Event, fact: Fact<'_>) {
        if let Event::CreateRequested(asked) = event {
            *state = Lifecycle::begin(fact, asked.placement.node_id, asked.plan.create_timeout_min);
        }
        if let Event::CreateRefused(asked) = event
            && state.status().is_gone()
        {
            *state = Lifecycle::begin(fact, asked.placement.node_id, 0);
        }
        state.apply(event, asked_for(event), fact);
    }

    fn named(event: &Event) -> Option<Naming> {
        let (Event::CreateRequested(BayCreateRequestedV1 { plan, .. })
        | Event::CreateRefused(BayCreateRefusedV1 { plan, .. })) = event
        else {
            return None;
        };
        Some(Naming::begin(plan.name.as_ref(), None))
    }
}

/// What an event asks a backend or the conductor for, and the step that follows one that is done.
const fn asked_for(event: &Event) -> Option<Effect> {
    match event {
        Event::CreateRequested(_) => Some(Effect::Engine(Action::Apply(Desired::Network))),
        Event::DeleteRequested(_) => Some(Effect::Conductor(Cascade::EmptyBay)),
        Event::Emptied(_) => Some(Effect::Engine(Action::Remove(Removed::Network))),
        _ => None,
    }
}

/// The network that a bay leaves behind which is given up: one whose deletion was tried and does
/// not end.
fn network(state: &Lifecycle<Status>, engine_id: Option<String>) -> Result<LeftBehind, Refusal> {
    let Some(reason) = state.stuck() else {
        let reason = format!(
            "Bay {} can be deleted by force only once its deletion was tried and is blocked or has \
             failed: delete it without force first.",
            state.id()
        );
        return Err(Refusal::Conflict { reason });
    };
    Ok(LeftBehind {
        kind: "network".to_owned(),
        object_id: state.id(),
        name: None,
        engine_name: network_name(state.id()),
        engine_id,
        reason: reason.to_owned(),
    })
}

/// Only the number of nodes can change, as in the 2015 API.
fn update(changes: Vec<FieldChange>) -> Result<Vec<Event>, Refusal> {
    let fields = changes.iter().map(|change| change.field.as_str());
    let others: Vec<&str> = fields.filter(|field| *field != "node_count").collect();
    if !others.is_empty() {
        let reason = format!("cannot change bay property(ies) {}.", others.join(", "));
        return Err(Refusal::NotAllowed { reason });
    }
    Ok(Vec::from_iter(UpdatedV1::of(changes).map(Event::Updated)))
}

/// What is recorded of work that is done.
fn done(task: &Task, attempt: u32, done: &Done) -> Option<Event> {
    let work_id = task.id;
    Some(match task.action.verb() {
        Verb::Create => {
            let network_id = done.engine_id.clone().unwrap_or_default();
            Event::Created(BayCreatedV1 { work_id, network_id })
        }
        Verb::Empty => Event::Emptied(BayEmptiedV1 { work_id }),
        // The halves of a delete are numbered on: a past attempt was at emptying the bay, and its
        // repeated outcome says nothing of the network (rule W4).
        _ if attempt <= task.attempts => return None,
        _ => Event::Deleted(BayDeletedV1 { work_id }),
    })
}

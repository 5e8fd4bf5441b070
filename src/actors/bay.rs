//! A bay: its state and commands, and which are legal in which status.
//!
//! On Docker a bay is a network on one node, as a bridge network does not span nodes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lifecycle::{Cascade, DueWork, Effect, Lifecycle, Setback};
use super::placement::{self, NodeFacts};
use super::{Entity, Fact};
use crate::backends::{Action, Desired, Outcome, Removed, WorkResult};
use crate::bus::{Ctx, Refusal};
use crate::events::Verb;
use crate::events::bay::{
    BayCreateRequestedV1, BayCreatedV1, BayDeleteRequestedV1, BayDeletedV1, BayEmptiedV1,
    BayEvent as Event, BayPlan, Status,
};
use crate::events::status::Status as _;
use crate::events::work::{FieldChange, UpdatedV1, WorkFailedV2, WorkResumedV1};
use crate::ids::{Kind, ObjectId, ProjectId, StreamId, Timestamp, WorkId};
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
        },
        /// Remove it with everything in it.
        Delete,
        /// The outcome of work.
        Outcome(Outcome),
    }
}

/// What a bay's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BayState {
    lifecycle: Lifecycle<Status>,
    project: Option<ProjectId>,
    id: ObjectId,
    node_id: ObjectId,
    /// When creation counts as failed, if ever (`bay_create_timeout`).
    create_deadline: Option<Timestamp>,
}

/// The bay noun.
pub struct Bay;

impl Entity for Bay {
    type State = BayState;
    type Command = BayCommand;
    type Event = Event;

    /// The one table (rule E4).
    fn decide(state: &BayState, command: BayCommand, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
        use Status::{CreateComplete, DeleteInProgress, UpdateComplete};
        Ok(match (state.lifecycle.status(), command) {
            (status, BayCommand::Create { plan, nodes }) if status.is_gone() => {
                let placement = placement::place(&nodes)?;
                vec![Event::CreateRequested(BayCreateRequestedV1 { plan, placement })]
            }
            (_, BayCommand::Create { .. }) => return Err(Self::already_exists(state.id)),
            (_, BayCommand::Outcome(outcome)) => settle(state, &outcome, ctx.now),
            (status, _) if status.is_gone() => return Err(Self::not_found(state.id)),
            (DeleteInProgress, BayCommand::Delete) => vec![],
            (_, BayCommand::Delete) => vec![Event::DeleteRequested(BayDeleteRequestedV1 {})],
            (CreateComplete | UpdateComplete, BayCommand::Update { changes }) => update(changes)?,
            (status, BayCommand::Update { .. }) => {
                let status = status.name();
                let reason =
                    format!("Updating a bay when stack status is \"{status}\" is not supported.");
                return Err(Refusal::NotAllowed { reason });
            }
        })
    }

    fn evolve(state: &mut BayState, event: &Event, fact: Fact<'_>) {
        if let Event::CreateRequested(asked) = event {
            *state = BayState {
                project: Some(ProjectId(fact.project.to_owned())),
                id: fact.object,
                node_id: asked.placement.node_id,
                create_deadline: deadline(&asked.plan, fact.time),
                lifecycle: Lifecycle::default(),
            };
        }
        state.lifecycle.apply(event, asked_for(event), fact);
    }

    fn react(state: &BayState) -> Vec<DueWork> {
        let Some(project) = &state.project else { return vec![] };
        let stream = StreamId::new(Kind::Bay, state.id);
        state.lifecycle.work().due(stream, project, state.node_id)
    }

    fn awaits(state: &BayState, id: WorkId) -> bool {
        state.lifecycle.work().contains(id)
    }

    fn project(state: &BayState) -> Option<&ProjectId> {
        state.project.as_ref()
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

/// When creation counts as failed; never where no timeout was asked for.
fn deadline(plan: &BayPlan, asked_at: Timestamp) -> Option<Timestamp> {
    let timeout_ms = u64::from(plan.create_timeout_min).saturating_mul(60_000);
    (timeout_ms > 0).then(|| asked_at.plus_ms(timeout_ms))
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

/// What an outcome of open work leads to; late and repeated outcomes change nothing (rule W4).
fn settle(state: &BayState, outcome: &Outcome, now: Timestamp) -> Vec<Event> {
    let work = state.lifecycle.work();
    let Some(task) = work.current(outcome) else { return vec![] };
    // The halves of a delete are numbered on: a past attempt may have been at emptying the bay, and
    // its repeated outcome says nothing of the network (rule W4).
    if task.action.verb() == Verb::Delete && outcome.attempt <= task.attempts {
        return vec![];
    }
    let work_id = task.id;
    let event = match (&outcome.result, task.action.verb()) {
        (WorkResult::Done(done), Verb::Create) => {
            let network_id = done.engine_id.clone().unwrap_or_default();
            Event::Created(BayCreatedV1 { work_id, network_id })
        }
        (WorkResult::Done(_), Verb::Empty) => Event::Emptied(BayEmptiedV1 { work_id }),
        (WorkResult::Done(_), _) => Event::Deleted(BayDeletedV1 { work_id }),
        (WorkResult::Progress(_), _) if task.retry_at.is_some() => {
            Event::WorkResumed(WorkResumedV1 { work_id })
        }
        (WorkResult::Blocked { reason, .. }, Verb::Create)
            if state.create_deadline.is_some_and(|deadline| deadline <= now) =>
        {
            let reason = format!("not done within bay_create_timeout; last reason: {reason}");
            let (action, cancelled) = (task.action.name().to_owned(), work.behind(work_id));
            Event::WorkFailed(WorkFailedV2 { work_id, action, reason, cancelled })
        }
        _ => match state.lifecycle.setback(outcome, now) {
            Some(Setback::Failed(failed)) => Event::WorkFailed(failed),
            Some(Setback::Unknown(unknown)) => Event::WorkUnknown(unknown),
            Some(Setback::Blocked(blocked)) => Event::WorkBlocked(blocked),
            None => return vec![],
        },
    };
    vec![event]
}

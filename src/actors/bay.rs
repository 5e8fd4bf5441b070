//! A bay: its state, what can be asked of it, and what is allowed when.
//!
//! A bay on Docker is a network of its own on one node: a bridge network does not span nodes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::placement::{self, NodeFacts};
use super::tasks::{self, Tasks};
use super::{Entity, Fact};
use crate::backends::{Action, Outcome, Work, WorkResult};
use crate::bus::{Ctx, NounCommand, Refusal};
use crate::events::bay::{
    BayCreateRequestedV1, BayCreatedV1, BayDeleteRequestedV1, BayDeletedV1, BayEmptiedV1,
    BayEvent as Event, BayPlan,
};
use crate::events::work::{FieldChange, UpdatedV1, WorkFailedV1, WorkUnknownV1};
use crate::ids::{Kind, ObjectId, ProjectId, StreamId, Timestamp, WorkId};

/// What can be asked of a bay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BayCommand {
    /// Make it.
    Create {
        /// What it is to be.
        plan: BayPlan,
        /// The nodes there are.
        nodes: Vec<NodeFacts>,
    },
    /// Set fields: only `node_count`.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// Remove it with everything in it.
    Delete,
    /// What came of work.
    Outcome(Outcome),
}

impl NounCommand for BayCommand {
    const KIND: Kind = Kind::Bay;
}

/// How far a bay's life is; the words are those of Heat, as the 2015 API has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Status {
    /// Never asked for.
    #[default]
    Absent,
    /// Asked for.
    CreateInProgress,
    /// There.
    CreateComplete,
    /// The engine refused it.
    CreateFailed,
    /// There, and changed since.
    UpdateComplete,
    /// Asked to go.
    DeleteInProgress,
    /// Could not go.
    DeleteFailed,
    /// Gone.
    Deleted,
}

impl Status {
    /// `CREATE_IN_PROGRESS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "ABSENT",
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::CreateComplete => "CREATE_COMPLETE",
            Self::CreateFailed => "CREATE_FAILED",
            Self::UpdateComplete => "UPDATE_COMPLETE",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::Deleted => "DELETED",
        }
    }
}

/// What a bay's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BayState {
    status: Status,
    project: Option<ProjectId>,
    id: ObjectId,
    node_id: ObjectId,
    /// When creation counts as failed, if ever (`bay_create_timeout`).
    create_deadline: Option<Timestamp>,
    tasks: Tasks,
}

/// The bay noun.
pub struct Bay;

impl Entity for Bay {
    const KIND: Kind = Kind::Bay;
    type State = BayState;
    type Command = BayCommand;
    type Event = Event;
    const SOURCES: &'static [&'static str] = &[
        include_str!("bay.rs"),
        include_str!("../events/bay.rs"),
        include_str!("../events/work.rs"),
        include_str!("tasks.rs"),
        include_str!("../backends/mod.rs"),
    ];

    /// The one table (rule E4).
    fn decide(state: &BayState, command: BayCommand, ctx: &Ctx) -> Result<Vec<Event>, Refusal> {
        use Status::{Absent, CreateComplete, DeleteInProgress, Deleted, UpdateComplete};
        Ok(match (state.status, command) {
            (status, BayCommand::Create { .. }) if !matches!(status, Absent | Deleted) => {
                return Err(Refusal::AlreadyExists { kind: "bay".to_owned(), id: state.id });
            }
            (_, BayCommand::Create { plan, nodes }) => {
                let placement = placement::place(&nodes)?;
                vec![Event::CreateRequested(BayCreateRequestedV1 { plan, placement })]
            }
            (_, BayCommand::Outcome(outcome)) => settle(state, &outcome, ctx.now),
            (Absent | Deleted, _) => {
                return Err(Refusal::NotFound { kind: "Bay".to_owned(), id: state.id });
            }
            (DeleteInProgress, BayCommand::Delete) => vec![],
            (_, BayCommand::Delete) => vec![Event::DeleteRequested(BayDeleteRequestedV1 {})],
            (CreateComplete | UpdateComplete, BayCommand::Update { changes }) => update(changes)?,
            (status, BayCommand::Update { .. }) => {
                return Err(Refusal::NotAllowed {
                    reason: format!(
                        "Updating a bay when stack status is \"{}\" is not supported.",
                        status.name()
                    ),
                });
            }
        })
    }

    fn evolve(state: &mut BayState, event: &Event, fact: Fact<'_>) {
        match event {
            Event::CreateRequested(asked) => {
                *state = BayState {
                    status: Status::CreateInProgress,
                    project: Some(ProjectId(fact.project.to_owned())),
                    id: fact.object,
                    node_id: asked.placement.node_id,
                    create_deadline: deadline(&asked.plan, fact.time),
                    tasks: Tasks::default(),
                };
                state.tasks.push(Action::CreateNetwork, fact);
            }
            Event::Created(done) => {
                state.tasks.end(done.work_id);
                state.status = Status::CreateComplete;
            }
            Event::Updated(_) => state.status = Status::UpdateComplete,
            Event::DeleteRequested(_) => {
                state.tasks.drop_all(&state.tasks.cancellable());
                state.tasks.push(Action::EmptyBay, fact);
                state.status = Status::DeleteInProgress;
            }
            Event::Emptied(done) => state.tasks.turn_into(done.work_id, Action::DeleteNetwork),
            Event::Deleted(_) => {
                state.tasks = Tasks::default();
                state.status = Status::Deleted;
            }
            Event::WorkBlocked(blocked) => state.tasks.block(blocked),
            Event::WorkFailed(WorkFailedV1 { work_id, action, .. })
            | Event::WorkUnknown(WorkUnknownV1 { work_id, action, .. }) => {
                state.tasks.end(*work_id);
                match (action.as_str(), state.status) {
                    ("create", Status::DeleteInProgress) => {}
                    ("create", _) => state.status = Status::CreateFailed,
                    _ => state.status = Status::DeleteFailed,
                }
            }
        }
        state.tasks.note_turn(fact.time);
    }

    fn react(state: &BayState) -> Vec<Work> {
        let Some(project) = &state.project else { return vec![] };
        state.tasks.due(StreamId::new(Kind::Bay, state.id), project, state.node_id)
    }

    fn awaits(state: &BayState, id: WorkId) -> bool {
        state.tasks.contains(id)
    }

    fn project(state: &BayState) -> Option<&ProjectId> {
        state.project.as_ref()
    }
}

/// When creation counts as failed; never where no timeout was asked for.
fn deadline(plan: &BayPlan, asked_at: Timestamp) -> Option<Timestamp> {
    let timeout_ms = u64::from(plan.create_timeout_min).saturating_mul(60_000);
    (timeout_ms > 0).then(|| asked_at.plus_ms(timeout_ms))
}

/// Only the number of nodes can change, as in the 2015 API.
fn update(changes: Vec<FieldChange>) -> Result<Vec<Event>, Refusal> {
    let others: Vec<_> = changes
        .iter()
        .filter(|change| change.field != "node_count")
        .map(|change| change.field.as_str())
        .collect();
    if !others.is_empty() {
        return Err(Refusal::NotAllowed {
            reason: format!("cannot change bay property(ies) {}.", others.join(", ")),
        });
    }
    Ok(if changes.is_empty() { vec![] } else { vec![Event::Updated(UpdatedV1 { changes })] })
}

/// What came of open work; late and repeated outcomes change nothing (rule W4).
fn settle(state: &BayState, outcome: &Outcome, now: Timestamp) -> Vec<Event> {
    let Some(task) = state.tasks.current(outcome) else { return vec![] };
    let (work_id, action) = (task.id, task.action.name().to_owned());
    let event = match (&outcome.result, &task.action) {
        (WorkResult::Done(done), Action::CreateNetwork) => Event::Created(BayCreatedV1 {
            work_id,
            network_id: done.engine_id.clone().unwrap_or_default(),
        }),
        (WorkResult::Done(_), Action::EmptyBay) => Event::Emptied(BayEmptiedV1 { work_id }),
        (WorkResult::Done(_), _) => Event::Deleted(BayDeletedV1 { work_id }),
        (WorkResult::Failed { reason }, _) => {
            Event::WorkFailed(WorkFailedV1 { work_id, action, reason: reason.clone() })
        }
        (WorkResult::Unknown { reason }, _) => {
            Event::WorkUnknown(WorkUnknownV1 { work_id, action, reason: reason.clone() })
        }
        (WorkResult::Blocked { reason, .. }, Action::CreateNetwork)
            if state.create_deadline.is_some_and(|deadline| deadline <= now) =>
        {
            let reason = format!("not done within bay_create_timeout; at last: {reason}");
            Event::WorkFailed(WorkFailedV1 { work_id, action, reason })
        }
        (WorkResult::Blocked { .. } | WorkResult::Waiting { .. }, _) => {
            return tasks::blocked(outcome, now).map(Event::WorkBlocked).into_iter().collect();
        }
        (WorkResult::Progress(_), _) => return vec![],
    };
    vec![event]
}

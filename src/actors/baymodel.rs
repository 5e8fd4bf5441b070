//! A baymodel: its state and commands, and which are legal when.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lifecycle::DueWork;
use super::{Entity, Fact};

use crate::bus::{Ctx, NounCommand, Refusal};
use crate::events::baymodel::{
    BaymodelCreatedV1, BaymodelDeletedV1, BaymodelEvent as Event, BaymodelFields, Status,
};
use crate::events::status::Status as _;
use crate::events::work::{FieldChange, UpdatedV1};
use crate::ids::{ObjectId, ProjectId, WorkId};

/// What can be asked of a baymodel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaymodelCommand {
    /// Make it.
    Create {
        /// All of it.
        fields: BaymodelFields,
    },
    /// Set fields: any of [`BaymodelFields`], as named in the REST API.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// Remove it; refused while bays are made from it.
    Delete {
        /// How many bays are.
        bays: u64,
    },
}

impl NounCommand for BaymodelCommand {}

/// What a baymodel's events fold to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BaymodelState {
    project: Option<ProjectId>,
    id: ObjectId,
    status: Status,
}

/// The baymodel noun.
pub struct Baymodel;

impl Entity for Baymodel {
    type State = BaymodelState;
    type Command = BaymodelCommand;
    type Event = Event;
    const HAS_WORK: bool = false;

    fn decide(
        state: &BaymodelState,
        command: BaymodelCommand,
        _ctx: &Ctx,
    ) -> Result<Vec<Event>, Refusal> {
        Ok(match (!state.status.is_gone(), command) {
            (false, BaymodelCommand::Create { fields }) => {
                vec![Event::Created(BaymodelCreatedV1 { fields })]
            }
            (true, BaymodelCommand::Create { .. }) => {
                return Err(Refusal::AlreadyExists { kind: "baymodel".to_owned(), id: state.id });
            }
            (false, _) => {
                return Err(Refusal::NotFound { kind: "Baymodel".to_owned(), id: state.id });
            }
            (true, BaymodelCommand::Update { changes }) if changes.is_empty() => vec![],
            (true, BaymodelCommand::Update { changes }) => {
                vec![Event::Updated(UpdatedV1 { changes })]
            }
            (true, BaymodelCommand::Delete { bays: 0 }) => {
                vec![Event::Deleted(BaymodelDeletedV1 {})]
            }
            (true, BaymodelCommand::Delete { .. }) => {
                return Err(Refusal::NotAllowed {
                    reason: format!("Baymodel {} is referenced by one or multiple bays.", state.id),
                });
            }
        })
    }

    fn evolve(state: &mut BaymodelState, event: &Event, fact: Fact<'_>) {
        state.status = state.status.after(event);
        if let Event::Created(_) = event {
            state.project = Some(ProjectId(fact.project.to_owned()));
            state.id = fact.object;
        }
    }

    fn react(_state: &BaymodelState) -> Vec<DueWork> {
        vec![]
    }

    fn awaits(_state: &BaymodelState, _id: WorkId) -> bool {
        false
    }

    fn project(state: &BaymodelState) -> Option<&ProjectId> {
        state.project.as_ref()
    }
}

//! A baymodel: its commands, and which are legal when.

use super::naming::Naming;
use super::record::Record;
use super::{Entity, Fact};
use crate::bus::{Ctx, Refusal};
use crate::events::baymodel::{
    BaymodelCreatedV1, BaymodelDeletedV1, BaymodelEvent as Event, BaymodelFields, Status,
};
use crate::events::work::UpdatedV1;
use crate::noun_commands;

noun_commands! {
    /// What can be asked of a baymodel.
    BaymodelCommand {
        /// Make it.
        Create {
            /// All of it.
            fields: BaymodelFields,
        },
        /// Remove it; refused while bays are made from it.
        Delete {
            /// How many bays are.
            bays: u64,
        },
    } internal {}
}

/// The baymodel noun.
pub struct Baymodel;

impl Entity for Baymodel {
    type State = Record<Status>;
    type Command = BaymodelCommand;
    type Event = Event;

    fn decide(state: &Self::State, command: Self::Command, _: &Ctx) -> Result<Vec<Event>, Refusal> {
        use BaymodelCommand::{Create, Delete, Update};
        Ok(match (!state.status.is_gone(), command) {
            (false, Create { fields }) => vec![Event::Created(BaymodelCreatedV1 { fields })],
            (true, Create { .. }) => return Err(Self::already_exists(state.id)),
            (false, _) => return Err(Self::not_found(state.id)),
            (true, Update { changes }) => {
                Vec::from_iter(UpdatedV1::of(changes).map(Event::Updated))
            }
            (true, Delete { bays: 0 }) => vec![Event::Deleted(BaymodelDeletedV1 {})],
            (true, Delete { .. }) => {
                let id = state.id;
                let reason = format!("Baymodel {id} is referenced by one or multiple bays.");
                return Err(Refusal::NotAllowed { reason });
            }
        })
    }

    fn evolve(state: &mut Self::State, event: &Event, fact: Fact<'_>) {
        state.apply(event, fact);
    }

    fn named(event: &Event) -> Option<Naming> {
        let Event::Created(created) = event else { return None };
        Some(Naming::begin(created.fields.name.as_ref(), None))
    }
}

//! Decisions, and who carries them out.
//!
//! Pure, one file a noun: commands, state, `decide`, `evolve`, `react` (`lifecycle`: the status and
//! work of those that have any; `record`: the state of those that have none). Running them:
//! `objects` (what all stand on), `aggregate` (the fold; `naming`: of names), `perform` (decide and
//! append), `entity` (the one generic actor), `directory` (finds it), `reactor` (log to work),
//! `sessions` (who does it), `reception` (what else is heard: `comparison` with the record,
//! `audit`). Not here: how events are kept (`events`) or shown (`projections`).

pub mod aggregate;
pub mod audit;
pub mod bay;
pub mod baymodel;
pub mod cascade;
pub mod comparison;
pub mod container;
mod container_run;
mod container_state;
pub mod container_work;
pub mod directory;
pub mod drift;
pub mod entity;
mod followed;
mod latest;
pub mod lifecycle;
pub mod naming;
pub mod node;
pub mod objects;
pub mod perform;
pub mod placement;
pub mod pod;
mod pod_state;
pub mod reactor;
pub mod reception;
pub mod record;
mod recreate;
mod sessions;
pub mod snapshot;
pub mod unrecorded;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use self::lifecycle::DueWork;
use self::naming::Naming;
use crate::bus::{Ctx, NounCommand, Refusal};
use crate::events::EventPayload;
use crate::ids::{EventId, Kind, Noun, ObjectId, ProjectId, Timestamp, WorkId};

/// What `evolve` may know of an event besides its payload.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// The event; the id of the work it asks for.
    pub id: EventId,
    /// The object.
    pub object: ObjectId,
    /// When it was decided.
    pub time: Timestamp,
    /// The tenant.
    pub project: &'a str,
    /// The request.
    pub request_id: &'a str,
}

/// Declares the commands of a noun: those in braces, those of the service itself, and the one that
/// sets fields. In JSON they are named `create`, `update`.
#[macro_export]
macro_rules! noun_commands {
    ($(#[$doc:meta])* $name:ident { $($own:tt)* } internal {
        $($(#[$variant_doc:meta])* $variant:ident $(($of:ty))? $({ $($fields:tt)* })?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($own)*
            /// Set fields, as named in the REST API.
            Update {
                /// In the order of the patch.
                changes: Vec<$crate::events::work::FieldChange>,
            },
            $($(#[$variant_doc])* $variant $(($of))? $({ $($fields)* })?,)*
        }

        impl $crate::bus::NounCommand for $name {
            fn is_internal(&self) -> bool {
                false $(|| matches!(self, Self::$variant { .. }))*
            }

            fn is_create(&self) -> bool {
                matches!(self, Self::Create { .. })
            }
        }
    };
}

/// What is asked of the state of any noun's object.
pub trait ObjectState {
    /// Whether there is ever work, so that the reactor has to follow the noun's objects.
    const HAS_WORK: bool = false;

    /// The tenant of an object that exists.
    fn project(&self) -> Option<&ProjectId>;

    /// The work of an object of this kind that is due: see [`Entity::react`].
    fn due(&self, _kind: Kind) -> Vec<DueWork> {
        vec![]
    }

    /// Whether work that an event asked for is still open, due or not.
    fn awaits(&self, _id: WorkId) -> bool {
        false
    }
}

/// A noun: pure functions over its state (rule E1). The shell that runs them is `entity`.
pub trait Entity: Noun + 'static {
    /// What its events fold to. Snapshots that were made with another schema are not used.
    type State: ObjectState
        + Clone
        + Default
        + Serialize
        + DeserializeOwned
        + ToSchema
        + Send
        + Unpin
        + 'static;
    /// What can be asked of it. Its JSON travels on the bus and is kept in the log.
    type Command: Clone + NounCommand;
    /// What can happen to it.
    type Event: EventPayload;

    /// What happens if the command is carried out in this state; no event where it changes
    /// nothing.
    ///
    /// # Errors
    /// Why the object says no.
    fn decide(
        state: &Self::State,
        command: Self::Command,
        ctx: &Ctx,
    ) -> Result<Vec<Self::Event>, Refusal>;

    /// The state after an event. Cannot fail, reads no clock.
    fn evolve(state: &mut Self::State, event: &Self::Event, fact: Fact<'_>);

    /// The work that is due in this state: after an event, and the same after a restart. Work
    /// that was started before is named again; whoever starts it knows it by id and attempt.
    fn react(state: &Self::State) -> Vec<DueWork> {
        state.due(Self::KIND)
    }

    /// What the object is called that an event begins; `None` if it begins none, or objects of the
    /// noun have no names.
    fn named(_event: &Self::Event) -> Option<Naming> {
        None
    }

    /// The refusal of a second object with the same id.
    fn already_exists(id: ObjectId) -> Refusal {
        Refusal::AlreadyExists { kind: Self::KIND.name().to_owned(), id }
    }

    /// The refusal of a name that another object holds.
    fn name_taken(name: String, holder: ObjectId) -> Refusal {
        Refusal::NameTaken { kind: Self::KIND.name().to_owned(), name, holder }
    }

    /// The refusal of a command to an object that is not there.
    fn not_found(id: ObjectId) -> Refusal {
        Refusal::NotFound { kind: Self::KIND.title().to_owned(), id }
    }
}

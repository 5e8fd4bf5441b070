//! Read models: what queries are answered from, fed by the log alone (rules P1 to P5).
//!
//! One file per noun says what its view holds, how an event changes it (`work`: what they share
//! about tasks and outcomes; `desired`: what is wanted beside what is) and, in a table, all that is
//! known of its fields (`field_table`, `held`). `each` is a value per noun.
//!
//! In memory: `table` holds the views of one noun as bytes, with the indexes that find them
//! (`field`, `index`); `tables` holds all of them with their checkpoint (`parallel`: work on many
//! views at once).
//!
//! Updating: `conductor` is the thread that follows the log, `update` applies a page of it, `fold`
//! changes views by events.
//!
//! On disk: `saver` is the thread that writes views to sled for the next start (`layout`: keys and
//! generations, `store`: the folder); `offline` reads them while no server runs.
//!
//! Answering: `read_models` for tenants, `service_reads` for the service itself (`query`: the
//! questions, `list`: pages of a list; `state`: what queries and the conductor share); `as_of`
//! folds one object or the whole system up to any position; `names` are what objects were called at
//! any position; `retained` says which events an archive
//! must leave.
//!
//! Not here: decisions. A view never causes an effect.

pub mod as_of;
pub mod bay;
pub mod baymodel;
pub mod census;
pub mod conductor;
pub mod container;
mod container_run;
mod desired;
pub mod each;
mod field;
pub mod field_table;
mod fold;
mod held;
mod index;
mod layout;
mod list;
pub mod names;
pub mod node;
pub mod offline;
pub mod parallel;
pub mod pod;
pub mod query;
pub mod read_models;
pub mod retained;
mod saver;
pub mod service_reads;
mod state;
pub mod store;
mod table;
mod tables;
#[cfg(test)]
mod testing;
mod update;
mod work;

use field_table::{FieldDef, filter_names, filters};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::each::InEach;
use self::work::WorkOf;
pub use self::work::with_bytes;
use crate::events::work::UpdatedV1;
use crate::events::{DecodeError, EventPayload, EventRef, Mark};
use crate::ids::{Noun, ObjectId, Position, ProjectId, Revision, Timestamp, WorkId};

/// What every view has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewHead {
    /// The object.
    pub uuid: ObjectId,
    /// Its tenant.
    pub project: ProjectId,
    /// Position of its first event: the order of creation.
    pub created_position: Position,
    /// Position of the last event in this view.
    pub position: Position,
    /// Revision of the last event in this view: the `ETag`.
    pub revision: Revision,
    /// Time of its first event.
    pub created_at: Timestamp,
    /// Time of its last change by a user or a backend; `None` until the first.
    pub updated_at: Option<Timestamp>,
}

impl ViewHead {
    /// The head after the first event of an object.
    fn first(event: &EventRef<'_>) -> Self {
        Self {
            uuid: event.stream.id,
            project: ProjectId(event.project.to_owned()),
            created_position: event.position,
            position: event.position,
            revision: event.revision,
            created_at: event.time,
            updated_at: None,
        }
    }

    /// Moves on to an event of the object.
    fn note(&mut self, event: &EventRef<'_>, mark: Mark) {
        let is_first = self.position == event.position;
        if is_first || mark.is_progress() { self.advance(event) } else { self.change(event) }
    }

    /// Advances to an event that reports progress of work, which does not change the object.
    fn advance(&mut self, event: &EventRef<'_>) {
        self.position = event.position;
        self.revision = event.revision;
    }

    /// Advances to an event that changed the object.
    fn change(&mut self, event: &EventRef<'_>) {
        self.advance(event);
        self.updated_at = Some(event.time);
    }
}

/// Work that an object waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// The event that asked for it.
    pub id: WorkId,
    /// `start`.
    pub action: String,
    /// Since when.
    pub requested_at: Timestamp,
    /// How many attempts ended so far.
    pub attempts: u32,
    /// What it is blocked on, if it is.
    pub blocked_on: Option<String>,
    /// The backend's message.
    pub reason: Option<String>,
    /// Since when it is blocked.
    pub blocked_since: Option<Timestamp>,
    /// When it is tried next at the latest.
    pub retry_at: Option<Timestamp>,
    /// How far it is: `pulling busybox:1 (12 of 40 MB)`.
    pub progress: Option<String>,
}

/// The outcome of work that a caller may wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeView {
    /// The work.
    pub work_id: WorkId,
    /// `start`.
    pub action: String,
    /// Why it failed or is unknown; `None` if it is done.
    pub failure: Option<String>,
    /// The exit code of an executed command.
    pub exit_code: Option<i64>,
    /// The position of the event that says so.
    pub position: Position,
}

/// Outcomes a view keeps for callers that wait: more than an object's queue holds.
pub const OUTCOMES: usize = 24;

/// What a view has by its row in the table of nouns.
pub trait OfNoun: Noun + Sized {
    /// What can happen to the noun's objects.
    type Event: EventPayload;
    /// Fields that lists sort and filter by, besides `id` (the order of creation).
    const FIELDS: &'static [&'static str];
    /// Those of [`OfNoun::FIELDS`] that hold whole numbers and sort as such.
    const NUMBERS: &'static [&'static str];

    /// What every view has.
    fn head(&self) -> &ViewHead;
    /// The same, to be changed.
    fn head_mut(&mut self) -> &mut ViewHead;
}

/// Implements [`OfNoun`] by the table of nouns.
macro_rules! of_noun {
    ([] $($(#[$doc:meta])* $byte:literal $module:ident $Noun:ident $collection:literal
        $Event:ty, $Entity:ty, $View:ty;)*) => {
        $(impl OfNoun for $View {
            type Event = $Event;
            const FIELDS: &'static [&'static str] =
                &filter_names::<Self, { filters(<$View>::TABLE, false) }>(Self::TABLE, false);
            const NUMBERS: &'static [&'static str] =
                &filter_names::<Self, { filters(<$View>::TABLE, true) }>(Self::TABLE, true);

            fn head(&self) -> &ViewHead {
                &self.head
            }

            fn head_mut(&mut self) -> &mut ViewHead {
                &mut self.head
            }
        })*
    };
}
crate::for_each_noun!(of_noun []);

/// One noun's read model: a pure fold of an object's events, and the fields of its lists.
pub trait View:
    OfNoun + InEach + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// All that is known of its fields, in the order in which they are shown.
    const TABLE: &'static [FieldDef<Self>];

    /// The view of a new object, but for its head, if the event is the first of one.
    fn first(payload: &Self::Event) -> Option<Self>;

    /// Takes in what an event means for fields that are the noun's own. Work and fields that the
    /// event sets have been taken in.
    fn change(&mut self, _payload: &Self::Event, _event: &EventRef<'_>) {}

    /// Its tasks and outcomes, to be changed; `None` for a noun without work.
    fn work(&mut self) -> Option<(&mut Vec<TaskView>, &mut Vec<OutcomeView>)> {
        None
    }
    /// Work that the object waits for, the running one first.
    fn tasks(&self) -> &[TaskView] {
        &[]
    }
    /// The latest outcomes, oldest first, at most [`OUTCOMES`].
    fn outcomes(&self) -> &[OutcomeView] {
        &[]
    }
    /// Whether the object is being deleted.
    fn is_deleting(&self) -> bool {
        false
    }
    /// The bay that the object is a member of.
    fn bay(&self) -> Option<ObjectId> {
        None
    }

    /// What a field is wanted to be, where that differs from what it is.
    fn wanted(&self, _field: &str) -> Option<Value> {
        None
    }
    /// A field as text; `None` if it is not set.
    fn field(&self, name: &str) -> Option<String> {
        let field = Self::TABLE.iter().find(|field| field.name == name)?;
        (field.get)(self).text()
    }
    /// Sets fields as an update says; those that the table does not set stay.
    fn set_fields(&mut self, updated: &UpdatedV1) {
        for change in &updated.changes {
            let field = Self::TABLE.iter().find(|field| field.name == change.field);
            if let Some(set) = field.and_then(|field| field.set) {
                set(self, &change.value);
            }
        }
    }
    /// Applies an event; the view becomes `None` once the object is gone.
    ///
    /// # Errors
    /// When the event cannot be read: its stream is parked (rule P3).
    fn apply(view: &mut Option<Self>, event: &EventRef<'_>) -> Result<(), DecodeError> {
        let payload: Self::Event = event.decode()?;
        if payload.is_end() {
            *view = None;
            return Ok(());
        }
        if let Some(mut new) = Self::first(&payload) {
            *new.head_mut() = ViewHead::first(event);
            *view = Some(new);
        }
        let Some(view) = view else { return Ok(()) };
        if let Some((tasks, outcomes)) = view.work() {
            WorkOf { tasks, outcomes, event }.follow(&payload);
        }
        if let Some(updated) = payload.updated() {
            view.set_fields(updated);
        }
        view.change(&payload, event);
        view.head_mut().note(event, payload.mark());
        Ok(())
    }
}

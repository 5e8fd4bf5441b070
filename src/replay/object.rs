//! One object in memory, of any noun: its state, its view, and what it would decide. The same
//! functions as in the service, without anything that acts on them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::ReplayError;
use crate::actors::Entity;
use crate::actors::aggregate::Aggregate;
use crate::actors::lifecycle;
use crate::actors::snapshot::{SnapshotPoint, Snapshots};
use crate::bus::{Ctx, Refusal};
use crate::events::cloudevent::redacted;
use crate::events::{EventPayload, Recorded};
use crate::ids::{StreamId, StreamKind, Timestamp, WorkId};
use crate::projections::{OutcomeView, TaskView, View, ViewHead};
use crate::with_noun;

/// An event that a decision would make.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// Its type.
    pub event_type: &'static str,
    /// The version of its payload.
    pub version: u16,
    /// The payload in bincode.
    pub payload: Bytes,
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The object says no.
    #[error("{0}")]
    Refused(Refusal),
    /// This build knows no such command.
    #[error("this build does not understand the command: {0}")]
    Unreadable(String),
}

/// One object, folded up to some event.
pub trait Object: Send {
    /// Takes in its next event.
    ///
    /// # Errors
    /// When this build cannot read the event.
    fn take(&mut self, event: &Recorded) -> Result<(), ReplayError>;
    /// Leaves its next event out, as if it had not happened.
    fn skip(&mut self, event: &Recorded);
    /// What its events fold to, as the actor has it; no values of environment variables.
    fn state(&self) -> Value;
    /// What is shown of it; `None` if it is not there.
    fn view(&self) -> Option<Value>;
    /// What every view has; `None` if it is not there.
    fn head(&self) -> Option<&ViewHead>;
    /// A field of its lists as text; `None` if it is not set or the object is not there.
    fn field(&self, name: &str) -> Option<String>;
    /// Work that it waits for.
    fn tasks(&self) -> &[TaskView];
    /// The outcome of work lately.
    fn outcomes(&self) -> &[OutcomeView];
    /// What would happen if a command were carried out now. Nothing changes.
    ///
    /// # Errors
    /// Why nothing would.
    fn decide(&self, command: &str, ctx: &Ctx) -> Result<Vec<Decided>, Undecided>;
    /// The state that is kept of an object as a snapshot, and the event that it was folded to;
    /// `None` if none is kept that this build would use.
    fn kept(&self, stream: StreamId, snapshots: &Snapshots) -> Option<(Value, SnapshotPoint)>;
    /// The work that is due, as documents; there is nobody here to do it.
    fn due(&self) -> Vec<Value>;
    /// When an attempt at work that is due is given up, if it began as soon as it was due; `None`
    /// if it may take forever, or waits behind other work.
    fn deadline(&self, work: WorkId) -> Option<Timestamp>;
    /// A copy that goes another way.
    fn fork(&self) -> Box<dyn Object>;
}

/// An object before its first event.
pub fn new(stream: StreamId) -> Box<dyn Object> {
    match stream.kind {
        StreamKind::Object(kind) => {
            with_noun!(kind, entity E, view V => Folded::<E, V>::boxed(stream))
        }
        StreamKind::Audit => Box::new(Audited),
    }
}

struct Folded<E: Entity, V> {
    actor: Aggregate<E>,
    view: Option<V>,
}

impl<E: Entity, V: View> Folded<E, V> {
    fn boxed(stream: StreamId) -> Box<dyn Object> {
        Box::new(Self { actor: Aggregate::new(stream), view: None })
    }
}

impl<E: Entity, V: View> Object for Folded<E, V> {
    fn take(&mut self, event: &Recorded) -> Result<(), ReplayError> {
        self.actor.take(&event.borrowed())?;
        V::apply(&mut self.view, &event.borrowed())?;
        Ok(())
    }

    fn skip(&mut self, event: &Recorded) {
        self.actor.skip(&event.borrowed());
    }

    fn state(&self) -> Value {
        state_document(&self.actor.state)
    }

    fn view(&self) -> Option<Value> {
        // Views hold the names of environment variables and no values.
        self.view.as_ref().map(json)
    }

    fn head(&self) -> Option<&ViewHead> {
        self.view.as_ref().map(V::head)
    }

    fn field(&self, name: &str) -> Option<String> {
        self.view.as_ref()?.field(name)
    }

    fn tasks(&self) -> &[TaskView] {
        self.view.as_ref().map_or(&[], View::tasks)
    }

    fn outcomes(&self) -> &[OutcomeView] {
        self.view.as_ref().map_or(&[], View::outcomes)
    }

    fn decide(&self, command: &str, ctx: &Ctx) -> Result<Vec<Decided>, Undecided> {
        let command: E::Command = serde_json::from_str(command)
            .map_err(|error| Undecided::Unreadable(error.to_string()))?;
        let events = E::decide(&self.actor.state, command, ctx).map_err(Undecided::Refused)?;
        let decided = events.iter().map(|event| Decided {
            event_type: event.event_type(),
            version: event.version(),
            payload: event.encode().into(),
        });
        Ok(decided.collect())
    }

    fn kept(&self, stream: StreamId, snapshots: &Snapshots) -> Option<(Value, SnapshotPoint)> {
        let (state, _, place) = snapshots.load::<E>(stream)?;
        Some((state_document(&state), place))
    }

    fn due(&self) -> Vec<Value> {
        E::react(&self.actor.state).iter().map(|work| redacted(json(work))).collect()
    }

    fn deadline(&self, work: WorkId) -> Option<Timestamp> {
        let due = E::react(&self.actor.state);
        due.iter().find(|due| due.id == work).and_then(lifecycle::deadline)
    }

    fn fork(&self) -> Box<dyn Object> {
        Box::new(Self { actor: self.actor.clone(), view: self.view.clone() })
    }
}

/// An audit stream: it tells of other objects, and is none.
struct Audited;

impl Object for Audited {
    fn take(&mut self, _: &Recorded) -> Result<(), ReplayError> {
        Ok(())
    }

    fn skip(&mut self, _: &Recorded) {}

    fn state(&self) -> Value {
        Value::Null
    }

    fn view(&self) -> Option<Value> {
        None
    }

    fn head(&self) -> Option<&ViewHead> {
        None
    }

    fn field(&self, _: &str) -> Option<String> {
        None
    }

    fn tasks(&self) -> &[TaskView] {
        &[]
    }

    fn outcomes(&self) -> &[OutcomeView] {
        &[]
    }

    fn decide(&self, _: &str, _: &Ctx) -> Result<Vec<Decided>, Undecided> {
        Err(Undecided::Unreadable("an audit stream accepts no commands".to_owned()))
    }

    fn kept(&self, _: StreamId, _: &Snapshots) -> Option<(Value, SnapshotPoint)> {
        None
    }

    fn due(&self) -> Vec<Value> {
        Vec::new()
    }

    fn deadline(&self, _: WorkId) -> Option<Timestamp> {
        None
    }

    fn fork(&self) -> Box<dyn Object> {
        Box::new(Self)
    }
}

/// An actor's state as a document without values of environment variables. What nouns with work
/// share stands beside what is their own: `state.status`, `state.tasks`.
fn state_document(state: &impl Serialize) -> Value {
    let mut document = redacted(json(state));
    if let Some(fields) = document.as_object_mut()
        && let Some(Value::Object(lifecycle)) = fields.remove("lifecycle")
    {
        fields.extend(lifecycle);
    }
    document
}

/// Plain data as JSON; it fails for nothing that states and views are made of.
pub(super) fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

//! For unit tests: one object's events, told one after another, and the view after each.

use super::View;
use crate::events::work::{FieldChange, UpdatedV1, WorkBlockedV1, WorkFailedV2, WorkUnknownV2};
use crate::events::{EventPayload, EventType, Meta, NewEvent, Recorded};
use crate::ids::{EventId, ObjectId, Position, Revision, StreamId, Timestamp};

/// An object to which things happen, a second apart.
pub(super) struct Story<V> {
    pub view: Option<V>,
    told: u64,
}

impl<V: View> Story<V> {
    pub fn new() -> Self {
        Self { view: None, told: 0 }
    }

    /// Something happens; the id of the event.
    pub fn tell<E: EventPayload>(&mut self, payload: &E) -> EventId {
        self.told += 1;
        let id = EventId(uuid::Uuid::from_u128(u128::from(self.told)));
        let event = NewEvent::new(id, self.now(), Meta::default(), payload);
        let event = self.recorded(event);
        V::apply(&mut self.view, &event.borrowed()).unwrap();
        id
    }

    /// Something happens that nobody understands.
    pub fn garble(&mut self) -> String {
        let meta = Meta::default();
        let event_type = EventType::named("from.the.future");
        let id = EventId::default();
        let (time, payload) = (self.now(), bytes::Bytes::new());
        let event = NewEvent { id, time, event_type, version: 1, meta, payload };
        let event = self.recorded(event);
        V::apply(&mut self.view, &event.borrowed()).err().unwrap().to_string()
    }

    fn recorded(&self, event: NewEvent) -> Recorded {
        Recorded {
            position: Position(self.told * 10),
            stream: StreamId::new(V::KIND, ObjectId::default()),
            revision: Revision(self.told - 1),
            id: event.id,
            time: event.time,
            event_type: event.event_type,
            version: event.version,
            meta: event.meta,
            payload: event.payload,
            hash: [0; 32],
        }
    }

    /// The time of the last event.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.told as i64 * 1_000_000)
    }

    pub fn now_view(&self) -> &V {
        self.view.as_ref().unwrap()
    }

    /// Actions that are waited for.
    pub fn waits_for(&self) -> Vec<&str> {
        self.now_view().tasks().iter().map(|task| task.action.as_str()).collect()
    }
}

pub(super) fn updated(field: &str, value: &str) -> UpdatedV1 {
    UpdatedV1 { changes: vec![FieldChange { field: field.to_owned(), value: value.to_owned() }] }
}

pub(super) fn blocked(work_id: EventId, attempt: u32) -> WorkBlockedV1 {
    let (blocked_on, reason) = ("node n1".to_owned(), "no answer".to_owned());
    WorkBlockedV1 { work_id, attempt, blocked_on, reason, retry_at: Timestamp(99) }
}

pub(super) fn failed(work_id: EventId, action: &str) -> WorkFailedV2 {
    let (action, reason) = (action.to_owned(), "no such image".to_owned());
    WorkFailedV2 { work_id, action, reason, cancelled: vec![] }
}

pub(super) fn unknown(work_id: EventId, action: &str) -> WorkUnknownV2 {
    let (action, reason) = (action.to_owned(), "answer lost".to_owned());
    WorkUnknownV2 { work_id, action, reason, cancelled: vec![] }
}

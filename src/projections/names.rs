//! What objects were called when something happened: the names that go with events.
//!
//! An object's stream is folded once, in order, and each name that it had is kept with the position
//! from which on it had it. Who follows the log makes this fold go on event by event, so that an
//! event costs one step. A name is never told across projects (rule T2), and one that cannot be
//! found is left out: an event is shown without rather than not at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::View;
use super::as_of::applied;
use crate::events::audit::AuditEvent;
use crate::events::cloudevent::EventNames;
use crate::events::log::EventLog;
use crate::events::{EventRef, Recorded};
use crate::ids::{Kind, ObjectId, Position, Revision, StreamId, StreamKind};
use crate::with_noun;

/// Objects that are remembered: some 2 KB each with the view that is folded.
const MAX_OBJECTS: usize = 8192;

/// Events that are folded in one go.
const PAGE: usize = 1024;

/// What is known of the objects of a log.
pub struct Names {
    log: Arc<dyn EventLog>,
    objects: Mutex<HashMap<StreamId, Arc<Mutex<Object>>>>,
}

/// What an object is called, and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Called {
    name: Option<String>,
    image: Option<String>,
    bay: Option<ObjectId>,
}

/// One object, folded as far as somebody asked.
struct Object {
    view: Box<dyn Nameable>,
    next: Revision,
    /// Its project, once its first event was taken.
    project: String,
    /// From which position on it was called what.
    called: Vec<(Position, Called)>,
    /// Whether an event could not be applied: the last name stays.
    is_parked: bool,
}

/// A view of any noun.
trait Nameable: Send {
    /// Applies the next event; false where that is not possible.
    fn apply(&mut self, event: &EventRef<'_>) -> bool;
    /// What it is called now; `None` once it is gone.
    fn called(&self) -> Option<Called>;
}

impl<V: View> Nameable for Option<V> {
    fn apply(&mut self, event: &EventRef<'_>) -> bool {
        applied(self, event).is_ok()
    }

    fn called(&self) -> Option<Called> {
        let view = self.as_ref()?;
        let name = view.field("name").or_else(|| view.field("host"));
        let image = view.field("image_id").filter(|_| V::KIND == Kind::Container);
        Some(Called { name, image, bay: view.bay() })
    }
}

impl Names {
    /// Of the objects of a log.
    pub fn new(log: Arc<dyn EventLog>) -> Self {
        Self { log, objects: Mutex::default() }
    }

    /// The names that go with an event, as of its position.
    pub fn of(&self, event: &Recorded) -> EventNames {
        let Some(stream) = about(event) else { return EventNames::default() };
        let Some(called) = self.called(stream, event) else { return EventNames::default() };
        let bay = called.bay.map(|bay| StreamId::new(Kind::Bay, bay));
        let bay = bay.and_then(|bay| self.called(bay, event)?.name);
        EventNames { object: called.name, bay, image: called.image }
    }

    /// What an object of the event's project was called when the event happened.
    fn called(&self, stream: StreamId, event: &Recorded) -> Option<Called> {
        let object = self.object(stream)?;
        let mut object = locked(&object);
        object.reach(self.log.as_ref(), stream, event);
        let is_shown = object.project == event.meta.project.0;
        let until = object.called.partition_point(|(from, _)| *from <= event.position);
        let called = until.checked_sub(1).and_then(|last| object.called.get(last));
        called.filter(|_| is_shown).map(|(_, called)| called.clone())
    }

    fn object(&self, stream: StreamId) -> Option<Arc<Mutex<Object>>> {
        let kind = stream.kind.noun()?;
        let mut objects = locked(&self.objects);
        if objects.len() >= MAX_OBJECTS && !objects.contains_key(&stream) {
            objects.clear();
        }
        let object = objects.entry(stream).or_insert_with(|| {
            let view: Box<dyn Nameable> = with_noun!(kind, view V => Box::new(None::<V>));
            Arc::new(Mutex::new(Object {
                view,
                next: Revision(0),
                project: String::new(),
                called: Vec::new(),
                is_parked: false,
            }))
        });
        Some(Arc::clone(object))
    }
}

impl Object {
    /// Folds up to an event, its own or another one's.
    fn reach(&mut self, log: &dyn EventLog, stream: StreamId, event: &Recorded) {
        if event.stream == stream {
            if event.revision == self.next {
                self.take(&event.borrowed());
            }
            if event.revision < self.next {
                return;
            }
        }
        let last = log.stream_head(stream).ok().flatten();
        while last.is_some_and(|last| last >= self.next) && !self.is_parked {
            let next = self.next;
            // What cannot be read is shown without a name; whoever needs it says why.
            let read = log.scan_stream(stream, next, PAGE, &mut |event| {
                self.take(event);
                Ok(())
            });
            if read.is_err() || self.next == next {
                return;
            }
        }
    }

    fn take(&mut self, event: &EventRef<'_>) {
        if self.is_parked || event.revision != self.next {
            return;
        }
        if self.next == Revision(0) {
            event.project.clone_into(&mut self.project);
        }
        self.next = self.next.next();
        self.is_parked = !self.view.apply(event);
        let called = if self.is_parked { None } else { self.view.called() };
        if let Some(called) = called
            && self.called.last().is_none_or(|(_, last)| *last != called)
        {
            self.called.push((event.position, called));
        }
    }
}

/// The object that an event is about, where it is about one: its own, or the one that was audited.
fn about(event: &Recorded) -> Option<StreamId> {
    if event.stream.kind != StreamKind::Audit {
        return Some(event.stream);
    }
    let audit = event.decode::<AuditEvent>().ok()?;
    let (noun, id) = audit.object()?.split_once('/')?;
    Some(StreamId::new(Kind::named(noun)?, id.parse().ok()?))
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::events::audit::ReadV1;
    use crate::events::log::memory::MemoryLog;
    use crate::events::log::{Append, Expected};
    use crate::events::{EventPayload, Meta, NewEvent};
    use crate::ids::ProjectId;
    use crate::nouns::toy::{ToyDeletedV1, ToyEvent, ToyNamedV1};

    async fn append(log: &MemoryLog, stream: StreamId, project: &str, event: &impl EventPayload) {
        let head = log.stream_head(stream).unwrap();
        let meta = Meta { project: ProjectId(project.to_owned()), ..Meta::default() };
        let append = Append {
            stream,
            expected: head.map_or(Expected::NoStream, Expected::Exact),
            command: None,
            events: vec![NewEvent::new(clock::new_event_id(), clock::now(), meta, event)],
        };
        log.append(append).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_is_that_of_the_events_position_and_of_its_project() {
        let log = MemoryLog::new();
        let toy = StreamId::new(Kind::Toy, clock::new_object_id());
        let audit = StreamId { kind: StreamKind::Audit, id: clock::new_object_id() };
        let other = StreamId { kind: StreamKind::Audit, id: clock::new_object_id() };
        let named = |name: &str| ToyEvent::Named(ToyNamedV1 { name: name.to_owned() });
        let read = ReadV1 { object: toy.to_string(), what: "logs".to_owned() };
        let read = AuditEvent::Read(read);
        append(&log, toy, "p", &named("ann")).await;
        append(&log, audit, "p", &read).await;
        append(&log, toy, "p", &named("bob")).await;
        append(&log, audit, "p", &read).await;
        append(&log, other, "q", &read).await;
        append(&log, toy, "p", &ToyEvent::Deleted(ToyDeletedV1 {})).await;
        append(&log, audit, "p", &read).await;
        let events = log.read(Position(0), 100).unwrap();
        let wanted = ["ann", "ann", "bob", "bob", "", "bob", "bob"];
        let log: Arc<dyn EventLog> = Arc::new(log);
        let names = |of: &Names, events: &[Recorded]| -> Vec<String> {
            events.iter().map(|event| of.of(event).object.unwrap_or_default()).collect()
        };
        let of = Names::new(Arc::clone(&log));
        assert_eq!(names(&of, &events), wanted);
        assert_eq!(names(&of, &events), wanted, "once all is known");
        // Whoever starts at the end finds the same.
        let of = Names::new(log);
        let mut backwards: Vec<_> = events.iter().rev().map(|event| of.of(event)).collect();
        backwards.reverse();
        let backwards: Vec<_> =
            backwards.into_iter().map(|it| it.object.unwrap_or_default()).collect();
        assert_eq!(backwards, wanted);
    }
}

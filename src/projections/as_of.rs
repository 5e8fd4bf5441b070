//! Views as of any position: the same fold as the read models, straight from the log.
//!
//! Either one object, including a deleted one, in bounded memory: its stream is folded page by
//! page. Or all objects at once, in as much memory as their views take.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::each::{Each, PerNoun};
use super::query::Parked;
use super::{View, store};
use crate::events::log::{EventLog, ReadError};
use crate::events::{DecodeError, EventRef};
use crate::ids::{ObjectId, Position, ProjectId, Revision, StreamId, StreamKind};
use crate::with_noun;

/// Events in memory at once: a payload is typically 1 KB, and 4 MiB at most.
const PAGE: usize = 256;

/// Why a view as of a position could not be computed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AsOfError {
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An event could not be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The view of an object of a project as it was right after the event at a position; `None` if
/// the project had no such object then.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn view<V: View>(
    log: &dyn EventLog,
    project: &ProjectId,
    id: ObjectId,
    at: Position,
) -> Result<Option<V>, AsOfError> {
    Ok(any_view(log, id, at)?.filter(|view: &V| view.head().project == *project))
}

/// As [`view`], whatever the object's project: for the service itself, never for a request.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn any_view<V: View>(
    log: &dyn EventLog,
    id: ObjectId,
    at: Position,
) -> Result<Option<V>, AsOfError> {
    let mut view = None;
    each(log, StreamId::new(V::KIND, id), at, |event| V::apply(&mut view, event))?;
    Ok(view)
}

/// The last view of a project's object up to a position, even if the object has been deleted since.
///
/// # Errors
/// When the log or an event cannot be read.
pub fn last_view<V: View>(
    log: &dyn EventLog,
    project: &ProjectId,
    id: ObjectId,
    at: Position,
) -> Result<Option<V>, AsOfError> {
    let (mut view, mut last): (Option<V>, Option<V>) = (None, None);
    each(log, StreamId::new(V::KIND, id), at, |event| {
        last = view.clone().or(last.take());
        V::apply(&mut view, event)
    })?;
    Ok(view.or(last).filter(|view| view.head().project == *project))
}

/// The views of a noun by object.
pub struct Views;

impl PerNoun for Views {
    type Of<V: View> = HashMap<ObjectId, V>;
}

/// All objects as of a position: their views, about 1 KB each.
#[derive(Default)]
pub struct SystemState {
    /// Position of the last applied event.
    pub position: Position,
    /// The views of each noun.
    pub views: Each<Views>,
    /// Streams with an event that cannot be applied: their views stay as before it (rule P3).
    pub parked: BTreeMap<StreamId, Parked>,
}

impl SystemState {
    /// Everything as it was right after the event at a position, or at the log's end before that.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn as_of(log: &dyn EventLog, at: Position) -> Result<Self, ReadError> {
        let mut system = Self::default();
        let most = usize::try_from(at.get()).unwrap_or(usize::MAX);
        log.scan(Position(0), most, &mut |event| {
            // Some logs have gaps, and fewer events up to there.
            if event.position <= at { system.apply(log, event) } else { Ok(()) }
        })?;
        Ok(system)
    }

    /// Applies the next event. The log is read again only if the event cannot be applied.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn apply(&mut self, log: &dyn EventLog, event: &EventRef<'_>) -> Result<(), ReadError> {
        self.position = event.position;
        let stream = event.stream;
        if self.parked.contains_key(&stream) {
            return Ok(());
        }
        let applied = match stream.kind {
            StreamKind::Object(kind) => with_noun!(kind, view V => {
                step::<V>(self.views.of_mut::<V>(), log, event)
            })?,
            StreamKind::Audit => Ok(()),
        };
        if let Err(reason) = applied {
            let position = event.position;
            self.parked.insert(stream, Parked { stream, position, reason });
        }
        Ok(())
    }
}

/// Applies an event to its object's view; the inner error says why that is not possible.
fn step<V: View>(
    views: &mut HashMap<ObjectId, V>,
    log: &dyn EventLog,
    event: &EventRef<'_>,
) -> Result<Result<(), String>, ReadError> {
    let id = event.stream.id;
    let mut view = views.remove(&id);
    let applied = applied(&mut view, event);
    if applied.is_err() {
        view = before(log, event)?;
    }
    views.extend(view.map(|view| (id, view)));
    Ok(applied)
}

/// Applies an event, or says why that is not possible; the view is unusable then. A panic in a
/// fold is treated like a payload that cannot be decoded.
pub(super) fn applied<V: View>(view: &mut Option<V>, event: &EventRef<'_>) -> Result<(), String> {
    match catch_unwind(AssertUnwindSafe(|| V::apply(view, event))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(format!("applying it panicked: {}", store::words(&*panic))),
    }
}

/// The view before an event that could not be applied.
pub(super) fn before<V: View>(
    log: &dyn EventLog,
    event: &EventRef<'_>,
) -> Result<Option<V>, ReadError> {
    let at = event.position.before();
    match any_view(log, event.stream.id, at) {
        Ok(view) => Ok(view),
        Err(AsOfError::Decode(_)) => Ok(None),
        Err(AsOfError::Read(error)) => Err(error),
    }
}

fn each(
    log: &dyn EventLog,
    stream: StreamId,
    at: Position,
    mut apply: impl FnMut(&EventRef<'_>) -> Result<(), DecodeError>,
) -> Result<(), AsOfError> {
    let mut from = Revision(0);
    loop {
        let page = log.read_stream(stream, from, PAGE)?;
        for event in &page {
            if event.position > at {
                return Ok(());
            }
            apply(&event.borrowed())?;
        }
        match page.last() {
            Some(last) => from = last.revision.next(),
            None => return Ok(()),
        }
    }
}

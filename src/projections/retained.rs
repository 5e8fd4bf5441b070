//! Which events an archive up to a position must leave in the log: all events of every object that
//! exists then or was made again since, so that it folds as before and keeps its whole history.

use std::collections::{HashMap, HashSet};

use super::View;
use super::as_of::SystemState;
use crate::each_noun;
use crate::events::log::{EventLog, ReadError};
use crate::ids::{ObjectId, Position, StreamId, StreamKind};

/// What must be retained of the events up to a position.
#[derive(Clone, Debug, Default)]
pub struct Retained {
    /// Streams that are retained as a whole.
    objects: HashSet<StreamId>,
    /// Streams that change no object, with their last event, which the next revision continues.
    last: HashMap<StreamId, Position>,
}

impl Retained {
    /// Folds a log up to a position.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(log: &dyn EventLog, at: Position) -> Result<Self, ReadError> {
        let (mut retained, mut system) = (Self::default(), SystemState::default());
        let most = usize::try_from(at.get()).unwrap_or(usize::MAX);
        log.scan(Position(0), most, &mut |event| {
            if event.position > at {
                return Ok(());
            }
            // The id of the log's first event identifies the installation.
            if system.position == Position(0) {
                retained.objects.insert(event.stream);
            }
            if event.stream.kind == StreamKind::Audit {
                retained.last.insert(event.stream, event.position);
            }
            system.apply(log, event)
        })?;
        // An object that was deleted and made again since goes on with the revisions of before.
        log.scan(at, usize::MAX, &mut |event| {
            if event.stream.kind != StreamKind::Audit {
                retained.objects.insert(event.stream);
            }
            Ok(())
        })?;
        // A stream that cannot be read may belong to an object that exists.
        retained.objects.extend(system.parked.into_keys());
        each_noun!(view V => retained.add::<V>(system.views.of::<V>()));
        Ok(retained)
    }

    fn add<V: View>(&mut self, views: &HashMap<ObjectId, V>) {
        self.objects.extend(views.keys().map(|id| StreamId::new(V::KIND, *id)));
    }

    /// Whether an event up to that position must be retained.
    pub fn needs(&self, stream: StreamId, position: Position) -> bool {
        self.objects.contains(&stream) || self.last.get(&stream) == Some(&position)
    }
}

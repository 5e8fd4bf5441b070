//! An object whose work is followed, whatever its noun.

use super::aggregate::Aggregate;
use super::lifecycle::DueWork;
use super::objects::Objects;
use super::{Entity, ObjectState as _};
use crate::events::Recorded;
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Revision, StreamId};
use crate::with_noun;

/// One object with its work.
pub trait FollowedObject: Send {
    /// Folds an event; what it is behind of is read.
    fn follow(&mut self, event: &Recorded, log: &dyn EventLog) -> Result<(), ReadError>;
    /// Its last event that is folded.
    fn revision(&self) -> Option<Revision>;
    /// The work that is due.
    fn due(&self) -> Vec<DueWork>;
}

impl<E: Entity> FollowedObject for Aggregate<E> {
    fn follow(&mut self, event: &Recorded, log: &dyn EventLog) -> Result<(), ReadError> {
        Self::follow(self, event, log)
    }

    fn revision(&self) -> Option<Revision> {
        Self::revision(self)
    }

    fn due(&self) -> Vec<DueWork> {
        E::react(&self.state)
    }
}

/// An object as its events say, up to `event` or later; `None` if its noun never has work.
pub async fn folded(
    objects: &Objects,
    stream: StreamId,
    event: Option<&Recorded>,
) -> Result<Option<Box<dyn FollowedObject>>, ReadError> {
    async fn folded_as<E: Entity>(
        objects: &Objects,
        stream: StreamId,
        event: Option<&Recorded>,
    ) -> Result<Option<Box<dyn FollowedObject>>, ReadError> {
        if !E::State::HAS_WORK {
            return Ok(None);
        }
        let fold = match event.filter(|event| event.revision == Revision(0)) {
            Some(first) => {
                let mut fold = Aggregate::<E>::new(stream);
                fold.take(&first.borrowed())?;
                fold
            }
            None => objects.load::<E>(stream).await?,
        };
        Ok(Some(Box::new(fold)))
    }
    let Some(kind) = stream.kind.noun() else { return Ok(None) };
    with_noun!(kind, entity E => folded_as::<E>(objects, stream, event).await)
}

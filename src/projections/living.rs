//! Which events are still needed when those up to a position are archived: all of each object that
//! is there then, so that it is folded as before and has its whole history.

use std::collections::{HashMap, HashSet};

use super::View;
use super::bay::BayView;
use super::baymodel::BaymodelView;
use super::container::ContainerView;
use super::node::NodeView;
use super::past::World;
use crate::events::log::{EventLog, ReadError};
use crate::ids::{Kind, ObjectId, Position, StreamId};

/// What is needed of the events up to a position.
#[derive(Clone, Debug, Default)]
pub struct Living {
    /// Objects of which everything is.
    objects: HashSet<StreamId>,
    /// Streams that change no object, with their last event: the next one counts on from it.
    last: HashMap<StreamId, Position>,
}

impl Living {
    /// Of a log, up to a position.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(log: &dyn EventLog, at: Position) -> Result<Self, ReadError> {
        let (mut living, mut world) = (Self::default(), World::default());
        let most = usize::try_from(at.get()).unwrap_or(usize::MAX);
        log.scan(Position(0), most, &mut |event| {
            if event.position > at {
                return Ok(());
            }
            // By the id of the log's first event an installation is told from every other one.
            if world.position == Position(0) {
                living.objects.insert(event.stream);
            }
            if event.stream.kind == Kind::Audit {
                living.last.insert(event.stream, event.position);
            }
            world.apply(log, event)
        })?;
        let World { bays, baymodels, nodes, containers, parked, .. } = world;
        // What cannot be read may be anything.
        living.objects.extend(parked.into_keys());
        living.add::<BayView>(bays);
        living.add::<BaymodelView>(baymodels);
        living.add::<NodeView>(nodes);
        living.add::<ContainerView>(containers);
        Ok(living)
    }

    fn add<V: View>(&mut self, views: HashMap<ObjectId, V>) {
        self.objects.extend(views.into_keys().map(|id| StreamId::new(V::KIND, id)));
    }

    /// Whether an event up to that position is needed.
    pub fn needs(&self, stream: StreamId, position: Position) -> bool {
        self.objects.contains(&stream) || self.last.get(&stream) == Some(&position)
    }
}

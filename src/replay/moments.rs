//! Moments at which a condition became true: the earliest ones, as many as an answer may have.
//!
//! Not here: how they are found (`find`).

use serde::Serialize;
use utoipa::ToSchema;

use super::entry::Entry;
use super::object::Object;
use super::source::size;
use super::{ReplayError, Source, state};
use crate::events::Recorded;

/// Most moments in an answer: what a person looks through. Those after them are counted.
const MAX_MOMENTS: usize = 1_000;

/// A moment at which a condition became true.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Moment {
    /// `container/` and its uuid.
    pub object: String,
    /// Its name then, where it has one.
    pub name: Option<String>,
    /// The event that made it true.
    pub event: Entry,
}

impl Moment {
    fn new(folded: &dyn Object, event: &Recorded) -> Self {
        let object = event.stream.to_string();
        Self { object, name: state::name(folded), event: Entry::from(event) }
    }
}

/// The earliest moments so far.
#[derive(Default)]
pub(super) struct Moments {
    /// Each with the bytes of its event.
    earliest: Vec<(usize, Moment)>,
    bytes: usize,
    /// How many more there are.
    omitted: u64,
}

impl Moments {
    /// Adds a moment, in any order.
    pub fn note(
        &mut self,
        source: &Source,
        folded: &dyn Object,
        event: &Recorded,
    ) -> Result<(), ReplayError> {
        let bytes = size(event);
        self.earliest.push((bytes, Moment::new(folded, event)));
        self.bytes += bytes;
        // Now and then, so that it costs little for each moment.
        if self.earliest.len() >= 2 * MAX_MOMENTS || !source.fits(self.bytes) {
            self.leave_earliest(source)?;
        }
        Ok(())
    }

    /// The position of the first one.
    pub fn first(&self) -> Option<u64> {
        self.earliest.iter().map(|(_, moment)| moment.event.position).min()
    }

    /// What is told of them, oldest first, and how many more there are.
    pub fn told(mut self, source: &Source, first: bool) -> Result<(Vec<Moment>, u64), ReplayError> {
        self.leave_earliest(source)?;
        let moments = self.earliest.into_iter().map(|(_, moment)| moment);
        Ok(if first { (moments.take(1).collect(), 0) } else { (moments.collect(), self.omitted) })
    }

    /// Puts the moments in order and leaves as many as are answered with.
    fn leave_earliest(&mut self, source: &Source) -> Result<(), ReplayError> {
        self.earliest.sort_by_key(|(_, moment)| moment.event.position);
        self.omitted += self.earliest.len().saturating_sub(MAX_MOMENTS) as u64;
        self.earliest.truncate(MAX_MOMENTS);
        self.bytes = self.earliest.iter().map(|(bytes, _)| bytes).sum();
        if source.fits(self.bytes) { Ok(()) } else { Err(ReplayError::TooLarge(self.bytes)) }
    }
}

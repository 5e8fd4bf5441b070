//! The ids of an object's latest events: they tell a message that comes again from a new one.
//!
//! A message's id becomes that of the first event that it leads to (rule B4), and ids are minted in
//! the order of time. So one that is later than all of an object's is new, and only one that took
//! long on the way has to be looked for in the log. Clocks that go back cost such a look, no more.

use crate::ids::EventId;

/// Ids that are kept: more messages than overtake each other on the way to one object.
const KEPT: usize = 32;

/// The latest ids of an object's events.
#[derive(Clone, Debug, Default)]
pub struct LatestIds {
    /// Sorted.
    ids: Vec<EventId>,
    /// None of the others is later than this.
    others: Option<EventId>,
}

impl LatestIds {
    /// Those of an object of whose ids this one is the latest, if there is any.
    pub const fn after(latest: Option<EventId>) -> Self {
        Self { ids: Vec::new(), others: latest }
    }

    /// Takes in the id of another event.
    pub fn note(&mut self, id: EventId) {
        let place = self.ids.partition_point(|known| *known < id);
        self.ids.insert(place, id);
        if self.ids.len() > KEPT {
            self.others = self.others.max(Some(self.ids.remove(0)));
        }
    }

    /// Whether one of the events has this id; `None` where only the log can say.
    pub fn has(&self, id: EventId) -> Option<bool> {
        if self.ids.binary_search(&id).is_ok() {
            return Some(true);
        }
        (Some(id) > self.others).then_some(false)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_not_known_is_never_said() {
        let id = |number: usize| EventId(Uuid::from_u128(number as u128));
        let mut latest = LatestIds::default();
        assert_eq!(latest.has(id(0)), Some(false), "no event yet");
        let count = 3 * KEPT;
        // Each even one, in pairs that overtook each other.
        for number in (0..count).map(|number| 2 * (number ^ 1)) {
            assert_eq!(latest.has(id(number)), Some(false), "{number} is new");
            latest.note(id(number));
            assert_eq!(latest.has(id(number)), Some(true), "{number} is known");
        }
        assert_eq!(latest.has(id(2 * count - 3)), Some(false), "not there, and later than others");
        assert_eq!(latest.has(id(2)), None, "forgotten");
        assert_eq!(latest.has(id(3)), None, "earlier than what is forgotten");
        assert_eq!(latest.ids.len(), KEPT);
        assert_eq!(LatestIds::after(Some(id(7))).has(id(7)), None);
        assert_eq!(LatestIds::after(Some(id(7))).has(id(8)), Some(false));
    }
}

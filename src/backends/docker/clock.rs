//! How far the engine's clock is ahead of the service's.
//!
//! The engine tells its time with what it says about itself (`/info`). Both times are compared only
//! after conversion, since the engine may be on another machine or in a virtual one.

use std::sync::{Mutex, PoisonError};

use crate::ids::Timestamp;

/// How far the engine's clock is ahead, in microseconds: at least and at most.
#[derive(Clone, Copy)]
struct Ahead {
    least: i64,
    most: i64,
}

/// What is known of the engine's clock.
#[derive(Default)]
pub(super) struct EngineClock(Mutex<Option<Ahead>>);

impl EngineClock {
    /// Takes in what the engine's clock showed between two times of the service's. Readings that
    /// contradict the ones before mean that one of the clocks was set.
    pub(super) fn read(&self, asked: Timestamp, shown: Timestamp, answered: Timestamp) {
        if answered < asked {
            return;
        }
        let now = Ahead { least: shown.0 - answered.0, most: shown.0 - asked.0 };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(match *known {
            Some(before) if before.least <= now.most && now.least <= before.most => {
                Ahead { least: before.least.max(now.least), most: before.most.min(now.most) }
            }
            _ => now,
        });
    }

    /// A time of the engine by the service's clock, or a moment earlier: what the service asked for
    /// must not seem to have happened after its answer. The same time as long as nothing shows that
    /// these are two clocks.
    pub(super) fn ours(&self, time: Timestamp) -> Timestamp {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = known.filter(|ahead| ahead.least > 0 || ahead.most < 0);
        Timestamp(time.0.saturating_sub(apart.map_or(0, |ahead| ahead.most)))
    }
}

/// A time of the engine; it writes the year 1 for "never".
pub(super) fn time(text: Option<&str>) -> Option<Timestamp> {
    let time = chrono::DateTime::parse_from_rfc3339(text?).ok()?;
    Some(Timestamp(time.timestamp_micros())).filter(|time| time.0 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_time_of_another_clock_is_never_converted_to_a_later_one() {
        for ahead in [-400 * 24 * HOUR, -HOUR, -60, 60, HOUR] {
            let clock = EngineClock::default();
            assert_eq!(clock.ours(Timestamp(7)), Timestamp(7), "nothing is known yet");
            // The engine looks at its clock somewhere between question and answer.
            for (asked, looked, answered) in [(100, 101, 140), (200, 230, 231), (300, 300, 301)] {
                clock.read(Timestamp(asked), Timestamp(looked + ahead), Timestamp(answered));
                let ours = clock.ours(Timestamp(1_000 + ahead)).0;
                assert!((960..=1_000).contains(&ours), "{ahead}: {ours}");
            }
            assert_eq!(clock.ours(Timestamp(1_000 + ahead)), Timestamp(1_000), "the narrowest");
        }
    }

    #[test]
    fn one_clock_is_not_taken_for_two_and_a_clock_that_is_set_is_followed() {
        let clock = EngineClock::default();
        clock.read(Timestamp(100), Timestamp(110), Timestamp(150));
        assert_eq!(clock.ours(Timestamp(7)), Timestamp(7));
        clock.read(Timestamp(200), Timestamp(210 + HOUR), Timestamp(250));
        assert_eq!(clock.ours(Timestamp(300 + HOUR)), Timestamp(290));
        clock.read(Timestamp(500), Timestamp(510), Timestamp(400));
        assert_eq!(clock.ours(Timestamp(300 + HOUR)), Timestamp(290), "the service's was set back");
        clock.read(Timestamp(600), Timestamp(610), Timestamp(650));
        assert_eq!(clock.ours(Timestamp(7)), Timestamp(7));
    }
}

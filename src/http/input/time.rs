//! Moments as clients write them: times with and without a zone, seconds since 1970, ages.

use chrono::DateTime;

use crate::ids::Timestamp;
use crate::time_text::{UNITS_S, age_s, zoneless};

/// What a moment may be, for people.
pub const FORMS: &str = "Use a time like 2015-05-21T20:46:13Z (UTC without a zone), seconds since \
    1970, or an age: 90s, 15m, 1h30m, 7d.";

/// The year 9999, so that it fits whatever form it is sent on in.
const LATEST_S: f64 = 253_402_300_799.0;

/// The moment that a text names, if it names one.
pub fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    // A plus sign that was not encoded arrives as a space.
    if let Ok(time) = DateTime::parse_from_rfc3339(&text.replace(' ', "+")) {
        return Some(Timestamp(time.timestamp_micros()));
    }
    if let Some(time) = zoneless(text) {
        return Some(time);
    }
    if let Some(age_s) = age_s(text, &UNITS_S) {
        let age_us = age_s.saturating_mul(1_000_000);
        return Some(Timestamp(now.0.saturating_sub(age_us).max(0)));
    }
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=LATEST_S).contains(seconds))?;
    Some(Timestamp((seconds * 1e6) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_764_500_000_000_000);

    #[test]
    fn a_time_is_the_same_in_every_form() {
        for text in [
            "2015-05-21T20:46:13Z",
            "2015-05-21T22:46:13+02:00",
            "2015-05-21T22:46:13 02:00",
            "2015-05-21T20:46:13",
            "2015-05-21 20:46:13",
            "2015-05-21T20:46:13.000000",
            "1432241173",
            "1432241173.0",
        ] {
            assert_eq!(moment(text, NOW), Some(Timestamp(1_432_241_173_000_000)), "{text}");
        }
        assert_eq!(moment("2015-05-21T20:46:13.25", NOW), Some(Timestamp(1_432_241_173_250_000)));
        assert_eq!(moment("2015-05-21T20:46", NOW), Some(Timestamp(1_432_241_160_000_000)));
        assert_eq!(moment("2015-05-21", NOW), Some(Timestamp(1_432_166_400_000_000)));
    }

    #[test]
    fn an_age_counts_back_from_now() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1h30m", 5400)]
        {
            assert_eq!(moment(text, NOW), Some(Timestamp(NOW.0 - seconds * 1_000_000)), "{text}");
        }
        assert_eq!(moment("4000000000d", NOW), Some(Timestamp(0)), "not before 1970");
    }

    #[test]
    fn nothing_else_is_a_moment() {
        for text in ["", "m", "-10m", "10", "10x", "1.5h", "yesterday", "NaN", "inf", "-1", "1e300"]
        {
            let is_seconds = text == "10";
            assert_eq!(moment(text, NOW).is_some(), is_seconds, "{text}");
        }
        assert_eq!(moment("2015-13-21T20:46:13", NOW), None);
    }
}

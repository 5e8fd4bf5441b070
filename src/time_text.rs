//! Times as people write them, where a zone or a date is missing: read in one way by the command
//! line and the REST API.
//!
//! Not here: what else each of them takes for a time (`cli/moment`, `http/input/time`).

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::ids::Timestamp;

/// Units of an age that everybody knows, in seconds.
pub const UNITS_S: [(char, i64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

/// Forms of a time without a zone, with a T between both halves.
const ZONELESS: [&str; 2] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];

/// A time without a zone, as Python's `isoformat` writes it, or a day: in UTC, as in everything
/// that is printed.
pub fn zoneless(text: &str) -> Option<Timestamp> {
    let text = text.replace(' ', "T");
    let time = ZONELESS.iter().find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok());
    time.map(utc).or_else(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok().map(midnight))
}

/// The first moment of a day.
pub fn midnight(day: NaiveDate) -> Timestamp {
    utc(day.and_time(NaiveTime::MIN))
}

fn utc(time: NaiveDateTime) -> Timestamp {
    Timestamp(time.and_utc().timestamp_micros())
}

/// Seconds of an age: `90s`, `1h30m`.
pub fn age_s(text: &str, units_s: &[(char, i64)]) -> Option<i64> {
    let (mut rest, mut age_s) = (text, 0_i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = rest.split_at_checked(digits)?;
        let (_, unit_s) = units_s.iter().find(|(name, _)| unit.starts_with(*name))?;
        let count = i64::from(count.parse::<u32>().ok()?);
        age_s = age_s.checked_add(count.checked_mul(*unit_s)?)?;
        rest = unit.get(1..)?;
    }
    (!text.is_empty()).then_some(age_s)
}

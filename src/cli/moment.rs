//! Points in time as people type them: `1h`, `yesterday`, `2015-05-21`, `2015-05-21 20:46`.
//!
//! A date or a time without a zone is UTC, as in everything that is printed. Not here: positions
//! and revisions (`replay::When`).

use chrono::{DateTime, Days, Utc};

use crate::clock;
use crate::ids::Timestamp;
use crate::replay::When;
use crate::time_text::{UNITS_S, age_s, midnight, zoneless};

/// What the help and errors say of the forms.
pub const FORMS: &str = "a time such as 2015-05-21T20:46:13Z, 2015-05-21 20:46 or 2015-05-21 (UTC \
    if it has no zone), an age such as 90s, 15m, 1h30m or 7d, today, or yesterday";

/// A unit of an age that the server does not know, in seconds.
const WEEK_S: (char, i64) = ('w', 604_800);

/// A time, of whoever says when now is.
fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    let today = || DateTime::<Utc>::from_timestamp_micros(now.0).map(|now| now.date_naive());
    match text {
        "now" => return Some(now),
        "today" => return today().map(midnight),
        "yesterday" => return today()?.checked_sub_days(Days::new(1)).map(midnight),
        _ => {}
    }
    if let Some(age_s) = age_s(text, &[&UNITS_S[..], &[WEEK_S]].concat()) {
        return Some(Timestamp(now.0.checked_sub(age_s.checked_mul(1_000_000)?)?));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp(time.timestamp_micros()));
    }
    zoneless(text)
}

/// A time as the server takes it. Ages that it knows are sent as they are: its clock decides.
///
/// # Errors
/// When it is none.
pub fn since(text: &str) -> Result<String, String> {
    let is_known_age = text.strip_suffix(['s', 'm', 'h', 'd']).is_some_and(is_number);
    if is_known_age || text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let time = time(text, clock::now()).ok_or_else(|| format!("must be {FORMS}"))?;
    Ok(time.rfc3339())
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok()
}

/// A point in time, in a form of the debugger or one of these.
///
/// # Errors
/// When it is neither.
pub fn when(text: &str) -> Result<When, String> {
    match text.parse() {
        Ok(when) => Ok(when),
        Err(why) => time(text, clock::now())
            .map(When::Time)
            .ok_or_else(|| format!("{why} A time may also be {FORMS}.")),
    }
}

/// The same as the server takes it; what is none is for the server to refuse.
///
/// # Errors
/// Never: the form is that of a parser of arguments.
#[expect(clippy::unnecessary_wraps, reason = "a parser of arguments may fail")]
pub fn at(text: &str) -> Result<String, String> {
    Ok(when(text).map_or_else(|_| text.to_owned(), |when| when.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_noon(text: &str) -> Option<String> {
        let now = DateTime::parse_from_rfc3339("2015-05-21T12:00:00Z").unwrap();
        time(text, Timestamp(now.timestamp_micros())).map(|time| time.rfc3339())
    }

    #[test]
    fn a_time_can_be_typed_in_many_ways() {
        for (text, wanted) in [
            ("now", "2015-05-21T12:00:00"),
            ("today", "2015-05-21T00:00:00"),
            ("yesterday", "2015-05-20T00:00:00"),
            ("10s", "2015-05-21T11:59:50"),
            ("1h", "2015-05-21T11:00:00"),
            ("1h30m", "2015-05-21T10:30:00"),
            ("2w", "2015-05-07T12:00:00"),
            ("2015-05-20", "2015-05-20T00:00:00"),
            ("2015-05-20 20:46", "2015-05-20T20:46:00"),
            ("2015-05-20T20:46:13", "2015-05-20T20:46:13"),
            ("2015-05-20 20:46:13.5", "2015-05-20T20:46:13.500000"),
            ("2015-05-20T20:46:13Z", "2015-05-20T20:46:13"),
            ("2015-05-20T20:46:13+02:00", "2015-05-20T18:46:13"),
        ] {
            let found = at_noon(text).unwrap_or_default();
            assert!(found.starts_with(wanted), "{text}: {found}");
        }
        for bad in
            ["", "h", "1", "1x", "-1h", "1h30", "tomorrow", "2015-13-01", "2015-05-21T25:00", "é"]
        {
            assert_eq!(at_noon(bad), None, "{bad}");
        }
        assert_eq!(at_noon(&format!("{}w", i64::MAX)), None);
    }

    #[test]
    fn what_the_server_understands_is_sent_as_it_is() {
        for text in ["15m", "7d", "1432241173", "1432241173.5"] {
            assert_eq!(since(text).as_deref(), Ok(text));
        }
        assert!(since("yesterday").unwrap().ends_with("T00:00:00.000000+00:00"));
        assert!(since("tomorrow").unwrap_err().contains("an age such as"));
        for text in ["17", "v:3", "latest"] {
            assert_eq!(at(text).as_deref(), Ok(text));
        }
        assert!(
            matches!(when("1h"), Ok(When::Time(_))) && matches!(when("17"), Ok(When::Position(_)))
        );
        assert_eq!(at("2015-05-21").unwrap(), at("2015-05-21T00:00:00Z").unwrap());
        assert_eq!(at("soon").as_deref(), Ok("soon"), "the server says what is wrong with it");
        assert!(when("soon").unwrap_err().contains("yesterday"));
    }
}

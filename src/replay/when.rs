//! Points in time: a position, a revision, a time, before or after an event, now.
//!
//! Each is resolved to the position of the last event that counts. Not here: the state then
//! (`state`).

use std::fmt;
use std::str::FromStr;

use super::source::later_than;
use super::{ReplayError, Source};
use crate::events::log::moment;
use crate::ids::{EventId, Position, Revision, StreamId, Timestamp};

/// How a moment can be written.
const FORMS: &str = "Use a position of the log such as 17, a revision such as v:3, a time such \
    as 2015-05-21T20:46:13Z, before: or after: and an event's id, or latest.";

/// A moment, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Right after the last event.
    Latest,
    /// Right after the event at a position.
    Position(Position),
    /// Right after an object's event of a revision.
    Revision(Revision),
    /// Before the first event that was decided later, by the clock of those who decided.
    Time(Timestamp),
    /// Right before an event.
    Before(EventId),
    /// Right after an event.
    After(EventId),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
            format!("'{shown}' is not a point in time. {FORMS}")
        };
        let event = |id: &str| id.parse().map(EventId).map_err(|_| wrong());
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Some(id) = text.strip_prefix("before:") {
            return event(id).map(Self::Before);
        }
        if let Some(id) = text.strip_prefix("after:") {
            return event(id).map(Self::After);
        }
        if let Some(revision) = text.strip_prefix("v:") {
            return revision.parse().map(|it| Self::Revision(Revision(it))).map_err(|_| wrong());
        }
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position(position)));
        }
        // A plus in a query is a space once it is decoded.
        let time = chrono::DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
        time.map(|time| Self::Time(Timestamp(time.timestamp_micros()))).map_err(|_| wrong())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Position(position) => position.fmt(f),
            Self::Revision(revision) => write!(f, "v:{revision}"),
            Self::Time(time) => time.fmt(f),
            Self::Before(id) => write!(f, "before:{id}"),
            Self::After(id) => write!(f, "after:{id}"),
        }
    }
}

impl When {
    /// The position that it means for an object; not before the object's first event.
    ///
    /// # Errors
    /// When there is no such moment, in words that say which there are.
    pub fn of(self, source: &Source, stream: StreamId) -> Result<Position, ReplayError> {
        let Some(first) = source.first_of(stream)? else {
            return Err(unknown_object(source, stream));
        };
        let position = match self {
            Self::Revision(revision) => {
                let found = source.log().read_stream(stream, revision, 1)?.pop();
                found
                    .map(|event| event.position)
                    .ok_or_else(|| too_high(source, stream, revision))?
            }
            Self::Time(time) => last_by(source, stream, time)?.unwrap_or_default(),
            other => other.place(source)?,
        };
        if position < first.position {
            return Err(ReplayError::NotFound(format!(
                "{stream} did not exist at {self}: its first event is at position {}, {}.",
                first.position, first.time
            )));
        }
        Ok(position)
    }

    /// The position that it means for the whole log, which can tell how everything was then; 0 is
    /// before everything.
    ///
    /// # Errors
    /// When there is no such moment, or an archive has taken it, in words that say which there are.
    pub fn anywhere(self, source: &Source) -> Result<Position, ReplayError> {
        let position = self.place(source)?;
        source.log().has_all_after(position)?;
        Ok(position)
    }

    /// The position that it means where that is about one object, which is there as a whole if it
    /// is there at all.
    ///
    /// # Errors
    /// As [`When::of`].
    pub fn place(self, source: &Source) -> Result<Position, ReplayError> {
        let head = source.head();
        match self {
            Self::Latest => Ok(head),
            Self::Position(position) if position > head => Err(ReplayError::Invalid(format!(
                "position {position} is after the end of the log, which is at {head}. Use \
                 latest for the last one."
            ))),
            Self::Position(position) => Ok(position),
            Self::Time(time) => match source.position_at(time)? {
                Position(0) => Err(too_early(source, time)?),
                position => Ok(position),
            },
            Self::Before(id) => Ok(event(source, id)?.before()),
            Self::After(id) => event(source, id),
            Self::Revision(revision) => Err(ReplayError::Invalid(format!(
                "v:{revision} is a revision of one object, but this is about many. Use a \
                 position or a time."
            ))),
        }
    }
}

/// Refuses two moments of which the first is the later one.
pub(super) fn in_order(from: Position, to: Position) -> Result<(), ReplayError> {
    if from <= to {
        return Ok(());
    }
    let words = format!("position {from} is after position {to}; swap from and to.");
    Err(ReplayError::Invalid(words))
}

/// The error for an unknown object.
fn unknown_object(source: &Source, stream: StreamId) -> ReplayError {
    let archived = source.archived();
    ReplayError::NotFound(format!(
        "The log has no event of {stream}. Is the UUID correct?{archived}"
    ))
}

fn too_high(source: &Source, stream: StreamId, revision: Revision) -> ReplayError {
    match source.log().stream_head(stream) {
        Ok(last) => ReplayError::NotFound(format!(
            "{stream} has no revision {revision}; its last one is v:{}.",
            last.unwrap_or_default()
        )),
        Err(error) => error.into(),
    }
}

fn too_early(source: &Source, time: Timestamp) -> Result<ReplayError, ReplayError> {
    let Some((first, _)) = source.times()? else {
        return Ok(ReplayError::Invalid("The log contains no events.".to_owned()));
    };
    Ok(ReplayError::Invalid(format!("{time} is before the first event of the log, {first}.")))
}

/// The position of an event.
fn event(source: &Source, id: EventId) -> Result<Position, ReplayError> {
    source.find(id)?.map(|event| event.position).ok_or_else(|| {
        ReplayError::NotFound(format!(
            "There is no event {id}. The timeline of an object lists the ids of its events."
        ))
    })
}

/// The last event of an object before its first one that was decided later.
pub(super) fn last_by(
    source: &Source,
    stream: StreamId,
    time: Timestamp,
) -> Result<Option<Position>, ReplayError> {
    let log = source.log();
    let by_then = moment::before_in(log, stream, later_than(time))?;
    let Some(last) = by_then.checked_sub(1) else { return Ok(None) };
    Ok(log.read_stream(stream, Revision(last), 1)?.pop().map(|event| event.position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let id = "3f0c6a52-8a4e-4a0e-9a3c-0a1b2c3d4e5f";
        let event = EventId(id.parse().unwrap());
        for (text, when) in [
            ("latest", When::Latest),
            ("17", When::Position(Position(17))),
            ("v:3", When::Revision(Revision(3))),
            ("1970-01-01T00:00:01Z", When::Time(Timestamp(1_000_000))),
            ("1970-01-01T01:00:01 01:00", When::Time(Timestamp(1_000_000))),
            (&format!("before:{id}"), When::Before(event)),
            (&format!("after:{id}"), When::After(event)),
        ] {
            assert_eq!(text.parse(), Ok(when), "{text}");
        }
        for bad in ["", "x", "-1", "v:", "v:x", "before:x", "2015-13-01T00:00:00Z", "now\n"] {
            let words = bad.parse::<When>().unwrap_err();
            assert!(words.contains("not a point in time") && !words.contains('\n'), "{words}");
        }
    }
}

//! What can be asked about an object, in one form for the REST API, the CLI and files.
//!
//! A question has a verb, which is the last part of its path, and arguments. Its answer is a
//! document. Not here: questions about the whole log.

use serde::Serialize;
use serde_json::Value;

use super::when::When;
use super::{ReplayError, Source, diff, state, timeline, why};
use crate::ids::{Position, StreamId};

/// A question about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What was it then?
    State {
        /// When.
        at: When,
    },
    /// What happened to it?
    Timeline {
        /// And to what is around it.
        related: bool,
        /// Up to when.
        at: When,
    },
    /// What changed about it?
    Diff {
        /// Since when.
        from: When,
        /// Until when.
        to: When,
    },
    /// Who set a field, and what led to that?
    Blame {
        /// Which: `status`, `state.status`.
        field: String,
        /// As of when.
        at: When,
    },
    /// Why is it as it is?
    Why {
        /// As of when.
        at: When,
    },
}

/// A question that cannot be meant: the argument, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadArgument {
    /// Its name.
    pub name: &'static str,
    /// What is wrong.
    pub why: String,
}

impl Question {
    /// Reads a question; none where there is no such verb.
    ///
    /// # Errors
    /// When an argument cannot be meant.
    pub fn read<'a>(
        verb: &str,
        argument: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<Self>, BadArgument> {
        let when = |name: &'static str| match argument(name) {
            None => Ok(When::Latest),
            Some(text) => text.parse().map_err(|why| BadArgument { name, why }),
        };
        let flag = |name: &'static str| match argument(name) {
            None | Some("0" | "false" | "no") => Ok(false),
            Some("" | "1" | "true" | "yes") => Ok(true),
            Some(_) => Err(BadArgument { name, why: "Use 1 or 0.".to_owned() }),
        };
        Ok(Some(match verb {
            "state" => Self::State { at: when("at")? },
            "timeline" => Self::Timeline { related: flag("related")?, at: when("at")? },
            "diff" => {
                let from =
                    argument("from").map_or(Ok(When::Position(Position(0))), |_| when("from"));
                Self::Diff { from: from?, to: when("to")? }
            }
            "blame" => {
                let why = "Name the field, as in a state: status, labels.tier, state.status.";
                let field = argument("field").filter(|field| !field.is_empty());
                let missing = || BadArgument { name: "field", why: why.to_owned() };
                Self::Blame { field: field.ok_or_else(missing)?.to_owned(), at: when("at")? }
            }
            "why" => Self::Why { at: when("at")? },
            _ => return Ok(None),
        }))
    }

    /// The last part of its path.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::State { .. } => "state",
            Self::Timeline { .. } => "timeline",
            Self::Diff { .. } => "diff",
            Self::Blame { .. } => "blame",
            Self::Why { .. } => "why",
        }
    }

    /// Its arguments, without those that are as they are where nothing is said.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        let when = |name, at: &When| (*at != When::Latest).then(|| (name, at.to_string()));
        match self {
            Self::State { at } | Self::Why { at } => when("at", at).into_iter().collect(),
            Self::Diff { from, to } => {
                let from = ("from", from.to_string());
                when("to", to).into_iter().chain([from]).collect()
            }
            Self::Blame { field, at } => {
                when("at", at).into_iter().chain([("field", field.clone())]).collect()
            }
            Self::Timeline { related, at } => {
                let related = related.then(|| ("related", "1".to_owned()));
                when("at", at).into_iter().chain(related).collect()
            }
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// When there is none, in words that say what to do.
    pub fn answer(&self, source: &Source, stream: StreamId) -> Result<Value, ReplayError> {
        match self {
            Self::State { at } => document(&state::state(source, stream, *at)?),
            Self::Timeline { related, at } => {
                let until = at.of(source, stream)?;
                document(&timeline::timeline(source, stream, *related, until)?)
            }
            Self::Diff { from, to } => document(&diff::diff(source, stream, *from, *to)?),
            Self::Blame { field, at } => document(&diff::blame(source, stream, field, *at)?),
            Self::Why { at } => document(&why::why(source, stream, *at)?),
        }
    }
}

/// An answer as a document.
pub fn document<T: Serialize>(answer: &T) -> Result<Value, ReplayError> {
    serde_json::to_value(answer).map_err(|error| ReplayError::Internal(error.to_string()))
}

//! Questions about an object, in one form for the REST API, the CLI and files.
//!
//! A question has a verb, which is the last part of its path, and arguments. Its answer is a
//! document. Not here: questions about the whole log.

use serde::Serialize;
use serde_json::Value;

use super::when::When;
use super::{ReplayError, Source, bundle, diff, state, timeline, what_if, why};
use crate::ids::{EventId, Position, StreamId};

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
    /// What would be if some of its events had not happened, and it were asked for something?
    WhatIf {
        /// When.
        at: When,
        /// The events.
        drop: Vec<EventId>,
        /// The commands.
        apply: Vec<Value>,
    },
    /// What happened to it, as a file for somebody else.
    Bundle {
        /// And to what is around it.
        related: bool,
        /// Without the values of environment variables.
        redact: bool,
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
    /// Reads a question; `None` if there is no such verb.
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
                let why = "Specify a field of the state: status, labels.tier, state.status.";
                let field = argument("field").filter(|field| !field.is_empty());
                let missing = || BadArgument { name: "field", why: why.to_owned() };
                Self::Blame { field: field.ok_or_else(missing)?.to_owned(), at: when("at")? }
            }
            "why" => Self::Why { at: when("at")? },
            "what-if" => Self::WhatIf {
                at: when("at")?,
                drop: argument("drop").map_or(Ok(Vec::new()), events)?,
                apply: argument("apply").map_or(Ok(Vec::new()), commands)?,
            },
            "bundle" => Self::Bundle { related: flag("related")?, redact: flag("redact")? },
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
            Self::WhatIf { .. } => "what-if",
            Self::Bundle { .. } => "bundle",
        }
    }

    /// Its arguments, without those that are as they are where nothing is said.
    pub fn arguments(&self) -> Vec<(&'static str, String)> {
        let when = |name, at: &When| (*at != When::Latest).then(|| (name, at.to_string()));
        let flag = |name, set: &bool| set.then(|| (name, "1".to_owned()));
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
                when("at", at).into_iter().chain(flag("related", related)).collect()
            }
            Self::WhatIf { at, drop, apply } => {
                let ids: Vec<String> = drop.iter().map(ToString::to_string).collect();
                let drop = (!ids.is_empty()).then(|| ("drop", ids.join(",")));
                let apply =
                    (!apply.is_empty()).then(|| ("apply", Value::from(apply.clone()).to_string()));
                when("at", at).into_iter().chain(drop).chain(apply).collect()
            }
            Self::Bundle { related, redact } => {
                flag("related", related).into_iter().chain(flag("redact", redact)).collect()
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
            Self::WhatIf { at, drop, apply } => {
                document(&what_if::what_if(source, stream, *at, drop, apply)?)
            }
            Self::Bundle { related, redact } => {
                document(&bundle::export(source, stream, *related, *redact)?)
            }
        }
    }
}

/// An answer as a document.
pub fn document<T: Serialize>(answer: &T) -> Result<Value, ReplayError> {
    serde_json::to_value(answer).map_err(|error| ReplayError::Internal(error.to_string()))
}

/// Ids of events, with commas between.
fn events(text: &str) -> Result<Vec<EventId>, BadArgument> {
    let why = || "Use ids of events, separated by commas.".to_owned();
    let id = |id: &str| id.parse().map(EventId);
    let ids: Result<_, _> = text.split(',').map(id).collect();
    ids.map_err(|_| BadArgument { name: "drop", why: why() })
}

/// A command, or a list of them, as JSON: `"start"`, `[{"stop": {"grace_s": 1}}, "start"]`.
pub fn commands(text: &str) -> Result<Vec<Value>, BadArgument> {
    match serde_json::from_str(text) {
        Ok(Value::Array(commands)) => Ok(commands),
        Ok(command) => Ok(vec![command]),
        Err(error) => Err(BadArgument {
            name: "apply",
            why: format!("Use JSON for a command, such as \"start\" with its quotes: {error}."),
        }),
    }
}

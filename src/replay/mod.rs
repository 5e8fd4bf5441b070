//! The debugger: any object at any point in time, folded from a log with the current code.
//!
//! In reading order: `source` (where events come from: a server's log, a data directory or a
//! backup, an export), `when` (points in time), `object` (one object in memory, of any noun),
//! `entry` (an event as shown), `fields` (a document flattened), `state`, `timeline`, `diff`,
//! `cause`, `why`, `name` (objects by name, without read models), `question` (all of these in one
//! form); then `what_if` and `bundle`, and questions about the whole log: `system`, `trace`, `find`
//! (by a `condition`, `among` some objects, as `moments`), `verify`, `check`. Every answer is a
//! serialisable document, so that a server, the CLI reading files, and a user interface show the
//! same.
//!
//! Absent: work. Nothing here can reach a backend or a bus (rule W7): an object in memory says
//! which work would be due, and nothing carries it out. Nothing is written either.

pub mod among;
pub mod bundle;
pub mod cause;
pub mod check;
pub mod condition;
pub mod diff;
pub mod entry;
pub mod fields;
pub mod find;
pub mod moments;
pub mod name;
pub mod object;
pub mod question;
pub mod source;
pub mod state;
pub mod system;
pub mod timeline;
pub mod trace;
pub mod verify;
pub mod what_if;
pub mod when;
pub mod why;

pub use question::Question;
pub use source::Source;
pub use when::When;

use crate::events::DecodeError;
use crate::events::log::{Archived, OpenError, ReadError};

/// Why something cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An event cannot be read by this build.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// What was asked for cannot be meant; the message says what could.
    #[error("{0}")]
    Invalid(String),
    /// There is, and was, no such thing.
    #[error("{0}")]
    NotFound(String),
    /// An archive has taken some of the events that it takes.
    #[error(transparent)]
    Archived(#[from] Archived),
    /// A server does not make so large an answer.
    #[error(
        "The answer would be made of more than {0} bytes of events. Page through the events with \
        GET /v1/events or …/history, or use the CLI with --data on a backup, which has no limit."
    )]
    TooLarge(usize),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

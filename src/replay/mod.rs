//! What was, and why: any object at any moment, folded from a log with the code that runs now.
//!
//! In reading order: `source` (where events come from: a server's log, a data folder or a backup,
//! an export), `when` (which moment is meant), `object` (one object in memory, whatever its noun),
//! `entry` (an event as it is told), `fields` (a document field by field), `state`, `timeline`,
//! `diff`, `cause`, `why`, `name` (objects by name, without read models), `question` (all of these
//! by one form); then `what_if` and `bundle`, and what is about the whole log: `system`, `trace`,
//! `find` (by a `condition`, `among` some objects), `verify`, `check`.
//! Every answer is a document that serialises, so that a server, the CLI beside files, and a user
//! interface tell the same.
//!
//! Absent: work. Nothing here can reach a backend or a bus (rule W7): an object in memory says what
//! work would be due, and there is nobody to hand it to. Nothing is written either.

pub mod among;
pub mod bundle;
pub mod cause;
pub mod check;
pub mod condition;
pub mod diff;
pub mod entry;
pub mod fields;
pub mod find;
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
    /// What was asked for cannot be meant; the words say what could.
    #[error("{0}")]
    Invalid(String),
    /// There is, and was, no such thing.
    #[error("{0}")]
    NotFound(String),
    /// An archive has taken some of the events that it takes.
    #[error(transparent)]
    Archived(#[from] Archived),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String),
}

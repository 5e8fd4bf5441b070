//! Damage to the files, and how it is reported: segment, offset, position, and what helps.

use std::fmt;
use std::io;

use super::super::{OpenError, ReadError};
use super::names;

/// Why a segment cannot be read.
#[derive(Debug)]
pub enum Fault {
    /// The files are not what was written.
    Damaged(Damage),
    /// The system does not give them.
    Io(io::Error),
}

/// Where the files are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's number.
    pub segment: u32,
    /// The offset in its file.
    pub offset: u64,
    /// The event that should be there; 0 if it is not about one.
    pub position: u64,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    /// Where it is and what is wrong, without what helps.
    pub fn place(&self) -> String {
        let Self { segment, offset, position, what } = self;
        let name = names::name(*segment);
        let position = match position {
            0 => String::new(),
            position => format!(", position {position}"),
        };
        format!(
            "the log is damaged in segment {segment} ({name}), offset {offset}{position}: {what}"
        )
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; `magnum log verify` shows the extent of the damage, `magnum log repair \
             --truncate` truncates the log there and keeps a copy",
            self.place()
        )
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Damaged(damage) => Self::Damaged(damage.to_string()),
            Fault::Io(error) => Self::Io(error.to_string()),
        }
    }
}

impl Fault {
    /// As an obstacle to opening the log in a folder.
    pub fn into_open_error(self, path: String) -> OpenError {
        match self {
            Self::Damaged(damage) => OpenError::Damaged(damage.to_string()),
            Self::Io(source) => OpenError::Io { path, source },
        }
    }
}

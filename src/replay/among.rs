//! The scope of a search: all objects, those of a noun, or one.

use super::{ReplayError, Source, name};
use crate::ids::{Kind, StreamId};

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Every object.
    All,
    /// The objects of a noun.
    Kind(Kind),
    /// One object.
    Object(StreamId),
}

impl Among {
    /// Reads where to look: nothing, a noun, or an object as `container/web`.
    ///
    /// # Errors
    /// When there is no such noun or object, or the log cannot be read.
    pub fn read(source: &Source, text: &str) -> Result<Self, ReplayError> {
        let (noun, object) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let kind = Kind::named(noun);
        match (kind, object) {
            (None, None) if noun.is_empty() => Ok(Self::All),
            (Some(kind), None) => Ok(Self::Kind(kind)),
            (Some(kind), Some(ident)) => name::find(source, kind, ident).map(Self::Object),
            (None, _) => Err(ReplayError::Invalid(format!(
                "'{noun}' is not a kind of object. Use container for all containers, or \
                 container/web for one."
            ))),
        }
    }

    /// Whether an object is among these.
    pub fn takes(self, stream: StreamId) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => stream.kind == kind,
            Self::Object(one) => stream == one,
        }
    }
}

//! A value that a view holds in a field, on its way to whoever is shown it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::ids::{ObjectId, Timestamp};

/// A value that a view holds.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Held<'a> {
    /// Nothing, or what the layer above has.
    Nothing,
    /// Text.
    Text(Cow<'a, str>),
    /// A count, a size, a port.
    Number(u64),
    /// An exit code.
    Signed(i64),
    /// A fraction.
    Real(f64),
    /// Yes or no.
    Flag(bool),
    /// A list or a map.
    Json(Value),
}

impl Held<'_> {
    /// As text, as lists filter by it; `None` if it is not set.
    pub fn text(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Text(text) => Some(text.into_owned()),
            Self::Number(number) => Some(number.to_string()),
            Self::Signed(number) => Some(number.to_string()),
            Self::Real(number) => Some(number.to_string()),
            Self::Flag(is_true) => Some(is_true.to_string()),
            Self::Json(value) => Some(value.to_string()),
        }
    }
}

impl<'a> From<&'a str> for Held<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Held<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<ObjectId> for Held<'_> {
    fn from(id: ObjectId) -> Self {
        Self::Text(Cow::Owned(id.to_string()))
    }
}

impl From<Timestamp> for Held<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Text(Cow::Owned(time.rfc3339()))
    }
}

/// Makes a value of each of these types.
macro_rules! held {
    ($($from:ty => $name:ident),*) => {
        $(impl From<$from> for Held<'_> {
            fn from(value: $from) -> Self {
                Self::$name(value.into())
            }
        })*
    };
}

held!(u16 => Number, u32 => Number, u64 => Number, i64 => Signed, f64 => Real, bool => Flag);

impl<'a> From<&'a Option<String>> for Held<'a> {
    fn from(text: &'a Option<String>) -> Self {
        text.as_ref().map_or(Self::Nothing, Self::from)
    }
}

impl<'a, T: Into<Held<'a>>> From<Option<T>> for Held<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

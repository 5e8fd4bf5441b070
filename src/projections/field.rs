//! Fields that lists filter and sort by, and their values as they compare.
//!
//! Not here: who has which value (`table`).

use super::View;
use crate::ids::{ObjectId, Timestamp};
use crate::text::composed;

/// A field of a list. The order of creation and the last change come before the noun's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListField(u8);

/// A value of a field. In this order: nothing comes before something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    Nothing,
    Number(u64),
    Time(Timestamp),
    Id(ObjectId),
    Text(Box<str>),
}

/// Texts longer than this sort by so many bytes, and their hash: values stay small in memory.
const MAX_TEXT_BYTES: usize = 128;

impl ListField {
    /// In which all objects have the same value, so that they are in the order of creation.
    pub const CREATED: Self = Self(0);
    const UPDATED: Self = Self(1);
    /// Every noun's first own field.
    const UUID: Self = Self(2);

    /// A noun's own field, by which lists filter and sort.
    pub fn named<V: View>(name: &str) -> Option<Self> {
        let index = V::FIELDS.iter().position(|field| *field == name)?;
        u8::try_from(index).ok()?.checked_add(Self::UUID.0).map(Self)
    }

    /// A field by which lists sort.
    pub fn sort<V: View>(name: &str) -> Option<Self> {
        match name {
            "id" | "created_at" => Some(Self::CREATED),
            "updated_at" => Some(Self::UPDATED),
            own => Self::named::<V>(own),
        }
    }

    /// Every field of a noun.
    pub fn all<V: View>() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self).take(V::FIELDS.len() + usize::from(Self::UUID.0))
    }

    /// Its place among all fields.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    fn name<V: View>(self) -> &'static str {
        let own = self.0.checked_sub(Self::UUID.0).map(usize::from);
        own.and_then(|own| V::FIELDS.get(own)).copied().unwrap_or_default()
    }

    /// The value that a view has here.
    pub fn of<V: View>(self, view: &V) -> Value {
        match self {
            Self::CREATED => Value::Nothing,
            Self::UPDATED => view.head().updated_at.map_or(Value::Nothing, Value::Time),
            Self::UUID => Value::Id(view.head().uuid),
            own => {
                let text = view.field(own.name::<V>());
                text.and_then(|text| own.value::<V>(&text)).unwrap_or(Value::Nothing)
            }
        }
    }

    /// The value of a filter; `None` if no object can have it.
    pub fn value<V: View>(self, text: &str) -> Option<Value> {
        if self == Self::UUID {
            // Only the canonical form is a uuid.
            let id = text.parse::<ObjectId>().ok()?;
            return (id.to_string() == text).then_some(Value::Id(id));
        }
        if V::NUMBERS.contains(&self.name::<V>()) {
            return text.parse().ok().map(Value::Number);
        }
        Some(Value::Text(shortened(&composed(text))))
    }
}

fn shortened(text: &str) -> Box<str> {
    if text.len() <= MAX_TEXT_BYTES {
        return text.into();
    }
    let head = text.floor_char_boundary(MAX_TEXT_BYTES);
    let hash = blake3::hash(text.as_bytes()).to_hex();
    format!("{}{hash}", text.get(..head).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_stay_apart_and_sort_by_their_beginning() {
        let long = "x".repeat(500);
        let other = format!("{}y", "x".repeat(499));
        assert_ne!(shortened(&long), shortened(&other));
        assert!("w" < &*shortened(&long) && &*shortened(&long) < "y");
        assert!(shortened(&long).len() < 200);
        // A character of two bytes lies across the end.
        assert!(shortened(&"é".repeat(64)).starts_with('é'));
        assert!(shortened(&format!("x{}", "é".repeat(64))).starts_with("xé"));
        assert_eq!(&*shortened(&"x".repeat(MAX_TEXT_BYTES)), "x".repeat(MAX_TEXT_BYTES));
    }
}

//! A value that a view holds in a field: on its way to whoever is shown it, and set by an update.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::events::status::Stage;
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

/// The schema of an id.
pub struct UuidText;

impl PartialSchema for UuidText {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Uuid);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

/// The schema of the statuses that an object can be in.
pub struct OneStatus<S>(PhantomData<S>);

impl<S: Stage + 'static> PartialSchema for OneStatus<S> {
    fn schema() -> RefOr<Schema> {
        let names = S::all().iter().filter(|status| !status.is_gone()).map(|status| status.name());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

/// Makes a value of each of these types.
macro_rules! held {
    ($($from:ty => $name:ident),*) => {
        $(impl From<$from> for Held<'_> {
            fn from(value: $from) -> Self {
                Self::$name(value.into())
            }
        }

        impl From<&$from> for Held<'_> {
            fn from(value: &$from) -> Self {
                Self::from(*value)
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

impl From<&ObjectId> for Held<'_> {
    fn from(id: &ObjectId) -> Self {
        Self::from(*id)
    }
}

impl<'a, T: Into<Held<'a>>> From<Option<T>> for Held<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

/// What a view keeps of a field in one place, so that an update can set it there.
pub trait Settable {
    /// Whether it may be `null`.
    const IS_OPTIONAL: bool;

    /// What is shown of it.
    fn schema() -> RefOr<Schema>;
    /// Its value.
    fn held(&self) -> Held<'_>;
    /// Sets it to the JSON text that an update holds. What fits no value clears it, or leaves it as
    /// it is where it cannot be cleared.
    fn set(&mut self, new: &str);
}

/// Each of these types can be set; an option of it can be cleared too.
macro_rules! settable {
    ($($type:ty, $schema:ty, $read:expr;)*) => { $(
        impl Settable for $type {
            const IS_OPTIONAL: bool = false;

            fn schema() -> RefOr<Schema> {
                <$schema as PartialSchema>::schema()
            }

            fn held(&self) -> Held<'_> {
                Held::from(self)
            }

            fn set(&mut self, new: &str) {
                if let Some(new) = $read(new) {
                    *self = new;
                }
            }
        }

        impl Settable for Option<$type> {
            const IS_OPTIONAL: bool = true;

            fn schema() -> RefOr<Schema> {
                nullable::<$schema>()
            }

            fn held(&self) -> Held<'_> {
                self.as_ref().map_or(Held::Nothing, Settable::held)
            }

            fn set(&mut self, new: &str) {
                *self = $read(new);
            }
        }
    )* };
}

settable! {
    String, String, text;
    ObjectId, UuidText, parsed;
    u16, u16, parsed;
    u32, u32, parsed;
    u64, u64, parsed;
}

/// A field's new value as text; `None` if it was cleared.
fn text(json: &str) -> Option<String> {
    match serde_json::from_str(json) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(text),
        Ok(other) => Some(other.to_string()),
        Err(_) => Some(json.to_owned()),
    }
}

/// A field's new value as a number or an id, also written as text; `None` if it was cleared.
fn parsed<T: FromStr>(json: &str) -> Option<T> {
    text(json)?.parse().ok()
}

/// The schema of a value or `null`.
pub fn nullable<T: PartialSchema>() -> RefOr<Schema> {
    or_null(T::schema())
}

/// The schema of what another one describes, or `null`.
pub fn or_null(schema: impl Into<RefOr<Schema>>) -> RefOr<Schema> {
    let mut schema = schema.into();
    let or_null = |place: &mut SchemaType| {
        if let SchemaType::Type(one) = place {
            *place = SchemaType::from_iter([one.clone(), Type::Null]);
        }
    };
    match &mut schema {
        RefOr::T(Schema::Object(object)) => or_null(&mut object.schema_type),
        RefOr::T(Schema::Array(list)) => or_null(&mut list.schema_type),
        RefOr::T(Schema::AnyOf(any)) => {
            any.items.push(ObjectBuilder::new().schema_type(Type::Null).into());
        }
        _ => {}
    }
    schema
}

//! JSON in which no object has a name twice: readers differ in which of the two values counts, so
//! what one checks could be another value than the one that the next uses.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

use crate::http::text::shown;

/// Reads a document.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(text: &str) -> Result<Value, Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Unique.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// A value of which each name in an object stands there once.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

/// Makes a value of each plain one.
macro_rules! plain {
    ($($method:ident $type:ty),*) => {
        $(fn $method<E>(self, value: $type) -> Result<Value, E> {
            Ok(Value::from(value))
        })*
    };
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    plain!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_str &str, visit_string String);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = shown(&name);
                return Err(A::Error::custom(format!("the key \"{name}\" occurs twice")));
            }
            object.insert(name, fields.next_value_seed(Self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once_in_an_object() {
        for text in [
            r#"{"name": "a", "name": "b"}"#,
            r#"{"name": "a", "n\u0061me": "a"}"#,
            r#"[{"labels": {"tier": "x", "tier": "x"}}]"#,
            r#"{"a": {"b": [1, {"c": null, "c": null}]}}"#,
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("occurs twice"), "{text}: {error}");
        }
        assert!(read(r#"{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 1}]}"#).is_ok());
    }

    #[test]
    fn everything_else_is_read_as_ever() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "0.5",
            "1e300",
            r#""\u00fc""#,
            "[]",
            r#" {"a": [1, "b", {}], "b": null} "#,
        ] {
            assert_eq!(read(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        let deep = "[".repeat(1000);
        for text in ["", "{", "1 2", "1e400", "NaN", "{\"a\"}", "[1,]", &deep] {
            let ours = read(text).unwrap_err().to_string();
            let theirs = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(ours, theirs, "{text}");
        }
    }
}

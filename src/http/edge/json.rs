//! JSON in which no object has a key twice.
//!
//! Which of the two counts differs from one program to the next, so something that checks a body on
//! its way here could see another one. Not here: what bodies mean (`input`).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use crate::http::text::shown;

/// A document.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Unambiguous.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// Makes values as `serde_json` does, and looks at keys.
struct Unambiguous;

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Self)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(fields.next_value_seed(Self)?);
                }
                Entry::Occupied(place) => {
                    let key = shown(place.key());
                    return Err(A::Error::custom(format!("the key \"{key}\" occurs twice")));
                }
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_else_is_as_serde_json_has_it() {
        for text in [
            "null",
            "[true, -1, 18446744073709551615, 1.5, 1e300, \"a\\u00e9\\n\", [], {}]",
            "{\"a\": {\"a\": [{\"a\": 1}, {\"a\": 2}]}, \"A\": 1, \" a\": 2}",
        ] {
            let wanted: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text).unwrap(), wanted);
        }
        for text in ["", "{", "[1,]", "{} x", "1e400", "nul", "\"\\ud800\"", &"[".repeat(1000)] {
            let wanted = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(parse(text).unwrap_err().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn a_key_is_there_once() {
        for text in [
            "{\"name\": 1, \"name\": 1}",
            "{\"name\": 1, \"x\": 2, \"n\\u0061me\": null}",
            "[{\"x\": {\"name\": {}, \"name\": {}}}]",
        ] {
            assert!(parse(text).unwrap_err().to_string().contains("\"name\" occurs twice"));
        }
    }
}

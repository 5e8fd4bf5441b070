//! JSON in which no object has a name twice: readers differ in which of the two values counts, so
//! what one checks could be another value than the one that the next uses.
//!
//! [`Unique`] reads other formats by the same rule. Not here: what a document must have.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};

use crate::text::words;

/// Reads a document. Numbers that a float would change are text in it: as a variable's value each
/// digit counts, and who needs a number takes text as well.
///
/// # Errors
/// What is wrong with it, and where.
pub fn read(text: &str) -> Result<Value, Error> {
    let text = with_exact_numbers(text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    // A value takes no fewer bytes than this counts for it.
    let value = Unique::within(&Cell::new(text.len())).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The document with quotes around decimal numbers that would not come out as they are written.
fn with_exact_numbers(text: &str) -> Cow<'_, str> {
    let mut exact = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = if rest.starts_with('"') { string_length(rest) } else { number_length(rest) };
        let (token, after) = rest.split_at_checked(length).unwrap_or_default();
        // A number cannot be a key, and is not to become one.
        let is_key = || after.trim_start().starts_with(':');
        if let Some(number) = Some(token).filter(|token| is_changed(token) && !is_key()) {
            exact.push_str(text.get(copied..at).unwrap_or_default());
            exact.push('"');
            exact.push_str(number);
            exact.push('"');
            copied = at + length;
        }
        at += length.max(rest.chars().next().map_or(1, char::len_utf8));
    }
    if exact.is_empty() {
        return Cow::Borrowed(text);
    }
    exact.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(exact)
}

/// The bytes of a string with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return at + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// The bytes of what may be a number, also of one with an exponent; 0 where there is none.
fn number_length(text: &str) -> usize {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let starts = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    if starts { text.bytes().take_while(|byte| is_of_number(byte)).count() } else { 0 }
}

/// Whether a token is a decimal number that is another one, or another text, as a float.
fn is_changed(token: &str) -> bool {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    let is_decimal =
        all_digits(whole) && all_digits(part) && (whole.len() == 1 || !whole.starts_with('0'));
    let read = || serde_json::from_str::<Value>(token).map(|value| value.to_string());
    is_decimal && read().is_ok_and(|text| text != token)
}

/// A value of which each name in an object stands there once. Its size is bounded, since in some
/// formats a short text stands for a large value.
#[derive(Clone, Copy)]
pub struct Unique<'a> {
    /// The bytes that may still come.
    left_bytes: &'a Cell<usize>,
}

impl<'a> Unique<'a> {
    /// A value that as compact JSON has at most about this many bytes, of which 0 are left after it
    /// had more. Commas and what closes are not counted, so none is refused that has no more.
    pub const fn within(left_bytes: &'a Cell<usize>) -> Self {
        Self { left_bytes }
    }

    fn count<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.left_bytes.get().checked_sub(bytes);
        self.left_bytes.set(left.unwrap_or(0));
        left.map(drop).ok_or_else(|| E::custom("the document is too large"))
    }
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

/// Makes a value of each plain one, which has at least one byte.
macro_rules! plain {
    ($($method:ident $type:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, value: $type) -> Result<Value, E> {
            self.count(1)?;
            Ok(Value::from(value))
        })*
    };
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    plain!(visit_bool bool, visit_i64 i64, visit_u64 u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.count(1)?;
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("a number that JSON does not have"))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.count("\"\"".len() + value.len())?;
        Ok(Value::String(value))
    }

    /// What YAML has between `---` and the end.
    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.count("null".len())?;
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.count(1)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.count(1)?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = words(&name);
                return Err(A::Error::custom(format!("the key \"{name}\" occurs twice")));
            }
            self.count("\"\"".len() + name.len())?;
            object.insert(name, fields.next_value_seed(self)?);
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
    fn a_value_is_bounded() {
        let text = r#"{"a": ["bc", 1, null, true, {}], "d": "e"}"#;
        let read = |bytes| {
            let left_bytes = Cell::new(bytes);
            let mut reader = serde_json::Deserializer::from_str(text);
            Unique::within(&left_bytes).deserialize(&mut reader)
        };
        let exact = read(text.len()).unwrap().to_string().len();
        assert!(read(exact).is_ok(), "never more than it takes as JSON");
        assert!(read(exact / 2).unwrap_err().to_string().contains("too large"));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, exact) in [
            ("12345678901234567890123", r#""12345678901234567890123""#),
            ("-12345678901234567890", r#""-12345678901234567890""#),
            (r#"{"A": 1.10, "B": [0.1, 2.50], "C": 7}"#, r#"{"A":"1.10","B":[0.1,"2.50"],"C":7}"#),
            (r#"{"é\"1.10": "1.10", "x\\": 1.10}"#, r#"{"x\\":"1.10","é\"1.10":"1.10"}"#),
            ("1e3", "1000.0"),
            ("0.30000000000000004", "0.30000000000000004"),
        ] {
            let wanted: Value = serde_json::from_str(exact).unwrap();
            assert_eq!(read(text).unwrap(), wanted, "{text}");
        }
        for bad in ["01.10", "1.", "-", "1.10.10", ".50", "+1.10", "1.10x", "{1.10: 2}"] {
            assert!(read(bad).is_err(), "{bad}");
        }
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

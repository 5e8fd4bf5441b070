//! What clients may write into a field: lenient forms in, strict JSON out, or the field and what
//! is wrong with it.
//!
//! Old clients send numbers as strings and `null` for what was not given; unknown keys are
//! ignored. Not here: which fields a noun has (one file a noun).

use std::net::Ipv4Addr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::http::error::ApiError;
use crate::http::text::{canonical_uuid, shown};

/// Longest text where the 2015 API names no length: a description, a public key, a folder.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Largest count: what a column of the 2015 database holds.
pub const MAX_COUNT: u64 = 0x7fff_ffff;

/// What a field may hold.
#[derive(Clone, Copy)]
pub enum Rule {
    /// 1 to so many bytes without control characters.
    Text(usize),
    /// A whole number from, to.
    Integer(u64, u64),
    /// A canonical uuid.
    Uuid,
    /// An IPv4 address.
    Ipv4,
    /// Whatever this makes of it; the error is the reason.
    Own(fn(&Value) -> Result<Value, String>),
    /// Only the service sets it.
    ReadOnly,
}

/// One field of a body.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its name in the REST API.
    pub name: &'static str,
    /// What it may hold.
    pub rule: Rule,
    /// Whether a POST must have it.
    pub mandatory: bool,
    /// Another name that some clients use.
    pub alias: Option<&'static str>,
    /// Whether its value is never repeated in an error.
    pub secret: bool,
}

impl Field {
    /// A field that may be left out.
    pub const fn optional(name: &'static str, rule: Rule) -> Self {
        Self { name, rule, mandatory: false, alias: None, secret: false }
    }

    /// A field that a POST must have.
    pub const fn mandatory(name: &'static str, rule: Rule) -> Self {
        Self { mandatory: true, ..Self::optional(name, rule) }
    }

    /// With another name.
    #[must_use]
    pub const fn or(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// With a value that errors keep to themselves.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The strict form of a value that is not null.
    pub fn check(&self, value: &Value) -> Result<Value, ApiError> {
        self.rule.check(value).map_err(|reason| {
            let value = if self.secret { String::new() } else { shown(&plain(value)) };
            ApiError::field(self.name, value, reason)
        })
    }

    /// The value in a body; none where it is not there or null.
    fn value<'a>(&self, body: &'a Map<String, Value>) -> Option<&'a Value> {
        let named = |name: &str| body.get(name).filter(|value| !value.is_null());
        named(self.name).or_else(|| self.alias.and_then(named))
    }
}

impl Rule {
    /// The strict form of a value, or what is wrong with it.
    fn check(self, value: &Value) -> Result<Value, String> {
        match self {
            Self::Text(max) => text(value, max).map(|text| Value::from(text.to_owned())),
            Self::Integer(min, max) => integer(value, min, max).map(Value::from),
            Self::Uuid => {
                let text = text(value, MAX_TEXT_BYTES)?;
                match canonical_uuid(text) {
                    Some(id) => Ok(Value::from(id.to_string())),
                    None => Err(format!("Expected a uuid but received {}.", shown(text))),
                }
            }
            Self::Ipv4 => {
                let text = text(value, MAX_TEXT_BYTES)?;
                match text.parse::<Ipv4Addr>() {
                    Ok(address) => Ok(Value::from(address.to_string())),
                    Err(_) => Err("Value should be IPv4 format.".to_owned()),
                }
            }
            Self::Own(check) => check(value),
            Self::ReadOnly => Err("Cannot set read only field.".to_owned()),
        }
    }
}

/// A POST's body as `T`, whose fields have the names in `fields`.
pub fn parse<T: DeserializeOwned>(
    body: &Map<String, Value>,
    fields: &[Field],
) -> Result<T, ApiError> {
    let mut strict = Map::new();
    for field in fields {
        match field.value(body) {
            Some(value) => {
                strict.insert(field.name.to_owned(), field.check(value)?);
            }
            None if field.mandatory => {
                return Err(ApiError::field(field.name, "None", "Mandatory field missing."));
            }
            None => {}
        }
    }
    serde_json::from_value(Value::Object(strict))
        .map_err(|error| ApiError::Internal(format!("a checked body does not fit: {error}")))
}

/// Text without control characters.
pub fn text(value: &Value, max: usize) -> Result<&str, String> {
    let Value::String(text) = value else {
        return Err(format!("Wrong type. Expected text, got {}.", type_name(value)));
    };
    if text.is_empty() {
        return Err("Value should have a minimum character requirement of 1.".to_owned());
    }
    if text.len() > max {
        return Err(format!("Value should have a maximum of {max} bytes; it has {}.", text.len()));
    }
    match text.chars().find(|char| char.is_control()) {
        Some(char) => Err(format!("Value holds the control character U+{:04X}.", char as u32)),
        None => Ok(text),
    }
}

/// A whole number, also as text.
pub fn integer(value: &Value, min: u64, max: u64) -> Result<u64, String> {
    let number = match value {
        Value::Number(number) => number
            .as_i128()
            .or_else(|| number.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i128)),
        Value::String(text) => text.trim().parse().ok(),
        _ => return Err(format!("Wrong type. Expected an integer, got {}.", type_name(value))),
    };
    let Some(number) = number else {
        return Err("Value is no whole number.".to_owned());
    };
    if number < i128::from(min) {
        return Err(format!("Value should be greater or equal to {min}"));
    }
    u64::try_from(number)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| format!("Value should be lower or equal to {max}"))
}

/// What a JSON value is, for people.
pub const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value as an error repeats it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_come_as_numbers_or_text() {
        assert_eq!(integer(&json!(3), 1, 10), Ok(3));
        assert_eq!(integer(&json!("3"), 1, 10), Ok(3));
        assert_eq!(integer(&json!(3.0), 1, 10), Ok(3));
        for bad in [
            json!(0),
            json!(-1),
            json!("x"),
            json!(""),
            json!(3.5),
            json!([]),
            json!(true),
            json!(11),
            json!(1e300),
            json!(u64::MAX),
            json!("99999999999999999999999999999999999999999"),
        ] {
            assert!(integer(&bad, 1, 10).is_err(), "{bad}");
        }
    }

    #[test]
    fn huge_and_negative_numbers_are_told_which_side_they_are_on() {
        assert!(integer(&json!(-5), 1, 10).unwrap_err().contains("greater or equal to 1"));
        assert!(integer(&json!(1e19), 1, 10).unwrap_err().contains("lower or equal to 10"));
        assert!(integer(&json!(u64::MAX), 0, 10).unwrap_err().contains("lower or equal to 10"));
    }

    #[test]
    fn names_have_no_control_characters_and_a_length() {
        assert!(text(&json!("web 1 ü"), 255).is_ok());
        for bad in [json!(""), json!("a\nb"), json!("\u{0}"), json!("\u{85}"), json!(5), json!({})]
        {
            assert!(text(&bad, 255).is_err(), "{bad}");
        }
        assert!(text(&json!("x".repeat(255)), 255).is_ok());
        assert!(text(&json!("ü".repeat(128)), 255).is_err());
    }

    #[test]
    fn secrets_are_not_repeated() {
        let field = Field::optional("environment", Rule::Own(|_| Err("bad".to_owned()))).secret();
        assert!(!field.check(&json!("hunter2")).unwrap_err().to_string().contains("hunter2"));
    }
}

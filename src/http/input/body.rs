//! A POST's body and what clients may write into its fields: lenient forms in, strict JSON out, or
//! the field and what is wrong with it.
//!
//! Old clients send numbers as strings and `null` for what was not given; unknown keys are
//! ignored. Not here: which fields a noun has (`projections`), values of containers (`container`).

use std::borrow::Cow;
use std::net::Ipv4Addr;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::container;
use super::value::{MAX_TEXT_BYTES, integer, name, prose, text};
use crate::events::work::{FieldChange, UpdatedV1};
use crate::http::error::ApiError;
use crate::http::text::{MAX_NAME_BYTES, canonical_uuid, shown};
use crate::projections::View;
use crate::projections::field_table::{FieldDef, Rule};

/// Longest address that a manifest is fetched from, in bytes: what servers commonly take.
pub const MAX_URL_BYTES: usize = 2048;

/// The strict form of a value that is not null.
pub fn check(name: &str, rule: Rule, is_secret: bool, value: &Value) -> Result<Value, ApiError> {
    strict(rule, &as_meant(rule, value)).map_err(|reason| {
        let value = if is_secret { String::new() } else { shown(&plain(value)) };
        ApiError::field(name, value, reason)
    })
}

/// A number where text is expected: YAML and the old client's PATCH make those of `name: 2015`.
fn as_meant(rule: Rule, value: &Value) -> Cow<'_, Value> {
    match (rule, value) {
        (Rule::Name | Rule::Text | Rule::User, Value::Number(_)) => {
            Cow::Owned(Value::from(value.to_string()))
        }
        _ => Cow::Borrowed(value),
    }
}

/// The strict form of a value, or what is wrong with it.
fn strict(rule: Rule, value: &Value) -> Result<Value, String> {
    match rule {
        Rule::Name => name(value, MAX_NAME_BYTES).map(Value::from),
        Rule::Text => prose(value, MAX_TEXT_BYTES).map(Value::from),
        Rule::Integer(min, max) => integer(value, min, max).map(Value::from),
        // The version is looked at where it is known whether the object is the project's own.
        Rule::Uuid | Rule::NewUuid => {
            let text = text(value, MAX_TEXT_BYTES)?;
            match canonical_uuid(text) {
                Some(id) => Ok(Value::from(id.to_string())),
                None => Err(format!("Expected a uuid but received {}.", shown(text))),
            }
        }
        Rule::Ipv4 => {
            let text = text(value, MAX_TEXT_BYTES)?;
            match text.parse::<Ipv4Addr>() {
                Ok(address) => Ok(Value::from(address.to_string())),
                Err(_) => Err("Value should be IPv4 format.".to_owned()),
            }
        }
        Rule::Image => container::image(value),
        Rule::Command => container::words(value).map(Value::from),
        Rule::CommandLine => container::command_line(value),
        Rule::Variables => container::variables(value),
        Rule::Labels => container::labels(value),
        Rule::Ports => container::ports(value),
        Rule::Memory => container::memory(value),
        Rule::Cpus => container::cpus(value),
        Rule::Folder => container::folder(value),
        Rule::User => container::user(value),
        Rule::RestartPolicy => container::restart_policy(value),
        Rule::Manifest => match value {
            Value::String(text) => Ok(Value::from(text.as_str())),
            Value::Object(_) => Ok(Value::from(value.to_string())),
            _ => Err("The manifest is not a JSON object or YAML mapping.".to_owned()),
        },
        Rule::Url => text(value, MAX_URL_BYTES).map(Value::from),
        Rule::ReadOnly => Err("Cannot set read only field.".to_owned()),
    }
}

/// A checked body: strict values by the names of fields.
#[derive(Debug)]
pub struct Body(Map<String, Value>);

impl Body {
    /// A POST's body, checked by the table of its noun.
    pub fn checked<V: View>(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut strict = Map::new();
        for FieldDef { name, given, .. } in V::TABLE {
            let Some(given) = given else { continue };
            let named = |name: &str| body.get(name).filter(|value| !value.is_null());
            match named(name).or_else(|| given.alias.and_then(named)) {
                Some(value) => {
                    let value = check(name, given.rule, given.is_secret, value)?;
                    strict.insert((*name).to_owned(), value);
                }
                None if given.is_mandatory => {
                    return Err(ApiError::field(name, "None", "Mandatory field missing."));
                }
                None => {}
            }
        }
        Ok(Self(strict))
    }

    /// A field, its default where it was not given.
    pub fn take<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, ApiError> {
        let Some(value) = self.0.remove(name) else { return Ok(T::default()) };
        serde_json::from_value(value)
            .map_err(|error| ApiError::Internal(format!("a checked {name} does not fit: {error}")))
    }

    /// A view with every field that was given, as an update would set it.
    pub fn into_view<V: View + Default>(self) -> V {
        let mut view = V::default();
        let changes = self
            .0
            .into_iter()
            .map(|(field, value)| FieldChange { field, value: value.to_string() });
        view.set_fields(&UpdatedV1 { changes: changes.collect() });
        view
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
    fn secrets_are_not_repeated() {
        let refused = check("environment", Rule::Variables, true, &json!("hunter2")).unwrap_err();
        assert!(!refused.to_string().contains("hunter2"));
    }
}

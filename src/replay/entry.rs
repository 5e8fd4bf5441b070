//! An event as the debugger shows it: flat, with secrets replaced.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::events::Recorded;
use crate::events::cloudevent::redacted;
use crate::events::codec::payload_json;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Entry {
    /// Its place in the whole log.
    pub position: u64,
    /// Its place among the events of its object.
    pub revision: u64,
    /// By the clock of the one who decided it.
    pub time: String,
    /// What happened: `container.started`.
    pub r#type: String,
    /// The object: `container/` and its uuid.
    pub object: String,
    /// Its identity; also that of the work that it asks for.
    pub id: String,
    /// Who asked for it, or the part of the service that acted by itself: `magnum:worker`.
    pub user: String,
    /// The request that it began with; empty if nobody asked.
    pub request_id: String,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// The id of the event that led to this one.
    pub causation: Option<String>,
    /// What happened in detail; depends on `type`.
    #[schema(value_type = Object)]
    pub data: Value,
    /// The command, with the first event that it caused.
    #[schema(value_type = Value)]
    pub command: Option<Value>,
}

impl From<&Recorded> for Entry {
    fn from(event: &Recorded) -> Self {
        let (kind, name) = (event.stream.kind, event.event_type.as_str());
        // What a newer program wrote is shown without its payload rather than not at all.
        let data = payload_json(kind, name, event.version, &event.payload)
            .unwrap_or_else(|error| json!({ "unreadable": error.to_string() }));
        let command = event.meta.command.as_deref();
        Self {
            position: event.position.get(),
            revision: event.revision.get(),
            time: event.time.rfc3339(),
            r#type: name.to_owned(),
            object: event.stream.to_string(),
            id: event.id.to_string(),
            user: event.meta.user.clone(),
            request_id: event.meta.request_id.clone(),
            reason: event.meta.reason.clone(),
            causation: event.meta.causation.map(|id| id.to_string()),
            data: redacted(data),
            command: command.and_then(|text| serde_json::from_str(text).ok()).map(redacted),
        }
    }
}

/// The details of an event, given as a document, in one line: plain values by name, and the reason.
/// Ids are for programs.
pub fn details(event: &Value) -> String {
    let data = event.get("data").and_then(Value::as_object);
    let told = |(name, value): (&String, &Value)| match value {
        Value::Array(changes) if name == "changes" => Some(updated(changes)),
        Value::Null | Value::Array(_) => None,
        Value::Object(_) if name != "drift" => None,
        _ if name.ends_with("_id") => None,
        value => Some(format!("{name}={}", plain(value))),
    };
    let fields = data.into_iter().flatten().filter_map(told);
    let reason = event.get("reason").and_then(Value::as_str);
    let words: Vec<String> =
        fields.chain(reason.map(|reason| format!("because: {reason}"))).collect();
    words.join(" ")
}

/// Fields that were set, as they were written.
fn updated(changes: &[Value]) -> String {
    let text = |change: &Value, name: &str| change.get(name).map(plain).unwrap_or_default();
    let set = |change| format!("{}={}", text(change, "field"), text(change, "value"));
    changes.iter().map(set).collect::<Vec<_>>().join(" ")
}

impl Entry {
    /// The verb of its command: `start`; `None` if it came with another event of a command.
    pub fn verb(&self) -> Option<&str> {
        match self.command.as_ref()? {
            Value::String(verb) => Some(verb),
            Value::Object(fields) => fields.keys().next().map(String::as_str),
            _ => None,
        }
    }
}

/// A value without the quotes of JSON.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

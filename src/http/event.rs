//! An event as readers get it: JSON, with every secret replaced.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::container::REDACTED;
use crate::events::Recorded;
use crate::events::codec::payload_json;

/// Keys whose values are told nobody, wherever they are in a payload or a command.
const SECRET: &str = "environment";

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its place in the whole log; resume after it.
    position: u64,
    /// Its place among the events of its object.
    revision: u64,
    /// The noun: `container`.
    kind: String,
    /// The object.
    object: String,
    /// What happened: `container.started`.
    r#type: String,
    /// The version of `data`.
    version: u16,
    id: String,
    /// By the wall clock of the service.
    time: String,
    project: String,
    /// Who asked for it, or the part of the service that acted by itself: `magnum:worker`.
    user: String,
    roles: Vec<String>,
    request_id: String,
    command_id: Option<String>,
    /// The reason that the user gave.
    reason: Option<String>,
    /// The event that led to this one.
    causation: Option<String>,
    /// What happened in detail; depends on `type` and `version`.
    #[schema(value_type = Object)]
    data: Value,
    /// The command, with the first event that it caused.
    #[schema(value_type = Option<Object>)]
    command: Option<Value>,
}

impl From<&Recorded> for Event {
    fn from(event: &Recorded) -> Self {
        let kind = event.stream.kind;
        let name = event.event_type.as_str();
        // What a newer program wrote is shown without its payload rather than not at all.
        let data = payload_json(kind, name, event.version, &event.payload)
            .unwrap_or_else(|error| serde_json::json!({ "unreadable": error.to_string() }));
        let command = event.meta.command.as_deref();
        Self {
            position: event.position.get(),
            revision: event.revision.get(),
            kind: kind.name().to_owned(),
            object: event.stream.id.to_string(),
            r#type: name.to_owned(),
            version: event.version,
            id: event.id.to_string(),
            time: event.time.rfc3339(),
            project: event.meta.project.to_string(),
            user: event.meta.user.clone(),
            roles: event.meta.roles.clone(),
            request_id: event.meta.request_id.clone(),
            command_id: event.meta.command_id.as_ref().map(ToString::to_string),
            reason: event.meta.reason.clone(),
            causation: event.meta.causation.map(|id| id.to_string()),
            data: redacted(data),
            command: command.and_then(|text| serde_json::from_str(text).ok()).map(redacted),
        }
    }
}

/// The same document without the values of environment variables.
fn redacted(mut document: Value) -> Value {
    redact(&mut document, false);
    document
}

fn redact(value: &mut Value, secret: bool) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                redact(value, secret || name == SECRET);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, secret)),
        Value::String(_) | Value::Number(_) | Value::Bool(_) if secret => {
            *value = Value::from(REDACTED);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn environment_values_are_redacted_wherever_they_are() {
        let shown = redacted(json!({
            "create": { "spec": { "image": "i", "environment": { "A": "hunter2", "B": 5 } } },
            "list": [{ "environment": ["A=hunter2"] }],
        }));
        assert!(!shown.to_string().contains("hunter2"));
        assert_eq!(shown["create"]["spec"]["environment"], json!({ "A": "***", "B": "***" }));
        assert_eq!(shown["create"]["spec"]["image"], "i");
    }
}

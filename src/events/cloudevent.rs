//! The outward form of an event: a CloudEvents 1.0 document in structured mode, with secrets
//! replaced; the same in pages, streams, histories and offline tools.
//!
//! What CloudEvents does not define is in extension attributes, whose names may contain only
//! lower-case letters and digits. Its Integer has 32 bits, so positions and revisions are strings.
//! Not here: who gets which events (`http`).

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::codec::{self, payload_json};
use super::log::export::to_hex;
use super::{Mark, Recorded};

/// What stands instead of a secret.
pub const REDACTED: &str = "***";

/// Keys whose values are never shown, wherever they are in a payload or a command.
const SECRET: &str = "environment";

/// Before a type of ours, so that it is one of a kind wherever events of many are gathered.
const PREFIX: &str = "magnum.";

/// The outcome of what an event is about; one value for all events of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Asked for; the work is still to be done.
    Requested,
    /// Done, or changed.
    Done,
    /// Work was refused by the backend, or every attempt failed.
    Failed,
    /// The outcome of work is unknown.
    Unknown,
    /// Work waits and is tried again.
    Blocked,
    /// A command was refused; nothing changed.
    Refused,
    /// Nobody asked for it: what was seen on the engine, and how far a pull is, what
    /// was counted.
    Observed,
}

impl Outcome {
    /// Every one there is, with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("requested", Self::Requested),
        ("done", Self::Done),
        ("failed", Self::Failed),
        ("unknown", Self::Unknown),
        ("blocked", Self::Blocked),
        ("refused", Self::Refused),
        ("observed", Self::Observed),
    ];

    /// The outcome that a type of event tells: `container.work_failed`.
    pub fn of(event_type: &str) -> Self {
        match codec::mark(event_type) {
            Some(Mark::Asks(_)) => Self::Requested,
            Some(Mark::Failed) => Self::Failed,
            Some(Mark::Unknown) => Self::Unknown,
            Some(Mark::Blocked) => Self::Blocked,
            Some(Mark::Refused) => Self::Refused,
            Some(Mark::Observed | Mark::Progress) => Self::Observed,
            Some(Mark::Done(_) | Mark::Step | Mark::Changed) | None => Self::Done,
        }
    }
}

/// Something that happened, as CloudEvents 1.0 JSON.
#[derive(Debug, Serialize, ToSchema)]
pub struct CloudEvent {
    // First, so that a document can be made for one address and sent under another.
    /// Where `data` is described: a JSON schema under the address that the reader asked.
    dataschema: String,
    /// `1.0`
    specversion: &'static str,
    /// The event, unique forever.
    #[schema(format = Uuid)]
    id: String,
    /// Which installation: `/magnum/` and a uuid that no other one has.
    source: String,
    /// What happened, with the version of `data`: `magnum.container.started.v1`.
    r#type: String,
    /// The object: `container/` and its uuid.
    subject: String,
    /// The name that the object had then, a node its host's. Of an audit event: the name of the
    /// object that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    objectname: Option<String>,
    /// The name that the bay had then which the object is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    bayname: Option<String>,
    /// The image of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// When it was decided, by the wall clock of the service.
    #[schema(format = DateTime)]
    time: String,
    /// `application/json`
    datacontenttype: &'static str,
    /// Its place in the whole log, a number; resume after it.
    position: String,
    /// Its place among the events of its object, a number from 0.
    revision: String,
    /// The tenant that the object belongs to.
    project: String,
    /// Who asked for it, or the part of the service that acted by itself: `magnum:worker`.
    user: String,
    /// The roles that the user acted with, with commas between; absent where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    roles: String,
    /// The outcome of it.
    outcome: Outcome,
    /// The request that it began with; absent where nobody asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    requestid: String,
    /// The same, by the name that CloudEvents gives to what belongs together: all events that a
    /// request led to have it.
    #[serde(skip_serializing_if = "String::is_empty")]
    correlationid: String,
    /// The event that led to this one.
    #[schema(format = Uuid)]
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<String>,
    /// What makes the command exactly-once, where its sender named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    commandid: Option<String>,
    /// The command as JSON text, with the first event that it caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// The reason that the user gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The chain up to and including this event, in hex.
    chainhash: String,
    /// What happened in detail; depends on `type`.
    #[schema(value_type = Object)]
    data: Value,
}

/// What readers know objects by, as of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventNames {
    /// The name of the object that the event is about; the host's of a node.
    pub object: Option<String>,
    /// The name of the bay that the object is in.
    pub bay: Option<String>,
    /// The image that a container was made from.
    pub image: Option<String>,
}

impl CloudEvent {
    /// An event of an installation for a reader that asked an address such as
    /// `http://127.0.0.1:9511`; without one, where no server is asked, `dataschema` is a path.
    pub fn new(event: &Recorded, names: EventNames, installation: Uuid, address: &str) -> Self {
        let kind = event.stream.kind;
        let (name, version) = (event.event_type.as_str(), event.version);
        // What a newer program wrote is shown without its payload rather than not at all.
        let data = payload_json(kind, name, version, &event.payload)
            .unwrap_or_else(|error| serde_json::json!({ "unreadable": error.to_string() }));
        let meta = &event.meta;
        let command = meta.command.as_deref().and_then(|text| serde_json::from_str(text).ok());
        Self {
            dataschema: format!("{address}/v1/schemas/events/{name}.v{version}.json"),
            specversion: "1.0",
            id: event.id.to_string(),
            source: format!("/magnum/{installation}"),
            r#type: outward_type(name, version),
            subject: event.stream.to_string(),
            objectname: names.object,
            bayname: names.bay,
            image: names.image,
            time: event.time.rfc3339(),
            datacontenttype: "application/json",
            position: event.position.to_string(),
            revision: event.revision.to_string(),
            project: meta.project.to_string(),
            user: meta.user.clone(),
            roles: meta.roles.join(","),
            outcome: Outcome::of(name),
            requestid: meta.request_id.clone(),
            correlationid: meta.request_id.clone(),
            causationid: meta.causation.map(|id| id.to_string()),
            commandid: meta.command_id.as_ref().map(ToString::to_string),
            command: command.map(|command| redacted(command).to_string()),
            reason: meta.reason.clone(),
            chainhash: to_hex(&event.hash),
            data: redacted(data),
        }
    }
}

/// `magnum.container.started.v1`
pub fn outward_type(event_type: &str, version: u16) -> String {
    format!("{PREFIX}{event_type}.v{version}")
}

/// The type in the log of a type in either form: `container.started`.
pub fn inward_type(name: &str) -> &str {
    let Some(name) = name.strip_prefix(PREFIX) else { return name };
    name.rsplit_once(".v").map_or(name, |(name, _)| name)
}

/// The same document without the values of environment variables.
pub fn redacted(mut document: Value) -> Value {
    redact(&mut document, false);
    document
}

fn redact(value: &mut Value, secret: bool) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                // A label may have that name; variables are a map or a list.
                redact(value, secret || (name == SECRET && !value.is_string()));
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
            "labels": { "environment": "prod" },
        }));
        assert!(!shown.to_string().contains("hunter2"));
        assert_eq!(shown["labels"]["environment"], "prod");
        assert_eq!(shown["create"]["spec"]["environment"], json!({ "A": "***", "B": "***" }));
        assert_eq!(shown["create"]["spec"]["image"], "i");
    }
}

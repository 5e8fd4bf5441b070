//! An event as the debugger shows it: flat, with secrets replaced.

use serde::Serialize;
use serde_json::{Map, Value, json};
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

/// The details of an event, given as a document, in one line: its [`facts`], and the reason.
pub fn details(event: &Value) -> String {
    let reason = event.get("reason").and_then(Value::as_str);
    let reason = reason.map(|reason| format!("because: {reason}"));
    let facts = Some(facts(event)).filter(|facts| !facts.is_empty());
    facts.into_iter().chain(reason).collect::<Vec<_>>().join(" ")
}

/// What the data of an event say to people: plain values by name, commands as they would be typed,
/// fields that were set. Ids are for programs, and what is not so is left out.
pub fn facts(event: &Value) -> String {
    let data = event.get("data").and_then(Value::as_object);
    let told = |(name, value): (&String, &Value)| match value {
        Value::Array(changes) if name == "changes" => Some(updated(changes)),
        Value::Array(words) if name == "command" => Some(format!("command={}", line(words))),
        Value::Array(left) if name == "left_behind" => Some(left_behind(left)),
        Value::Object(spec) if name == "spec" => Some(specified(spec)),
        Value::Null | Value::Bool(false) | Value::Array(_) => None,
        Value::Object(_) if name != "drift" => None,
        _ if name.ends_with("_id") => None,
        value => Some(format!("{name}={}", plain(value))),
    };
    let told = data.into_iter().flatten().filter_map(told);
    told.filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What a bay that was given up leaves, by the engine's names.
fn left_behind(left: &[Value]) -> String {
    let text = |one: &Value, name: &str| one.get(name).map(plain).unwrap_or_default();
    let one = |one| format!("{} {}", text(one, "kind"), text(one, "engine_name"));
    format!("left_behind=\"{}\"", left.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// What a container is made from: the image and the command.
fn specified(spec: &Map<String, Value>) -> String {
    let image = spec.get("image").map(|image| format!("image={}", plain(image)));
    let command = spec.get("command").and_then(Value::as_array).filter(|words| !words.is_empty());
    let command = command.map(|words| format!("command={}", line(words)));
    image.into_iter().chain(command).collect::<Vec<_>>().join(" ")
}

/// A command as it would be typed, in quotes where it has several words.
fn line(words: &[Value]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    let word = |word: &Value| {
        let word = plain(word);
        if !word.is_empty() && word.chars().all(is_plain) {
            return word;
        }
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    };
    let words: Vec<String> = words.iter().map(word).collect();
    match words.as_slice() {
        [one] => one.clone(),
        words => format!("\"{}\"", words.join(" ")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_an_event_are_what_people_ask_for() {
        let facts = |data: Value| facts(&json!({ "data": data }));
        let spec = json!({
            "image": "busybox:1", "command": ["sh", "-c", "it's 1"], "environment": {"A": "***"},
        });
        assert_eq!(
            facts(json!({ "name": "web", "bay_id": "x", "spec": spec })),
            r#"name=web image=busybox:1 command="sh -c 'it'"'"'s 1'""#
        );
        assert_eq!(facts(json!({ "spec": { "image": "i", "command": [] } })), "image=i");
        assert_eq!(facts(json!({ "command": ["env"] })), "command=env");
        assert_eq!(facts(json!({ "command": ["ls", "-l", ""] })), r#"command="ls -l ''""#);
        let exited = json!({ "exit_code": 137, "oom_killed": true, "restarting": false });
        assert_eq!(facts(exited), "exit_code=137 oom_killed=true");
        let left = json!([{ "kind": "network", "engine_name": "magnum-x", "reason": "in use" }]);
        assert_eq!(facts(json!({ "left_behind": left })), r#"left_behind="network magnum-x""#);
        let changes = json!([{ "field": "desc", "value": "\"a shop\"" }]);
        assert_eq!(facts(json!({ "changes": changes, "work_id": "x" })), "desc=\"a shop\"");
        assert_eq!(details(&json!({ "data": {}, "reason": "late" })), "because: late");
    }
}

//! What a POST asks for that has no meaning here. The API of 2015 takes it without a word, so it is
//! no error, but the answer says so: a container without its `volumes` is not what was asked for.
//!
//! Not here: what is refused (`body`), how an answer shows warnings (`shape`).

use serde_json::{Map, Value};

use crate::http::text::shown;
use crate::projections::View;
use crate::projections::field_table::{FieldDef, Rule};

/// Most warnings of one answer: no client has as many options.
const MAX_WARNINGS: usize = 50;

/// Fields of every answer that no table has.
const ADDED: [&str; 4] = ["created_at", "updated_at", "links", "warnings"];

/// Options of later clients with the value that they always send, which is what they get.
const IMPLIED: [(&str, &str); 1] = [("master_count", "1")];

/// The keys of a published port.
const PORT: [&str; 4] = ["container_port", "host_ip", "host_port", "protocol"];

/// What of a body is ignored, one sentence each.
pub fn warnings<V: View>(body: &Map<String, Value>) -> Vec<String> {
    let mut warnings: Vec<String> = body
        .iter()
        .filter(|(key, value)| !is_empty(value) && !is_implied(key, value))
        .flat_map(|(key, value)| of::<V>(body, key, value))
        .collect();
    let more = warnings.len().saturating_sub(MAX_WARNINGS);
    if more > 0 {
        warnings.truncate(MAX_WARNINGS);
        warnings.push(format!("{more} more were ignored."));
    }
    warnings
}

/// What is ignored in one key of a body.
fn of<V: View>(body: &Map<String, Value>, key: &str, value: &Value) -> Vec<String> {
    let given = V::TABLE.iter().filter_map(|field| Some((field.name, field.given?)));
    let named = given.clone().find(|(name, given)| *name == key || given.alias == Some(key));
    if let Some((name, given)) = named {
        let is_outdone = name != key && body.get(name).is_some_and(|other| !other.is_null());
        return if is_outdone && body.get(name) != Some(value) {
            vec![format!("'{key}' was ignored: '{name}' was given too, and means the same.")]
        } else if given.rule == Rule::Ports {
            in_ports(value)
        } else {
            vec![]
        };
    }
    let is_field = |field: &FieldDef<V>| field.name == key && field.schema.is_some();
    let why = if ADDED.contains(&key) || V::TABLE.iter().any(is_field) {
        "only the service sets it".to_owned()
    } else {
        let names = given.flat_map(|(name, given)| [Some(name), given.alias]).flatten();
        match names.into_iter().find(|name| name.eq_ignore_ascii_case(key)) {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("a {} has no such option", V::KIND),
        }
    };
    let end = if why.ends_with('?') { "" } else { "." };
    vec![format!("'{}' was ignored: {why}{end}", shown(key))]
}

/// What is ignored in published ports that are objects.
fn in_ports(ports: &Value) -> Vec<String> {
    let objects = ports.as_array().into_iter().flatten().filter_map(Value::as_object);
    let keys =
        objects.flatten().filter(|(key, value)| !PORT.contains(&&***key) && !is_empty(value));
    keys.map(|(key, _)| format!("'{}' was ignored: a port has no such option.", shown(key)))
        .collect()
}

/// Whether a value asks for nothing: clients send such ones for options that were not given.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn is_implied(key: &str, value: &Value) -> bool {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    IMPLIED.contains(&(key, &text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::projections::bay::BayView;
    use crate::projections::container::ContainerView;

    fn of_container(body: &Value) -> Vec<String> {
        warnings::<ContainerView>(body.as_object().unwrap())
    }

    #[test]
    fn what_has_a_meaning_or_asks_for_nothing_is_no_warning() {
        let known = json!({ "image": "i", "name": "a", "uuid": "x", "ports": [{"host_ip": "::"}] });
        let empty = json!({ "volumes": [], "tty": false, "labels": {}, "entrypoint": null });
        for body in [known, empty, json!({ "image": "i", "image_id": "i" })] {
            assert_eq!(of_container(&body), [""; 0], "{body}");
        }
        let bay = json!({ "master_count": 1, "name": "b", "bay_create_timeout": null });
        assert_eq!(warnings::<BayView>(bay.as_object().unwrap()), [""; 0]);
    }

    #[test]
    fn what_is_ignored_is_named_with_the_reason() {
        for (body, words) in [
            (
                json!({ "volumes": ["/a:/a"] }),
                "'volumes' was ignored: a container has no such option.",
            ),
            (json!({ "NAME": "a" }), "'NAME' was ignored: did you mean 'name'?"),
            (json!({ "status": "Running" }), "'status' was ignored: only the service sets it."),
            (json!({ "created_at": "x" }), "'created_at' was ignored: only the service sets it."),
            (
                json!({ "image": "a", "image_id": "b" }),
                "'image' was ignored: 'image_id' was given too, and means the same.",
            ),
            (
                json!({ "ports": [{ "container_port": 80, "hostport": 8080 }] }),
                "'hostport' was ignored: a port has no such option.",
            ),
        ] {
            assert_eq!(of_container(&body), [words], "{body}");
        }
    }

    #[test]
    fn there_are_only_so_many() {
        let many = (0..1000).map(|at| (format!("x{at}"), Value::from(1))).collect();
        let warnings = warnings::<ContainerView>(&many);
        assert_eq!(warnings.len(), MAX_WARNINGS + 1);
        assert_eq!(warnings[MAX_WARNINGS], "950 more were ignored.");
    }
}

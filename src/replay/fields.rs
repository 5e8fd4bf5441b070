//! A document flattened to fields: `tasks.0.action`. Lists of plain values are one field.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A field that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FieldChange {
    /// `status`, or `state.tasks.queue`.
    pub field: String,
    /// What it was; null where it was not there.
    pub from: Value,
    /// What it is.
    pub to: Value,
}

/// What differs between two documents. A list is one field: where in it something is says little.
pub fn compare(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    differ(String::new(), before, after, &mut changes);
    changes
}

fn differ(path: String, before: &Value, after: &Value, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    let none = Map::new();
    let is_document = before.is_object() || after.is_object();
    if let Some((old, new)) = inner(before, &none).zip(inner(after, &none)).filter(|_| is_document)
    {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let value = |of: &Map<String, Value>| of.get(name).cloned().unwrap_or_default();
            differ(below(&path, name), &value(old), &value(new), changes);
        }
        return;
    }
    changes.push(FieldChange { field: path, from: before.clone(), to: after.clone() });
}

/// The fields of a document; what was not there had none.
fn inner<'a>(value: &'a Value, none: &'a Map<String, Value>) -> Option<&'a Map<String, Value>> {
    match value {
        Value::Object(inner) => Some(inner),
        Value::Null => Some(none),
        _ => None,
    }
}

/// Whether a field is how the service keeps track of an object, and not what a user means by it.
pub fn is_bookkeeping(field: &str) -> bool {
    ["state", "head", "tasks", "outcomes"].iter().any(|of| is_within(field, of))
}

/// Whether a field is another one or lies below it.
pub fn is_within(field: &str, of: &str) -> bool {
    field.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A field of a document by its path.
pub fn at<'a>(document: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(document, |value, name| match value {
        Value::Array(items) => items.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    })
}

/// All fields of a document, in its order.
pub fn flatten(document: &Value) -> Map<String, Value> {
    let mut fields = Map::new();
    walk(String::new(), document, &mut fields);
    fields
}

fn walk(path: String, value: &Value, fields: &mut Map<String, Value>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(inner) => inner.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().map(|(place, value)| (place.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    if inner.is_empty() {
        fields.insert(path, value.clone());
        return;
    }
    for (name, value) in inner {
        walk(below(&path, &name), value, fields);
    }
}

/// The fields of an object: those of its view, and below `state` those of its actor's state.
pub fn of_object(view: Option<&Value>, state: Option<&Value>) -> Map<String, Value> {
    let mut fields = view.filter(|view| view.is_object()).map(flatten).unwrap_or_default();
    let state = state.map(flatten).unwrap_or_default();
    fields.extend(state.into_iter().map(|(name, value)| (format!("state.{name}"), value)));
    fields
}

/// A field with its value in each of two documents.
pub type FieldPair = (String, Option<Value>, Option<Value>);

/// Each field that is in one of two documents: first those of the first one.
pub fn pairs(one: &Map<String, Value>, other: &Map<String, Value>) -> Vec<FieldPair> {
    let more = other.keys().filter(|name| !one.contains_key(*name));
    let pair = |name: &String| (name.clone(), one.get(name).cloned(), other.get(name).cloned());
    one.keys().chain(more).map(pair).collect()
}

/// A field below a path.
fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_by_field_and_lists_as_a_whole() {
        let before = json!({"a": {"b": 1, "c": 2}, "d": [], "e": null});
        let after = json!({"a": {"b": 1, "c": 3}, "d": [{"x": 1}], "f": {"g": true}});
        let told: Vec<_> =
            compare(&before, &after).into_iter().map(|it| (it.field, it.from, it.to)).collect();
        assert_eq!(
            told,
            [
                ("a.c".to_owned(), json!(2), json!(3)),
                ("d".to_owned(), json!([]), json!([{"x": 1}])),
                ("f.g".to_owned(), Value::Null, json!(true)),
            ]
        );
        assert!(compare(&after, &after).is_empty());
        assert!(is_within("a.b", "a") && is_within("a", "a") && !is_within("ab", "a"));
        assert_eq!((at(&after, "d.0.x"), at(&after, "d.1")), (Some(&json!(1)), None));
    }

    #[test]
    fn documents_are_flattened_to_what_can_be_compared() {
        let document = json!({"a": {"b": 1, "c": []}, "d": [{"e": null}, {"e": "x"}], "f": [1, 2]});
        let fields = Value::Object(flatten(&document));
        assert_eq!(fields, json!({"a.b": 1, "a.c": [], "d.0.e": null, "d.1.e": "x", "f": [1, 2]}));
    }
}

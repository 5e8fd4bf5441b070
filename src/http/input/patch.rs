//! PATCH: turns a JSON patch of an object into changes of its fields, with the refusals of the 2015
//! API.

use json_patch::Patch as Operations;
use serde_json::{Map, Value, json};

use super::body;
use crate::events::container::{RestartPolicy, cpus};
use crate::events::work::FieldChange;
use crate::http::error::ApiError;
use crate::http::text::shown;
use crate::projections::View;
use crate::projections::field_table::{FieldDef, Patch, Rule};

/// Attributes of every noun that only the service sets.
const INTERNAL: [&str; 5] = ["created_at", "id", "links", "updated_at", "uuid"];

/// Most operations of one patch: far more than any noun has attributes.
pub const MAX_OPERATIONS: usize = 100;

/// Operations that set a field.
pub const OPERATIONS: [&str; 2] = ["add", "replace"];

/// The operation that clears one.
pub const REMOVE: &str = "remove";

/// The changes that a patch makes to an object, in the order of the patch.
pub fn changes_of<V: View>(patch: &Value, view: &V) -> Result<Vec<FieldChange>, ApiError> {
    changes(patch, V::TABLE, attributes(V::TABLE, view, |field| view.wanted(field)))
}

/// The changes that a patch makes to an object with these attributes, in the order of the patch.
fn changes<V>(
    patch: &Value,
    table: &[FieldDef<V>],
    object: Map<String, Value>,
) -> Result<Vec<FieldChange>, ApiError> {
    let operations = match patch {
        Value::Array(operations) => operations,
        // What some clients send for "no change".
        Value::Object(fields) if fields.is_empty() => return Ok(vec![]),
        _ => return Err(bad("A patch must be a list of {path, op, value}.".to_owned())),
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(bad(format!("A patch has at most {MAX_OPERATIONS} operations.")));
    }
    let mut touched = Vec::new();
    for operation in operations {
        let root = check(operation, &object, table)?;
        if !touched.contains(&root) {
            touched.push(root);
        }
    }
    let mut patched = Value::Object(object.clone());
    let applied: Result<Operations, _> = serde_json::from_value(patch.clone());
    let unfit = |reason: String| {
        // As JSON has them, and not escaped once more.
        let patch = shown(&patch.to_string()).replace("\\\"", "\"").replace("\\\\", "\\");
        let settable = settable(table);
        bad(format!("Couldn't apply patch '{patch}'. Reason: {reason}. {settable}"))
    };
    let applied = applied.map_err(|error| unfit(error.to_string()))?;
    json_patch::patch(&mut patched, &applied).map_err(|error| unfit(error.to_string()))?;
    let mut changes = Vec::new();
    for root in touched {
        let new = patched.get(&root).unwrap_or(&Value::Null);
        let Some(Patch::Set { rule, .. }) = patch_of(table, &root) else {
            return Err(internal(&root));
        };
        let new = match new {
            Value::Null => Value::Null,
            new => as_shown(rule, body::check(&root, rule, false, &as_asked(new, rule))?),
        };
        if object.get(&root) != Some(&new) {
            changes.push(FieldChange { field: root, value: new.to_string() });
        }
    }
    Ok(changes)
}

/// What a PATCH sees: the fields that it may change, as they are wanted to be, and those that it is
/// told it may not.
fn attributes<V>(
    table: &[FieldDef<V>],
    view: &V,
    wanted: impl Fn(&str) -> Option<Value>,
) -> Map<String, Value> {
    let seen = table.iter().filter(|field| !matches!(field.patch, Patch::No));
    let value =
        |field: &FieldDef<V>| wanted(field.name).unwrap_or_else(|| json!((field.get)(view)));
    seen.map(|field| (field.name.to_owned(), value(field))).collect()
}

/// What a PATCH may change, for people.
fn settable<V>(table: &[FieldDef<V>]) -> String {
    let settable = table.iter().filter(|field| matches!(field.patch, Patch::Set { .. }));
    let paths: Vec<_> = settable.map(|field| format!("/{}", field.name)).collect();
    format!("What can be changed: {}.", paths.join(", "))
}

/// What a PATCH may do to a field; `None` if the noun has no such field.
fn patch_of<V>(table: &[FieldDef<V>], name: &str) -> Option<Patch> {
    table.iter().find(|field| field.name == name).map(|field| field.patch)
}

/// Checks one operation; the attribute that it touches.
fn check<V>(
    operation: &Value,
    object: &Map<String, Value>,
    table: &[FieldDef<V>],
) -> Result<String, ApiError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let (Some(op), Some(path)) = (text("op"), text("path")) else {
        return Err(bad(
            "Each operation of a patch needs an op and a path, both strings.".to_owned()
        ));
    };
    let mut parts = path.split('/').skip(1);
    let word = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
    };
    if !path.starts_with('/') || !path.split('/').skip(1).all(word) {
        return Err(ApiError::field("path", shown(path), "Use /attribute."));
    }
    let root = parts.next().unwrap_or_default();
    if op != REMOVE && !OPERATIONS.contains(&op) {
        return Err(ApiError::field("op", shown(op), "Use add, replace or remove."));
    }
    let patch = patch_of(table, root);
    if INTERNAL.contains(&root) || matches!(patch, Some(Patch::Internal)) {
        return Err(internal(root));
    }
    let is_root = parts.next().is_none();
    if op == REMOVE {
        if is_root && matches!(patch, Some(Patch::Set { is_mandatory: true, .. })) {
            return Err(bad(format!("'{path}' is a mandatory attribute and can not be removed")));
        }
    } else if operation.get("value").is_none_or(is_falsy) {
        return Err(bad("'add' and 'replace' operations needs value".to_owned()));
    }
    if op == "add" && is_root && !object.contains_key(root) {
        return Err(bad(format!(
            "Adding a new attribute ({path}) to the root of  the resource is not allowed"
        )));
    }
    Ok(root.to_owned())
}

/// What Python takes for false, as the API of 2015 does.
fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Old clients read `name=true` as a boolean before they send it; what it was is text.
fn as_asked(value: &Value, rule: Rule) -> Value {
    match (rule, value) {
        (Rule::Name | Rule::Text, Value::Bool(_)) => Value::from(value.to_string()),
        _ => value.clone(),
    }
}

/// A checked value in the form in which it is shown, which is the form of updates.
fn as_shown(rule: Rule, strict: Value) -> Value {
    match (rule, strict.as_u64().and_then(|millis| u32::try_from(millis).ok())) {
        (Rule::Cpus, Some(millis)) => json!(cpus(millis)),
        (Rule::RestartPolicy, _) => serde_json::from_value::<RestartPolicy>(strict.clone())
            .map_or(strict, |policy| Value::from(policy.text())),
        _ => strict,
    }
}

fn internal(root: &str) -> ApiError {
    bad(format!("'/{root}' is an internal attribute and can not be updated"))
}

fn bad(words: String) -> ApiError {
    ApiError::BadRequest(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projections::field_table::Held;

    const NOUN: &[FieldDef<()>] = &[
        FieldDef::optional::<String>("name", |()| "b".into()).patched(Rule::Name),
        FieldDef::new::<String>("baymodel_id", |()| "x".into()).kept(Rule::Uuid),
        FieldDef::new::<u32>("node_count", |()| 1_u32.into()).patched(Rule::Integer(1, 100)),
        FieldDef::optional::<String>("api_address", |()| Held::Nothing).internal(),
    ];

    fn apply(patch: Value) -> Result<Vec<(String, String)>, String> {
        changes(&patch, NOUN, attributes(NOUN, &(), |_| None))
            .map(|changes| changes.into_iter().map(|c| (c.field, c.value)).collect())
            .map_err(|error| error.to_string())
    }

    fn one(field: &str, value: &str) -> Result<Vec<(String, String)>, String> {
        Ok(vec![(field.to_owned(), value.to_owned())])
    }

    #[test]
    fn what_is_possible() {
        let set =
            |value: Value| json!([{ "op": "replace", "path": "/node_count", "value": value }]);
        assert_eq!(apply(set(json!(4))), one("node_count", "4"));
        assert_eq!(apply(set(json!("4"))), one("node_count", "4"));
        assert_eq!(apply(set(json!(1))), Ok(vec![]));
        assert_eq!(
            apply(json!([{ "op": "add", "path": "/name", "value": true }])),
            one("name", "\"true\"")
        );
        assert_eq!(apply(json!([{ "op": "remove", "path": "/name" }])), one("name", "null"));
        assert_eq!(apply(json!([])), Ok(vec![]));
        assert_eq!(apply(json!({})), Ok(vec![]));
    }

    #[test]
    fn what_is_not_in_the_words_of_2015() {
        let cases = [
            (
                json!([{ "op": "replace", "path": "/uuid", "value": "x" }]),
                "'/uuid' is an internal attribute and can not be updated",
            ),
            (
                json!([{ "op": "replace", "path": "/api_address", "value": "x" }]),
                "'/api_address' is an internal attribute and can not be updated",
            ),
            (
                json!([{ "op": "remove", "path": "/baymodel_id" }]),
                "'/baymodel_id' is a mandatory attribute and can not be removed",
            ),
            (
                json!([{ "op": "replace", "path": "/node_count", "value": 0 }]),
                "'add' and 'replace' operations needs value",
            ),
            (
                json!([{ "op": "add", "path": "/name" }]),
                "'add' and 'replace' operations needs value",
            ),
            (
                json!([{ "op": "add", "path": "/bogus", "value": "x" }]),
                "Adding a new attribute (/bogus) to the root of  the resource is not allowed",
            ),
            (
                json!([{ "op": "replace", "path": "/bogus", "value": "x" }]),
                "Couldn't apply patch '",
            ),
            (
                json!([{ "op": "remove", "path": "/bogus" }]),
                "Couldn't apply patch '[{\"op\":\"remove\",\"path\":\"/bogus\"}]'. Reason:",
            ),
            (
                json!([{ "op": "replace", "path": "/bogus", "value": "a\"\\b" }]),
                "\"value\":\"a\\\"\\\\b\"}]'. Reason:",
            ),
            (
                json!([{ "op": "remove", "path": "/bogus" }]),
                "What can be changed: /name, /baymodel_id, /node_count.",
            ),
            (json!([{ "op": "add", "path": "/name/x", "value": "x" }]), "Couldn't apply patch '"),
            (json!([{ "op": "replace", "path": "/node_count", "value": "x" }]), "node_count"),
            (json!([{ "op": "replace", "path": "/node_count", "value": -1 }]), "node_count"),
            (
                json!([{ "op": "test", "path": "/name", "value": "x" }]),
                "Use add, replace or remove",
            ),
            (json!([{ "op": "replace", "path": "name", "value": "x" }]), "Use /attribute"),
            (json!([{ "op": "replace", "path": "/a b", "value": "x" }]), "Use /attribute"),
            (json!([{ "op": 5, "path": "/name" }]), "needs an op and a path"),
            (json!(["x"]), "needs an op and a path"),
            (json!("x"), "A patch must be a list"),
            (json!({ "op": "add" }), "A patch must be a list"),
        ];
        for (patch, words) in cases {
            let error = apply(patch.clone()).unwrap_err();
            assert!(error.contains(words), "{patch}: {error}");
        }
    }
}

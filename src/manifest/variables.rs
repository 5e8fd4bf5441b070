//! Where secrets may be in a manifest: values of environment variables.
//!
//! Not here: sealing them.

use std::collections::BTreeMap;
use std::mem;

use serde_json::Value;

use super::CONTAINER_LISTS;

/// The value of each variable of each container that has one in the manifest itself, in a fixed
/// order, with `CONTAINER/VARIABLE` for messages.
pub fn values_mut(document: &mut Value) -> Vec<(String, &mut String)> {
    let mut values = Vec::new();
    let spec = document.get_mut("spec").and_then(Value::as_object_mut);
    let lists =
        spec.into_iter().flatten().filter(|(name, _)| CONTAINER_LISTS.contains(&name.as_str()));
    let containers = lists.filter_map(|(_, list)| list.as_array_mut()).flatten();
    for container in containers.filter_map(Value::as_object_mut) {
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let variables = container.get_mut("env").and_then(Value::as_array_mut);
        for variable in variables.into_iter().flatten() {
            let variable_name = variable.get("name").and_then(Value::as_str).unwrap_or_default();
            let name = format!("{name}/{variable_name}");
            if let Some(Value::String(value)) = variable.get_mut("value") {
                values.push((name, value));
            }
        }
    }
    values
}

/// Takes the values out of a manifest, by `CONTAINER/VARIABLE`. Of a name that a container has
/// twice the last value counts, as in Kubernetes.
pub fn taken(document: &mut Value) -> BTreeMap<String, String> {
    let values = values_mut(document).into_iter();
    values.map(|(name, value)| (name, mem::take(value))).collect()
}

/// Puts such values back.
pub fn put(document: &mut Value, values: &BTreeMap<String, String>) {
    for (name, value) in values_mut(document) {
        if let Some(kept) = values.get(&name) {
            value.clone_from(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_all_containers_are_changed_in_place() {
        let variable = |value: &str| json!({ "name": "KEY", "value": value });
        let from = json!({ "name": "NAME", "valueFrom": { "fieldRef": {} } });
        let mut document = json!({ "spec": {
            "initContainers": [{ "name": "i", "env": [variable("one")] }],
            "containers": [
                { "name": "a", "env": [variable("two"), from, { "name": "NONE" }, 5] },
                { "name": "b" },
                { "name": "c", "env": null },
                { "env": [variable("")] },
            ],
            "ephemeralContainers": [{ "name": "e", "env": [variable("three")] }],
            "unknown": [{ "env": [variable("four")] }],
        } });
        let mut names = Vec::new();
        for (name, value) in values_mut(&mut document) {
            value.insert_str(0, "sealed:");
            names.push(name);
        }
        assert_eq!(names, ["a/KEY", "/KEY", "e/KEY", "i/KEY"]);
        let text = document.to_string();
        for value in ["sealed:one", "sealed:two", "sealed:\"", "sealed:three", "\"four\""] {
            assert!(text.contains(value), "{value}: {text}");
        }
        assert!(values_mut(&mut json!({})).is_empty());
        assert!(values_mut(&mut json!({ "spec": { "containers": 5 } })).is_empty());
    }
}

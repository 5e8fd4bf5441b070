//! The forms of a pod in early 2015, as v1: `id` and `labels` at the top, and what v1 calls `spec`
//! in `desiredState.manifest`, with other names for some of it.
//!
//! The names are those of the conversions of Kubernetes 0.17 from v1beta1 and v1beta2. Members that
//! they do not name stay as they are. Not here: what a pod must have (`check`).

use serde_json::{Map, Value, json};

use super::invalid::Invalid;
use crate::text::words;

/// What a manifest may say it is: v1beta3 has the form of v1 already.
const VERSIONS: [&str; 4] = ["v1", "v1beta3", "v1beta2", "v1beta1"];

/// What is at the top of the flat form and in the metadata of v1.
const METADATA: [&str; 7] = [
    "labels",
    "annotations",
    "namespace",
    "uid",
    "creationTimestamp",
    "selfLink",
    "resourceVersion",
];

/// The names of some members of a container's, or a volume's, in the flat form and in v1. The
/// flat form's `command` is what an image's entrypoint gets, so it moves out of the way first.
const CONTAINER: [(&str, &str); 2] = [("command", "args"), ("entrypoint", "command")];
const SOURCES: [(&str, &str); 2] =
    [("hostDir", "hostPath"), ("persistentDisk", "gcePersistentDisk")];
const PULLS: [(&str, &str); 3] =
    [("PullAlways", "Always"), ("PullIfNotPresent", "IfNotPresent"), ("PullNever", "Never")];
const RESTARTS: [(&str, &str); 3] =
    [("always", "Always"), ("onFailure", "OnFailure"), ("never", "Never")];

/// A pod in the form of v1.
pub(super) fn v1(mut document: Map<String, Value>) -> Result<Value, Invalid> {
    expect(&document, "kind", &["Pod"])?;
    expect(&document, "apiVersion", &VERSIONS)?;
    let state = document.remove("desiredState").filter(|state| !state.is_null());
    if state.is_some() {
        for name in METADATA {
            lift(&mut document, name, name)?;
        }
    }
    lift(&mut document, "id", "name")?;
    if let Some(state) = state {
        if document.get("spec").is_some_and(|spec| !spec.is_null()) {
            return Err(Invalid::at("desiredState", "a pod with a spec has none"));
        }
        let spec = spec(state, document.remove("nodeSelector"))?;
        document.insert("spec".to_owned(), spec);
        document.remove("currentState");
    }
    document.insert("apiVersion".to_owned(), Value::from("v1"));
    document.insert("kind".to_owned(), Value::from("Pod"));
    Ok(Value::Object(document))
}

fn expect(document: &Map<String, Value>, name: &str, known: &[&str]) -> Result<(), Invalid> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(given)) if known.contains(&given.as_str()) => Ok(()),
        Some(other) => {
            let given = words(&other.to_string());
            let known = known.join(", ");
            Err(Invalid::at(name, &format!("{given} is not known here; use {known}")))
        }
    }
}

/// Moves a member of the top into the metadata.
fn lift(document: &mut Map<String, Value>, name: &str, to: &str) -> Result<(), Invalid> {
    let Some(value) = document.remove(name).filter(|value| !value.is_null()) else { return Ok(()) };
    let metadata = document.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Value::Object(metadata) = metadata else {
        return Err(Invalid::at("metadata", "expected a mapping"));
    };
    let there = metadata.entry(to).or_insert_with(|| value.clone());
    if there.is_null() {
        *there = value;
    } else if *there != value {
        let what = format!("it differs from metadata.{to}; leave one of them out");
        return Err(Invalid::at(name, &what));
    }
    Ok(())
}

/// What a pod is to be, from its `desiredState`.
fn spec(state: Value, node_selector: Option<Value>) -> Result<Value, Invalid> {
    let wrong = || Invalid::at("desiredState.manifest", "expected a mapping");
    let Value::Object(mut state) = state else { return Err(wrong()) };
    let Some(Value::Object(mut spec)) = state.remove("manifest") else { return Err(wrong()) };
    // The manifest's own version and names.
    for name in ["version", "id", "uuid"] {
        spec.remove(name);
    }
    if let Some(node) = state.remove("host") {
        spec.insert("nodeName".to_owned(), node);
    }
    if let Some(selector) = node_selector {
        spec.insert("nodeSelector".to_owned(), selector);
    }
    if let Some(Value::Object(policy)) = spec.get("restartPolicy") {
        // Each policy was a member with nothing in it.
        let named = RESTARTS.iter().find(|(name, _)| policy.contains_key(*name));
        if let Some((_, policy)) = named {
            spec.insert("restartPolicy".to_owned(), Value::from(*policy));
        } else if policy.is_empty() {
            spec.remove("restartPolicy");
        }
    }
    members(&mut spec, "containers").for_each(container);
    members(&mut spec, "volumes").for_each(volume);
    Ok(Value::Object(spec))
}

/// The mappings in a list.
fn members<'a>(
    spec: &'a mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let items = spec.get_mut(name).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn rename(object: &mut Map<String, Value>, names: &[(&str, &str)]) {
    for (from, to) in names {
        if let Some(value) = object.remove(*from) {
            object.insert((*to).to_owned(), value);
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    rename(container, &CONTAINER);
    if let Some(Value::String(policy)) = container.get_mut("imagePullPolicy")
        && let Some((_, name)) = PULLS.iter().find(|(name, _)| name == policy)
    {
        *policy = (*name).to_owned();
    }
    for variable in members(container, "env") {
        rename(variable, &[("key", "name")]);
    }
    for mount in members(container, "volumeMounts") {
        rename(mount, &[("path", "mountPath")]);
    }
    // Thousandths of a CPU, and bytes; 0 is no limit.
    for (name, unit) in [("cpu", "m"), ("memory", "")] {
        let Some(limit) = container.remove(name).filter(|limit| *limit != json!(0)) else {
            continue;
        };
        let limit = match limit {
            Value::Number(number) => Value::from(format!("{number}{unit}")),
            other => other,
        };
        let limits = within(container, "resources").and_then(|it| within(it, "limits"));
        if let Some(limits) = limits {
            limits.entry(name).or_insert(limit);
        }
    }
    for name in ["privileged", "capabilities"] {
        if let Some(value) = container.remove(name)
            && let Some(context) = within(container, "securityContext")
        {
            context.insert(name.to_owned(), value);
        }
    }
}

/// The mapping of this name, made if it is not there; `None` if it is something else, which the
/// check of types refuses.
fn within<'a>(
    object: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    object.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

fn volume(volume: &mut Map<String, Value>) {
    if let Some(Value::Object(mut source)) = volume.remove("source") {
        rename(&mut source, &SOURCES);
        volume.append(&mut source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(document: Value) -> Result<Value, Invalid> {
        let Value::Object(document) = document else { panic!("{document}") };
        v1(document)
    }

    /// A pod of early 2015.
    fn flat() -> Value {
        json!({
            "id": "redis-master",
            "kind": "Pod",
            "apiVersion": "v1beta1",
            "namespace": "default",
            "labels": { "name": "redis" },
            "nodeSelector": { "disk": "ssd" },
            "currentState": { "status": "Waiting" },
            "desiredState": {
                "host": "node-1",
                "manifest": {
                    "version": "v1beta1",
                    "id": "redis-master",
                    "restartPolicy": { "onFailure": {} },
                    "containers": [{
                        "name": "master",
                        "image": "dockerfile/redis",
                        "entrypoint": ["redis-server"],
                        "command": ["--port", "6379"],
                        "cpu": 100,
                        "memory": 67_108_864,
                        "privileged": true,
                        "imagePullPolicy": "PullAlways",
                        "env": [{ "key": "A", "value": "b" }, { "name": "C", "value": "d" }],
                        "ports": [{ "containerPort": 6379 }],
                        "volumeMounts": [{ "name": "data", "path": "/data" }],
                    }, {
                        "name": "slave",
                        "image": "dockerfile/redis",
                        "cpu": 0,
                        "capabilities": { "add": ["NET_ADMIN"] },
                        "resources": { "limits": { "memory": "1Mi" } },
                        "memory": 5,
                    }],
                    "volumes": [
                        { "name": "data", "source": { "emptyDir": {} } },
                        { "name": "host", "source": { "hostDir": { "path": "/" } } },
                    ],
                },
            },
        })
    }

    /// The same pod in v1.
    fn same() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "redis-master",
                "namespace": "default",
                "labels": { "name": "redis" },
            },
            "spec": {
                "nodeName": "node-1",
                "nodeSelector": { "disk": "ssd" },
                "restartPolicy": "OnFailure",
                "containers": [{
                    "name": "master",
                    "image": "dockerfile/redis",
                    "command": ["redis-server"],
                    "args": ["--port", "6379"],
                    "resources": { "limits": { "cpu": "100m", "memory": "67108864" } },
                    "securityContext": { "privileged": true },
                    "imagePullPolicy": "Always",
                    "env": [{ "name": "A", "value": "b" }, { "name": "C", "value": "d" }],
                    "ports": [{ "containerPort": 6379 }],
                    "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                }, {
                    "name": "slave",
                    "image": "dockerfile/redis",
                    "resources": { "limits": { "memory": "1Mi" } },
                    "securityContext": { "capabilities": { "add": ["NET_ADMIN"] } },
                }],
                "volumes": [
                    { "name": "data", "emptyDir": {} },
                    { "name": "host", "hostPath": { "path": "/" } },
                ],
            },
        })
    }

    #[test]
    fn the_flat_form_becomes_v1() {
        assert_eq!(converted(flat()).unwrap(), same());
    }

    #[test]
    fn v1_stays_as_it_is() {
        let spec = json!({ "containers": [{ "image": "a", "command": ["b"] }], "new": { "c": 1 } });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" }, "spec": spec,
        });
        assert_eq!(converted(pod.clone()).unwrap(), pod);
        for beginning in [
            json!({ "apiVersion": "v1beta3", "metadata": { "name": "x" } }),
            json!({ "metadata": { "name": "x" }, "kind": null }),
            json!({ "id": "x" }),
            json!({ "id": "x", "metadata": null }),
            json!({ "id": "x", "metadata": { "name": "x" } }),
            json!({ "id": "x", "metadata": { "name": null }, "desiredState": null }),
        ] {
            let mut document = beginning.clone();
            document["spec"] = spec.clone();
            assert_eq!(converted(document).unwrap(), pod, "{beginning}");
        }
    }

    #[test]
    fn other_kinds_and_versions_are_refused_by_name() {
        for (document, field, words) in [
            (json!({ "kind": "Service" }), "kind", "\"Service\" is not known here; use Pod"),
            (json!({ "kind": 5 }), "kind", "5 is not known here"),
            (json!({ "apiVersion": "v2" }), "apiVersion", "\"v2\" is not known"),
            (json!({ "apiVersion": "apps/v1" }), "apiVersion", "use v1, v1beta3"),
            (json!({ "id": "a", "metadata": { "name": "b" } }), "id", "differs from metadata.name"),
            (json!({ "id": "a", "metadata": [] }), "metadata", "expected a mapping"),
            (json!({ "desiredState": {} }), "desiredState.manifest", "expected a mapping"),
            (json!({ "desiredState": 1 }), "desiredState.manifest", "expected a mapping"),
            (json!({ "desiredState": {}, "spec": {} }), "desiredState", "a pod with a spec"),
        ] {
            let invalid = converted(document.clone()).unwrap_err();
            assert_eq!(invalid.field.as_deref(), Some(field), "{document}");
            assert!(invalid.message.contains(words), "{document}: {invalid}");
        }
    }
}

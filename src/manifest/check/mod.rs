//! What every pod must be, as the API server of Kubernetes checks it: the types of its fields, and
//! the values on which what runs it relies.
//!
//! Not here: what a Docker bay cannot do (`plan`), what a tenant may not ask for (`tenant`). Values
//! that are only of use to Kubernetes are left to its own API server.

mod container;
mod metadata;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};
use serde_json::Value;

use super::invalid::Invalid;
use super::names::{self, Checked};
use super::quantity;

/// When containers are started again; without one, the first.
const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// A document in the form of v1, checked.
pub(super) fn pod(document: &Value) -> Result<Pod, Invalid> {
    let pod = typed(document)?;
    // In the order of 2015.
    if pod.metadata.name.as_deref().is_none_or(str::is_empty) {
        return Err(Invalid::empty("metadata.name"));
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    if containers.clone().next().is_none() {
        return Err(Invalid::empty("spec.containers"));
    }
    for (at, container) in containers.enumerate() {
        if container.image.as_deref().is_none_or(str::is_empty) {
            return Err(Invalid::empty(&format!("spec.containers[{at}].image")));
        }
    }
    metadata::check(&pod.metadata)?;
    pod.spec.as_ref().map_or(Ok(()), spec)?;
    Ok(pod)
}

fn typed(document: &Value) -> Result<Pod, Invalid> {
    serde_path_to_error::deserialize(document).map_err(|error| {
        let path = error.path().to_string();
        let words = error.inner().to_string();
        // What comes before may repeat a value that is secret.
        match words.rsplit_once(", expected ") {
            Some((_, expected)) => Invalid::at(path, &format!("expected {}", plain(expected))),
            None => Invalid::at(path, "this is not a value of its type"),
        }
    })
}

/// What is expected, without the names of types.
fn plain(expected: &str) -> &str {
    match expected {
        "i32" | "i64" => "a whole number",
        "Quantity" => "a quantity",
        "IntOrString" => "a whole number or a string",
        _ if expected.starts_with(char::is_uppercase) => "a mapping",
        _ => expected,
    }
}

fn spec(spec: &PodSpec) -> Result<(), Invalid> {
    let at = |field: &str| format!("spec.{field}");
    if let Some(policy) = &spec.restart_policy {
        one_of(policy, &RESTART_POLICIES)
            .map_err(|what| Invalid::at(at("restartPolicy"), &what))?;
    }
    if let Some(name) = spec.hostname.as_deref().filter(|name| !name.is_empty()) {
        names::label(name).map_err(|what| Invalid::at(at("hostname"), &what))?;
    }
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let field = at("terminationGracePeriodSeconds");
        return Err(Invalid::at(field, "it must not be less than 0"));
    }
    let volumes = volumes(spec.volumes.as_deref().unwrap_or_default())?;
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let mut names = BTreeSet::new();
    for (list, containers) in [("initContainers", init), ("containers", &spec.containers)] {
        for (index, one) in containers.iter().enumerate() {
            let field = at(&format!("{list}[{index}]"));
            container::check(one, &field, &volumes)?;
            if !names.insert(&one.name) {
                return Err(Invalid::at(format!("{field}.name"), "another container has it"));
            }
        }
    }
    Ok(())
}

/// The names of the volumes.
fn volumes(volumes: &[Volume]) -> Result<BTreeSet<&str>, Invalid> {
    let mut names = BTreeSet::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = |field: &str| format!("spec.volumes[{index}].{field}");
        names::label(&volume.name).map_err(|what| Invalid::at(at("name"), &what))?;
        if !names.insert(volume.name.as_str()) {
            return Err(Invalid::at(at("name"), "another volume has it"));
        }
        let limit = volume.empty_dir.as_ref().and_then(|folder| folder.size_limit.as_ref());
        if let Some(limit) = limit {
            quantity::whole(&limit.0)
                .map_err(|what| Invalid::at(at("emptyDir.sizeLimit"), &what))?;
        }
    }
    Ok(names)
}

/// One of a few words.
fn one_of(word: &str, words: &[&str]) -> Checked {
    match words.contains(&word) {
        true => Ok(()),
        false => Err(format!("use one of {}", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod with one thing changed, by its JSON pointer.
    fn changed(pointer: &str, value: Value) -> Value {
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web.1", "labels": { "app": "web" }, "annotations": { "a/b": "any\ntext" },
            },
            "spec": {
                "restartPolicy": "Never",
                "hostname": "web",
                "terminationGracePeriodSeconds": 5,
                "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": "1Gi" } }, { "name": "w" }],
                "initContainers": [{ "name": "i", "image": "a" }],
                "containers": [{
                    "name": "c",
                    "image": "a",
                    "imagePullPolicy": "Always",
                    "env": [{ "name": "A", "value": "b" }, { "name": "B", "value": "" }],
                    "ports": [
                        { "containerPort": 53, "protocol": "UDP", "name": "dns" },
                        { "containerPort": 53 },
                    ],
                    "resources": {
                        "limits": { "cpu": 1, "memory": "1Gi" },
                        "requests": { "cpu": 0.5, "memory": "1Gi" },
                    },
                    "volumeMounts": [
                        { "name": "v", "mountPath": "/v", "subPath": "a/b" },
                        { "name": "v", "mountPath": "/w" },
                    ],
                }],
            },
        });
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match pod.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.insert(name.replace("~1", "/"), value)),
            Value::Array(items) if name == "-" => items.push(value),
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
            other => panic!("{other}"),
        }
        pod
    }

    #[test]
    fn a_pod_is_typed() {
        let pod = pod(&changed("/kind", json!("Pod"))).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("web.1"));
        let limits = pod.spec.unwrap().containers.remove(0).resources.unwrap().limits.unwrap();
        assert_eq!(limits["cpu"].0, "1");
        for unknown in ["/new", "/spec/new", "/spec/containers/0/new"] {
            assert!(super::pod(&changed(unknown, json!({ "a": [1] }))).is_ok(), "{unknown}");
        }
    }

    #[test]
    fn the_contract_has_its_own_words() {
        for (pointer, value, words) in [
            ("/metadata/name", json!(null), "Field metadata['name'] can't be empty in manifest."),
            ("/metadata/name", json!(""), "Field metadata['name'] can't be empty in manifest."),
            ("/metadata", json!(null), "Field metadata['name'] can't be empty in manifest."),
            ("/spec", json!(null), "Field spec['containers'] can't be empty in manifest."),
            ("/spec", json!({}), "Field spec['containers'] can't be empty in manifest."),
            ("/spec/containers", json!([]), "Field spec['containers'] can't be empty in manifest."),
            (
                "/spec/containers/0/image",
                json!(""),
                "Field spec['containers'][0]['image'] can't be empty in manifest.",
            ),
            (
                "/spec/containers/-",
                json!({ "name": "d" }),
                "Field spec['containers'][1]['image'] can't be empty in manifest.",
            ),
        ] {
            assert_eq!(pod(&changed(pointer, value)).unwrap_err().message, words);
        }
        assert_eq!(
            pod(&json!({})).unwrap_err().message,
            "Field metadata['name'] can't be empty in manifest."
        );
    }

    /// Where, as a JSON pointer, and a value as JSON; the field as it is named, and words of why.
    const REFUSED: &[(&str, &str, &str, &str)] = &[
        ("/metadata/name", "5", "metadata.name", "expected a string"),
        ("/metadata/name", r#""Web""#, "metadata.name", "small letters"),
        ("/metadata/labels", r#"["a"]"#, "metadata.labels", "expected a map"),
        ("/metadata/labels/a", "1.1", "metadata.labels.a", "expected a string"),
        ("/metadata/labels/a b", r#""""#, "metadata.labels['a b']", "a key is"),
        ("/metadata/labels/a", r#""b c""#, "metadata.labels['a']", "letters, digits"),
        ("/metadata/annotations/-", r#""a""#, "metadata.annotations['-']", "a key is"),
        ("/spec", "[]", "spec", "expected a mapping"),
        ("/spec/restartPolicy", r#""always""#, "spec.restartPolicy", "use one of Always"),
        ("/spec/hostname", r#""a.b""#, "spec.hostname", "small letters"),
        (
            "/spec/terminationGracePeriodSeconds",
            "-1",
            "spec.terminationGracePeriodSeconds",
            "less than 0",
        ),
        ("/spec/volumes/0/name", r#""V""#, "spec.volumes[0].name", "small letters"),
        ("/spec/volumes/1/name", r#""v""#, "spec.volumes[1].name", "another volume"),
        (
            "/spec/volumes/0/emptyDir/sizeLimit",
            r#""1Mb""#,
            "spec.volumes[0].emptyDir.sizeLimit",
            "use a quantity",
        ),
        ("/spec/initContainers/0/name", r#""c""#, "spec.containers[0].name", "another"),
        ("/spec/initContainers/0/image", "null", "spec.initContainers[0].image", "can't be empty"),
        ("/spec/containers/0/name", "null", "spec.containers[0].name", "small letters"),
        ("/spec/containers/0/image", r#"["a"]"#, "spec.containers[0].image", "expected a string"),
        ("/spec/containers/0/image", r#"" a""#, "spec.containers[0].image", "white space"),
        (
            "/spec/containers/0/imagePullPolicy",
            r#""Sometimes""#,
            "spec.containers[0].imagePullPolicy",
            "use one of Always",
        ),
        (
            "/spec/containers/0/env/0/value",
            "1234",
            "spec.containers[0].env[0].value",
            "expected a string",
        ),
        (
            "/spec/containers/0/env/0/value",
            r#""\u0000""#,
            "spec.containers[0].env[0].value",
            "U+0000",
        ),
        ("/spec/containers/0/env/1/name", r#""=""#, "spec.containers[0].env[1].name", "ASCII"),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"fieldRef": {"fieldPath": "metadata.name"}}"#,
            "spec.containers[0].env[0].valueFrom",
            "has a value as well",
        ),
        (
            "/spec/containers/0/ports/0/containerPort",
            "0",
            "spec.containers[0].ports[0].containerPort",
            "from 1 to 65535",
        ),
        (
            "/spec/containers/0/ports/0/containerPort",
            r#""80""#,
            "spec.containers[0].ports[0].containerPort",
            "expected a whole number",
        ),
        (
            "/spec/containers/0/ports/0/protocol",
            r#""udp""#,
            "spec.containers[0].ports[0].protocol",
            "use one of TCP",
        ),
        ("/spec/containers/0/ports/0/name", r#""1""#, "spec.containers[0].ports[0].name", "small"),
        (
            "/spec/containers/0/ports/1/name",
            r#""dns""#,
            "spec.containers[0].ports[1].name",
            "another port",
        ),
        (
            "/spec/containers/0/resources/limits/cpu",
            r#""1 m""#,
            "spec.containers[0].resources.limits['cpu']",
            "use a quantity",
        ),
        (
            "/spec/containers/0/resources/requests/memory",
            r#""2Gi""#,
            "spec.containers[0].resources.requests['memory']",
            "more than its limit",
        ),
        (
            "/spec/containers/0/volumeMounts/0/name",
            r#""x""#,
            "spec.containers[0].volumeMounts[0].name",
            "no volume",
        ),
        (
            "/spec/containers/0/volumeMounts/0/mountPath",
            r#""""#,
            "spec.containers[0].volumeMounts[0].mountPath",
            "without :",
        ),
        (
            "/spec/containers/0/volumeMounts/1/mountPath",
            r#""/v""#,
            "spec.containers[0].volumeMounts[1].mountPath",
            "another volume",
        ),
        (
            "/spec/containers/0/volumeMounts/0/subPath",
            r#""a/../../b""#,
            "spec.containers[0].volumeMounts[0].subPath",
            "without ..",
        ),
    ];

    #[test]
    fn each_value_that_kubernetes_refuses_is_refused_by_its_path() {
        for (pointer, value, field, words) in REFUSED {
            let value = serde_json::from_str(value).unwrap();
            let invalid = pod(&changed(pointer, value)).unwrap_err();
            assert_eq!(invalid.field.as_deref(), Some(*field), "{pointer} {invalid}");
            assert!(invalid.message.contains(words), "{pointer}: {invalid}");
            assert!(!invalid.message.contains("1234"), "{invalid}");
        }
        let long = json!("x".repeat(262_144));
        let invalid = pod(&changed("/metadata/annotations/a", long)).unwrap_err();
        assert_eq!(invalid.field.as_deref(), Some("metadata.annotations"));
    }
}

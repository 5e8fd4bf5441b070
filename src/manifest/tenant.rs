//! What a tenant may not ask for on any engine: what is the host's or the cluster's, what belongs
//! to others, and what would take away the bounds of a container.
//!
//! Not here: what an engine cannot do (`plan`).

use serde_json::{Map, Value};

use super::CONTAINER_LISTS;
use super::invalid::Invalid;

/// Where tenants' pods are.
const NAMESPACE: &str = "default";

/// The account that pods have unless they name one.
const ACCOUNT: &str = "default";

/// Beginnings of the annotations that chose profiles before there were fields for them.
const PROFILES: [&str; 3] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
];

const HOST: &str = "a pod has no part in what is the host's";
const OWNERS: &str = "it is for those who look after the cluster";
const ACCOUNTS: &str = "a pod has no account of the cluster but default";
const BOUNDS: &str = "a pod keeps the bounds that containers have";
const RESERVED: &str = "names of magnum are the service's own";

/// Refuses what only the operator may ask for, in a document in the form of v1.
///
/// # Errors
/// The first such field.
pub fn check(document: &Value) -> Result<(), Invalid> {
    if let Some(metadata) = object(document, "metadata") {
        self::metadata(metadata)?;
    }
    let Some(spec) = object(document, "spec") else { return Ok(()) };
    for name in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        refuse_unless(spec, name, "spec", is_false, HOST)?;
    }
    refuse_unless(spec, "nodeName", "spec", is_empty, OWNERS)?;
    for name in ["serviceAccountName", "serviceAccount"] {
        refuse_unless(spec, name, "spec", |it| is_empty(it) || it == ACCOUNT, ACCOUNTS)?;
    }
    if let Some(context) = spec.get("securityContext") {
        security(context, "spec.securityContext")?;
    }
    for (field, volume) in items(spec, "volumes", "spec") {
        refuse_unless(volume, "hostPath", &field, Value::is_null, HOST)?;
    }
    for list in CONTAINER_LISTS {
        for (field, one) in items(spec, list, "spec") {
            container(one, &field)?;
        }
    }
    Ok(())
}

fn metadata(metadata: &Map<String, Value>) -> Result<(), Invalid> {
    let is_ours = |it: &Value| is_empty(it) || it == NAMESPACE;
    let one = format!("a pod is in the namespace {NAMESPACE}");
    refuse_unless(metadata, "namespace", "metadata", is_ours, &one)?;
    for name in ["ownerReferences", "finalizers"] {
        refuse_unless(metadata, name, "metadata", is_empty, OWNERS)?;
    }
    for name in ["labels", "annotations"] {
        let members = metadata.get(name).and_then(Value::as_object);
        for (key, value) in members.into_iter().flatten() {
            let field = || format!("metadata.{name}['{key}']");
            if is_reserved(key) {
                return Err(Invalid::at(field(), RESERVED));
            }
            let chooses = PROFILES.iter().any(|beginning| key.starts_with(beginning));
            if chooses && name == "annotations" && value == "unconfined" {
                return Err(Invalid::at(field(), BOUNDS));
            }
        }
    }
    Ok(())
}

/// `magnum.*`, and keys with the prefix `magnum` or `*.magnum`, in letters of any size.
fn is_reserved(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let prefix = key.split_once('/').map(|(prefix, _)| prefix);
    key.starts_with("magnum.")
        || prefix.is_some_and(|prefix| prefix == "magnum" || prefix.ends_with(".magnum"))
}

fn container(container: &Map<String, Value>, field: &str) -> Result<(), Invalid> {
    for (field, port) in items(container, "ports", field) {
        refuse_unless(port, "hostPort", &field, |it| it.as_i64() == Some(0), HOST)?;
        refuse_unless(port, "hostIP", &field, is_empty, HOST)?;
    }
    match container.get("securityContext") {
        Some(context) => security(context, &format!("{field}.securityContext")),
        None => Ok(()),
    }
}

/// The security context of a pod or of a container.
fn security(context: &Value, field: &str) -> Result<(), Invalid> {
    let Some(context) = context.as_object() else { return Ok(()) };
    let refuse = |name: &str, is_harmless: fn(&Value) -> bool| {
        refuse_unless(context, name, field, is_harmless, BOUNDS)
    };
    refuse("privileged", is_false)?;
    refuse("allowPrivilegeEscalation", is_false)?;
    refuse("seLinuxOptions", is_empty)?;
    refuse("procMount", |it| is_empty(it) || it == "Default")?;
    refuse("sysctls", is_empty)?;
    let within = |name: &str, inner: &str, is_harmless: fn(&Value) -> bool| {
        let inner_context = context.get(name).and_then(Value::as_object);
        let field = format!("{field}.{name}");
        inner_context.map_or(Ok(()), |it| refuse_unless(it, inner, &field, is_harmless, BOUNDS))
    };
    within("capabilities", "add", is_empty)?;
    within("seccompProfile", "type", |it| it != "Unconfined")?;
    within("appArmorProfile", "type", |it| it != "Unconfined")?;
    within("windowsOptions", "hostProcess", is_false)
}

/// Refuses a member that is there, unless its value asks for nothing.
fn refuse_unless(
    object: &Map<String, Value>,
    name: &str,
    field: &str,
    is_harmless: impl Fn(&Value) -> bool,
    why: &str,
) -> Result<(), Invalid> {
    match object.get(name) {
        Some(value) if !value.is_null() && !is_harmless(value) => {
            Err(Invalid::at(format!("{field}.{name}"), why))
        }
        _ => Ok(()),
    }
}

fn object<'a>(value: &'a Value, name: &str) -> Option<&'a Map<String, Value>> {
    value.get(name).and_then(Value::as_object)
}

/// The mappings in a list, each with its path.
fn items<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    field: &str,
) -> impl Iterator<Item = (String, &'a Map<String, Value>)> {
    let list = object.get(name).and_then(Value::as_array).into_iter().flatten().enumerate();
    let path = format!("{field}.{name}");
    list.filter_map(move |(at, item)| Some((format!("{path}[{at}]"), item.as_object()?)))
}

fn is_false(value: &Value) -> bool {
    *value == Value::Bool(false)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod with one thing more.
    fn with(pointer: &str, value: Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": "a", "labels": { "app": "a" }, "annotations": {} },
            "spec": {
                "securityContext": {},
                "volumes": [{ "name": "v" }],
                "initContainers": [{ "securityContext": {} }],
                "containers": [{ "name": "c" }, {
                    "ports": [{ "containerPort": 80 }],
                    "securityContext": { "capabilities": { "drop": ["ALL"] } },
                }],
                "ephemeralContainers": [{ "securityContext": {} }],
            },
        });
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(name.replace("~1", "/"), value);
        pod
    }

    /// Where, as a JSON pointer, and a value as JSON; the field as it is named, and words of why.
    const REFUSED: &[(&str, &str, &str, &str)] = &[
        ("/spec/hostNetwork", "true", "spec.hostNetwork", HOST),
        ("/spec/hostPID", "true", "spec.hostPID", HOST),
        ("/spec/hostIPC", "true", "spec.hostIPC", HOST),
        ("/spec/hostUsers", "true", "spec.hostUsers", HOST),
        ("/spec/nodeName", r#""n""#, "spec.nodeName", OWNERS),
        ("/spec/serviceAccountName", r#""x""#, "spec.serviceAccountName", ACCOUNTS),
        ("/spec/serviceAccount", r#""x""#, "spec.serviceAccount", ACCOUNTS),
        ("/spec/volumes/0/hostPath", r#"{"path": "/"}"#, "spec.volumes[0].hostPath", HOST),
        ("/spec/volumes/0/hostPath", "{}", "spec.volumes[0].hostPath", HOST),
        (
            "/spec/securityContext/sysctls",
            r#"[{"name": "a"}]"#,
            "spec.securityContext.sysctls",
            BOUNDS,
        ),
        (
            "/spec/securityContext/seccompProfile",
            r#"{"type": "Unconfined"}"#,
            "spec.securityContext.seccompProfile.type",
            BOUNDS,
        ),
        ("/spec/containers/1/ports/0/hostPort", "80", "spec.containers[1].ports[0].hostPort", HOST),
        (
            "/spec/containers/1/ports/0/hostIP",
            r#""0.0.0.0""#,
            "spec.containers[1].ports[0].hostIP",
            HOST,
        ),
        (
            "/spec/containers/1/securityContext/privileged",
            "true",
            "spec.containers[1].securityContext.privileged",
            BOUNDS,
        ),
        (
            "/spec/containers/1/securityContext/allowPrivilegeEscalation",
            "true",
            "spec.containers[1].securityContext.allowPrivilegeEscalation",
            BOUNDS,
        ),
        (
            "/spec/containers/1/securityContext/capabilities/add",
            r#"["NET_RAW"]"#,
            "spec.containers[1].securityContext.capabilities.add",
            BOUNDS,
        ),
        (
            "/spec/initContainers/0/securityContext/seLinuxOptions",
            r#"{"level": "s0"}"#,
            "spec.initContainers[0].securityContext.seLinuxOptions",
            BOUNDS,
        ),
        (
            "/spec/initContainers/0/securityContext/procMount",
            r#""Unmasked""#,
            "spec.initContainers[0].securityContext.procMount",
            BOUNDS,
        ),
        (
            "/spec/ephemeralContainers/0/securityContext/appArmorProfile",
            r#"{"type": "Unconfined"}"#,
            "spec.ephemeralContainers[0].securityContext.appArmorProfile.type",
            BOUNDS,
        ),
        (
            "/spec/securityContext/windowsOptions",
            r#"{"hostProcess": true}"#,
            "spec.securityContext.windowsOptions.hostProcess",
            BOUNDS,
        ),
        (
            "/metadata/namespace",
            r#""kube-system""#,
            "metadata.namespace",
            "in the namespace default",
        ),
        ("/metadata/ownerReferences", "[{}]", "metadata.ownerReferences", OWNERS),
        ("/metadata/finalizers", r#"["a/b"]"#, "metadata.finalizers", OWNERS),
    ];

    #[test]
    fn each_field_that_is_not_a_tenants_is_refused_by_its_path() {
        for (pointer, value, field, why) in REFUSED {
            let value = serde_json::from_str(value).unwrap();
            let invalid = check(&with(pointer, value)).unwrap_err();
            assert_eq!(invalid.field.as_deref(), Some(*field));
            assert!(invalid.message.contains(why), "{invalid}");
        }
    }

    #[test]
    fn names_of_the_service_are_reserved() {
        let reserved =
            ["magnum.bay", "magnum/bay", "openstack.magnum/bay", "Magnum.bay", "a.MAGNUM/b"];
        for key in reserved {
            for list in ["labels", "annotations"] {
                let pointer = format!("/metadata/{list}/{}", key.replace('/', "~1"));
                let invalid = check(&with(&pointer, json!("x"))).unwrap_err();
                assert_eq!(invalid.field, Some(format!("metadata.{list}['{key}']")));
                assert!(invalid.message.contains(RESERVED), "{invalid}");
            }
        }
        for key in ["magnum", "magnums/bay", "my-magnum/bay", "app/magnum", "magnum-bay"] {
            let pointer = format!("/metadata/labels/{}", key.replace('/', "~1"));
            assert_eq!(check(&with(&pointer, json!("x"))), Ok(()), "{key}");
        }
    }

    #[test]
    fn annotations_do_not_loosen_profiles() {
        for key in PROFILES {
            let pointer = format!("/metadata/annotations/{}", format!("{key}c").replace('/', "~1"));
            let invalid = check(&with(&pointer, json!("unconfined"))).unwrap_err();
            assert!(invalid.message.contains(BOUNDS), "{invalid}");
            assert_eq!(check(&with(&pointer, json!("runtime/default"))), Ok(()));
        }
    }

    #[test]
    fn what_asks_for_nothing_is_fine() {
        for (pointer, value) in [
            ("/spec/hostNetwork", json!(false)),
            ("/spec/hostUsers", json!(false)),
            ("/spec/hostPID", json!(null)),
            ("/spec/nodeName", json!("")),
            ("/spec/serviceAccountName", json!("default")),
            ("/spec/volumes/0/hostPath", json!(null)),
            ("/spec/containers/1/ports/0/hostPort", json!(0)),
            ("/spec/containers/1/securityContext/allowPrivilegeEscalation", json!(false)),
            ("/spec/containers/1/securityContext/procMount", json!("Default")),
            ("/spec/securityContext/seccompProfile", json!({ "type": "RuntimeDefault" })),
            ("/metadata/namespace", json!("default")),
            ("/metadata/finalizers", json!([])),
        ] {
            assert_eq!(check(&with(pointer, value)), Ok(()), "{pointer}");
        }
        assert_eq!(check(&json!({})), Ok(()));
    }
}

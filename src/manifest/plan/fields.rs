//! Every field of a pod, and what a bay of one Docker engine does with it: it has a plan for it,
//! it leaves it aside because nothing follows from it there, or it refuses it.
//!
//! A field that is not in these tables is refused as well: what it asks for would not happen. Not
//! here: reading the fields that there is a plan for (`pod`, `container`).

use serde_json::Value;

use crate::manifest::invalid::Invalid;

/// What is done with a field. `null` and what is empty ask for nothing.
enum Use {
    /// The plan has it.
    Planned,
    /// The plan has what it knows of it; here is what that is.
    Within(&'static Fields),
    /// The same, for each item of a list.
    Each(&'static Fields),
    /// Nothing follows from it on a Docker bay, and why.
    Hint(#[expect(dead_code, reason = "it is for who reads the table")] &'static str),
    /// It may have this value, which asks for nothing else than is so anyway; otherwise why not.
    Is(&'static str, &'static str),
    /// The same for values of which this is so.
    Only(fn(&Value) -> bool, &'static str),
    /// Why not.
    Refused(&'static str),
}

/// The fields of a mapping.
struct Fields {
    known: &'static [(&'static str, Use)],
    /// Why there are no others.
    others: &'static str,
}

use Use::{Each, Hint, Is, Only, Planned, Refused, Within};

const UNKNOWN: &str = "a Docker bay has nothing of this name";
const NO_VOLUMES: &str = "a Docker bay has no volumes but emptyDir";
const NO_RESOURCES: &str = "a Docker bay limits CPUs and memory and no other resources";
const RESERVED: &str = "it is for a choice between nodes; there is nothing to reserve";
const NO_ACCOUNTS: &str = "a Docker bay has no service accounts";
const NO_SECRETS: &str = "a Docker bay has no secrets of Kubernetes";
const NO_CONFIG_MAPS: &str = "a Docker bay has no config maps";
const NO_PROBES: &str = "probes are not there yet on a Docker bay";
const NO_SIDECARS: &str = "a Docker bay has no sidecar containers: an init container has to end";
const NO_PRIORITIES: &str = "a Docker bay has no priorities";
const NO_CLAIMS: &str = "a Docker bay has no resource claims";
const NO_PROFILES: &str = "a Docker bay has the engine's own profile and no other";
const NO_HOST: &str = "a Docker bay does not give pods what is the host's";
const ONE_SYSTEM: &str = "a Docker bay runs Linux containers";
const OF_SERVER: &str = "an API server writes it; whoever exports a pod gets it";
const OF_COLLECTOR: &str = "a Docker bay has no garbage collector of Kubernetes";

const POD: &Fields = &Fields {
    known: &[
        ("apiVersion", Planned),
        ("kind", Planned),
        ("metadata", Within(METADATA)),
        ("spec", Within(SPEC)),
        ("status", Hint("it says how a pod was, not how it is to be")),
    ],
    others: UNKNOWN,
};

const METADATA: &Fields = &Fields {
    known: &[
        ("name", Planned),
        ("labels", Planned),
        ("annotations", Planned),
        ("namespace", Is("default", "a Docker bay has no namespaces")),
        ("generateName", Hint("the pod has a name")),
        ("creationTimestamp", Hint(OF_SERVER)),
        ("generation", Hint(OF_SERVER)),
        ("managedFields", Hint(OF_SERVER)),
        ("resourceVersion", Hint(OF_SERVER)),
        ("selfLink", Hint(OF_SERVER)),
        ("uid", Hint(OF_SERVER)),
        ("finalizers", Refused(OF_COLLECTOR)),
        ("ownerReferences", Refused(OF_COLLECTOR)),
    ],
    others: UNKNOWN,
};

const SPEC: &Fields = &Fields {
    known: &[
        ("containers", Each(CONTAINER)),
        ("initContainers", Each(CONTAINER)),
        ("volumes", Each(VOLUME)),
        ("hostname", Planned),
        ("hostAliases", Planned),
        ("restartPolicy", Planned),
        ("terminationGracePeriodSeconds", Planned),
        ("securityContext", Within(POD_SECURITY)),
        ("automountServiceAccountToken", Only(is_false, NO_ACCOUNTS)),
        (
            "enableServiceLinks",
            Hint("a Docker bay has no services, so there are no variables of any"),
        ),
        ("os", Only(is_linux, ONE_SYSTEM)),
        ("preemptionPolicy", Hint("no pod has to go for another one")),
        ("schedulerName", Is("default-scheduler", "a Docker bay has one scheduler")),
        ("tolerations", Hint("nodes have no taints, so there is nothing to tolerate")),
        (
            "nodeSelector",
            Only(is_any_node, "nodes of a Docker bay have no labels to select them by"),
        ),
        ("dnsPolicy", Is("ClusterFirst", "a Docker bay has the name server of its network")),
        ("dnsConfig", Refused("a Docker bay has the name server of its network")),
        ("serviceAccountName", Is("default", NO_ACCOUNTS)),
        ("serviceAccount", Is("default", NO_ACCOUNTS)),
        ("hostNetwork", Only(is_false, NO_HOST)),
        ("hostPID", Only(is_false, NO_HOST)),
        ("hostIPC", Only(is_false, NO_HOST)),
        ("hostUsers", Only(is_true, "a Docker bay gives pods no user namespace of their own")),
        ("shareProcessNamespace", Only(is_false, "containers of a Docker bay share no processes")),
        ("setHostnameAsFQDN", Only(is_false, "pods of a Docker bay have no full domain names")),
        ("subdomain", Refused("pods of a Docker bay have no full domain names")),
        ("hostnameOverride", Refused("use hostname: a Docker bay has no other names of a pod")),
        ("activeDeadlineSeconds", Refused("a Docker bay does not end pods after a time")),
        ("affinity", Refused("a Docker bay places a pod without regard to others")),
        (
            "topologySpreadConstraints",
            Refused("a Docker bay places a pod without regard to others"),
        ),
        ("nodeName", Refused("a Docker bay chooses the node itself")),
        ("ephemeralContainers", Refused("a Docker bay adds no containers to a pod that runs")),
        ("imagePullSecrets", Refused(NO_SECRETS)),
        ("overhead", Refused("a Docker bay has no overhead of runtimes")),
        ("priority", Only(is_zero, NO_PRIORITIES)),
        ("priorityClassName", Refused(NO_PRIORITIES)),
        ("readinessGates", Refused("a Docker bay has no readiness gates")),
        ("schedulingGates", Refused("a Docker bay has no scheduling gates")),
        ("resourceClaims", Refused(NO_CLAIMS)),
        ("resources", Refused("a Docker bay limits containers, not a pod as a whole")),
        ("runtimeClassName", Refused("a Docker bay has one runtime")),
    ],
    others: UNKNOWN,
};

const POD_SECURITY: &Fields = &Fields {
    known: &[
        ("runAsUser", Planned),
        ("runAsGroup", Planned),
        ("runAsNonRoot", Planned),
        ("appArmorProfile", Only(is_of_runtime, NO_PROFILES)),
        ("seccompProfile", Only(is_of_runtime, NO_PROFILES)),
        ("fsGroup", Refused("a Docker bay does not change whose the files of a volume are")),
        ("fsGroupChangePolicy", Hint("it says how fsGroup is applied, which is refused")),
        ("seLinuxChangePolicy", Hint("it says how seLinuxOptions are applied, which are refused")),
        ("seLinuxOptions", Refused(NO_PROFILES)),
        ("supplementalGroups", Refused("a Docker bay gives a user one group")),
        ("supplementalGroupsPolicy", Hint("it says how supplementalGroups are merged")),
        ("sysctls", Refused("a Docker bay changes no settings of the kernel")),
        ("windowsOptions", Refused(ONE_SYSTEM)),
    ],
    others: UNKNOWN,
};

const VOLUME: &Fields =
    &Fields { known: &[("name", Planned), ("emptyDir", Within(EMPTY_DIR))], others: NO_VOLUMES };

const EMPTY_DIR: &Fields =
    &Fields { known: &[("medium", Planned), ("sizeLimit", Planned)], others: UNKNOWN };

const CONTAINER: &Fields = &Fields {
    known: &[
        ("name", Planned),
        ("image", Planned),
        ("imagePullPolicy", Planned),
        ("command", Planned),
        ("args", Planned),
        ("env", Each(VARIABLE)),
        ("workingDir", Planned),
        ("ports", Each(PORT)),
        ("resources", Within(RESOURCES)),
        ("securityContext", Within(SECURITY)),
        ("stdin", Planned),
        ("tty", Planned),
        ("volumeMounts", Each(MOUNT)),
        ("resizePolicy", Hint("limits of a pod are not changed while it runs")),
        ("terminationMessagePath", Hint("nobody reads the message; the output is kept")),
        ("terminationMessagePolicy", Hint("nobody reads the message; the output is kept")),
        ("stdinOnce", Only(is_false, "the input of a container of a Docker bay stays open")),
        ("envFrom", Refused("a Docker bay has neither config maps nor secrets of Kubernetes")),
        ("lifecycle", Refused("a Docker bay has no lifecycle hooks")),
        ("livenessProbe", Refused(NO_PROBES)),
        ("readinessProbe", Refused(NO_PROBES)),
        ("startupProbe", Refused(NO_PROBES)),
        ("restartPolicy", Refused(NO_SIDECARS)),
        (
            "restartPolicyRules",
            Refused("a Docker bay restarts all containers of a pod by one policy"),
        ),
        ("volumeDevices", Refused("a Docker bay has no block devices")),
    ],
    others: UNKNOWN,
};

const VARIABLE: &Fields = &Fields {
    known: &[("name", Planned), ("value", Planned), ("valueFrom", Within(VARIABLE_SOURCE))],
    others: UNKNOWN,
};

const VARIABLE_SOURCE: &Fields = &Fields {
    known: &[
        ("fieldRef", Within(FIELD)),
        ("resourceFieldRef", Within(RESOURCE)),
        ("configMapKeyRef", Refused(NO_CONFIG_MAPS)),
        ("secretKeyRef", Refused(NO_SECRETS)),
        ("fileKeyRef", Refused("a Docker bay reads no variables from files")),
    ],
    others: UNKNOWN,
};

const PORT: &Fields = &Fields {
    known: &[
        ("containerPort", Planned),
        ("name", Planned),
        ("protocol", Planned),
        ("hostPort", Only(is_zero, "pods of a Docker bay have no ports of the host")),
        ("hostIP", Refused("pods of a Docker bay have no ports of the host")),
    ],
    others: UNKNOWN,
};

const RESOURCES: &Fields = &Fields {
    known: &[
        ("limits", Within(LIMITS)),
        ("requests", Within(REQUESTS)),
        ("claims", Refused(NO_CLAIMS)),
    ],
    others: UNKNOWN,
};

const SECURITY: &Fields = &Fields {
    known: &[
        ("runAsUser", Planned),
        ("runAsGroup", Planned),
        ("runAsNonRoot", Planned),
        ("readOnlyRootFilesystem", Planned),
        (
            "allowPrivilegeEscalation",
            Only(is_false, "no container of a Docker bay gets new rights"),
        ),
        ("appArmorProfile", Only(is_of_runtime, NO_PROFILES)),
        ("seccompProfile", Only(is_of_runtime, NO_PROFILES)),
        ("procMount", Is("Default", NO_PROFILES)),
        ("privileged", Only(is_false, NO_HOST)),
        ("capabilities", Within(CAPABILITIES)),
        ("seLinuxOptions", Refused(NO_PROFILES)),
        ("windowsOptions", Refused(ONE_SYSTEM)),
    ],
    others: UNKNOWN,
};

const MOUNT: &Fields = &Fields {
    known: &[
        ("name", Planned),
        ("mountPath", Planned),
        ("readOnly", Planned),
        ("subPath", Planned),
        ("mountPropagation", Is("None", "mounts do not spread out of or into a Docker bay's pods")),
        ("recursiveReadOnly", Is("Disabled", "a Docker bay has no mounts within volumes")),
        ("subPathExpr", Refused("use subPath: a Docker bay puts no variables into paths")),
    ],
    others: UNKNOWN,
};

const FIELD: &Fields = &Fields {
    known: &[("fieldPath", Planned), ("apiVersion", Is("v1", "use v1"))],
    others: UNKNOWN,
};

const RESOURCE: &Fields = &Fields {
    known: &[("containerName", Planned), ("resource", Planned), ("divisor", Planned)],
    others: UNKNOWN,
};

const LIMITS: &Fields =
    &Fields { known: &[("cpu", Planned), ("memory", Planned)], others: NO_RESOURCES };

const REQUESTS: &Fields =
    &Fields { known: &[("cpu", Hint(RESERVED)), ("memory", Hint(RESERVED))], others: NO_RESOURCES };

const CAPABILITIES: &Fields = &Fields {
    known: &[
        ("add", Refused("a Docker bay gives no capabilities beyond the engine's own")),
        ("drop", Planned),
    ],
    others: UNKNOWN,
};

fn is_false(value: &Value) -> bool {
    *value == Value::Bool(false)
}

fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true)
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0)
}

fn is_linux(value: &Value) -> bool {
    value.get("name").is_none_or(|name| name == "linux")
}

/// What all nodes are.
fn is_any_node(selector: &Value) -> bool {
    let labels = selector.as_object().into_iter().flatten();
    labels.into_iter().all(|(key, value)| key == "kubernetes.io/os" && value == "linux")
}

fn is_of_runtime(profile: &Value) -> bool {
    profile.get("type").is_some_and(|kind| kind == "RuntimeDefault")
}

/// Refuses what a Docker bay cannot do.
pub(super) fn check(document: &Value) -> Result<(), Invalid> {
    members(document, POD, "")
}

fn members(object: &Value, fields: &Fields, path: &str) -> Result<(), Invalid> {
    for (name, value) in object.as_object().into_iter().flatten() {
        if !value.is_null() {
            member(name, value, fields, joined(path, name))?;
        }
    }
    Ok(())
}

fn joined(path: &str, name: &str) -> String {
    match name.contains(['.', '/']) {
        _ if path.is_empty() => name.to_owned(),
        true => format!("{path}['{name}']"),
        false => format!("{path}.{name}"),
    }
}

fn member(name: &str, value: &Value, fields: &Fields, path: String) -> Result<(), Invalid> {
    let found = fields.known.iter().find(|(known, _)| *known == name);
    let Some((_, what)) = found else { return Err(Invalid::at(path, fields.others)) };
    match what {
        Planned | Hint(_) => Ok(()),
        Is(wanted, _) if value == wanted => Ok(()),
        Only(is_so, _) if is_so(value) => Ok(()),
        Is(_, why) | Only(_, why) | Refused(why) if is_given(value) => Err(Invalid::at(path, why)),
        Is(..) | Only(..) | Refused(_) => Ok(()),
        Within(fields) => members(value, fields, &path),
        Each(fields) => {
            let mut items = value.as_array().into_iter().flatten().enumerate();
            items.try_for_each(|(at, item)| members(item, fields, &format!("{path}[{at}]")))
        }
    }
}

/// Whether a value says something.
fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

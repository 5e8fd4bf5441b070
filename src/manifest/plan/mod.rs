//! What a bay of one Docker engine runs for a pod: everything that its containers are made from.
//!
//! In reading order: what such a bay does not do (`fields`), the pod (`pod`), its containers
//! (`container`), where variables come from (`environment`), and references to them
//! (`expansion`). What cannot be done is refused here, before anything is created. Not here: the
//! engine.

mod container;
mod environment;
mod expansion;
mod fields;
mod pod;

use std::net::IpAddr;

use serde_json::Value;

pub use environment::{FieldSource, Variable};
pub use expansion::Expanded;

use super::check;
use super::invalid::Invalid;

/// A pod for a Docker engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// The pod's own name, a DNS subdomain.
    pub name: String,
    /// The name that its containers see; without one, it follows from the pod's.
    pub hostname: Option<String>,
    /// Further names that its containers know, each with its address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// When its containers are started again.
    pub restart: PodRestart,
    /// Time between SIGTERM and SIGKILL, in seconds.
    pub grace_s: u32,
    /// Folders that live as long as the pod does.
    pub volumes: Vec<PodVolume>,
    /// What runs before the containers, one after the other, each to its end.
    pub init: Vec<PlannedContainer>,
    /// What runs at once; at least one.
    pub containers: Vec<PlannedContainer>,
}

/// When containers of a pod are started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodRestart {
    /// Whenever they end.
    Always,
    /// When they end with another status than 0.
    OnFailure,
    /// Never.
    Never,
}

/// A folder of a pod (`emptyDir`), empty when the pod begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodVolume {
    /// What mounts call it.
    pub name: String,
    /// Whether it is in memory rather than on disk.
    pub is_memory: bool,
    /// Most bytes in it, if that is limited.
    pub size_limit_bytes: Option<u64>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedContainer {
    /// Its name, a DNS label that no other container of the pod has.
    pub name: String,
    /// The image reference as it is written.
    pub image: String,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// What replaces the image's entrypoint, and with that also its command; if empty, nothing.
    /// References are not yet expanded.
    pub entrypoint: Vec<String>,
    /// What replaces the image's command; if empty, nothing. References are not yet expanded.
    pub args: Vec<String>,
    /// In order; a later one replaces an earlier one of its name. References are not yet expanded.
    pub environment: Vec<(String, Variable)>,
    /// Where it starts, if not where its image says.
    pub working_dir: Option<String>,
    /// Memory limit, in bytes.
    pub memory_bytes: Option<u64>,
    /// CPU limit, in thousandths of a CPU.
    pub cpu_millis: Option<u32>,
    /// `UID` or `UID:GID`, if not whom its image says.
    pub user: Option<String>,
    /// Whether only its mounts can be written to.
    pub read_only_root: bool,
    /// Capabilities that it is to lack, beside those that all lack.
    pub dropped: Vec<String>,
    /// Volumes in it.
    pub mounts: Vec<Mount>,
    /// Ports on which it says that it listens. None is published by that.
    pub ports: Vec<ContainerPort>,
    /// Whether its input stays open.
    pub stdin: bool,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// When the image of a container is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    /// If the engine does not have it.
    IfNotPresent,
    /// Each time.
    Always,
    /// Never: the engine has it or the container fails.
    Never,
}

/// A volume in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// The absolute path in the container.
    pub path: String,
    /// Whether the container cannot write to it.
    pub read_only: bool,
    /// The part of the volume that is mounted, a relative path without `..`; without one, all.
    pub sub_path: Option<String>,
}

/// A port on which a container listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// What others call it.
    pub name: Option<String>,
    /// From 1.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`, as Docker writes it.
    pub protocol: String,
}

/// What a Docker bay runs for a pod in the form of v1, as
/// [`Manifest`](super::Manifest::document) has it, with its values in the clear.
///
/// # Errors
/// What a Docker bay cannot do, or what is wrong, with its field.
pub fn plan(document: &Value) -> Result<PodPlan, Invalid> {
    let pod = check::pod(document)?;
    fields::check(document)?;
    pod::plan(pod)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Manifest;
    use super::*;

    fn planned(yaml: &str) -> Result<PodPlan, Invalid> {
        plan(&Manifest::pod(yaml).unwrap().document)
    }

    const FULL: &str = r#"
metadata:
  name: web.1
  namespace: default
  labels: {app: web}
  creationTimestamp: null
spec:
  hostname: web
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 5
  automountServiceAccountToken: false
  serviceAccountName: default
  dnsPolicy: ClusterFirst
  schedulerName: default-scheduler
  enableServiceLinks: true
  hostNetwork: false
  nodeSelector: {kubernetes.io/os: linux}
  tolerations: [{operator: Exists}]
  imagePullSecrets: []
  affinity: {}
  priority: 0
  securityContext: {runAsUser: 1000, runAsGroup: 1001, runAsNonRoot: true}
  hostAliases: [{ip: 10.0.0.1, hostnames: [db, db.local]}, {ip: "fd00::1", hostnames: [cache]}]
  volumes:
  - {name: data, emptyDir: {sizeLimit: 1Gi}}
  - {name: fast, emptyDir: {medium: Memory}}
  - {name: bare}
  initContainers:
  - {name: prepare, image: "busybox:latest", command: [sh, -c, "echo $(A)"]}
  containers:
  - name: web
    image: registry.example.com/web:1.10
    command: [web]
    args: [--name, $(NAME)]
    workingDir: /srv
    stdin: true
    tty: true
    env:
    - {name: NAME, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}
    - {name: URL, value: "http://$(NAME)/"}
    - {name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
    - {name: MIB, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: OTHER, valueFrom: {resourceFieldRef: {containerName: side, resource: limits.cpu,
        divisor: 1m}}}
    - {name: EMPTY}
    resources:
      limits: {cpu: 1500m, memory: 128Mi}
      requests: {cpu: 0.5, memory: 64Mi}
    ports:
    - {name: http, containerPort: 80}
    - {containerPort: 53, protocol: UDP, hostPort: 0}
    volumeMounts:
    - {name: data, mountPath: /data, subPath: a/b, readOnly: true, mountPropagation: None}
    - {name: fast, mountPath: /fast}
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    securityContext:
      runAsUser: 33
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      privileged: false
      capabilities: {drop: [NET_RAW]}
      seccompProfile: {type: RuntimeDefault}
  - {name: side, image: side, imagePullPolicy: Never, resources: {limits: {cpu: 1}}}
"#;

    fn value(text: &str) -> Variable {
        Variable::Value(text.to_owned())
    }

    #[test]
    fn a_pod_is_planned() {
        let plan = planned(FULL).unwrap();
        assert_eq!((plan.name.as_str(), plan.hostname.as_deref()), ("web.1", Some("web")));
        assert_eq!((plan.restart, plan.grace_s), (PodRestart::OnFailure, 5));
        let hosts: Vec<_> =
            plan.extra_hosts.iter().map(|(name, ip)| format!("{name}={ip}")).collect();
        assert_eq!(hosts, ["db=10.0.0.1", "db.local=10.0.0.1", "cache=fd00::1"]);
        let volume = |name: &str, is_memory, size_limit_bytes| PodVolume {
            name: name.to_owned(),
            is_memory,
            size_limit_bytes,
        };
        let volumes = [
            volume("data", false, Some(1 << 30)),
            volume("fast", true, None),
            volume("bare", false, None),
        ];
        assert_eq!(plan.volumes, volumes);
        let [init] = &plan.init[..] else { panic!("{:?}", plan.init) };
        assert_eq!((init.name.as_str(), init.pull), ("prepare", PullPolicy::Always));
        assert_eq!(init.user.as_deref(), Some("1000:1001"));
        assert_eq!((init.memory_bytes, init.cpu_millis), (None, None));
        let [_, side] = &plan.containers[..] else { panic!("{:?}", plan.containers) };
        assert_eq!((side.pull, side.cpu_millis), (PullPolicy::Never, Some(1000)));
    }

    #[test]
    fn a_container_is_planned() {
        let web = planned(FULL).unwrap().containers.remove(0);
        let mount = |volume: &str, path: &str, read_only, sub_path: Option<&str>| Mount {
            volume: volume.to_owned(),
            path: path.to_owned(),
            read_only,
            sub_path: sub_path.map(str::to_owned),
        };
        let port = |name: Option<&str>, port, protocol: &str| ContainerPort {
            name: name.map(str::to_owned),
            port,
            protocol: protocol.to_owned(),
        };
        let wanted = PlannedContainer {
            name: "web".to_owned(),
            image: "registry.example.com/web:1.10".to_owned(),
            pull: PullPolicy::IfNotPresent,
            entrypoint: vec!["web".to_owned()],
            args: vec!["--name".to_owned(), "$(NAME)".to_owned()],
            environment: vec![
                ("NAME".to_owned(), Variable::Field(FieldSource::Name)),
                ("URL".to_owned(), value("http://$(NAME)/")),
                ("CPUS".to_owned(), value("2")),
                ("MIB".to_owned(), value("128")),
                ("OTHER".to_owned(), value("1000")),
                ("EMPTY".to_owned(), value("")),
            ],
            working_dir: Some("/srv".to_owned()),
            memory_bytes: Some(128 << 20),
            cpu_millis: Some(1500),
            user: Some("33:1001".to_owned()),
            read_only_root: true,
            dropped: vec!["NET_RAW".to_owned()],
            mounts: vec![
                mount("data", "/data", true, Some("a/b")),
                mount("fast", "/fast", false, None),
            ],
            ports: vec![port(Some("http"), 80, "tcp"), port(None, 53, "udp")],
            stdin: true,
            tty: true,
        };
        assert_eq!(web, wanted);
    }

    #[test]
    fn what_is_not_said_is_as_in_kubernetes() {
        let plan = planned(
            "{\"id\": \"a\", \"spec\": {\"containers\": [{\"name\": \"a\", \"image\": \"b\"}]}}",
        );
        let plan = plan.unwrap();
        assert_eq!((plan.restart, plan.grace_s, plan.hostname), (PodRestart::Always, 30, None));
        let container = &plan.containers[0];
        assert_eq!((&container.user, container.pull), (&None, PullPolicy::Always));
        assert!(!container.read_only_root && !container.stdin && !container.tty);
    }

    #[test]
    fn values_are_expanded_once_they_are_known() {
        let web = planned(FULL).unwrap().containers.remove(0);
        let known = |source: &FieldSource| match source {
            FieldSource::Name => "web.1".to_owned(),
            other => panic!("{other:?}"),
        };
        let expanded = web.expanded(known).unwrap();
        let variable = |name: &str| {
            let found = expanded.environment.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!((variable("NAME"), variable("URL")), (Some("web.1"), Some("http://web.1/")));
        assert_eq!(expanded.args, ["--name", "web.1"]);
        let twice = PlannedContainer {
            environment: [("A", "1"), ("B", "$(A)$(C)"), ("A", "$(A)2"), ("C", "3")]
                .map(|(name, text)| (name.to_owned(), value(text)))
                .to_vec(),
            entrypoint: vec!["$(A) $(B) $$(C)".to_owned()],
            ..web
        };
        let expanded = twice.expanded(|_| String::new()).unwrap();
        let wanted = [("A", "12"), ("B", "1$(C)"), ("C", "3")];
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(expanded.environment, wanted, "a value sees what is before it");
        assert_eq!(expanded.entrypoint, ["12 1$(C) $(C)"]);
    }

    /// A pod with one field more, by its JSON pointer.
    fn with(pointer: &str, field: Value) -> Value {
        let mut pod = json!({
            "metadata": { "name": "a" },
            "spec": {
                "securityContext": {},
                "volumes": [{ "name": "v" }],
                "initContainers": [{ "name": "i", "image": "a" }],
                "containers": [{
                    "name": "c",
                    "image": "a",
                    "env": [{ "name": "A" }],
                    "ports": [{ "containerPort": 80 }],
                    "resources": { "limits": { "cpu": 1 } },
                    "securityContext": {},
                    "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
                }],
            },
        });
        assert!(plan(&pod).is_ok());
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = pod.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(name.replace("~1", "/"), field);
        pod
    }

    /// Where, as a JSON pointer; a value as JSON; and words of why it is refused.
    const REFUSED: &[(&str, &str, &str)] = &[
        ("/unknown", "1", "nothing of this name"),
        ("/metadata/unknown", "1", "nothing of this name"),
        ("/metadata/namespace", r#""x""#, "no namespaces"),
        ("/metadata/finalizers", r#"["a/b"]"#, "no garbage collector"),
        (
            "/metadata/ownerReferences",
            r#"[{"apiVersion": "v1", "kind": "A", "name": "a", "uid": "a"}]"#,
            "no garbage collector",
        ),
        ("/spec/unknown", "{}", "nothing of this name"),
        ("/spec/automountServiceAccountToken", "true", "no service accounts"),
        ("/spec/serviceAccountName", r#""x""#, "no service accounts"),
        ("/spec/serviceAccount", r#""x""#, "no service accounts"),
        ("/spec/os", r#"{"name": "windows"}"#, "Linux"),
        ("/spec/schedulerName", r#""x""#, "one scheduler"),
        ("/spec/nodeSelector", r#"{"disk": "ssd"}"#, "no labels to select"),
        ("/spec/affinity", r#"{"nodeAffinity": {}}"#, "without regard to others"),
        (
            "/spec/topologySpreadConstraints",
            r#"[{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "a"}]"#,
            "without regard to others",
        ),
        ("/spec/nodeName", r#""n""#, "chooses the node itself"),
        ("/spec/dnsPolicy", r#""None""#, "name server of its network"),
        ("/spec/dnsConfig", r#"{"searches": ["a"]}"#, "name server of its network"),
        ("/spec/hostNetwork", "true", "what is the host's"),
        ("/spec/hostPID", "true", "what is the host's"),
        ("/spec/hostIPC", "true", "what is the host's"),
        ("/spec/hostUsers", "false", "no user namespace"),
        ("/spec/shareProcessNamespace", "true", "share no processes"),
        ("/spec/setHostnameAsFQDN", "true", "no full domain names"),
        ("/spec/subdomain", r#""x""#, "no full domain names"),
        ("/spec/hostnameOverride", r#""x""#, "use hostname"),
        ("/spec/activeDeadlineSeconds", "5", "does not end pods"),
        ("/spec/ephemeralContainers", r#"[{"name": "e"}]"#, "adds no containers"),
        ("/spec/imagePullSecrets", r#"[{"name": "s"}]"#, "no secrets"),
        ("/spec/overhead", r#"{"cpu": 1}"#, "no overhead"),
        ("/spec/priority", "5", "no priorities"),
        ("/spec/priorityClassName", r#""x""#, "no priorities"),
        ("/spec/readinessGates", r#"[{"conditionType": "a"}]"#, "no readiness gates"),
        ("/spec/schedulingGates", r#"[{"name": "a"}]"#, "no scheduling gates"),
        ("/spec/resourceClaims", r#"[{"name": "a"}]"#, "no resource claims"),
        ("/spec/resources", r#"{"limits": {"cpu": 1}}"#, "not a pod as a whole"),
        ("/spec/runtimeClassName", r#""x""#, "one runtime"),
        ("/spec/securityContext/fsGroup", "5", "does not change whose"),
        ("/spec/securityContext/supplementalGroups", "[5]", "one group"),
        (
            "/spec/securityContext/sysctls",
            r#"[{"name": "a", "value": "b"}]"#,
            "settings of the kernel",
        ),
        ("/spec/securityContext/windowsOptions", r#"{"hostProcess": true}"#, "Linux"),
        ("/spec/securityContext/seLinuxOptions", r#"{"level": "s0"}"#, "profile"),
        ("/spec/securityContext/seccompProfile", r#"{"type": "Localhost"}"#, "profile"),
        ("/spec/securityContext/appArmorProfile", r#"{"type": "Localhost"}"#, "profile"),
        ("/spec/volumes/0/hostPath", r#"{"path": "/"}"#, "no volumes but emptyDir"),
        ("/spec/volumes/0/configMap", "{}", "no volumes but emptyDir"),
        ("/spec/initContainers/0/restartPolicy", r#""Always""#, "no sidecar containers"),
        ("/spec/containers/0/unknown", "[]", "nothing of this name"),
        ("/spec/containers/0/stdinOnce", "true", "stays open"),
        ("/spec/containers/0/envFrom", r#"[{"prefix": "a"}]"#, "neither config maps nor secrets"),
        ("/spec/containers/0/lifecycle", r#"{"preStop": {}}"#, "no lifecycle hooks"),
        ("/spec/containers/0/livenessProbe", r#"{"periodSeconds": 5}"#, "not there yet"),
        ("/spec/containers/0/readinessProbe", r#"{"periodSeconds": 5}"#, "not there yet"),
        ("/spec/containers/0/startupProbe", r#"{"periodSeconds": 5}"#, "not there yet"),
        ("/spec/containers/0/restartPolicyRules", r#"[{"action": "Restart"}]"#, "by one policy"),
        (
            "/spec/containers/0/volumeDevices",
            r#"[{"name": "a", "devicePath": "/a"}]"#,
            "no block devices",
        ),
        ("/spec/containers/0/ports/0/hostPort", "80", "no ports of the host"),
        ("/spec/containers/0/ports/0/hostIP", r#""::""#, "no ports of the host"),
        ("/spec/containers/0/resources/claims", r#"[{"name": "a"}]"#, "no resource claims"),
        ("/spec/containers/0/securityContext/privileged", "true", "what is the host's"),
        ("/spec/containers/0/securityContext/allowPrivilegeEscalation", "true", "new rights"),
        ("/spec/containers/0/securityContext/procMount", r#""Unmasked""#, "profile"),
        ("/spec/containers/0/securityContext/seLinuxOptions", r#"{"level": "s0"}"#, "profile"),
        (
            "/spec/containers/0/securityContext/seccompProfile",
            r#"{"type": "Unconfined"}"#,
            "profile",
        ),
        (
            "/spec/containers/0/securityContext/appArmorProfile",
            r#"{"type": "Unconfined"}"#,
            "profile",
        ),
        ("/spec/containers/0/securityContext/windowsOptions", r#"{"hostProcess": true}"#, "Linux"),
        (
            "/spec/containers/0/volumeMounts/0/mountPropagation",
            r#""Bidirectional""#,
            "do not spread",
        ),
        ("/spec/containers/0/volumeMounts/0/recursiveReadOnly", r#""Enabled""#, "no mounts within"),
        ("/spec/containers/0/volumeMounts/0/subPathExpr", r#""$(A)""#, "use subPath"),
        ("/spec/containers/0/volumeMounts/0/bindMountOptions", r#"["a"]"#, "nothing of this name"),
        // What the tables let through and the plan does not have.
        ("/spec/terminationGracePeriodSeconds", "5000000000", "at most 4294967295"),
        ("/spec/securityContext/runAsNonRoot", "true", "use runAsUser"),
        ("/spec/containers/0/image", r#""A B""#, "An image reference is like"),
        ("/spec/containers/0/workingDir", r#""srv""#, "begins with /"),
        ("/spec/containers/0/securityContext/runAsUser", "-1", "from 0 to 2147483647"),
        ("/spec/containers/0/securityContext/runAsGroup", "5", "needs runAsUser"),
        ("/spec/containers/0/securityContext/runAsNonRoot", "true", "use runAsUser"),
        ("/spec/containers/0/volumeMounts/0/mountPath", r#""v""#, "begins with /"),
    ];

    /// A JSON pointer as the path of a field.
    fn path(pointer: &str) -> String {
        let mut path = String::new();
        for part in pointer.split('/').skip(1) {
            if part.parse::<usize>().is_ok() {
                path += &format!("[{part}]");
            } else {
                path += if path.is_empty() { "" } else { "." };
                path += part;
            }
        }
        path
    }

    #[test]
    fn each_field_that_a_docker_bay_cannot_do_is_refused_by_its_path() {
        for (pointer, field, words) in REFUSED {
            let field = serde_json::from_str(field).unwrap();
            let invalid = plan(&with(pointer, field)).unwrap_err();
            assert!(invalid.message.contains(words), "{pointer}: {invalid}");
            // A rule that goes for a whole pod is told of its first container.
            if *pointer != "/spec/securityContext/runAsNonRoot" {
                assert_eq!(invalid.field, Some(path(pointer)));
            }
        }
    }

    /// Where, and a value as JSON; which part of it is refused, and words of why.
    const REFUSED_BELOW: &[(&str, &str, &str, &str)] = &[
        ("/spec/containers/0/args", r#"["a", "\u0000"]"#, "spec.containers[0].args[1]", "U+0000"),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"fieldRef": {"fieldPath": "spec.serviceAccountName"}}"#,
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "no service accounts",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"fieldRef": {"fieldPath": "status.podIPs"}}"#,
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "knows metadata.name",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"fieldRef": {"fieldPath": "metadata.labels[a]"}}"#,
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
            "knows metadata.name",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{}"#,
            "spec.containers[0].env[0].valueFrom",
            "use one of fieldRef",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"secretKeyRef": {"name": "a", "key": "b"}}"#,
            "spec.containers[0].env[0].valueFrom.secretKeyRef",
            "no secrets",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"configMapKeyRef": {"name": "a", "key": "b"}}"#,
            "spec.containers[0].env[0].valueFrom.configMapKeyRef",
            "no config maps",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"fileKeyRef": {"key": "a", "path": "b", "volumeName": "v"}}"#,
            "spec.containers[0].env[0].valueFrom.fileKeyRef",
            "from files",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v2"}}"#,
            "spec.containers[0].env[0].valueFrom.fieldRef.apiVersion",
            "use v1",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"resourceFieldRef": {"resource": "requests.cpu"}}"#,
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource",
            "knows limits.cpu",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"resourceFieldRef": {"resource": "limits.memory"}}"#,
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource",
            "no such limit",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"resourceFieldRef": {"resource": "limits.cpu", "containerName": "x"}}"#,
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.containerName",
            "no container",
        ),
        (
            "/spec/containers/0/env/0/valueFrom",
            r#"{"resourceFieldRef": {"resource": "limits.cpu", "divisor": "x"}}"#,
            "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor",
            "use a quantity",
        ),
        (
            "/spec/containers/0/resources",
            r#"{"limits": {"memory": "1Mi"}}"#,
            "spec.containers[0].resources.limits['memory']",
            "smallest",
        ),
        (
            "/spec/containers/0/resources",
            r#"{"limits": {"cpu": "1m"}}"#,
            "spec.containers[0].resources.limits['cpu']",
            "from 0.01",
        ),
        (
            "/spec/containers/0/resources",
            r#"{"limits": {"cpu": "5G"}}"#,
            "spec.containers[0].resources.limits['cpu']",
            "from 0.01",
        ),
        (
            "/spec/containers/0/resources",
            r#"{"limits": {"nvidia.com/gpu": 1}}"#,
            "spec.containers[0].resources.limits['nvidia.com/gpu']",
            "no other resources",
        ),
        (
            "/spec/containers/0/resources",
            r#"{"requests": {"hugepages-2Mi": "2Mi"}}"#,
            "spec.containers[0].resources.requests.hugepages-2Mi",
            "no other resources",
        ),
        (
            "/spec/containers/0/securityContext",
            r#"{"capabilities": {"add": ["A"]}}"#,
            "spec.containers[0].securityContext.capabilities.add",
            "no capabilities",
        ),
        ("/spec/hostAliases", r#"[{"ip": "x"}]"#, "spec.hostAliases[0].ip", "an IP address"),
        (
            "/spec/hostAliases",
            r#"[{"ip": "::1", "hostnames": ["A"]}]"#,
            "spec.hostAliases[0].hostnames[0]",
            "small letters",
        ),
        (
            "/spec/volumes",
            r#"[{"name": "v", "emptyDir": {"medium": "HugePages"}}]"#,
            "spec.volumes[0].emptyDir.medium",
            "Memory only",
        ),
        (
            "/spec/volumes",
            r#"[{"name": "v", "emptyDir": {"mode": 5}}]"#,
            "spec.volumes[0].emptyDir.mode",
            "nothing of this name",
        ),
    ];

    #[test]
    fn values_below_a_field_are_refused_by_their_path() {
        for (pointer, field, at, words) in REFUSED_BELOW {
            let field = serde_json::from_str(field).unwrap();
            let invalid = plan(&with(pointer, field)).unwrap_err();
            assert_eq!(invalid.field.as_deref(), Some(*at), "{invalid}");
            assert!(invalid.message.contains(words), "{invalid}");
        }
    }

    #[test]
    fn fields_are_sources_of_variables() {
        for (path, wanted) in [
            ("metadata.name", FieldSource::Name),
            ("metadata.namespace", FieldSource::Namespace),
            ("metadata.uid", FieldSource::Uid),
            ("metadata.labels['a.b/c']", FieldSource::Label("a.b/c".to_owned())),
            ("metadata.annotations['a']", FieldSource::Annotation("a".to_owned())),
            ("spec.nodeName", FieldSource::NodeName),
            ("status.podIP", FieldSource::PodIp),
            ("status.hostIP", FieldSource::HostIp),
        ] {
            let from = json!([{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": path } } }]);
            let plan = plan(&with("/spec/containers/0/env", from)).unwrap();
            let (_, variable) = &plan.containers[0].environment[0];
            assert_eq!(*variable, Variable::Field(wanted));
        }
    }

    #[test]
    fn variables_do_not_explode() {
        let mut variables = vec![json!({ "name": "V0", "value": "x".repeat(64) })];
        for number in 1..40 {
            let value = format!("$(V{0})$(V{0})", number - 1);
            variables.push(json!({ "name": format!("V{number}"), "value": value }));
        }
        let invalid = plan(&with("/spec/containers/0/env", json!(variables))).unwrap_err();
        assert_eq!(invalid.field.as_deref(), Some("spec.containers[0]"));
        assert!(invalid.message.contains("at most 131072 bytes"), "{invalid}");
    }

    #[test]
    fn pull_policies_follow_the_tag() {
        let digest = format!("a@sha256:{}", "0".repeat(64));
        for (image, pull) in [
            ("a", PullPolicy::Always),
            ("a:latest", PullPolicy::Always),
            ("localhost:5000/a", PullPolicy::Always),
            ("a:1", PullPolicy::IfNotPresent),
            ("localhost:5000/a:1", PullPolicy::IfNotPresent),
            (digest.as_str(), PullPolicy::IfNotPresent),
        ] {
            let plan = plan(&with("/spec/containers/0/image", json!(image))).unwrap();
            assert_eq!(plan.containers[0].pull, pull, "{image}");
        }
    }
}

//! One realistic value of each event type: what `MAGNUM_BLESS=1` makes a frozen sample of.
//!
//! Each is in the present version; samples of older ones are in `schemas/samples` alone. A new
//! type, version or variant of an enum gets a line here, in the order in which things happen.

use magnum::events::EventPayload;
use magnum::events::audit::{
    ArchivedV1, AuditEvent, CommandRefusedV1, CountedV1, KeyErasedV1, ReadV1, TokenCreatedV1,
    TokenRevokedV1,
};
use magnum::events::bay::{
    BayAbandonedV1, BayCreateRefusedV1, BayCreateRequestedV1, BayCreatedV1, BayDeleteRequestedV1,
    BayDeletedV1, BayEmptiedV1, BayEvent, BayPlan, LeftBehind,
};
use magnum::events::baymodel::{
    BaymodelCreatedV1, BaymodelDeletedV1, BaymodelEvent, BaymodelFields,
};
use magnum::events::container::{
    ActionDoneV1, ActionRequestedV1, AdjustRequestedV1, AdjustedV1, ContainerAbandonedV1,
    ContainerEvent, ContainerSpec, CreateRequestedV1, CreatedV1, DeleteRequestedV1, Drift,
    DriftedV1, ExecuteRequestedV1, ExecutedV1, ExecutionEndRequestedV1, ExitedV3, HealthChangedV1,
    KillRequestedV1, Limits, NotStartedV1, PortMapping, PullProgressedV1, PullStartedV1, PulledV1,
    RebootedV2, RecreateAdvancedV1, RecreateRequestedV1, RecreateStep, RecreatedV1,
    RenameRequestedV1, RestartPolicy, RestartedV2, RunChangedV1, StartedV2, StopRequestedV1,
    StoppedV2,
};
use magnum::events::node::{
    NodeCameUpV1, NodeCreatedV1, NodeDeletedV1, NodeEvent, NodeUnknownContainerFoundV1,
    NodeUnknownContainerGoneV1, NodeUnknownNetworkFoundV1, NodeUnknownNetworkGoneV1,
    NodeWentDownV1,
};
use magnum::events::run::{Health, HealthStatus, Run, RunEnd};
use magnum::events::work::{
    FieldChange, NodeVerdict, Placement, UpdatedV1, WorkBlockedV1, WorkFailedV2, WorkResumedV1,
    WorkUnknownV2,
};
use magnum::ids::{EventId, Kind, ObjectId, Position, StreamKind, Timestamp};
use uuid::Uuid;

/// An event, and what tells its sample from others of the same type: `oom`.
pub struct Value {
    pub kind: StreamKind,
    pub event_type: &'static str,
    pub version: u16,
    pub name: &'static str,
    pub payload: Vec<u8>,
}

/// All there are.
pub fn all() -> Vec<Value> {
    let mut values = Vec::new();
    add(&mut values, Kind::Baymodel, baymodels());
    add(&mut values, Kind::Bay, bays());
    add(&mut values, Kind::Node, nodes());
    add(&mut values, Kind::Container, containers());
    add(&mut values, Kind::Pod, super::pod_values::pods());
    add(&mut values, StreamKind::Audit, audited());
    values
}

fn add<E: EventPayload>(
    values: &mut Vec<Value>,
    kind: impl Into<StreamKind>,
    events: Vec<(&'static str, E)>,
) {
    let kind = kind.into();
    values.extend(events.into_iter().map(|(name, event)| {
        let (event_type, version) = (event.event_type(), event.version());
        Value { kind, event_type, version, name, payload: event.encode() }
    }));
}

const NODE: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d0_1f3e_7c44_9a51_6f0c_2b7e_8d13));
const OTHER_NODE: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d0_2a90_7e01_8c22_41f7_93aa_05be));
pub(super) const BAY: ObjectId =
    ObjectId(Uuid::from_u128(0x019a_b6d1_0b42_7d9f_b3c8_1e64_70d2_9f57));
const CONTAINER: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d2_3f10_7a21_8e05_13ab_c4d7_6f21));
const BAYMODEL: ObjectId = ObjectId(Uuid::from_u128(0x019a_b6d0_ffa1_7b36_a4d7_58c9_e013_246a));
pub const WORK: EventId = EventId(Uuid::from_u128(0x019a_b6d2_4c75_7aa8_8e10_d93b_5f26_c481));
pub const OTHER_WORK: EventId = EventId(Uuid::from_u128(0x019a_b6d2_5d86_7bb9_9f21_ea4c_6037_d592));

/// 2026-11-24T22:13:06.250125Z.
pub(super) const LATER: Timestamp = Timestamp(1_795_558_386_250_125);

fn text(text: &str) -> String {
    text.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(super) fn placement() -> Placement {
    let verdict = |node_id, host: &str, eligible, reason: &str| NodeVerdict {
        node_id,
        host: text(host),
        eligible,
        reason: text(reason),
    };
    Placement {
        node_id: NODE,
        verdicts: vec![
            verdict(NODE, "n1", true, "3 containers, the fewest"),
            verdict(OTHER_NODE, "n2", false, "its engine does not answer"),
        ],
    }
}

fn updated() -> UpdatedV1 {
    let change = |field: &str, value: &str| FieldChange { field: text(field), value: text(value) };
    UpdatedV1 { changes: vec![change("name", "\"blue\""), change("desc", "null")] }
}

pub(super) fn blocked() -> WorkBlockedV1 {
    WorkBlockedV1 {
        work_id: WORK,
        attempt: 2,
        blocked_on: text("image registry"),
        reason: text("dial tcp 10.0.0.7:5000: connect: connection refused"),
        retry_at: LATER,
    }
}

pub(super) fn failed() -> WorkFailedV2 {
    let (action, reason) = (text("create"), text("no such image: nginx:0"));
    WorkFailedV2 { work_id: WORK, action, reason, cancelled: vec![OTHER_WORK] }
}

pub(super) fn unknown() -> WorkUnknownV2 {
    let reason = text("the service stopped while it ran");
    WorkUnknownV2 { work_id: WORK, action: text("execute"), reason, cancelled: vec![OTHER_WORK] }
}

/// A value of each event of a baymodel.
pub fn baymodels() -> Vec<(&'static str, BaymodelEvent)> {
    let fields = BaymodelFields {
        name: some("small"),
        coe: text("swarm"),
        image_id: text("fedora-21-atomic-3"),
        keypair_id: some("testkey"),
        flavor_id: some("m1.small"),
        master_flavor_id: some("m1.medium"),
        external_network_id: some("ffc44e4a-2319-4062-bce0-9ae1c38b05ba"),
        fixed_network: some("private"),
        dns_nameserver: some("8.8.8.8"),
        apiserver_port: Some(8080),
        docker_volume_size_gb: Some(25),
        ssh_authorized_key: some("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 alice@example.org"),
        cluster_distro: some("fedora-atomic"),
    };
    let bare =
        BaymodelFields { coe: text("docker"), image_id: text("none"), ..BaymodelFields::default() };
    vec![
        ("full", BaymodelEvent::Created(BaymodelCreatedV1 { fields })),
        ("bare", BaymodelEvent::Created(BaymodelCreatedV1 { fields: bare })),
        ("full", BaymodelEvent::Updated(updated())),
        ("full", BaymodelEvent::Deleted(BaymodelDeletedV1 {})),
    ]
}

/// A value of each event of a bay.
pub fn bays() -> Vec<(&'static str, BayEvent)> {
    let plan = BayPlan {
        name: some("web"),
        baymodel_id: BAYMODEL,
        node_count: 3,
        discovery_url: some("https://discovery.etcd.io/6a28e078895c5ec737174db2419bb2f3"),
        create_timeout_min: 60,
        bay_type: some("virt"),
        image_id: some("fedora-21-atomic-3"),
    };
    let bare = BayPlan {
        name: None,
        discovery_url: None,
        bay_type: None,
        image_id: None,
        create_timeout_min: 0,
        ..plan.clone()
    };
    let refused = BayCreateRefusedV1 {
        plan: plan.clone(),
        placement: placement(),
        action: text("create"),
        reason: text("node_count 3 cannot be served: 1 node is available"),
    };
    let in_use = "network magnum-019ab6d1 has active endpoints, but no container is in it";
    let left = |kind: &str, object_id: ObjectId, reason: &str| LeftBehind {
        kind: text(kind),
        object_id,
        name: Some(text("web")).filter(|_| kind == "container"),
        engine_name: format!("magnum-{object_id}"),
        engine_id: some(&"c0ffee".repeat(10)),
        reason: text(reason),
    };
    let container = left("container", CONTAINER, "permission denied");
    let abandoned = BayAbandonedV1 {
        left_behind: vec![container, left("network", BAY, in_use)],
        still_deleted: vec![OTHER_NODE],
        cancelled: vec![OTHER_WORK],
    };
    let requested = |plan| BayCreateRequestedV1 { plan, placement: placement() };
    let network_id = text("7d86d31b1478e7cca9ebed7e73aa0fdeec46c5ca29497431d3007d2d9e15ed99");
    vec![
        ("full", BayEvent::CreateRequested(requested(plan))),
        ("bare", BayEvent::CreateRequested(requested(bare))),
        ("full", BayEvent::CreateRefused(refused)),
        ("full", BayEvent::WorkBlocked(blocked())),
        ("full", BayEvent::Created(BayCreatedV1 { work_id: WORK, network_id })),
        ("full", BayEvent::Updated(updated())),
        ("full", BayEvent::WorkFailed(failed())),
        ("full", BayEvent::WorkUnknown(unknown())),
        ("full", BayEvent::WorkResumed(WorkResumedV1 { work_id: WORK })),
        ("full", BayEvent::DeleteRequested(BayDeleteRequestedV1 {})),
        ("full", BayEvent::Emptied(BayEmptiedV1 { work_id: WORK })),
        ("full", BayEvent::Deleted(BayDeletedV1 { work_id: OTHER_WORK })),
        ("full", BayEvent::Abandoned(abandoned)),
    ]
}

/// A value of each event of a node.
pub fn nodes() -> Vec<(&'static str, NodeEvent)> {
    let created = NodeCreatedV1 {
        node_type: some("docker"),
        image_id: some("debian-13"),
        ironic_node_id: some("1be26c0b-03f2-4d2e-ae87-c02d7f33c781"),
        host: some("n1"),
    };
    let engine_id = "c0ffee".repeat(10) + "c0ff";
    let container_id = CONTAINER;
    let found = NodeUnknownContainerFoundV1 {
        engine_id: engine_id.clone(),
        engine_name: format!("magnum-{container_id}"),
        container_id,
        state: "running".to_owned(),
    };
    let network_id = "7d86d3".repeat(10) + "7d86";
    let network = NodeUnknownNetworkFoundV1 {
        engine_id: network_id.clone(),
        engine_name: format!("magnum-{BAY}"),
        bay_id: BAY,
    };
    let network_gone = NodeUnknownNetworkGoneV1 { engine_id: network_id };
    let bare = NodeCreatedV1 { node_type: None, image_id: None, ironic_node_id: None, host: None };
    let (engine, memory_bytes) = (text("docker 20.10.24"), 16_777_216_000);
    let reason = text("connect /var/run/docker.sock: no such file or directory");
    vec![
        ("full", NodeEvent::Created(created)),
        ("bare", NodeEvent::Created(bare)),
        ("full", NodeEvent::CameUp(NodeCameUpV1 { engine, cpus: 8, memory_bytes })),
        ("full", NodeEvent::WentDown(NodeWentDownV1 { reason })),
        ("full", NodeEvent::Updated(updated())),
        ("full", NodeEvent::UnknownContainerFound(found)),
        ("full", NodeEvent::UnknownContainerGone(NodeUnknownContainerGoneV1 { engine_id })),
        ("full", NodeEvent::UnknownNetworkFound(network)),
        ("full", NodeEvent::UnknownNetworkGone(network_gone)),
        ("full", NodeEvent::Deleted(NodeDeletedV1 {})),
    ]
}

fn spec(restart_policy: RestartPolicy) -> ContainerSpec {
    let pair = |name: &str, value: &str| [(text(name), text(value))].into();
    ContainerSpec {
        image: text("nginx:1.27"),
        command: texts(&["nginx", "-g", "daemon off;"]),
        environment: pair("TZ", "Europe/Berlin"),
        ports: vec![PortMapping {
            container_port: 80,
            host_port: Some(8080),
            host_ip: some("127.0.0.1"),
            protocol: text("tcp"),
        }],
        labels: pair("tier", "front"),
        memory_bytes: Some(536_870_912),
        cpu_millis: Some(1500),
        working_dir: some("/srv"),
        user: some("www-data:www-data"),
        restart_policy,
    }
}

fn created(spec: ContainerSpec) -> ContainerEvent {
    let (name, desc) = (some("web1"), some("the shop's front"));
    let (bay_id, placement) = (BAY, placement());
    ContainerEvent::CreateRequested(CreateRequestedV1 { name, desc, spec, bay_id, placement })
}

fn bare() -> ContainerEvent {
    let spec = ContainerSpec { image: text("busybox:local"), ..ContainerSpec::default() };
    let placement = Placement { node_id: NODE, verdicts: vec![] };
    let (name, desc, bay_id) = (None, None, BAY);
    ContainerEvent::CreateRequested(CreateRequestedV1 { name, desc, spec, bay_id, placement })
}

fn container_abandoned() -> ContainerAbandonedV1 {
    ContainerAbandonedV1 {
        engine_id: some(&"c0ffee".repeat(10)),
        reason: text("the Docker engine says: permission denied"),
        cancelled: vec![OTHER_WORK],
    }
}

/// A value of each event of a container.
pub fn containers() -> Vec<(&'static str, ContainerEvent)> {
    use ContainerEvent::{
        Created, DeleteRequested, Deleted, ExecuteRequested, Executed, KillRequested, Killed,
        PauseRequested, Paused, PullProgressed, PullStarted, Pulled, RebootRequested,
        StartRequested, StopRequested, UnpauseRequested, Unpaused, Updated, WorkBlocked,
        WorkFailed, WorkUnknown,
    };
    let asked = ActionRequestedV1 {};
    let done = ActionDoneV1 { work_id: WORK };
    let stop = StopRequestedV1 { grace_s: 10 };
    let progress = PullProgressedV1 {
        work_id: WORK,
        message: text("pulling nginx:1.27"),
        current_bytes: 12_582_912,
        total_bytes: 41_943_040,
    };
    let pulled = PulledV1 {
        work_id: WORK,
        image: text("nginx:1.27"),
        bytes: 41_943_040,
        digest: some("sha256:0f04e4f646a3f14bf31d8bc8d885b6c951fdcf42589d06845f64d18aec6a3c4d"),
    };
    let engine_id = text("3f0c9b7d52a1e8446d2b0a5c7e9f1834b6d8a0c2e4f60718293a4b5c6d7e8f90");
    let kill = KillRequestedV1 { signal: text("SIGHUP") };
    let execute = ExecuteRequestedV1 { command: texts(&["nginx", "-t"]) };
    let mut events = vec![
        ("full", created(spec(RestartPolicy::OnFailure(5)))),
        ("no", created(spec(RestartPolicy::No))),
        ("always", created(spec(RestartPolicy::Always))),
        ("unless_stopped", created(spec(RestartPolicy::UnlessStopped))),
        ("bare", bare()),
        ("full", PullStarted(PullStartedV1 { work_id: WORK, image: text("nginx:1.27") })),
        ("full", PullProgressed(progress)),
        ("full", Pulled(pulled)),
        ("full", WorkBlocked(blocked())),
        ("full", Created(CreatedV1 { work_id: WORK, engine_id })),
        ("full", StartRequested(asked.clone())),
        ("full", StopRequested(stop.clone())),
        ("full", RebootRequested(stop)),
        ("full", PauseRequested(asked.clone())),
        ("full", Paused(done.clone())),
        ("full", UnpauseRequested(asked)),
        ("full", Unpaused(done.clone())),
        ("full", KillRequested(kill)),
        ("full", Killed(done.clone())),
        ("full", ExecuteRequested(execute)),
        ("full", Executed(ExecutedV1 { work_id: WORK, exit_code: -3 })),
        ("full", WorkUnknown(unknown())),
        ("full", Updated(updated())),
        ("full", WorkFailed(failed())),
        ("full", ContainerEvent::WorkResumed(WorkResumedV1 { work_id: WORK })),
        (
            "full",
            ContainerEvent::ExecutionEndRequested(ExecutionEndRequestedV1 {
                execution_id: OTHER_WORK,
            }),
        ),
        ("full", ContainerEvent::ExecutionEnded(done.clone())),
    ];
    events.extend(recreated());
    events.extend(runs());
    events.extend(healths());
    events.extend(by_themselves());
    events.extend([
        ("full", DeleteRequested(DeleteRequestedV1 { cancelled: vec![WORK, OTHER_WORK] })),
        ("full", Deleted(done)),
        ("full", ContainerEvent::Abandoned(container_abandoned())),
    ]);
    events
}

/// A container that another one takes the place of.
fn recreated() -> Vec<(&'static str, ContainerEvent)> {
    let asked = |name, spec, start| {
        let asked = RecreateRequestedV1 { name, bay_id: BAY, spec, start };
        ContainerEvent::RecreateRequested(asked)
    };
    let advanced =
        |step| ContainerEvent::RecreateAdvanced(RecreateAdvancedV1 { work_id: WORK, step });
    let made = |policy| {
        let engine_id = text("3f0c9b7d52a1e8446d2b0a5c7e9f1834b6d8a0c2e4f60718293a4b5c6d7e8f90");
        let end = RunEnd { exit_code: Some(143), oom_killed: false, finished_at: Some(LATER) };
        let made = RecreatedV1 {
            work_id: WORK,
            engine_id,
            spec: spec(policy),
            started: true,
            end: Some(end),
            run: Some(run(HealthStatus::Starting)),
        };
        ContainerEvent::Recreated(made)
    };
    let limits =
        Limits { memory_bytes: Some(268_435_456), cpu_millis: Some(250), restart_policy: None };
    let renamed = RenameRequestedV1 { name: some("web2"), bay_id: BAY };
    let mut events = vec![
        ("full", ContainerEvent::RenameRequested(renamed)),
        ("full", ContainerEvent::Renamed(ActionDoneV1 { work_id: WORK })),
        ("full", asked(some("web1"), spec(RestartPolicy::Always), true)),
        ("on_failure", asked(some("web1"), spec(RestartPolicy::OnFailure(5)), true)),
        ("unless_stopped", asked(some("web1"), spec(RestartPolicy::UnlessStopped), true)),
        ("bare", asked(None, ContainerSpec::default(), false)),
        ("prepared", advanced(RecreateStep::Prepared)),
        ("set_aside", advanced(RecreateStep::SetAside)),
        ("made", advanced(RecreateStep::Made)),
        ("started", advanced(RecreateStep::Started)),
        ("restored", advanced(RecreateStep::Restored)),
        ("full", made(RestartPolicy::Always)),
        ("no", made(RestartPolicy::No)),
        ("on_failure", made(RestartPolicy::OnFailure(5))),
        ("unless_stopped", made(RestartPolicy::UnlessStopped)),
    ];
    for (label, policy) in [
        ("full", RestartPolicy::UnlessStopped),
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("on_failure", RestartPolicy::OnFailure(5)),
    ] {
        let limits = Limits { restart_policy: Some(policy), ..limits.clone() };
        let asked = AdjustRequestedV1 { limits: limits.clone() };
        events.push((label, ContainerEvent::AdjustRequested(asked)));
        events.push((label, ContainerEvent::Adjusted(AdjustedV1 { work_id: WORK, limits })));
    }
    events
}

/// All that is known of a process.
fn run(status: HealthStatus) -> Run {
    Run {
        started_at: Some(LATER),
        restart_count: 2,
        address: some("10.192.0.2"),
        ports: vec![PortMapping {
            container_port: 80,
            host_port: Some(32_770),
            host_ip: some("0.0.0.0"),
            protocol: text("tcp"),
        }],
        image_digest: some(
            "sha256:69d0f8e454467e128857e5d6552344099526c73c24d5563c0e4ca9595411dc12",
        ),
        health: Some(Health { status, output: text("HTTP 200") }),
    }
}

/// Starts and ends that were asked for.
fn runs() -> Vec<(&'static str, ContainerEvent)> {
    use ContainerEvent::{NotStarted, Rebooted, Started, Stopped};
    let done = ActionDoneV1 { work_id: WORK };
    let stopped = StoppedV2 {
        work_id: WORK,
        exit_code: Some(143),
        oom_killed: false,
        finished_at: Some(LATER),
    };
    let end = RunEnd { exit_code: Some(137), oom_killed: true, finished_at: Some(LATER) };
    let run_now = Some(run(HealthStatus::Healthy));
    let rebooted = RebootedV2 { work_id: WORK, end: Some(end), run: run_now };
    vec![
        ("full", Started(StartedV2 { work_id: WORK, run: Some(run(HealthStatus::Starting)) })),
        ("bare", Started(done.clone().into())),
        ("full", NotStarted(NotStartedV1 { work_id: WORK, exit_code: 127 })),
        ("full", Stopped(stopped)),
        ("bare", Stopped(done.clone().into())),
        ("full", Rebooted(rebooted)),
        ("bare", Rebooted(done.into())),
    ]
}

/// What tells of a process, with each health that it can have.
fn healths() -> Vec<(&'static str, ContainerEvent)> {
    let (mut labels, mut events) = (Vec::new(), Vec::new());
    for (label, status) in [
        ("starting", HealthStatus::Starting),
        ("healthy", HealthStatus::Healthy),
        ("unhealthy", HealthStatus::Unhealthy),
    ] {
        let health = Health { status, output: text("HTTP 500") };
        let (work_id, run) = (WORK, Some(run(status)));
        let made = RecreatedV1 {
            work_id,
            engine_id: text("3f0c9b7d52a1e844"),
            spec: ContainerSpec::default(),
            started: true,
            end: None,
            run: run.clone(),
        };
        events.extend(run.clone().map(|run| ContainerEvent::RunChanged(RunChangedV1 { run })));
        events.extend([
            ContainerEvent::Recreated(made),
            ContainerEvent::Started(StartedV2 { work_id, run: run.clone() }),
            ContainerEvent::Rebooted(RebootedV2 { work_id, end: None, run: run.clone() }),
            ContainerEvent::Restarted(RestartedV2 { run }),
            ContainerEvent::HealthChanged(HealthChangedV1 { health }),
        ]);
        labels.resize(events.len(), label);
    }
    labels.into_iter().zip(events).collect()
}

/// What nobody asked for.
fn by_themselves() -> Vec<(&'static str, ContainerEvent)> {
    let exited = |exit_code, oom_killed, finished_at| {
        let restarting = false;
        let signal = None;
        ContainerEvent::Exited(ExitedV3 { exit_code, oom_killed, finished_at, restarting, signal })
    };
    let restarting = ExitedV3 {
        exit_code: 7,
        oom_killed: false,
        finished_at: Some(LATER),
        restarting: true,
        signal: None,
    };
    let killed = ExitedV3 { exit_code: 137, signal: some("SIGKILL"), ..restarting.clone() };
    let health = Health { status: HealthStatus::Unhealthy, output: text("HTTP 500") };
    let drifted = |drift| ContainerEvent::Drifted(DriftedV1 { drift });
    vec![
        ("oom", exited(137, true, Some(LATER))),
        ("bare", exited(0, false, None)),
        ("restarting", ContainerEvent::Exited(restarting)),
        ("killed", ContainerEvent::Exited(killed)),
        ("full", ContainerEvent::Restarted(RestartedV2 { run: Some(run(HealthStatus::Starting)) })),
        ("bare", ContainerEvent::Restarted(RestartedV2 { run: None })),
        ("full", ContainerEvent::RunChanged(RunChangedV1 { run: run(HealthStatus::Unhealthy) })),
        ("full", ContainerEvent::HealthChanged(HealthChangedV1 { health })),
        ("removed", drifted(Drift::Removed)),
        ("started", drifted(Drift::Started)),
        ("paused", drifted(Drift::Paused)),
        ("unpaused", drifted(Drift::Unpaused)),
        ("renamed", drifted(Drift::Renamed { found: text("web1_old") })),
        ("replaced", drifted(Drift::Replaced { found: text("9f86d081884c7d65") })),
    ]
}

fn audited() -> Vec<(&'static str, AuditEvent)> {
    let object = || format!("container/{OTHER_NODE}");
    vec![
        (
            "full",
            AuditEvent::CommandRefused(CommandRefusedV1 {
                object: object(),
                command: "pause".to_owned(),
                code: "illegal-transition".to_owned(),
                reason: "Container web1 is Stopped; it cannot pause now. Possible now: start, \
                         reboot, delete."
                    .to_owned(),
            }),
        ),
        ("full", AuditEvent::Read(ReadV1 { object: object(), what: "logs".to_owned() })),
        (
            "full",
            AuditEvent::Counted(CountedV1 { since: LATER, commands_refused: 41_233, reads: 7 }),
        ),
        ("full", AuditEvent::KeyErased(KeyErasedV1 { key: text("0d4bb5a3c1f0e6d7") })),
        ("full", AuditEvent::Archived(ArchivedV1 { position: Position(1_234_567), events: 4_321 })),
        ("full", AuditEvent::TokenCreated(issued(Some(LATER)))),
        ("least", AuditEvent::TokenCreated(issued(None))),
        (
            "full",
            AuditEvent::TokenRevoked(TokenRevokedV1 {
                token: text("0d4bb5a3c1f0e6d7"),
                user: text("ann"),
                role: text("member"),
            }),
        ),
    ]
}

fn issued(expires_at: Option<Timestamp>) -> TokenCreatedV1 {
    let [token, user, role] = ["0d4bb5a3c1f0e6d7", "ann", "member"].map(text);
    TokenCreatedV1 { token, user, role, expires_at }
}

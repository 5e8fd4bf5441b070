//! The values of a pod's events.

use std::collections::BTreeMap;

use magnum::events::container::{
    ActionDoneV1, DeleteRequestedV1, ExecutedV1, ExecutionEndRequestedV1, PullStartedV1, PulledV1,
};
use magnum::events::pod::{
    ContainerStage, Phase, PodAbandonedV1, PodContainer, PodContainerStatus, PodCreateRequestedV1,
    PodCreatedV1, PodDrift, PodDriftedV1, PodEvent, PodExecuteRequestedV1, PodSpec,
    PodStartRequestedV1, PodStateChangedV1, Restarts,
};
use magnum::events::run::RunEnd;
use magnum::events::work::{FieldChange, UpdatedV1, WorkResumedV1};

use super::values::{BAY, LATER, OTHER_WORK, WORK, blocked, failed, placement, unknown};

const DIGEST: &str = "sha256:86d9d04493d5d4f1f2cbe1dba5e4b8e3f1d25ae5cc9dc8d0e9a3e8a7c9d0b1a2";

const IMAGE: &str = "registry:5000/team/nginx:1.27";

fn asked(restarts: Restarts) -> PodEvent {
    let spec = PodSpec {
        manifest: r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-1"}}"#.to_owned(),
        environment: BTreeMap::from([("web/TOKEN".to_owned(), "sealed:1:AAAA".to_owned())]),
        manifest_url: Some("https://example.org/pod.yaml".to_owned()),
        manifest_digest: Some("9f86d081884c7d659a2feaa0c55ad015".to_owned()),
        containers: vec![
            PodContainer { name: "init".to_owned(), image: "busybox:1".to_owned(), is_init: true },
            PodContainer { name: "web".to_owned(), image: IMAGE.to_owned(), is_init: false },
        ],
        labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
        restarts,
        grace_s: 30,
    };
    let (name, desc) = ("web-1".to_owned(), Some("the first one".to_owned()));
    let asked = PodCreateRequestedV1 { name, desc, spec, bay_id: BAY, placement: placement() };
    PodEvent::CreateRequested(asked)
}

fn bare() -> PodEvent {
    let (name, spec) = ("b".to_owned(), PodSpec::default());
    let asked =
        PodCreateRequestedV1 { name, desc: None, spec, bay_id: BAY, placement: placement() };
    PodEvent::CreateRequested(asked)
}

fn changed(phase: Phase, stage: ContainerStage, reason: Option<&str>) -> PodEvent {
    let ended = stage != ContainerStage::Running;
    let last_end = RunEnd { exit_code: Some(137), oom_killed: true, finished_at: Some(LATER) };
    PodEvent::StateChanged(PodStateChangedV1 {
        phase,
        address: Some("10.192.0.2".to_owned()),
        containers: vec![PodContainerStatus {
            name: "web".to_owned(),
            is_init: false,
            stage,
            reason: reason.map(str::to_owned),
            ready: !ended,
            restart_count: 3,
            started_at: (!ended).then_some(LATER),
            last_end: ended.then_some(last_end),
            image_digest: Some(DIGEST.to_owned()),
            engine_id: "4f1c".to_owned(),
        }],
    })
}

/// One of each type and variant, in the order in which things happen.
pub fn pods() -> Vec<(&'static str, PodEvent)> {
    let (work_id, image) = (WORK, IMAGE.to_owned());
    let done = ActionDoneV1 { work_id };
    let drifted = |drift| PodEvent::Drifted(PodDriftedV1 { drift });
    let changes = vec![FieldChange { field: "desc".to_owned(), value: "\"d\"".to_owned() }];
    vec![
        ("full", asked(Restarts::Always)),
        ("on-failure", asked(Restarts::OnFailure)),
        ("never", asked(Restarts::Never)),
        ("bare", bare()),
        ("full", PodEvent::PullStarted(PullStartedV1 { work_id, image: image.clone() })),
        (
            "full",
            PodEvent::Pulled(PulledV1 {
                work_id,
                image,
                bytes: 12_400_000,
                digest: Some(DIGEST.to_owned()),
            }),
        ),
        ("full", PodEvent::WorkBlocked(blocked())),
        ("full", PodEvent::WorkResumed(WorkResumedV1 { work_id })),
        ("full", PodEvent::Created(PodCreatedV1 { work_id, engine_id: "e0a7".to_owned() })),
        ("full", PodEvent::StartRequested(PodStartRequestedV1 { because: None })),
        (
            "again",
            PodEvent::StartRequested(PodStartRequestedV1 {
                because: Some("its network was gone: its sandbox had ended".to_owned()),
            }),
        ),
        ("pending", changed(Phase::Pending, ContainerStage::Waiting, Some("ContainerCreating"))),
        ("full", PodEvent::Started(done.clone())),
        ("full", changed(Phase::Running, ContainerStage::Running, None)),
        ("succeeded", changed(Phase::Succeeded, ContainerStage::Terminated, Some("Completed"))),
        ("failed", changed(Phase::Failed, ContainerStage::Terminated, Some("OOMKilled"))),
        ("unknown", changed(Phase::Unknown, ContainerStage::Waiting, None)),
        ("removed", drifted(PodDrift::Removed)),
        ("sandbox_removed", drifted(PodDrift::SandboxRemoved)),
        ("replaced", drifted(PodDrift::Replaced { found: "e1b8".to_owned() })),
        (
            "full",
            PodEvent::ExecuteRequested(PodExecuteRequestedV1 {
                container: "web".to_owned(),
                command: vec!["cat".to_owned(), "/etc/hostname".to_owned()],
            }),
        ),
        ("full", PodEvent::Executed(ExecutedV1 { work_id, exit_code: 3 })),
        (
            "full",
            PodEvent::ExecutionEndRequested(ExecutionEndRequestedV1 { execution_id: OTHER_WORK }),
        ),
        ("full", PodEvent::ExecutionEnded(done.clone())),
        ("full", PodEvent::Updated(UpdatedV1 { changes })),
        ("full", PodEvent::WorkFailed(failed())),
        ("full", PodEvent::WorkUnknown(unknown())),
        ("full", PodEvent::DeleteRequested(DeleteRequestedV1 { cancelled: vec![OTHER_WORK] })),
        ("full", PodEvent::Deleted(done)),
        (
            "full",
            PodEvent::Abandoned(PodAbandonedV1 {
                engine_id: Some("e0a7".to_owned()),
                reason: "the engine does not answer".to_owned(),
                cancelled: vec![OTHER_WORK],
            }),
        ),
    ]
}

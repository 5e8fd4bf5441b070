//! What queries know of pods.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::container::Execution;
use super::field_table::{FieldDef, Held, OneStatus, Rule, SortAs, list_of};
use super::work::{explained, has_work, progress, reason, stuck};
use super::{OutcomeView, TaskView, View, ViewHead};
use crate::events::pod::{
    ContainerStage, Phase, PodContainer, PodContainerStatus, PodDrift, PodEvent, PodStateChangedV1,
    Status,
};
use crate::events::status::Status as _;
use crate::events::{EventPayload as _, EventRef};
use crate::field;
use crate::ids::{ObjectId, Timestamp};

/// A pod as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodView {
    /// What every view has.
    pub head: ViewHead,
    /// Its name.
    pub name: String,
    /// A description.
    pub desc: Option<String>,
    /// The bay.
    pub bay_uuid: ObjectId,
    /// The node.
    pub node_uuid: ObjectId,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown` or `Terminating`.
    pub status: Status,
    /// Why, unless it is obvious.
    pub status_reason: Option<String>,
    /// `Always`, `OnFailure` or `Never`.
    pub restart_policy: String,
    /// Its address in the bay's network.
    pub address: Option<String>,
    /// Its containers, those that initialise it first.
    pub containers: Vec<PodContainerView>,
    /// When it first ran.
    pub started_at: Option<Timestamp>,
    /// Where its manifest was fetched from.
    pub source_url: Option<String>,
    /// The BLAKE3 hash of what was fetched from there.
    pub source_digest: Option<String>,
    /// The last difference that was found, in words.
    pub drift: Option<String>,
    /// The engine's id of it.
    pub engine_id: Option<String>,
    /// Commands that run in it, the oldest first; each is a task too.
    pub executions: Vec<Execution>,
    /// Work that it waits for.
    pub tasks: Vec<TaskView>,
    /// The outcome of work lately.
    pub outcomes: Vec<OutcomeView>,
}

/// A container of a pod as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodContainerView {
    /// Its image.
    pub image: String,
    /// How it is.
    pub now: PodContainerStatus,
}

type Pairs = BTreeMap<String, String>;

impl View for PodView {
    const TABLE: &'static [FieldDef<Self>] = &[
        FieldDef::uuid("The id that it is to have."),
        field!("name", name)
            .means("`metadata.name` of its manifest, unique in the bay.")
            .in_lists()
            .given(Rule::ReadOnly, "")
            .internal(),
        field!("desc", desc).listed().writable(Rule::Text, "A description."),
        field!("bay_uuid", bay_uuid)
            .in_lists()
            .given(Rule::Uuid, "The bay's uuid; defaults to the project's `default` bay.")
            .internal(),
        FieldDef::<Self>::new::<Vec<String>>("images", |it| Held::Json(json!(it.images())))
            .means("The images of its containers.")
            .listed()
            .internal(),
        FieldDef::<Self>::new::<Pairs>("labels", |it| Held::Json(json!(it.labels)))
            .means("`metadata.labels` of its manifest.")
            .listed()
            .given(Rule::ReadOnly, "")
            .internal(),
        FieldDef::<Self>::new::<OneStatus<Status>>("status", |it| it.status.name().into())
            .means(
                "Its phase: `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`; `Terminating` \
                 while it is deleted.",
            )
            .in_lists()
            .internal(),
        FieldDef::<Self>::optional::<String>("status_reason", |it| {
            reason(&it.tasks, it.status_reason.as_deref())
        })
        .means("Why it is as it is: what its work is blocked on, or why its status changed."),
        FieldDef::hidden("manifest").given(
            Rule::Manifest,
            "Kubernetes' `v1` Pod, as JSON or YAML text or as an object; goes before \
             `manifest_url`.",
        ),
        FieldDef::hidden("manifest_url")
            .given(Rule::Url, "Where the manifest is fetched from: http or https."),
        field!("node_uuid", node_uuid).means("The node that it runs on.").filter(SortAs::Text),
        field!("restart_policy", restart_policy).means("`Always`, `OnFailure` or `Never`."),
        field!("address", address).means("Its address in the bay's network."),
        FieldDef::<Self>::made_elsewhere("containers", || list_of("PodContainerState"))
            .means("Its containers as they are, those that initialise it first."),
        FieldDef::<Self>::made_elsewhere("conditions", || list_of("PodCondition"))
            .means("Kubernetes' conditions of it."),
        FieldDef::<Self>::optional::<String>("started_at", |it| it.started_at.into())
            .means("When it first ran."),
        field!("source_url", source_url).means("Where its manifest was fetched from."),
        field!("source_digest", source_digest)
            .means("The BLAKE3 hash of what was fetched from there, in hex."),
        field!("drift", drift)
            .means("The last difference between the engine and the record, in words."),
        field!("engine_id", engine_id).means("The engine's id of it: of its sandbox on Docker."),
        FieldDef::task(),
    ];

    fn first(payload: &PodEvent) -> Option<Self> {
        let PodEvent::CreateRequested(asked) = payload.clone() else { return None };
        Some(Self {
            name: asked.name,
            desc: asked.desc,
            bay_uuid: asked.bay_id,
            node_uuid: asked.placement.node_id,
            containers: asked.spec.containers.into_iter().map(planned).collect(),
            labels: asked.spec.labels,
            restart_policy: asked.spec.restarts.name().to_owned(),
            source_url: asked.spec.manifest_url,
            source_digest: asked.spec.manifest_digest,
            ..Self::default()
        })
    }

    fn bay(&self) -> Option<ObjectId> {
        Some(self.bay_uuid)
    }

    fn change(&mut self, payload: &PodEvent, event: &EventRef<'_>) {
        use PodEvent as E;
        let before = self.status;
        self.status = before.after(payload);
        match payload {
            E::PullStarted(pull) => {
                progress(&mut self.tasks, pull.work_id, Some(format!("pulling {}", pull.image)));
            }
            E::Created(created) => self.engine_id = Some(created.engine_id.clone()),
            E::StateChanged(changed) => self.take(changed, event.time),
            E::ExecuteRequested(asked) => {
                self.executions.push(Execution { id: event.id, command: asked.command.clone() });
            }
            E::Executed(done) => {
                if let Some(outcome) = self.outcomes.last_mut() {
                    outcome.exit_code = Some(done.exit_code);
                }
            }
            E::Drifted(drifted) => self.drift = Some(difference(&drifted.drift).to_owned()),
            _ => {}
        }
        if payload.mark().ends_work() {
            self.executions.retain(|execution| Some(execution.id) != payload.work_id());
        }
        self.explain(before, payload);
    }

    has_work!();
}

impl PodView {
    /// Why its deletion, which was tried, does not end.
    pub fn stuck(&self) -> Option<&str> {
        stuck(&self.tasks, &self.outcomes)
    }

    /// Kubernetes' conditions of it, each with whether it holds.
    pub fn conditions(&self) -> [(&'static str, bool); 4] {
        let all_ready = |is_init| {
            let mut some = self.containers.iter().filter(|one| one.now.is_init == is_init);
            some.all(|one| one.now.ready)
        };
        let is_ready = all_ready(false) && self.status == Status::Running;
        [
            ("PodScheduled", true),
            ("Initialized", self.engine_id.is_some() && all_ready(true)),
            ("ContainersReady", is_ready),
            ("Ready", is_ready),
        ]
    }

    /// The images of its containers, in the order of the manifest.
    fn images(&self) -> Vec<&str> {
        let own = self.containers.iter().filter(|one| !one.now.is_init);
        own.map(|one| one.image.as_str()).collect()
    }

    fn take(&mut self, changed: &PodStateChangedV1, time: Timestamp) {
        self.address = changed.address.clone();
        for now in &changed.containers {
            match self.containers.iter_mut().find(|one| one.now.name == now.name) {
                Some(one) => one.now = now.clone(),
                None => {
                    self.containers
                        .push(PodContainerView { image: String::new(), now: now.clone() });
                }
            }
        }
        if changed.phase == Phase::Running {
            self.started_at.get_or_insert(time);
        }
    }

    /// Says why the status is what it is. While the pod is being deleted nothing but the outcome
    /// of that counts.
    fn explain(&mut self, before: Status, payload: &PodEvent) {
        if before.is_deleting() && self.status.is_deleting() {
            return;
        }
        match payload {
            PodEvent::StateChanged(changed) => match told(changed) {
                // Why it was refused stays.
                None if (before, self.status) == (Status::Failed, Status::Failed) => {}
                told => self.status_reason = told,
            },
            PodEvent::Drifted(drifted) if self.status != before => {
                self.status_reason = Some(difference(&drifted.drift).to_owned());
            }
            _ if self.status != before => self.status_reason = explained(payload),
            _ => {}
        }
    }
}

/// A container of which nothing is observed yet.
fn planned(container: PodContainer) -> PodContainerView {
    let PodContainer { name, image, is_init } = container;
    let now = PodContainerStatus { name, is_init, ..PodContainerStatus::default() };
    PodContainerView { image, now }
}

/// What is to be said of containers that are not as they should be; the first such.
fn told(changed: &PodStateChangedV1) -> Option<String> {
    let is_wrong = |one: &&PodContainerStatus| {
        let code = one.last_end.as_ref().and_then(|end| end.exit_code);
        one.stage != ContainerStage::Running && code.is_some_and(|code| code != 0)
    };
    let one = changed.containers.iter().find(is_wrong)?;
    let code = one.last_end.as_ref().and_then(|end| end.exit_code).unwrap_or_default();
    let (name, reason) = (&one.name, one.reason.as_deref().unwrap_or("Error"));
    Some(format!("container {name} has ended with exit code {code} ({reason})"))
}

/// A difference in words.
const fn difference(drift: &PodDrift) -> &'static str {
    match drift {
        PodDrift::Removed => "removed outside Magnum",
        PodDrift::SandboxRemoved => "its sandbox was removed outside Magnum",
        PodDrift::Replaced { .. } => "replaced outside Magnum",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Story, failed};
    use super::*;
    use crate::events::container::{ActionDoneV1, DeleteRequestedV1};
    use crate::events::pod::{
        PodCreateRequestedV1, PodCreatedV1, PodDriftedV1, PodSpec, PodStartRequestedV1, Restarts,
    };
    use crate::events::run::RunEnd;
    use crate::events::work::Placement;
    use crate::ids::WorkId;

    fn story() -> (Story<PodView>, WorkId) {
        let mut story = Story::new();
        let spec = PodSpec {
            containers: vec![PodContainer {
                name: "a".to_owned(),
                image: "busybox:1".to_owned(),
                is_init: false,
            }],
            restarts: Restarts::OnFailure,
            ..PodSpec::default()
        };
        let work_id = story.tell(&PodEvent::CreateRequested(PodCreateRequestedV1 {
            name: "web".to_owned(),
            desc: None,
            spec,
            bay_id: ObjectId::default(),
            placement: Placement { node_id: ObjectId::default(), verdicts: vec![] },
        }));
        (story, work_id)
    }

    fn container(name: &str, stage: ContainerStage, code: Option<i64>) -> PodContainerStatus {
        let last_end = code.map(|code| RunEnd { exit_code: Some(code), ..RunEnd::default() });
        let (name, ready) = (name.to_owned(), stage == ContainerStage::Running);
        PodContainerStatus { name, stage, ready, last_end, ..PodContainerStatus::default() }
    }

    fn changed(phase: Phase, containers: Vec<PodContainerStatus>) -> PodEvent {
        let address = Some("10.192.0.2".to_owned());
        PodEvent::StateChanged(PodStateChangedV1 { phase, address, containers })
    }

    #[test]
    fn a_pod_shows_what_its_containers_do() {
        let (mut story, work_id) = story();
        assert_eq!(story.now_view().status.name(), "Pending");
        let engine_id = "e1".to_owned();
        story.tell(&PodEvent::Created(PodCreatedV1 { work_id, engine_id }));
        let start = PodStartRequestedV1 { because: None };
        let work_id = story.tell(&PodEvent::StartRequested(start));
        story.tell(&changed(Phase::Pending, vec![container("a", ContainerStage::Waiting, None)]));
        assert_eq!(story.now_view().conditions()[3], ("Ready", false));
        story.tell(&PodEvent::Started(ActionDoneV1 { work_id }));
        story.tell(&changed(Phase::Running, vec![container("a", ContainerStage::Running, None)]));
        let view = story.now_view();
        assert_eq!((view.status.name(), &view.status_reason), ("Running", &None));
        assert_eq!(view.conditions()[3], ("Ready", true));
        assert_eq!(view.started_at, Some(story.now()));
        let started_at = story.now_view().started_at;
        let ended = container("a", ContainerStage::Waiting, Some(3));
        story.tell(&changed(Phase::Running, vec![ended]));
        let view = story.now_view();
        let reason = "container a has ended with exit code 3 (Error)";
        assert_eq!(view.status_reason.as_deref(), Some(reason));
        assert_eq!((view.started_at, view.conditions()[3].1), (started_at, false));
    }

    #[test]
    fn a_pod_that_is_lost_or_refused_has_failed_and_says_why() {
        let (mut story, work_id) = story();
        story.tell(&PodEvent::WorkFailed(failed(work_id, "create")));
        let view = story.now_view();
        assert_eq!(view.status.name(), "Failed");
        assert_eq!(view.status_reason.as_deref(), Some("create failed: no such image"));
        story.tell(&PodEvent::Drifted(PodDriftedV1 { drift: PodDrift::Removed }));
        assert_eq!(story.now_view().drift.as_deref(), Some("removed outside Magnum"));
        let delete = DeleteRequestedV1 { cancelled: vec![] };
        let work_id = story.tell(&PodEvent::DeleteRequested(delete));
        assert_eq!(story.now_view().status.name(), "Terminating");
        story.tell(&changed(Phase::Failed, vec![]));
        assert_eq!(story.now_view().status.name(), "Terminating");
        story.tell(&PodEvent::Deleted(ActionDoneV1 { work_id }));
        assert_eq!(story.view, None);
    }
}

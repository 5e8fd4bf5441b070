//! What queries know of containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::work::{WorkOf, block, progress, text};
use super::{Head, OutcomeView, TaskView, View};
use crate::events::container::{
    ContainerEvent, CreateRequestedV1, Drift, ExitedV1, PortMapping, PullProgressedV1,
    RestartPolicy,
};
use crate::events::work::UpdatedV1;
use crate::events::{DecodeError, Recorded};
use crate::ids::{Kind, ObjectId, WorkId};

/// A container as it is shown. Environment values are not in it; only their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerView {
    /// What every view has.
    pub head: Head,
    /// Its name.
    pub name: Option<String>,
    /// A description.
    pub desc: Option<String>,
    /// The image reference.
    pub image_id: Option<String>,
    /// The command as one line, quoted as a shell would need it.
    pub command: Option<String>,
    /// The bay.
    pub bay_uuid: Option<ObjectId>,
    /// The node.
    pub node_uuid: ObjectId,
    /// `Creating`, `Stopped`, `Running`, `Paused`, `Error` or `Deleting`.
    pub status: String,
    /// Why, where it is no matter of course.
    pub status_reason: Option<String>,
    /// Names of environment variables.
    pub environment: Vec<String>,
    /// Published ports as asked for.
    pub ports: Vec<PortMapping>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// The memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// The CPU limit in thousandths of a CPU.
    pub cpu_millis: Option<u32>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// User name or id.
    pub user: Option<String>,
    /// `no`, `always`, `on-failure:3` or `unless-stopped`.
    pub restart_policy: String,
    /// The engine's id of it.
    pub engine_id: Option<String>,
    /// The last exit code.
    pub exit_code: Option<i64>,
    /// Whether the last end was for want of memory.
    pub oom_killed: bool,
    /// The last difference that was found, in words.
    pub drift: Option<String>,
    /// Work that it waits for.
    pub tasks: Vec<TaskView>,
    /// What came of work lately.
    pub outcomes: Vec<OutcomeView>,
}

impl View for ContainerView {
    const KIND: Kind = Kind::Container;
    const FIELDS: &'static [&'static str] =
        &["uuid", "name", "status", "image_id", "bay_uuid", "node_uuid", "command"];

    fn head(&self) -> &Head {
        &self.head
    }

    fn field(&self, name: &str) -> Option<String> {
        match name {
            "uuid" => Some(self.head.uuid.to_string()),
            "name" => self.name.clone(),
            "status" => Some(self.status.clone()),
            "image_id" => self.image_id.clone(),
            "bay_uuid" => self.bay_uuid.map(|bay| bay.to_string()),
            "node_uuid" => Some(self.node_uuid.to_string()),
            "command" => self.command.clone(),
            _ => None,
        }
    }

    fn tasks(&self) -> &[TaskView] {
        &self.tasks
    }

    fn outcomes(&self) -> &[OutcomeView] {
        &self.outcomes
    }

    fn bay(&self) -> Option<ObjectId> {
        self.bay_uuid
    }

    fn apply(view: Option<Self>, event: &Recorded) -> Result<Option<Self>, DecodeError> {
        match (event.decode()?, view) {
            (ContainerEvent::CreateRequested(asked), _) => Ok(Some(Self::asked(asked, event))),
            (ContainerEvent::Deleted(_), _) | (_, None) => Ok(None),
            (payload, Some(mut view)) => {
                view.change(payload, event);
                Ok(Some(view))
            }
        }
    }
}

impl ContainerView {
    fn asked(asked: CreateRequestedV1, event: &Recorded) -> Self {
        let spec = asked.spec;
        let mut view = Self {
            head: Head::first(event),
            name: asked.name,
            desc: asked.desc,
            image_id: Some(spec.image),
            command: (!spec.command.is_empty()).then(|| shell_words::join(&spec.command)),
            bay_uuid: Some(asked.bay_id),
            node_uuid: asked.placement.node_id,
            status: "Creating".to_owned(),
            environment: spec.environment.into_keys().collect(),
            ports: spec.ports,
            labels: spec.labels,
            memory_bytes: spec.memory_bytes,
            cpu_millis: spec.cpu_millis,
            working_dir: spec.working_dir,
            user: spec.user,
            restart_policy: policy(&spec.restart_policy),
            ..Self::default()
        };
        view.work(event).ask("create");
        view
    }

    fn work<'a>(&'a mut self, event: &'a Recorded) -> WorkOf<'a> {
        WorkOf { tasks: &mut self.tasks, outcomes: &mut self.outcomes, event }
    }

    fn change(&mut self, payload: ContainerEvent, event: &Recorded) {
        use ContainerEvent as E;
        match payload {
            E::PullProgressed(pull) => {
                self.head.advance(event);
                return progress(&mut self.tasks, pull.work_id, pulled(&pull));
            }
            E::WorkBlocked(blocked) => {
                self.head.advance(event);
                return block(&mut self.tasks, event, blocked);
            }
            E::Created(created) => {
                self.engine_id = Some(created.engine_id);
                self.done(event, created.work_id, "create", Some("Stopped"));
            }
            E::StartRequested(_) => self.work(event).ask("start"),
            E::Started(done) => self.done(event, done.work_id, "start", Some("Running")),
            E::StopRequested(_) => self.work(event).ask("stop"),
            E::Stopped(done) => self.done(event, done.work_id, "stop", Some("Stopped")),
            E::RebootRequested(_) => self.work(event).ask("reboot"),
            E::Rebooted(done) => self.done(event, done.work_id, "reboot", Some("Running")),
            E::PauseRequested(_) => self.work(event).ask("pause"),
            E::Paused(done) => self.done(event, done.work_id, "pause", Some("Paused")),
            E::UnpauseRequested(_) => self.work(event).ask("unpause"),
            E::Unpaused(done) => self.done(event, done.work_id, "unpause", Some("Running")),
            E::KillRequested(_) => self.work(event).ask("kill"),
            E::Killed(done) => self.done(event, done.work_id, "kill", None),
            E::ExecuteRequested(_) => self.work(event).ask("execute"),
            E::Executed(done) => {
                self.work(event).done(done.work_id, "execute", Some(done.exit_code));
            }
            E::DeleteRequested(delete) => {
                self.work(event).cancel(&delete.cancelled);
                self.work(event).ask("delete");
                "Deleting".clone_into(&mut self.status);
                self.status_reason = None;
            }
            E::Updated(updated) => self.update(&updated),
            E::WorkFailed(failed) => {
                let why = format!("{} failed: {}", failed.action, failed.reason);
                self.fail(event, failed.work_id, &failed.action, &failed.reason, why);
            }
            E::WorkUnknown(lost) => {
                let why = format!("what came of {} is unknown: {}", lost.action, lost.reason);
                self.fail(event, lost.work_id, &lost.action, &lost.reason, why);
            }
            E::Exited(exited) => self.exited(&exited),
            E::Restarted(_) => self.settle("Running", None),
            E::Drifted(drifted) => self.drifted(&drifted.drift),
            E::CreateRequested(_) | E::Deleted(_) => {}
        }
        self.head.change(event);
    }

    /// Sets the status, except while the container is being deleted: then nothing else counts.
    fn settle(&mut self, status: &str, reason: Option<String>) {
        if self.status != "Deleting" {
            status.clone_into(&mut self.status);
            self.status_reason = reason;
            self.drift = None;
        }
    }

    fn done(&mut self, event: &Recorded, work: WorkId, action: &str, status: Option<&str>) {
        self.work(event).done(work, action, None);
        if let Some(status) = status {
            self.settle(status, None);
        }
    }

    fn fail(&mut self, event: &Recorded, work: WorkId, action: &str, words: &str, why: String) {
        self.work(event).failed(work, action, words);
        if action == "delete" {
            "Error".clone_into(&mut self.status);
            self.status_reason = Some(why);
        } else if action != "execute" {
            self.settle("Error", Some(why));
        }
    }

    fn exited(&mut self, exited: &ExitedV1) {
        self.exit_code = Some(exited.exit_code);
        self.oom_killed = exited.oom_killed;
        let code = exited.exit_code;
        let reason = if exited.oom_killed {
            format!("killed: out of memory (exit code {code})")
        } else {
            format!("exited with code {code}")
        };
        self.settle("Stopped", Some(reason));
    }

    fn drifted(&mut self, drift: &Drift) {
        let words = match drift {
            Drift::Removed => "removed behind our back".to_owned(),
            Drift::Started => "started behind our back".to_owned(),
            Drift::Paused => "paused behind our back".to_owned(),
            Drift::Unpaused => "unpaused behind our back".to_owned(),
            Drift::Renamed { found } => format!("renamed to {found} behind our back"),
            Drift::Replaced { found } => format!("replaced by {found} behind our back"),
        };
        match drift {
            Drift::Removed => self.settle("Error", Some(words.clone())),
            Drift::Started | Drift::Unpaused => self.settle("Running", None),
            Drift::Paused => self.settle("Paused", None),
            Drift::Renamed { .. } | Drift::Replaced { .. } => {}
        }
        self.drift = Some(words);
    }

    fn update(&mut self, updated: &UpdatedV1) {
        for change in &updated.changes {
            let value = text(&change.value);
            match change.field.as_str() {
                "name" => self.name = value,
                "desc" => self.desc = value,
                "image_id" => self.image_id = value,
                "command" => self.command = value,
                _ => {}
            }
        }
    }
}

fn policy(policy: &RestartPolicy) -> String {
    match policy {
        RestartPolicy::No => "no".to_owned(),
        RestartPolicy::Always => "always".to_owned(),
        RestartPolicy::OnFailure(0) => "on-failure".to_owned(),
        RestartPolicy::OnFailure(retries) => format!("on-failure:{retries}"),
        RestartPolicy::UnlessStopped => "unless-stopped".to_owned(),
    }
}

fn pulled(pull: &PullProgressedV1) -> String {
    const MB: u64 = 1_000_000;
    if pull.total_bytes == 0 {
        return pull.message.clone();
    }
    let (current, total) = (pull.current_bytes / MB, pull.total_bytes.div_ceil(MB));
    format!("{} ({current} of {total} MB)", pull.message)
}

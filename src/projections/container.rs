//! What queries know of containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::field_table::{FieldDef, Held, OneStatus, Rule, SortAs, list_of};
use super::work::{explained, has_work, progress, reason};
use super::{OutcomeView, TaskView, View, ViewHead};
use crate::command_line;
use crate::events::cloudevent::REDACTED;
use crate::events::container::{
    ContainerEvent, Drift, DriftedV1, ExitedV2, PortMapping, PullProgressedV1, RestartPolicy,
    Status,
};
use crate::events::status::Status as _;
use crate::events::{EventPayload, EventRef, Verb};
use crate::field;
use crate::ids::{ObjectId, WorkId};

/// A container as it is shown. Environment values are not in it; only their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerView {
    /// What every view has.
    pub head: ViewHead,
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
    /// `Creating`, `Stopped`, `Running`, `Restarting`, `Paused`, `Error` or `Deleting`.
    pub status: Status,
    /// Why, unless it is obvious.
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
    /// Whether the last exit was an OOM kill.
    pub oom_killed: bool,
    /// The last difference that was found, in words.
    pub drift: Option<String>,
    /// Commands that run in it, the oldest first; each is a task too.
    pub executions: Vec<Execution>,
    /// Work that it waits for.
    pub tasks: Vec<TaskView>,
    /// The outcome of work lately.
    pub outcomes: Vec<OutcomeView>,
}

/// A command that runs in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The work that runs it.
    pub id: WorkId,
    /// The command and its arguments.
    pub command: Vec<String>,
}

type Pairs = BTreeMap<String, String>;

impl View for ContainerView {
    const TABLE: &'static [FieldDef<Self>] = &[
        FieldDef::uuid("The id that it is to have."),
        field!("name", name).in_lists().writable(Rule::Name, "Unique in the bay."),
        field!("desc", desc).writable(Rule::Text, "A description."),
        field!("image_id", image_id)
            .in_lists()
            .needed(Rule::Image, "The image reference; `image` is taken as well.")
            .or("image")
            .kept(Rule::Image),
        field!("command", command)
            .means("One line, quoted as a shell needs it.")
            .in_lists()
            .given(
                Rule::Command,
                "A list of arguments, or one line that is split as a shell would.",
            )
            .patched(Rule::CommandLine),
        field!("bay_uuid", bay_uuid)
            .in_lists()
            .given(Rule::Uuid, "The bay's uuid; defaults to the project's `default` bay.")
            .internal(),
        field!("node_uuid", node_uuid).means("The node that it runs on.").filter(SortAs::Text),
        FieldDef::<Self>::new::<OneStatus<Status>>("status", |it| it.status.name().into())
            .means("`Creating`, `Stopped`, `Running`, `Restarting`, `Paused`, `Error`, `Deleting`.")
            .in_lists()
            .internal(),
        FieldDef::<Self>::optional::<String>("status_reason", |it| {
            reason(&it.tasks, it.status_reason.as_deref())
        })
        .means("Why it is as it is: what its work is blocked on, or why its status changed."),
        FieldDef::<Self>::new::<Pairs>("environment", |it| {
            let hidden = it.environment.iter().map(|name| (name.clone(), REDACTED.into()));
            Held::Json(Value::Object(hidden.collect()))
        })
        .means("Names, with `***` for every value.")
        .given(Rule::Variables, "Names and values, or a list of `NAME=value`.")
        .secret(),
        FieldDef::<Self>::made_elsewhere("ports", || list_of("Port"))
            .given(Rule::Ports, "`8080:80/tcp`, or an object."),
        FieldDef::<Self>::new::<Pairs>("labels", |it| Held::Json(json!(it.labels)))
            .given(Rule::Labels, "Names and values, or a list of `name=value`."),
        field!("memory", memory_bytes)
            .means("The memory limit in bytes.")
            .given(Rule::Memory, "Bytes, or `512m`."),
        FieldDef::<Self>::optional::<f64>("cpu", |it| {
            it.cpu_millis.map(|millis| f64::from(millis) / 1000.0).into()
        })
        .means("The limit in CPUs.")
        .given(Rule::Cpus, "CPUs, in thousandths at the finest."),
        field!("workdir", working_dir).given(Rule::Folder, "An absolute folder."),
        field!("user", user).given(Rule::User, "A name or number, optionally with a group."),
        field!("restart_policy", restart_policy)
            .means("`no`, `always`, `on-failure:3` or `unless-stopped`.")
            .given(Rule::RestartPolicy, "`no`, `always`, `on-failure[:n]` or `unless-stopped`."),
        FieldDef::<Self>::optional::<i64>("exit_code", |it| it.exit_code.into())
            .means("The last exit code of its process."),
        FieldDef::<Self>::new::<bool>("oom_killed", |it| it.oom_killed.into())
            .means("Whether its last process was OOM-killed."),
        field!("drift", drift)
            .means("The last difference between the engine and the record, in words."),
        field!("engine_id", engine_id).means("The engine's id of it."),
        FieldDef::task(),
    ];

    fn bay(&self) -> Option<ObjectId> {
        self.bay_uuid
    }

    fn first(payload: &ContainerEvent) -> Option<Self> {
        let ContainerEvent::CreateRequested(asked) = payload else { return None };
        let asked = asked.clone();
        let spec = asked.spec;
        Some(Self {
            name: asked.name,
            desc: asked.desc,
            image_id: Some(spec.image),
            command: (!spec.command.is_empty()).then(|| command_line::join(&spec.command)),
            bay_uuid: Some(asked.bay_id),
            node_uuid: asked.placement.node_id,
            environment: spec.environment.into_keys().collect(),
            ports: spec.ports,
            labels: spec.labels,
            memory_bytes: spec.memory_bytes,
            cpu_millis: spec.cpu_millis,
            working_dir: spec.working_dir,
            user: spec.user,
            restart_policy: policy(&spec.restart_policy),
            ..Self::default()
        })
    }

    fn change(&mut self, payload: &ContainerEvent, event: &EventRef<'_>) {
        use ContainerEvent as E;
        let before = self.status;
        self.status = before.after(payload);
        match payload {
            E::PullProgressed(pull) => progress(&mut self.tasks, pull.work_id, Some(pulled(pull))),
            E::Created(created) => self.engine_id = Some(created.engine_id.clone()),
            E::Exited(exited) => {
                self.exit_code = Some(exited.exit_code);
                self.oom_killed = exited.oom_killed;
            }
            E::ExecuteRequested(asked) => {
                self.executions.push(Execution { id: event.id, command: asked.command.clone() });
            }
            E::Executed(done) => {
                if let Some(outcome) = self.outcomes.last_mut() {
                    outcome.exit_code = Some(done.exit_code);
                }
            }
            _ => {}
        }
        if payload.mark().ends_work() {
            self.executions.retain(|execution| Some(execution.id) != payload.work_id());
        }
        self.explain(before, payload);
    }

    has_work!();
}

impl ContainerView {
    /// Says why the status is what it is. While the container is being deleted nothing but the
    /// outcome of that counts.
    fn explain(&mut self, before: Status, payload: &ContainerEvent) {
        use ContainerEvent as E;
        if let E::Drifted(drifted) = payload {
            self.drift = Some(difference(&drifted.drift));
        }
        if before.is_deleting() && self.status.is_deleting() {
            return;
        }
        let reason = match payload {
            E::Exited(exited) => Some(ended(exited)),
            E::Drifted(DriftedV1 { drift: Drift::Renamed { .. } | Drift::Replaced { .. } }) => {
                return;
            }
            E::Drifted(DriftedV1 { drift: Drift::Removed }) => self.drift.clone(),
            E::Drifted(_) => None,
            E::WorkFailed(_) | E::WorkUnknown(_)
                if !payload.failed_verb().is_some_and(Verb::is_inside) =>
            {
                explained(payload)
            }
            E::Created(_)
            | E::Started(_)
            | E::Stopped(_)
            | E::Rebooted(_)
            | E::Paused(_)
            | E::Unpaused(_)
            | E::Restarted(_)
            | E::DeleteRequested(_) => None,
            _ => return,
        };
        self.status_reason = reason;
        if !matches!(payload, E::Drifted(_) | E::DeleteRequested(_)) {
            self.drift = None;
        }
    }
}

/// How a process ended.
fn ended(exited: &ExitedV2) -> String {
    let code = exited.exit_code;
    let ended = if exited.oom_killed {
        format!("killed: out of memory (exit code {code})")
    } else {
        format!("exited with code {code}")
    };
    if exited.restarting { format!("{ended}; the engine restarts it") } else { ended }
}

/// What differs from the record.
fn difference(drift: &Drift) -> String {
    match drift {
        Drift::Removed => "removed outside Magnum".to_owned(),
        Drift::Started => "started outside Magnum".to_owned(),
        Drift::Paused => "paused outside Magnum".to_owned(),
        Drift::Unpaused => "unpaused outside Magnum".to_owned(),
        Drift::Renamed { found } => format!("renamed to {found} outside Magnum"),
        Drift::Replaced { found } => format!("replaced by {found} outside Magnum"),
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

#[cfg(test)]
mod tests {
    use super::super::OUTCOMES;
    use super::super::testing::{Story, blocked, failed, unknown, updated};
    use super::*;
    use crate::events::container::{
        ActionDoneV1, ActionRequestedV1, ContainerSpec, CreateRequestedV1, CreatedV1,
        DeleteRequestedV1, ExecuteRequestedV1, ExecutedV1, KillRequestedV1, RestartedV1,
        StopRequestedV1,
    };
    use crate::events::work::Placement;

    type E = ContainerEvent;

    fn asked() -> ContainerEvent {
        let environment = [("TOKEN".to_owned(), "secret".to_owned())].into();
        E::CreateRequested(CreateRequestedV1 {
            name: Some("web".to_owned()),
            desc: None,
            spec: ContainerSpec {
                image: "busybox:1".to_owned(),
                command: vec!["sh".to_owned(), "-c".to_owned(), "sleep 9".to_owned()],
                environment,
                restart_policy: RestartPolicy::OnFailure(3),
                ..ContainerSpec::default()
            },
            bay_id: ObjectId::default(),
            placement: Placement { node_id: ObjectId::default(), verdicts: Vec::new() },
        })
    }

    fn made() -> Story<ContainerView> {
        let mut story = Story::new();
        let work_id = story.tell(&asked());
        story.tell(&E::Created(CreatedV1 { work_id, engine_id: "e1".to_owned() }));
        story
    }

    fn done(work_id: WorkId) -> ActionDoneV1 {
        ActionDoneV1 { work_id }
    }

    fn asks() -> ActionRequestedV1 {
        ActionRequestedV1 {}
    }

    fn drift(drift: Drift) -> ContainerEvent {
        E::Drifted(DriftedV1 { drift })
    }

    #[test]
    fn creation_shows_what_was_asked_for_but_no_secret() {
        let mut story = Story::<ContainerView>::new();
        let work_id = story.tell(&asked());
        let view = story.now_view();
        assert_eq!((view.status.name(), view.head.updated_at), ("Creating", None));
        assert_eq!(view.command.as_deref(), Some("sh -c 'sleep 9'"));
        assert_eq!(view.environment, ["TOKEN"]);
        assert_eq!(view.restart_policy, "on-failure:3");
        assert!(!format!("{view:?}").contains("secret"));

        story.tell(&E::WorkBlocked(blocked(work_id, 2)));
        let since = story.now();
        story.tell(&E::WorkBlocked(blocked(work_id, 3)));
        let task = &story.now_view().tasks[0];
        assert_eq!((task.attempts, task.blocked_since), (3, Some(since)));
        assert_eq!(task.blocked_on.as_deref(), Some("node n1"));
        let (message, current_bytes, total_bytes) =
            ("pulling busybox:1".to_owned(), 12_400_000, 40_000_000);
        let pull = PullProgressedV1 { work_id, message, current_bytes, total_bytes };
        story.tell(&E::PullProgressed(pull));
        let task = &story.now_view().tasks[0];
        assert_eq!(task.progress.as_deref(), Some("pulling busybox:1 (12 of 40 MB)"));
        assert_eq!((&task.blocked_on, task.blocked_since), (&None, None));
        assert_eq!(story.now_view().head.updated_at, None, "progress is no change");

        story.tell(&E::Created(CreatedV1 { work_id, engine_id: "e1".to_owned() }));
        let view = story.now_view();
        assert_eq!((view.status.name(), view.tasks.len()), ("Stopped", 0));
        assert_eq!(view.head.updated_at, Some(story.now()));
        assert_eq!(
            (view.head.revision, view.outcomes[0].work_id),
            (crate::ids::Revision(4), work_id)
        );
    }

    #[test]
    fn each_action_is_waited_for_and_settles_the_status() {
        let mut story = made();
        let stop = || StopRequestedV1 { grace_s: 1 };
        type Done = fn(ActionDoneV1) -> ContainerEvent;
        let kill = KillRequestedV1 { signal: "SIGKILL".to_owned() };
        let steps: [(ContainerEvent, Done, &str, &str); 7] = [
            (E::StartRequested(asks()), E::Started, "start", "Running"),
            (E::PauseRequested(asks()), E::Paused, "pause", "Paused"),
            (E::UnpauseRequested(asks()), E::Unpaused, "unpause", "Running"),
            (E::StopRequested(stop()), E::Stopped, "stop", "Stopped"),
            (E::RebootRequested(stop()), E::Rebooted, "reboot", "Running"),
            (E::KillRequested(kill), E::Killed, "kill", "Running"),
            (E::StopRequested(stop()), E::Stopped, "stop", "Stopped"),
        ];
        for (request, outcome, action, status) in steps {
            let work = story.tell(&request);
            assert_eq!(story.waits_for(), [action]);
            story.tell(&outcome(done(work)));
            assert_eq!(story.waits_for(), [""; 0]);
            let view = story.now_view();
            assert_eq!(view.status.name(), status, "after {action}");
            let last = view.outcomes.last().unwrap();
            assert_eq!((last.work_id, last.action.as_str(), &last.failure), (work, action, &None));
        }
        let run = ExecuteRequestedV1 { command: vec!["ls".to_owned()] };
        let work_id = story.tell(&E::ExecuteRequested(run));
        story.tell(&E::Executed(ExecutedV1 { work_id, exit_code: 3 }));
        assert_eq!(story.now_view().outcomes.last().unwrap().exit_code, Some(3));
        assert_eq!(story.now_view().status.name(), "Stopped");
    }

    #[test]
    fn failures_are_errors_with_words_except_of_execute() {
        let mut story = made();
        let work = story.tell(&E::ExecuteRequested(ExecuteRequestedV1 { command: Vec::new() }));
        story.tell(&E::WorkUnknown(unknown(work, "execute")));
        assert_eq!(story.now_view().status.name(), "Stopped");
        let work = story.tell(&E::StartRequested(asks()));
        story.tell(&E::WorkFailed(failed(work, "start")));
        let view = story.now_view();
        assert_eq!(view.status.name(), "Error");
        assert_eq!(view.status_reason.as_deref(), Some("start failed: no such image"));
        assert_eq!(view.outcomes.last().unwrap().failure.as_deref(), Some("no such image"));
        let work = story.tell(&E::StartRequested(asks()));
        story.tell(&E::Started(done(work)));
        assert_eq!(story.now_view().status_reason, None);
        let work = story.tell(&E::PauseRequested(asks()));
        story.tell(&E::WorkUnknown(unknown(work, "pause")));
        assert_eq!(story.now_view().status.name(), "Error");
        for _ in 0..100 {
            let work = story.tell(&E::StartRequested(asks()));
            story.tell(&E::Started(done(work)));
        }
        assert_eq!(story.now_view().outcomes.len(), OUTCOMES);
    }

    #[test]
    fn what_happens_by_itself_shows() {
        let mut story = made();
        let exited = |exit_code, oom_killed| {
            E::Exited(ExitedV2 { exit_code, oom_killed, finished_at: None, restarting: false })
        };
        story.tell(&exited(1, false));
        assert_eq!(story.now_view().status_reason.as_deref(), Some("exited with code 1"));
        story.tell(&E::Restarted(RestartedV1 {}));
        assert_eq!(
            (story.now_view().status.name(), story.now_view().exit_code),
            ("Running", Some(1))
        );
        story.tell(&exited(137, true));
        let reason = story.now_view().status_reason.clone();
        assert_eq!(reason.as_deref(), Some("killed: out of memory (exit code 137)"));
        for (what, status) in [
            (Drift::Started, "Running"),
            (Drift::Paused, "Paused"),
            (Drift::Unpaused, "Running"),
            (Drift::Renamed { found: "x".to_owned() }, "Running"),
            (Drift::Replaced { found: "e2".to_owned() }, "Running"),
            (Drift::Removed, "Error"),
        ] {
            story.tell(&drift(what.clone()));
            assert_eq!(story.now_view().status.name(), status, "{what:?}");
            assert!(story.now_view().drift.is_some());
        }
        let reason = story.now_view().status_reason.clone();
        assert_eq!(reason.as_deref(), Some("removed outside Magnum"));
    }

    #[test]
    fn a_delete_overtakes_and_leaves_nothing() {
        let mut story = made();
        let running = story.tell(&E::StartRequested(asks()));
        let queued = story.tell(&E::PauseRequested(asks()));
        let delete = DeleteRequestedV1 { cancelled: vec![running, queued] };
        let work = story.tell(&E::DeleteRequested(delete));
        assert_eq!(story.waits_for(), ["delete"]);
        assert_eq!(story.now_view().outcomes.last().unwrap().work_id, queued);
        story.tell(&E::Started(done(running)));
        assert_eq!(story.now_view().status.name(), "Deleting");
        story.tell(&E::WorkFailed(failed(work, "delete")));
        assert_eq!(story.now_view().status.name(), "Error");
        let delete = DeleteRequestedV1 { cancelled: Vec::new() };
        let work = story.tell(&E::DeleteRequested(delete));
        story.tell(&E::Deleted(done(work)));
        assert_eq!(story.view, None);
        story.tell(&E::Started(done(running)));
        assert_eq!(story.view, None, "a late word makes nothing");
    }

    #[test]
    fn a_patch_edits_the_record_and_garble_nothing() {
        let mut story = made();
        story.tell(&E::Updated(updated("name", "\"db\"")));
        story.tell(&E::Updated(updated("command", "null")));
        let view = story.now_view().clone();
        assert_eq!((view.name.as_deref(), view.command.as_deref()), (Some("db"), None));
        assert!(story.garble().contains("from.the.future"));
        assert_eq!(*story.now_view(), view);
    }
}

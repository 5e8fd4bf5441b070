//! What queries know of containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::field_table::{FieldDef, Held, OneStatus, Rule, SortAs, list_of};
use super::work::{explained, has_work, progress, reason, stuck, with_bytes};
use super::{OutcomeView, TaskView, View, ViewHead, desired};
use crate::command_line;
use crate::events::cloudevent::REDACTED;
use crate::events::container::{
    AdjustedV1, ContainerEvent, ContainerSpec, Drift, DriftedV1, ExitedV3, PortMapping,
    RecreateStep, Status, cpus,
};
use crate::events::run::{self, HealthStatus};
use crate::events::status::Status as _;
use crate::events::{EventPayload, EventRef, Verb};
use crate::field;
use crate::ids::{ObjectId, Timestamp, WorkId};

/// A container as it is shown. Environment values are not in it; only their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerView {
    /// What every view has.
    pub head: ViewHead,
    /// Its name.
    pub name: Option<String>,
    /// A description.
    pub desc: Option<String>,
    /// The image reference that it was made from.
    pub image_id: Option<String>,
    /// The command that it was made with, as one line, quoted as a shell would need it.
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
    /// What it is to be made from when it is recreated, as JSON by field, where that differs.
    pub desired: BTreeMap<String, String>,
    /// The engine's id of it.
    pub engine_id: Option<String>,
    /// The exit code of its last process, once that has ended.
    pub exit_code: Option<i64>,
    /// Whether that end was an OOM kill.
    pub oom_killed: bool,
    /// When its last process started, by the engine's clock.
    pub started_at: Option<Timestamp>,
    /// When a process of it last ended, by the engine's clock.
    pub finished_at: Option<Timestamp>,
    /// How often the engine's restart policy has started it since it was last started by request.
    pub restart_count: u32,
    /// What the health check of its image says while it runs.
    pub health: Option<HealthStatus>,
    /// The output of the last check, as of when that changed.
    pub health_output: Option<String>,
    /// Its address in the bay's network while it runs.
    pub address: Option<String>,
    /// The engine's id of the image that it runs.
    pub image_digest: Option<String>,
    /// Its ports as they are published while it runs.
    pub published: Vec<PortMapping>,
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
            .kept(Rule::Image)
            .set(|it, new| it.want("image_id", new)),
        field!("command", command)
            .means("One line, quoted as a shell needs it.")
            .in_lists()
            .given(
                Rule::Command,
                "A list of arguments, or one line that is split as a shell would.",
            )
            .patched(Rule::CommandLine)
            .set(|it, new| it.want("command", new)),
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
            .means("Published ports; while it runs, with the host ports that the engine chose.")
            .given(Rule::Ports, "`8080:80/tcp`, or an object."),
        FieldDef::<Self>::new::<Pairs>("labels", |it| Held::Json(json!(it.labels)))
            .given(Rule::Labels, "Names and values, or a list of `name=value`.")
            .kept(Rule::Labels)
            .set(|it, new| it.want("labels", new)),
        field!("memory", memory_bytes)
            .means("The memory limit in bytes.")
            .given(Rule::Memory, "Bytes, or `512m`.")
            .patched(Rule::Memory)
            .set(|it, new| it.want("memory", new)),
        FieldDef::<Self>::optional::<f64>("cpu", |it| it.cpu_millis.map(cpus).into())
            .means("The limit in CPUs.")
            .given(Rule::Cpus, "CPUs, in thousandths at the finest.")
            .patched(Rule::Cpus)
            .set(|it, new| it.want("cpu", new)),
        field!("workdir", working_dir)
            .given(Rule::Folder, "An absolute folder.")
            .patched(Rule::Folder)
            .set(|it, new| it.want("workdir", new)),
        field!("user", user)
            .given(Rule::User, "A name or number, optionally with a group.")
            .patched(Rule::User)
            .set(|it, new| it.want("user", new)),
        field!("restart_policy", restart_policy)
            .means("`no`, `always`, `on-failure:3` or `unless-stopped`.")
            .given(Rule::RestartPolicy, "`no`, `always`, `on-failure[:n]` or `unless-stopped`.")
            .kept(Rule::RestartPolicy)
            .set(|it, new| it.want("restart_policy", new)),
        FieldDef::<Self>::optional::<i64>("exit_code", |it| it.exit_code.into())
            .means("The exit code of its last process, once that has ended; null while it runs."),
        FieldDef::<Self>::new::<bool>("oom_killed", |it| it.oom_killed.into())
            .means("Whether its last process was OOM-killed; false while it runs."),
        FieldDef::<Self>::optional::<String>("started_at", |it| it.started_at.into())
            .means("When its last process started, by the engine's clock."),
        FieldDef::<Self>::optional::<String>("finished_at", |it| it.finished_at.into())
            .means("When a process of it last ended, by the engine's clock."),
        field!("restart_count", restart_count).means(
            "How often its restart policy has started it since it was last started by request.",
        ),
        FieldDef::<Self>::new::<String>("health", |it| {
            it.health.map_or("none", HealthStatus::name).into()
        })
        .means("`starting`, `healthy`, `unhealthy`; `none` without a health check or a process.")
        .in_lists(),
        field!("health_output", health_output)
            .means("The output of the last health check, as of when its health changed."),
        field!("address", address).means("Its address in the bay's network while it runs."),
        field!("image_digest", image_digest)
            .means("The engine's id of the image that it runs: where a tag was moved, it differs."),
        field!("drift", drift)
            .means("The last difference between the engine and the record, in words."),
        field!("engine_id", engine_id).means("The engine's id of it."),
        FieldDef::<Self>::new::<Pairs>("desired", |it| {
            Held::Json(Value::Object(desired::values(&it.desired)))
        })
        .schema(desired::schema)
        .means("What it is to be made from when it is recreated, where that differs."),
        FieldDef::<Self>::new::<Vec<String>>("conditions", |it| Held::Json(json!(it.conditions())))
            .means("`NeedsRecreate` if what runs is not what is wanted, or is not there.")
            .listed(),
        FieldDef::task(),
    ];

    fn bay(&self) -> Option<ObjectId> {
        self.bay_uuid
    }

    fn first(payload: &ContainerEvent) -> Option<Self> {
        let ContainerEvent::CreateRequested(asked) = payload else { return None };
        let asked = asked.clone();
        let mut view = Self {
            name: asked.name,
            desc: asked.desc,
            bay_uuid: Some(asked.bay_id),
            node_uuid: asked.placement.node_id,
            ..Self::default()
        };
        view.made_from(asked.spec);
        Some(view)
    }

    fn wanted(&self, field: &str) -> Option<Value> {
        desired::values(&self.desired).remove(field)
    }

    fn change(&mut self, payload: &ContainerEvent, event: &EventRef<'_>) {
        use ContainerEvent as E;
        let before = self.status;
        self.status = before.after(payload);
        match payload {
            E::PullProgressed(pull) => {
                let words = with_bytes(&pull.message, pull.current_bytes, pull.total_bytes);
                progress(&mut self.tasks, pull.work_id, Some(words));
            }
            E::Adjusted(AdjustedV1 { limits, .. }) => {
                self.memory_bytes = limits.memory_bytes.or(self.memory_bytes);
                self.cpu_millis = limits.cpu_millis.or(self.cpu_millis);
                if let Some(policy) = &limits.restart_policy {
                    self.restart_policy = policy.text();
                }
                self.forget_fulfilled();
            }
            E::RecreateAdvanced(done) => {
                progress(&mut self.tasks, done.work_id, Some(advanced(done.step).to_owned()));
            }
            E::Recreated(made) => {
                self.engine_id = Some(made.engine_id.clone());
                self.made_from(made.spec.clone());
                self.forget_fulfilled();
            }
            E::Created(created) => self.engine_id = Some(created.engine_id.clone()),
            E::PullStarted(pull) => {
                progress(&mut self.tasks, pull.work_id, Some(format!("pulling {}", pull.image)));
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
        self.follow_run(payload);
        if payload.mark().ends_work() {
            self.executions.retain(|execution| Some(execution.id) != payload.work_id());
        }
        self.explain(before, payload);
    }

    has_work!();
}

impl ContainerView {
    /// Why its deletion, which was tried, does not end.
    pub fn stuck(&self) -> Option<&str> {
        stuck(&self.tasks, &self.outcomes)
    }

    /// Notes the wanted value of a field, as JSON; nothing if that is what it was made from.
    fn want(&mut self, field: &str, new: &str) {
        self.desired.insert(field.to_owned(), new.to_owned());
        self.forget_fulfilled();
    }

    /// Forgets wanted values that it is made from by now.
    fn forget_fulfilled(&mut self) {
        let desired = std::mem::take(&mut self.desired);
        self.desired = desired::unfulfilled(self, desired);
    }

    /// What is to be known of it besides its status.
    fn conditions(&self) -> Vec<&'static str> {
        let needs_recreate = !self.desired.is_empty() || self.status == Status::Error;
        Vec::from_iter(needs_recreate.then_some(desired::NEEDS_RECREATE))
    }

    /// Shows what it is made from.
    fn made_from(&mut self, spec: ContainerSpec) {
        self.image_id = Some(spec.image);
        self.command = (!spec.command.is_empty()).then(|| command_line::join(&spec.command));
        self.environment = spec.environment.into_keys().collect();
        self.ports = spec.ports;
        self.labels = spec.labels;
        self.memory_bytes = spec.memory_bytes;
        self.cpu_millis = spec.cpu_millis;
        self.working_dir = spec.working_dir;
        self.user = spec.user;
        self.restart_policy = spec.restart_policy.text();
    }

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
            | E::Recreated(_)
            | E::Renamed(_)
            | E::Adjusted(_)
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
fn ended(exited: &ExitedV3) -> String {
    let ended = run::ended(exited.exit_code, exited.oom_killed, exited.signal.as_deref());
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

/// How far a recreate is.
const fn advanced(step: RecreateStep) -> &'static str {
    match step {
        RecreateStep::Prepared => "ready to be recreated: its image is there",
        RecreateStep::SetAside => "stopped, and set aside for the new one",
        RecreateStep::Made => "made anew, and not started yet",
        RecreateStep::Started => "started; the old one is being removed",
        RecreateStep::Restored => "as it was before: the new one could not take its place",
    }
}

#[cfg(test)]
mod tests {
    use super::super::OUTCOMES;
    use super::super::testing::{Story, blocked, failed, unknown, updated};
    use super::*;
    use crate::events::container::{
        ActionDoneV1, ActionRequestedV1, CreateRequestedV1, CreatedV1, DeleteRequestedV1,
        ExecuteRequestedV1, ExecutedV1, HealthChangedV1, KillRequestedV1, NotStartedV1,
        PullProgressedV1, PullStartedV1, RebootedV2, RecreateRequestedV1, RecreatedV1,
        RestartPolicy, RestartedV2, RunChangedV1, StartedV2, StopRequestedV1, StoppedV2,
    };
    use crate::events::run::{Health, Run, RunEnd};
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
            (E::StartRequested(asks()), |done| E::Started(done.into()), "start", "Running"),
            (E::PauseRequested(asks()), E::Paused, "pause", "Paused"),
            (E::UnpauseRequested(asks()), E::Unpaused, "unpause", "Running"),
            (E::StopRequested(stop()), |done| E::Stopped(done.into()), "stop", "Stopped"),
            (E::RebootRequested(stop()), |done| E::Rebooted(done.into()), "reboot", "Running"),
            (E::KillRequested(kill), E::Killed, "kill", "Running"),
            (E::StopRequested(stop()), |done| E::Stopped(done.into()), "stop", "Stopped"),
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
        story.tell(&E::Started(done(work).into()));
        assert_eq!(story.now_view().status_reason, None);
        let work = story.tell(&E::PauseRequested(asks()));
        story.tell(&E::WorkUnknown(unknown(work, "pause")));
        assert_eq!(story.now_view().status.name(), "Error");
        for _ in 0..100 {
            let work = story.tell(&E::StartRequested(asks()));
            story.tell(&E::Started(done(work).into()));
        }
        assert_eq!(story.now_view().outcomes.len(), OUTCOMES);
    }

    #[test]
    fn what_happens_by_itself_shows() {
        let mut story = made();
        let exited = |exit_code, oom_killed| {
            let (finished_at, restarting, signal) = (None, false, None);
            E::Exited(ExitedV3 { exit_code, oom_killed, finished_at, restarting, signal })
        };
        story.tell(&exited(1, false));
        assert_eq!(story.now_view().status_reason.as_deref(), Some("exited with code 1"));
        assert_eq!(story.now_view().exit_code, Some(1));
        story.tell(&E::Restarted(RestartedV2 { run: None }));
        let view = story.now_view();
        assert_eq!((view.status.name(), view.exit_code, view.restart_count), ("Running", None, 1));
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

    fn port(host_port: Option<u16>, host_ip: Option<&str>) -> PortMapping {
        let (host_ip, protocol) = (host_ip.map(str::to_owned), "tcp".to_owned());
        PortMapping { container_port: 80, host_port, host_ip, protocol }
    }

    fn process(restart_count: u32, host_port: u16) -> Run {
        Run {
            started_at: Some(Timestamp(i64::from(host_port))),
            restart_count,
            address: Some("10.192.0.2".to_owned()),
            ports: vec![port(Some(host_port), Some("0.0.0.0")), port(Some(host_port), Some("::"))],
            image_digest: Some("sha256:86d9".to_owned()),
            health: None,
        }
    }

    #[test]
    fn what_is_known_of_a_process_is_shown_while_it_runs() {
        let mut story = Story::<ContainerView>::new();
        let E::CreateRequested(mut create) = asked() else { panic!() };
        create.spec.ports = vec![port(None, None), port(Some(8080), Some("127.0.0.1"))];
        let work_id = story.tell(&E::CreateRequested(create));
        story.tell(&E::Created(CreatedV1 { work_id, engine_id: "e1".to_owned() }));
        let hosts = |story: &Story<ContainerView>| {
            story.now_view().ports_now().iter().map(|port| port.host_port).collect::<Vec<_>>()
        };
        assert_eq!(hosts(&story), [None, Some(8080)]);
        let work_id = story.tell(&E::StartRequested(asks()));
        story.tell(&E::Started(StartedV2 { work_id, run: Some(process(0, 32770)) }));
        assert_eq!(hosts(&story), [Some(32770), Some(8080)]);
        let view = story.now_view();
        assert_eq!(view.started_at, Some(Timestamp(32770)));
        assert_eq!(view.address.as_deref(), Some("10.192.0.2"));
        assert_eq!(view.image_digest.as_deref(), Some("sha256:86d9"));

        let health = Health { status: HealthStatus::Unhealthy, output: "no".to_owned() };
        story.tell(&E::HealthChanged(HealthChangedV1 { health }));
        let view = story.now_view();
        assert_eq!(view.field("health").as_deref(), Some("unhealthy"));
        assert_eq!(view.health_output.as_deref(), Some("no"));

        let work_id = story.tell(&E::StopRequested(StopRequestedV1 { grace_s: 1 }));
        let (oom_killed, finished_at) = (true, Some(Timestamp(7)));
        let stopped = StoppedV2 { work_id, exit_code: Some(137), oom_killed, finished_at };
        story.tell(&E::Stopped(stopped));
        assert_eq!(hosts(&story), [None, Some(8080)]);
        let view = story.now_view();
        let ended = (view.exit_code, view.oom_killed, view.finished_at);
        assert_eq!(ended, (Some(137), true, Some(Timestamp(7))));
        assert_eq!(view.field("health").as_deref(), Some("none"));
        assert_eq!((&view.address, &view.health_output), (&None, &None));

        let work_id = story.tell(&E::RebootRequested(StopRequestedV1 { grace_s: 1 }));
        let run = Some(process(0, 32771));
        story.tell(&E::Rebooted(RebootedV2 { work_id, end: None, run }));
        assert_eq!(hosts(&story), [Some(32771), Some(8080)]);
        let view = story.now_view();
        let ended = (view.exit_code, view.oom_killed, view.finished_at);
        assert_eq!(ended, (None, false, Some(Timestamp(7))), "as docker inspect says it");
        story.tell(&E::RunChanged(RunChangedV1 { run: process(2, 32772) }));
        assert_eq!((hosts(&story)[0], story.now_view().restart_count), (Some(32772), 2));

        let spec = ContainerSpec { ports: vec![port(None, None)], ..ContainerSpec::default() };
        let (name, bay_id, start) = (None, ObjectId::default(), true);
        let asked = RecreateRequestedV1 { name, bay_id, spec: spec.clone(), start };
        let work_id = story.tell(&E::RecreateRequested(asked));
        let (engine_id, started) = ("e2".to_owned(), true);
        let finished_at = Some(Timestamp(9));
        let end = Some(RunEnd { exit_code: Some(143), oom_killed: false, finished_at });
        let run = Some(Run { image_digest: None, ..process(0, 32773) });
        story.tell(&E::Recreated(RecreatedV1 { work_id, engine_id, spec, started, end, run }));
        assert_eq!(hosts(&story), [Some(32773)]);
        let view = story.now_view();
        assert_eq!((view.exit_code, view.restart_count), (None, 0));
        assert_eq!(view.finished_at, finished_at, "the end of the old one");
        assert_eq!(view.image_digest, None, "it may be another image");
    }

    #[test]
    fn a_refused_start_has_its_exit_code_and_no_times() {
        let mut story = made();
        let work_id = story.tell(&E::StartRequested(asks()));
        story.tell(&E::Started(StartedV2 { work_id, run: Some(process(0, 1)) }));
        let (oom_killed, finished_at, restarting) = (true, Some(Timestamp(7)), false);
        let signal = Some("SIGKILL".to_owned());
        let exited = ExitedV3 { exit_code: 137, oom_killed, finished_at, restarting, signal };
        story.tell(&E::Exited(ExitedV3 { oom_killed: false, ..exited }));
        let reason = "killed outside Magnum with SIGKILL (exit code 137)";
        assert_eq!(story.now_view().status_reason.as_deref(), Some(reason));
        let work_id = story.tell(&E::StartRequested(asks()));
        story.tell(&E::NotStarted(NotStartedV1 { work_id, exit_code: 127 }));
        story.tell(&E::WorkFailed(failed(work_id, "start")));
        let view = story.now_view();
        assert_eq!((view.status.name(), view.exit_code), ("Error", Some(127)));
        assert_eq!((view.started_at, view.finished_at, view.oom_killed), (None, None, false));
    }

    #[test]
    fn a_pull_shows_until_it_ends() {
        let mut story = Story::<ContainerView>::new();
        let work_id = story.tell(&asked());
        story.tell(&E::PullStarted(PullStartedV1 { work_id, image: "busybox:1".to_owned() }));
        let task = &story.now_view().tasks[0];
        assert_eq!(task.progress.as_deref(), Some("pulling busybox:1"));
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
        story.tell(&E::Started(done(running).into()));
        assert_eq!(story.now_view().status.name(), "Deleting");
        story.tell(&E::WorkFailed(failed(work, "delete")));
        assert_eq!(story.now_view().status.name(), "Error");
        let delete = DeleteRequestedV1 { cancelled: Vec::new() };
        let work = story.tell(&E::DeleteRequested(delete));
        story.tell(&E::Deleted(done(work)));
        assert_eq!(story.view, None);
        story.tell(&E::Started(done(running).into()));
        assert_eq!(story.view, None, "a late word makes nothing");
    }

    #[test]
    fn a_patch_edits_the_record_and_garble_nothing() {
        let mut story = made();
        story.tell(&E::Updated(updated("name", "\"db\"")));
        story.tell(&E::Updated(updated("command", "null")));
        let view = story.now_view().clone();
        let command = view.command.as_deref();
        assert_eq!((view.name.as_deref(), command), (Some("db"), Some("sh -c 'sleep 9'")));
        assert_eq!(view.wanted("command"), Some(Value::Null));
        assert!(story.garble().contains("from.the.future"));
        assert_eq!(*story.now_view(), view);
    }
}

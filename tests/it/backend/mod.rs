//! What every backend must do, run on the model and on a real Docker engine; what only the real
//! one can show is in `docker_engine`, the model's knobs in `fake_engine`.

/// Runs each contract on each backend.
macro_rules! contracts {
    ($($name:ident),* $(,)?) => {
        mod fake {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::Fake::new()).await;
            })*
        }

        mod fake_ahead {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::Fake::ahead(7)).await;
            })*
        }

        mod fake_behind {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::Fake::ahead(-400 * 24)).await;
            })*
        }

        mod docker {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::Docker::new()).await;
            })*
        }
    };
}

mod docker_engine;
mod fake_engine;
mod pods;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use magnum::backends::docker::DockerBackend;
use magnum::backends::fake::{FakeBackend, FakeEngine};
use magnum::backends::unsealing::Unsealing;
use magnum::backends::{
    Action, Backend, BackendError, Desired, Done, EngineObject, Exec, LogQuery, Notice, Observed,
    ObservedNetwork, Operation, OutputFrame, OutputStream, Progress, Recreation, Removed,
    Replacement, Reporter, RunState, Work,
};
use magnum::clock;
use magnum::events::container::{ContainerSpec, PortMapping, RecreateStep, RestartPolicy};
use magnum::events::run::HealthStatus;
use magnum::ids::{Kind, ObjectId, ProjectId, StreamId, Timestamp, WorkId};
use magnum::secrets::Secrets;
use tokio_util::sync::CancellationToken;

pub const SOCKET: &str = "/var/run/docker.sock";
pub const IMAGE: &str = "busybox:local";

/// Held by whoever needs what the engine gave notice of before, or makes it forget.
pub static NOTICES_OF_THE_ENGINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than the delay in which [`backing_off`] leaves a container.
const BACK_OFF: Duration = Duration::from_secs(27);

/// What people do outside Magnum.
#[derive(Clone, Copy)]
pub enum Behind {
    Kill,
    Start,
    Pause,
    Unpause,
    Rename(&'static str),
    Remove,
    /// Somebody else's container with the name for ours.
    OccupyName,
    /// Somebody else's container in the network of this bay.
    Join,
    /// That container goes.
    Leave,
}

/// A backend under test, with its engine.
pub trait Bench: Send + Sync {
    /// A new handle on the same engine and node, as after a restart of ours.
    fn backend(&self) -> Box<dyn Backend>;
    /// The same engine as another node.
    fn backend_as(&self, node: ObjectId) -> Box<dyn Backend>;
    fn node(&self) -> ObjectId;
    fn behind(&self, what: Behind, object: ObjectId);
    /// Whether somebody else's container with our name is still there.
    fn name_is_occupied(&self, object: ObjectId) -> bool;
    /// A command that runs out of memory when it starts, or when told so below.
    fn hungry(&self) -> Vec<String>;
    fn starve(&self, object: ObjectId);
    /// A command that ends once by itself with exit code 3 when it was started, or when told so
    /// below, and runs on when it is started again.
    fn stumbling(&self) -> Vec<String>;
    /// Waits until it is started again; nobody looks meanwhile.
    fn stumble(&self, object: ObjectId);
    /// The engine forgets what it gave notice of.
    fn forget_notices(&self, object: ObjectId);
    /// An image in a registry that never answers.
    fn silent_image(&self) -> String;
    /// An image whose health check says `well` or `not well`, once it is told which below.
    fn checked_image(&self) -> String;
    fn check(&self, object: ObjectId, is_well: bool);
    /// How many commands run in a container besides its own process.
    fn commands_in(&self, object: ObjectId) -> usize;
    /// Somebody kills a container of a pod, or its sandbox.
    fn kill_in_pod(&self, pod: ObjectId, container: Option<&str>);
    /// Somebody removes one.
    fn remove_in_pod(&self, pod: ObjectId, container: Option<&str>);
    /// A command that fails when it is started first, and succeeds the second time; it ends when it
    /// is told so below, if not by itself.
    fn failing_once(&self) -> Vec<String>;
    fn end_in_pod(&self, pod: ObjectId, container: &str, exit_code: i64);
    /// The containers and volumes that the engine has of a pod, by their names.
    fn left_of(&self, pod: ObjectId) -> Vec<String>;
}

pub struct Fake {
    pub engine: Arc<FakeEngine>,
    pub node: ObjectId,
}

impl Fake {
    pub fn new() -> Self {
        Self::ahead(0)
    }

    /// The engine's clock is so many hours ahead.
    pub fn ahead(hours: i64) -> Self {
        let (now, at) = clock::now_and_instant();
        let began = (Timestamp(now.0 + hours * 3_600_000_000), at);
        Self { engine: FakeEngine::new(began), node: clock::new_object_id() }
    }
}

impl Bench for Fake {
    fn backend(&self) -> Box<dyn Backend> {
        self.backend_as(self.node)
    }

    fn backend_as(&self, node: ObjectId) -> Box<dyn Backend> {
        let backend = FakeBackend::new(Arc::clone(&self.engine), node);
        Box::new(Unsealing::new(Arc::new(backend), no_keys()))
    }

    fn node(&self) -> ObjectId {
        self.node
    }

    fn behind(&self, what: Behind, object: ObjectId) {
        match what {
            Behind::Kill => self.engine.stop_behind(object),
            Behind::Start => self.engine.start_behind(object).unwrap(),
            Behind::Pause => self.engine.pause_behind(object),
            Behind::Unpause => self.engine.unpause_behind(object),
            Behind::Rename(name) => self.engine.rename_behind(object, name),
            Behind::Remove => self.engine.remove_behind(object),
            Behind::OccupyName => self.engine.occupy_name(object),
            Behind::Join => self.engine.join_network(object),
            Behind::Leave => self.engine.leave_network(object),
        }
    }

    fn name_is_occupied(&self, object: ObjectId) -> bool {
        let name = format!("magnum-{object}");
        self.engine.containers().iter().any(|one| one.name == name && one.node_id.is_none())
    }

    fn hungry(&self) -> Vec<String> {
        words("sleep 100")
    }

    fn starve(&self, object: ObjectId) {
        self.engine.oom_kill(object);
    }

    fn stumbling(&self) -> Vec<String> {
        words("sleep 100")
    }

    fn stumble(&self, object: ObjectId) {
        self.engine.end_unseen(object, 3, false);
    }

    fn forget_notices(&self, object: ObjectId) {
        self.engine.forget_notices(object);
    }

    fn silent_image(&self) -> String {
        "silent/x:1".to_owned()
    }

    fn checked_image(&self) -> String {
        "checked/x:1".to_owned()
    }

    fn check(&self, object: ObjectId, is_well: bool) {
        let (status, output) = match is_well {
            true => (HealthStatus::Healthy, "well"),
            false => (HealthStatus::Unhealthy, "not well"),
        };
        self.engine.check_health(object, status, output);
    }

    fn commands_in(&self, object: ObjectId) -> usize {
        self.engine.commands_in(object)
    }

    fn kill_in_pod(&self, pod: ObjectId, container: Option<&str>) {
        self.engine.kill_in_pod(pod, container);
    }

    fn remove_in_pod(&self, pod: ObjectId, container: Option<&str>) {
        self.engine.remove_in_pod(pod, container);
    }

    fn failing_once(&self) -> Vec<String> {
        words("sleep 100")
    }

    fn end_in_pod(&self, pod: ObjectId, container: &str, exit_code: i64) {
        self.engine.exit_in_pod(pod, container, exit_code);
    }

    fn left_of(&self, pod: ObjectId) -> Vec<String> {
        let names = self.engine.pods().into_iter().map(|one| one.name);
        let beginning = format!("magnum-{pod}");
        let is_of_pod = |name: &String| name.starts_with(&beginning);
        names.chain(self.engine.volumes()).filter(is_of_pod).collect()
    }
}

pub struct Docker {
    node: ObjectId,
    /// The kernel takes the connections, and nothing ever answers.
    silence: TcpListener,
    /// An image with a health check, once there is one.
    checked: OnceLock<String>,
}

impl Docker {
    pub fn new() -> Self {
        let silence = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { node: clock::new_object_id(), silence, checked: OnceLock::new() }
    }
}

impl Bench for Docker {
    fn backend(&self) -> Box<dyn Backend> {
        self.backend_as(self.node)
    }

    fn backend_as(&self, node: ObjectId) -> Box<dyn Backend> {
        let backend = DockerBackend::new(SOCKET.into(), node);
        Box::new(Unsealing::new(Arc::new(backend), no_keys()))
    }

    fn node(&self) -> ObjectId {
        self.node
    }

    fn behind(&self, what: Behind, object: ObjectId) {
        let label = format!("label=magnum.container={object}");
        let id = docker(&["ps", "-aq", "--no-trunc", "--filter", &label]);
        let name = format!("magnum-{object}");
        let mark = format!("magnum-test={}", self.node);
        match what {
            Behind::Kill => docker(&["kill", &id]),
            Behind::Start => docker(&["start", &id]),
            Behind::Pause => docker(&["pause", &id]),
            Behind::Unpause => docker(&["unpause", &id]),
            Behind::Rename(new) => docker(&["rename", &id, &format!("{new}-{object}")]),
            Behind::Remove => docker(&["rm", "-f", &id]),
            Behind::OccupyName => {
                docker(&["create", "--name", &name, "--label", &mark, IMAGE, "true"])
            }
            Behind::Join => {
                let (guest, network) = (format!("in-{object}"), ["--network", &name]);
                let run = ["run", "-d", "--name", &guest, "--label", &mark];
                docker(&[&run[..], &network[..], &[IMAGE, "sleep", "100"][..]].concat())
            }
            Behind::Leave => docker(&["rm", "-f", &format!("in-{object}")]),
        };
    }

    fn name_is_occupied(&self, object: ObjectId) -> bool {
        let mark = format!("label=magnum-test={}", self.node);
        let name = format!("name=magnum-{object}");
        !docker(&["ps", "-aq", "--filter", &mark, "--filter", &name]).is_empty()
    }

    fn hungry(&self) -> Vec<String> {
        words("tail /dev/zero")
    }

    fn starve(&self, _: ObjectId) {}

    fn stumbling(&self) -> Vec<String> {
        words(r#"sh -c "test -e /tmp/again && exec sleep 100; touch /tmp/again; exit 3""#)
    }

    fn stumble(&self, object: ObjectId) {
        let name = format!("magnum-{object}");
        let state = ["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", &name];
        while docker(&state) != "1 running" {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn forget_notices(&self, object: ObjectId) {
        // It keeps 256. The signal means nothing to the process.
        let name = format!("magnum-{object}");
        let all = std::iter::repeat_n(name.as_str(), 257);
        docker(&["kill", "--signal", "CONT"].into_iter().chain(all).collect::<Vec<_>>());
    }

    fn silent_image(&self) -> String {
        format!("{}/x:1", self.silence.local_addr().unwrap())
    }

    fn checked_image(&self) -> String {
        let make = || checked_image(&format!("{}", self.node));
        self.checked.get_or_init(make).clone()
    }

    fn check(&self, object: ObjectId, is_well: bool) {
        let name = format!("magnum-{object}");
        let change = if is_well { "touch /well" } else { "rm -f /well" };
        docker(&["exec", &name, "sh", "-c", change]);
    }

    fn commands_in(&self, object: ObjectId) -> usize {
        // Each is a shell that sleeps.
        let all = docker(&["top", &format!("magnum-{object}"), "-o", "pid,args"]);
        all.lines().filter(|line| line.ends_with(" sleep 500")).count()
    }

    fn kill_in_pod(&self, pod: ObjectId, container: Option<&str>) {
        docker(&["kill", &name_in_pod(pod, container)]);
    }

    fn remove_in_pod(&self, pod: ObjectId, container: Option<&str>) {
        docker(&["rm", "-f", &name_in_pod(pod, container)]);
    }

    fn failing_once(&self) -> Vec<String> {
        words(r#"sh -c "test -e /tmp/again && exit 0; touch /tmp/again; exit 3""#)
    }

    fn end_in_pod(&self, _: ObjectId, _: &str, _: i64) {}

    fn left_of(&self, pod: ObjectId) -> Vec<String> {
        let filter = format!("name=magnum-{pod}");
        let containers = ["ps", "-a", "--format", "{{.Names}}", "--filter", &filter];
        let volumes = ["volume", "ls", "--format", "{{.Name}}", "--filter", &filter];
        let names = [docker(&containers), docker(&volumes)].join("\n");
        names.split_whitespace().map(str::to_owned).collect()
    }
}

/// The engine's name of a container of a pod, or of its sandbox.
pub fn name_in_pod(pod: ObjectId, container: Option<&str>) -> String {
    container.map_or_else(|| format!("magnum-{pod}"), |name| format!("magnum-{pod}-{name}"))
}

impl Drop for Docker {
    fn drop(&mut self) {
        for mark in [format!("magnum.node={}", self.node), format!("magnum-test={}", self.node)] {
            remove_all(&mark);
        }
        if let Some(image) = self.checked.get() {
            drop(Command::new("docker").args(["rmi", "-f", image]).output());
        }
    }
}

/// Makes an image whose health check says every second whether there is a file. Who makes it
/// removes it.
pub fn checked_image(tag: &str) -> String {
    let image = format!("magnum-test-checked:{tag}");
    let id = docker(&["create", IMAGE, "true"]);
    let check = "test -e /well && echo well || { echo not well; exit 1; }";
    let change = format!("HEALTHCHECK --interval=1s --retries=1 CMD {check}");
    docker(&["commit", "--change", &change, &id, &image]);
    docker(&["rm", &id]);
    image
}

/// Keys that are asked for by nobody: what these tests run has no sealed values.
fn no_keys() -> Secrets {
    Secrets::new("/proc/no-keys".into())
}

/// Removes every container, network and volume with a label.
pub fn remove_all(mark: &str) {
    let filter = format!("label={mark}");
    for (list, remove) in [
        (vec!["ps", "-aq", "--filter", &filter], vec!["rm", "-fv"]),
        (vec!["network", "ls", "-q", "--filter", &filter], vec!["network", "rm"]),
        (vec!["volume", "ls", "-q", "--filter", &filter], vec!["volume", "rm"]),
    ] {
        let ids = docker(&list);
        if !ids.is_empty() {
            docker(&remove.into_iter().chain(ids.split_whitespace()).collect::<Vec<_>>());
        }
    }
}

/// The engine's own client, as a person would use it.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || std::thread::panicking(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Keeps what a backend reports.
#[derive(Default)]
pub struct Notes {
    pub progress: Mutex<Vec<Progress>>,
    pub underway: Mutex<Vec<Progress>>,
    pub output: Mutex<Vec<OutputFrame>>,
    pub cancel: CancellationToken,
}

#[async_trait]
impl Reporter for Notes {
    async fn progress(&self, progress: Progress) {
        self.progress.lock().unwrap().push(progress);
    }

    async fn underway(&self, progress: Progress) {
        self.underway.lock().unwrap().push(progress);
    }

    async fn output(&self, frame: OutputFrame) {
        self.output.lock().unwrap().push(frame);
    }

    async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }
}

pub fn words(text: &str) -> Vec<String> {
    magnum::command_line::split(text).unwrap()
}

pub fn spec(command: &str) -> ContainerSpec {
    ContainerSpec { image: IMAGE.to_owned(), command: words(command), ..ContainerSpec::default() }
}

pub fn container() -> StreamId {
    StreamId::new(Kind::Container, clock::new_object_id())
}

pub fn bay() -> StreamId {
    StreamId::new(Kind::Bay, clock::new_object_id())
}

pub fn work(node_id: ObjectId, stream: StreamId, action: Action) -> Work {
    Work {
        id: clock::new_event_id(),
        attempt: 1,
        not_before: None,
        due_at: Some(clock::now()),
        stream,
        project: ProjectId::default(),
        node_id,
        request_id: "req-1".to_owned(),
        action,
    }
}

pub fn create(bay: StreamId, spec: ContainerSpec) -> Action {
    Action::Apply(Desired::Container { name: None, bay_id: bay.id, spec })
}

/// Does new work.
pub async fn act(
    bench: &dyn Bench,
    stream: StreamId,
    action: Action,
) -> Result<Done, BackendError> {
    let work = work(bench.node(), stream, action);
    bench.backend().perform(&work, &Notes::default()).await
}

/// A new bay that has its network.
pub async fn open_bay(bench: &dyn Bench) -> StreamId {
    let bay = bay();
    act(bench, bay, Action::Apply(Desired::Network)).await.unwrap();
    bay
}

/// A new container in a bay of its own, not running.
pub async fn created(bench: &dyn Bench, spec: ContainerSpec) -> StreamId {
    let stream = container();
    let bay = open_bay(bench).await;
    act(bench, stream, create(bay, spec)).await.unwrap();
    stream
}

/// A new container that runs.
pub async fn started(bench: &dyn Bench, command: &str) -> StreamId {
    let stream = created(bench, spec(command)).await;
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    stream
}

pub async fn observed(bench: &dyn Bench, stream: StreamId) -> Observed {
    bench.backend().inspect(stream).await.unwrap().unwrap()
}

/// Every container of ours.
pub async fn containers(bench: &dyn Bench) -> Vec<(StreamId, Observed)> {
    let all = bench.backend().inventory().await.unwrap().into_iter();
    let containers = all.filter_map(|(stream, seen)| match seen {
        EngineObject::Container(observed) => Some((stream, observed)),
        EngineObject::Network(_) | EngineObject::Pod(_) => None,
    });
    containers.collect()
}

/// Every network of ours.
async fn networks(bench: &dyn Bench) -> Vec<ObservedNetwork> {
    let all = bench.backend().inventory().await.unwrap().into_iter();
    let networks = all.filter_map(|(stream, seen)| match seen {
        EngineObject::Container(_) | EngineObject::Pod(_) => None,
        EngineObject::Network(observed) => {
            assert_eq!(stream, StreamId::new(Kind::Bay, observed.bay_id));
            Some(observed)
        }
    });
    networks.collect()
}

async fn state(bench: &dyn Bench, stream: StreamId) -> RunState {
    observed(bench, stream).await.state
}

/// Waits for a container's end.
pub async fn ended(bench: &dyn Bench, stream: StreamId) -> Observed {
    let wait = async {
        loop {
            let observed = observed(bench, stream).await;
            if observed.state == RunState::Exited {
                return observed;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap()
}

/// Everything that the query gives, by output.
async fn logs(bench: &dyn Bench, stream: StreamId, query: LogQuery) -> (String, String) {
    let frames = bench.backend().logs(stream, query).await.unwrap();
    let frames = tokio::time::timeout(PATIENCE, frames.collect::<Vec<_>>()).await.unwrap();
    by_output(frames.into_iter().map(Result::unwrap))
}

/// Waits until a container has written this and no more.
async fn written(bench: &dyn Bench, stream: StreamId, text: &str) {
    let wait = async {
        while logs(bench, stream, LogQuery::default()).await.0 != text {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

fn by_output(frames: impl IntoIterator<Item = OutputFrame>) -> (String, String) {
    let mut texts = (String::new(), String::new());
    for frame in frames {
        let text = String::from_utf8(frame.data.to_vec()).unwrap();
        match frame.stream {
            OutputStream::Stdout => texts.0.push_str(&text),
            OutputStream::Stderr => texts.1.push_str(&text),
        }
    }
    texts
}

/// Waits until a notice about an object comes.
async fn noticed(notices: &mut BoxStream<'static, Notice>, stream: StreamId) {
    let wait = async {
        while let Some(notice) = notices.next().await {
            if notice == Notice::Changed(stream) {
                return;
            }
        }
        panic!("the notices ended");
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

contracts!(
    every_action_brings_its_state,
    every_action_can_be_repeated,
    what_is_not_there_is_missing_or_fine,
    what_an_earlier_attempt_made_is_adopted,
    what_is_anothers_is_refused_and_left_alone,
    what_cannot_be_is_refused,
    a_recreated_container_takes_the_place_of_the_old_one,
    what_cannot_be_recreated_is_as_it_was,
    a_container_that_is_gone_is_made_again,
    a_lost_reboot_is_not_done_twice,
    an_end_is_told_with_its_exit_code,
    an_end_that_was_asked_for_is_told,
    a_signal_is_told_with_the_end,
    a_process_is_told_with_where_it_is_reached,
    health_is_told_when_it_changes,
    the_engine_restarts_what_its_policy_says,
    a_restart_back_off_is_told_and_ends_when_asked,
    cancelled_work_ends_at_once,
    a_stop_ends_with_its_container,
    an_end_is_told_after_the_restart_that_followed,
    logs_are_told_by_tail_since_and_time,
    followed_logs_end_with_the_container,
    commands_are_executed_once_with_output_and_exit_code,
    a_command_that_runs_can_be_ended,
    a_command_ends_when_it_is_cancelled_or_its_container_ends,
    every_change_behind_our_back_is_noticed,
    running_out_of_memory_is_told,
    only_what_is_ours_is_listed,
    a_bay_has_one_network,
    a_network_stays_while_somebody_else_uses_it,
    a_container_never_brings_a_network_back,
    networks_are_listed_with_their_bays,
    the_engine_is_probed,
);

async fn every_action_brings_its_state(bench: &dyn Bench) {
    let stream = created(bench, spec("sleep 100")).await;
    let new = observed(bench, stream).await;
    assert_eq!(new.state, RunState::Created);
    assert!(new.name_is_ours && new.engine_name.contains(&stream.id.to_string()));
    assert_eq!((new.exit_code, new.finished_at, new.oom_killed), (None, None, false));
    let quickly = 1;
    for (action, wanted) in [
        (Action::Do(Operation::Start), RunState::Running),
        (Action::Do(Operation::Pause), RunState::Paused),
        (Action::Do(Operation::Unpause), RunState::Running),
        (Action::Do(Operation::Reboot { grace_s: quickly }), RunState::Running),
        (Action::Do(Operation::Stop { grace_s: quickly }), RunState::Exited),
        (Action::Do(Operation::Reboot { grace_s: quickly }), RunState::Running),
        (Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() }), RunState::Exited),
        (Action::Do(Operation::Start), RunState::Running),
    ] {
        let name = action.name();
        act(bench, stream, action).await.unwrap();
        let now = observed(bench, stream).await;
        assert_eq!(now.state, wanted, "{name}");
        assert_eq!(now.engine_id, new.engine_id, "{name}");
        assert_eq!(now.exit_code, (wanted == RunState::Exited).then_some(137), "{name}");
        assert_eq!(now.finished_at.is_some(), wanted == RunState::Exited, "{name}");
    }
    act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    assert_eq!(bench.backend().inspect(stream).await, Ok(None));
}

async fn every_action_can_be_repeated(bench: &dyn Bench) {
    let (bay, stream) = (bay(), container());
    for (of, action, wanted) in [
        (bay, Action::Apply(Desired::Network), None),
        (stream, create(bay, spec("sleep 100")), Some(RunState::Created)),
        (stream, Action::Do(Operation::Stop { grace_s: 1 }), Some(RunState::Created)),
        (stream, Action::Do(Operation::Unpause), Some(RunState::Created)),
        (stream, Action::Do(Operation::Start), Some(RunState::Running)),
        (stream, Action::Do(Operation::Unpause), Some(RunState::Running)),
        (stream, Action::Do(Operation::Pause), Some(RunState::Paused)),
        (stream, Action::Do(Operation::Unpause), Some(RunState::Running)),
        (stream, Action::Do(Operation::Stop { grace_s: 1 }), Some(RunState::Exited)),
        (
            stream,
            Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() }),
            Some(RunState::Exited),
        ),
        (stream, Action::Remove(Removed::Container), None),
        (bay, Action::Remove(Removed::Network), None),
    ] {
        let mut work = work(bench.node(), of, action);
        let first = bench.backend().perform(&work, &Notes::default()).await.unwrap();
        work.attempt = 2;
        let second = bench.backend().perform(&work, &Notes::default()).await.unwrap();
        assert_eq!(first, second, "{:?}", work.action);
        let now = bench.backend().inspect(stream).await.unwrap().map(|observed| observed.state);
        assert_eq!(now, wanted, "{:?}", work.action);
        assert!(containers(bench).await.len() <= 1);
    }
}

async fn what_is_not_there_is_missing_or_fine(bench: &dyn Bench) {
    let stream = container();
    for action in [
        Action::Do(Operation::Start),
        Action::Do(Operation::Stop { grace_s: 1 }),
        Action::Do(Operation::Reboot { grace_s: 1 }),
        Action::Do(Operation::Pause),
        Action::Do(Operation::Unpause),
        Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() }),
        Action::Exec(Exec::Start { command: words("true") }),
    ] {
        let name = action.name();
        let answer = act(bench, stream, action).await;
        assert!(matches!(answer, Err(BackendError::Missing(_))), "{name}: {answer:?}");
    }
    assert_eq!(act(bench, stream, Action::Remove(Removed::Container)).await, Ok(Done::default()));
    assert_eq!(act(bench, bay(), Action::Remove(Removed::Network)).await, Ok(Done::default()));
    assert_eq!(bench.backend().inspect(stream).await, Ok(None));
    let logs = bench.backend().logs(stream, LogQuery::default()).await.err().unwrap();
    assert!(matches!(logs, BackendError::Missing(_)));
}

async fn what_an_earlier_attempt_made_is_adopted(bench: &dyn Bench) {
    let stream = container();
    let bay = open_bay(bench).await;
    let mut work = work(bench.node(), stream, create(bay, spec("sleep 100")));
    let first = bench.backend().perform(&work, &Notes::default()).await.unwrap();
    work.attempt = 2;
    bench.behind(Behind::Rename("elsewhere"), stream.id);
    let second = bench.backend().perform(&work, &Notes::default()).await.unwrap();
    assert_eq!(first, second);
    let all = containers(bench).await;
    assert_eq!(all.len(), 1);
    assert!(!all[0].1.name_is_ours);
    // Whatever its name is, it is ours to work with.
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    assert_eq!(state(bench, stream).await, RunState::Running);
    act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    assert_eq!(containers(bench).await, []);
}

async fn what_is_anothers_is_refused_and_left_alone(bench: &dyn Bench) {
    let stream = container();
    bench.behind(Behind::OccupyName, stream.id);
    let bay = open_bay(bench).await;
    let answer = act(bench, stream, create(bay, spec("sleep 100"))).await;
    assert!(
        matches!(&answer, Err(BackendError::Refused(w)) if w.contains("used by")),
        "{answer:?}"
    );
    let answer = act(bench, stream, Action::Do(Operation::Start)).await;
    assert!(matches!(answer, Err(BackendError::Missing(_))), "{answer:?}");
    act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    assert!(bench.name_is_occupied(stream.id));
    assert_eq!(containers(bench).await, []);
    // Ours, but of other work.
    let stream = created(bench, spec("sleep 100")).await;
    let answer = act(bench, stream, create(bay, spec("sleep 100"))).await;
    assert!(
        matches!(&answer, Err(BackendError::Refused(w)) if w.contains("used by")),
        "{answer:?}"
    );
}

async fn what_cannot_be_is_refused(bench: &dyn Bench) {
    let reserved = |label: &str| ContainerSpec {
        labels: BTreeMap::from([(label.to_owned(), "0".to_owned())]),
        ..spec("true")
    };
    let not_there = created(bench, spec("no-such-command")).await;
    let idle = created(bench, spec("sleep 100")).await;
    let paused = started(bench, "sleep 100").await;
    act(bench, paused, Action::Do(Operation::Pause)).await.unwrap();
    let execute = Action::Exec(Exec::Start { command: words("true") });
    for (stream, action) in [
        (container(), create(bay(), reserved("magnum.node"))),
        (container(), create(bay(), reserved("exitCode"))),
        (idle, Action::Do(Operation::Pause)),
        (idle, execute.clone()),
        (paused, execute),
        (paused, Action::Do(Operation::Start)),
        (paused, Action::Do(Operation::Kill { signal: "SIGNONE".to_owned() })),
    ] {
        let name = action.name();
        let answer = act(bench, stream, action).await;
        assert!(matches!(answer, Err(BackendError::Refused(_))), "{name}: {answer:?}");
    }
    for operation in [Operation::Start, Operation::Reboot { grace_s: 0 }] {
        let answer = act(bench, not_there, Action::Do(operation)).await;
        assert!(
            matches!(&answer, Err(BackendError::NotStarted { exit_code: 127, .. })),
            "{answer:?}"
        );
    }
    let unstarted = observed(bench, not_there).await;
    assert_eq!((unstarted.state, unstarted.exit_code), (RunState::Created, None));
    assert_eq!(unstarted.ends, []);
}

/// A container in a bay of its own, as it is to be made anew.
pub fn recreate(bay: StreamId, spec: ContainerSpec, start: bool) -> Action {
    let wanted = Recreation { name: Some("web".to_owned()), bay_id: bay.id, spec, start };
    Action::Replace(Replacement::Container(wanted))
}

/// The only container that there is of an object.
pub async fn only(bench: &dyn Bench, stream: StreamId) -> Observed {
    let all = containers(bench).await;
    let [(of, seen)] = &all[..] else { panic!("{all:?}") };
    assert!(*of == stream && seen.name_is_ours, "{all:?}");
    assert_eq!(bench.backend().inspect(stream).await.unwrap().as_ref(), Some(seen));
    seen.clone()
}

async fn a_recreated_container_takes_the_place_of_the_old_one(bench: &dyn Bench) {
    use RecreateStep::{Made, Prepared, SetAside, Started};
    let (bay, stream) = (open_bay(bench).await, container());
    act(bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
    let mut old = only(bench, stream).await;
    for (start, wanted) in [
        (false, RunState::Created),
        (true, RunState::Running),
        (true, RunState::Running),
        (false, RunState::Created),
    ] {
        let mut work = work(bench.node(), stream, recreate(bay, spec("sleep 200"), start));
        let notes = Notes::default();
        let done = bench.backend().perform(&work, &notes).await.unwrap();
        let steps: Vec<_> =
            notes.progress.lock().unwrap().iter().filter_map(|it| it.step).collect();
        let told = [Prepared, SetAside, Made, Started];
        assert_eq!(steps, told[..if start { 4 } else { 3 }]);
        let new = only(bench, stream).await;
        assert_eq!((new.state, Some(&new.engine_id)), (wanted, done.engine_id.as_ref()));
        assert_ne!(new.engine_id, old.engine_id);
        assert_eq!(done.run, new.run);
        let ended = old.run.as_ref().map(|_| 137);
        assert_eq!(done.end.and_then(|end| end.exit_code), ended, "it ignores SIGTERM");
        // The answer was lost: it is not done again.
        work.attempt = 2;
        let again = bench.backend().perform(&work, &notes).await.unwrap();
        assert_eq!((again.engine_id, again.run), (done.engine_id, done.run));
        assert_eq!(only(bench, stream).await.engine_id, new.engine_id);
        old = new;
    }
    act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    assert!(containers(bench).await.is_empty());
}

async fn what_cannot_be_recreated_is_as_it_was(bench: &dyn Bench) {
    let (bay, stream) = (open_bay(bench).await, container());
    act(bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let old = only(bench, stream).await;
    let absent = ContainerSpec { image: "127.0.0.1:1/missing:1".to_owned(), ..spec("true") };
    let absent = match bench.silent_image() {
        silent if silent.starts_with("silent/") => {
            ContainerSpec { image: "missing/none".to_owned(), ..absent }
        }
        _ => absent,
    };
    let refused = act(bench, stream, recreate(bay, absent, true)).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(only(bench, stream).await, old, "it ran on");
    let refused = act(bench, stream, recreate(bay, spec("no-such-command"), true)).await;
    let Err(BackendError::Refused(words)) = refused else { panic!("{refused:?}") };
    assert!(words.contains("executable file not found"), "{words}");
    assert!(words.ends_with("; the container as it was is back"), "{words}");
    let back = only(bench, stream).await;
    assert_eq!((back.state, &back.engine_id), (RunState::Running, &old.engine_id));
}

async fn a_container_that_is_gone_is_made_again(bench: &dyn Bench) {
    let (bay, stream) = (open_bay(bench).await, container());
    act(bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
    bench.behind(Behind::Remove, stream.id);
    assert!(containers(bench).await.is_empty());
    let refused = act(bench, stream, recreate(bay, spec("no-such-command"), true)).await;
    assert!(matches!(refused, Err(BackendError::Refused(_))), "{refused:?}");
    assert!(containers(bench).await.is_empty(), "nothing is left of what did not start");
    act(bench, stream, recreate(bay, spec("sleep 100"), true)).await.unwrap();
    assert_eq!(only(bench, stream).await.state, RunState::Running);
    // A network that is gone as well, as after a restore.
    act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    act(bench, bay, Action::Remove(Removed::Network)).await.unwrap();
    act(bench, stream, recreate(bay, spec("sleep 100"), true)).await.unwrap();
    assert_eq!(only(bench, stream).await.state, RunState::Running);
    assert_eq!(networks(bench).await.len(), 1);
}

async fn a_lost_reboot_is_not_done_twice(bench: &dyn Bench) {
    let stream = started(bench, r#"sh -c "echo up; sleep 100""#).await;
    written(bench, stream, "up\n").await;
    let mut work = work(bench.node(), stream, Action::Do(Operation::Reboot { grace_s: 0 }));
    bench.backend().perform(&work, &Notes::default()).await.unwrap();
    written(bench, stream, "up\nup\n").await;
    work.attempt = 2;
    bench.backend().perform(&work, &Notes::default()).await.unwrap();
    // A later one is another.
    act(bench, stream, Action::Do(Operation::Reboot { grace_s: 0 })).await.unwrap();
    written(bench, stream, "up\nup\nup\n").await;
}

/// What every handle tells alike: how the engine's clock compares is measured anew by each.
fn by_its_clock(mut seen: Observed) -> Observed {
    seen.ends.iter_mut().for_each(|end| end.service_time = None);
    seen
}

/// Whether a time of the engine lies between two of the service, give or take: the engine's clock
/// is another one, which may run a little faster or slower.
fn is_between(before: Timestamp, time: Timestamp, after: Timestamp) -> bool {
    const APART_US: i64 = 1_000_000;
    before.0 - APART_US <= time.0 && time.0 <= after.0 + APART_US
}

async fn an_end_is_told_with_its_exit_code(bench: &dyn Bench) {
    let before = clock::now();
    let stream = started(bench, r#"sh -c "exit 3""#).await;
    let end = ended(bench, stream).await;
    assert_eq!((end.exit_code, end.oom_killed), (Some(3), false));
    let last = end.ends.last().unwrap();
    assert_eq!(end.finished_at, Some(last.finished_at));
    assert!(is_between(before, last.by_service_clock(), clock::now()));
    let all = containers(bench).await.into_iter();
    let all: Vec<_> = all.map(|(stream, seen)| (stream, by_its_clock(seen))).collect();
    assert_eq!(all, [(stream, by_its_clock(end))]);
}

async fn an_end_that_was_asked_for_is_told(bench: &dyn Bench) {
    let stream = started(bench, "sleep 100").await;
    let quickly = 0;
    let pause = || Action::Do(Operation::Pause);
    let stop = || Action::Do(Operation::Stop { grace_s: quickly });
    let reboot = || Action::Do(Operation::Reboot { grace_s: quickly });
    for (pauses, action, ends, runs) in [
        (false, stop(), true, false),
        (false, reboot(), false, true),
        (false, reboot(), true, true),
        (true, reboot(), true, true),
        (true, stop(), true, false),
        // It has ended already.
        (false, stop(), true, false),
    ] {
        if pauses {
            act(bench, stream, pause()).await.unwrap();
        }
        let name = action.name();
        let done = act(bench, stream, action).await.unwrap();
        let end = done.end.map(|end| (end.exit_code, end.oom_killed, end.finished_at.is_some()));
        assert_eq!(end, ends.then_some((Some(137), false, true)), "{name}");
        assert_eq!(done.run.is_some(), runs, "{name}");
        let wanted = if runs { RunState::Running } else { RunState::Exited };
        assert_eq!(state(bench, stream).await, wanted, "{name}");
    }
    // One that never ran did not end.
    let idle = created(bench, spec("sleep 100")).await;
    assert_eq!(act(bench, idle, stop()).await.unwrap().end, None);
}

async fn a_signal_is_told_with_the_end(bench: &dyn Bench) {
    let _whole = NOTICES_OF_THE_ENGINE.lock().await;
    let backend = bench.backend();
    let mut notices = backend.notices().await.unwrap();
    let killed = started(bench, "sleep 100").await;
    let exits = created(bench, spec(r#"sh -c "exit 3""#)).await;
    bench.behind(Behind::Kill, killed.id);
    act(bench, exits, Action::Do(Operation::Start)).await.unwrap();
    for (stream, signal) in [(killed, Some(9)), (exits, None)] {
        let wait = async {
            loop {
                let seen = backend.inspect(stream).await.unwrap().unwrap();
                if seen.state == RunState::Exited {
                    return seen;
                }
                noticed(&mut notices, stream).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, wait).await.unwrap();
        let signals: Vec<_> = seen.ends.iter().map(|end| end.signal).collect();
        assert_eq!(signals, [signal]);
    }
}

async fn a_process_is_told_with_where_it_is_reached(bench: &dyn Bench) {
    let port = |container_port, host_ip: Option<&str>| PortMapping {
        container_port,
        host_port: None,
        host_ip: host_ip.map(str::to_owned),
        protocol: "tcp".to_owned(),
    };
    let ports = vec![port(80, None), port(81, Some("127.0.0.1"))];
    let stream = created(bench, ContainerSpec { ports, ..spec("sleep 100") }).await;
    assert_eq!(observed(bench, stream).await.run, None);
    let mut before = None;
    for operation in [Operation::Start, Operation::Reboot { grace_s: 0 }] {
        let run = act(bench, stream, Action::Do(operation)).await.unwrap().run.unwrap();
        assert_eq!(observed(bench, stream).await.run, Some(run.clone()));
        assert!(run.started_at.is_some() && run.started_at > before, "{run:?}");
        before = run.started_at;
        assert_eq!((run.restart_count, &run.health), (0, &None));
        let address = run.address.unwrap();
        assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
        assert!(run.image_digest.unwrap().starts_with("sha256:"));
        for (container_port, host_ip) in [(80, "0.0.0.0"), (81, "127.0.0.1")] {
            let published = run.ports.iter().find(|port| {
                port.container_port == container_port && port.host_ip.as_deref() == Some(host_ip)
            });
            assert!(published.is_some_and(|it| it.host_port.is_some()), "{:?}", run.ports);
        }
    }
    act(bench, stream, Action::Do(Operation::Stop { grace_s: 0 })).await.unwrap();
    assert_eq!(observed(bench, stream).await.run, None);
}

async fn health_is_told_when_it_changes(bench: &dyn Bench) {
    let image = bench.checked_image();
    let stream = created(bench, ContainerSpec { image, ..spec("sleep 100") }).await;
    let mut notices = bench.backend().notices().await.unwrap();
    let done = act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    assert!(done.run.unwrap().health.is_some());
    for (is_well, wanted, output) in
        [(false, HealthStatus::Unhealthy, "not well"), (true, HealthStatus::Healthy, "well")]
    {
        bench.check(stream.id, is_well);
        let wait = async {
            loop {
                let health = observed(bench, stream).await.run.unwrap().health.unwrap();
                if health.status == wanted {
                    return health;
                }
                noticed(&mut notices, stream).await;
            }
        };
        let health = tokio::time::timeout(PATIENCE, wait).await.unwrap();
        assert_eq!(health.output, output);
    }
    act(bench, stream, Action::Do(Operation::Stop { grace_s: 0 })).await.unwrap();
    assert_eq!(observed(bench, stream).await.run, None);
}

async fn the_engine_restarts_what_its_policy_says(bench: &dyn Bench) {
    let policy = RestartPolicy::OnFailure(2);
    let command = r#"sh -c "echo up; exit 3""#;
    let stream = created(bench, ContainerSpec { restart_policy: policy, ..spec(command) }).await;
    let mut notices = bench.backend().notices().await.unwrap();
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let wait = async {
        while logs(bench, stream, LogQuery::default()).await.0 != "up\nup\nup\n" {
            noticed(&mut notices, stream).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(ended(bench, stream).await.exit_code, Some(3));
}

/// A container whose command fails again and again, with twelve seconds to go before its next
/// start, or more.
async fn backing_off(bench: &dyn Bench) -> StreamId {
    let restart_policy = RestartPolicy::Always;
    let command = r#"sh -c "exit 7""#;
    let stream = created(bench, ContainerSpec { restart_policy, ..spec(command) }).await;
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let wait = async {
        loop {
            let seen = observed(bench, stream).await;
            // The first delay is 100 ms, and each is twice the one before. Docker counts a restart
            // before its delay, so this one is the eighth: 12.8 s. The model counts it when it has
            // started the container, so there it is the ninth: 25.6 s.
            if seen.state == RunState::Restarting && seen.restarts >= 8 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    stream
}

async fn a_restart_back_off_is_told_and_ends_when_asked(bench: &dyn Bench) {
    let kill = Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() });
    let term = Action::Do(Operation::Kill { signal: "SIGTERM".to_owned() });
    let (stop, reboot) = (
        Action::Do(Operation::Stop { grace_s: 30 }),
        Action::Do(Operation::Reboot { grace_s: 30 }),
    );
    let execute = Action::Exec(Exec::Start { command: words("true") });
    join_all([stop, kill, term, reboot, Action::Remove(Removed::Container)].map(async |action| {
        let stream = backing_off(bench).await;
        // The engine may have forgotten the ends before the last one at the next look.
        let latest = |mut seen: Observed| {
            seen.ends.drain(..seen.ends.len().saturating_sub(1));
            seen
        };
        let before = latest(observed(bench, stream).await);
        assert_eq!((before.exit_code, before.finished_at.is_some()), (Some(7), true));
        assert_eq!(before.ends.last().and_then(|end| end.exit_code), Some(7));
        for refused in [Action::Do(Operation::Pause), execute.clone()] {
            let answer = act(bench, stream, refused).await;
            let told = matches!(&answer, Err(BackendError::Refused(w)) if w.contains("restarting"));
            assert!(told, "{answer:?}");
        }
        for settled in [Action::Do(Operation::Start), Action::Do(Operation::Unpause)] {
            act(bench, stream, settled).await.unwrap();
        }
        assert_eq!(latest(observed(bench, stream).await), before);
        let name = action.name();
        act(bench, stream, action).await.unwrap();
        let now = bench.backend().inspect(stream).await.unwrap();
        match (name, now) {
            ("delete", now) => assert_eq!(now, None),
            ("reboot", now) => assert!(now.unwrap().restarts < before.restarts),
            (_, now) => {
                let now = now.unwrap();
                assert_eq!((now.state, now.exit_code), (RunState::Exited, Some(7)), "{name}");
                assert_eq!(
                    latest(now).ends,
                    before.ends,
                    "{name}: a back-off's end is not another"
                );
                tokio::time::sleep(BACK_OFF).await;
                assert_eq!(state(bench, stream).await, RunState::Exited, "{name}");
            }
        }
    }))
    .await;
}

/// Does work until it is told, in the midst of it, that it is cancelled.
async fn cancel(bench: &dyn Bench, stream: StreamId, action: Action) -> Result<Done, BackendError> {
    let (work, notes) = (work(bench.node(), stream, action), Notes::default());
    let backend = bench.backend();
    let cancelled = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        notes.cancel.cancel();
        Instant::now()
    };
    let (answer, cancelled) = tokio::join!(backend.perform(&work, &notes), cancelled);
    assert!(cancelled.elapsed() < Duration::from_secs(5), "{:?}", cancelled.elapsed());
    // And when it has not begun yet.
    assert_eq!(backend.perform(&work, &notes).await, answer);
    answer
}

async fn cancelled_work_ends_at_once(bench: &dyn Bench) {
    let (bay, pulling) = (open_bay(bench).await, container());
    let silent = ContainerSpec { image: bench.silent_image(), ..spec("true") };
    let answer = cancel(bench, pulling, create(bay, silent)).await;
    assert_eq!(answer, Err(BackendError::Cancelled));
    act(bench, pulling, Action::Remove(Removed::Container)).await.unwrap();
    let grace_s = 600;
    for action in
        [Action::Do(Operation::Stop { grace_s }), Action::Do(Operation::Reboot { grace_s })]
    {
        let stream = started(bench, r#"sh -c "trap '' TERM; sleep 100""#).await;
        let answer = cancel(bench, stream, action).await;
        assert_eq!(answer, Err(BackendError::Cancelled));
        assert_eq!(state(bench, stream).await, RunState::Running);
        act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
        assert_eq!(bench.backend().inspect(stream).await, Ok(None));
    }
    assert_eq!(containers(bench).await, []);
}

async fn a_stop_ends_with_its_container(bench: &dyn Bench) {
    for end in [
        Action::Do(Operation::Kill { signal: "SIGKILL".to_owned() }),
        Action::Remove(Removed::Container),
    ] {
        let stream = started(bench, r#"sh -c "trap '' TERM; sleep 100""#).await;
        let stop = act(bench, stream, Action::Do(Operation::Stop { grace_s: 600 }));
        let ended = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            act(bench, stream, end).await.unwrap();
        };
        let both = async { tokio::join!(stop, ended).0 };
        let answer = tokio::time::timeout(PATIENCE / 4, both).await.unwrap();
        assert!(matches!(answer, Ok(_) | Err(BackendError::Missing(_))), "{answer:?}");
    }
}

async fn an_end_is_told_after_the_restart_that_followed(bench: &dyn Bench) {
    let _whole = NOTICES_OF_THE_ENGINE.lock().await;
    let policy = RestartPolicy::OnFailure(1);
    let command = bench.stumbling();
    let stream =
        created(bench, ContainerSpec { command, restart_policy: policy, ..spec("") }).await;
    let listening = bench.backend();
    let mut notices = listening.notices().await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Connected));
    let before = clock::now();
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    bench.stumble(stream.id);
    // At the latest the notice of the restart has what came before it.
    noticed(&mut notices, stream).await;
    let seen = listening.inspect(stream).await.unwrap().unwrap();
    let told = |seen: &Observed| match seen.ends.as_slice() {
        [end] => (seen.state, seen.restarts, end.exit_code, end.oom_killed),
        ends => panic!("{ends:?}"),
    };
    assert_eq!(told(&seen), (RunState::Running, 1, Some(3), false));
    assert_eq!((seen.exit_code, seen.finished_at), (None, None));
    let (finished_at, ours) = (seen.ends[0].finished_at, seen.ends[0].by_service_clock());
    assert!(is_between(before, ours, clock::now()), "{before} {ours}");
    // The same end for whoever was not there.
    let seen = by_its_clock(seen);
    assert_eq!(by_its_clock(observed(bench, stream).await), seen);
    let all = containers(bench).await.into_iter();
    assert_eq!(all.map(|(_, seen)| by_its_clock(seen)).collect::<Vec<_>>(), [seen]);
    // When it was is all that is left when the engine has forgotten.
    bench.forget_notices(stream.id);
    let late = observed(bench, stream).await;
    assert_eq!(told(&late), (RunState::Running, 1, None, false));
    let (late, ours) = (late.ends[0].finished_at, late.ends[0].by_service_clock());
    assert!(late <= finished_at && is_between(before, ours, clock::now()), "{late} {finished_at}");
    // Not so while it does not run.
    bench.behind(Behind::Kill, stream.id);
    let known = ended(bench, stream).await;
    let ends = known.ends.iter().map(|end| end.exit_code).collect::<Vec<_>>();
    assert_eq!(ends.last(), Some(&Some(137)), "{known:?}");
    assert_eq!(known.finished_at, known.ends.last().map(|end| end.finished_at));
}

async fn logs_are_told_by_tail_since_and_time(bench: &dyn Bench) {
    let command = r#"sh -c "echo one; echo two >&2; sleep 0.1; echo three""#;
    let stream = started(bench, command).await;
    let end = ended(bench, stream).await.finished_at.unwrap();
    let all = logs(bench, stream, LogQuery::default()).await;
    assert_eq!(all, ("one\nthree\n".to_owned(), "two\n".to_owned()));
    let tail = LogQuery { tail: Some(1), ..LogQuery::default() };
    assert_eq!(logs(bench, stream, tail).await, ("three\n".to_owned(), String::new()));
    let none = LogQuery { tail: Some(0), ..LogQuery::default() };
    assert_eq!(logs(bench, stream, none).await, (String::new(), String::new()));
    let timed = LogQuery { timestamps: true, ..LogQuery::default() };
    let times: Vec<_> = logs(bench, stream, timed)
        .await
        .0
        .lines()
        .map(|line| {
            let (time, text) = line.split_once(' ').unwrap();
            assert!(["one", "three"].contains(&text), "{line}");
            let time = chrono::DateTime::parse_from_rfc3339(time).unwrap();
            Timestamp(time.timestamp_micros())
        })
        .collect();
    let (begin, end) = (Timestamp(end.0 - 9_000_000), Timestamp(end.0 + 9_000_000));
    assert!(begin < times[0] && times[0] < times[1] && times[1] < end, "{times:?} {end}");
    // Between two lines that are a tenth of a second apart.
    let middle = Timestamp(times[1].0 - 20_000);
    let since = LogQuery { since: Some(middle), ..LogQuery::default() };
    assert_eq!(logs(bench, stream, since).await, ("three\n".to_owned(), String::new()));
}

async fn followed_logs_end_with_the_container(bench: &dyn Bench) {
    let stream = started(bench, r#"sh -c "echo one; sleep 1; echo two""#).await;
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    assert_eq!(logs(bench, stream, follow).await.0, "one\ntwo\n");
    assert_eq!(ended(bench, stream).await.exit_code, Some(0));
}

async fn commands_are_executed_once_with_output_and_exit_code(bench: &dyn Bench) {
    let environment = BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]);
    let stream = created(bench, ContainerSpec { environment, ..spec("sleep 100") }).await;
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    for (command, code, out, err) in [
        (r#"sh -c "echo out; echo err >&2; exit 7""#, 7, "out\n", "err\n"),
        ("true", 0, "", ""),
        ("false", 1, "", ""),
        ("echo a b", 0, "a b\n", ""),
    ] {
        let notes = Notes::default();
        let action = Action::Exec(Exec::Start { command: words(command) });
        let mut work = work(bench.node(), stream, action);
        let done = bench.backend().perform(&work, &notes).await.unwrap();
        assert_eq!(done, Done { exit_code: Some(code), ..Done::default() }, "{command}");
        let texts = by_output(notes.output.into_inner().unwrap());
        assert_eq!(texts, (out.to_owned(), err.to_owned()), "{command}");
        work.attempt = 2;
        let again = bench.backend().perform(&work, &Notes::default()).await;
        assert!(matches!(again, Err(BackendError::Refused(_))), "{command}: {again:?}");
    }
    let notes = Notes::default();
    let action = Action::Exec(Exec::Start { command: words("no-such-command") });
    let work = work(bench.node(), stream, action);
    let done = bench.backend().perform(&work, &notes).await.unwrap();
    assert!(matches!(done.exit_code, Some(126 | 127)), "{done:?}");
    let (out, err) = by_output(notes.output.into_inner().unwrap());
    assert!((out + &err).contains("not found"));
    let environment = Notes::default();
    let action = Action::Exec(Exec::Start { command: words("env") });
    let work = Work { action, id: clock::new_event_id(), ..work };
    bench.backend().perform(&work, &environment).await.unwrap();
    assert!(by_output(environment.output.into_inner().unwrap()).0.contains("COLOUR=blue\n"));
}

/// Runs a command until something else makes it end, and its exit code. `end` is called once the
/// command has written `up`.
async fn run_until(
    bench: &dyn Bench,
    stream: StreamId,
    command: &str,
    end: impl AsyncFnOnce(&dyn Backend, WorkId, &Notes),
) -> Option<i64> {
    let action = Action::Exec(Exec::Start { command: words(command) });
    let (work, notes) = (work(bench.node(), stream, action), Notes::default());
    let backend = bench.backend();
    let ending = async {
        while by_output(notes.output.lock().unwrap().clone()).0 != "up\n" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        end(backend.as_ref(), work.id, &notes).await;
    };
    let both = async { tokio::join!(backend.perform(&work, &notes), ending).0 };
    let done = tokio::time::timeout(PATIENCE, both).await.unwrap();
    done.unwrap().exit_code
}

async fn a_command_that_runs_can_be_ended(bench: &dyn Bench) {
    let stream = started(bench, "sleep 1000").await;
    let end = async |backend: &dyn Backend, execution_id: WorkId, _: &Notes| {
        let work = work(bench.node(), stream, Action::Exec(Exec::End { execution_id }));
        backend.perform(&work, &Notes::default()).await.unwrap();
        // It is fine that it has ended.
        backend.perform(&work, &Notes::default()).await.unwrap();
    };
    let command = r#"sh -c "echo up; sleep 500; echo late""#;
    let other = run_until(bench, stream, command, async |_, _, notes: &Notes| {
        assert_eq!(run_until(bench, stream, command, end).await, Some(143));
        // The other one runs on, however alike it is.
        assert_eq!(bench.commands_in(stream.id), 1);
        notes.cancel.cancel();
    });
    assert_eq!(other.await, Some(137));
    let command = r#"sh -c "trap '' TERM; echo up; sleep 500; echo late""#;
    let begin = Instant::now();
    assert_eq!(run_until(bench, stream, command, end).await, Some(137));
    assert!(begin.elapsed() >= Duration::from_secs(10), "it has its grace period");
    assert_eq!(bench.commands_in(stream.id), 0, "what it started is gone as well");
    assert_eq!(state(bench, stream).await, RunState::Running);
}

async fn a_command_ends_when_it_is_cancelled_or_its_container_ends(bench: &dyn Bench) {
    let stream = started(bench, "sleep 1000").await;
    let command = r#"sh -c "trap '' TERM; echo up; sleep 500""#;
    let cancel = async |_: &dyn Backend, _: WorkId, notes: &Notes| notes.cancel.cancel();
    assert_eq!(run_until(bench, stream, command, cancel).await, Some(137));
    assert_eq!(bench.commands_in(stream.id), 0);
    let stop = async |_: &dyn Backend, _: WorkId, _: &Notes| {
        act(bench, stream, Action::Do(Operation::Stop { grace_s: 0 })).await.unwrap();
    };
    assert_eq!(run_until(bench, stream, command, stop).await, Some(137));
    // One that is cancelled before it begins never does.
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    let action = Action::Exec(Exec::Start { command: words("echo up") });
    let (work, notes) = (work(bench.node(), stream, action), Notes::default());
    notes.cancel.cancel();
    let answer = bench.backend().perform(&work, &notes).await;
    assert_eq!(answer, Err(BackendError::Cancelled));
    assert_eq!(*notes.output.lock().unwrap(), []);
}

async fn every_change_behind_our_back_is_noticed(bench: &dyn Bench) {
    let stream = created(bench, spec("sleep 100")).await;
    let other = started(bench, "sleep 100").await;
    let mut notices = bench.backend().notices().await.unwrap();
    assert_eq!(notices.next().await, Some(Notice::Connected));
    for (what, wanted) in [
        (Behind::Start, Some(RunState::Running)),
        (Behind::Pause, Some(RunState::Paused)),
        (Behind::Unpause, Some(RunState::Running)),
        (Behind::Kill, Some(RunState::Exited)),
        (Behind::Rename("elsewhere"), Some(RunState::Exited)),
        (Behind::Remove, None),
    ] {
        bench.behind(what, stream.id);
        let seen = async {
            loop {
                noticed(&mut notices, stream).await;
                let now = bench.backend().inspect(stream).await.unwrap();
                let settled = match (&now, what) {
                    (Some(now), Behind::Rename(_)) => !now.name_is_ours,
                    _ => now.as_ref().map(|now| now.state) == wanted,
                };
                if settled {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap();
    }
    // Nothing was said of the other one.
    bench.behind(Behind::Kill, other.id);
    let next = async {
        loop {
            match notices.next().await.unwrap() {
                Notice::Changed(changed) if changed == stream => {}
                notice => return notice,
            }
        }
    };
    let next = tokio::time::timeout(PATIENCE, next).await.unwrap();
    assert_eq!(next, Notice::Changed(other));
}

async fn running_out_of_memory_is_told(bench: &dyn Bench) {
    // An engine of this age that is busy misses the kernel's word now and then, for good: of five
    // containers it hears of one.
    for _ in 0..5 {
        let hungry = bench.hungry();
        let hungry = ContainerSpec { command: hungry, memory_bytes: Some(8 << 20), ..spec("") };
        let stream = created(bench, hungry).await;
        let mut notices = bench.backend().notices().await.unwrap();
        act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
        bench.starve(stream.id);
        // The end and the want of memory may be told one after the other.
        let told = async {
            loop {
                noticed(&mut notices, stream).await;
                let seen = observed(bench, stream).await;
                if seen.oom_killed {
                    return seen;
                }
            }
        };
        let told = tokio::time::timeout(PATIENCE / 6, told).await;
        let end = match told {
            Ok(seen) => seen,
            Err(_) => observed(bench, stream).await,
        };
        assert_eq!((end.state, end.exit_code), (RunState::Exited, Some(137)));
        if end.oom_killed {
            return;
        }
    }
    panic!("the engine never says that memory was wanting");
}

async fn only_what_is_ours_is_listed(bench: &dyn Bench) {
    let neighbour = clock::new_object_id();
    let other = bench.backend_as(neighbour);
    let stream = started(bench, "sleep 100").await;
    let theirs = container();
    let network = bay();
    let make = work(neighbour, network, Action::Apply(Desired::Network));
    other.perform(&make, &Notes::default()).await.unwrap();
    let theirs_work = work(neighbour, theirs, create(network, spec("sleep 100")));
    other.perform(&theirs_work, &Notes::default()).await.unwrap();
    let mut notices = bench.backend().notices().await.unwrap();
    let start = work(neighbour, theirs, Action::Do(Operation::Start));
    other.perform(&start, &Notes::default()).await.unwrap();
    let ours = containers(bench).await;
    assert_eq!(ours.iter().map(|(stream, _)| *stream).collect::<Vec<_>>(), [stream]);
    assert_eq!(bench.backend().inspect(theirs).await, Ok(None));
    // Not even when asked to.
    act(bench, theirs, Action::Remove(Removed::Container)).await.unwrap();
    assert_eq!(other.inspect(theirs).await.unwrap().unwrap().state, RunState::Running);
    act(bench, network, Action::Remove(Removed::Network)).await.unwrap();
    let delete = work(neighbour, network, Action::Remove(Removed::Network));
    let in_use = other.perform(&delete, &Notes::default()).await;
    assert!(matches!(in_use, Err(BackendError::Failed(_))), "{in_use:?}");
    // What happens to theirs is not said to us.
    bench.behind(Behind::Kill, theirs.id);
    bench.behind(Behind::Kill, stream.id);
    assert_eq!(notices.next().await, Some(Notice::Connected));
    let next = tokio::time::timeout(PATIENCE, notices.next()).await.unwrap();
    assert_eq!(next, Some(Notice::Changed(stream)));
    for (stream, action) in
        [(theirs, Action::Remove(Removed::Container)), (network, Action::Remove(Removed::Network))]
    {
        other.perform(&work(neighbour, stream, action), &Notes::default()).await.unwrap();
    }
}

async fn a_bay_has_one_network(bench: &dyn Bench) {
    let bay = bay();
    let backend = bench.backend();
    let works: Vec<_> =
        (0..8).map(|_| work(bench.node(), bay, Action::Apply(Desired::Network))).collect();
    let notes = Notes::default();
    let made = join_all(works.iter().map(|work| backend.perform(work, &notes))).await;
    let first = made[0].clone().unwrap();
    assert!(first.engine_id.is_some());
    for answer in made {
        assert_eq!(answer.unwrap(), first);
    }
    // A container finds it, and it stays as long as one runs in it.
    let stream = container();
    act(bench, stream, create(bay, spec("sleep 100"))).await.unwrap();
    act(bench, stream, Action::Do(Operation::Start)).await.unwrap();
    assert_eq!(act(bench, bay, Action::Apply(Desired::Network)).await.unwrap(), first);
    let in_use = act(bench, bay, Action::Remove(Removed::Network)).await;
    assert!(matches!(in_use, Err(BackendError::Failed(_))), "{in_use:?}");
    act(bench, stream, Action::Remove(Removed::Container)).await.unwrap();
    act(bench, bay, Action::Remove(Removed::Network)).await.unwrap();
    assert_ne!(act(bench, bay, Action::Apply(Desired::Network)).await.unwrap(), first);
}

async fn a_network_stays_while_somebody_else_uses_it(bench: &dyn Bench) {
    let bay = open_bay(bench).await;
    bench.behind(Behind::Join, bay.id);
    // The second time shows that the first has not disconnected anybody.
    for _ in 0..2 {
        let in_use = act(bench, bay, Action::Remove(Removed::Network)).await;
        assert!(matches!(in_use, Err(BackendError::Failed(_))), "{in_use:?}");
    }
    bench.behind(Behind::Leave, bay.id);
    act(bench, bay, Action::Remove(Removed::Network)).await.unwrap();
    assert_eq!(networks(bench).await, []);
}

async fn a_container_never_brings_a_network_back(bench: &dyn Bench) {
    let (bay, stream) = (open_bay(bench).await, container());
    let early = container();
    act(bench, early, create(bay, spec("sleep 100"))).await.unwrap();
    act(bench, bay, Action::Remove(Removed::Network)).await.unwrap();
    let mut late = work(bench.node(), stream, create(bay, spec("sleep 100")));
    // The bay may be behind, so it is tried again.
    for attempt in 1..=3 {
        late.attempt = attempt;
        let answer = bench.backend().perform(&late, &Notes::default()).await;
        let Err(BackendError::Failed(words)) = answer else { panic!("{attempt}: {answer:?}") };
        assert!(words.contains("does not exist"), "{words}");
        assert_eq!(bench.backend().inspect(stream).await, Ok(None));
    }
    // Nor do those that are there already.
    for action in [Action::Do(Operation::Start), Action::Do(Operation::Reboot { grace_s: 0 })] {
        let name = action.name();
        let answer = act(bench, early, action).await;
        assert!(matches!(answer, Err(BackendError::Refused(_))), "{name}: {answer:?}");
    }
    act(bench, early, Action::Remove(Removed::Container)).await.unwrap();
    assert_eq!(networks(bench).await, []);
}

async fn networks_are_listed_with_their_bays(bench: &dyn Bench) {
    let listed = || async {
        let mut all = networks(bench).await;
        all.sort_by_key(|network| network.bay_id);
        all
    };
    assert_eq!(listed().await, []);
    let mut bays = [bay(), bay()];
    bays.sort();
    let made = act(bench, bays[0], Action::Apply(Desired::Network)).await.unwrap();
    act(bench, bays[1], Action::Apply(Desired::Network)).await.unwrap();
    let neighbour = clock::new_object_id();
    let (other, theirs) = (bench.backend_as(neighbour), bay());
    let notes = Notes::default();
    other.perform(&work(neighbour, theirs, Action::Apply(Desired::Network)), &notes).await.unwrap();
    let all = listed().await;
    assert_eq!(all.iter().map(|it| it.bay_id).collect::<Vec<_>>(), bays.map(|bay| bay.id));
    assert_eq!(Some(&all[0].engine_id), made.engine_id.as_ref());
    assert_eq!(all[1].engine_name, format!("magnum-{}", bays[1].id));
    act(bench, bays[0], Action::Remove(Removed::Network)).await.unwrap();
    assert_eq!(listed().await, all[1..]);
    other
        .perform(&work(neighbour, theirs, Action::Remove(Removed::Network)), &notes)
        .await
        .unwrap();
}

async fn the_engine_is_probed(bench: &dyn Bench) {
    let facts = bench.backend().probe().await.unwrap();
    assert!(!facts.engine.is_empty() && facts.cpus > 0 && facts.memory_bytes > 0, "{facts:?}");
}

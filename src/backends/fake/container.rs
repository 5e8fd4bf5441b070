//! One container of the model, and the lines it wrote.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::labels::{self, PodPlace};
use super::super::{
    BackendError, Done, End, Observed, Operation, OutputFrame, OutputStream, RunState, Work,
};
use super::process::Program;
use crate::clock;
use crate::events::container::{ContainerSpec, PortMapping, RestartPolicy};
use crate::events::run::{Health, HealthStatus, Run, RunEnd};
use crate::ids::{ObjectId, StreamId, Timestamp, WorkId};
use crate::text;

/// Images under this have a health check.
const CHECKED_IMAGES: &str = "checked/";

/// Host ports that the engine chooses from: those of Linux.
const FIRST_CHOSEN_PORT: u16 = 32_768;
const CHOSEN_PORTS: u32 = 28_232;

/// An image's id: here the hash of its name.
fn image_id(image: &str) -> String {
    format!("sha256:{}", blake3::hash(image.as_bytes()))
}

/// A container as the model has it.
#[derive(Clone, Debug)]
pub struct FakeContainer {
    /// The engine's id.
    pub engine_id: String,
    /// The engine's name of it.
    pub name: String,
    /// The node whose it is; `None` if it is somebody else's.
    pub node_id: Option<ObjectId>,
    /// The object that it is.
    pub stream: Option<StreamId>,
    /// Which container of a pod it is.
    pub(super) place: Option<PodPlace>,
    /// The run of its pod's sandbox in which somebody last started it.
    pub(super) life: u64,
    /// The work that made it.
    pub work_id: Option<WorkId>,
    /// The bay whose network it is in.
    pub bay_id: Option<ObjectId>,
    /// The names by which others reach it in that network.
    pub aliases: Vec<String>,
    /// All labels.
    pub labels: HashMap<String, String>,
    /// What it was made from.
    pub spec: ContainerSpec,
    /// Whether it runs.
    pub state: RunState,
    /// Every line it wrote, of all its runs.
    pub lines: Vec<FakeLine>,
    /// How often it was started.
    pub runs: u64,
    /// How often the engine started it again since it was last started by somebody.
    pub(super) restarts: u32,
    /// When it was last started, by the service's clock.
    pub(super) started_at: Option<Timestamp>,
    /// The same by the engine's clock.
    pub(super) began_at: Option<Timestamp>,
    /// How it is, if its image has a health check.
    pub(super) health: Option<Health>,
    /// The number of the last signal that was sent to its process.
    pub(super) signal: Option<u8>,
    /// Whether somebody ended it since then.
    pub(super) was_ended: bool,
    /// How it ended so far.
    ends: Vec<End>,
    /// Whether the engine keeps its endpoint in the network when it is removed.
    pub(super) leaves_endpoint: bool,
}

impl FakeContainer {
    /// One of ours, never started.
    pub(super) fn new(
        engine_id: String,
        work: &Work,
        bay_id: ObjectId,
        labels: HashMap<String, String>,
        spec: ContainerSpec,
    ) -> Self {
        Self {
            node_id: Some(work.node_id),
            stream: Some(work.stream),
            work_id: Some(work.id),
            bay_id: Some(bay_id),
            labels,
            spec,
            ..Self::foreign(engine_id, labels::container_name(work.stream.id))
        }
    }

    /// Somebody else's.
    pub(super) fn foreign(engine_id: String, name: String) -> Self {
        Self {
            engine_id,
            name,
            node_id: None,
            stream: None,
            place: None,
            life: 0,
            work_id: None,
            bay_id: None,
            aliases: Vec::new(),
            labels: HashMap::new(),
            spec: ContainerSpec::default(),
            state: RunState::Created,
            lines: Vec::new(),
            runs: 0,
            restarts: 0,
            started_at: None,
            began_at: None,
            health: None,
            signal: None,
            was_ended: false,
            ends: Vec::new(),
            leaves_endpoint: false,
        }
    }

    /// What a backend tells of it.
    pub(super) fn observed(&self) -> Observed {
        let ended = matches!(self.state, RunState::Exited | RunState::Restarting);
        let end = self.ends.last().filter(|_| ended);
        Observed {
            engine_id: self.engine_id.clone(),
            engine_name: text::words(&self.name),
            name_is_ours: self
                .stream
                .is_some_and(|it| labels::engine_name(it.id, self.place.as_ref()) == self.name),
            state: self.state,
            exit_code: end.and_then(|end| end.exit_code),
            oom_killed: end.is_some_and(|end| end.oom_killed),
            finished_at: end.map(|end| end.finished_at),
            ends: self.ends.clone(),
            restarts: self.restarts,
            run: self.has_process().then(|| self.run()),
        }
    }

    /// Its process, or the last one.
    pub(super) fn run(&self) -> Run {
        let has_process = self.has_process();
        Run {
            started_at: self.began_at,
            restart_count: self.restarts,
            // A container of a pod has that of the sandbox.
            address: (has_process && self.place.is_none()).then(|| self.address()),
            ports: self
                .spec
                .ports
                .iter()
                .filter(|_| has_process)
                .map(|it| self.publish(it))
                .collect(),
            image_digest: Some(image_id(&self.spec.image)),
            health: self.health.clone().filter(|_| has_process),
        }
    }

    /// How its process ended, if it has none any more.
    pub(super) fn end(&self) -> Option<RunEnd> {
        let end = self.ends.last().filter(|_| !self.has_process())?;
        let (exit_code, oom_killed) = (end.exit_code, end.oom_killed);
        Some(RunEnd { exit_code, oom_killed, finished_at: Some(end.finished_at) })
    }

    /// What is told of work on it that is done.
    pub(super) fn done(&self, operation: &Operation, end: Option<RunEnd>) -> Done {
        match operation {
            Operation::Start | Operation::StartPod | Operation::Reboot { .. } => {
                Done { run: Some(self.run()), end, ..Done::default() }
            }
            Operation::Stop { .. } => Done { end: self.end(), ..Done::default() },
            Operation::Pause | Operation::Unpause | Operation::Kill { .. } => Done::default(),
        }
    }

    /// The engine's ids are numbers, and so are addresses and ports.
    fn number(&self) -> u32 {
        u32::from_str_radix(self.engine_id.trim_start_matches('0'), 16).unwrap_or_default()
    }

    /// In its network.
    pub(super) fn address(&self) -> String {
        let [_, _, third, fourth] = self.number().to_be_bytes();
        format!("10.192.{third}.{fourth}")
    }

    /// A port as it is published by this run.
    fn publish(&self, port: &PortMapping) -> PortMapping {
        let run = u32::try_from(self.runs % 1000).unwrap_or_default();
        let spread = (self.number() * 1000 + u32::from(port.container_port) + run) % CHOSEN_PORTS;
        let chosen = FIRST_CHOSEN_PORT + u16::try_from(spread).unwrap_or_default();
        PortMapping {
            host_port: port.host_port.or(Some(chosen)),
            host_ip: Some(port.host_ip.clone().unwrap_or_else(|| "0.0.0.0".to_owned())),
            ..port.clone()
        }
    }

    /// Whether it has a process.
    pub(super) const fn has_process(&self) -> bool {
        matches!(self.state, RunState::Running | RunState::Paused)
    }

    /// Whether it has a process, or will have one by itself.
    pub(super) const fn is_alive(&self) -> bool {
        self.has_process() || matches!(self.state, RunState::Restarting)
    }

    /// Whether its process lets the stop signal pass, and so takes all of a grace period.
    pub(super) fn ignores_term(&self) -> bool {
        let program = Program::of(&self.spec.command, &self.spec.environment);
        self.has_process() && program.is_some_and(|program| program.ignores_term)
    }

    /// Refuses, in an engine's words, what needs a process that is not frozen.
    pub(super) fn require_running(&self) -> Result<(), BackendError> {
        let id = &self.engine_id;
        let words = match self.state {
            RunState::Running => return Ok(()),
            RunState::Restarting => {
                format!("Container {id} is restarting, wait until the container is running")
            }
            RunState::Paused => format!("Container {id} is paused, unpause the container first"),
            _ => format!("Container {id} is not running"),
        };
        Err(BackendError::Refused(words))
    }

    pub(super) fn started(&mut self) {
        self.state = RunState::Running;
        self.started_at = Some(clock::now());
        self.signal = None;
        self.health = self
            .spec
            .image
            .starts_with(CHECKED_IMAGES)
            .then(|| Health { status: HealthStatus::Starting, output: String::new() });
        self.was_ended = false;
        self.runs += 1;
        self.restarts = 0;
    }

    /// Ended for good. In its restart back-off it has no process that could end again.
    pub(super) fn ended(&mut self, code: i64, oom_killed: bool, now: Timestamp) {
        if self.has_process() {
            let (exit_code, service_time) = (Some(code), Some(clock::now()));
            let signal = self.signal.take();
            self.ends.push(End { exit_code, oom_killed, finished_at: now, service_time, signal });
        }
        if self.is_alive() {
            self.state = RunState::Exited;
        }
    }

    /// Started again by the engine.
    pub(super) fn restarted(&mut self) {
        let restarts = self.restarts + 1;
        self.started();
        self.restarts = restarts;
    }

    /// What the engine knows of its ends without its notices: the last one, and when that was.
    pub(super) fn forget_notices(&mut self) {
        self.ends.drain(..self.ends.len().saturating_sub(1));
        if self.state == RunState::Running {
            for end in &mut self.ends {
                (end.exit_code, end.oom_killed) = (None, false);
            }
        }
        for end in &mut self.ends {
            end.signal = None;
        }
    }

    /// Whether the engine starts it again when it starts itself. Docker's documentation: one that
    /// was stopped stays so unless it is to run always, and `on-failure` is not about the engine.
    pub(super) const fn restarts_with_engine(&self) -> bool {
        match self.spec.restart_policy {
            RestartPolicy::No | RestartPolicy::OnFailure(_) => false,
            RestartPolicy::Always => self.started_at.is_some(),
            RestartPolicy::UnlessStopped => self.started_at.is_some() && !self.was_ended,
        }
    }

    /// Whether the engine starts it again after it ended by itself.
    pub(super) const fn restarts_after(&self, exit_code: i64) -> bool {
        match self.spec.restart_policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure(times) => {
                exit_code != 0 && (times == 0 || self.restarts < times)
            }
        }
    }
}

/// A line of a container's output.
#[derive(Clone, Debug)]
pub struct FakeLine {
    /// When it was written.
    pub at: Timestamp,
    /// To which output.
    pub stream: OutputStream,
    /// With its end of line.
    pub text: String,
}

impl FakeLine {
    /// As it is sent.
    pub(super) fn frame(&self, timestamps: bool) -> OutputFrame {
        let text =
            if timestamps { format!("{} {}", self.at, self.text) } else { self.text.clone() };
        OutputFrame { stream: self.stream, data: Bytes::from(text) }
    }
}

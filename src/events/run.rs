//! What is known of one run of a container: its process, its health, where it is reached, and how
//! it ended; and the payloads that say so, frozen once released.
//!
//! Not here: the events that they are of (`container`), the names of signals (`signal`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::container_spec::PortMapping;
use super::signal;
use crate::ids::{EventId, Timestamp};

/// What the health check of an image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum HealthStatus {
    /// It has not succeeded yet, and may take longer.
    Starting,
    /// It succeeds.
    Healthy,
    /// It failed several times in a row.
    Unhealthy,
}

impl HealthStatus {
    /// As Docker calls it: `healthy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How a container is, by the health check of its image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// What the checks come to.
    pub status: HealthStatus,
    /// The output of the last check, in one line, shortened if it is long; empty before the first.
    pub output: String,
}

/// What is known of a container's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// When it started, by the engine's clock.
    pub started_at: Option<Timestamp>,
    /// How often the engine's restart policy has started it since it was last started by request.
    pub restart_count: u32,
    /// Its address in the bay's network.
    pub address: Option<String>,
    /// Its published ports, with the host ports that the engine chose.
    pub ports: Vec<PortMapping>,
    /// The engine's id of its image: `sha256:` and the digest of the image's configuration.
    pub image_digest: Option<String>,
    /// How it is; none if its image has no health check.
    pub health: Option<Health>,
}

impl Run {
    /// Whether this says the same as another, except for its health.
    pub fn is_same_but_for_health(&self, other: &Self) -> bool {
        let Self { started_at, restart_count, address, ports, image_digest, health: _ } = self;
        *started_at == other.started_at
            && *restart_count == other.restart_count
            && *address == other.address
            && *ports == other.ports
            && *image_digest == other.image_digest
    }

    /// What its health check says.
    pub fn health_status(&self) -> Option<HealthStatus> {
        self.health.as_ref().map(|health| health.status)
    }
}

/// How a container's process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// Its exit code, if the engine says it.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended it because it was out of memory.
    pub oom_killed: bool,
    /// When, by the engine's clock, if it says so.
    pub finished_at: Option<Timestamp>,
}

/// An action is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActionDoneV1 {
    /// The work.
    pub work_id: EventId,
}

/// The container was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartedV2 {
    /// The work.
    pub work_id: EventId,
    /// Its process, as far as the engine says anything of it.
    pub run: Option<Run>,
}

impl From<ActionDoneV1> for StartedV2 {
    fn from(ActionDoneV1 { work_id }: ActionDoneV1) -> Self {
        Self { work_id, run: None }
    }
}

/// The container was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoppedV2 {
    /// The work.
    pub work_id: EventId,
    /// The exit code of its process, if the engine says it.
    pub exit_code: Option<i64>,
    /// Whether the kernel ended it because it was out of memory.
    pub oom_killed: bool,
    /// When it ended, by the engine's clock, if it says so.
    pub finished_at: Option<Timestamp>,
}

impl From<ActionDoneV1> for StoppedV2 {
    fn from(ActionDoneV1 { work_id }: ActionDoneV1) -> Self {
        Self { work_id, exit_code: None, oom_killed: false, finished_at: None }
    }
}

/// The container was stopped and started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RebootedV2 {
    /// The work.
    pub work_id: EventId,
    /// How the process before ended, if it was stopped for this and the engine says it.
    pub end: Option<RunEnd>,
    /// The new process, as far as the engine says anything of it.
    pub run: Option<Run>,
}

impl From<ActionDoneV1> for RebootedV2 {
    fn from(ActionDoneV1 { work_id }: ActionDoneV1) -> Self {
        Self { work_id, end: None, run: None }
    }
}

/// A start was refused because the container's program cannot be run; `container.work_failed`
/// follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotStartedV1 {
    /// The work.
    pub work_id: EventId,
    /// The exit code that the engine gives it: 127 if there is no such program, 126 if it cannot be
    /// run.
    pub exit_code: i64,
}

/// The container's process ended by itself, or was ended outside Magnum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitedV1 {
    /// The exit code of the process.
    pub exit_code: i64,
    /// Whether the kernel OOM-killed it.
    pub oom_killed: bool,
    /// When, by the engine's clock, where it says so.
    pub finished_at: Option<Timestamp>,
}

/// The container's process ended and nobody asked Magnum for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitedV2 {
    /// The exit code of the process.
    pub exit_code: i64,
    /// Whether the kernel ended it because it was out of memory.
    pub oom_killed: bool,
    /// When, by the engine's clock, if it says so.
    pub finished_at: Option<Timestamp>,
    /// Whether the engine's restart policy is about to start it again.
    pub restarting: bool,
}

impl From<ExitedV1> for ExitedV2 {
    fn from(ExitedV1 { exit_code, oom_killed, finished_at }: ExitedV1) -> Self {
        Self { exit_code, oom_killed, finished_at, restarting: false }
    }
}

/// The container's process ended and nobody asked Magnum for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitedV3 {
    /// The exit code of the process.
    pub exit_code: i64,
    /// Whether the kernel ended it because it was out of memory.
    pub oom_killed: bool,
    /// When, by the engine's clock, if it says so.
    pub finished_at: Option<Timestamp>,
    /// Whether the engine's restart policy is about to start it again.
    pub restarting: bool,
    /// The last signal that was sent to the process outside Magnum, `SIGKILL`; none if none was, or
    /// if the engine does not know any more.
    pub signal: Option<String>,
}

impl From<ExitedV2> for ExitedV3 {
    fn from(ExitedV2 { exit_code, oom_killed, finished_at, restarting }: ExitedV2) -> Self {
        Self { exit_code, oom_killed, finished_at, restarting, signal: None }
    }
}

/// The engine started the container again by itself, as its restart policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartedV1 {}

/// The engine started the container again by itself, as its restart policy says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestartedV2 {
    /// The new process, as far as the engine says anything of it: of one that has ended since, it
    /// says nothing.
    pub run: Option<Run>,
}

impl From<RestartedV1> for RestartedV2 {
    fn from(RestartedV1 {}: RestartedV1) -> Self {
        Self { run: None }
    }
}

/// What is known of the container's process is not what was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunChangedV1 {
    /// The process as the engine has it.
    pub run: Run,
}

/// The health check of the container's image says something else than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthChangedV1 {
    /// What it says now.
    pub health: Health,
}

/// Exit codes above this are those of processes that a signal ended: this and its number.
const SIGNALLED: i64 = 128;

/// How a process ended that nobody here ended, in words. The signal is one that was sent outside
/// Magnum.
pub fn ended(exit_code: i64, oom_killed: bool, signal: Option<&str>) -> String {
    let ends_with = |name: &str| {
        signal::number(name).is_some_and(|number| exit_code == SIGNALLED + i64::from(number))
    };
    match signal {
        _ if oom_killed => format!("killed: out of memory (exit code {exit_code})"),
        Some(name) if ends_with(name) => {
            format!("killed outside Magnum with {name} (exit code {exit_code})")
        }
        Some(name) => format!("exited with code {exit_code} after {name} from outside Magnum"),
        None => format!("exited with code {exit_code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ended_it_is_said_as_far_as_it_is_known() {
        for (exit_code, oom_killed, signal, words) in [
            (137, false, None, "exited with code 137"),
            (137, false, Some("SIGKILL"), "killed outside Magnum with SIGKILL (exit code 137)"),
            (0, false, Some("SIGTERM"), "exited with code 0 after SIGTERM from outside Magnum"),
            (137, false, Some("SIGTERM"), "exited with code 137 after SIGTERM from outside Magnum"),
            (137, true, Some("SIGKILL"), "killed: out of memory (exit code 137)"),
            (
                165,
                false,
                Some("SIGRTMIN+3"),
                "killed outside Magnum with SIGRTMIN+3 (exit code 165)",
            ),
        ] {
            assert_eq!(ended(exit_code, oom_killed, signal), words);
        }
    }
}

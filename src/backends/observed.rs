//! What an engine has, as it is found there.
//!
//! Not here: what should be there (`action`), what a difference means (`actors/drift`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events::run::Run;
use crate::ids::{EventId, Kind, ObjectId, StreamId, Timestamp};

/// An object of ours as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineObject {
    /// A container.
    Container(Observed),
    /// A bay's network.
    Network(ObservedNetwork),
    /// A pod.
    Pod(ObservedPod),
}

/// An inventory, each object with the record that it belongs to.
pub(super) fn inventory(
    containers: Vec<(StreamId, Observed)>,
    networks: Vec<ObservedNetwork>,
    pods: Vec<(StreamId, ObservedPod)>,
) -> Vec<(StreamId, EngineObject)> {
    let pods = pods.into_iter().map(|(stream, it)| (stream, EngineObject::Pod(it)));
    let containers =
        containers.into_iter().map(|(stream, it)| (stream, EngineObject::Container(it)));
    let networks = networks
        .into_iter()
        .map(|it| (StreamId::new(Kind::Bay, it.bay_id), EngineObject::Network(it)));
    containers.chain(networks).chain(pods).collect()
}

/// Whether the engine's process of a container lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Being started again by the engine's restart policy.
    Restarting,
    /// Ended.
    Exited,
    /// Half gone: the engine says `dead` or `removing`.
    Dead,
}

impl RunState {
    /// As it is shown: `running`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Whether it has no process, and gets none by itself.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Created | Self::Exited | Self::Dead)
    }
}

/// A container as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The engine's id.
    pub engine_id: String,
    /// The name that the engine has for it.
    pub engine_name: String,
    /// Whether [`Observed::engine_name`] is the name that we gave.
    pub name_is_ours: bool,
    /// Whether it runs.
    pub state: RunState,
    /// The last exit code, where it ended.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When it last ended, where it is not running.
    pub finished_at: Option<Timestamp>,
    /// How it ended so far, the last end last, whether it runs again or not; as far back as the
    /// engine tells. An end has the same time whenever it is told.
    #[serde(default)]
    pub ends: Vec<End>,
    /// How often the engine's restart policy started it since somebody else did.
    #[serde(default)]
    pub restarts: u32,
    /// Its process, while it has one.
    #[serde(default)]
    pub run: Option<Run>,
}

/// How a container's process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its exit code; none where it runs again and the engine has forgotten it.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When the engine told of it, by its own clock.
    pub finished_at: Timestamp,
    /// The same moment by the service's clock, where that is another one.
    #[serde(default)]
    pub service_time: Option<Timestamp>,
    /// The number of the last signal that somebody had sent to it, us included, if the engine
    /// told.
    #[serde(default)]
    pub signal: Option<u8>,
}

impl End {
    /// When it was, by the service's clock.
    pub fn by_service_clock(&self) -> Timestamp {
        self.service_time.unwrap_or(self.finished_at)
    }
}

/// A bay's network as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedNetwork {
    /// The bay that its labels name.
    pub bay_id: ObjectId,
    /// The engine's id.
    pub engine_id: String,
    /// The name that the engine has for it.
    pub engine_name: String,
}

/// A pod as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedPod {
    /// The engine's id: on Docker that of the sandbox, which holds the network of its containers;
    /// empty if that is gone and some of these are not.
    pub engine_id: String,
    /// The engine's name of it.
    pub engine_name: String,
    /// The work that made it, if its labels say.
    pub work_id: Option<EventId>,
    /// Whether its containers can reach its network.
    pub is_up: bool,
    /// Its address in the bay's network while it is up.
    pub address: Option<String>,
    /// Its containers in the order of the manifest, those that initialise it first; without those
    /// that the engine does not have.
    pub containers: Vec<ObservedMember>,
}

impl ObservedPod {
    /// What a node is told of it that has no record of it: that there is this container.
    pub fn as_container(&self) -> Observed {
        Observed {
            engine_id: self.engine_id.clone(),
            engine_name: self.engine_name.clone(),
            name_is_ours: true,
            state: if self.is_up { RunState::Running } else { RunState::Exited },
            exit_code: None,
            oom_killed: false,
            finished_at: None,
            ends: vec![],
            restarts: 0,
            run: None,
        }
    }
}

/// A container of a pod as the engine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedMember {
    /// Its name in the manifest.
    pub name: String,
    /// Whether it initialises the pod.
    pub is_init: bool,
    /// As the engine has it.
    pub observed: Observed,
}

/// What is known of a node whose engine answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineFacts {
    /// The engine and its version: `docker 20.10.24`.
    pub engine: String,
    /// Number of CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

//! What a container is made from; part of payloads, and frozen with them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortMapping {
    /// The port inside the container.
    pub container_port: u16,
    /// The port on the node; the engine chooses one where there is none.
    pub host_port: Option<u16>,
    /// The address on the node; `None`: all.
    pub host_ip: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// When the engine starts an ended container again by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// When it ended with an exit code other than 0, at most this many times (0: no limit).
    OnFailure(u32),
    /// Always, except when it was stopped.
    UnlessStopped,
}

impl RestartPolicy {
    /// As it is written: `no`, `always`, `on-failure:3` or `unless-stopped`.
    pub fn text(&self) -> String {
        match self {
            Self::No => "no".to_owned(),
            Self::Always => "always".to_owned(),
            Self::OnFailure(0) => "on-failure".to_owned(),
            Self::OnFailure(retries) => format!("on-failure:{retries}"),
            Self::UnlessStopped => "unless-stopped".to_owned(),
        }
    }

    /// What is written so; `None` if nothing is.
    pub fn named(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "on-failure" => Some(Self::OnFailure(0)),
            Some(("on-failure", retries)) => retries.parse().ok().map(Self::OnFailure),
            _ => {
                let plain = [Self::No, Self::Always, Self::UnlessStopped];
                plain.into_iter().find(|policy| policy.text() == text)
            }
        }
    }
}

/// CPUs in thousandths, as they are recorded.
pub fn cpu_millis(cpus: f64) -> u32 {
    (cpus * 1000.0).round() as u32
}

/// Recorded thousandths of CPUs, as they are shown.
pub fn cpus(millis: u32) -> f64 {
    f64::from(millis) / 1000.0
}

/// What a container is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContainerSpec {
    /// The image reference.
    pub image: String,
    /// The command and its arguments; the image's own where empty.
    pub command: Vec<String>,
    /// Environment variables; their values are sealed, and shown to nobody.
    pub environment: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// The user's labels; ours are added by the backend.
    pub labels: BTreeMap<String, String>,
    /// The memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// The CPU limit in thousandths of a CPU.
    pub cpu_millis: Option<u32>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// User name or id, optionally with a group.
    pub user: Option<String>,
    /// When the engine starts it again.
    pub restart_policy: RestartPolicy,
}

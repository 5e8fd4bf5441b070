//! What queries know of containers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Head, OutcomeView, TaskView};
use crate::events::container::PortMapping;
use crate::ids::ObjectId;

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

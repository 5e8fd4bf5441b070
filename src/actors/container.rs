//! A container: what can be asked of it.

use serde::{Deserialize, Serialize};

use crate::backends::{Observed, Outcome};
use crate::events::container::ContainerSpec;
use crate::events::work::FieldChange;
use crate::ids::ObjectId;

/// What can be asked of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerCommand {
    /// Make it, not running.
    Create {
        /// Its name; not unique.
        name: Option<String>,
        /// A description.
        desc: Option<String>,
        /// What it is made from.
        spec: ContainerSpec,
        /// The bay it belongs to.
        bay_id: ObjectId,
        /// The node of that bay.
        node_id: ObjectId,
        /// The host name of that node.
        host: String,
    },
    /// Start it.
    Start,
    /// Stop it.
    Stop {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
    /// Stop and start it.
    Reboot {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
    /// Freeze it.
    Pause,
    /// Let it go on.
    Unpause,
    /// Send a signal.
    Kill {
        /// `SIGKILL`.
        signal: String,
    },
    /// Run a command in it.
    Execute {
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// Remove it, running or not.
    Delete,
    /// Set fields: `name`, `desc`, `image_id`, `command`. Edits the record, not what runs.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// What came of work.
    Outcome(Outcome),
    /// What the engine has; none where it has nothing for this object. Sent by the worker
    /// between pieces of work, never while one is under way.
    Observe(Option<Observed>),
}

//! What a backend is asked to do with the objects of its engine, and how such work is handled.
//!
//! An object is brought into being as desired, is removed, or has something done to it. Another
//! kind of engine adds objects and operations; what it does not have it is never asked for. Not
//! here: work and its outcomes (`work`), what an engine has (`observed`).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::events::Verb;
use crate::events::container::{ContainerSpec, Limits};
use crate::events::pod::PodSpec;
use crate::ids::{ObjectId, WorkId};

/// How long an attempt may take beyond the backend's own limits (a pull has half an hour), so that
/// a backend that forgets a limit blocks nothing for ever.
const ATTEMPT: Duration = Duration::from_secs(40 * 60);

/// What is to be done, with everything that is needed to do it. Its JSON names each action flatly:
/// `"start_container"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Action {
    /// Bring an object into being; done if it exists by this work.
    Apply(Desired),
    /// Change what a container is besides its process, which goes on.
    Adjust(Adjustment),
    /// Make an object anew, in the place of what there is of it; done if this work made it.
    Replace(Replacement),
    /// Remove an object in whatever state it is; done if it is gone.
    Remove(Removed),
    /// Change the state of a container that exists.
    Do(Operation),
    /// Run a command in a container, or end one that runs.
    Exec(Exec),
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Desired {
    /// A bay's network.
    #[serde(rename = "create_network")]
    Network,
    /// A container that does not run. Its image is pulled first if the engine does not have it.
    #[serde(rename = "create_container")]
    Container {
        /// Its name, for people and as its host name in the bay's network.
        name: Option<String>,
        /// The bay whose network it joins; refused if the network does not exist.
        bay_id: ObjectId,
        /// What it is made from.
        spec: ContainerSpec,
    },
    /// A pod none of whose containers run yet. Their images are pulled first if the engine does not
    /// have them.
    #[serde(rename = "create_pod")]
    Pod {
        /// Its name, for people and as its host name in the bay's network.
        name: String,
        /// The bay whose network it joins; refused if the network does not exist.
        bay_id: ObjectId,
        /// What it is made from.
        spec: PodSpec,
    },
}

/// What can be changed of a container without recreating it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Adjustment {
    /// The name by which the others in its bay's network reach it; done if it has no other.
    #[serde(rename = "rename_container")]
    Name {
        /// The name; none: its uuid alone.
        name: Option<String>,
        /// The bay whose network it is in.
        bay_id: ObjectId,
    },
    /// Its limits; done if it has them.
    #[serde(rename = "adjust_container")]
    Limits(Limits),
}

/// An object that takes the place of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Replacement {
    /// A container. If it cannot be made, or does not start, the one before it comes back.
    #[serde(rename = "recreate_container")]
    Container(Recreation),
}

/// A container as it is to be made anew. What it needs of its bay's network is made as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recreation {
    /// Its name, for people and as its host name in the bay's network.
    pub name: Option<String>,
    /// The bay whose network it joins.
    pub bay_id: ObjectId,
    /// What it is made from.
    pub spec: ContainerSpec,
    /// Whether it is started.
    pub start: bool,
}

/// A kind of object that is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Removed {
    /// A bay's network.
    #[serde(rename = "delete_network")]
    Network,
    /// A container, by force.
    #[serde(rename = "delete_container")]
    Container,
    /// A pod with all its containers, which are stopped first.
    #[serde(rename = "delete_pod")]
    Pod {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
}

/// How the state of a container can be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Operation {
    /// Start it; done if it runs.
    #[serde(rename = "start_container")]
    Start,
    /// Stop it; done if it does not run.
    #[serde(rename = "stop_container")]
    Stop {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
    /// Stop and start it.
    #[serde(rename = "reboot_container")]
    Reboot {
        /// Seconds between the stop signal and the kill.
        grace_s: u32,
    },
    /// Start the containers of a pod: those that initialise it, each once the one before it has
    /// succeeded, then all others. Done if the others were started.
    #[serde(rename = "start_pod")]
    StartPod,
    /// Freeze it; done if it is frozen.
    #[serde(rename = "pause_container")]
    Pause,
    /// Let it continue; done if it is not frozen.
    #[serde(rename = "unpause_container")]
    Unpause,
    /// Send its process a signal; done if it has ended.
    #[serde(rename = "kill_container")]
    Kill {
        /// `SIGKILL`.
        signal: String,
    },
}

/// What can be done about a command in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Exec {
    /// Run it; the output goes to the reporter. Never done twice.
    #[serde(rename = "execute_in_container")]
    Start {
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// Run it in a container of a pod; the output goes to the reporter. Never done twice.
    #[serde(rename = "execute_in_pod")]
    InPod {
        /// The container's name in the manifest.
        container: String,
        /// The command and its arguments.
        command: Vec<String>,
    },
    /// End one that runs; done if it has ended.
    #[serde(rename = "end_execution")]
    End {
        /// The work that runs the command.
        execution_id: WorkId,
    },
}

/// In which order work on one object is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    Queue,
    /// At once, whatever else is under way.
    Beside,
    /// At once where a process is waited for ([`Load::Wait`]), which this may end; otherwise in the
    /// queue.
    PastWaits,
    /// Before all that is queued, after what is under way was cancelled (rule W5).
    Overtakes,
}

/// What work costs its node, which bounds how much of each is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// It may pull an image.
    Create,
    /// It waits for a process to end.
    Wait,
    /// It holds a connection for as long as a command runs.
    Command,
    /// The engine answers at once.
    Quick,
}

/// How work of a kind is handled, apart from what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// In which order it is done.
    pub order: Order,
    /// What it costs.
    pub load: Load,
    /// Whether it is done again if it is unknown whether it was done.
    pub repeatable: bool,
    /// How long an attempt may take; `None` if it may take for ever.
    pub limit: Option<Duration>,
    /// Whether the container is inspected before: this work takes the place of an end that came
    /// before it and was not seen yet.
    pub inspect_before: bool,
}

impl Traits {
    /// Those of most work.
    pub const PLAIN: Self = Self {
        order: Order::Queue,
        load: Load::Quick,
        repeatable: true,
        limit: Some(ATTEMPT),
        inspect_before: false,
    };
}

impl Action {
    /// What it does to the object.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Apply(_) => Verb::Create,
            Self::Adjust(Adjustment::Name { .. }) => Verb::Rename,
            Self::Adjust(Adjustment::Limits(_)) => Verb::Adjust,
            Self::Replace(_) => Verb::Recreate,
            Self::Remove(_) => Verb::Delete,
            Self::Do(operation) => operation.verb(),
            Self::Exec(Exec::Start { .. } | Exec::InPod { .. }) => Verb::Execute,
            Self::Exec(Exec::End { .. }) => Verb::EndExecution,
        }
    }

    /// Whether it makes a container anew and starts it.
    pub const fn starts_anew(&self) -> bool {
        matches!(self, Self::Replace(Replacement::Container(Recreation { start: true, .. })))
    }

    /// Whether it runs a command.
    pub const fn is_command(&self) -> bool {
        matches!(self.verb(), Verb::Execute)
    }

    /// Its verb in events and messages: `start`.
    pub const fn name(&self) -> &'static str {
        self.verb().name()
    }

    /// How it is handled.
    pub fn traits(&self) -> Traits {
        match self {
            Self::Apply(Desired::Network) | Self::Adjust(_) => Traits::PLAIN,
            Self::Apply(Desired::Container { .. } | Desired::Pod { .. }) => {
                Traits { load: Load::Create, ..Traits::PLAIN }
            }
            Self::Replace(_) => {
                Traits { load: Load::Create, inspect_before: true, ..Traits::PLAIN }
            }
            Self::Remove(Removed::Network | Removed::Container) => {
                Traits { order: Order::Overtakes, ..Traits::PLAIN }
            }
            Self::Remove(Removed::Pod { .. }) => {
                Traits { order: Order::Overtakes, load: Load::Wait, ..Traits::PLAIN }
            }
            Self::Do(operation) => operation.traits(),
            Self::Exec(Exec::Start { .. } | Exec::InPod { .. }) => Traits {
                order: Order::Beside,
                load: Load::Command,
                repeatable: false,
                limit: None,
                inspect_before: false,
            },
            Self::Exec(Exec::End { .. }) => {
                Traits { order: Order::Beside, load: Load::Wait, ..Traits::PLAIN }
            }
        }
    }
}

impl Operation {
    const fn verb(&self) -> Verb {
        match self {
            Self::Start | Self::StartPod => Verb::Start,
            Self::Stop { .. } => Verb::Stop,
            Self::Reboot { .. } => Verb::Reboot,
            Self::Pause => Verb::Pause,
            Self::Unpause => Verb::Unpause,
            Self::Kill { .. } => Verb::Kill,
        }
    }

    fn traits(&self) -> Traits {
        match self {
            Self::Start | Self::Pause | Self::Unpause => Traits::PLAIN,
            // What initialises a pod may take for ever.
            Self::StartPod => Traits { load: Load::Wait, limit: None, ..Traits::PLAIN },
            Self::Stop { .. } | Self::Reboot { .. } => {
                Traits { load: Load::Wait, inspect_before: true, ..Traits::PLAIN }
            }
            // A process may handle any other signal, and then each counts.
            Self::Kill { signal } => {
                let repeatable = matches!(signal.trim_start_matches("SIG"), "KILL" | "9");
                Traits { repeatable, order: Order::PastWaits, ..Traits::PLAIN }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_an_action_is_flat() {
        let kill = Operation::Kill { signal: "SIGKILL".to_owned() };
        for (action, json) in [
            (Action::Apply(Desired::Network), r#""create_network""#),
            (Action::Remove(Removed::Network), r#""delete_network""#),
            (Action::Remove(Removed::Container), r#""delete_container""#),
            (Action::Do(Operation::Start), r#""start_container""#),
            (Action::Do(kill), r#"{"kill_container":{"signal":"SIGKILL"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&action).unwrap(), json);
            assert_eq!(serde_json::from_str::<Action>(json).unwrap(), action);
        }
    }
}

//! What an event asks for: an action of a node's backend, or something that the conductor does.
//!
//! Not here: who does it (`actors/reactor`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::backends::{Action, Order, Traits, Work};
use crate::events::Verb;

/// What is to be done, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Effect {
    /// A backend does it.
    Engine(Action),
    /// The conductor does it, by commands to other objects.
    Conductor(Cascade),
}

/// What the conductor does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cascade {
    /// Delete all containers of a bay.
    EmptyBay,
}

/// How an effect is kept in a snapshot: as JSON text, since the codec of snapshots is positional
/// and cannot read an enum that has no tag.
pub mod kept {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Effect;

    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(effect: &Effect, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return effect.serialize(serializer);
        }
        let text = serde_json::to_string(effect).map_err(S::Error::custom)?;
        serializer.serialize_str(&text)
    }

    /// Reads it.
    ///
    /// # Errors
    /// Those of the deserializer, and text that is not an effect.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Effect, D::Error> {
        if deserializer.is_human_readable() {
            return Effect::deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(D::Error::custom)
    }
}

/// Work of either that is due.
pub type DueWork = Work<Effect>;

/// The same, sorted.
pub enum Due {
    /// For the node's agent.
    Engine(Work),
    /// For the conductor.
    Conductor(Work<Cascade>),
}

impl From<Action> for Effect {
    fn from(action: Action) -> Self {
        Self::Engine(action)
    }
}

impl From<DueWork> for Due {
    fn from(work: DueWork) -> Self {
        match work.action.clone() {
            Effect::Engine(action) => Self::Engine(work.with(action)),
            Effect::Conductor(cascade) => Self::Conductor(work.with(cascade)),
        }
    }
}

impl Effect {
    /// What it does to the object.
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Engine(action) => action.verb(),
            Self::Conductor(Cascade::EmptyBay) => Verb::Empty,
        }
    }

    /// Its verb in events and messages: `start`.
    pub const fn name(&self) -> &'static str {
        self.verb().name()
    }

    /// How it is handled. A bay is empty when its containers are gone, each by work of its own, so
    /// that has no limit.
    pub fn traits(&self) -> Traits {
        match self {
            Self::Engine(action) => action.traits(),
            Self::Conductor(Cascade::EmptyBay) => {
                Traits { order: Order::Overtakes, limit: None, ..Traits::PLAIN }
            }
        }
    }
}

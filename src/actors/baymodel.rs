//! A baymodel: what can be asked of it.

use serde::{Deserialize, Serialize};

use crate::events::baymodel::BaymodelFields;
use crate::events::work::FieldChange;

/// What can be asked of a baymodel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaymodelCommand {
    /// Make it.
    Create {
        /// All of it.
        fields: BaymodelFields,
    },
    /// Set fields: any of [`BaymodelFields`], as named in the REST API.
    Update {
        /// In the order of the patch.
        changes: Vec<FieldChange>,
    },
    /// Remove it; refused while bays are made from it.
    Delete {
        /// How many bays are.
        bays: u64,
    },
}

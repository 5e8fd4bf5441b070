//! What queries know of baymodels.

use serde::{Deserialize, Serialize};

use super::Head;
use crate::events::baymodel::BaymodelFields;

/// A baymodel as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaymodelView {
    /// What every view has.
    pub head: Head,
    /// All that it holds.
    pub fields: BaymodelFields,
}

//! The state of a noun without work and status: whose an object is, and whether it is there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Fact;
use crate::events::EventPayload;
use crate::ids::{ObjectId, ProjectId};

/// What the events of an object fold to that has no work and no status.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Record {
    pub(super) project: Option<ProjectId>,
    pub(super) id: ObjectId,
    pub(super) present: bool,
}

impl Record {
    /// Takes in an event: the first one makes the object.
    pub fn apply<E: EventPayload>(&mut self, event: &E, fact: Fact<'_>) {
        if event.is_end() {
            self.present = false;
        } else if !self.present {
            let project = Some(ProjectId(fact.project.to_owned()));
            *self = Self { project, id: fact.object, present: true };
        }
    }
}

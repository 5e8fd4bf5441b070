//! The state of a noun without work: whose an object is, and its status.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fact, ObjectState};
use crate::events::status::Status;
use crate::ids::{ObjectId, ProjectId};

/// What the events of an object fold to that has no work.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Record<S> {
    pub(super) project: Option<ProjectId>,
    pub(super) id: ObjectId,
    pub(super) status: S,
}

impl<S: Status> ObjectState for Record<S> {
    fn project(&self) -> Option<&ProjectId> {
        self.project.as_ref()
    }
}

impl<S: Status> Record<S> {
    /// Takes in an event: the first one makes the object.
    pub fn apply(&mut self, event: &S::Event, fact: Fact<'_>) {
        let was_gone = self.status.is_gone();
        self.status = self.status.after(event);
        if was_gone && !self.status.is_gone() {
            (self.project, self.id) = (Some(ProjectId(fact.project.to_owned())), fact.object);
        }
    }
}

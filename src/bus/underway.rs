//! What a node says of work in progress that is not recorded.
//!
//! Not here: steps and outcomes, which are commands to the object (`message`).

use serde::{Deserialize, Serialize};

use super::message::Place;
use super::wire::messages;
use crate::backends::{Progress, Work};
use crate::ids::{ObjectId, WorkId};
use crate::text;

messages! {
    Underway = "underway";
}

/// How far an attempt at work is, between the steps that are recorded. It is transient: nothing of
/// it is kept, only the latest counts, and any of it may be lost, come twice or be late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underway {
    /// The node that does it.
    pub node_id: ObjectId,
    /// The work.
    pub work_id: WorkId,
    /// Which attempt.
    pub attempt: u32,
    /// Its place among what the node says.
    pub place: Place,
    /// How far it is, in the words of the last step that was recorded.
    pub progress: Progress,
}

impl Underway {
    /// Of an attempt, with words of bounded length.
    pub fn new(work: &Work, place: Place, mut progress: Progress) -> Self {
        progress.message = text::words(&progress.message);
        let (node_id, work_id, attempt) = (work.node_id, work.id, work.attempt);
        Self { node_id, work_id, attempt, place, progress }
    }
}

//! Actions on an existing container, besides changing its fields, and what pods share with it:
//! commands that run inside, and output.

pub mod action;
pub mod collected;
pub mod execute;
pub mod execution;
pub mod executions;
pub mod logs;
pub mod raw;

use super::edge::request::Call;
use super::error::ApiError;
use super::resource::Resource;
use crate::ids::{EventId, ObjectId, StreamId, WorkId};
use crate::projections::container::Execution;

/// Something in which commands run, and which has output.
pub trait Executes: Resource {
    /// Arguments that each of these requests takes.
    const ARGUMENTS: &'static [&'static str];

    /// The object.
    fn stream(&self) -> StreamId {
        StreamId::new(Self::KIND, self.head().uuid)
    }

    /// Its node.
    fn node_id(&self) -> ObjectId;

    /// The commands that run in it, the oldest first.
    fn executions(&self) -> &[Execution];

    /// Whether this command runs in it.
    fn runs(&self, id: WorkId) -> bool {
        self.executions().iter().any(|execution| execution.id == id)
    }

    /// The container that is meant, if it consists of several.
    ///
    /// # Errors
    /// When it has no such container.
    fn container(&self, call: &Call) -> Result<Option<String>, ApiError>;

    /// The command that runs one in it.
    ///
    /// # Errors
    /// When it has no such container.
    fn execute(&self, call: &Call, command: Vec<String>) -> Result<Self::Command, ApiError>;

    /// The command that ends one.
    fn end_execution(execution_id: EventId) -> Self::Command;
}

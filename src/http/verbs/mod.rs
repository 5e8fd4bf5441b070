//! What can be done with a container that is there, besides changing its record.

pub mod action;
pub mod execute;
pub mod executions;
pub mod logs;

//! Actions on an existing container, besides changing its fields.

pub mod action;
pub mod collected;
pub mod execute;
pub mod execution;
pub mod executions;
pub mod logs;
pub mod raw;

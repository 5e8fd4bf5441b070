//! What runs beside an engine: `worker` does a node's work, `reconciler` compares the engine with
//! the record, `outbox` delivers outcomes until they are recorded.
//!
//! Not here: when work is due (`actors/reactor`), how an engine is driven (`backends`).

pub mod outbox;
pub mod reconciler;
pub mod worker;

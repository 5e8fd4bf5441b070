//! What runs beside an engine: `worker` takes a node's work, `lanes` puts it in order, `slots` says
//! how much of it at once, `node` does it (`pace`: how often it says how far it is), `spool` keeps
//! what commands wrote; `reconciler` reports what the engine has, `presence` that all of this is
//! there.
//!
//! Not here: when work is due (`actors/reactor`), how an engine is driven (`backends`), what is on
//! record: an agent asks for none of it.

mod lanes;
pub mod node;
mod pace;
pub mod presence;
pub mod reconciler;
mod slots;
pub mod spool;
pub mod worker;

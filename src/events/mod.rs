//! Facts: what an event is, how it is written as bytes and as JSON, and the log that keeps it.
//!
//! `envelope` is what surrounds every event, `codec` how payloads become bytes, one file a noun its
//! payloads and its status (`abandoned`: of what is given up), `run` and `signal` what is told of a
//! container's process, `mark` what they mean, `upcast` how old ones become present ones, `schema`
//! what they look like in JSON, `claim` the names that they take, `log` the engines, `subscription`
//! how readers follow the log, `newest` what they share, `cloudevent` what they get. Not here: how
//! facts are decided (`actors`) or shown (`projections`, `http`).

mod abandoned;
pub mod audit;
pub mod bay;
pub mod baymodel;
pub mod claim;
pub mod cloudevent;
pub mod codec;
pub mod container;
mod container_change;
mod container_spec;
pub mod envelope;
pub mod log;
pub mod mark;
pub mod newest;
pub mod node;
pub mod pod;
pub mod run;
pub mod schema;
pub mod signal;
pub mod status;
pub mod subscription;
pub mod upcast;
pub mod work;

pub use codec::{DecodeError, EventPayload};
pub use envelope::{EventRef, EventType, Meta, MetaStart, NewEvent, Recorded};
pub use mark::{Mark, Verb};

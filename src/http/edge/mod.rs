//! What a request passes before any handler: authentication (`auth`, `identity`, `keystone`, `known`,
//! `validated`, `caller`), rights (`policy`), parsing (`request`), audit records (`audit`) and metrics (`requests`); and what handlers can reach
//! (`state`, `places`).
//!
//! Not here: the order in which a request passes them (`service`).

pub mod audit;
pub mod auth;
pub mod caller;
pub mod identity;
mod keystone;
mod known;
pub mod places;
pub mod policy;
pub mod request;
pub mod requests;
pub mod state;
mod validated;

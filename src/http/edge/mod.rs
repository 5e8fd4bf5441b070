//! What a request passes before any handler: whether it is for this server (`host`) and not from a
//! foreign page (`page`), authentication (`auth`, `keystone`, `caller`), parsing (`request`,
//! `json`, `digest`), audit records (`audit`) and metrics (`requests`); and what handlers can reach
//! (`state`, `places`).
//!
//! Not here: the order in which a request passes them (`service`).

pub mod audit;
pub mod auth;
pub mod caller;
pub mod digest;
pub mod host;
mod json;
pub mod keystone;
pub mod page;
pub mod places;
pub mod request;
pub mod requests;
pub mod state;

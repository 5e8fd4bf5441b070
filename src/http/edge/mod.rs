//! What a request passes before any handler: authentication (`auth`, `keystone`, `caller`), parsing
//! (`request`), audit records (`audit`), large answers (`answers`) and metrics (`requests`); and
//! what handlers can reach (`state`, `places`).
//!
//! Not here: the order in which a request passes them (`service`).

pub mod answers;
pub mod audit;
pub mod auth;
pub mod caller;
pub mod keystone;
pub mod places;
pub mod request;
pub mod requests;
pub mod state;

//! What a request passes before any handler: who asks (`auth`, `identity`; of `source`: `keystone`
//! with `known` and `validated`, or `tokens` with `token_file`; `session`, `caller`), what they may
//! do (`policy`), parsing (`request`), audit records (`audit`) and metrics (`requests`); and what
//! handlers can reach (`state`, `places`).
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
pub mod session;
mod source;
pub mod state;
pub mod token_file;
mod tokens;
mod validated;

//! What a request passes before any handler: whether it is for this server (`host`) and not from a
//! foreign page (`page`); who asks (`auth`, `identity`; of `source`: `keystone` with `known`,
//! `trouble`, `validated` and `access_rules`, or `tokens` with `token_file`; `session`, `caller`),
//! what they may do (`policy`), parsing (`request`, `received`, `digest`), audit records (`audit`),
//! large answers (`answers`), the access log (`access`) and metrics (`requests`, `tally`); and what
//! handlers can reach (`state`, `places` with `turns`).
//!
//! Not here: the order in which a request passes them (`service`).

pub mod access;
mod access_rules;
pub mod answers;
pub mod audit;
pub mod auth;
pub mod caller;
pub mod digest;
pub mod host;
pub mod identity;
mod keystone;
mod known;
pub mod page;
pub mod places;
pub mod policy;
pub mod received;
pub mod request;
pub mod requests;
pub mod session;
mod source;
pub mod state;
pub mod tally;
pub mod token_file;
mod tokens;
mod trouble;
pub mod turns;
mod validated;

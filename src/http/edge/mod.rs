//! What a request meets before any handler: who asks and whether they may (`auth`, `keystone`,
//! `caller`), what it says (`request`), what is recorded of it (`audit`) and counted (`requests`),
//! and what a handler can reach (`state`, `places`).
//!
//! Not here: the order in which a request passes them (`service`).

pub mod audit;
pub mod auth;
pub mod caller;
pub mod keystone;
pub mod places;
pub mod request;
pub mod requests;
pub mod state;

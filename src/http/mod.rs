//! The REST API: the way in for users, and the way out for what is recorded.
//!
//! In reading order: `routes` (every path), `listener`, `connections`, `tls`, `head` with
//! `head_limits`, and `progress` with `deadline` (connections), `service` (what every request
//! passes), `edge/` (who asks, whether they may, what it says), `input/` (bodies), what every noun
//! has (`resource`) and one file a noun with its own, `command` (asking and waiting), `verbs/`
//! (what is done with containers), `shape` with `underway`, `respond` and `compress`, `error` with
//! `error_body` and `error_from`, `keys` (sealing and erasing), `session` (browsers). Then
//! `stream/` (the log for readers), `schema`, `replay` (what was, and why), `health`, `metrics`
//! with `survey` and `exposition`, and what all of it promises: `openapi`, `parameters`,
//! `security`, `refusals`, `form`.
//! Not here: decisions (`actors`), views (`projections`).

mod bay;
mod baymodel;
mod command;
mod compress;
mod connections;
mod container;
mod deadline;
mod defaults;
mod discovery;
pub mod edge;
mod error;
mod error_body;
mod error_from;
mod exposition;
mod form;
mod head;
mod head_limits;
mod health;
mod identity;
mod input;
mod keys;
mod list;
mod list_past;
mod listener;
mod metrics;
mod node;
mod openapi;
mod parameters;
mod pod;
mod progress;
mod read;
mod refusals;
mod replay;
mod resource;
mod respond;
mod route;
mod routes;
mod schema;
mod security;
mod server;
mod service;
mod session;
pub(crate) mod shape;
mod stream;
mod survey;
mod text;
mod tls;
mod underway;
mod validity;
mod verbs;

pub use edge::policy::document as policy_document;
pub use edge::state::{AppState, Parts};
pub use routes::openapi_document;
pub use server::serve;
pub use service::service;
pub use tls::Tls;
pub use underway::LatestNews;

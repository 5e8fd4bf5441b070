//! Magnum: container infrastructure management as an event-sourced actor system.
//!
//! In reading order: `nouns` (the one table of them); `ids` and `clock`; `text` (what others say);
//! `time_text` (how people write times); `json` (without a name that stands twice); `command_line`
//! (how lines become words); `blocking` (what may take long); `files` (who may read them);
//! `secrets` (what can be erased); `credentials` (identity towards Keystone); `image`, `addresses`,
//! `sources` and `allowed` (what tenants may use of the host); `manifest` (what Kubernetes runs);
//! `events` (facts and the log that keeps them); `backends` (work and its outcomes); `bus`
//! (messages between the parts); `actors` (decisions, and what runs them); `agent` (what runs
//! beside an engine); `projections` (read models); `replay` (states and causes as of any position);
//! `http` and `cli` (the interfaces); `config` and `app` (composition).

pub mod nouns;

pub mod ids;

pub mod clock;

pub mod text;
pub mod time_text;

pub mod json;

pub mod command_line;

pub mod blocking;

pub mod files;

pub mod secrets;

pub mod credentials;

pub mod image;

pub mod addresses;

pub mod sources;

pub mod allowed;

pub mod manifest;

pub mod events;

pub mod backends;

pub mod bus;

pub mod actors;

pub mod agent;

pub mod projections;

pub mod replay;

pub mod http;

pub mod cli;

pub mod config;

pub mod app;

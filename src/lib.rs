//! Magnum: container infrastructure management as an event-sourced actor system.
//!
//! In reading order: `ids` and `clock`; `blocking` (what may take long); `secrets` (what can be erased); `credentials` (who one is
//! to Keystone); `events` (facts and the log that keeps them); `backends` (work and what comes of
//! it); `bus` (what travels between the parts); `actors` (decisions, and who carries them out); `agent` (what runs
//! beside an engine);
//! `projections` (read models); `replay` (what was, and why); `http` and `cli` (the way in);
//! `config` and `app` (how it is put together).

pub mod ids;

pub mod clock;

pub mod blocking;

pub mod secrets;

pub mod credentials;

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

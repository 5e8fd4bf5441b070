//! One integration binary: one file a noun, a port contract, a fault.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so by panicking"
)]

mod acting;
mod archive;
mod audit;
mod backend;
mod backup;
mod bay;
mod baymodel;
mod bounded;
mod browser;
mod bus;
mod cli;
mod client;
mod clock;
mod command_line;
mod compressed;
mod container;
mod crash;
mod crash_points;
mod decisions;
mod door;
mod doubt;
mod drift;
mod entity;
mod evolution;
mod execution;
mod faults;
mod files;
mod force;
mod harness;
mod host;
mod incident;
mod install;
mod keystone;
mod lifecycle;
mod log;
mod log_archive;
mod log_around;
mod log_events;
mod log_held;
mod log_names;
mod log_scrub;
mod log_segment;
mod log_tools;
mod log_writer;
mod lossy;
mod lossy_bus;
mod metrics;
mod names;
mod node;
mod noun;
mod openapi;
mod openapi_client;
mod overtake;
mod pasted;
mod pod;
mod projections;
mod reactor;
mod recreate;
mod replay;
mod replay_bundle;
mod replay_json;
mod replay_step;
mod replay_verify;
mod replay_ways;
mod requests;
mod rights;
mod runs;
mod schemathesis;
mod secrets;
mod service_log;
mod snapshot;
mod stream;
mod stream_audit;
mod stream_client;
mod stream_curl;
mod stream_filter;
mod stream_killed;
mod stream_last;
mod stream_slow;
mod stream_snapshot;
mod tenancy;
mod tls;
mod tokens;
mod tour;
mod underway;
mod values;
mod watcher;
mod words;
mod worker;

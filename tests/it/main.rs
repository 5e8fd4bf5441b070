//! One integration binary: one file a noun, a port contract, a fault.

mod backend;
mod bay;
mod baymodel;
mod cli;
mod client;
mod container;
mod crash;
mod faults;
mod harness;
mod log;
mod log_disk;
mod log_segment;
mod node;
mod openapi;
mod projections;
mod stream;

//! The log for readers: in pages (`pages`) and as a stream (`follow`).
//!
//! Which events (`filter`), from where (`start`), or the last ones (`earlier`), and how many at
//! once (`bounds`); what a reader gets next (`reader`), the current state before that (`snapshot`),
//! items (`item`) and their encoding (`form`).

mod bounds;
pub mod earlier;
pub mod filter;
pub mod follow;
mod form;
mod item;
pub mod pages;
mod reader;
mod snapshot;
mod start;

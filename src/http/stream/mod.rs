//! The log for readers: in pages (`pages`) and as a stream (`follow`).
//!
//! Which events (`filter`), from where on (`start`); what a reader gets next (`reader`), before
//! that the present state (`snapshot`), as what (`item`) and how it is written (`form`).

mod filter;
pub mod follow;
mod form;
mod item;
pub mod pages;
mod reader;
mod snapshot;
mod start;

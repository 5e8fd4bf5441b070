//! What clients may write: bodies (`body`), PATCH (`patch`), plain values (`value`), moments
//! (`time`), values of containers (`container`), and all of it as schemas (`rule`); what they
//! write without effect (`ignored`), and manifests that they name by a URL (`manifest_url`).
//!
//! Not here: which fields a noun has, and by which rule (the tables in `projections`), JSON
//! (`json`), what a manifest must have (`manifest`).

pub mod body;
pub mod container;
pub mod ignored;
pub mod manifest_url;
pub mod patch;
pub mod rule;
pub mod time;
pub mod value;

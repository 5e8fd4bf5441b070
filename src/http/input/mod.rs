//! What clients may write: JSON (`json`), bodies (`body`), PATCH (`patch`), plain values (`value`),
//! moments (`time`), values of containers (`container`), and all of it as schemas (`rule`); and
//! what they write without effect (`ignored`).
//!
//! Not here: which fields a noun has, and by which rule (the tables in `projections`).

pub mod body;
pub mod container;
pub mod ignored;
pub mod json;
pub mod patch;
pub mod rule;
pub mod time;
pub mod value;

//! What clients may write: JSON (`json`), bodies (`body`), PATCH (`patch`), plain values (`value`), moments (`time`),
//! those of containers (`container`), what is ignored (`ignored`), and all of it as schemas (`rule`).
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

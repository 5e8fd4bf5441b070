//! What clients may write: JSON (`json`), bodies (`body`), PATCH (`patch`), plain values (`value`),
//! those of containers (`container`), and all of it as schemas (`rule`).
//!
//! Not here: which fields a noun has, and by which rule (the tables in `projections`).

pub mod body;
pub mod container;
pub mod json;
pub mod patch;
pub mod rule;
pub mod value;

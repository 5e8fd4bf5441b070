//! What clients may write: bodies (`body`), PATCH (`patch`), plain values (`value`) and those of
//! containers (`container`).
//!
//! Not here: which fields a noun has, and by which rule (the tables in `projections`).

pub mod body;
pub mod container;
pub mod patch;
pub mod value;

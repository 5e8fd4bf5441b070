//! What clients may write: fields and their rules (`field`), PATCH (`patch`), what a container is
//! made from (`container`).

pub mod container;
pub mod field;
pub mod patch;

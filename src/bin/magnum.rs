//! The `magnum` program: the CLI, and `magnum serve`.

fn main() {}

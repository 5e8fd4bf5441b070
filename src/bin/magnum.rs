//! The `magnum` program: the CLI, and `magnum serve`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    magnum::cli::main()
}

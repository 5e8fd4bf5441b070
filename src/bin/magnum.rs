//! The `magnum` program: the CLI, and `magnum serve`.

use std::process::ExitCode;

fn main() -> ExitCode {
    magnum::cli::main()
}

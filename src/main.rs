//! The program: the command line, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(rollback_manager::cli::main(std::env::args_os().collect()))
}

//! The program: the command line, and nothing else.

use std::process::ExitCode;

use anyhow::Context as _;

fn main() -> anyhow::Result<ExitCode> {
    rollback_manager::cli::main(std::env::args_os().collect())
        .map(ExitCode::from)
        .context("this is a mistake of ours")
}

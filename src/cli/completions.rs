//! `rollback completions SHELL` and `rollback man`.

use clap::Command;

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::cli::output::print;

/// Prints the completions of a shell.
///
/// # Errors
/// None that can be met today; the signature is that of every command.
pub fn completions(shell: clap_complete::Shell, mut command: Command) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "rollback", &mut text);
    print(&String::from_utf8_lossy(&text));
    Ok(ExitCode::Done)
}

/// Prints the manual page.
///
/// # Errors
/// Where it can't be rendered.
pub fn man(command: Command) -> Result<ExitCode> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| Error::io("render the manual page", &error))?;
    print(&String::from_utf8_lossy(&text));
    Ok(ExitCode::Done)
}

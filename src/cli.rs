//! The command line: one file a command. Data goes to stdout, everything else to stderr.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::panic;
use crate::base::terminal::Style;
use crate::cli::output::print;
use crate::cli::shared::{Everywhere, say};
use crate::host::transaction;
use crate::workspace::Workspace;

/// `rollback alert`.
pub mod alert;

/// `rollback apply`.
pub mod apply;

/// `rollback audit`.
pub mod audit;

/// `rollback backup`.
pub mod backup;

/// Which stories, where none was named.
mod choose;

/// `rollback completions` and `rollback man`.
pub mod completions;

/// `rollback demo`.
pub mod demo;

/// What happens inside, for whoever looks for a reason.
pub mod diagnostics;

/// `rollback doctor`.
pub mod doctor;

/// `rollback feature`.
pub mod feature;

/// `rollback history` and `rollback show`.
pub mod history;

/// `rollback init`.
pub mod init;

/// `rollback monitor`.
pub mod monitor;

/// Standard output.
mod output;

/// What all commands share.
mod shared;

/// What happens in a run, as lines for people or as JSON lines.
pub mod progress;

/// `rollback prune`.
pub mod prune;

/// `rollback recover`.
pub mod recover;

/// The one renderer of failures.
pub mod render;

/// `rollback report`.
pub mod report;

/// `rollback run` and `rollback plan`.
pub mod run;

/// `rollback script`.
pub mod script;

/// `rollback status`.
pub mod status;

/// How far a long operation is.
pub mod ticker;

/// `rollback trust`.
pub mod trust;

/// `rollback undo`.
pub mod undo;

/// `rollback validate`.
pub mod validate;

#[cfg(test)]
mod schemas;

/// Rolls back what was rolled out, safely: preview, confirmation, audit, undo.
#[derive(Debug, Parser)]
#[command(
    name = "rollback",
    version,
    about,
    disable_help_subcommand = true,
    subcommand_required = true
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub everywhere: Everywhere,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Roll stories back: 1.3, 1.5,1.6, all, a feature's name, or the path of a script
    #[command(alias = "rollback")]
    Run(run::RunArguments),
    /// Show what a run would do, and change nothing
    Plan(run::PlanArguments),
    /// Do exactly what a plan's file says, or nothing
    Apply(apply::Arguments),
    /// Every story: flag, what of it is present, last run, backups
    Status,
    /// The validation checklist alone; changes nothing
    Validate(validate::Arguments),
    /// Take a run back (by default the newest rollback that is not undone)
    Undo(undo::Arguments),
    /// Settle a run that was cut off, then take it back or go on
    Recover(recover::Arguments),
    /// All runs
    History,
    /// One run
    Show {
        /// The run's id
        run: String,
    },
    /// The report of a run: text, JSON, Markdown or HTML
    Report(report::Arguments),
    /// The feature flags, with dependencies and cascade
    Feature {
        /// What to do
        #[command(subcommand)]
        command: feature::Command,
    },
    /// The audit log
    Audit {
        /// What to do
        #[command(subcommand)]
        command: audit::Command,
    },
    /// Backups
    Backup {
        /// What to do
        #[command(subcommand)]
        command: backup::Command,
    },
    /// Channels of alerts, and what waits for them
    Alert {
        /// What to do
        #[command(subcommand)]
        command: alert::Command,
    },
    /// Remove backups and run stores that nobody wants kept
    Prune(prune::Arguments),
    /// Watch triggers, tell, and (only where configured) roll back
    Monitor(monitor::Arguments),
    /// Words and stories
    Script {
        /// What to do
        #[command(subcommand)]
        command: script::Command,
    },
    /// What this machine can do of what the promises rest on, and why not
    Doctor,
    /// Directories whose files are obeyed though others can write them
    Trust(trust::Arguments),
    /// Make this directory a workspace
    Init {
        /// The directory; by default this one
        directory: Option<PathBuf>,
    },
    /// Make a throw-away workspace, roll a story back in it, and show what happened
    Demo(demo::Arguments),
    /// Completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The manual page
    Man,
}

/// Stacks for the program's thread, in bytes; the first that the system gives is taken. Values of a script nest as deeply
/// as its limits allow, and the engine copies, compares and drops them by recursion. What is not used costs nothing.
const STACKS: [usize; 3] = [1 << 30, 256 << 20, 64 << 20];

/// Runs the program with these arguments; the first is the program's name. All of it happens in one thread with a stack
/// of its own. Gives the exit code.
///
/// # Errors
/// Of kind `Bug` where that thread came to grief, so that nobody has told why.
pub fn main(arguments: Vec<OsString>) -> Result<u8> {
    if let Some(code) = transaction::play(&arguments) {
        return Ok(code);
    }
    panic::silence();
    for stack in STACKS {
        let arguments = arguments.clone();
        let started = std::thread::Builder::new()
            .stack_size(stack)
            .spawn(move || answer(arguments));
        if let Ok(thread) = started {
            return thread
                .join()
                .map_err(|_| Error::bug("the program's thread panicked"));
        }
    }
    Ok(answer(arguments))
}

fn answer(arguments: Vec<OsString>) -> u8 {
    let arguments_want_json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(with_run(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() {
                ExitCode::Usage
            } else {
                ExitCode::Done
            };
            if !error.use_stderr() {
                output::print_page(&error);
            } else if arguments_want_json {
                print(&format!("{}\n", render::error_json(&usage_of(&error))));
            } else {
                let _ = error.print();
            }
            return ended(code, false);
        }
    };
    let everywhere = cli.everywhere.clone();
    let code = match panic::guard(|| diagnostics::begin(&everywhere).and_then(|()| dispatch(&cli))) {
        Ok(code) => code,
        Err(error) => {
            let error = to_recover(&everywhere, error);
            if everywhere.json {
                print(&format!("{}\n", render::error_json(&error)));
            }
            let style = Style::of(&std::io::stderr(), everywhere.no_color);
            if !everywhere.json || everywhere.verbose > 0 || output::is_incomplete() {
                say(&render::error_with_causes(&error, &style, everywhere.verbose > 0));
            }
            error.exit_code()
        }
    };
    ended(code, everywhere.no_color)
}

/// The program's exit code; says what could not be written.
fn ended(code: ExitCode, no_color: bool) -> u8 {
    let (code, unwritten) = output::settle(code);
    if let Some(error) = unwritten {
        say(&render::error(&error, &Style::of(&std::io::stderr(), no_color)));
    }
    code.number()
}

/// A mistake of ours may have cut a run off: then what to do is told, and only then.
fn to_recover(everywhere: &Everywhere, error: Error) -> Error {
    let is_cut = || {
        let workspace = Workspace::find(everywhere.workspace.as_deref()).ok()?;
        workspace.state().join("active").is_file().then_some(())
    };
    if error.kind() != crate::base::error::Kind::Bug || error.hint_text().is_some() || is_cut().is_none() {
        return error;
    }
    error.hint("what was done is in the audit log: `rollback audit show`; `rollback recover` settles it")
}

/// What clap says of a command line, as an error of ours.
fn usage_of(error: &clap::Error) -> Error {
    let text = error.render().to_string();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let message = lines.next().unwrap_or_default();
    Error::usage(message.strip_prefix("error: ").unwrap_or(message))
        .hint("`rollback --help` and `rollback COMMAND --help` tell what is understood")
}

fn dispatch(cli: &Cli) -> Result<ExitCode> {
    let everywhere = &cli.everywhere;
    match &cli.command {
        Command::Run(arguments) => run::run(everywhere, arguments),
        Command::Plan(arguments) => run::plan(everywhere, arguments),
        Command::Apply(arguments) => apply::apply(everywhere, arguments),
        Command::Status => status::status(everywhere),
        Command::Validate(arguments) => validate::validate(everywhere, arguments),
        Command::Undo(arguments) => undo::undo(everywhere, arguments),
        Command::Recover(arguments) => recover::recover(everywhere, arguments),
        Command::History => history::history(everywhere),
        Command::Show { run } => history::show(everywhere, run),
        Command::Report(arguments) => report::report(everywhere, arguments),
        Command::Feature { command } => feature::feature(everywhere, command),
        Command::Audit { command } => audit::audit(everywhere, command),
        Command::Backup { command } => backup::backup(everywhere, command),
        Command::Alert { command } => alert::alert(everywhere, command),
        Command::Prune(arguments) => prune::prune(everywhere, arguments),
        Command::Monitor(arguments) => monitor::monitor(everywhere, arguments),
        Command::Script { command } => script::script(everywhere, command),
        Command::Doctor => doctor::doctor(everywhere),
        Command::Trust(arguments) => trust::trust(everywhere, arguments),
        Command::Init { directory } => init::init(everywhere, directory.as_deref()),
        Command::Demo(arguments) => demo::demo(everywhere, arguments),
        Command::Completions { shell } => completions::completions(*shell, Cli::command()),
        Command::Man => completions::man(Cli::command()),
    }
}

/// The options of every command that take a value.
const VALUED: [&str; 3] = ["--workspace", "--log-file", "--log-format"];

/// `rollback PATH.rhai ...` is `rollback run PATH.rhai ...`: that is how a shebang calls us.
fn with_run(arguments: Vec<OsString>) -> Vec<OsString> {
    let is_script = |argument: &OsString| {
        Path::new(argument)
            .extension()
            .is_some_and(|extension| extension == "rhai")
    };
    let takes_value = |argument: &OsString| VALUED.iter().any(|option| argument == option);
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        if takes_value(argument) {
            at += 2;
        } else if argument.to_string_lossy().starts_with('-') {
            at += 1;
        } else {
            break;
        }
    }
    let mut arguments = arguments;
    if arguments.get(at).is_some_and(is_script) {
        arguments.insert(at, "run".into());
    }
    arguments
}

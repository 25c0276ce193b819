//! What all commands share: options, the workspace that is meant, the kernel's wall, and where a person is spoken to.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::{output, render};
use crate::base::error::Result;
use crate::base::terminal::Style;
use crate::host::confine::Mode;
use crate::run::Context;
use crate::run::history::History;
use crate::workspace::Workspace;
use crate::workspace::lock::Lock;

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Form {
    /// A line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Everywhere {
    /// The workspace; by default the nearest parent with rollback.yaml or config/feature-flags.yaml
    #[arg(long, global = true, value_name = "DIR", env = "ROLLBACK_WORKSPACE")]
    pub workspace: Option<PathBuf>,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print progress as JSON lines on stderr
    #[arg(long, global = true)]
    pub json_events: bool,
    /// Say more: what is not present, decisions (-vv) and every call (-vvv) with their reasons
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Write decisions and their reasons to this file too (made with mode 0600), in more detail with -vvv
    #[arg(long, global = true, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// How -v and --log-file write what happens inside; JSON lines with --json-events
    #[arg(long, global = true, value_name = "FORM")]
    pub log_format: Option<Form>,
    /// Say nothing but errors and data
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// No colour (NO_COLOR does the same)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Never ask, even at a terminal
    #[arg(long, global = true)]
    pub no_input: bool,
}

impl Everywhere {
    /// How diagnostics are written: as asked for, else as everything else on stderr is.
    #[must_use]
    pub fn log_form(&self) -> Form {
        let other = if self.json_events { Form::Json } else { Form::Text };
        self.log_format.unwrap_or(other)
    }
}

/// Opens the workspace that the command line means.
pub(crate) fn open(everywhere: &Everywhere) -> Result<Context> {
    Context::open(Workspace::find(everywhere.workspace.as_deref())?)
}

/// Has the kernel confine the command from here on. Warns of what the kernel can't do.
///
/// # Errors
/// [`crate::base::error::Kind::Denied`] where the kernel refuses, or can't do what `policy.require_confinement` asks for.
pub(crate) fn confine(everywhere: &Everywhere, context: &Context, mode: Mode) -> Result<()> {
    if mode == Mode::Real {
        output::may_change();
    }
    let warning = context.confine(mode)?;
    if let (Some(warning), false) = (warning, everywhere.quiet) {
        say(&render::warning(
            &warning,
            &Style::of(&std::io::stderr(), everywhere.no_color),
        ));
    }
    Ok(())
}

/// Warns where an earlier run was cut off: reading commands go on.
pub(crate) fn warn_of_unfinished(everywhere: &Everywhere, context: &Context) {
    let Some(run) = History::of(context).unfinished() else {
        return;
    };
    let busy = Lock::take(context.workspace.root()).is_err();
    if everywhere.quiet || busy {
        return;
    }
    let message = format!("run {run} was cut off: `rollback recover` settles it");
    say(&render::warning(
        &message,
        &Style::of(&std::io::stderr(), everywhere.no_color),
    ));
}

/// Writes to stderr.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

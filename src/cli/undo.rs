//! `rollback undo`.

use clap::Args;

use super::progress::Person;
use super::run::Changing;
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::cli::shared::{self, Everywhere};
use crate::host::confine::Mode;
use crate::report::RunKind;
use crate::report::text::Telling;
use crate::run::history::History;
use crate::run::history::undo as taking_back;
use crate::run::history::undo::Chosen;
use crate::run::{Request, alerts};

/// `rollback undo`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The run; by default the newest rollback that is not undone and has something to take back
    pub run: Option<String>,
    /// Only this story of the run; may be given several times
    #[arg(long = "story", value_name = "ID")]
    pub stories: Vec<String>,
    /// Options of changing commands.
    #[command(flatten)]
    pub changing: Changing,
}

/// Takes a run back.
///
/// # Errors
/// What keeps the undo from beginning.
pub fn undo(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let dry_run = arguments.changing.is_dry_run()?;
    let mut context = shared::open(everywhere)?;
    if dry_run {
        shared::confine(everywhere, &context, Mode::DryRun)?;
        shared::warn_of_unfinished(everywhere, &context);
    } else {
        shared::confine(everywhere, &context, Mode::Real)?;
        // First of all: a run that was cut off is not in the history yet, and is what the person means.
        drop(crate::run::begin(&context)?);
    }
    let history = History::of(&context);
    let request = Request {
        kind: RunKind::Undo,
        options: arguments.changing.options(),
        answers: arguments.changing.answers(),
        dry_run,
        only: arguments.stories.clone(),
        ..Request::default()
    };
    let undone = match &arguments.run {
        Some(run) => Chosen::named(history.load(run)?),
        None => taking_back::choose(&context, &request)?,
    };
    let telling = Telling {
        verbose: everywhere.verbose > 0,
        ..Telling::default()
    };
    if dry_run {
        let person = Person::of(everywhere, &context, telling.clone(), false);
        let report = taking_back::carry_out(&context, &undone, &request, &person)?;
        return Ok(super::run::show_outcome(everywhere, &report, &telling));
    }
    super::run::watch_signals(&mut context)?;
    let person = Person::of(everywhere, &context, telling.clone(), true);
    let report = alerts::deliver(&context, taking_back::run(&context, &undone, &request, &person))?;
    Ok(super::run::show_outcome(everywhere, &report, &telling))
}

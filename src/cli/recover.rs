//! `rollback recover`.

use clap::Args;

use super::progress::Person;
use super::run::Changing;
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::cli::shared::{self, Everywhere};
use crate::host::confine::Mode;
use crate::report::text::Telling;
use crate::run::history::recover as settling;
use crate::run::history::recover::Then;
use crate::run::{Request, alerts};

/// `rollback recover`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Take the run back after settling it (the default)
    #[arg(long, conflicts_with = "resume")]
    pub undo: bool,
    /// Roll its stories back again after settling it
    #[arg(long)]
    pub resume: bool,
    /// A secret parameter of the run that was cut off, which is not written down
    #[arg(long = "param", value_name = "K=V", requires = "resume")]
    pub params: Vec<String>,
    /// Options of changing commands.
    #[command(flatten)]
    pub changing: Changing,
}

/// Settles the run that was cut off.
///
/// # Errors
/// Where no run was cut off, or what the second run says.
pub fn recover(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let mut context = shared::open(everywhere)?;
    let active = settling::cut_off(&context)?;
    let then = if arguments.resume {
        Then::Resume
    } else {
        Then::Undo
    };
    let asked = if then == Then::Resume && active.undoes.is_none() {
        let given = super::run::params(&arguments.params)?;
        active.asked.clone().complete(given)?
    } else {
        active.asked.clone()
    };
    let mut request = Request {
        answers: arguments.changing.answers(),
        dry_run: arguments.changing.is_dry_run()?,
        options: asked,
        ..Request::default()
    };
    if let Some(reason) = &arguments.changing.reason {
        request.options.reason = Some(reason.clone());
    }
    if then == Then::Resume && active.undoes.is_none() && !active.asked.stories.is_empty() {
        request.stories = super::run::stories(&mut context, &active.asked.stories)?;
    }
    let telling = Telling {
        verbose: everywhere.verbose > 0,
        ..Telling::default()
    };
    if request.dry_run {
        shared::confine(everywhere, &context, Mode::DryRun)?;
    } else {
        shared::confine(everywhere, &context, Mode::Real)?;
        super::run::watch_signals(&mut context)?;
    }
    let person = Person::of(everywhere, &context, telling.clone(), !request.dry_run);
    let report = alerts::deliver(
        &context,
        settling::run(&context, &active, then, &request, &person),
    )?;
    Ok(super::run::show_outcome(everywhere, &report, &telling))
}

//! `rollback apply`.

use std::path::PathBuf;

use clap::Args;

use super::progress::Person;
use super::run::{Changing, params, show_outcome, show_preview, stories, telling, watch_signals};
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::cli::shared::{self, Everywhere};
use crate::host::confine::Mode;
use crate::run::{Request, alerts, plan_file};

/// The largest plan that is read, in bytes.
const LARGEST: u64 = 256 << 20;

/// `rollback apply`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The file that `rollback plan -o FILE` made
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Options of changing commands.
    #[command(flatten)]
    pub changing: Changing,
    /// A failed run takes itself back
    #[arg(long)]
    pub atomic: bool,
    /// A secret parameter of the plan, which its file does not hold
    #[arg(long = "param", value_name = "K=V")]
    pub params: Vec<String>,
}

/// Does what a plan's file says, or nothing.
///
/// # Errors
/// What keeps the run from beginning.
pub fn apply(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let dry_run = arguments.changing.is_dry_run()?;
    let display = arguments.file.display().to_string();
    let planned = plan_file::read(&display, &text(&arguments.file)?)?;
    let asked = planned.asked.clone().complete(params(&arguments.params)?)?;
    let mut context = shared::open(everywhere)?;
    let mut request = Request {
        options: asked,
        answers: arguments.changing.answers(),
        dry_run,
        atomic: arguments.atomic,
        ..Request::default()
    };
    if let Some(reason) = &arguments.changing.reason {
        request.options.reason = Some(reason.clone());
    }
    request.stories = stories(&mut context, &request.options.stories)?;
    let telling = telling(everywhere, &request.stories);
    if dry_run {
        shared::confine(everywhere, &context, Mode::DryRun)?;
        shared::warn_of_unfinished(everywhere, &context);
        let preview = plan_file::preview_again(&context, &planned, &request)?;
        return Ok(show_preview(everywhere, preview, &telling));
    }
    shared::confine(everywhere, &context, Mode::Real)?;
    watch_signals(&mut context)?;
    let person = Person::of(everywhere, &context, telling.clone(), true);
    let report = alerts::deliver(&context, plan_file::apply(&context, &planned, &request, &person))?;
    Ok(show_outcome(everywhere, &report, &telling))
}

fn text(path: &std::path::Path) -> Result<String> {
    crate::workspace::text(path, LARGEST).map_err(|error| {
        Error::usage(format!("cannot read the plan `{}`: {error}", path.display()))
            .hint("name the file that `rollback plan -o FILE` made")
            .caused_by(error)
    })
}

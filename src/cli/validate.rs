//! `rollback validate`: the checklist and the scripts' own checks, without a run.

use clap::Args;

use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::base::terminal::Style;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere};
use crate::gate::Pass;
use crate::host::confine::Mode;
use crate::pass::{Questions, Silent};
use crate::report::options::Options;
use crate::report::{Flags, RunOutcome, text};
use crate::run::{self, Request, plan};
use crate::view::Errand;

/// `rollback validate`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Stories (1.3, 1.5,1.6, all), features, or the path of a script
    #[arg(required = true, value_name = "STORIES")]
    pub stories: Vec<String>,
    /// A check that rests on something unknown fails
    #[arg(long)]
    pub strict: bool,
}

/// Validates; exit code 1 where a check fails.
///
/// # Errors
/// What the configuration or a script says.
pub fn validate(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let mut context = shared::open(everywhere)?;
    let stories = super::run::stories(&mut context, &arguments.stories)?;
    shared::confine(everywhere, &context, Mode::DryRun)?;
    shared::warn_of_unfinished(everywhere, &context);
    let request = Request {
        stories,
        options: Options {
            strict: arguments.strict,
            ..Options::by_hand()
        },
        dry_run: true,
        ..Request::default()
    };
    let errand = Errand {
        dry_run: true,
        stories: request.stories.iter().map(|story| story.id.clone()).collect(),
        ..Errand::begin(&context.host.clock)
    };
    let session = context.session(
        errand.clone(),
        Pass::Preview,
        Questions::Preview,
        Box::new(Silent),
    )?;
    let started = context.host.clock.timestamp();
    for story in &request.stories {
        run::validate_one(&session, story)?;
    }
    let mut report = plan::report(&session, &request, &errand, started, Flags::default());
    let failed = report
        .checks
        .iter()
        .any(|check| check.fails(context.is_strict(&request)));
    let code = if failed { ExitCode::Failed } else { ExitCode::Done };
    report.outcome = if failed {
        RunOutcome::Failed
    } else {
        RunOutcome::Done
    };
    report.exit_code = code.number();
    let telling = super::run::telling(everywhere, &request.stories);
    if everywhere.json {
        print_json(&serde_json::json!(report));
    } else {
        let style = Style::of(&std::io::stdout(), everywhere.no_color);
        print(&text::validation(&report, &style, &telling));
    }
    Ok(code)
}

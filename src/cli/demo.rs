//! `rollback demo`: a throw-away workspace in which all stories are deployed; 1.3 is shown, rolled back and validated.

use std::path::PathBuf;

use clap::Args;

use super::progress::Person;
use super::run::{show_outcome, telling};
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::cli::output::print;
use crate::cli::shared::{self, Everywhere};
use crate::demo;
use crate::gate::confirm::Answers;
use crate::gate::prompt::Terminal;
use crate::host::confine::Mode;
use crate::report::RunOutcome;
use crate::report::options::Options;
use crate::run::{self, Context, Request};
use crate::workspace::Workspace;

/// `rollback demo`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Where to make it: a directory that is empty or not there; by default a new temporary one
    pub directory: Option<PathBuf>,
    /// Roll back without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// The story that the demonstration rolls back.
const STORY: &str = "1.3";

/// Makes the workspace and rolls a story back in it.
///
/// # Errors
/// What the system or the run says.
pub fn demo(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    super::output::may_change();
    let directory = demo::directory(arguments.directory.as_deref())?;
    demo::build(&directory, &demo::Options::default())?;
    let services = demo::start_services(&directory)?;
    let tell = |text: String| {
        if !everywhere.json && !everywhere.quiet {
            print(&text);
        }
    };
    tell(format!(
        "A throw-away workspace with all seven stories: {}\n\n",
        directory.display()
    ));
    let mut context = Context::open(Workspace::open(&directory)?)?;
    let stories = super::run::stories(&mut context, &[STORY.to_owned()])?;
    let at_terminal = !everywhere.no_input && !arguments.yes && Terminal::is_there();
    let request = Request {
        stories,
        options: Options {
            reason: Some("a demonstration".to_owned()),
            ..Options::by_hand()
        },
        answers: Answers {
            yes: !at_terminal,
            ..Answers::default()
        },
        ..Request::default()
    };
    shared::confine(everywhere, &context, Mode::Real)?;
    super::run::watch_signals(&mut context)?;
    let telling = telling(everywhere, &request.stories);
    let person = Person::of(everywhere, &context, telling.clone(), at_terminal);
    let report = run::run(&context, &request, &person)?;
    let code = show_outcome(everywhere, &report, &telling);
    drop(services);
    if report.outcome == RunOutcome::Done {
        tell(format!("\nIn {}:\n", directory.display()));
        for backup in &report.backups {
            tell(format!(
                "  backup   {}/{}\n",
                context.workspace.config().backups.dir,
                backup.name
            ));
        }
        tell(format!("  report   {}/\n", crate::workspace::REPORTS));
        tell(format!(
            "\nGo on with:\n  cd {}\n  rollback status\n  rollback run all -n\n  rollback undo\n",
            directory.display()
        ));
    }
    Ok(code)
}

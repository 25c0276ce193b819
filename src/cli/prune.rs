//! `rollback prune`.

use clap::Args;

use super::progress::Person;
use crate::backup::retention::Policy;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::{terminal, wording};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere};
use crate::gate::confirm::Answers;
use crate::host::confine::Mode;
use crate::report::text::Telling;
use crate::run::prune::{self as pruning, Pruning};

/// `rollback prune`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Keep so many backups of each source, and so many run stores; without any option, `backups` of rollback.yaml says it
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// Keep what is not older: 30d, 12h
    #[arg(long, value_name = "TIME")]
    pub keep_within: Option<String>,
    /// Let even the last backup of a source go
    #[arg(long)]
    pub allow_last: bool,
    /// Show what would go, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Approve it
    #[arg(short, long)]
    pub yes: bool,
}

/// Gives space back: removes backups and run stores that nobody wants kept.
///
/// # Errors
/// What keeps it from beginning, or a removal from being done.
pub fn prune(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let mut context = shared::open(everywhere)?;
    let policy = policy(&context, arguments)?;
    let dry_run = arguments.dry_run || super::run::environment_dry_run(std::env::var_os("ROLLBACK_DRY_RUN"))?;
    if dry_run {
        shared::confine(everywhere, &context, Mode::DryRun)?;
        shared::warn_of_unfinished(everywhere, &context);
        let looked = pruning::look(&context, &policy)?;
        show(everywhere, &looked, false);
        return Ok(ExitCode::Done);
    }
    shared::confine(everywhere, &context, Mode::Real)?;
    super::run::watch_signals(&mut context)?;
    let person = Person::of(everywhere, &context, Telling::default(), true);
    let answers = Answers {
        yes: arguments.yes,
        ..Answers::default()
    };
    let quiet = everywhere.quiet || everywhere.json || everywhere.json_events;
    let before = |pruning: &Pruning| {
        if !quiet {
            shared::say(&table(pruning));
            shared::say("\n");
        }
    };
    let done = pruning::carry_out(&context, &policy, &answers, &person, &before)?;
    show(everywhere, &done, true);
    Ok(ExitCode::Done)
}

fn policy(context: &crate::run::Context, arguments: &Arguments) -> Result<Policy> {
    let within = arguments.keep_within.as_deref().map(|text| {
        wording::parse_duration(text)
            .map_err(|why| Error::usage(format!("--keep-within: {why}")).hint("30d, 12h, 2weeks"))
    });
    if arguments.keep_last.is_none() && within.is_none() {
        let backups = &context.workspace.config().backups;
        return Ok(Policy {
            keep_last: backups.keep_last,
            keep_within: Some(backups.keep_within),
            allow_last: arguments.allow_last,
        });
    }
    Ok(Policy {
        keep_last: arguments.keep_last.unwrap_or(0),
        keep_within: within.transpose()?,
        allow_last: arguments.allow_last,
    })
}

fn show(everywhere: &Everywhere, pruning: &Pruning, done: bool) {
    if everywhere.json {
        print_json(&pruning.json(done));
        return;
    }
    if !done {
        print(&table(pruning));
    }
    let text = match (pruning.going().next().is_some(), done) {
        (false, _) => "nothing goes\n".to_owned(),
        (true, true) => format!("removed {}\n", pruning.describe()),
        (true, false) => format!("would remove {}; nothing has been changed\n", pruning.describe()),
    };
    print(&text);
}

fn table(pruning: &Pruning) -> String {
    let rows: Vec<Vec<String>> = pruning
        .items
        .iter()
        .map(|item| {
            vec![
                if item.kept.is_some() { "keep" } else { "remove" }.to_owned(),
                item.kind.to_owned(),
                item.name.clone(),
                wording::bytes(item.bytes),
                item.kept
                    .clone()
                    .unwrap_or_else(|| "older than what is kept".to_owned()),
            ]
        })
        .collect();
    let mut text = terminal::table(&["", "what", "name", "size", "why"], &rows);
    for lost in &pruning.lost {
        text.push_str(&format!("{}\n", terminal::escape(&lost.describe())));
    }
    text
}

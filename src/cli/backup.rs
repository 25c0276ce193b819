//! `rollback backup`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::progress::Person;
use super::{Everywhere, print, print_json, terminal};
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::gate::confirm::Answers;
use crate::report::text::Telling;
use crate::run::single::{self, Single};

/// What to do with backups.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// All backups
    List,
    /// Put a backup back; what stands there goes into the run's store first
    Restore {
        /// The backup
        name: String,
        /// Where to; by default where it came from
        #[arg(long, value_name = "DIR")]
        to: Option<String>,
        /// Show what would happen, and change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// Approve it
        #[arg(short, long)]
        yes: bool,
    },
}

/// Lists or restores backups.
///
/// # Errors
/// What the gate or the person says.
pub fn backup(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    let mut context = super::open(everywhere)?;
    match command {
        Command::List => list(everywhere, &context),
        Command::Restore {
            name,
            to,
            dry_run,
            yes,
        } => {
            let mut arguments = vec![name.clone().into()];
            arguments.extend(to.clone().map(rhai::Dynamic::from));
            let single = Single {
                word: "restore_backup",
                arguments,
            };
            let telling = Telling {
                verbose: everywhere.verbose > 0,
                ..Telling::default()
            };
            if *dry_run {
                super::confine(everywhere, &context);
                let report = single::preview(&context, &single, &single::errand(&context, true))?;
                return Ok(super::run::show_outcome(everywhere, &report, &telling));
            }
            super::run::watch_signals(&mut context)?;
            let person = Person::of(everywhere, telling.clone(), true);
            let answers = Answers {
                yes: *yes,
                ..Answers::default()
            };
            let report =
                single::ask_and_carry_out(&context, &single, &format!("Restore {name}?"), &answers, &person)?;
            Ok(super::run::show_outcome(everywhere, &report, &telling))
        }
    }
}

fn list(everywhere: &Everywhere, context: &crate::run::Context) -> Result<ExitCode> {
    let backups = context.view().backups()?;
    if everywhere.json {
        print_json(&json!({ "schema": "rollback.backups/1", "backups": backups }));
        return Ok(ExitCode::Done);
    }
    let text = |backup: &Value, key: &str| backup.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |backup: &Value, key: &str| backup.get(key).and_then(Value::as_u64).unwrap_or(0);
    let rows: Vec<Vec<String>> = backups
        .iter()
        .map(|backup| {
            let whole = backup.get("complete").and_then(Value::as_bool) == Some(true);
            vec![
                text(backup, "name"),
                text(backup, "source"),
                text(backup, "story"),
                terminal::plural_as(number(backup, "entries"), "entry", "entries"),
                terminal::bytes(number(backup, "bytes")),
                text(backup, "method"),
                if whole {
                    "whole".to_owned()
                } else {
                    "NOT WHOLE".to_owned()
                },
            ]
        })
        .collect();
    print(&super::table(
        &["backup", "source", "story", "entries", "bytes", "method", "state"],
        &rows,
    ));
    Ok(ExitCode::Done)
}

//! `rollback backup`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::progress::Person;
use super::ticker::Ticker;
use crate::backup::catalogue;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::{terminal, wording};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere};
use crate::gate::confirm::Answers;
use crate::host::confine::Mode;
use crate::report::RunKind;
use crate::report::text::Telling;
use crate::run::Context;
use crate::run::single::{self, Single};
use crate::run::verification::{self, Checked, Level};

/// What to do with backups.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// All backups
    List,
    /// One backup: where it comes from, what it holds
    Show {
        /// The backup
        name: String,
    },
    /// Compare backups with their manifests: all of them, or those that are named
    Verify {
        /// The backups
        names: Vec<String>,
        /// How far: structure (no contents), sample (every tenth file), full, restore (put back on trial)
        #[arg(long, value_enum, default_value = "full")]
        level: LevelArgument,
        /// Only look: write nothing, not even missing digests
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Add the digests of all files to the manifest of a backup that was made without
    Seal {
        /// The backup
        name: String,
    },
    /// Copy a path into a new backup; the path stays
    Create {
        /// The path
        path: String,
        /// The backup's name, without the time; by default the last name of the path
        name: Option<String>,
        /// Back up even what a process writes
        #[arg(long)]
        allow_open: bool,
    },
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

/// How far a backup is checked.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum LevelArgument {
    /// No contents.
    Structure,
    /// Every tenth file.
    Sample,
    /// Every file.
    Full,
    /// Every file, and put back on trial.
    Restore,
}

impl LevelArgument {
    fn level(self) -> Level {
        match self {
            Self::Structure => Level::Structure,
            Self::Sample => Level::Sample,
            Self::Full => Level::Full,
            Self::Restore => Level::Restore,
        }
    }
}

/// Lists, checks, makes or restores backups.
///
/// # Errors
/// What the gate or the person says.
pub fn backup(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    let mut context = shared::open(everywhere)?;
    match command {
        Command::List => {
            shared::confine(everywhere, &context, Mode::DryRun)?;
            list(everywhere, &context)
        }
        Command::Show { name } => {
            shared::confine(everywhere, &context, Mode::DryRun)?;
            show(everywhere, &context, name)
        }
        Command::Verify {
            names,
            level,
            dry_run,
        } => verify(everywhere, &context, names, level.level(), *dry_run),
        Command::Seal { name } => {
            shared::confine(everywhere, &context, Mode::Real)?;
            let _lock = crate::run::begin(&context)?;
            let listed = verification::find(&context, name)?;
            if verification::has_digests(&context, &listed)? {
                say(everywhere, &format!("`{name}` has its digests already\n"));
            } else {
                let ticker = Ticker::start(everywhere, context.host.files.meter());
                verification::seal(&context, &listed)?;
                drop(ticker);
                say(everywhere, &format!("`{name}` has its digests now\n"));
            }
            show(everywhere, &context, name)
        }
        Command::Create {
            path,
            name,
            allow_open,
        } => {
            let mut options = rhai::Map::new();
            options.insert("allow_open".into(), (*allow_open).into());
            let name = name.clone().unwrap_or_else(|| crate::backup::plain_name(path));
            let place = context.workspace.place(path)?;
            if !context.view().exists(&place.absolute)? {
                return Err(Error::usage(format!("there is no `{place}`: nothing to back up"))
                    .hint("paths are relative to the workspace"));
            }
            let single = Single {
                kind: RunKind::Backup,
                about: format!("copy `{place}`"),
                word: "backup_dir",
                arguments: vec![path.clone().into(), name.into(), options.into()],
            };
            shared::confine(everywhere, &context, Mode::Real)?;
            super::run::watch_signals(&mut context)?;
            let ticker = Ticker::start(everywhere, context.host.files.meter());
            let report = single::carry_out(&context, &single)?;
            drop(ticker);
            let telling = Telling {
                verbose: everywhere.verbose > 0,
                ..Telling::default()
            };
            Ok(super::run::show_outcome(everywhere, &report, &telling))
        }
        Command::Restore {
            name,
            to,
            dry_run,
            yes,
        } => {
            verification::find(&context, name)?;
            let mut arguments = vec![name.clone().into()];
            arguments.extend(to.clone().map(rhai::Dynamic::from));
            let single = Single {
                kind: RunKind::Restore,
                about: match to {
                    Some(to) => format!("`{name}` to `{to}`"),
                    None => format!("`{name}`"),
                },
                word: "restore_backup",
                arguments,
            };
            let telling = Telling {
                verbose: everywhere.verbose > 0,
                ..Telling::default()
            };
            if *dry_run {
                shared::confine(everywhere, &context, Mode::DryRun)?;
                let (report, _) = single::preview(&context, &single, &single::errand(&context, true))?;
                return Ok(super::run::show_outcome(everywhere, &report, &telling));
            }
            shared::confine(everywhere, &context, Mode::Real)?;
            super::run::watch_signals(&mut context)?;
            let person = Person::of(everywhere, &context, telling.clone(), true);
            let answers = Answers {
                yes: *yes,
                ..Answers::default()
            };
            let ticker = Ticker::start(everywhere, context.host.files.meter());
            let report =
                single::ask_and_carry_out(&context, &single, &format!("Restore {name}?"), &answers, &person)?;
            drop(ticker);
            Ok(super::run::show_outcome(everywhere, &report, &telling))
        }
    }
}

fn say(everywhere: &Everywhere, text: &str) {
    if !everywhere.quiet && !everywhere.json {
        shared::say(text);
    }
}

fn show(everywhere: &Everywhere, context: &Context, name: &str) -> Result<ExitCode> {
    let listed = verification::find(context, name)?;
    let digests = listed.complete && verification::has_digests(context, &listed)?;
    if everywhere.json {
        let mut backup = json!(listed);
        backup["digests"] = digests.into();
        print_json(&json!({ "schema": "rollback.backups/1", "backups": [backup] }));
        return Ok(ExitCode::Done);
    }
    let size = format!(
        "{} in {}",
        wording::bytes(listed.bytes),
        wording::plural_as(listed.entries, "entry", "entries")
    );
    let unread = listed
        .unread
        .as_ref()
        .map(|why| format!("unknown: its manifest could not be read: {why}"));
    let state = match (listed.complete, digests) {
        (false, _) => unread
            .as_deref()
            .unwrap_or("not whole: it has no finished manifest"),
        (true, true) => "whole, with the digests of all files",
        (true, false) => "whole, without digests (`rollback backup seal` adds them)",
    };
    let verified = match listed.verified {
        None if verification::last_check(context, &listed).is_some() => {
            "yes, and not all of it could be told"
        }
        None => "never",
        Some(true) => "yes, sound",
        Some(false) => "yes, and it is damaged or lacks something",
    };
    let lines = [
        ("backup", listed.name.as_str()),
        ("path", &listed.path),
        ("source", &listed.source),
        ("story", &listed.story),
        ("run", &listed.run),
        ("made", &listed.created),
        ("size", &size),
        ("method", &listed.method),
        ("state", state),
        ("verified", verified),
    ];
    for (what, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        print(&format!("{what:<9} {}\n", terminal::escape(value)));
    }
    Ok(ExitCode::Done)
}

fn verify(
    everywhere: &Everywhere,
    context: &Context,
    names: &[String],
    level: Level,
    dry_run: bool,
) -> Result<ExitCode> {
    let _lock = if dry_run {
        shared::confine(everywhere, context, Mode::DryRun)?;
        None
    } else {
        shared::confine(everywhere, context, Mode::Real)?;
        Some(crate::run::begin(context)?)
    };
    let listed = if names.is_empty() {
        catalogue::list(&context.host.files, &context.workspace.backups())?
    } else {
        names
            .iter()
            .map(|name| verification::find(context, name))
            .collect::<Result<_>>()?
    };
    let mut backups = Vec::new();
    let mut sound = true;
    let ticker = Ticker::start(everywhere, context.host.files.meter());
    for listed in listed {
        let checked = verification::check(context, listed, level, dry_run)?;
        ticker.rest();
        sound &= checked.sound() != Some(false);
        if !everywhere.json {
            print(&rendered(&checked, level));
        }
        let mut backup = json!(checked.listed);
        backup["verified"] = checked.sound().into();
        backup["problems"] = json!([&checked.problems[..], &checked.lacking[..]].concat());
        backup["unknown"] = json!(checked.unknown);
        backups.push(backup);
    }
    if everywhere.json {
        print_json(&json!({ "schema": "rollback.backups/1", "backups": backups }));
    } else if backups.is_empty() {
        print("there are no backups\n");
    }
    Ok(if sound { ExitCode::Done } else { ExitCode::Corrupt })
}

fn rendered(checked: &Checked, level: Level) -> String {
    let name = terminal::escape(&checked.listed.name);
    let state = match checked.sound() {
        Some(true) => "sound  ",
        None => "unknown",
        Some(false) if checked.problems.is_empty() => "LACKING",
        Some(false) => "DAMAGED",
    };
    let mut text = if checked.problems.is_empty() && checked.lacking.is_empty() {
        let contents = match level {
            Level::Structure => "contents not read".to_owned(),
            _ => format!("{} compared", wording::plural(checked.digests, "file")),
        };
        let sealed = if checked.sealed { ", digests added" } else { "" };
        let trial = if level == Level::Restore {
            ", restored on trial"
        } else {
            ""
        };
        let entries = wording::plural_as(checked.listed.entries, "entry", "entries");
        let opened = match checked.opened {
            0 => String::new(),
            opened => format!(", {} opened", wording::plural(opened, "database")),
        };
        format!("{state} {name} ({entries}, {contents}{sealed}{trial}{opened})\n")
    } else {
        format!("{state} {name}\n")
    };
    let all = [&checked.problems, &checked.lacking, &checked.unknown];
    for problem in all.into_iter().flatten() {
        let path = terminal::escape(&problem.path).into_owned();
        text.push_str(&format!("        `{path}` {}\n", terminal::escape(&problem.what)));
    }
    text
}

fn list(everywhere: &Everywhere, context: &crate::run::Context) -> Result<ExitCode> {
    let mut backups = catalogue::list(&context.host.files, &context.workspace.backups())?;
    for backup in &mut backups {
        backup.verified = verification::verdict_of(context, backup);
    }
    let backups: Vec<Value> = backups.into_iter().map(|backup| json!(backup)).collect();
    if everywhere.json {
        print_json(&json!({ "schema": "rollback.backups/1", "backups": backups }));
        return Ok(ExitCode::Done);
    }
    let text = |backup: &Value, key: &str| backup.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |backup: &Value, key: &str| backup.get(key).and_then(Value::as_u64).unwrap_or(0);
    let rows: Vec<Vec<String>> = backups
        .iter()
        .map(|backup| {
            let is_unread = backup.get("unread").is_some();
            let whole = backup.get("complete").and_then(Value::as_bool) == Some(true);
            vec![
                text(backup, "name"),
                text(backup, "source"),
                text(backup, "story"),
                wording::plural_as(number(backup, "entries"), "entry", "entries"),
                wording::bytes(number(backup, "bytes")),
                text(backup, "method"),
                match (whole, backup.get("verified").and_then(Value::as_bool)) {
                    (false, _) if is_unread => "UNKNOWN".to_owned(),
                    (false, _) => "NOT WHOLE".to_owned(),
                    (true, Some(false)) => "DAMAGED".to_owned(),
                    (true, Some(true)) => "verified".to_owned(),
                    (true, None) => "whole".to_owned(),
                },
            ]
        })
        .collect();
    print(&terminal::table(
        &["backup", "source", "story", "entries", "bytes", "method", "state"],
        &rows,
    ));
    Ok(ExitCode::Done)
}

//! `rollback feature`: the flags file, with dependencies and cascade. Changes go through the gate like any other.

use clap::Subcommand;
use serde_json::{Value, json};

use super::render;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal::{self, Style};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::host::confine::Mode;
use crate::report::RunKind;
use crate::run::single::{self, Single};
use crate::workspace::flags::Flags;

/// What to do with features.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// All features
    List,
    /// Switch a feature on; what it depends on must be on
    Enable {
        /// The feature
        name: String,
        /// Even where what it depends on is off
        #[arg(short, long)]
        force: bool,
    },
    /// Switch a feature off, with all that depends on it
    Disable {
        /// The feature
        name: String,
    },
    /// Whether a feature is effectively on (exit code 0) or off (1)
    Check {
        /// The feature
        name: String,
    },
}

/// Lists, checks or switches features.
///
/// # Errors
/// What the flags file or the gate says.
pub fn feature(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    let mode = match command {
        Command::List | Command::Check { .. } => Mode::DryRun,
        Command::Enable { .. } | Command::Disable { .. } => Mode::Real,
    };
    shared::confine(everywhere, &context, mode)?;
    let view = context.view();
    let place = view.workspace.flags_file();
    let flags = view.flags()?.ok_or_else(|| {
        Error::configuration(format!("there is no flags file `{place}`"))
            .hint("`rollback init` makes one, or name it as flags_file in `rollback.yaml`")
    })?;
    match command {
        Command::List => list(everywhere, &flags),
        Command::Check { name } => check(everywhere, &flags, name),
        Command::Enable { name, .. } | Command::Disable { name } if flags.raw(name).is_none() => {
            Err(unknown(&flags, name))
        }
        Command::Enable { name, force } => switch(everywhere, &context, name, true, *force),
        Command::Disable { name } => switch(everywhere, &context, name, false, false),
    }
}

fn describe(flags: &Flags, name: &str) -> Value {
    json!({
        "name": name, "raw": flags.raw(name).unwrap_or(false), "effective": flags.effective(name).unwrap_or(false),
        "dependencies": flags.dependencies(name), "dependents": flags.dependents(name),
        "description": flags.description(name),
    })
}

fn list(everywhere: &Everywhere, flags: &Flags) -> Result<ExitCode> {
    let features: Vec<Value> = flags.names().map(|name| describe(flags, name)).collect();
    if everywhere.json {
        print_json(&json!({ "schema": "rollback.features/1", "features": features }));
        return Ok(ExitCode::Done);
    }
    let rows: Vec<Vec<String>> = flags
        .names()
        .map(|name| {
            let state = match (flags.raw(name), flags.effective(name)) {
                (Some(true), Some(true)) => "on",
                (Some(true), _) => "on, without effect",
                _ => "off",
            };
            vec![
                name.to_owned(),
                state.to_owned(),
                flags.dependencies(name).join(", "),
                flags.description(name).unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    print(&terminal::table(
        &["feature", "state", "depends on", "description"],
        &rows,
    ));
    warn(everywhere, flags);
    Ok(ExitCode::Done)
}

fn warn(everywhere: &Everywhere, flags: &Flags) {
    if everywhere.quiet {
        return;
    }
    let style = Style::of(&std::io::stderr(), everywhere.no_color);
    for cycle in flags.cycles() {
        say(&render::warning(
            &format!(
                "features depend on each other in a circle: {}",
                cycle.join(" -> ")
            ),
            &style,
        ));
    }
    for name in flags.names().filter(|name| flags.suspicious(name)) {
        let message =
            format!("`{name}` is on because its value is no truth value (the text \"false\" counts as on)");
        say(&render::warning(&message, &style));
    }
}

fn check(everywhere: &Everywhere, flags: &Flags, name: &str) -> Result<ExitCode> {
    if flags.raw(name).is_none() {
        return Err(unknown(flags, name));
    }
    let on = flags.effective(name).unwrap_or(false);
    if everywhere.json {
        print_json(&json!({ "schema": "rollback.features/1", "features": [describe(flags, name)] }));
    } else {
        let raw = flags.raw(name).unwrap_or(false);
        let why = match (raw, on) {
            (true, false) => {
                let missing: Vec<&str> = flags
                    .dependencies(name)
                    .iter()
                    .filter(|dependency| !flags.effective(dependency).unwrap_or(false))
                    .map(String::as_str)
                    .collect();
                format!(" (switched on, but without {})", missing.join(", "))
            }
            _ => String::new(),
        };
        print(&format!("{name} is {}{why}\n", if on { "on" } else { "off" }));
        warn(everywhere, flags);
    }
    Ok(if on { ExitCode::Done } else { ExitCode::Failed })
}

/// An unknown feature, with the nearest name.
fn unknown(flags: &Flags, name: &str) -> Error {
    let failure = Error::usage(format!("Unknown feature: {name}"));
    match flags.nearest(name) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`rollback feature list` lists them"),
    }
}

fn switch(
    everywhere: &Everywhere,
    context: &crate::run::Context,
    name: &str,
    on: bool,
    force: bool,
) -> Result<ExitCode> {
    let mut options = rhai::Map::new();
    options.insert("force".into(), force.into());
    let report = single::carry_out(
        context,
        &Single {
            kind: RunKind::Feature,
            about: format!("switch `{name}` {}", if on { "on" } else { "off" }),
            word: "set_flag",
            arguments: vec![name.to_owned().into(), on.into(), options.into()],
        },
    )?;
    if everywhere.json {
        let view = context.view();
        let flags = view.flags()?;
        let features: Vec<Value> = flags
            .iter()
            .flat_map(|flags| flags.names().map(|name| describe(flags, name)))
            .collect();
        print_json(&json!({ "schema": "rollback.features/1", "features": features }));
    } else if !everywhere.quiet {
        for operation in &report.operations {
            let why = operation
                .why
                .as_deref()
                .map(|why| format!(" ({why})"))
                .unwrap_or_default();
            print(&format!("{}{why}\n", terminal::escape(&operation.summary)));
        }
    }
    Ok(ExitCode::Done)
}

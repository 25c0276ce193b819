//! `run_command(argv)`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::files::{Demand, EntryKind};
use crate::host::{Host, commands};
use crate::operation::{Operation, Proposal};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "run_command",
    parameters: &[
        Parameter::needed("argv", Type::Texts),
        Parameter::options(&[
            ("cwd", Type::Text),
            ("timeout", Type::Any),
            ("env", Type::Map),
            ("undo", Type::Texts),
        ]),
    ],
    returns: Type::Nothing,
    about: "Starts a program that policy.commands lists, without a shell and with a clean environment, and waits for it \
            (10 minutes). With `preview: overlay` in its list, a preview runs it over a layer of the workspace, shows what it \
            changes, and the run puts exactly that in place; else what it changes cannot be known in a preview, and `undo` is a \
            command that takes it back.",
    example: r#"run_command(["true"])"#,
    action: Action::Change(propose),
};

#[derive(Debug)]
struct RunCommand {
    argv: Vec<String>,
    cwd: Place,
    timeout: Duration,
    environment: Vec<(String, String)>,
    undo: Option<Vec<String>>,
}

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let argv = arguments.texts(0);
    if argv.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("`run_command` takes a program and its arguments")
            .hint("run_command([\"dbt\", \"clean\"])"));
    }
    let cwd = view
        .workspace
        .place(&arguments.option_text(1, "cwd").unwrap_or_else(|| ".".to_owned()))?;
    let environment: Vec<(String, String)> = arguments
        .map(1)
        .get("env")
        .and_then(|value| value.clone().try_cast::<rhai::Map>())
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let undo = arguments.option_texts(1, "undo");
    check(&argv, &environment, &cwd, view)?;
    let timeout = arguments.option_duration(1, "timeout", Duration::from_secs(600))?;
    let display = argv.join(" ");
    let why = match view.rehearse(&argv, &cwd, &environment, timeout)? {
        Some(Known::Yes(rehearsed)) => {
            let needs = argv.first().map(|program| Capability::Command {
                program: program.clone(),
            });
            let proposal = super::rehearsed::proposal(WORD.name, view, &display, needs, &rehearsed)?;
            return Ok(vec![proposal]);
        }
        Some(Known::Unknown(why)) => format!("what it changes cannot be known before the run: {why}"),
        None => "what it changes cannot be known before the run".to_owned(),
    };
    let operation = RunCommand {
        timeout,
        undo: (!undo.is_empty()).then_some(undo),
        argv,
        cwd,
        environment,
    };
    let summary = format!("run `{display}`");
    Ok(vec![
        Proposal::act(WORD.name, display, summary, operation).because(why),
    ])
}

/// What could not be started, or would start something else, is refused before anything is done.
fn check(argv: &[String], environment: &[(String, String)], cwd: &Place, view: &View) -> Result<()> {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    for (name, value) in environment {
        let plain = !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || character == '_');
        if !plain || value.contains('\0') {
            return Err(
                Error::invalid(format!("`{}` is no variable", name.escape_debug()))
                    .hint("a name of letters, digits and `_`, and a value without NUL"),
            );
        }
        commands::check_variable(name, program)?;
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(Error::invalid("an argument holds a NUL character"));
    }
    match view.stat(&cwd.absolute)?.map(|stat| stat.kind) {
        Some(EntryKind::Directory) => Ok(()),
        Some(EntryKind::Symlink) => {
            Err(Error::denied(format!("`{cwd}` is a symbolic link"))
                .hint("name the directory itself as `cwd`"))
        }
        _ => Err(Error::not_found(format!("there is no directory `{cwd}`")).hint("`cwd` must exist")),
    }
}

impl Operation for RunCommand {
    fn risk(&self) -> Risk {
        if self.undo.is_some() {
            Risk::Reversible
        } else {
            Risk::Disruptive
        }
    }

    fn needs(&self) -> Vec<Capability> {
        let undo = self.undo.as_ref().and_then(|argv| argv.first());
        self.argv
            .first()
            .into_iter()
            .chain(undo)
            .map(|program| Capability::Command {
                program: program.clone(),
            })
            .collect()
    }

    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    fn undo(&self) -> Undo {
        match &self.undo {
            Some(argv) => Undo::Command {
                argv: argv.clone(),
                cwd: self.cwd.display.clone(),
            },
            None => Undo::Nothing {
                why: "the script names no way back for this command".to_owned(),
            },
        }
    }

    fn effect(&self) -> Value {
        // A digest: arguments and variables may hold secrets.
        let whole = json!([
            self.argv,
            self.cwd.display,
            self.timeout.as_millis(),
            self.environment,
            self.undo
        ]);
        json!({ "command": blake3::hash(whole.to_string().as_bytes()).to_hex().to_string() })
    }

    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.cannot_simulate(self.argv.join(" "));
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let still = host.files.stat(&self.cwd.absolute)?;
        if still.is_none_or(|stat| stat.kind != EntryKind::Directory) {
            return Err(Error::changed(format!("`{}` is no directory any more", self.cwd)));
        }
        let output = host.run_listed(
            permit,
            &self.argv,
            &self.cwd.absolute,
            &self.environment,
            Some(self.timeout),
        )?;
        Ok(Done {
            output: Some(output),
            ..Done::default()
        })
    }
}

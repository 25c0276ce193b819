//! `run_command(argv)`.

use std::time::Duration;

use serde_json::json;

use crate::error::{Error, Result};
use crate::gate::{Overlay, Permit};
use crate::host::Host;
use crate::operation::{Capability, Done, Fact, Operation, Proposal, Risk, Undo};
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;
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
            (10 minutes). What it changes cannot be known in a preview. `undo` is a command that takes it back.",
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
    let environment = arguments
        .map(1)
        .get("env")
        .and_then(|value| value.clone().try_cast::<rhai::Map>())
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let undo = arguments.option_texts(1, "undo");
    let operation = RunCommand {
        timeout: arguments.option_duration(1, "timeout", Duration::from_secs(600))?,
        undo: (!undo.is_empty()).then_some(undo),
        argv: argv.clone(),
        cwd,
        environment,
    };
    let shown = argv.join(" ");
    let proposal = Proposal::act(WORD.name, shown.clone(), format!("run `{shown}`"), operation)
        .because("what it changes cannot be known before the run");
    Ok(vec![proposal])
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

    fn undo(&self) -> Undo {
        match &self.undo {
            Some(argv) => Undo::Command {
                argv: argv.clone(),
                cwd: self.cwd.shown.clone(),
            },
            None => Undo::Nothing {
                why: "the script names no way back for this command".to_owned(),
            },
        }
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact {
            about: "command".to_owned(),
            seen: json!(self.argv),
        }]
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.cannot_simulate(self.argv.join(" "));
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
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

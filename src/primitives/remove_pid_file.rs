//! `remove_pid_file(path)`.

use crate::base::error::Result;
use crate::base::known::Known;
use crate::operation::Proposal;
use crate::operation::pid_file::RemovePidFile;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::Outcome;
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_pid_file",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Nothing,
    about: "Removes the pid file of a service that has ended. It stays, and the plan says why, where the process that it \
            names may still live, or where it can't be read as a number. Nothing happens where there is none.",
    example: r#"stop_processes(#{ pid_file: "logs/duckdb.pid" }); remove_pid_file("logs/duckdb.pid")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let there = view.exists(&place.absolute)?;
    // The service that was just ended may have removed it itself: then the step of the plan is met by that.
    let went = !there && view.own().is_unsettled(&place.absolute);
    if !there && !went {
        return Ok(Vec::new());
    }
    let why = match view.named_by(&place.absolute)? {
        Known::Yes(None) => {
            let removal = RemovePidFile::new(view, place.clone(), there)?;
            let summary = format!("remove the pid file `{place}`");
            return Ok(vec![Proposal::act(WORD.name, place.display, summary, removal)]);
        }
        Known::Yes(Some(process)) => format!(
            "process {} (`{}`), which it names, still runs",
            process.pid,
            process.describe()
        ),
        Known::Unknown(why) => format!("{why}: the service may still run"),
    };
    let needs = vec![view.write(&place, true)];
    Ok(vec![Proposal::settled(
        WORD.name,
        place.display,
        Outcome::Kept,
        why,
        needs,
    )])
}

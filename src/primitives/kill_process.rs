//! `kill_process(process)`.

use std::time::Duration;

use rhai::Map;

use crate::base::error::{Error, Result};
use crate::operation::Proposal;
use crate::operation::stopping::Kill;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "kill_process",
    parameters: &[
        Parameter::needed("process", Type::Map),
        Parameter::options(&[
            ("kill", Type::Boolean),
            ("kill_ignoring", Type::Boolean),
            ("grace", Type::Any),
        ]),
    ],
    returns: Type::Nothing,
    about: "Ends one process that find_processes gave, if it is still the same: TERM, wait for the grace (5 s), KILL if told \
            #{ kill: true }, or for those alone that ignore TERM #{ kill_ignoring: true }; then what it had started and left behind. Its identity is checked again at the last moment.",
    example: r#"for process in find_processes(#{ pid_file: "logs/duckdb.pid" }) { kill_process(process) }"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let map: Map = arguments.map(0);
    let wrong = || {
        Error::invalid("`kill_process` takes a process as `find_processes` gives it")
            .hint("for process in find_processes(#{ pid_file: \"...\" }) { kill_process(process) }")
    };
    let pid = map
        .get("pid")
        .and_then(|pid| pid.as_int().ok())
        .and_then(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(wrong)?;
    let ticks = map
        .get("ticks")
        .and_then(|ticks| ticks.as_int().ok())
        .and_then(|ticks| u64::try_from(ticks).ok())
        .ok_or_else(wrong)?;
    let kill = Kill::of(
        arguments.option_flag(1, "kill"),
        arguments.option_flag(1, "kill_ignoring"),
    );
    let grace = arguments
        .option_duration(1, "grace", Duration::from_secs(5))?
        .min(view.allowance.left());
    let target = format!("process {pid}");
    let Some(process) = view.process(pid, ticks)? else {
        return Ok(vec![Proposal::settled(
            WORD.name,
            target,
            crate::report::effect::Outcome::NotPresent,
            "it has ended",
            Vec::new(),
        )]);
    };
    let ending = super::ending::Ending {
        word: WORD.name,
        target,
        grace,
        kill,
        pid_file: None,
    };
    ending.proposals(view, vec![process])
}

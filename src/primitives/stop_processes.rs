//! `stop_processes(query)`.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::processes::{Found, PassedOver};
use crate::operation::stopping::Kill;
use crate::operation::{Outcome, Proposal};
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "stop_processes",
    parameters: &[
        Parameter::query("query", super::find_processes::QUERY),
        Parameter::options(&[
            ("kill", Type::Boolean),
            ("kill_ignoring", Type::Boolean),
            ("grace", Type::Any),
            ("expect", Type::Integer),
        ]),
    ],
    returns: Type::Integer,
    about: "Ends every process that matches the query (see find_processes): TERM, wait for the grace (5 s), KILL if told \
            #{ kill: true }, or for those alone that ignore TERM #{ kill_ignoring: true }; then what they had started and left behind, in the same way. With #{ expect: n } any other number of matches is an error. Gives how many matched.",
    example: r#"stop_processes(#{ pid_file: "logs/duckdb.pid" })"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let query = super::process_query(arguments, 0, view)?;
    let Found {
        processes: found,
        passed_over,
    } = view.find(&query)?;
    let target = super::query_text(&arguments.map(0));
    if let Some(expected) = arguments.option_integer(1, "expect")
        && i64::try_from(found.len()).ok() != Some(expected)
    {
        return Err(Error::failed(format!(
            "{} match {target}, {expected} expected",
            crate::cli::terminal::plural(found.len() as u64, "process")
        ))
        .hint("nothing was stopped; look with find_processes, and say what is meant more exactly"));
    }
    let (doubtful, plain): (Vec<_>, Vec<_>) = passed_over.iter().partition(|passed| passed.doubtful);
    let mut proposals: Vec<Proposal> = doubtful
        .into_iter()
        .map(|passed| {
            Proposal::settled(
                WORD.name,
                target.clone(),
                Outcome::Unknown,
                leaving(passed),
                Vec::new(),
            )
            .returning(0_i64)
        })
        .collect();
    if found.is_empty() {
        if proposals.is_empty() || !plain.is_empty() {
            let mut why = "no such process".to_owned();
            for passed_over in plain {
                why = format!("{why}; {}", leaving(passed_over));
            }
            proposals.push(
                Proposal::settled(WORD.name, target, Outcome::NotPresent, why, Vec::new()).returning(0_i64),
            );
        }
        return Ok(proposals);
    }
    let described: Vec<String> = found
        .iter()
        .map(|process| format!("{} (`{}`)", process.pid, process.describe()))
        .collect();
    let summary = format!(
        "stop {} {}",
        if found.len() == 1 { "process" } else { "processes" },
        described.join(", ")
    );
    let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let grace = arguments
        .option_duration(1, "grace", Duration::from_secs(5))?
        .min(view.allowance.left());
    let kill = Kill::of(
        arguments.option_flag(1, "kill"),
        arguments.option_flag(1, "kill_ignoring"),
    );
    let operation = view.ending(found, grace, kill)?;
    let company = operation.company()?;
    let proposal = Proposal::act(WORD.name, target, summary, operation).returning(count);
    proposals.push(match company {
        Some(company) => proposal.because(company),
        None => proposal,
    });
    Ok(proposals)
}

/// Why a near miss was left alone.
fn leaving(passed_over: &PassedOver) -> String {
    match passed_over.pid {
        Some(pid) if passed_over.command.is_empty() => {
            format!("process {pid} was left alone: {}", passed_over.why)
        }
        Some(pid) => format!(
            "process {pid} (`{}`) was left alone: {}",
            passed_over.command, passed_over.why
        ),
        None => passed_over.why.clone(),
    }
}

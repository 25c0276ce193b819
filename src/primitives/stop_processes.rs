//! `stop_processes(query)`.

use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::wording;
use crate::host::processes::{Found, PassedOver, Process, Query};
use crate::operation::Proposal;
use crate::operation::stopping::Kill;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::Outcome;
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
            ("holders", Type::Boolean),
        ]),
    ],
    returns: Type::Integer,
    about: "Ends every process that matches the query (see find_processes): TERM, wait for the grace (5 s), KILL if told \
            #{ kill: true }, or for those alone that ignore TERM #{ kill_ignoring: true }; then what they had started and left behind, in the same way. With #{ expect: n } any other number of matches is an error. Where nothing but `holds` (and `cwd`) tells who is meant, \
            only those that run a file of the story are ended; any other holder is named, and nothing is done, unless \
            told #{ holders: true }. Gives how many matched.",
    example: r#"stop_processes(#{ pid_file: "logs/duckdb.pid" })"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let query = super::looking::process_query(arguments, 0, view)?;
    let Found {
        processes: found,
        passed_over,
    } = view.find(&query)?;
    let target = super::looking::query_text(&arguments.map(0));
    if query.is_held_alone() && !arguments.option_flag(1, "holders") {
        require_services(view, &query, &found, &passed_over)?;
    }
    if let Some(expected) = arguments.option_integer(1, "expect")
        && i64::try_from(found.len()).ok() != Some(expected)
    {
        return Err(Error::failed(format!(
            "{} match {target}, {expected} expected",
            wording::plural(found.len() as u64, "process")
        ))
        .hint("nothing was stopped; look with find_processes, and say what is meant more exactly"));
    }
    // Processes come and go: whoever may be meant is told, and is no step of its own.
    let doubts: Vec<String> = passed_over
        .iter()
        .filter(|passed| passed.doubtful)
        .map(PassedOver::rendered)
        .collect();
    if found.is_empty() {
        let plain = passed_over.iter().filter(|passed| !passed.doubtful);
        let (outcome, first) = if doubts.is_empty() {
            (Outcome::NotPresent, "no such process".to_owned())
        } else {
            (Outcome::Unknown, doubts.join("; "))
        };
        let why = plain.fold(first, |why, passed| format!("{why}; {}", passed.rendered()));
        return Ok(vec![
            Proposal::settled(WORD.name, target, outcome, why, Vec::new()).returning(0_i64),
        ]);
    }
    let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let ending = super::ending::Ending {
        word: WORD.name,
        target,
        grace: arguments
            .option_duration(1, "grace", Duration::from_secs(5))?
            .min(view.allowance.left()),
        kill: Kill::of(
            arguments.option_flag(1, "kill"),
            arguments.option_flag(1, "kill_ignoring"),
        ),
        // What it names may remove it on its way out.
        pid_file: query.pid_file,
    };
    let proposals = ending.proposals(view, found)?.into_iter().enumerate();
    Ok(proposals
        .map(|(number, proposal)| {
            let proposal = proposal.returning(count);
            if number == 0 && !doubts.is_empty() {
                proposal.warning(doubts.join("; "))
            } else {
                proposal
            }
        })
        .collect())
}

/// To hold a file is no proof of being the service: a person's own programs do so too.
fn require_services(view: &View, query: &Query, found: &[Process], passed_over: &[PassedOver]) -> Result<()> {
    let mut strangers: Vec<i32> = passed_over.iter().filter_map(|passed| passed.pid).collect();
    for process in found {
        if !view.runs_part(process)? {
            strangers.push(process.pid);
        }
    }
    let Some(held) = query.holds.as_deref().map(|path| view.workspace.show(path)) else {
        return Ok(());
    };
    let holders = view.holders(&held)?;
    let named: Vec<String> = strangers
        .iter()
        .filter_map(|pid| holders.iter().find(|holder| holder.process.pid == *pid))
        .map(|holder| holder.rendered(&view.workspace.show(&holder.path).display))
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(Error::in_use(format!(
        "`{held}` is held by what is no service of the story: {}",
        named.join(", ")
    ))
    .hint(
        "end it, or let it close the file, then run again; to end it too: `--param stop_holders=true` (the stories), \
         #{ holders: true } (a script)",
    ))
}

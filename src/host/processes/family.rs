//! What a process has started: by parent, and by control group where a service has its own.

use std::collections::BTreeMap;

use super::find::{Found, Lens};
use super::query::{Query, Scope};
use super::table::{Seen, Table};
use super::{Process, still};
use crate::error::Result;

/// The living descendants of a process that are our user's, by number, without this process and its ancestors.
///
/// # Errors
/// `/proc` cannot be read.
pub fn children(process: &Process) -> Result<Vec<Process>> {
    let table = Table::open()?;
    if !still(process) {
        return Ok(Vec::new());
    }
    let everyone: Vec<Seen> = Table::pids()?.into_iter().filter_map(Seen::open).collect();
    let mut family = BTreeMap::from([(process.pid, process.started_ticks)]);
    loop {
        let before = family.len();
        for seen in &everyone {
            let Some(stat) = seen.stat() else { continue };
            // A child starts no earlier than its parent: otherwise the parent's number has changed hands.
            if family
                .get(&stat.parent)
                .is_some_and(|start| *start <= stat.started_ticks)
            {
                family.entry(seen.pid).or_insert(stat.started_ticks);
            }
        }
        if family.len() == before {
            break;
        }
    }
    Ok(everyone
        .iter()
        .filter(|seen| seen.pid != process.pid && family.contains_key(&seen.pid))
        .filter(|seen| !table.is_own(seen.pid) && !table.is_above(seen.pid))
        .filter(|seen| seen.owner().is_some_and(|owner| owner.is_wholly(table.user)))
        .filter_map(|seen| table.process(seen))
        .collect())
}

/// What belongs to a process and has to end with it: its descendants, and whatever else is in its control group where
/// that is a service's own. Those that a run may not end, because of the scope or the owner, are passed over.
///
/// # Errors
/// `/proc` cannot be read.
pub fn family(process: &Process, scope: &Scope) -> Result<Found> {
    let mut members = children(process)?;
    let table = Table::open()?;
    let own = Seen::open(process.pid).and_then(|seen| group(&seen));
    let ours = Seen::open(rustix::process::getpid().as_raw_nonzero().get()).and_then(|seen| group(&seen));
    if let Some(own) = own.filter(|own| is_of_a_service(own) && Some(own) != ours.as_ref()) {
        let known = |pid: i32| pid == process.pid || table.is_own(pid) || table.is_above(pid);
        for seen in Table::pids()?.into_iter().filter_map(Seen::open) {
            let listed = members.iter().any(|member| member.pid == seen.pid);
            if !known(seen.pid) && !listed && group(&seen).as_ref() == Some(&own) {
                members.extend(table.process(&seen));
            }
        }
    }
    let query = Query::default();
    let lens = Lens::new(&query, scope, None)?;
    let mut found = Found::default();
    for member in members {
        let Some(seen) = Seen::open(member.pid) else {
            continue;
        };
        match lens.refusal(&table, &seen) {
            Some(why) => found.pass_over(Some(member.pid), member.describe(), why),
            None => found.processes.push(member),
        }
    }
    Ok(found)
}

/// The control group of a process (version 2), from `/proc/<pid>/cgroup`.
fn group(seen: &Seen) -> Option<String> {
    let text = String::from_utf8(seen.read("cgroup")?).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

/// Whether a group is that of one service. That of a session holds a person's other programs too, and that of a user's
/// manager all of them.
fn is_of_a_service(group: &str) -> bool {
    group
        .rsplit('/')
        .next()
        .is_some_and(|name| name.ends_with(".service") && !name.starts_with("user@"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_and_a_users_manager_are_no_service() {
        let user = "/user.slice/user-1000.slice";
        for (group, own) in [
            (
                format!("{user}/user@1000.service/app.slice/dagster.service"),
                true,
            ),
            ("/system.slice/duckdb.service".to_owned(), true),
            (format!("{user}/user@1000.service"), false),
            (format!("{user}/session-2.scope"), false),
            ("/".to_owned(), false),
        ] {
            assert_eq!(is_of_a_service(&group), own, "{group}");
        }
    }
}

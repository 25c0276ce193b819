//! What a process has started: by parent, by session, and by control group where a service has its own.

use std::collections::BTreeMap;

use super::find::{Found, Lens};
use super::query::{Query, Scope};
use super::table::{Seen, Table};
use super::{Process, still};
use crate::base::error::Result;

/// What belongs to a process and has to end with it: its descendants, also those whose own parents have ended where a
/// session or a control group tells; without this program and what started it. Those that a run may not end, because of
/// the scope or the owner, are passed over.
///
/// # Errors
/// `/proc` cannot be read.
pub fn family(process: &Process, scope: &Scope) -> Result<Found> {
    let table = Table::open()?;
    let mut found = Found::default();
    if !still(process) {
        return Ok(found);
    }
    let everyone: Vec<Seen> = Table::pids()?.into_iter().filter_map(Seen::open).collect();
    let kin: Vec<Kin> = everyone.iter().filter_map(Kin::of).collect();
    let group = everyone
        .iter()
        .find(|seen| seen.pid == process.pid)
        .and_then(group)
        .filter(|group| is_of_a_service(group));
    let grouped: Vec<i32> = everyone
        .iter()
        .filter(|seen| group.is_some() && self::group(seen) == group)
        .map(|seen| seen.pid)
        .collect();
    let own = |pid: i32| table.is_own(pid) || table.is_above(pid);
    let members = members(&kin, process.pid, &grouped, &own);
    let query = Query::default();
    let lens = Lens::new(&query, scope, None)?;
    for seen in everyone.iter().filter(|seen| members.contains_key(&seen.pid)) {
        let Some(member) = table.whatever_it_runs(seen) else {
            continue;
        };
        match lens.refusal(&table, seen) {
            Some(why) => found.pass_over(Some(&member), why),
            None => found.processes.push(member),
        }
    }
    Ok(found)
}

/// A process as far as kinship goes.
#[derive(Debug, Clone, Copy)]
struct Kin {
    pid: i32,
    parent: i32,
    session: i32,
    started: u64,
}

impl Kin {
    fn of(seen: &Seen) -> Option<Self> {
        let stat = seen.stat()?;
        Some(Self {
            pid: seen.pid,
            parent: stat.parent,
            session: stat.session,
            started: stat.started_ticks,
        })
    }
}

/// The numbers and starts of all that belongs to `pid`, without itself and what is `ours`; `grouped` is who is in its
/// control group, where that is a service's.
fn members(everyone: &[Kin], pid: i32, grouped: &[i32], ours: &dyn Fn(i32) -> bool) -> BTreeMap<i32, u64> {
    let Some(first) = everyone.iter().find(|kin| kin.pid == pid) else {
        return BTreeMap::new();
    };
    let mut family = BTreeMap::from([(pid, *first)]);
    let own_group = leads(first, everyone, grouped, ours);
    loop {
        let before = family.len();
        for kin in everyone {
            // What belongs to a process starts no earlier: otherwise the number has changed hands.
            let since = |other: &Kin| other.started <= kin.started;
            let child = family.get(&kin.parent).is_some_and(since);
            // A session is inherited and never joined, and its number is not given away while somebody is in it.
            let heir = family
                .get(&kin.session)
                .is_some_and(|leader| leader.session == leader.pid && since(leader));
            if child || heir || (own_group && grouped.contains(&kin.pid)) {
                family.entry(kin.pid).or_insert(*kin);
            }
        }
        if family.len() == before {
            break;
        }
    }
    family
        .into_values()
        .filter(|kin| kin.pid != pid && !ours(kin.pid))
        .map(|kin| (kin.pid, kin.started))
        .collect()
}

/// Whether everything in a control group can be told to come from this process: it leads a session, was started from
/// outside of the group, and is the oldest in it. Where a daemon keeps several programs in its own group (pm2,
/// supervisord, cron), or a script has left several behind, none of them is what the group is about.
fn leads(first: &Kin, everyone: &[Kin], grouped: &[i32], ours: &dyn Fn(i32) -> bool) -> bool {
    first.session == first.pid
        && !grouped.contains(&first.parent)
        && !grouped.iter().any(|pid| ours(*pid))
        && everyone
            .iter()
            .filter(|kin| kin.pid != first.pid && grouped.contains(&kin.pid))
            .all(|kin| kin.started >= first.started)
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
    use super::super::trial::Trial;
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

    /// Number, parent, session; each started later than the one before.
    fn kin(rows: &[(i32, i32, i32)]) -> Vec<Kin> {
        (100..)
            .zip(rows)
            .map(|(started, (pid, parent, session))| Kin {
                pid: *pid,
                parent: *parent,
                session: *session,
                started,
            })
            .collect()
    }

    fn pids(rows: &[(i32, i32, i32)], pid: i32, grouped: &[i32]) -> Vec<i32> {
        members(&kin(rows), pid, grouped, &|pid| pid == 99)
            .into_keys()
            .collect()
    }

    #[test]
    fn descendants_and_heirs_of_a_session_belong_to_it() {
        // 12 has lost its parent, and so has 15, which 13 started in its own session.
        let rows = [
            (10, 1, 10),
            (11, 10, 10),
            (12, 1, 10),
            (13, 12, 13),
            (15, 1, 13),
            (20, 1, 20),
            (21, 20, 20),
        ];
        assert_eq!(pids(&rows, 10, &[]), [11, 12, 13, 15]);
        // It does not lead the session that it is in.
        assert_eq!(pids(&rows, 11, &[]), Vec::<i32>::new());
        assert_eq!(pids(&rows, 12, &[]), [13, 15]);
    }

    #[test]
    fn a_number_that_has_changed_hands_has_no_children() {
        let mut rows = kin(&[(10, 1, 10), (11, 10, 10)]);
        rows[1].started = 50;
        assert!(members(&rows, 10, &[], &|_| false).is_empty());
    }

    #[test]
    fn a_program_in_the_group_of_another_daemon_takes_nobody_along() {
        // pm2: the daemon and its applications, each in a session of its own. The same with cron.
        let rows = [(10, 1, 10), (11, 10, 11), (12, 10, 12), (13, 12, 12)];
        assert_eq!(pids(&rows, 12, &[10, 11, 12, 13]), [13]);
        assert_eq!(pids(&rows, 11, &[10, 11, 12, 13]), Vec::<i32>::new());
        // An application that has left its daemon.
        let rows = [(10, 1, 10), (11, 1, 11), (12, 10, 12)];
        assert_eq!(pids(&rows, 11, &[10, 11, 12]), Vec::<i32>::new());
        // A script started two services and has ended.
        let rows = [(11, 1, 10), (12, 1, 10)];
        assert_eq!(pids(&rows, 11, &[11, 12]), Vec::<i32>::new());
        // This program was started from the service.
        let rows = [(10, 1, 10), (12, 1, 12), (99, 1, 99)];
        assert_eq!(pids(&rows, 10, &[10, 12, 99]), Vec::<i32>::new());
    }

    #[test]
    fn a_service_takes_along_what_its_own_group_holds() {
        let rows = [(10, 1, 10), (11, 10, 10), (12, 1, 12), (20, 1, 20)];
        assert_eq!(pids(&rows, 10, &[10, 11, 12]), [11, 12]);
    }

    #[test]
    fn the_whole_tree() {
        let trial = Trial::new();
        let child = trial.shell("sh -c 'sleep 600 & echo ready; wait' & wait");
        let family = family(&child.process(), &Scope::User).expect("a proc file system");
        let of = |parent: i32| {
            let born = family.processes.iter().filter(|process| process.parent == parent);
            born.map(|process| process.pid).collect::<Vec<_>>()
        };
        let below = of(child.pid());
        assert_eq!(
            (below.len(), of(below[0]).len(), family.processes.len()),
            (1, 1, 2),
            "{family:?}"
        );
    }
}

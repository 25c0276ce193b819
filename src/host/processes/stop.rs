//! Ending one process: through a pidfd, after its identity was checked behind that pidfd, never by number.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;
use tracing::debug;

use super::table::{Seen, Table};
use super::{Broker, Process};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};

/// How long a process may take to go after KILL: more than a moment means that it waits for a device.
const AFTER_KILL: Duration = Duration::from_secs(2);

/// How often a wait looks whether a signal came.
const SIGNALS: Duration = Duration::from_millis(100);

/// How to end a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// How long it may take to end by itself after TERM.
    pub grace: Duration,
    /// Whether it gets KILL after that.
    pub kill: bool,
}

/// What became of a process that was to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "ended", content = "why")]
pub enum Ended {
    /// It is gone: already, or within the grace after TERM.
    Gone,
    /// It took KILL.
    Killed,
    /// It is still there.
    Survived,
    /// It was left alone: the number is not, or no longer, the process that was looked at.
    NotOurs(String),
}

/// Ends the process: TERM, wait, and KILL where `how` allows it.
///
/// # Errors
/// Of kind `Cancelled` where a signal came while it was waited for; of kind `Denied` for this process, its ancestors and the first process, and where the kernel refuses; of kind
/// `Failed` where the kernel has no pidfds or `/proc` cannot be read.
pub fn stop(
    permit: &Permit,
    broker: &Broker,
    process: &Process,
    how: &Stop,
    cancelled: &AtomicBool,
) -> Result<Ended> {
    debug!(
        pid = process.pid,
        command = process.describe(),
        ?how,
        "process is to end"
    );
    stop_other(permit, broker, process, how, cancelled, &Table::open()?)
}

/// Refuses this run, what has started it, and the first process.
fn require_other(table: &Table, process: &Process) -> Result<()> {
    if !table.is_own(process.pid) && !table.is_above(process.pid) {
        return Ok(());
    }
    Err(Error::denied(format!(
        "process {} (`{}`) is this run or what started it",
        process.pid,
        process.describe()
    ))
    .hint("a rollback never ends itself; name the service more exactly"))
}

fn stop_other(
    _permit: &Permit,
    broker: &Broker,
    process: &Process,
    how: &Stop,
    cancelled: &AtomicBool,
    table: &Table,
) -> Result<Ended> {
    require_other(table, process)?;
    let about = || format!("process {} (`{}`)", process.pid, process.describe());
    let Some(pid) = Pid::from_raw(process.pid) else {
        return Err(Error::bug(format!("{} has no number", about())));
    };
    let handle = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(Errno::SRCH) => return Ok(Ended::Gone),
        Err(error) => {
            // The number may have become that of a thread, which has no pidfd.
            if !matches!(broker.standing(process)?, Standing::Same { .. }) {
                return Ok(Ended::Gone);
            }
            return Err(Error::failed(format!("cannot open {}: {error}", about()))
                .hint("this needs a Linux kernel from 5.3 on"));
        }
    };
    let target = Target {
        handle,
        about: &about,
    };
    if target.ends_within(Duration::ZERO)? {
        return Ok(Ended::Gone);
    }
    // Only now: the handle keeps the number from being given away unnoticed.
    let stopped = match broker.standing(process)? {
        Standing::Gone => return Ok(Ended::Gone),
        Standing::Other(why) => {
            return Ok(if target.ends_within(Duration::ZERO)? {
                Ended::Gone
            } else {
                Ended::NotOurs(why)
            });
        }
        Standing::Same { stopped } => stopped,
    };
    if !target.signal(Signal::TERM)? {
        return Ok(Ended::Gone);
    }
    // A stopped process can't act on TERM before it is woken.
    if stopped && !target.signal(Signal::CONT)? {
        return Ok(Ended::Gone);
    }
    if target.ends_unless(how.grace, cancelled)? {
        return Ok(Ended::Gone);
    }
    if !how.kill {
        return Ok(Ended::Survived);
    }
    if !target.signal(Signal::KILL)? {
        return Ok(Ended::Gone);
    }
    Ok(if target.ends_within(AFTER_KILL)? {
        Ended::Killed
    } else {
        Ended::Survived
    })
}

/// Waits until the process ends by somebody else's doing; whether it did within `time`.
///
/// # Errors
/// Of kind `Cancelled` where a signal came meanwhile, of kind `Failed` where it can't be waited for.
pub fn ends_within(process: &Process, time: Duration, cancelled: &AtomicBool) -> Result<bool> {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return Ok(true);
    };
    // What has the number after the handle is open keeps it.
    let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let (Ok(handle), true) = (handle, still(process)) else {
        return Ok(true);
    };
    let about = || format!("process {} (`{}`)", process.pid, process.describe());
    Target {
        handle,
        about: &about,
    }
    .ends_unless(time, cancelled)
}

/// What stands behind a number now, held against the process that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// No process.
    Gone,
    /// Not, or no longer, the one that was looked at, and why; or not wholly our user's.
    Other(String),
    /// The same.
    Same {
        /// Whether it was halted by a signal, and has to be woken before it can end.
        stopped: bool,
    },
}

/// Looks at a process again, right before it is signalled.
pub(super) fn standing(process: &Process) -> Result<Standing> {
    let table = Table::open()?;
    let Some(seen) = Seen::open(process.pid) else {
        return Ok(Standing::Gone);
    };
    let ours = seen.owner().is_some_and(|owner| owner.is_wholly(table.user));
    let foreign = || (!ours).then(|| "it does not run as our own user".to_owned());
    let never = || super::reach::never(&table, &seen);
    Ok(
        match difference(&table, &seen, process).or_else(foreign).or_else(never) {
            Some(why) => Standing::Other(why),
            None => Standing::Same {
                stopped: seen.stat().is_some_and(super::table::Stat::is_stopped),
            },
        },
    )
}

/// Whether the process is alive and the one that was looked at.
pub fn still(process: &Process) -> bool {
    let Ok(table) = Table::open() else { return false };
    Seen::open(process.pid).is_some_and(|seen| difference(&table, &seen, process).is_none())
}

/// In what the process behind a number differs from the one that was looked at.
fn difference(table: &Table, seen: &Seen, process: &Process) -> Option<String> {
    let Some(stat) = seen.stat().filter(|stat| stat.is_alive()) else {
        return Some("it has ended".to_owned());
    };
    if stat.started_ticks != process.started_ticks {
        return Some("its number belongs to a process that started at another time".to_owned());
    }
    if stat.is_kernel() {
        return Some("it is a thread of the kernel".to_owned());
    }
    if seen.owner().is_none_or(|owner| owner.effective != process.uid) {
        return Some("it runs as another user".to_owned());
    }
    if table.executable(seen) != process.executable.as_deref() {
        return Some("it has become another program".to_owned());
    }
    None
}

/// A process behind its pidfd.
struct Target<'a> {
    handle: OwnedFd,
    about: &'a dyn Fn() -> String,
}

impl Target<'_> {
    /// Sends a signal. `false` where the process has ended.
    fn signal(&self, signal: Signal) -> Result<bool> {
        match rustix::process::pidfd_send_signal(&self.handle, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(Errno::PERM | Errno::ACCESS) => Err(Error::denied(format!(
                "the kernel does not let us end {}",
                (self.about)()
            ))
            .hint("run as the user whose process it is, or end it by hand")),
            Err(error) => Err(
                Error::failed(format!("cannot signal {}: {error}", (self.about)()))
                    .hint("end it by hand, then run again"),
            ),
        }
    }

    /// As [`Target::ends_within`], until a signal asks the run to stop.
    fn ends_unless(&self, time: Duration, cancelled: &AtomicBool) -> Result<bool> {
        let start = Instant::now();
        loop {
            if cancelled.load(Ordering::Relaxed) {
                return Err(Error::cancelled(format!(
                    "a signal came while {} was asked to end",
                    (self.about)()
                )));
            }
            let left = time.saturating_sub(start.elapsed());
            if self.ends_within(left.min(SIGNALS))? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    /// Waits for the end.
    fn ends_within(&self, time: Duration) -> Result<bool> {
        let start = Instant::now();
        loop {
            let left = time.saturating_sub(start.elapsed());
            let wait = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut ends = [PollFd::new(&self.handle, PollFlags::IN)];
            match rustix::event::poll(&mut ends, Some(&wait)) {
                Ok(0) if left.is_zero() => return Ok(false),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => {
                    return Err(Error::failed(format!(
                        "cannot wait for the end of {}: {error}",
                        (self.about)()
                    ))
                    .hint("look whether it still runs"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::Trial;
    use super::super::{Query, Scope, find, look};
    use super::*;
    use crate::base::error::Kind;

    const STUBBORN: &str = "trap '' TERM; echo ready; read line";

    fn end(process: &Process, grace: Duration, kill: bool) -> Result<Ended> {
        stop(
            &Permit::for_tests(),
            &Broker::default(),
            process,
            &Stop { grace, kill },
            &AtomicBool::new(false),
        )
    }

    #[test]
    fn a_process_that_minds_term_is_gone() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let process = child.process();
        assert!(still(&process));
        assert_eq!(
            end(&process, Duration::from_secs(30), false).expect("ended"),
            Ended::Gone
        );
        assert!(!still(&process));
        assert_eq!(
            end(&process, Duration::from_secs(30), false).expect("a zombie is gone"),
            Ended::Gone
        );
        child.end();
        assert_eq!(
            end(&process, Duration::from_secs(30), false).expect("no such number"),
            Ended::Gone
        );
    }

    #[test]
    fn a_stopped_process_is_woken_to_end() {
        let trial = Trial::new();
        let child = trial.shell("trap 'exit 0' TERM; echo ready; kill -STOP $$; read line");
        let stopped = || {
            Seen::open(child.pid())
                .is_some_and(|seen| seen.stat().is_some_and(super::super::table::Stat::is_stopped))
        };
        Trial::until("the child halts", stopped);
        assert_eq!(
            end(&child.process(), Duration::from_secs(30), false).expect("ended"),
            Ended::Gone
        );
    }

    #[test]
    fn one_that_ignores_term_survives_and_is_reported() {
        let trial = Trial::new();
        let child = trial.shell(STUBBORN);
        let process = child.process();
        assert_eq!(
            end(&process, Duration::from_millis(20), false).expect("tried"),
            Ended::Survived
        );
        assert!(still(&process));
    }

    #[test]
    fn one_that_ignores_term_is_killed_where_allowed() {
        let trial = Trial::new();
        let child = trial.shell(STUBBORN);
        let process = child.process();
        assert_eq!(
            end(&process, Duration::from_millis(20), true).expect("ended"),
            Ended::Killed
        );
        assert!(!still(&process));
    }

    #[test]
    fn a_number_that_changed_hands_is_left_alone() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let is = child.process();
        let others = [
            Process {
                started_ticks: is.started_ticks.wrapping_sub(1),
                ..is.clone()
            },
            Process {
                executable: Some("/usr/bin/database".into()),
                ..is.clone()
            },
            Process {
                uid: is.uid.wrapping_add(1),
                ..is.clone()
            },
        ];
        for was in others {
            let ended = end(&was, Duration::from_millis(20), true).expect("looked at");
            assert!(matches!(ended, Ended::NotOurs(_)), "{ended:?}");
            assert!(!still(&was));
        }
        assert!(still(&is));
    }

    #[test]
    fn one_that_became_another_program_is_left_alone() {
        let trial = Trial::new();
        let child = trial.shell("echo ready; read line; exec cat");
        let process = child.process();
        child.say("go");
        Trial::until("the child becomes another program", || {
            look(child.pid())
                .expect("a proc file system")
                .is_some_and(|now| now.executable != process.executable)
        });
        let ended = end(&process, Duration::from_millis(20), true).expect("looked at");
        assert_eq!(ended, Ended::NotOurs("it has become another program".to_owned()));
        assert!(still(&child.process()));
    }

    #[test]
    fn another_users_process_is_left_alone() {
        if !rustix::process::geteuid().is_root() {
            return crate::skipped::skipped(
                "only root can start one, and only root would the kernel let end it",
            );
        }
        let stranger = Trial::stranger("rollback-stranger");
        let query = Query {
            argument: Some("rollback-stranger".to_owned()),
            ..Query::default()
        };
        let found = find(&query, &Scope::User).expect("a proc file system");
        assert!(found.processes.is_empty(), "{found:?}");
        let passed = found
            .passed_over
            .iter()
            .find(|passed| passed.pid == Some(stranger.pid()));
        assert!(
            passed.is_some_and(|passed| passed.why.contains("belongs to user")),
            "{found:?}"
        );
        let ended = end(&stranger.process(), Duration::from_millis(20), true).expect("looked at");
        assert_eq!(
            ended,
            Ended::NotOurs("it does not run as our own user".to_owned())
        );
        assert!(still(&stranger.process()));
    }

    /// The decision alone: where it were wrong, an act would end the tests, and what has started them.
    #[test]
    fn what_started_this_run_is_refused() {
        let table = Table::open().expect("a proc file system");
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        let parent = std::os::unix::process::parent_id();
        let this = look(own).expect("a proc file system").expect("we are here");
        for pid in [own, i32::try_from(parent).expect("a pid fits"), 1, 0, -1] {
            let error = require_other(&table, &Process { pid, ..this.clone() }).expect_err("refused");
            assert_eq!(error.kind(), Kind::Denied, "{pid}");
        }
        let trial = Trial::new();
        require_other(&table, &trial.named("serve", &[]).process()).expect("a child is somebody else");
    }

    /// A child stands in for what has started this run.
    #[test]
    fn what_is_refused_is_not_signalled() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let process = child.process();
        let table = Table::open()
            .expect("a proc file system")
            .with_ancestor(child.pid());
        let how = Stop {
            grace: Duration::ZERO,
            kill: true,
        };
        let calm = AtomicBool::new(false);
        let error = stop_other(
            &Permit::for_tests(),
            &Broker::default(),
            &process,
            &how,
            &calm,
            &table,
        )
        .expect_err("refused");
        assert_eq!(error.kind(), Kind::Denied);
        assert!(still(&process));
    }

    #[test]
    fn the_end_of_a_process_is_waited_for_and_no_longer_than_told() {
        let trial = Trial::new();
        let child = trial.named("serve", &[]);
        let process = child.process();
        let calm = AtomicBool::new(false);
        assert!(!ends_within(&process, Duration::from_millis(20), &calm).expect("a wait"));
        child.end();
        assert!(ends_within(&process, Duration::ZERO, &calm).expect("a wait"));
    }
}

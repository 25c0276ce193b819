//! Ending processes: TERM, wait, KILL where allowed; the outcome is told honestly.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::base::redact;
use crate::host::Host;
use crate::host::files::Demand;
use crate::host::processes::{self, Disposition, Ended, PassedOver, Process, Scope, Stop};
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::View;
use crate::view::overlay::Overlay;

/// Processes that end together.
#[derive(Debug)]
pub struct EndProcesses {
    /// Loops that would start them again: they end first.
    pub loops: Vec<Process>,
    /// As they were looked at.
    pub processes: Vec<Process>,
    /// What belonged to them then, and has to end with them.
    pub family: Vec<Process>,
    /// Where what belongs to them has to be.
    pub scope: Scope,
    /// How long each may take after TERM.
    pub grace: Duration,
    /// Whether KILL follows.
    pub kill: Kill,
    /// Directories of the workspace in which they have files open for writing: until they have ended, what is in them
    /// may change.
    pub writes: Vec<PathBuf>,
}

/// Who gets KILL after the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Nobody.
    Never,
    /// Those that were seen to ignore TERM.
    Ignoring,
    /// Everyone who is still there.
    Always,
}

impl Kill {
    /// What a script's options say.
    #[must_use]
    pub const fn of(kill: bool, kill_ignoring: bool) -> Self {
        match (kill, kill_ignoring) {
            (true, _) => Self::Always,
            (false, true) => Self::Ignoring,
            (false, false) => Self::Never,
        }
    }
}

impl Operation for EndProcesses {
    fn risk(&self) -> Risk {
        Risk::Disruptive
    }

    fn needs(&self) -> Vec<Capability> {
        self.loops
            .iter()
            .chain(&self.processes)
            .map(|process| Capability::Signal {
                pid: process.pid,
                command: process.describe(),
            })
            .collect()
    }

    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    fn undo(&self) -> Undo {
        // A loop starts what was in it.
        let looped = |process: &&Process| self.loops.iter().any(|each| each.pid == process.parent);
        let typed: Vec<String> = self
            .loops
            .iter()
            .chain(self.processes.iter().filter(|process| !looped(process)))
            .map(|process| redact::redact(&process.start()))
            .collect();
        Undo::Nothing {
            why: format!(
                "a stopped process is not started again; start it by hand: {}",
                typed.join(" ; ")
            ),
        }
    }

    fn effect(&self) -> Value {
        json!({ "grace_ms": self.grace.as_millis(), "kill": format!("{:?}", self.kill) })
    }

    fn facts(&self) -> Vec<Fact> {
        // What one of them has started goes with it, and may come and go until then.
        let all = || self.loops.iter().chain(&self.processes);
        let stands_alone = |process: &&Process| !all().any(|other| other.pid == process.parent);
        all()
            .filter(stands_alone)
            .map(|process| {
                let command = redact::redact(&process.describe());
                let mut seen = json!({ "started_ticks": process.started_ticks, "command": command });
                if process.on_term != Disposition::Acted {
                    seen["on_term"] = json!(process.on_term);
                }
                Fact::new(format!("process {}", process.pid), seen)
            })
            .collect()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for process in self.loops.iter().chain(&self.processes).chain(&self.family) {
            overlay.end_process(process.pid, process.started_ticks);
        }
        for directory in &self.writes {
            overlay.unsettle(directory);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let mut tale = Tale::default();
        for each in &self.loops {
            if let Err(error) = self.end_loop(permit, host, each, &mut tale) {
                return Err(tale.before(error));
            }
        }
        for process in &self.processes {
            if let Err(error) = self.end(permit, host, process, &mut tale) {
                return Err(tale.before(error));
            }
        }
        if tale.survivors.is_empty() {
            return Ok(Done {
                why: (!tale.remarks.is_empty()).then(|| tale.remarks.join("; ")),
                ..Done::default()
            });
        }
        let seconds = self.grace.as_secs();
        let survivors = tale.survivors.iter().map(named).collect::<Vec<_>>().join(", ");
        let (processes, are) = match tale.survivors.len() {
            1 => ("process", "is"),
            _ => ("processes", "are"),
        };
        let error = Error::failed(format!(
            "{processes} {survivors} {are} still running {seconds} s after TERM"
        ))
        .hint("stop it by hand, or allow it to be killed: `--param kill=true` (the stories), #{ kill: true } (a script)");
        Err(tale.before(error))
    }
}

/// What became of whom.
#[derive(Debug, Default)]
struct Tale {
    remarks: Vec<String>,
    survivors: Vec<Process>,
}

impl Tale {
    /// A failure that does not conceal what was done before it.
    fn before(&self, error: Error) -> Error {
        if self.remarks.is_empty() {
            return error;
        }
        error.context(self.remarks.join("; ")).after_changes()
    }
}

impl EndProcesses {
    /// How to end processes, with all that belongs to them.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(view: &View, processes: Vec<Process>, grace: Duration, kill: Kill) -> Result<Self> {
        let scope = view.scope();
        let mut family = Vec::new();
        for process in &processes {
            for member in view.host.broker.family(process, &scope)?.processes {
                let is_same =
                    |other: &Process| (other.pid, other.started_ticks) == (member.pid, member.started_ticks);
                // One that is named itself, or belongs to two of them, is told once.
                if !processes.iter().chain(&family).any(is_same) {
                    family.push(member);
                }
            }
        }
        let everyone: Vec<&Process> = processes.iter().chain(&family).collect();
        let writes = view.written_by(&everyone)?;
        Ok(Self {
            loops: Vec::new(),
            processes,
            family,
            scope,
            grace,
            kill,
            writes,
        })
    }

    /// Who ends along with them, and who won't by itself, for the plan.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Failed`] for those that ignore TERM where nobody may be killed: they can't be ended.
    pub fn company(&self) -> Result<Option<String>> {
        let who = |disposition: Disposition, tell: fn(&Process) -> String| -> Vec<String> {
            let all = self.loops.iter().chain(&self.processes).chain(&self.family);
            all.filter(|process| process.on_term == disposition)
                .map(tell)
                .collect()
        };
        if self.kill == Kill::Never {
            let ignoring = who(Disposition::Ignored, named);
            let (ignore, them) = match ignoring.len() {
                0 | 1 => ("ignores", "it"),
                _ => ("ignore", "them"),
            };
            if !ignoring.is_empty() {
                return Err(Error::failed(format!(
                    "{} {ignore} TERM: only KILL ends {them}, which is not allowed here",
                    ignoring.join(", ")
                ))
                .hint(
                    "stop it by hand (`kill -KILL`), or let the script do it: \
                     #{ kill_ignoring: true } for those that ignore TERM, #{ kill: true } for all that are slow",
                ));
            }
        }
        let mut parts = Vec::new();
        let loops: Vec<String> = self.loops.iter().map(named).collect();
        if !loops.is_empty() {
            let loops = loops.join(", ");
            parts.push(format!("first the loop that would start it again: {loops}"));
        }
        let family: Vec<String> = self.family.iter().map(named).collect();
        if !family.is_empty() {
            parts.push(format!("and what it has started: {}", family.join(", ")));
        }
        let ignoring = who(Disposition::Ignored, |process| process.pid.to_string());
        if !ignoring.is_empty() {
            parts.push(format!(
                "TERM is ignored by {}: KILL will be needed",
                ignoring.join(", ")
            ));
        }
        let blocking = who(Disposition::Blocked, |process| process.pid.to_string());
        if !blocking.is_empty() {
            let allowed = if self.kill == Kill::Always {
                ""
            } else {
                ", which is not allowed here"
            };
            parts.push(format!(
                "TERM is held back by {}: KILL may be needed{allowed}",
                blocking.join(", ")
            ));
        }
        Ok((!parts.is_empty()).then(|| parts.join("; ")))
    }

    /// How one of them is ended.
    fn how(&self, process: &Process) -> Stop {
        let kill = match self.kill {
            Kill::Never => false,
            Kill::Ignoring => process.on_term == Disposition::Ignored,
            Kill::Always => true,
        };
        Stop {
            grace: self.grace,
            kill,
        }
    }

    /// Ends a loop before what it would start again.
    fn end_loop(&self, permit: &Permit, host: &Host, each: &Process, tale: &mut Tale) -> Result<()> {
        let why = match processes::stop(permit, &host.broker, each, &self.how(each), &host.cancelled)? {
            Ended::Gone | Ended::Killed => {
                let loop_ended = format!(
                    "{}, which would have started it again, was ended first",
                    named(each)
                );
                tale.remarks.push(loop_ended);
                return Ok(());
            }
            Ended::Survived => "it does not end".to_owned(),
            Ended::NotOurs(why) => why,
        };
        Err(Error::failed(format!(
            "the loop in {}, which would start the service again, was not ended: {why}",
            named(each)
        ))
        .hint("end it by hand, then run again"))
    }

    /// Ends one process and then what it leaves behind.
    fn end(&self, permit: &Permit, host: &Host, process: &Process, tale: &mut Tale) -> Result<()> {
        // Whom it has started by now: nobody can tell once it has ended.
        let family = host.broker.family(process, &self.scope)?;
        match processes::stop(permit, &host.broker, process, &self.how(process), &host.cancelled)? {
            Ended::Gone => {}
            Ended::Killed => tale.remarks.push(format!("{} had to be killed", process.pid)),
            Ended::NotOurs(why) => {
                tale.remarks
                    .push(format!("{} was left alone: {why}", process.pid));
                return Ok(());
            }
            Ended::Survived => {
                // It needs what it has started for as long as it runs.
                tale.survivors.push(process.clone());
                return Ok(());
            }
        }
        let mut strangers: Vec<PassedOver> = family.passed_over;
        let mut late: Vec<Process> = Vec::new();
        for member in &family.processes {
            if self.has_own_turn(member) {
                continue;
            }
            // What it has started since then would be lost to sight with it. A family that goes on growing is not run
            // after any further.
            let again = host.broker.family(member, &self.scope)?;
            let is_new = |pid: i32| {
                let known = family.processes.iter().chain(&late).any(|known| known.pid == pid);
                !known && strangers.iter().all(|known| known.pid != Some(pid))
            };
            let more: Vec<Process> = again
                .processes
                .into_iter()
                .filter(|other| is_new(other.pid))
                .collect();
            let others: Vec<PassedOver> = again
                .passed_over
                .into_iter()
                .filter(|other| other.pid.is_some_and(is_new))
                .collect();
            late.extend(more);
            strangers.extend(others);
            self.end_left_behind(permit, host, (member, process), tale)?;
        }
        for member in late.iter().filter(|member| !self.has_own_turn(member)) {
            self.end_left_behind(permit, host, (member, process), tale)?;
        }
        for left in strangers {
            let pid = left.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
            tale.remarks.push(format!(
                "{} had started{pid} (`{}`), which was left alone: {}",
                process.pid, left.command, left.why
            ));
        }
        Ok(())
    }

    fn end_left_behind(
        &self,
        permit: &Permit,
        host: &Host,
        (member, process): (&Process, &Process),
        tale: &mut Tale,
    ) -> Result<()> {
        let now = host.broker.look(member.pid)?;
        if now.is_none_or(|now| now.started_ticks != member.started_ticks) {
            tale.remarks
                .push(format!("{} ended with {}", named(member), process.pid));
            return Ok(());
        }
        let what = format!("{}, left behind by {},", named(member), process.pid);
        match processes::stop(permit, &host.broker, member, &self.how(member), &host.cancelled)? {
            Ended::Gone => tale.remarks.push(format!("{what} was stopped too")),
            Ended::Killed => tale.remarks.push(format!("{what} had to be killed")),
            Ended::NotOurs(why) => tale.remarks.push(format!("{what} was left alone: {why}")),
            Ended::Survived => tale.survivors.push(member.clone()),
        }
        Ok(())
    }

    /// Whether it is one of those that are named themselves.
    fn has_own_turn(&self, member: &Process) -> bool {
        self.processes
            .iter()
            .any(|other| (other.pid, other.started_ticks) == (member.pid, member.started_ticks))
    }
}

fn named(process: &Process) -> String {
    format!("{} (`{}`)", process.pid, process.describe())
}

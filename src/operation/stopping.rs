//! Ending processes: TERM, wait, KILL where allowed; the outcome is told honestly.

use std::time::Duration;

use serde_json::json;

use crate::error::{Error, Result};
use crate::gate::{Overlay, Permit};
use crate::host::Host;
use crate::host::processes::{self, Ended, Process, Scope, Stop};
use crate::operation::{Capability, Done, Fact, Operation, Risk, Undo};

/// Processes that end together.
#[derive(Debug)]
pub struct EndProcesses {
    /// As they were looked at.
    pub processes: Vec<Process>,
    /// What belonged to them then, and has to end with them.
    pub family: Vec<Process>,
    /// Where what belongs to them has to be.
    pub scope: Scope,
    /// How long each may take after TERM.
    pub grace: Duration,
    /// Whether KILL follows.
    pub kill: bool,
}

impl Operation for EndProcesses {
    fn risk(&self) -> Risk {
        Risk::Disruptive
    }

    fn needs(&self) -> Vec<Capability> {
        self.processes
            .iter()
            .map(|process| Capability::Signal {
                pid: process.pid,
                command: process.describe(),
            })
            .collect()
    }

    fn undo(&self) -> Undo {
        Undo::Nothing {
            why: "a stopped process is not started again; start it by hand".to_owned(),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        self.processes
            .iter()
            .map(|process| Fact {
                about: format!("process {}", process.pid),
                seen: json!({ "started_ticks": process.started_ticks, "command": crate::gate::redact::redact(&process.describe()) }),
            })
            .collect()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for process in self.processes.iter().chain(&self.family) {
            overlay.end_process(process.pid, process.started_ticks);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let stop = Stop {
            grace: self.grace,
            kill: self.kill,
        };
        let mut remarks = Vec::new();
        let mut survivors = Vec::new();
        for process in &self.processes {
            // Whom it has started by now: nobody can tell once it has ended.
            let family = host.eyes.family(process, &self.scope)?;
            match processes::stop(permit, &host.eyes, process, &stop)? {
                Ended::Gone => {}
                Ended::Killed => remarks.push(format!("{} had to be killed", process.pid)),
                Ended::NotOurs(why) => {
                    remarks.push(format!("{} was left alone: {why}", process.pid));
                    continue;
                }
                Ended::Survived => {
                    survivors.push(process.clone());
                    continue;
                }
            }
            for left in family.passed_over.iter().filter(|left| !left.command.is_empty()) {
                let pid = left.pid.map(|pid| format!(" {pid}")).unwrap_or_default();
                remarks.push(format!(
                    "{} had started{pid} (`{}`), which was left alone: {}",
                    process.pid, left.command, left.why
                ));
            }
            for member in family.processes {
                let own_turn = self
                    .processes
                    .iter()
                    .any(|other| (other.pid, other.started_ticks) == (member.pid, member.started_ticks));
                if own_turn || !host.eyes.is_alive(&member)? {
                    continue;
                }
                let what = format!(
                    "{} (`{}`), left behind by {},",
                    member.pid,
                    member.describe(),
                    process.pid
                );
                match processes::stop(permit, &host.eyes, &member, &stop)? {
                    Ended::Gone => remarks.push(format!("{what} was stopped too")),
                    Ended::Killed => remarks.push(format!("{what} had to be killed")),
                    Ended::NotOurs(why) => remarks.push(format!("{what} was left alone: {why}")),
                    Ended::Survived => survivors.push(member),
                }
            }
        }
        if let Some(first) = survivors.first() {
            let seconds = self.grace.as_secs();
            return Err(Error::failed(format!(
                "process {} (`{}`) is still running {seconds} s after TERM",
                first.pid,
                first.describe()
            ))
            .hint("stop it by hand, or allow the script to kill it: #{ kill: true }"));
        }
        Ok(Done {
            why: (!remarks.is_empty()).then(|| remarks.join("; ")),
            ..Done::default()
        })
    }
}

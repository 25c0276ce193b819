//! Ending processes: TERM, wait, KILL where allowed; the outcome is told honestly.

use std::time::Duration;

use serde_json::json;

use crate::error::{Error, Result};
use crate::gate::{Overlay, Permit};
use crate::host::Host;
use crate::host::processes::{self, Ended, Process, Stop};
use crate::operation::{Capability, Done, Fact, Operation, Risk, Undo};

/// Processes that end together.
#[derive(Debug)]
pub struct EndProcesses {
    /// As they were looked at.
    pub processes: Vec<Process>,
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
        for process in &self.processes {
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
            match processes::stop(permit, &host.eyes, process, &stop)? {
                Ended::Gone => {}
                Ended::Killed => remarks.push(format!("{} had to be killed", process.pid)),
                Ended::NotOurs(why) => remarks.push(format!("{} was left alone: {why}", process.pid)),
                Ended::Survived => survivors.push(process),
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

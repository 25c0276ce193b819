//! Stopping a service through what keeps it, which would start it again behind our back.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::base::redact;
use crate::host::Host;
use crate::host::files::Demand;
use crate::host::processes::{self, Process};
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::overlay::Overlay;

/// How long the command itself may take.
const COMMAND: Duration = Duration::from_mins(1);

/// A service that its keeper's own command stops.
#[derive(Debug)]
pub struct StopThroughKeeper {
    /// The process, as it was looked at.
    pub process: Process,
    /// Program and arguments.
    pub stop: Vec<String>,
    /// Program and arguments that start it again.
    pub start: Vec<String>,
    /// Variables of the command.
    pub environment: Vec<(String, String)>,
    /// Where the command runs: the workspace.
    pub cwd: PathBuf,
    /// How long the process may take to end after it.
    pub grace: Duration,
    /// Where it may still write until then.
    pub writes: Vec<PathBuf>,
}

impl Operation for StopThroughKeeper {
    fn risk(&self) -> Risk {
        Risk::Disruptive
    }

    fn needs(&self) -> Vec<Capability> {
        let signal = Capability::Signal {
            pid: self.process.pid,
            command: self.process.describe(),
        };
        let program = self.stop.first().cloned().unwrap_or_default();
        vec![signal, Capability::Command { program }]
    }

    fn demands(&self) -> Vec<Demand> {
        Vec::new()
    }

    fn undo(&self) -> Undo {
        // What a variable says of the daemon is not kept in the record of an undo.
        if self.environment.is_empty() {
            return Undo::Command {
                argv: self.start.clone(),
                cwd: ".".to_owned(),
            };
        }
        Undo::Nothing {
            why: format!(
                "start it through its keeper: `{}`",
                redact::redact(&self.start.join(" "))
            ),
        }
    }

    fn effect(&self) -> Value {
        json!({ "stop": self.stop, "grace_ms": self.grace.as_millis() })
    }

    fn facts(&self) -> Vec<Fact> {
        // Its keeper may have started it anew since: the number is no part of what was approved.
        Vec::new()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.end_process(self.process.pid, self.process.started_ticks);
        for path in &self.writes {
            overlay.unsettle(path);
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let output = host.run_listed(permit, &self.stop, &self.cwd, &self.environment, Some(COMMAND))?;
        if processes::ends_within(&self.process, self.grace, &host.cancelled)? {
            return Ok(Done {
                output: Some(output),
                ..Done::default()
            });
        }
        Err(Error::failed(format!(
            "process {} (`{}`) still runs after `{}`",
            self.process.pid,
            self.process.describe(),
            self.stop.join(" ")
        ))
        .hint("look what its keeper says of it, and stop it there")
        .after_changes())
    }
}

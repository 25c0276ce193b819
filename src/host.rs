//! The only module that changes the world. Every function that does takes `&Permit`; only the program's own records
//! need none, because a permit rests on them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::audit::permit::Permit;
use crate::base::clock;
use crate::base::error::{Error, Result};
use crate::base::redact::redact;
use crate::workspace::Workspace;

/// What this machine can do.
pub mod abilities;

/// Programs: found once, run without a shell.
pub mod commands;

/// The kernel's own wall.
pub mod confine;

/// Opening databases.
pub mod databases;

/// Containers, images and volumes.
pub mod docker;

/// Files and directories, below open roots.
pub mod files;

/// A run that the monitor starts, as a program of its own.
pub mod launch;

/// Temporaries that could not be removed.
pub mod leftovers;

/// A page for programs on the loopback interface.
pub mod listen;

/// Lines of `logs/` that other programs read too.
pub mod logs;

/// Mail.
pub mod mail;

/// Memory in figures.
pub mod memory;

/// Ports and HTTP probes.
pub mod net;

/// Files that a person names with `-o`.
pub mod outputs;

/// Packages of npm and of a Python environment.
pub mod packages;

/// Processes: looked at exactly, ended through a pidfd.
pub mod processes;

/// The list of trusted directories, in the user's own configuration.
pub mod private;

/// Commands that a preview has run over a layer, for the passes that follow.
pub mod rehearsals;

/// Looks that a test can take away.
pub mod sight;

/// Commands that run over a layer of the workspace, and what they changed in it.
pub mod transaction;

/// Alerts are sent: each channel by itself, all of them within one deadline.
pub mod delivery;

/// Output of a command that is kept, in bytes.
const OUTPUT: usize = 64 << 10;

/// The world, as far as one workspace reaches.
#[derive(Debug)]
pub struct Host {
    /// Files and directories.
    pub files: files::Files,
    /// Processes, as they are looked at.
    pub broker: processes::Broker,
    /// The looks of this host, which a test can take away.
    pub sight: sight::Sight,
    /// Time.
    pub clock: clock::Clock,
    /// The program's own records.
    pub records: crate::records::Records,
    /// Lines of `logs/`.
    pub logs: logs::Logs,
    /// The channels of alerts, and their outbox.
    pub alerts: crate::alert::Alerts,
    /// Package managers.
    pub packages: packages::managers::Managers,
    /// Set by a signal; commands end then.
    pub cancelled: Arc<AtomicBool>,
    /// Where commands are rehearsed, and what came of each.
    pub rehearsals: rehearsals::Rehearsals,
    workspace: Workspace,
}

impl Host {
    /// The host of a workspace.
    ///
    /// # Errors
    /// Where a root can't be opened.
    pub fn open(workspace: &Workspace, clock: clock::Clock, cancelled: Arc<AtomicBool>) -> Result<Self> {
        let records = crate::records::Records::of(workspace);
        Ok(Self {
            files: files::Files::open(workspace.roots())?,
            broker: processes::Broker::default(),
            sight: sight::Sight::default(),
            logs: logs::Logs::new(records.clone(), clock.clone(), workspace),
            alerts: crate::alert::Alerts::open(workspace, &clock)?,
            packages: packages::managers::Managers::new(workspace),
            clock,
            records,
            cancelled,
            rehearsals: rehearsals::Rehearsals::default(),
            workspace: workspace.clone(),
        })
    }

    /// The configured container engine, if its program is there.
    #[must_use]
    pub fn engine(&self) -> crate::base::known::Known<docker::Engine> {
        docker::Engine::find(&self.workspace.config().docker, self.workspace.root())
    }

    /// Runs a program that the policy lists, and waits for it. Gives the end of its output, redacted.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::NotFound`] for an unknown program; [`crate::base::error::Kind::Failed`] for one that fails or
    /// runs past its deadline.
    pub fn run_listed(
        &self,
        permit: &Permit,
        argv: &[String],
        cwd: &Path,
        environment: &[(String, String)],
        timeout: Option<Duration>,
    ) -> Result<String> {
        let invocation = self.listed(argv, cwd, environment, timeout)?;
        let ran = commands::run(permit, &invocation, Some(&self.cancelled))?;
        if !ran.succeeded() {
            let program = argv.first().map(String::as_str).unwrap_or_default();
            return Err(
                Error::failed(format!("`{program}` failed: {}", redact(&ran.failure())))
                    .hint("what it changed before it failed is not known")
                    .after_changes(),
            );
        }
        Ok(kept_output(&ran))
    }

    /// A program that the policy lists, as it is started.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::NotFound`] for an unknown program.
    pub fn listed(
        &self,
        argv: &[String],
        cwd: &Path,
        environment: &[(String, String)],
        timeout: Option<Duration>,
    ) -> Result<commands::Invocation> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| Error::invalid("the command names no program"))?;
        let root = self.workspace.root();
        let mut invocation = commands::Invocation::new(commands::find_program(program, root)?, root)
            .arguments(arguments)
            .cwd(cwd)
            .timeout(timeout.unwrap_or(Duration::from_secs(600)));
        for (name, value) in environment {
            invocation = invocation.variable(name, value);
        }
        Ok(invocation)
    }
}

/// What is kept of a command's output, redacted.
#[must_use]
pub fn kept_output(ran: &commands::Ran) -> String {
    let output = String::from_utf8_lossy(&ran.stdout);
    redact(
        output
            .get(..output.floor_char_boundary(OUTPUT))
            .unwrap_or(&output),
    )
}

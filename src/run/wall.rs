//! The kernel's wall around a command: put up once, before anything is looked at that a script or a stranger wrote.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode as FileMode, OFlags};
use tracing::debug;

use super::Context;
use crate::base::error::{Error, Result};
use crate::host::confine::{self, Mode, Wall};
use crate::host::packages::pip;
use crate::host::packages::tree::Disk;

impl Context {
    /// Confines the program from here on. Gives what the person is to be told where the kernel can't do all of it.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] where the kernel refuses, or where `policy.require_confinement` wants more than it
    /// has; nothing was changed then.
    pub fn confine(&self, mode: Mode) -> Result<Option<String>> {
        let (wall, warning) = self.wall_of(mode)?;
        confine::require_alone()?;
        self.host.broker.keep_open()?;
        let layers = self.layers()?;
        let python = self.python();
        let mut open: Vec<_> = self.host.files.open_roots().collect();
        open.extend(python.iter().chain(&layers).map(AsFd::as_fd));
        wall.put_up(&open)?;
        self.wall
            .set(wall)
            .map_err(|_| Error::bug("the wall was put up twice"))?;
        Ok(warning)
    }

    /// Makes ready for rehearsals, where a preview may run a listed command: nothing can be mounted under the wall. Gives
    /// the directory in which their layers will be.
    fn layers(&self) -> Result<Option<OwnedFd>> {
        if !self.workspace.config().policy.commands.any_rehearsed() {
            return Ok(None);
        }
        self.host
            .rehearsals
            .prepare(self.workspace.root(), &self.host.files)
    }

    /// Confines a program that watches: it writes its own records and lines of `logs/`, and nothing else. `before` starts
    /// what has to stand outside of the wall.
    ///
    /// # Errors
    /// As [`Context::confine`], and what `before` says.
    pub fn confine_watching(&self, before: impl FnOnce() -> Result<()>) -> Result<Option<String>> {
        let (wall, warning) = self.wall_of(Mode::Real)?;
        confine::require_alone()?;
        self.host.broker.keep_open()?;
        before()?;
        let log = |channel: &crate::workspace::alerts_config::Channel| channel.log.is_some();
        if self.workspace.config().alerts.channels.iter().any(log) {
            let logs = self.workspace.root().join(crate::workspace::LOGS);
            self.host.records.directory(&logs)?;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let maintenance: Vec<OwnedFd> = [crate::workspace::STATE, crate::workspace::LOGS]
            .iter()
            .filter_map(|maintenance| {
                rustix::fs::open(self.workspace.root().join(maintenance), flags, FileMode::empty()).ok()
            })
            .collect();
        wall.put_up(&maintenance.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
        Ok(warning)
    }

    /// What the kernel could do of it, and the warning; changes nothing.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] where `policy.require_confinement` wants more.
    pub fn wall_of(&self, mode: Mode) -> Result<(Wall, Option<String>)> {
        let wall = Wall::on(confine::interface(), mode);
        debug!(landlock = confine::interface(), ?mode, "confines");
        // A build whose own walls can be taken down relies on this one.
        let required = self.workspace.config().policy.require_confinement || cfg!(feature = "broken-walls");
        let warning = wall.require(required)?;
        Ok((wall, warning))
    }

    /// A Python environment that `rollback.yaml` names by its whole path; its packages may be uninstalled. One that is
    /// named relative to the workspace has to lie in it, or in a directory of `policy.write`.
    fn python(&self) -> Option<OwnedFd> {
        let configured = &self.workspace.config().python;
        if !configured.starts_with('/') {
            return None;
        }
        let environment = pip::environment(&Disk, self.workspace.root(), configured).ok()??;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(environment, flags, FileMode::empty()).ok()
    }

    /// What the person is told of a wall that is not whole.
    pub(crate) fn wall_warning(&self) -> Option<String> {
        self.wall.get().and_then(Wall::warning)
    }

    /// Whoever changes something was confined for it.
    pub(crate) fn require_wall(&self) -> Result<()> {
        match self.wall.get() {
            Some(wall) if wall.mode == Mode::Real => Ok(()),
            _ => Err(Error::bug("a command that changes something was not confined")),
        }
    }
}

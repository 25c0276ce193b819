//! The two managers of a workspace: which program, in which place, with a cache of ours inside `.rollback/`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tracing::debug;

use super::installer::Installer;
use super::tree::{self, Disk, Tree};
use super::{Manager, npm, pip, uv};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::base::redact::redact;
use crate::host::commands::{self, Invocation, Ran};
use crate::host::files::{Expect, Files};
use crate::workspace::{CACHE, Workspace};

/// The managers of a workspace.
#[derive(Debug, Clone)]
pub struct Managers {
    root: PathBuf,
    python: String,
    cache: PathBuf,
}

impl Managers {
    /// The managers of a workspace. Nothing is looked for yet.
    #[must_use]
    pub fn new(workspace: &Workspace) -> Self {
        Self {
            root: workspace.root().to_path_buf(),
            python: workspace.config().python.clone(),
            cache: workspace.root().join(CACHE),
        }
    }

    /// What changes the packages of a manager, and where its packages are, links followed; or why nothing can.
    ///
    /// # Errors
    /// What the system says.
    pub fn installer(&self, tree: &dyn Tree, manager: Manager) -> Result<Known<Installer>> {
        let installer = match self.environment(tree) {
            _ if manager == Manager::Npm => Installer::npm(&self.root),
            Ok(Some(environment)) => Installer::of_environment(tree, &environment, &self.root)?,
            Ok(None) => Known::Unknown(format!(
                "there is no Python environment `{}`: name it as `python` in `rollback.yaml`",
                self.python
            )),
            Err(error) => return Err(error),
        };
        debug!(?manager, ?installer, "who changes packages");
        Ok(installer)
    }

    /// The Python environment, links followed.
    ///
    /// # Errors
    /// What the system says.
    pub fn environment(&self, tree: &dyn Tree) -> Result<Option<PathBuf>> {
        let Some(place) = pip::environment(tree, &self.root, &self.python)? else {
            return Ok(None);
        };
        let real = tree::follow(tree, &place)
            .map_err(|error| Error::io(format_args!("look at `{}`", place.display()), &error))?;
        Ok(real.map(|(real, _)| real))
    }

    /// The installer at the moment of the act.
    fn at_hand(&self, manager: Manager) -> Result<Installer> {
        match self.installer(&Disk, manager)? {
            Known::Yes(installer) => Ok(installer),
            Known::Unknown(why) => {
                Err(Error::not_found(why).hint("install what is lacking, then run this again"))
            }
        }
    }

    /// Uninstalls packages, all in one command. Gives the command's last line.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::NotFound`] where the manager is not there, [`crate::base::error::Kind::Failed`] where it fails.
    pub fn uninstall(
        &self,
        permit: &Permit,
        cancelled: &AtomicBool,
        manager: Manager,
        names: &[String],
    ) -> Result<String> {
        let installer = self.at_hand(manager)?;
        let cache = self.cache.join(installer.name());
        let run = |invocation: Result<Invocation>| commands::run(permit, &invocation?, Some(cancelled));
        let ran = match &installer {
            Installer::Pip(environment) => run(pip::uninstall(environment, &self.root, names))?,
            Installer::Uv { program, environment } => {
                run(uv::uninstall(program, environment, &self.root, names, &cache))?
            }
            Installer::Npm(program) => {
                let with =
                    |registry| npm::uninstall(program, &self.root, &self.root, names, &cache, registry);
                let ran = run(with(npm::Registry::Never))?;
                // It has changed nothing then. Where a package lacks a program that it promises, npm fetches it again
                // whatever it was asked for.
                if !ran.succeeded() && npm::lacks_a_download(&ran.stderr) {
                    run(with(npm::Registry::WhereNeeded))?
                } else {
                    ran
                }
            }
        };
        Self::outcome("uninstall", &installer, &ran)
    }

    /// Installs packages again in these versions.
    ///
    /// # Errors
    /// As [`Managers::uninstall`].
    pub fn install(
        &self,
        permit: &Permit,
        cancelled: &AtomicBool,
        manager: &str,
        packages: &BTreeMap<String, String>,
    ) -> Result<String> {
        let installer = self.at_hand(Manager::parse(manager)?)?;
        let cache = self.cache.join(installer.name());
        let root = &self.root;
        let invocation = match &installer {
            Installer::Pip(environment) => pip::install(environment, root, packages, &cache)?,
            Installer::Uv { program, environment } => {
                uv::install(program, environment, root, packages, &cache)?
            }
            Installer::Npm(program) => npm::install(program, root, root, packages, &cache)?,
        };
        let ran = commands::run(permit, &invocation, Some(cancelled))?;
        Self::outcome("install", &installer, &ran)
    }

    /// Takes from packages of pip the marks of having been asked for, which [`Managers::install`] gave them. Those of an
    /// environment outside the workspace keep them.
    ///
    /// # Errors
    /// What the system says.
    pub fn unmark(&self, permit: &Permit, files: &Files, names: &[String]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let Some(environment) = self.environment(&Disk)? else {
            return Ok(());
        };
        for mark in pip::marks(&environment, names)? {
            if !files.contains(&mark.file) {
                continue;
            }
            let record = files.read(&mark.record, crate::host::files::TEXT_LIMIT)?;
            let expect = Expect::Digest(blake3::hash(&record).to_hex().to_string());
            let after = pip::Mark::without(&String::from_utf8_lossy(&record));
            files.write(permit, &mark.record, after.as_bytes(), &expect)?;
            files.remove_file(permit, &mark.file)?;
        }
        Ok(())
    }

    fn outcome(what: &str, installer: &Installer, ran: &Ran) -> Result<String> {
        if ran.succeeded() {
            return Ok(redact(&String::from_utf8_lossy(&ran.stdout)));
        }
        let name = installer.name();
        let complaint = match installer {
            Installer::Npm(_) => npm::complaint(&ran.stderr),
            Installer::Pip(_) => pip::complaint(&ran.stderr),
            Installer::Uv { .. } => uv::complaint(&ran.stderr),
        };
        let why = match complaint {
            Some(complaint) if !ran.timed_out && ran.signal.is_none() => complaint,
            _ => ran.failure(),
        };
        let hint = if is_about_the_registry(&why) {
            "the registry can't be reached or has no such package: look at the network and at the registry's settings, \
             then run this again; `rollback undo` puts back what went"
        } else {
            "look at what is installed, then run this again; `rollback undo` puts back what went"
        };
        Err(Error::failed(format!("`{name} {what}` failed: {}", redact(&why))).hint(hint))
    }
}

/// Whether a manager's words are about what it wanted to download.
fn is_about_the_registry(why: &str) -> bool {
    const SIGNS: [&str; 13] = [
        "E404",
        "ECONNREFUSED",
        "ECONNRESET",
        "ENOTFOUND",
        "EAI_AGAIN",
        "ETIMEDOUT",
        "ENOTCACHED",
        "Failed to fetch",
        "No matching distribution",
        "No solution found",
        "Could not find a version",
        "NewConnectionError",
        "Connection refused",
    ];
    SIGNS.iter().any(|sign| why.contains(sign))
}

//! The two managers of a workspace: which program, in which place, with a cache of ours inside `.rollback/`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::{Manager, npm, pip};
use crate::error::{Error, Result};
use crate::gate::Permit;
use crate::gate::redact::redact;
use crate::host::commands::{self, Invocation, find_program};
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

    fn environment(&self) -> Result<PathBuf> {
        pip::environment(&self.root, &self.python).ok_or_else(|| {
            Error::not_found(format!("there is no Python environment `{}`", self.python))
                .hint("name it as `python` in `rollback.yaml`")
        })
    }

    /// Uninstalls packages, all in one command. Gives the command's last line.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] where the manager is not there, [`crate::error::Kind::Failed`] where it fails.
    pub fn uninstall(
        &self,
        permit: &Permit,
        cancelled: &AtomicBool,
        manager: Manager,
        names: &[String],
    ) -> Result<String> {
        let invocation = match manager {
            Manager::Pip => pip::uninstall(&self.environment()?, &self.root, names)?,
            Manager::Npm => {
                let program = find_program("npm", &self.root)?;
                npm::uninstall(&program, &self.root, &self.root, names, &self.cache.join("npm"))?
            }
        };
        Self::run(
            permit,
            cancelled,
            &invocation,
            &format!("{} uninstall", manager.name()),
        )
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
        let manager = Manager::parse(manager)?;
        let invocation = match manager {
            Manager::Pip => pip::install(
                &self.environment()?,
                &self.root,
                packages,
                &self.cache.join("pip"),
            )?,
            Manager::Npm => {
                let program = find_program("npm", &self.root)?;
                npm::install(
                    &program,
                    &self.root,
                    &self.root,
                    packages,
                    &self.cache.join("npm"),
                )?
            }
        };
        Self::run(
            permit,
            cancelled,
            &invocation,
            &format!("{} install", manager.name()),
        )
    }

    fn run(permit: &Permit, cancelled: &AtomicBool, invocation: &Invocation, what: &str) -> Result<String> {
        let ran = commands::run(permit, invocation, Some(cancelled))?;
        if !ran.succeeded() {
            return Err(
                Error::failed(format!("`{what}` failed: {}", redact(&ran.failure()))).hint(
                    "look at what is installed, then run this again; `rollback undo` puts back what went",
                ),
            );
        }
        Ok(redact(&String::from_utf8_lossy(&ran.stdout)))
    }
}

/// When the packages at `place` last changed, as far as directories tell: nanoseconds since the epoch, summed up.
#[must_use]
pub fn changed(manager: Manager, place: &Path) -> i64 {
    let stamp = |path: &Path| {
        std::fs::metadata(path).map_or(0, |metadata| {
            metadata
                .mtime()
                .wrapping_mul(1_000_000_000)
                .wrapping_add(metadata.mtime_nsec())
        })
    };
    match manager {
        Manager::Npm => ["package.json", "node_modules", "node_modules/.package-lock.json"]
            .iter()
            .fold(0, |sum: i64, name| sum.wrapping_add(stamp(&place.join(name)))),
        Manager::Pip => {
            let libraries = std::fs::read_dir(place.join("lib")).into_iter().flatten();
            libraries
                .filter_map(|entry| Some(entry.ok()?.path().join("site-packages")))
                .fold(0, |sum: i64, path| sum.wrapping_add(stamp(&path)))
        }
    }
}

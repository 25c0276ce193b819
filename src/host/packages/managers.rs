//! The two managers of a workspace: which program, in which place, with a cache of ours inside `.rollback/`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::{Manager, npm, pip};
use crate::error::{Error, Result};
use crate::gate::Permit;
use crate::gate::redact::redact;
use crate::host::commands::{self, Ran, find_program};
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
        if manager == Manager::Pip {
            let invocation = pip::uninstall(&self.environment()?, &self.root, names)?;
            let ran = commands::run(permit, &invocation, Some(cancelled))?;
            return Self::outcome("pip uninstall", manager, &ran);
        }
        let program = find_program("npm", &self.root)?;
        let cache = self.cache.join("npm");
        let uninstall = |registry| {
            let invocation = npm::uninstall(&program, &self.root, &self.root, names, &cache, registry)?;
            commands::run(permit, &invocation, Some(cancelled))
        };
        let mut ran = uninstall(npm::Registry::Never)?;
        // It has changed nothing then. Where a package lacks a program that it promises, npm fetches it again whatever
        // it was asked for.
        if !ran.succeeded() && npm::lacks_a_download(&ran.stderr) {
            ran = uninstall(npm::Registry::WhereNeeded)?;
        }
        Self::outcome("npm uninstall", manager, &ran)
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
        let ran = commands::run(permit, &invocation, Some(cancelled))?;
        Self::outcome(&format!("{} install", manager.name()), manager, &ran)
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
        for mark in pip::marks(&self.environment()?, names)? {
            if !files.contains(&mark.file) {
                continue;
            }
            let record = files.read(&mark.record, crate::view::TEXT_LIMIT)?;
            let expect = Expect::Digest(blake3::hash(&record).to_hex().to_string());
            let after = pip::Mark::without(&String::from_utf8_lossy(&record));
            files.write(permit, &mark.record, after.as_bytes(), &expect)?;
            files.remove_file(permit, &mark.file)?;
        }
        Ok(())
    }

    fn outcome(what: &str, manager: Manager, ran: &Ran) -> Result<String> {
        if ran.succeeded() {
            return Ok(redact(&String::from_utf8_lossy(&ran.stdout)));
        }
        let complaint = match manager {
            Manager::Npm => npm::complaint(&ran.stderr),
            Manager::Pip => pip::complaint(&ran.stderr),
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
        Err(Error::failed(format!("`{what}` failed: {}", redact(&why))).hint(hint))
    }
}

/// Whether a manager's words are about what it wanted to download.
fn is_about_the_registry(why: &str) -> bool {
    const SIGNS: [&str; 11] = [
        "E404",
        "ECONNREFUSED",
        "ECONNRESET",
        "ENOTFOUND",
        "EAI_AGAIN",
        "ETIMEDOUT",
        "ENOTCACHED",
        "No matching distribution",
        "Could not find a version",
        "NewConnectionError",
        "Connection refused",
    ];
    SIGNS.iter().any(|sign| why.contains(sign))
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

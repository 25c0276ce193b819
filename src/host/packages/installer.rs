//! By what packages can be changed, and what it will write to: found out before anything is done, so that a preview knows
//! what the act will meet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::tree::{self, Node, Tree};
use super::{Manager, pip};
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::commands::find_program;

/// A program that changes packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Installer {
    /// npm, where PATH has it.
    Npm(PathBuf),
    /// The pip of this environment.
    Pip(PathBuf),
    /// uv, where PATH has it, for an environment without pip.
    Uv {
        /// The program.
        program: PathBuf,
        /// The environment.
        environment: PathBuf,
    },
}

impl Installer {
    /// `npm`, `pip` or `uv`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Npm(_) => "npm",
            Self::Pip(_) => "pip",
            Self::Uv { .. } => "uv",
        }
    }

    /// npm, as far as it can be started.
    #[must_use]
    pub fn npm(root: &Path) -> Known<Self> {
        let program = match find_program("npm", root) {
            Ok(program) => program,
            Err(error) => return Known::Unknown(error.message().to_owned()),
        };
        let needs_node = tree::read(&tree::Disk, &program, 256)
            .ok()
            .flatten()
            .is_some_and(|head| head.starts_with(b"#!/usr/bin/env node"));
        if needs_node && let Err(error) = find_program("node", root) {
            return Known::Unknown(format!("npm can't be started: {}", error.message()));
        }
        Known::Yes(Self::Npm(program))
    }

    /// What can change the packages of an environment: its own pip, else uv.
    ///
    /// # Errors
    /// What the system says.
    pub fn of_environment(tree: &dyn Tree, environment: &Path, root: &Path) -> Result<Known<Self>> {
        let display = environment.strip_prefix(root).unwrap_or(environment).display();
        let python = pip::python(environment);
        if let Ok(Some((_, Node::Disk(disk)))) = tree::follow(tree, &python)
            && let Err(why) = accessat(CWD, &disk, Access::EXEC_OK, AtFlags::EACCESS)
        {
            return Ok(Known::Unknown(format!(
                "the interpreter of the environment `{display}` can't be started: {}",
                std::io::Error::from(why)
            )));
        }
        if pip::has_pip(tree, environment)? {
            return Ok(Known::Yes(Self::Pip(environment.to_path_buf())));
        }
        Ok(match find_program("uv", root) {
            Ok(program) => Known::Yes(Self::Uv {
                program,
                environment: environment.to_path_buf(),
            }),
            Err(_) => Known::Unknown(format!(
                "neither pip in the environment `{display}` nor uv is at hand"
            )),
        })
    }
}

/// Files and directories that are written to where `names` are taken out of `place`, links followed, sorted: what is
/// rewritten, and what holds something that goes.
///
/// # Errors
/// What the system says.
pub fn written(tree: &dyn Tree, manager: Manager, place: &Path, names: &[String]) -> Result<Vec<PathBuf>> {
    let named = match manager {
        Manager::Npm => {
            let modules = place.join("node_modules");
            let mut named = vec![place.to_path_buf(), modules.clone(), modules.join(".bin")];
            let files = ["package.json", "package-lock.json", "npm-shrinkwrap.json"];
            named.extend(files.map(|file| place.join(file)));
            named.push(modules.join(".package-lock.json"));
            let scopes = names.iter().filter_map(|name| name.rsplit_once('/'));
            named.extend(scopes.map(|(scope, _)| modules.join(scope)));
            named
        }
        Manager::Pip => pip::written(tree, place, names)?,
    };
    let mut written = BTreeSet::new();
    for path in named {
        let reached = tree::follow(tree, &path)
            .map_err(|error| Error::io(format_args!("look at `{}`", path.display()), &error))?;
        written.extend(reached.map(|(real, _)| real));
    }
    Ok(written.into_iter().collect())
}

/// Refuses where this user may not write to one of the paths, as the kernel says now.
///
/// # Errors
/// [`crate::base::error::Kind::Denied`] with the first of them.
pub fn require_writable(tree: &dyn Tree, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        // What is pretended will be ours.
        let Node::Disk(disk) = tree.node(path) else {
            continue;
        };
        let access = if disk.is_dir() {
            Access::WRITE_OK | Access::EXEC_OK
        } else {
            Access::WRITE_OK
        };
        if let Err(why) = accessat(CWD, &disk, access, AtFlags::EACCESS) {
            return Err(Error::denied(format!(
                "`{}` can't be written to: {}",
                path.display(),
                std::io::Error::from(why)
            ))
            .hint(
                "packages are changed there: run this as the user to whom it belongs, or make it writable",
            ));
        }
    }
    Ok(())
}

//! A throw-away workspace in which every part of the seven stories is deployed, with the traps of real ones.
//!
//! The directory stands for the repository and for its main directory at once. Everything in it has the same
//! modification time, so that two builds are equal.

use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

/// What stands in each file.
mod contents;

/// Which paths belong to which story.
mod deployed;

/// The npm packages, as links to `vendor/`.
mod npm;

/// A live service and the stale pid files of the others.
mod services;

/// A directory tree to be written.
mod tree;

/// The Python environment.
mod venv;

pub use deployed::{Deployed, Group, PathKind, deployed};
pub use services::Services;

use tree::Tree;

/// What to install in the workspace besides its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A Python environment `.venv` on the `python3` of `PATH`, with stand-ins for the stories' packages.
    pub venv: bool,
    /// `vendor/`, `node_modules/` and `package-lock.json`.
    pub npm: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            venv: true,
            npm: true,
        }
    }
}

/// A workspace that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its directory, as it was given.
    pub root: PathBuf,
    /// How many files and links it holds.
    pub files: usize,
    /// The sum of the sizes of its files, in bytes.
    pub bytes: u64,
    /// The interpreter behind `.venv/bin/python`; `None` without `python3` or without [`Options::venv`].
    pub python: Option<PathBuf>,
}

/// Makes a workspace in `directory`, which exists and is empty ([`Kind::Exists`](crate::base::error::Kind) otherwise).
pub fn build(directory: &Path, options: &Options) -> Result<Built> {
    require_empty(directory)?;

    let mut tree = Tree::default();
    contents::plant(&mut tree, &deployed()?);
    if options.npm {
        npm::plant(&mut tree).map_err(ours)?;
    }
    let python = options.venv.then(venv::python).flatten();
    if options.venv {
        venv::plant(&mut tree, directory, python);
    }
    tree.write(directory).map_err(|error| {
        ours(error)
            .after_changes()
            .hint("the directory is left half built: remove it, and name another")
    })?;

    Ok(Built {
        root: directory.to_owned(),
        files: tree.count(),
        bytes: tree.bytes(),
        python: python.map(|python| python.executable.clone()),
    })
}

/// Starts the service of story 1.3 in the workspace `root`, in a process group of its own, and writes the pid files
/// of all stories: a true one for it, stale ones for the others.
pub fn start_services(root: &Path) -> Result<Services> {
    services::start(root).map_err(ours)
}

/// What went wrong in planting, as the library tells it: the outermost context is what was being done.
fn ours(error: anyhow::Error) -> Error {
    match error.downcast_ref::<std::io::Error>() {
        Some(cause) => Error::io(&error, cause),
        None => Error::bug(format!("{error:#}")),
    }
}

/// The directory for a demonstration: the named one, made if it is not there, or a new temporary one, which is kept.
#[expect(
    clippy::disallowed_methods,
    reason = "the demo makes a new throw-away workspace of its own, never the user's"
)]
pub fn directory(named: Option<&Path>) -> Result<PathBuf> {
    let Some(named) = named else {
        return tempfile::Builder::new()
            .prefix("rollback-demo-")
            .tempdir()
            .map(tempfile::TempDir::keep)
            .map_err(|error| Error::io("make a temporary directory", &error));
    };
    std::fs::create_dir_all(named)
        .map_err(|error| Error::io(format_args!("make `{}`", named.display()), &error))?;
    named
        .canonicalize()
        .map_err(|error| Error::io(format_args!("open `{}`", named.display()), &error))
}

fn require_empty(directory: &Path) -> Result<()> {
    let display = directory.display();
    let mut entries = std::fs::read_dir(directory).map_err(|error| {
        Error::io(format_args!("list `{display}`"), &error)
            .hint("make the directory first, and leave it empty")
    })?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(Error::exists(format!("`{display}` is not empty"))
            .hint("name an empty directory, or none to have a temporary one made")),
    }
}

#[cfg(test)]
mod tests;

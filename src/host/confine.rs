//! The kernel's own wall: Landlock on this thread and on everything that it starts. It must be put up before any other
//! thread exists, and can't be taken down.

use std::path::{Path, PathBuf};

use landlock::{ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus};

use crate::error::{Error, Result};

/// The newest interface that the rules are written for.
const INTERFACE: ABI = ABI::V5;

/// What the kernel made of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wall {
    /// All of them hold.
    Whole,
    /// Some hold: the kernel is older than the rules.
    Partial,
    /// None hold: the kernel has no Landlock, or it is switched off.
    None,
}

/// Lets this process and its children read and run everything, but write nothing except to terminals and devices
/// that hold no data, and below the given paths.
///
/// # Errors
/// [`crate::error::Kind::Failed`] where the kernel has Landlock and refuses the rules.
pub fn read_only(except: &[PathBuf]) -> Result<Wall> {
    let refused =
        |error: &dyn std::fmt::Display| Error::failed(format!("the kernel refuses confinement: {error}"));
    let write = AccessFs::from_write(INTERFACE);
    let mut rules = Ruleset::default()
        .handle_access(write)
        .and_then(Ruleset::create)
        .map_err(|error| refused(&error))?;
    let devices = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/tty",
        "/dev/pts",
        "/dev/ptmx",
    ];
    for path in devices
        .iter()
        .map(Path::new)
        .chain(except.iter().map(PathBuf::as_path))
    {
        let Ok(opened) = PathFd::new(path) else { continue };
        let access = if path.is_dir() {
            write
        } else {
            write & AccessFs::from_file(INTERFACE)
        };
        rules = rules
            .add_rule(PathBeneath::new(opened, access))
            .map_err(|error| refused(&error))?;
    }
    let status = rules.restrict_self().map_err(|error| refused(&error))?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Wall::Whole,
        RulesetStatus::PartiallyEnforced => Wall::Partial,
        RulesetStatus::NotEnforced => Wall::None,
    })
}

//! Putting a backup back: a copy beside the destination, compared with the manifest, then one rename.

use std::path::{Path, PathBuf};

use super::MANIFEST;
use super::compare::{Comparison, Contents, compare};
use super::manifest::{Entry, TOP};
use super::verify::{finished, footer_of};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::files::{Copied, CopyOutcome, EntryKind, Files, Mounts, Renamed, display};

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Paths below the destination; 1 for a file.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Whether it was a directory or a file.
    pub kind: EntryKind,
    /// Paths that now belong to the current user, because only root can give files away.
    pub not_owned: Vec<PathBuf>,
}

/// Puts the contents of a backup at `destination`: the backup stays, the manifest stays with it. `destination` must not
/// exist, or be an empty directory; its parent must exist.
///
/// # Errors
/// `Corrupt` where the backup is not what its manifest says; `Exists` where something stands at the destination.
/// Nothing stands there then that wasn't there before.
pub fn restore(permit: &Permit, files: &Files, backup: &Path, destination: &Path) -> Result<Restored> {
    let known = Known::of(files, backup)?;
    let kind = known.kind;
    let empty = match files.stat(destination)? {
        None => false,
        Some(_) if files.is_hollow(destination)? => false,
        Some(stat) if stat.kind == EntryKind::Directory && files.list(destination)?.is_empty() => true,
        Some(_) => {
            return Err(
                Error::exists(format!("`{}` exists already", display(destination)))
                    .hint("move it out of the way first"),
            );
        }
    };
    files.meter().begin(known.bytes);
    // A single file is compared as its backup is: as the only one in a directory.
    let holder = Files::beside(destination);
    let (outcome, staged) = if kind == EntryKind::Directory {
        let outcome = files.copy_tree(permit, backup, &holder, &|relative| {
            relative == Path::new(MANIFEST)
        })?;
        (outcome, holder.clone())
    } else {
        let name = known.only_file(backup)?;
        files.make_directory(permit, &holder, 0o700)?;
        match files.copy_file(permit, &backup.join(&name), &holder.join(&name)) {
            Ok(outcome) => (outcome, holder.join(&name)),
            Err(error) => return Err(discard(permit, files, &holder, error)),
        }
    };
    let placed = check(permit, files, &known, backup, &holder, &outcome)
        .and_then(|()| place(permit, files, &staged, destination, empty));
    if let Err(error) = placed {
        return Err(discard(permit, files, &holder, error));
    }
    if kind != EntryKind::Directory {
        files
            .remove_directory(permit, &holder)
            .map_err(Error::after_changes)?;
    }
    Ok(Restored {
        entries: outcome.entries,
        bytes: outcome.bytes,
        kind,
        not_owned: outcome.not_owned,
    })
}

/// What is to be known of a whole manifest before anything is copied.
struct Known {
    /// `Directory` for several files too, of a database: they are put back below the destination.
    kind: EntryKind,
    bytes: u64,
    top: Option<Entry>,
    only: Option<Entry>,
}

impl Known {
    fn of(files: &Files, backup: &Path) -> Result<Self> {
        let mut manifest = finished(files, backup)?;
        let mut known = Self {
            kind: manifest.header().kind,
            bytes: 0,
            top: None,
            only: None,
        };
        let mut count = 0_u64;
        while let Some(entry) = manifest.next()? {
            if entry.path == Path::new(TOP) {
                known.top = Some(entry);
            } else {
                count += 1;
                known.only = (count == 1).then_some(entry);
            }
        }
        if count > 1 {
            known.kind = EntryKind::Directory;
        }
        known.bytes = footer_of(&manifest, backup)?.bytes;
        Ok(known)
    }

    fn only_file(&self, backup: &Path) -> Result<PathBuf> {
        match (&self.only, &self.top) {
            (Some(only), None) if only.kind == EntryKind::File && only.path.components().count() == 1 => {
                Ok(only.path.clone())
            }
            _ => Err(Error::corrupt(format!(
                "`{}` is the backup of one file and holds something else",
                display(backup)
            ))
            .hint("look into it by hand, or take another")),
        }
    }
}

/// The digests are those of what was read from the backup; that the copy equals it was made sure by the copying.
fn check(
    permit: &Permit,
    files: &Files,
    known: &Known,
    backup: &Path,
    staged: &Path,
    outcome: &CopyOutcome,
) -> Result<()> {
    if let Some(top) = &known.top {
        // The backup's directory may have been looked into and sorted by hand; the source's is what comes back.
        let mode = if outcome.not_owned.is_empty() {
            top.mode
        } else {
            top.mode & 0o1777
        };
        files.set_mode(permit, staged, mode)?;
        files.set_mtime(permit, staged, top.mtime_ns)?;
    }
    let one_file = known.kind != EntryKind::Directory;
    let copied = |relative: &Path| {
        let copied = outcome
            .copied
            .get(if one_file { Path::new("") } else { relative });
        copied.and_then(Copied::digest)
    };
    let comparison = Comparison {
        contents: Contents::Known(&copied),
        owners: outcome.not_owned.is_empty(),
        sockets: false,
    };
    let mut manifest = finished(files, backup)?;
    compare(files, staged, &mut manifest, &comparison)?.sound(backup)
}

fn place(permit: &Permit, files: &Files, staged: &Path, destination: &Path, empty: bool) -> Result<()> {
    if files.is_hollow(destination)? {
        return files
            .relocate(permit, staged, destination, Mounts::Refused)
            .map(|_| ());
    }
    if empty {
        files.remove_directory(permit, destination)?;
    }
    match files.rename(permit, staged, destination) {
        Ok(Renamed::Done) => Ok(()),
        Ok(Renamed::CrossDevice) => Err(Error::failed(format!(
            "`{}` is on another file system than its directory",
            display(destination)
        ))),
        Err(error) if empty => Err(error.after_changes()),
        Err(error) => Err(error),
    }
}

fn discard(permit: &Permit, files: &Files, staged: &Path, error: Error) -> Error {
    match files.stat(staged) {
        Ok(None) => error,
        _ => match files.remove_tree(permit, staged) {
            Ok(()) => error,
            Err(left) => {
                files.leave(staged, &left);
                error.after_changes()
            }
        },
    }
}

//! Removal. A tree goes only as a whole: it is looked through for mount points first.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::look::names;
use super::resolve::{failure, on_other_mount, open_directory_on_mount, stat_at};
use super::walk::{DEPTH_LIMIT, too_deep};
use super::{EntryKind, Files, shown};
use crate::error::{Error, Result};
use crate::gate::Permit;

impl Files {
    /// Removes anything but a directory, durably; a symbolic link itself, not what it points to.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory; `Denied` for a mount point.
    pub fn remove_file(&self, _permit: &Permit, path: &Path) -> Result<()> {
        let place = self.changeable(path)?;
        let stat = place.existing()?;
        if stat.kind == EntryKind::Directory {
            return Err(Error::invalid(format!("`{}` is a directory", shown(path))));
        }
        if stat.mount_point {
            return Err(on_other_mount(path));
        }
        unlink(place.parent.as_fd(), &place.name, AtFlags::empty(), path)?;
        place.sync_parent().map_err(Error::after_changes)
    }

    /// Removes an empty directory, durably.
    ///
    /// # Errors
    /// `NotFound`; `Failed` where it isn't empty, or no directory.
    pub fn remove_directory(&self, _permit: &Permit, path: &Path) -> Result<()> {
        let place = self.changeable(path)?;
        unlink(place.parent.as_fd(), &place.name, AtFlags::REMOVEDIR, path)?;
        place.sync_parent().map_err(Error::after_changes)
    }

    /// Removes whatever stands at `path` with all that is below it, durably. Links are removed, never followed;
    /// directories of the same user that are write-protected are opened up first.
    ///
    /// # Errors
    /// `NotFound`; `Denied`, with nothing removed, where something is mounted inside. A failure on the way says
    /// `changed_something`.
    pub fn remove_tree(&self, _permit: &Permit, path: &Path) -> Result<()> {
        let place = self.changeable(path)?;
        self.refuse_mounts(path)?;
        let stat = place.existing()?;
        let mut removed = 0;
        let outcome = if stat.kind == EntryKind::Directory {
            remove_directory(place.parent.as_fd(), &place.name, path, 0, &mut removed)
        } else {
            unlink(place.parent.as_fd(), &place.name, AtFlags::empty(), path)
        };
        match outcome {
            Ok(()) => place.sync_parent().map_err(Error::after_changes),
            Err(error) if removed > 0 => Err(error.after_changes()),
            Err(error) => Err(error),
        }
    }
}

fn unlink(parent: BorrowedFd<'_>, name: &OsStr, flags: AtFlags, path: &Path) -> Result<()> {
    rustix::fs::unlinkat(parent, name, flags).map_err(|error| match error {
        Errno::BUSY => on_other_mount(path),
        error => failure("remove", path, error),
    })
}

fn remove_directory(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    path: &Path,
    depth: usize,
    removed: &mut u64,
) -> Result<()> {
    if depth > DEPTH_LIMIT {
        return Err(too_deep(path));
    }
    open_up(parent, name, path)?;
    let directory = open_directory_on_mount(parent, name, path)?;
    for child in names(directory.as_fd(), path)? {
        let path = path.join(&child);
        let Some(stat) = stat_at(directory.as_fd(), &child, &path)? else {
            continue;
        };
        if stat.kind == EntryKind::Directory {
            remove_directory(directory.as_fd(), &child, &path, depth + 1, removed)?;
        } else {
            unlink(directory.as_fd(), &child, AtFlags::empty(), &path)?;
            *removed += 1;
        }
    }
    unlink(parent, name, AtFlags::REMOVEDIR, path)?;
    *removed += 1;
    Ok(())
}

/// Gives the owner of a directory back the right to empty it.
fn open_up(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    let Some(stat) = stat_at(parent, name, path)? else {
        return Ok(());
    };
    let user = rustix::process::geteuid();
    if stat.kind != EntryKind::Directory || stat.mode & 0o700 == 0o700 || stat.uid != user.as_raw() {
        return Ok(());
    }
    super::attributes::set_mode_at(parent, name, stat.mode | 0o700, path)
}

//! Deterministic recursion that never follows a link and never enters another mount.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::look::{changed_meanwhile, digest_open, listing, names, open_known, read_link_at};
use super::resolve::{open_directory_on_mount, stat_at, stat_open};
use super::{EntryKind, Files, Meter, Stat, attributes, display};
use crate::base::error::{Error, Kind, Result};

/// Directories inside directories that recursion handles; each level holds a descriptor or two.
pub(super) const DEPTH_LIMIT: usize = 256;

/// Something met on a walk, while its directory is held open.
#[derive(Debug)]
pub struct Walked<'a> {
    /// The absolute path.
    pub path: &'a Path,
    /// The path from the top of the walk.
    pub relative: &'a Path,
    /// What it is. A `mount_point` is reported, and never entered.
    pub stat: Stat,
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
}

/// How a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To the next; into it if it is a directory.
    Continue,
    /// To the next, not into this directory.
    SkipChildren,
    /// No further.
    Stop,
}

/// How much a tree holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeSize {
    /// Paths below the directory; 1 for anything but a directory.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes of the regular files (holes counted, hard links each).
    pub bytes: u64,
    /// Mount points met; what they hold is not counted.
    pub mounts: Vec<PathBuf>,
}

impl<'a> Walked<'a> {
    pub(super) fn new(
        path: &'a Path,
        relative: &'a Path,
        stat: Stat,
        (parent, name): (BorrowedFd<'a>, &'a OsStr),
    ) -> Self {
        Self {
            path,
            relative,
            stat,
            parent,
            name,
        }
    }

    /// Extended attributes, sorted by name, and BLAKE3 of a regular file, read through `buffer` and told to `meter`.
    ///
    /// # Errors
    /// `Invalid` for anything else; `Changed` for a file that has changed since it was met, or changes while it is read.
    pub fn read(
        &self,
        buffer: &mut Vec<u8>,
        meter: &Meter,
    ) -> Result<(attributes::Attributes, blake3::Hash)> {
        if self.stat.kind != EntryKind::File {
            return Err(Error::invalid(format!(
                "`{}` is a {}, not a regular file",
                display(self.path),
                self.stat.kind.name()
            )));
        }
        let file = open_known(self.parent, self.name, self.path)?;
        if !stat_open(file.as_fd(), self.path)?.same_version(&self.stat) {
            return Err(changed_meanwhile(self.path));
        }
        let attributes = attributes::read_open(file.as_fd(), self.path)?;
        let digest = digest_open(&file, &self.stat, self.path, buffer, meter)?;
        Ok((attributes, digest))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `Invalid` for anything else.
    pub fn read_link(&self) -> Result<PathBuf> {
        read_link_at(self.parent, self.name, self.path)
    }

    /// The extended attributes of a file or directory, sorted by name; none for anything else.
    ///
    /// # Errors
    /// `Failed` where the system won't say.
    pub fn attributes(&self) -> Result<Vec<(std::ffi::OsString, Vec<u8>)>> {
        attributes::read_at(self.parent, self.name, &self.stat, self.path)
    }
}

impl Files {
    /// Visits all that lies below the directory `top`, parents before children, names sorted by their bytes.
    /// `top` itself is not visited. What disappears meanwhile is left out.
    ///
    /// # Errors
    /// What `visit` returns; `NotFound` and `Invalid` for a `top` that is no directory; `Failed` for a directory that
    /// can't be read; `Limit` for one nested too deeply.
    pub fn walk(&self, top: &Path, visit: &mut dyn FnMut(&Walked<'_>) -> Result<Step>) -> Result<()> {
        let directory = self.existing_place(top)?.open_directory()?;
        descend(directory.as_fd(), top, Path::new(""), 0, visit)?;
        Ok(())
    }

    /// How much lies at `path`, links not followed.
    ///
    /// # Errors
    /// As [`Files::walk`].
    pub fn tree(&self, path: &Path) -> Result<TreeSize> {
        let stat = self.existing_place(path)?.existing()?;
        let mut size = TreeSize::default();
        if stat.kind != EntryKind::Directory {
            size.count(&stat);
            return Ok(size);
        }
        self.walk(path, &mut |entry| {
            size.count(&entry.stat);
            if entry.stat.mount_point {
                size.mounts.push(entry.path.to_path_buf());
            }
            Ok(Step::Continue)
        })?;
        Ok(size)
    }

    /// The extended attributes of a file or directory, sorted by name; none for anything else.
    ///
    /// # Errors
    /// `NotFound`, `Failed`.
    pub fn attributes(&self, path: &Path) -> Result<Vec<(std::ffi::OsString, Vec<u8>)>> {
        let place = self.existing_place(path)?;
        let stat = place.existing()?;
        attributes::read_at(place.parent.as_fd(), &place.name, &stat, path)
    }
}

impl TreeSize {
    fn count(&mut self, stat: &Stat) {
        self.entries += 1;
        if stat.kind == EntryKind::File {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(stat.size);
        }
    }
}

/// A tree that recursion won't handle.
pub(super) fn too_deep(path: &Path) -> Error {
    Error::new(
        Kind::Limit,
        format!(
            "`{}` is nested more than {DEPTH_LIMIT} directories deep",
            display(path)
        ),
    )
    .hint("move the deep part out of the way")
}

/// Refuses a tree that is nested too deeply. Directories that have no others inside are told by their number of links,
/// and not even listed.
pub(super) fn refuse_depth(parent: BorrowedFd<'_>, name: &OsStr, path: &Path, depth: usize) -> Result<()> {
    if depth > DEPTH_LIMIT {
        return Err(too_deep(path));
    }
    let Some(stat) = stat_at(parent, name, path)? else {
        return Ok(());
    };
    // What its owner may not list is opened up when it is removed.
    if stat.kind != EntryKind::Directory || stat.links == 2 || stat.mode & 0o500 != 0o500 {
        return Ok(());
    }
    let directory = open_directory_on_mount(parent, name, path)?;
    for (name, kind) in listing(directory.as_fd(), path)? {
        if matches!(kind, FileType::Directory | FileType::Unknown) {
            refuse_depth(directory.as_fd(), &name, &path.join(&name), depth + 1)?;
        }
    }
    Ok(())
}

fn descend(
    directory: BorrowedFd<'_>,
    path: &Path,
    relative: &Path,
    depth: usize,
    visit: &mut dyn FnMut(&Walked<'_>) -> Result<Step>,
) -> Result<Step> {
    if depth > DEPTH_LIMIT {
        return Err(too_deep(path));
    }
    for name in names(directory, path)? {
        let path = path.join(&name);
        let relative = relative.join(&name);
        let Some(stat) = stat_at(directory, &name, &path)? else {
            continue;
        };
        let walked = Walked::new(&path, &relative, stat, (directory, name.as_os_str()));
        match visit(&walked)? {
            Step::Stop => return Ok(Step::Stop),
            Step::SkipChildren => continue,
            Step::Continue => {}
        }
        if stat.kind != EntryKind::Directory || stat.mount_point {
            continue;
        }
        let child = match open_directory_on_mount(directory, &name, &path) {
            Ok(child) => child,
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if descend(child.as_fd(), &path, &relative, depth + 1, visit)? == Step::Stop {
            return Ok(Step::Stop);
        }
    }
    Ok(Step::Continue)
}

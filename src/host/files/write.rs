//! Making directories and writing files, durably and in one piece.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use tracing::trace;

use super::attributes::{self, imitate, set_mode_at, set_mtime_at};
use super::claim::rename_new;
use super::look::digest_at;
use super::resolve::{Place, absent, failure, open_directory_on_mount, temporary_name};
use super::{EntryKind, Files, Stat, display};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Kind, Result};
use crate::workspace::STATE;

/// What must stand at a path for a write to go ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// A regular file whose contents have this BLAKE3, in hexadecimal.
    Digest(String),
    /// A regular file or nothing.
    Anything,
}

/// Writes pieces, one after the other, with the first; the second is the name of the temporary file.
pub(crate) type Fill<'a> = dyn FnMut(&mut dyn FnMut(&[u8]) -> Result<()>, &OsStr) -> Result<()> + 'a;

impl Files {
    /// Makes a directory and those above it that are missing (mode 0755 within the umask, 0700 in `.rollback`), durably.
    /// Returns the directories that it made, outermost first.
    ///
    /// # Errors
    /// `Exists` where something else stands in the way, `Denied` where the way leads through a symbolic link. None of
    /// the directories is then left behind.
    pub fn make_directories(&self, permit: &Permit, path: &Path) -> Result<Vec<PathBuf>> {
        self.make_directories_of(permit, path, 0o755, &[])
    }

    /// As [`Files::make_directories`], for this user alone (mode 0700).
    ///
    /// # Errors
    /// As there.
    pub fn make_private_directories(&self, permit: &Permit, path: &Path) -> Result<Vec<PathBuf>> {
        self.make_directories_of(permit, path, 0o700, &[])
    }

    fn make_directories_of(
        &self,
        permit: &Permit,
        path: &Path,
        mode: u32,
        known: &[(PathBuf, u32)],
    ) -> Result<Vec<PathBuf>> {
        let state = self.roots().next().map(|workspace| workspace.join(STATE));
        let mode = match state {
            Some(state) if path.starts_with(&state) => 0o700,
            _ => mode,
        };
        let mut missing = Vec::new();
        let mut above = path;
        loop {
            match self.stat(above)? {
                Some(stat) if stat.kind == EntryKind::Directory => break,
                Some(stat) => {
                    return Err(Error::exists(format!(
                        "`{}` is a {}, not a directory",
                        display(above),
                        stat.kind.name()
                    )));
                }
                None => missing.push(above.to_path_buf()),
            }
            above = above
                .parent()
                .ok_or_else(|| Error::denied("`/` is not an allowed directory"))?;
        }
        missing.reverse();
        for (made, directory) in missing.iter().enumerate() {
            let own = known.iter().find(|(path, _)| path == directory);
            let result = match own {
                None => self.make_directory(permit, directory, mode),
                Some((_, own)) => self.make_directory_of(permit, directory, *own),
            };
            if let Err(error) = result {
                for directory in missing.iter().take(made).rev() {
                    // Empty directories are no loss; the first failure is the one to tell.
                    let _ = self.remove_directory(permit, directory);
                }
                return Err(error);
            }
        }
        Ok(missing)
    }

    /// Makes the directories above `path` that are missing, then acts; they go again where that fails.
    ///
    /// # Errors
    /// As [`Files::make_directories`]; what `act` says.
    pub fn below_new_directories<T>(
        &self,
        permit: &Permit,
        path: &Path,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let made = match path.parent() {
            Some(parent) => self.make_directories(permit, parent)?,
            None => Vec::new(),
        };
        self.or_remove(permit, &made, act)
    }

    /// As [`Files::below_new_directories`]; those that `modes` names are made with these permission bits, whatever the
    /// umask.
    ///
    /// # Errors
    /// As there.
    pub fn below_directories_of<T>(
        &self,
        permit: &Permit,
        path: &Path,
        modes: &[(PathBuf, u32)],
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let made = match path.parent() {
            Some(parent) => self.make_directories_of(permit, parent, 0o755, modes)?,
            None => Vec::new(),
        };
        self.or_remove(permit, &made, act)
    }

    /// As [`Files::below_new_directories`], for this user alone (mode 0700).
    ///
    /// # Errors
    /// As there.
    pub fn below_new_private_directories<T>(
        &self,
        permit: &Permit,
        path: &Path,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let made = match path.parent() {
            Some(parent) => self.make_private_directories(permit, parent)?,
            None => Vec::new(),
        };
        self.or_remove(permit, &made, act)
    }

    fn or_remove<T>(&self, permit: &Permit, made: &[PathBuf], act: impl FnOnce() -> Result<T>) -> Result<T> {
        act().inspect_err(|_| {
            for directory in made.iter().rev() {
                // One that is not empty holds what could not be taken back, which the failure tells.
                let _ = self.remove_directory(permit, directory);
            }
        })
    }

    /// As [`Files::make_directory`], whatever the umask.
    fn make_directory_of(&self, permit: &Permit, path: &Path, mode: u32) -> Result<()> {
        self.make_directory(permit, path, mode)?;
        if self.stat(path)?.is_none_or(|stat| stat.mode == mode) {
            return Ok(());
        }
        self.set_mode(permit, path, mode).inspect_err(|_| {
            // It is empty; the first failure is the one to tell.
            let _ = self.remove_directory(permit, path);
        })
    }

    /// Makes one directory, durably.
    ///
    /// # Errors
    /// `Exists` where something stands there; `NotFound` where its parent is missing.
    pub fn make_directory(&self, _permit: &Permit, path: &Path, mode: u32) -> Result<()> {
        let place = self.changeable(path)?;
        rustix::fs::mkdirat(&place.parent, &place.name, Mode::from_raw_mode(mode))
            .map_err(|error| failure("make the directory", path, error))?;
        place.sync_parent()
    }

    /// Writes a whole file: into a temporary file beside it, synced, then renamed. A file that is replaced passes on
    /// its mode, owner and extended attributes; a new one gets mode 0644.
    ///
    /// # Errors
    /// `Exists` for [`Expect::Absent`] where something stands there; `Changed` for [`Expect::Digest`] where the
    /// contents differ or the file is gone; `Invalid` where something other than a regular file stands there. The file
    /// is then as before.
    pub fn write(&self, permit: &Permit, path: &Path, contents: &[u8], expect: &Expect) -> Result<()> {
        self.write_by(permit, path, expect, &mut |pour, _| pour(contents))
    }

    /// As [`Files::write`], of contents that come piece by piece: `fill` gets what writes a piece, and the name of the
    /// temporary file beside `path`.
    pub(crate) fn write_by(
        &self,
        _permit: &Permit,
        path: &Path,
        expect: &Expect,
        fill: &mut Fill<'_>,
    ) -> Result<()> {
        trace!(path = %path.display(), "write");
        let place = self.changeable(path)?;
        let before = expected(&place, expect)?;
        let (temporary, mut file) = create_temporary(&place)?;
        let written = fill(
            &mut |piece| file.write_all(piece).map_err(|error| writing(&place, &error)),
            &temporary,
        )
        .and_then(|()| complete(&place, &temporary, &file, before.as_ref()))
        .and_then(|()| put_in_place(&place, &temporary, expect, before.as_ref()));
        if let Err(error) = written {
            let removed = rustix::fs::unlinkat(&place.parent, &temporary, AtFlags::empty());
            let temporary = path.with_file_name(&temporary);
            match removed {
                Ok(()) => {}
                Err(Errno::NOENT) if error.kind() == Kind::NotFound => return Err(absent(&temporary)),
                Err(left) => self.leave(&temporary, &failure("remove", &temporary, left)),
            }
            return Err(error);
        }
        place.sync_parent().map_err(Error::after_changes)
    }

    /// Sets the modification time of the path itself, durably, nanoseconds since the epoch. Allowed for a root too.
    ///
    /// # Errors
    /// `NotFound`; `Failed` where it belongs to somebody else.
    pub fn set_mtime(&self, _permit: &Permit, path: &Path, mtime_ns: i64) -> Result<()> {
        let place = self.existing_place(path)?;
        place.existing()?;
        set_mtime_at(place.parent.as_fd(), &place.name, mtime_ns, path)?;
        place.sync_own().map_err(Error::after_changes)
    }

    /// Sets the permission bits of a file or directory, durably.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a symbolic link, which has none; `Failed` where it belongs to somebody else.
    pub fn set_mode(&self, _permit: &Permit, path: &Path, mode: u32) -> Result<()> {
        let place = self.changeable(path)?;
        if place.existing()?.kind == EntryKind::Symlink {
            return Err(Error::invalid(format!(
                "`{}` is a symbolic link and has no mode",
                display(path)
            )));
        }
        set_mode_at(place.parent.as_fd(), &place.name, mode, path)?;
        place.sync_own().map_err(Error::after_changes)
    }

    /// A name beside `path` for something that lives during one operation.
    #[must_use]
    pub fn beside(path: &Path) -> PathBuf {
        path.with_file_name(temporary_name())
    }

    /// Gives `to` the owner, mode, extended attributes and modification time of `wanted`, taken earlier, durably.
    pub(crate) fn imitate(
        &self,
        _permit: &Permit,
        to: &Path,
        wanted: &Stat,
        attributes: &[(std::ffi::OsString, Vec<u8>)],
    ) -> Result<()> {
        let place = self.changeable(to)?;
        imitate(
            place.parent.as_fd(),
            &place.name,
            wanted,
            &attributes.to_vec(),
            to,
        )?;
        set_mtime_at(place.parent.as_fd(), &place.name, wanted.mtime_ns, to)?;
        place.sync_own()
    }
}

fn refuse_irregular(stat: &Stat, path: &Path) -> Result<()> {
    if stat.kind == EntryKind::File {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` is a {}, not a regular file",
        display(path),
        stat.kind.name()
    ))
    .hint("name the file itself"))
}

/// Compares what stands there with what must; returns what a write would replace.
pub(super) fn expected(place: &Place, expect: &Expect) -> Result<Option<Stat>> {
    let before = place.stat()?;
    if let Some(stat) = &before {
        if *expect == Expect::Absent {
            return Err(Error::exists(format!(
                "`{}` exists already",
                display(&place.path)
            )));
        }
        refuse_irregular(stat, &place.path)?;
    }
    if let Expect::Digest(digest) = expect {
        let unchanged = before.is_some()
            && match digest_at(place.parent.as_fd(), &place.name, &place.path) {
                Ok(found) => found.to_hex().as_str() == digest.as_str(),
                Err(error) if error.kind() == Kind::NotFound => false,
                Err(error) => return Err(error),
            };
        if !unchanged {
            return Err(Error::changed(format!(
                "`{}` was changed by another program",
                display(&place.path)
            ))
            .hint("look at it again, then repeat"));
        }
    }
    Ok(before)
}

fn create_temporary(place: &Place) -> Result<(std::ffi::OsString, File)> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        // The name of a process that died can come back; its leftovers are passed over.
        let name = temporary_name();
        match rustix::fs::openat(&place.parent, &name, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => return Ok((name, File::from(file))),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failure("write beside", &place.path, error)),
        }
    }
}

fn writing(place: &Place, error: &std::io::Error) -> Error {
    Error::io(format_args!("write beside `{}`", display(&place.path)), error)
}

/// Gives a file that was written mode, owner and attributes, and brings it to the disk.
fn complete(place: &Place, temporary: &OsStr, file: &File, replaced: Option<&Stat>) -> Result<()> {
    let parent = place.parent.as_fd();
    match replaced {
        None => set_mode_at(parent, temporary, 0o644, &place.path)?,
        Some(stat) => {
            let kept = attributes::read_at(parent, &place.name, stat, &place.path)?;
            if !imitate(parent, temporary, stat, &kept, &place.path)? {
                return Err(
                    Error::failed(format!("`{}` belongs to another user", display(&place.path)))
                        .hint("run as its owner: a rewritten file would change hands"),
                );
            }
        }
    }
    file.sync_all().map_err(|error| writing(place, &error))
}

pub(super) fn put_in_place(
    place: &Place,
    temporary: &OsStr,
    expect: &Expect,
    before: Option<&Stat>,
) -> Result<()> {
    let now = expected(place, expect)?;
    // A file that appeared since would lose its mode and owner, even where its contents may be replaced.
    if now.is_some() && before.is_none() {
        return Err(
            Error::changed(format!("`{}` has appeared meanwhile", display(&place.path)))
                .hint("look at it again, then repeat"),
        );
    }
    let parent = place.parent.as_fd();
    let renamed = if now.is_none() {
        rename_new((parent, temporary), (parent, &place.name))
    } else {
        rustix::fs::renameat(parent, temporary, parent, &place.name)
    };
    renamed.map_err(|error| match error {
        Errno::EXIST => Error::exists(format!("`{}` exists already", display(&place.path))),
        error => failure("put in place", &place.path, error),
    })
}

/// Opens a directory that was just made in an open one, so that nothing else can be meant.
pub(super) fn make_directory_at(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)).map_err(|error| match error {
        Errno::EXIST => Error::exists(format!("`{}` exists already", display(path))),
        error => failure("make the directory", path, error),
    })?;
    open_directory_on_mount(parent, name, path)
}

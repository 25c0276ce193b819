//! Looking at files: nothing here changes anything, blocks on a pipe, or follows a final link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;

use super::resolve::{absent, failure, nanoseconds, stat_at, stat_open};
use super::{EntryKind, Files, Listed, Meter, Stat, contents, display};
use crate::base::error::{Error, Result};

impl Files {
    /// What stands at `path` itself; `None` where it, or a directory on the way, is absent.
    ///
    /// # Errors
    /// `Denied` outside the roots or through a symbolic link; `Failed` where the system won't say.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        match self.place(path)? {
            Some(place) => place.stat(),
            None => Ok(None),
        }
    }

    /// Whether a directory stands at `path` itself.
    ///
    /// # Errors
    /// As [`Files::stat`].
    pub fn is_directory(&self, path: &Path) -> Result<bool> {
        Ok(self.contains(path)
            && self
                .stat(path)?
                .is_some_and(|stat| stat.kind == EntryKind::Directory))
    }

    /// When what stands at `path` was made, nanoseconds since the epoch; `None` where the file system doesn't keep it.
    ///
    /// # Errors
    /// As [`Files::stat`]; `NotFound` where there is nothing.
    pub fn born(&self, path: &Path) -> Result<Option<i64>> {
        let place = self.existing_place(path)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let seen = rustix::fs::statx(&place.parent, &place.name, flags, StatxFlags::BTIME)
            .map_err(|error| failure("look at", path, error))?;
        let known = StatxFlags::from_bits_retain(seen.stx_mask).contains(StatxFlags::BTIME);
        Ok(known.then(|| nanoseconds(seen.stx_btime)))
    }

    /// Modification time in nanoseconds since the epoch.
    ///
    /// # Errors
    /// As [`Files::stat`]; `NotFound` where there is nothing.
    pub fn mtime(&self, path: &Path) -> Result<i64> {
        Ok(self.existing_place(path)?.existing()?.mtime_ns)
    }

    /// Bytes that this user can still write to the file system of what stands at `path`.
    ///
    /// # Errors
    /// As [`Files::stat`]; `NotFound` where there is nothing.
    pub fn disk_free(&self, path: &Path) -> Result<u64> {
        let place = self.existing_place(path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let there = rustix::fs::openat(&place.parent, &place.name, flags, Mode::empty())
            .map_err(|error| failure("look at", path, error))?;
        let free = rustix::fs::fstatvfs(&there)
            .map_err(|error| failure("ask for the free space of", path, error))?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }

    /// The contents of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for anything but a regular file, and for a larger one.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let (file, stat) = self.open_file(path)?;
        if stat.size > limit {
            return Err(too_large(path, stat.size, limit));
        }
        let mut contents = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0));
        // One byte more than allowed tells a file that has grown since.
        file.take(limit.saturating_add(1))
            .read_to_end(&mut contents)
            .map_err(|error| Error::io(format_args!("read `{}`", display(path)), &error))?;
        let length = contents.len() as u64;
        if length > limit {
            return Err(too_large(path, length, limit));
        }
        Ok(contents)
    }

    /// The first bytes of a regular file, at most `count`.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn head(&self, path: &Path, count: u64) -> Result<Vec<u8>> {
        let (file, _) = self.open_file(path)?;
        let mut head = Vec::new();
        file.take(count)
            .read_to_end(&mut head)
            .map_err(|error| Error::io(format_args!("read `{}`", display(path)), &error))?;
        Ok(head)
    }

    /// The target of a symbolic link, as it is written in it.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for anything but a symbolic link.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let place = self.existing_place(path)?;
        read_link_at(place.parent.as_fd(), &place.name, path)
    }

    /// The names in a directory and what stands there, sorted by their bytes; `.` and `..` left out.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for anything but a directory.
    pub fn list(&self, path: &Path) -> Result<Vec<Listed>> {
        let directory = self.existing_place(path)?.open_directory()?;
        let mut entries = Vec::new();
        for (name, kind) in listing(directory.as_fd(), path)? {
            // Some file systems don't say what an entry is.
            let kind = match kind {
                FileType::Unknown => match stat_at(directory.as_fd(), &name, path)? {
                    Some(stat) => stat.kind,
                    None => continue,
                },
                known => EntryKind::of(known),
            };
            entries.push((name, kind));
        }
        Ok(entries)
    }

    /// As [`Files::list`], with all that is known of each.
    ///
    /// # Errors
    /// As [`Files::list`].
    pub fn list_stats(&self, path: &Path) -> Result<Vec<(OsString, Stat)>> {
        let place = self.existing_place(path)?;
        let directory = place.open_directory()?;
        let mut entries = Vec::new();
        for name in names(directory.as_fd(), path)? {
            if let Some(stat) = stat_at(directory.as_fd(), &name, path)? {
                entries.push((name, stat));
            }
        }
        Ok(entries)
    }

    /// BLAKE3 of a regular file's contents, in hexadecimal.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for anything but a regular file; `Changed` for one that changes while it is read.
    pub fn digest(&self, path: &Path) -> Result<String> {
        let place = self.existing_place(path)?;
        Ok(digest_at(place.parent.as_fd(), &place.name, path)?
            .to_hex()
            .to_string())
    }

    /// As [`Files::digest`], for as long as `go_on` says so; it is asked every few megabytes.
    ///
    /// # Errors
    /// As [`Files::digest`]; what `go_on` says.
    pub fn digest_while(&self, path: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<String> {
        const PART: usize = 8 << 20;
        let place = self.existing_place(path)?;
        let (file, before) = open_file_at(place.parent.as_fd(), &place.name, path)?;
        let (mut hasher, mut part) = (blake3::Hasher::new(), Vec::new());
        let mut left = before.size;
        while left > 0 {
            go_on()?;
            part.clear();
            let read = (&file)
                .take(left.min(PART as u64))
                .read_to_end(&mut part)
                .map_err(|error| Error::io(format_args!("read `{}`", display(path)), &error))?;
            if read == 0 {
                return Err(changed_meanwhile(path));
            }
            hasher.update_rayon(&part);
            left -= read as u64;
        }
        let after = stat_open(file.as_fd(), path)?;
        if before.size != after.size || before.mtime_ns != after.mtime_ns {
            return Err(changed_meanwhile(path));
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// A regular file, open for streaming reads, and what it was when it was opened.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for anything but a regular file.
    pub fn open_file(&self, path: &Path) -> Result<(File, Stat)> {
        let place = self.existing_place(path)?;
        open_file_at(place.parent.as_fd(), &place.name, path)
    }
}

fn too_large(path: &Path, size: u64, limit: u64) -> Error {
    Error::invalid(format!(
        "`{}` has {size} bytes; the limit is {limit}",
        display(path)
    ))
}

/// Opens a regular file for reading. Anything else is refused before it is opened, because opening a device can act,
/// and after, because it may have been swapped.
pub(super) fn open_file_at(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<(File, Stat)> {
    let before = stat_at(parent, name, path)?.ok_or_else(|| absent(path))?;
    refuse_irregular(&before, path)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open: OwnedFd =
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|error| match error {
            Errno::LOOP => Error::changed(format!("`{}` was replaced by a symbolic link", display(path))),
            error => failure("open", path, error),
        })?;
    let stat = stat_open(open.as_fd(), path)?;
    refuse_irregular(&stat, path)?;
    Ok((File::from(open), stat))
}

fn refuse_irregular(stat: &Stat, path: &Path) -> Result<()> {
    if stat.kind == EntryKind::File {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "`{}` is a {}, not a regular file",
        display(path),
        stat.kind.name()
    )))
}

/// Opens what was seen to be a regular file. The caller compares what is open with what was seen.
pub(super) fn open_known(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
        .map(File::from)
        .map_err(|error| match error {
            Errno::LOOP => Error::changed(format!("`{}` was replaced by a symbolic link", display(path))),
            Errno::NOENT => absent(path),
            error => failure("open", path, error),
        })
}

/// Hashes a regular file and makes sure that it stood still meanwhile.
pub(super) fn digest_at(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<blake3::Hash> {
    let (file, before) = open_file_at(parent, name, path)?;
    digest_open(&file, &before, path, &mut Vec::new(), &Meter::default())
}

/// As [`digest_at`], for a file that was `before` when it was opened.
pub(super) fn digest_open(
    file: &File,
    before: &Stat,
    path: &Path,
    buffer: &mut Vec<u8>,
    meter: &Meter,
) -> Result<blake3::Hash> {
    let digest = contents::digest(file, before.size, path, buffer, meter.bytes())?;
    let after = stat_open(file.as_fd(), path)?;
    if before.size != after.size || before.mtime_ns != after.mtime_ns {
        return Err(changed_meanwhile(path));
    }
    Ok(digest)
}

pub(super) fn changed_meanwhile(path: &Path) -> Error {
    Error::changed(format!("`{}` changed while it was read", display(path)))
        .hint("stop the program that writes to it, then try again")
}

pub(super) fn read_link_at(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<PathBuf> {
    let target = rustix::fs::readlinkat(parent, name, Vec::new()).map_err(|error| match error {
        Errno::INVAL => Error::invalid(format!("`{}` is not a symbolic link", display(path))),
        error => failure("read the symbolic link", path, error),
    })?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// The names in an open directory, sorted by their bytes.
pub(super) fn names(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<OsString>> {
    let listing = listing(directory, path)?;
    Ok(listing.into_iter().map(|(name, _)| name).collect())
}

/// The names in an open directory, sorted by their bytes, and what the directory itself says of them: not every file
/// system does, and what it says can be past. The descriptor must not have been listed before.
pub(super) fn listing(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<(OsString, FileType)>> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| failure("list the directory", path, error))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((OsStr::from_bytes(name).to_os_string(), entry.file_type()));
        }
    }
    names.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    Ok(names)
}

//! Copies that are the original in all but place: one pass that copies and hashes, then reads back what was written.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::attributes::{self, imitate, set_mtime_at};
use super::look::{changed_meanwhile, names, open_file_at, read_link_at};
use super::resolve::{failure, on_other_mount, open_directory, open_directory_on_mount, stat_at, stat_open};
use super::walk::{DEPTH_LIMIT, too_deep};
use super::write::make_directory_at;
use super::{EntryKind, Files, Stat, below, shown};
use crate::error::{Error, Result};
use crate::gate::Permit;

const BUFFER: usize = 1 << 20;

/// One path of the original, as it was when it was copied.
#[derive(Debug, Clone)]
pub struct Copied {
    /// What it was.
    pub stat: Stat,
    /// BLAKE3 of a regular file's contents.
    pub digest: Option<blake3::Hash>,
}

/// What was copied, and what was not.
#[derive(Debug, Clone, Default)]
pub struct CopyOutcome {
    /// Paths below the top; 1 for anything but a directory.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes of the regular files.
    pub bytes: u64,
    /// What was copied, by the path from the top; the top itself is the empty path.
    pub copied: BTreeMap<PathBuf, Copied>,
    /// Sockets and devices, which were left out, by the path from the top.
    pub skipped: Vec<PathBuf>,
    /// Copies that now belong to the current user, because only root can give files away.
    pub not_owned: Vec<PathBuf>,
}

impl Files {
    /// Copies a regular file to a new name, as [`Files::copy_tree`] does.
    ///
    /// # Errors
    /// As [`Files::copy_tree`]; `Invalid` for anything but a regular file.
    pub fn copy_file(&self, permit: &Permit, from: &Path, to: &Path) -> Result<CopyOutcome> {
        let stat = self.existing_place(from)?.existing()?;
        if stat.kind != EntryKind::File {
            return Err(Error::invalid(format!(
                "`{}` is a {}, not a regular file",
                shown(from),
                stat.kind.name()
            )));
        }
        self.copy_tree(permit, from, to, &|_| false)
    }

    /// Copies whatever stands at `from` to `to`, which must not exist: contents with holes, modes, owners (as root),
    /// modification times, extended attributes, hard links within the tree, symbolic links as such, pipes. Every file
    /// is read back and compared, everything is synced. `leave_out` gets paths from the top.
    ///
    /// # Errors
    /// `Exists`; `Changed` where the original changes meanwhile; `Denied` where something is mounted inside; `Failed`
    /// for what can't be read or kept. What was made at `to` is then removed again.
    pub fn copy_tree(
        &self,
        permit: &Permit,
        from: &Path,
        to: &Path,
        leave_out: &dyn Fn(&Path) -> bool,
    ) -> Result<CopyOutcome> {
        if to.starts_with(from) {
            return Err(Error::invalid(format!(
                "`{}` can't be copied into itself (`{}`)",
                shown(from),
                shown(to)
            )));
        }
        let source = self.existing_place(from)?;
        let stat = source.existing()?;
        let target = self.changeable(to)?;
        if target.stat()?.is_some() {
            return Err(Error::exists(format!("`{}` exists already", shown(to)))
                .hint("move it out of the way, or choose another name"));
        }
        let mut copy = Copy {
            from,
            to,
            leave_out,
            outcome: CopyOutcome::default(),
            links: HashMap::new(),
            started: false,
        };
        let ends = Ends {
            source: source.parent.as_fd(),
            source_name: &source.name,
            target: target.parent.as_fd(),
            target_name: &target.name,
        };
        let copied = copy
            .entry(ends, Path::new(""), stat, 0)
            .and_then(|()| target.sync_parent());
        let Err(error) = copied else {
            return Ok(copy.outcome);
        };
        if !copy.started || target.stat()?.is_none() {
            return Err(error);
        }
        match self.remove_tree(permit, to) {
            Ok(()) => Err(error),
            Err(left) => Err(error
                .context(format!(
                    "an unfinished copy is left at `{}` ({})",
                    shown(to),
                    left.message()
                ))
                .after_changes()),
        }
    }
}

/// Both ends of one entry: names in open directories.
#[derive(Clone, Copy)]
struct Ends<'a> {
    source: BorrowedFd<'a>,
    source_name: &'a OsStr,
    target: BorrowedFd<'a>,
    target_name: &'a OsStr,
}

struct Copy<'a> {
    from: &'a Path,
    to: &'a Path,
    leave_out: &'a dyn Fn(&Path) -> bool,
    outcome: CopyOutcome,
    /// The first copy of each file that has several names, with its digest.
    links: HashMap<(u64, u64), FirstName>,
    /// Whether something of ours stands at the target.
    started: bool,
}

struct FirstName {
    /// From the top of the copy.
    relative: PathBuf,
    copy: Stat,
    source: Stat,
    digest: blake3::Hash,
}

impl Copy<'_> {
    fn entry(&mut self, ends: Ends<'_>, relative: &Path, stat: Stat, depth: usize) -> Result<()> {
        let path = below(self.from, relative);
        if depth > DEPTH_LIMIT {
            return Err(too_deep(&path));
        }
        if stat.mount_point && depth > 0 {
            return Err(on_other_mount(&path));
        }
        let digest = match stat.kind {
            EntryKind::Directory => {
                self.directory(ends, relative, &path, &stat, depth)?;
                None
            }
            EntryKind::File => Some(self.file(ends, relative, &path, &stat)?),
            EntryKind::Symlink => {
                let target = read_link_at(ends.source, ends.source_name, &path)?;
                rustix::fs::symlinkat(&target, ends.target, ends.target_name)
                    .map_err(|error| self.failure("make the symbolic link", relative, error))?;
                self.finish(ends, relative, &stat, &Vec::new())?;
                None
            }
            EntryKind::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(ends.target, ends.target_name, FileType::Fifo, mode, 0)
                    .map_err(|error| self.failure("make the named pipe", relative, error))?;
                self.finish(ends, relative, &stat, &Vec::new())?;
                None
            }
            EntryKind::Socket | EntryKind::Device => {
                if depth == 0 {
                    return Err(Error::invalid(format!(
                        "`{}` is a {}, which can't be copied",
                        shown(&path),
                        stat.kind.name()
                    )));
                }
                self.outcome.skipped.push(relative.to_path_buf());
                return Ok(());
            }
        };
        if depth > 0 || stat.kind != EntryKind::Directory {
            self.outcome.entries += 1;
        }
        if stat.kind == EntryKind::File {
            self.outcome.files += 1;
            self.outcome.bytes = self.outcome.bytes.saturating_add(stat.size);
        }
        self.outcome
            .copied
            .insert(relative.to_path_buf(), Copied { stat, digest });
        Ok(())
    }

    fn directory(
        &mut self,
        ends: Ends<'_>,
        relative: &Path,
        path: &Path,
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        // The top itself may be a mount point: its contents were asked for.
        let source = if depth == 0 {
            open_directory(ends.source, ends.source_name, path)?
        } else {
            open_directory_on_mount(ends.source, ends.source_name, path)?
        };
        let before = stat_open(source.as_fd(), path)?;
        if !before.same_version(stat) {
            return Err(changed_meanwhile(path));
        }
        let target = make_directory_at(ends.target, ends.target_name, &below(self.to, relative))?;
        self.started = true;
        for name in names(source.as_fd(), path)? {
            let relative = relative.join(&name);
            if (self.leave_out)(&relative) {
                continue;
            }
            let path = path.join(&name);
            let stat = stat_at(source.as_fd(), &name, &path)?.ok_or_else(|| changed_meanwhile(&path))?;
            let ends = Ends {
                source: source.as_fd(),
                source_name: &name,
                target: target.as_fd(),
                target_name: &name,
            };
            self.entry(ends, &relative, stat, depth + 1)?;
        }
        let kept = attributes::read_at(ends.source, ends.source_name, stat, path)?;
        self.finish(ends, relative, stat, &kept)?;
        rustix::fs::fsync(&target).map_err(|error| self.failure("sync", relative, error))?;
        if !stat_open(source.as_fd(), path)?.same_version(&before) {
            return Err(changed_meanwhile(path));
        }
        Ok(())
    }

    fn file(&mut self, ends: Ends<'_>, relative: &Path, path: &Path, stat: &Stat) -> Result<blake3::Hash> {
        if let Some(first) = self.links.get(&(stat.device, stat.inode)) {
            return self.link(ends, relative, path, stat, first);
        }
        let (source, before) = open_file_at(ends.source, ends.source_name, path)?;
        if !before.same_version(stat) {
            return Err(changed_meanwhile(path));
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(ends.target, ends.target_name, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(|error| self.failure("make", relative, error))?;
        self.started = true;
        let digest = self.contents(&source, &target, relative, path, stat.size)?;
        let kept = attributes::read_at(ends.source, ends.source_name, stat, path)?;
        self.finish(ends, relative, stat, &kept)?;
        rustix::fs::fsync(&target).map_err(|error| self.failure("sync", relative, error))?;
        if !stat_open(source.as_fd(), path)?.same_version(&before) {
            return Err(changed_meanwhile(path));
        }
        self.read_back(&target, relative, digest, stat.size)?;
        if stat.links > 1 {
            let copy = stat_open(target.as_fd(), &below(self.to, relative))?;
            let first = FirstName {
                relative: relative.to_path_buf(),
                copy,
                source: *stat,
                digest,
            };
            self.links.insert((stat.device, stat.inode), first);
        }
        Ok(digest)
    }

    /// Another name of a file that is copied already.
    fn link(
        &self,
        ends: Ends<'_>,
        relative: &Path,
        path: &Path,
        stat: &Stat,
        first: &FirstName,
    ) -> Result<blake3::Hash> {
        if !stat.same_version(&first.source) {
            return Err(changed_meanwhile(path));
        }
        // Relative to the new name's directory, so that every step stays inside the copy.
        let up = relative.components().count().saturating_sub(1);
        let mut old: PathBuf = std::iter::repeat_n("..", up).collect();
        old.push(&first.relative);
        rustix::fs::linkat(ends.target, &old, ends.target, ends.target_name, AtFlags::empty())
            .map_err(|error| self.failure("link", relative, error))?;
        let copy_path = below(self.to, relative);
        match stat_at(ends.target, ends.target_name, &copy_path)? {
            Some(linked) if linked.same_thing(&first.copy) => Ok(first.digest),
            _ => Err(Error::changed(format!(
                "`{}` was replaced while it was copied",
                shown(&copy_path)
            ))),
        }
    }

    /// Copies data and keeps holes; the digest is that of the whole contents, holes read as zeros.
    fn contents(
        &self,
        source: &File,
        target: &File,
        relative: &Path,
        path: &Path,
        size: u64,
    ) -> Result<blake3::Hash> {
        let reading = |error: std::io::Error| Error::io(format_args!("read `{}`", shown(path)), &error);
        let seeking = |error| failure("read", path, error);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let mut position = 0;
        while position < size {
            let data = match rustix::fs::seek(source, SeekFrom::Data(position)) {
                Ok(data) => data.min(size),
                Err(Errno::NXIO) => size,
                // A file system that knows no holes.
                Err(Errno::INVAL) => position,
                Err(error) => return Err(seeking(error)),
            };
            hash_zeros(&mut hasher, data.saturating_sub(position));
            position = data;
            let end = match rustix::fs::seek(source, SeekFrom::Hole(position)) {
                Ok(end) => end.min(size),
                Err(Errno::NXIO | Errno::INVAL) => size,
                Err(error) => return Err(seeking(error)),
            };
            while position < end {
                let wanted = usize::try_from(end - position).unwrap_or(BUFFER).min(BUFFER);
                let chunk = buffer
                    .get_mut(..wanted)
                    .ok_or_else(|| Error::bug("a buffer is too short"))?;
                let length = source.read_at(chunk, position).map_err(reading)?;
                if length == 0 {
                    return Err(changed_meanwhile(path));
                }
                let chunk = chunk
                    .get(..length)
                    .ok_or_else(|| Error::bug("a buffer is too short"))?;
                hasher.update(chunk);
                target.write_all_at(chunk, position).map_err(|error| {
                    Error::io(
                        format_args!("write `{}`", shown(&below(self.to, relative))),
                        &error,
                    )
                    .hint("make room on the disk, then try again")
                })?;
                position += length as u64;
            }
        }
        target.set_len(size).map_err(|error| {
            Error::io(
                format_args!("write `{}`", shown(&below(self.to, relative))),
                &error,
            )
        })?;
        Ok(hasher.finalize())
    }

    /// Hashes what the disk gives back for the copy.
    fn read_back(&self, target: &File, relative: &Path, digest: blake3::Hash, size: u64) -> Result<()> {
        let path = below(self.to, relative);
        // Best effort: without the cached pages, the check reaches the disk.
        let _ = rustix::fs::fadvise(target, 0, None, Advice::DontNeed);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let mut position = 0;
        loop {
            let length = target
                .read_at(&mut buffer, position)
                .map_err(|error| Error::io(format_args!("read back `{}`", shown(&path)), &error))?;
            if length == 0 {
                break;
            }
            hasher.update(
                buffer
                    .get(..length)
                    .ok_or_else(|| Error::bug("a buffer is too short"))?,
            );
            position += length as u64;
        }
        if position == size && hasher.finalize() == digest {
            return Ok(());
        }
        Err(
            Error::failed(format!("the copy `{}` differs from its original", shown(&path)))
                .hint("check the disk; the original was not touched"),
        )
    }

    fn finish(
        &mut self,
        ends: Ends<'_>,
        relative: &Path,
        stat: &Stat,
        kept: &attributes::Attributes,
    ) -> Result<()> {
        self.started = true;
        let path = below(self.to, relative);
        if !imitate(ends.target, ends.target_name, stat, kept, &path)? {
            self.outcome.not_owned.push(relative.to_path_buf());
        }
        set_mtime_at(ends.target, ends.target_name, stat.mtime_ns, &path)
    }

    fn failure(&self, doing: &str, relative: &Path, error: Errno) -> Error {
        failure(doing, &below(self.to, relative), error)
    }
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut length: u64) {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    while length > 0 {
        let part = usize::try_from(length).unwrap_or(ZEROS.len()).min(ZEROS.len());
        hasher.update(ZEROS.get(..part).unwrap_or(&ZEROS));
        length -= part as u64;
    }
}

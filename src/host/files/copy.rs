//! Copies that are the original in all but place, made by several threads.
//!
//! How a copy is verified: what is read from the original is hashed on its way, and when a file is written its copy is
//! read a second time, as a whole and through its own descriptor, and compared (a small file byte by byte with what was
//! read, a larger one by its digest). A write that went wrong, to the wrong place, or was overwritten by a later one is
//! found; the second read may come from the page cache, because what it is to find are mistakes of programs and file
//! systems, and waiting for a disk to give everything back took longer than the copy itself. A disk that loses what it
//! was given is found by verifying the backup later. Where the file system shares blocks (`FICLONE`) nothing is
//! written: sizes are compared, and the digest is that of the copy. The copy is brought to the disk at its end, at once
//! ([`durable`]), and nothing relies on it before.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::trace;

use super::walk::{DEPTH_LIMIT, too_deep};
use super::{EntryKind, Files, display, is_temporary};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};

mod durable;
mod record;
mod tree;

pub use record::{Copied, Record};

/// What was copied, and what was not.
#[derive(Debug, Clone, Default)]
pub struct CopyOutcome {
    /// Paths below the top; 1 for anything but a directory.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes of the regular files.
    pub bytes: u64,
    /// What was copied, by the path from the top.
    pub copied: Record,
    /// Sockets, which were left out, by the path from the top.
    pub skipped: Vec<PathBuf>,
    /// Regular files whose copies share their blocks with the original.
    pub shared: u64,
    /// Regular files whose contents were written anew; empty files are neither.
    pub written: u64,
    /// Copies that now belong to the current user, because only root can give files away.
    pub not_owned: Vec<PathBuf>,
}

/// Whether a copy holds what stands at a path of its original, `depth` directories below the top (0: the top itself).
/// Copies and previews of copies decide by this alone. Named pipes are made anew; a socket is the end of a connection to
/// a living program, which makes it again when it starts, so it is left out.
///
/// # Errors
/// `Failed` for a device, and for a socket that was asked for by its name; `Limit` for what lies too deep.
pub(crate) fn is_copied(path: &Path, kind: EntryKind, depth: usize) -> Result<bool> {
    if depth > DEPTH_LIMIT {
        return Err(too_deep(path));
    }
    match kind {
        EntryKind::File | EntryKind::Directory | EntryKind::Symlink | EntryKind::Fifo => Ok(true),
        EntryKind::Socket if depth > 0 => Ok(false),
        EntryKind::Socket | EntryKind::Device => Err(Error::failed(format!(
            "`{}` is a {}, which can't be copied",
            display(path),
            kind.name()
        ))
        .hint("leave it out, or move the whole within its file system: that keeps it")),
    }
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
                display(from),
                stat.kind.name()
            )));
        }
        self.copy_tree(permit, from, to, &|_| false)
    }

    /// Copies whatever stands at `from` to `to`, which must not exist: contents with holes, modes, owners (as root),
    /// modification times, extended attributes, hard links within the tree, symbolic links as such, pipes. Every file
    /// is read back and compared, everything is synced at the end. `leave_out` gets paths from the top, on any thread.
    ///
    /// # Errors
    /// `Exists`; `Changed` where the original changes meanwhile; `Denied` where something is mounted inside;
    /// `Failed` for a device, and for what can't be read or kept. What was made at `to` is then removed again.
    pub fn copy_tree(
        &self,
        permit: &Permit,
        from: &Path,
        to: &Path,
        leave_out: &(dyn Fn(&Path) -> bool + Sync),
    ) -> Result<CopyOutcome> {
        trace!(from = %from.display(), to = %to.display(), "copy tree");
        self.copy_as(permit, from, to, leave_out, false)
    }

    /// As [`Files::copy_tree`], of everything, with what is mounted inside; `to` may be what is left of a tree whose mount
    /// points stayed, which are filled again.
    ///
    /// # Errors
    /// As [`Files::copy_tree`], but for the mount points.
    pub fn copy_across(&self, permit: &Permit, from: &Path, to: &Path) -> Result<CopyOutcome> {
        self.copy_as(permit, from, to, &|_| false, true)
    }

    fn copy_as(
        &self,
        permit: &Permit,
        from: &Path,
        to: &Path,
        leave_out: &(dyn Fn(&Path) -> bool + Sync),
        across: bool,
    ) -> Result<CopyOutcome> {
        if to.starts_with(from) {
            return Err(Error::invalid(format!(
                "`{}` can't be copied into itself (`{}`)",
                display(from),
                display(to)
            )));
        }
        let source = self.existing_place(from)?;
        let stat = source.existing()?;
        let target = self.changeable(to)?;
        let hollow = across && self.is_hollow(to)?;
        if target.stat()?.is_some() && !hollow {
            return Err(Error::exists(format!("`{}` exists already", display(to)))
                .hint("move it out of the way, or choose another name"));
        }
        let durable = durable::Durable::new(target.parent.as_fd(), to, hollow)?;
        // Whether what stands at the target is ours.
        let started = AtomicBool::new(false);
        let copied = tree::copy(
            (&source, stat),
            &target,
            (leave_out, across),
            &durable,
            self.meter(),
            &started,
        )
        .and_then(|outcome| {
            durable.finish(to)?;
            target.sync_parent()?;
            Ok(outcome)
        });
        let error = match copied {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        drop(durable);
        if !started.load(Ordering::Relaxed) || target.stat()?.is_none() {
            return Err(error);
        }
        let removed = if hollow {
            self.hollow_out(permit, to, &|_, _| true)
        } else {
            self.remove_tree(permit, to)
        };
        match removed {
            Ok(()) => Err(error),
            Err(left) if is_temporary(to) => {
                self.leave(to, &left);
                Err(error.after_changes())
            }
            Err(left) => Err(error
                .context(format!(
                    "an unfinished copy is left at `{}` ({})",
                    display(to),
                    left.message()
                ))
                .after_changes()),
        }
    }
}

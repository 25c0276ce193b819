//! Removal, by several threads. A tree goes only as a whole: it is made sure first that nothing is mounted in it and
//! that it is not nested too deeply; what is mounted later is not entered.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use tracing::trace;

use super::crew::{self, Heap};
use super::look::listing;
use super::resolve::{failure, on_other_mount, open_directory_on_mount, stat_at};
use super::walk::{DEPTH_LIMIT, refuse_depth, too_deep};
use super::{EntryKind, Files, Meter, display};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Kind, Result};

/// Names that one thread takes at a time.
const BATCH: usize = 256;

impl Files {
    /// Removes anything but a directory, durably; a symbolic link itself, not what it points to.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a directory; `Denied` for a mount point.
    pub fn remove_file(&self, _permit: &Permit, path: &Path) -> Result<()> {
        trace!(path = %path.display(), "remove file");
        let place = self.changeable(path)?;
        let stat = place.existing()?;
        if stat.kind == EntryKind::Directory {
            return Err(Error::invalid(format!("`{}` is a directory", display(path))));
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
        trace!(path = %path.display(), "remove tree");
        let place = self.changeable(path)?;
        self.refuse_mounts(path)?;
        let stat = place.existing()?;
        let removed = AtomicU64::new(0);
        let outcome = if stat.kind == EntryKind::Directory {
            refuse_depth(place.parent.as_fd(), &place.name, path, 0)?;
            let removal = Removal {
                removed: &removed,
                meter: self.meter(),
            };
            removal.all(place.parent.as_fd(), &place.name, path)
        } else {
            unlink(place.parent.as_fd(), &place.name, AtFlags::empty(), path)
        };
        match outcome {
            Ok(()) => place.sync_parent().map_err(Error::after_changes),
            Err(error) if removed.load(Ordering::Relaxed) > 0 => Err(error.after_changes()),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn unlink(parent: BorrowedFd<'_>, name: &OsStr, flags: AtFlags, path: &Path) -> Result<()> {
    rustix::fs::unlinkat(parent, name, flags).map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: Errno) -> Error {
    match error {
        Errno::BUSY => on_other_mount(path),
        error => failure("remove", path, error),
    }
}

/// A directory that is being emptied, open until it is empty. The outermost holds the tree and stays.
struct Level {
    parent: Option<Arc<Level>>,
    open: OwnedFd,
    name: OsString,
    path: PathBuf,
    depth: usize,
    /// Batches of names and directories below that are not gone.
    pending: AtomicUsize,
}

enum Job {
    Directory(Arc<Level>, OsString),
    Names(Arc<Level>, Vec<(OsString, FileType)>),
}

struct Removal<'a> {
    removed: &'a AtomicU64,
    meter: &'a Meter,
}

impl Removal<'_> {
    fn all(&self, parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
        let holder = Level {
            parent: None,
            open: rustix::io::fcntl_dupfd_cloexec(parent, 3)
                .map_err(|error| failure("open the directory of", path, error))?,
            name: OsString::new(),
            path: path.parent().unwrap_or(path).to_path_buf(),
            depth: 0,
            pending: AtomicUsize::new(1),
        };
        let top = Job::Directory(Arc::new(holder), name.to_os_string());
        crew::work(vec![top], &|| (), &|job, (), heap| self.act(job, heap))?;
        Ok(())
    }

    fn act(&self, job: Job, heap: &Heap<Job>) -> Result<()> {
        match job {
            Job::Directory(parent, name) => self.directory(parent, name, heap),
            Job::Names(level, names) => {
                for (name, kind) in names {
                    let directory = match kind {
                        FileType::Directory => true,
                        FileType::Unknown => {
                            let path = level.path.join(&name);
                            match stat_at(level.open.as_fd(), &name, &path)? {
                                Some(stat) => stat.kind == EntryKind::Directory,
                                None => continue,
                            }
                        }
                        _ => false,
                    };
                    if directory || !self.file(&level, &name)? {
                        level.pending.fetch_add(1, Ordering::Relaxed);
                        heap.push(Job::Directory(Arc::clone(&level), name));
                    }
                }
                self.release(level)
            }
        }
    }

    /// Removes anything but a directory; false where it is one by now.
    fn file(&self, level: &Level, name: &OsStr) -> Result<bool> {
        match rustix::fs::unlinkat(&level.open, name, AtFlags::empty()) {
            Ok(()) => {
                self.removed.fetch_add(1, Ordering::Relaxed);
                self.meter.file();
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(true),
            Err(Errno::ISDIR) => Ok(false),
            Err(error) => Err(refused(&level.path.join(name), error)),
        }
    }

    fn directory(&self, parent: Arc<Level>, name: OsString, heap: &Heap<Job>) -> Result<()> {
        let path = parent.path.join(&name);
        if parent.depth > DEPTH_LIMIT {
            return Err(too_deep(&path));
        }
        open_up(parent.open.as_fd(), &name, &path)?;
        let open = match open_directory_on_mount(parent.open.as_fd(), &name, &path) {
            // Somebody else was faster; for the top that was looked at before.
            Err(error) if error.kind() == Kind::NotFound && parent.parent.is_some() => {
                return self.release(parent);
            }
            open => open?,
        };
        let mut names = listing(open.as_fd(), &path)?.into_iter();
        let level = Arc::new(Level {
            depth: parent.depth + 1,
            parent: Some(parent),
            open,
            name,
            path,
            pending: AtomicUsize::new(1),
        });
        let mut batch: Vec<_> = names.by_ref().take(BATCH).collect();
        while batch.len() == BATCH {
            level.pending.fetch_add(1, Ordering::Relaxed);
            heap.push(Job::Names(Arc::clone(&level), batch));
            batch = names.by_ref().take(BATCH).collect();
        }
        // The last batch goes with the count that the level began with; an empty one removes the directory.
        self.act(Job::Names(level, batch), heap)
    }

    /// One batch or directory below is gone; with the last the directory goes too, and perhaps those above.
    fn release(&self, level: Arc<Level>) -> Result<()> {
        let mut level = level;
        while level.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let Some(parent) = level.parent.clone() else {
                break;
            };
            match rustix::fs::unlinkat(&parent.open, &level.name, AtFlags::REMOVEDIR) {
                Ok(()) => {
                    self.removed.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(refused(&level.path, error)),
            }
            level = parent;
        }
        Ok(())
    }
}

/// Gives the owner of a directory back the right to empty it.
pub(super) fn open_up(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    let Some(stat) = stat_at(parent, name, path)? else {
        return Ok(());
    };
    let user = rustix::process::geteuid();
    if stat.kind != EntryKind::Directory || stat.mode & 0o700 == 0o700 || stat.uid != user.as_raw() {
        return Ok(());
    }
    super::attributes::set_mode_at(parent, name, stat.mode | 0o700, path)
}

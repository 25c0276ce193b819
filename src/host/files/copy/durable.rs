//! Bringing a copy to the disk before anything relies on it: a few files one by one, many by one `syncfs`, which asks
//! the disk once instead of once a file.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use rustix::io::Errno;

use crate::base::error::{Error, Result};
use crate::host::files::crew::lock;
use crate::host::files::mounts::kind_of;
use crate::host::files::resolve::failure;

/// Up to here each file and directory is synced by itself: `syncfs` also waits for what other programs have written.
const FEW: usize = 32;

/// Large files that are on their way to the disk while the copy goes on.
const EARLY: usize = 2;

/// File systems whose `syncfs` is known to bring everything to the disk, by their magic numbers: ext2 to ext4, XFS,
/// Btrfs, F2FS, bcachefs, ZFS, tmpfs, overlayfs. A FUSE server, for one, may never be told.
const SYNCED_AS_A_WHOLE: [i64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0xF2F5_2010,
    0xCA45_1A4E,
    0x2FC1_2FC1,
    0x0102_1994,
    0x794C_7630,
];

/// What is not on the disk yet.
pub(super) struct Durable {
    /// Opened before the first write, because a descriptor is told only of failures that come after it.
    top: OwnedFd,
    as_a_whole: bool,
    /// `None` once there are more than a few.
    few: Mutex<Option<Vec<OwnedFd>>>,
    early: Mutex<Vec<JoinHandle<rustix::io::Result<()>>>>,
}

impl Durable {
    /// For a copy into the open directory `parent`; `scattered` where it goes into file systems mounted below.
    pub(super) fn new(parent: BorrowedFd<'_>, to: &Path, scattered: bool) -> Result<Self> {
        let looking = |error| failure("look at the file system of", to, error);
        let kind = kind_of(parent, to)?;
        Ok(Self {
            top: rustix::io::fcntl_dupfd_cloexec(parent, 3).map_err(looking)?,
            as_a_whole: !scattered && SYNCED_AS_A_WHOLE.contains(&kind),
            few: Mutex::new(Some(Vec::new())),
            early: Mutex::new(Vec::new()),
        })
    }

    /// A file or directory is complete.
    pub(super) fn add(&self, open: BorrowedFd<'_>, path: &Path) -> Result<()> {
        if !self.as_a_whole {
            return rustix::fs::fsync(open).map_err(|error| failure("sync", path, error));
        }
        let mut few = lock(&self.few);
        match few.as_mut() {
            None => {}
            Some(some) if some.len() < FEW => {
                let kept = rustix::io::fcntl_dupfd_cloexec(open, 3);
                some.push(kept.map_err(|error| failure("sync", path, error))?);
            }
            Some(_) => *few = None,
        }
        Ok(())
    }

    /// A large file is complete: it sets out for the disk while the copy goes on.
    pub(super) fn begin(&self, file: &File) {
        let mut early = lock(&self.early);
        let under_way = early.iter().filter(|each| !each.is_finished()).count();
        // Only a head start; `finish` syncs everything.
        if let (true, Ok(file)) = (under_way < EARLY, file.try_clone()) {
            early.push(thread::spawn(move || rustix::fs::fdatasync(&file)));
        }
    }

    /// Waits until all of it is on the disk.
    pub(super) fn finish(&self, to: &Path) -> Result<()> {
        let syncing = |error| failure("sync", to, error);
        // A failure that a descriptor has told once, it does not tell again.
        for early in std::mem::take(&mut *lock(&self.early)) {
            early
                .join()
                .map_err(|_| Error::bug("a thread panicked"))?
                .map_err(syncing)?;
        }
        match lock(&self.few).take() {
            Some(few) => few.iter().try_for_each(rustix::fs::fsync).map_err(syncing),
            None => match rustix::fs::syncfs(self.top.as_fd()) {
                Err(Errno::INTR) => rustix::fs::syncfs(self.top.as_fd()).map_err(syncing),
                synced => synced.map_err(syncing),
            },
        }
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        // After a failure the copy is removed; nobody may still be at it then.
        for early in std::mem::take(&mut *lock(&self.early)) {
            let _ = early.join();
        }
    }
}

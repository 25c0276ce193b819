//! One run at a time: an advisory lock on the workspace's own directory, freed by the kernel when the holder ends.
//! Nothing is written for it, so it works on a read-only workspace and leaves nothing behind.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::base::error::{Error, Result};

/// The held lock; dropped, it is free.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

impl Lock {
    /// Takes the lock on the workspace at `root`, or says who has it.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Locked`] where another run holds it.
    pub fn take(root: &Path) -> Result<Self> {
        let directory = File::open(root).map_err(|error| Error::io("open the workspace", &error))?;
        match directory.try_lock() {
            Ok(()) => Ok(Self {
                _directory: directory,
            }),
            Err(std::fs::TryLockError::WouldBlock) => {
                let who = holder(&directory)
                    .map(|pid| format!(" (process {pid})"))
                    .unwrap_or_default();
                Err(Error::locked(format!("another run holds this workspace{who}"))
                    .hint("wait for it, then try again; nothing was changed"))
            }
            Err(std::fs::TryLockError::Error(error)) => Err(Error::io("lock the workspace", &error)),
        }
    }
}

/// The process that holds the lock, out of the kernel's table of locks.
fn holder(directory: &File) -> Option<i32> {
    let inode = directory.metadata().ok()?.ino();
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let place = fields.get(5)?;
        let is_ours = fields.get(1) == Some(&"FLOCK") && place.rsplit(':').next()?.parse() == Ok(inode);
        is_ours.then(|| fields.get(4)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_taker_is_told_who_has_it() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let lock = Lock::take(directory.path()).expect("free");
        let error = Lock::take(directory.path()).expect_err("held");
        assert!(
            error
                .message()
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(lock);
        assert!(Lock::take(directory.path()).is_ok());
    }
}

//! How much room a file system has for this user.

use std::os::fd::AsFd;
use std::path::Path;

use super::Files;
use super::mounts::kind_of;
use super::resolve::failure;
use crate::base::error::Result;

/// File systems on which a copy can share the blocks of its original, by their magic numbers: Btrfs, XFS, bcachefs, OCFS2.
const SHARING: [i64; 4] = [0x9123_683E, 0x5846_5342, 0xCA45_1A4E, 0x7461_636F];

/// What is free on the file system of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The device number: two directories with the same share their room.
    pub device: u64,
    /// Free bytes.
    pub bytes: u64,
    /// What the smallest file or directory takes, in bytes.
    pub block: u64,
    /// Free inodes; `None` where the file system makes them as they are wanted.
    pub entries: Option<u64>,
    /// Its kind, where copies within it may take no bytes.
    pub sharing: Option<i64>,
}

impl Files {
    /// What is free for this user on the file system of an existing directory.
    ///
    /// # Errors
    /// `NotFound`; `Failed` where the system won't say.
    pub fn room(&self, directory: &Path) -> Result<Room> {
        let place = self.existing_place(directory)?;
        let open = place.hold()?;
        let state = rustix::fs::fstatvfs(open.as_fd())
            .map_err(|error| failure("look at the file system of", directory, error))?;
        let kind = kind_of(open.as_fd(), directory)?;
        Ok(Room {
            device: place.existing()?.device,
            bytes: state.f_bavail.saturating_mul(state.f_frsize),
            block: state.f_frsize.max(1),
            entries: (state.f_files > 0).then_some(state.f_favail),
            sharing: SHARING.contains(&kind).then_some(kind),
        })
    }
}

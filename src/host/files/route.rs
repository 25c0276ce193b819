//! By which way something gets to another place: the preview tells it, and the act takes it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatxFlags};

use super::mounts::kind_of;
use super::resolve::{failure, on_other_mount};
use super::{EntryKind, Files, Mounts};
use crate::base::error::Result;

const OVERLAYFS: i64 = 0x794C_7630;

/// A way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// By one rename.
    Rename,
    /// By one rename, or by a verified copy after which the original goes: only the attempt tells. `OverlayFS` does not
    /// let a directory of the layer below be renamed, and does not say in which layer one lies.
    RenameOrCopy,
    /// By a verified copy, after which the original goes.
    Copy(Cause),
}

/// Why something must be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The two places lie on different file systems, or mounts of one.
    OtherFileSystem,
    /// It is a mount point, or holds these: they stay, as empty directories.
    MountPoints(Vec<PathBuf>),
    /// Its place is what was left of it because something is mounted there.
    StandingMounts,
}

impl Route {
    /// What a plan says of it; nothing for a plain rename. `show` names a path for people.
    #[must_use]
    pub fn remark(&self, show: &dyn Fn(&Path) -> String) -> Option<String> {
        Some(match self {
            Self::Rename => return None,
            Self::RenameOrCopy => {
                "moved, or copied, compared and then removed where the layer below does not let it be moved"
                    .to_owned()
            }
            Self::Copy(Cause::OtherFileSystem) => {
                "copied, compared and then removed: it goes to another file system".to_owned()
            }
            Self::Copy(Cause::MountPoints(mounts)) => {
                let names: Vec<String> = mounts.iter().map(|mount| format!("`{}`", show(mount))).collect();
                format!(
                    "copied, compared and then removed: a file system is mounted at {}, which stays as an empty directory",
                    names.join(" and ")
                )
            }
            Self::Copy(Cause::StandingMounts) => {
                "copied into the mount points that are left there, compared and then removed".to_owned()
            }
        })
    }

    /// Whether room for a copy is needed.
    #[must_use]
    pub fn may_copy(&self) -> bool {
        *self != Self::Rename
    }
}

impl Files {
    /// The way of `entry`, which stands in `directory` by then, to the name `to`, in or below `target`: both directories
    /// exist.
    ///
    /// # Errors
    /// `Denied` where something is mounted that `mounts` doesn't let pass; `NotFound`.
    pub fn route(
        &self,
        (directory, entry): (&Path, &Path),
        (target, to): (&Path, &Path),
        mounts: Mounts,
    ) -> Result<Route> {
        let stat = self.existing_place(entry)?.existing()?;
        let mounted = self.mounted(entry)?;
        for inside in &mounted {
            let passes = match mounts {
                Mounts::Refused => false,
                Mounts::Itself => inside == entry,
                Mounts::Contents => true,
            };
            let is_directory = self
                .stat(inside)?
                .is_some_and(|stat| stat.kind == EntryKind::Directory);
            // What is mounted over a file can be neither renamed nor removed.
            if !passes || !is_directory {
                return Err(on_other_mount(inside));
            }
        }
        if !mounted.is_empty() {
            return Ok(Route::Copy(Cause::MountPoints(mounted)));
        }
        if stat.kind == EntryKind::Directory && self.is_hollow(to)? {
            return Ok(Route::Copy(Cause::StandingMounts));
        }
        let (here, there) = (self.mount_of(directory)?, self.mount_of(target)?);
        if here.id != there.id {
            return Ok(Route::Copy(Cause::OtherFileSystem));
        }
        let layered = stat.kind == EntryKind::Directory && here.kind == OVERLAYFS;
        if layered || here.device != there.device {
            return Ok(Route::RenameOrCopy);
        }
        Ok(Route::Rename)
    }

    fn mount_of(&self, directory: &Path) -> Result<Lying> {
        let looking = |error| failure("look at the file system of", directory, error);
        let open = self.existing_place(directory)?.hold()?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
        let seen = rustix::fs::statx(&open, "", AtFlags::EMPTY_PATH, wanted).map_err(looking)?;
        Ok(Lying {
            id: seen.stx_mnt_id,
            device: rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor),
            kind: kind_of(open.as_fd(), directory)?,
        })
    }
}

/// Where a directory lies.
struct Lying {
    id: u64,
    device: u64,
    kind: i64,
}

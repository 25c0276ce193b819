//! Files and directories below open roots.
//!
//! Every path is absolute and normalised, and is resolved by the kernel below the root that contains it: no symbolic
//! link on the way, no way out. What stands at the final name is acted on itself, never what it points to. Recursion
//! stops at mount points. On disk it keeps nothing of its own but short-lived `.rollback-*.tmp` names.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::base::error::Error;

mod attributes;
mod claim;
mod contents;
mod copy;
mod crew;
mod demand;
mod hollow;
mod look;
mod meter;
mod mounts;
mod rejoin;
mod remove;
mod rename;
mod resolve;
mod rights;
mod room;
mod route;
mod survey;
mod walk;
mod write;

pub use attributes::Attributes;
pub(crate) use attributes::imitate_directory;
pub(crate) use copy::is_copied;
pub use copy::{Copied, CopyOutcome, Record};
pub use demand::{Demand, Mounts};
pub use meter::{Meter, Progress};
pub use rename::{Relocated, Renamed, Unsynced};
pub use rights::{Extent, Taking};
pub use room::Room;
pub use route::{Cause, Route};
pub(crate) use survey::Survey;
pub use walk::{Step, TreeSize, Walked};
pub use write::Expect;

/// The largest file that a script may read or edit, in bytes.
pub const TEXT_LIMIT: u64 = 8 << 20;

/// The open roots below which this process may look and act.
#[derive(Debug)]
pub struct Files {
    roots: Vec<resolve::Root>,
    /// Where layers over the workspace are, once there may be any.
    layers: std::sync::OnceLock<resolve::Root>,
    meter: Arc<Meter>,
    /// Temporaries that could not be removed, and why.
    left: Mutex<Vec<(PathBuf, String)>>,
}

impl Files {
    /// Keeps in mind that something of ours is left where it is.
    pub(crate) fn leave(&self, path: &Path, why: &Error) {
        crew::lock(&self.left).push((path.to_path_buf(), why.message().to_owned()));
    }

    /// What was left since this was asked last.
    pub(super) fn take_left(&self) -> Vec<(PathBuf, String)> {
        std::mem::take(&mut *crew::lock(&self.left))
    }

    /// How far the operation at hand is.
    #[must_use]
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }
}

/// What kind of thing stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it points to.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character or block device.
    Device,
}

impl EntryKind {
    /// The kind that the system means. Whatever is none of the others is a device.
    #[must_use]
    pub(crate) const fn of(kind: rustix::fs::FileType) -> Self {
        match kind {
            rustix::fs::FileType::RegularFile => Self::File,
            rustix::fs::FileType::Directory => Self::Directory,
            rustix::fs::FileType::Symlink => Self::Symlink,
            rustix::fs::FileType::Fifo => Self::Fifo,
            rustix::fs::FileType::Socket => Self::Socket,
            _ => Self::Device,
        }
    }

    /// For people: "file", "directory", "symbolic link", ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
            Self::Device => "device",
        }
    }
}

/// What `statx` tells of a path itself (a symbolic link is not followed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; for a symbolic link the length of its target.
    pub size: u64,
    /// Permission bits with set-id and sticky bits (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification of the contents, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Change of contents or attributes, nanoseconds since the epoch. Can't be set by anybody.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
    /// Hard links.
    pub links: u64,
    /// Whether another file system, or another part of this one, is mounted here.
    pub mount_point: bool,
}

impl Stat {
    /// Whether two looks saw the same, unmodified thing.
    #[must_use]
    pub fn same_version(&self, other: &Self) -> bool {
        self.same_thing(other)
            && self.size == other.size
            && self.mtime_ns == other.mtime_ns
            && self.ctime_ns == other.ctime_ns
    }

    /// Whether two looks saw the same inode.
    #[must_use]
    pub fn same_thing(&self, other: &Self) -> bool {
        self.inode == other.inode && self.device == other.device && self.kind == other.kind
    }
}

/// A name of a directory and what stands there, as `list` returns them.
pub type Listed = (OsString, EntryKind);

/// The name of something of ours that only lives during one operation; a crash can leave it behind.
#[must_use]
pub fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b".rollback-") && name.ends_with(b".tmp")
    })
}

/// Whether it is a temporary that this process made.
#[must_use]
pub fn is_temporary_of(path: &Path, pid: u32) -> bool {
    is_temporary(path) && is_of(path, pid)
}

/// Whether it is an original that was taken out of the way, and may not have been compared with its copy yet.
#[must_use]
pub fn is_aside(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(b".rollback-") && name.ends_with(b".aside")
    })
}

/// Whether it is one that this process took out of the way.
#[must_use]
pub fn is_aside_of(path: &Path, pid: u32) -> bool {
    is_aside(path) && is_of(path, pid)
}

fn is_of(path: &Path, pid: u32) -> bool {
    let of_it = format!(".rollback-{pid}-");
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(of_it.as_bytes()))
}

/// Resolves `.` and `..` by name. `None` where it would climb above the start of a relative path.
pub(crate) fn lexical(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() && !clean.has_root() {
                    return None;
                }
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => clean.push(component),
        }
    }
    Some(clean)
}

/// A path for messages: lossy, with control characters escaped.
pub(crate) fn display(path: &Path) -> String {
    let mut text = String::new();
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// `parent` with `name` below it; an empty `name` is `parent` itself, without a slash at the end.
fn below(parent: &Path, name: &Path) -> PathBuf {
    if name.as_os_str().is_empty() {
        parent.to_path_buf()
    } else {
        parent.join(name)
    }
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests;

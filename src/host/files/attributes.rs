//! Owner, mode, times and extended attributes of a name itself, reached through a descriptor that follows no link.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::resolve::failure;
use super::{EntryKind, Stat, shown};
use crate::error::{Error, Result};

/// Extended attributes by name, sorted.
pub(super) type Attributes = Vec<(OsString, Vec<u8>)>;

/// Labels that the security policy of the system gives; they say nothing about the contents.
const SYSTEM_LABELS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// A handle on the name itself that neither opens nor follows it, and the path under which the kernel shows it.
struct Handle {
    _open: OwnedFd,
    by_descriptor: CString,
}

impl Handle {
    fn new(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|error| failure("look at", path, error))?;
        let by_descriptor = CString::new(format!("/proc/self/fd/{}", open.as_raw_fd()))
            .map_err(|_| Error::bug("a number holds a zero byte"))?;
        Ok(Self {
            _open: open,
            by_descriptor,
        })
    }
}

/// The extended attributes; none for what can't have any of a person's (links, pipes, sockets, devices).
pub(super) fn read_at(parent: BorrowedFd<'_>, name: &OsStr, stat: &Stat, path: &Path) -> Result<Attributes> {
    if !matches!(stat.kind, EntryKind::File | EntryKind::Directory) {
        return Ok(Vec::new());
    }
    read(&Handle::new(parent, name, path)?, path)
}

fn read(handle: &Handle, path: &Path) -> Result<Attributes> {
    let reading = |error| failure("read the extended attributes of", path, error);
    let list = match filled(
        || rustix::fs::listxattr_query(&handle.by_descriptor),
        |buffer| rustix::fs::listxattr(&handle.by_descriptor, buffer),
    ) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other.map_err(reading)?,
    };
    let mut attributes = Attributes::new();
    for name in list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && !SYSTEM_LABELS.contains(name))
    {
        let value = filled(
            || rustix::fs::getxattr_query(&handle.by_descriptor, name),
            |buffer| rustix::fs::getxattr(&handle.by_descriptor, name, buffer),
        );
        match value {
            Ok(value) => attributes.push((OsString::from_vec(name.to_vec()), value)),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(reading(error)),
        }
    }
    attributes.sort_unstable();
    Ok(attributes)
}

/// Asks for a size, then for that many bytes, again while the answer grows in between.
fn filled(
    mut size: impl FnMut() -> rustix::io::Result<usize>,
    mut fill: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    for _ in 0..16 {
        let length = size()?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; length];
        match fill(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE)
}

/// Gives the name the owner, extended attributes and mode of `wanted`, in the order in which none undoes another.
/// Returns whether the owner could be kept; if not, set-id bits are left out.
pub(super) fn imitate(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    wanted: &Stat,
    attributes: &Attributes,
    path: &Path,
) -> Result<bool> {
    let owned = set_owner(parent, name, wanted, path)?;
    if wanted.kind == EntryKind::Symlink {
        return Ok(owned);
    }
    let handle = Handle::new(parent, name, path)?;
    if matches!(wanted.kind, EntryKind::File | EntryKind::Directory) {
        set_attributes(&handle, attributes, path)?;
    }
    let mode = if owned { wanted.mode } else { wanted.mode & 0o1777 };
    set_mode(&handle, mode, path)?;
    Ok(owned)
}

fn set_owner(parent: BorrowedFd<'_>, name: &OsStr, wanted: &Stat, path: &Path) -> Result<bool> {
    let Some(now) = super::resolve::stat_at(parent, name, path)? else {
        return Err(super::resolve::absent(path));
    };
    if now.uid == wanted.uid && now.gid == wanted.gid {
        return Ok(true);
    }
    let owner = (now.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (now.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    match rustix::fs::chownat(parent, name, owner, group, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL) => Ok(false),
        Err(error) => Err(failure("set the owner of", path, error)),
    }
}

fn set_attributes(handle: &Handle, wanted: &Attributes, path: &Path) -> Result<()> {
    let now = read(handle, path)?;
    if now == *wanted {
        return Ok(());
    }
    // A default access list of the new parent directory is inherited; what was copied had none.
    for (name, _) in now
        .iter()
        .filter(|(name, _)| !wanted.iter().any(|(kept, _)| kept == name))
    {
        rustix::fs::removexattr(&handle.by_descriptor, name.as_os_str())
            .map_err(|error| failure("remove an extended attribute of", path, error))?;
    }
    for (name, value) in wanted.iter().filter(|entry| !now.contains(entry)) {
        rustix::fs::setxattr(
            &handle.by_descriptor,
            name.as_os_str(),
            value,
            XattrFlags::empty(),
        )
        .map_err(|error| {
            Error::io(
                format_args!(
                    "keep the extended attribute `{}` of `{}`",
                    name.to_string_lossy(),
                    shown(path)
                ),
                &error.into(),
            )
            .hint("copy to a file system that keeps extended attributes")
        })?;
    }
    Ok(())
}

fn set_mode(handle: &Handle, mode: u32, path: &Path) -> Result<()> {
    rustix::fs::chmod(&handle.by_descriptor, Mode::from_raw_mode(mode))
        .map_err(|error| failure("set the mode of", path, error))
}

/// Sets the permission bits of the name itself. A symbolic link has none.
pub(super) fn set_mode_at(parent: BorrowedFd<'_>, name: &OsStr, mode: u32, path: &Path) -> Result<()> {
    set_mode(&Handle::new(parent, name, path)?, mode & 0o7777, path)
}

/// Sets the modification time of the name itself, nanoseconds since the epoch; the access time stays.
pub(super) fn set_mtime_at(parent: BorrowedFd<'_>, name: &OsStr, mtime_ns: i64, path: &Path) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    };
    rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failure("set the modification time of", path, error))
}

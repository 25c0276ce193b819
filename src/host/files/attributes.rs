//! Owner, mode, times and extended attributes of a name itself, reached through a descriptor that follows no link.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::resolve::failure;
use super::{EntryKind, Stat, display};
use crate::base::error::{Error, Result};

/// Extended attributes by name, sorted.
pub type Attributes = Vec<(OsString, Vec<u8>)>;

/// Labels that the security policy of the system gives; they say nothing about the contents.
const SYSTEM_LABELS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// What attributes are read from and given to.
enum Subject<'a> {
    /// Something that is open.
    Open(BorrowedFd<'a>),
    /// A handle on a name itself that neither opens nor follows it, and the path under which the kernel shows it.
    Held { _open: OwnedFd, path: CString },
    /// A name in an open directory, by a path through that directory's descriptor; the name itself is not followed.
    Named(CString),
}

impl Subject<'_> {
    fn held(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|error| failure("look at", path, error))?;
        let by_descriptor = CString::new(format!("/proc/self/fd/{}", open.as_raw_fd()))
            .map_err(|_| Error::bug("a number holds a zero byte"))?;
        Ok(Self::Held {
            _open: open,
            path: by_descriptor,
        })
    }

    fn named(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Self> {
        let mut way = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
        way.extend(name.as_bytes());
        CString::new(way)
            .map(Self::Named)
            .map_err(|_| Error::invalid("a name holds a zero byte"))
    }

    fn list(&self) -> rustix::io::Result<Vec<u8>> {
        match self {
            Self::Open(open) => filled(
                || rustix::fs::flistxattr_query(open),
                |buffer| rustix::fs::flistxattr(open, buffer),
            ),
            Self::Held { path, .. } => filled(
                || rustix::fs::listxattr_query(path),
                |buffer| rustix::fs::listxattr(path, buffer),
            ),
            Self::Named(path) => filled(
                || rustix::fs::llistxattr_query(path),
                |buffer| rustix::fs::llistxattr(path, buffer),
            ),
        }
    }

    fn get(&self, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
        match self {
            Self::Open(open) => filled(
                || rustix::fs::fgetxattr_query(open, name),
                |buffer| rustix::fs::fgetxattr(open, name, buffer),
            ),
            Self::Held { path, .. } => filled(
                || rustix::fs::getxattr_query(path, name),
                |buffer| rustix::fs::getxattr(path, name, buffer),
            ),
            Self::Named(path) => filled(
                || rustix::fs::lgetxattr_query(path, name),
                |buffer| rustix::fs::lgetxattr(path, name, buffer),
            ),
        }
    }

    fn set(&self, name: &OsStr, value: &[u8]) -> rustix::io::Result<()> {
        let flags = XattrFlags::empty();
        match self {
            Self::Open(open) => rustix::fs::fsetxattr(open, name, value, flags),
            Self::Held { path, .. } => rustix::fs::setxattr(path, name, value, flags),
            Self::Named(path) => rustix::fs::lsetxattr(path, name, value, flags),
        }
    }

    fn remove(&self, name: &OsStr) -> rustix::io::Result<()> {
        match self {
            Self::Open(open) => rustix::fs::fremovexattr(open, name),
            Self::Held { path, .. } => rustix::fs::removexattr(path, name),
            Self::Named(path) => rustix::fs::lremovexattr(path, name),
        }
    }

    fn set_mode(&self, mode: u32) -> rustix::io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(open) => rustix::fs::fchmod(open, mode),
            // No name gets here: `chmod` would follow it.
            Self::Held { path, .. } | Self::Named(path) => rustix::fs::chmod(path, mode),
        }
    }
}

/// The extended attributes; none for what can't have any of a person's (links, pipes, sockets, devices).
pub(super) fn read_at(parent: BorrowedFd<'_>, name: &OsStr, stat: &Stat, path: &Path) -> Result<Attributes> {
    if !matches!(stat.kind, EntryKind::File | EntryKind::Directory) {
        return Ok(Vec::new());
    }
    read(&Subject::named(parent, name)?, path)
}

/// The extended attributes of an open file or directory.
pub(super) fn read_open(open: BorrowedFd<'_>, path: &Path) -> Result<Attributes> {
    read(&Subject::Open(open), path)
}

fn read(subject: &Subject<'_>, path: &Path) -> Result<Attributes> {
    let reading = |error| failure("read the extended attributes of", path, error);
    let list = match subject.list() {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other.map_err(reading)?,
    };
    let mut attributes = Attributes::new();
    for name in list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && !SYSTEM_LABELS.contains(name))
    {
        match subject.get(name) {
            Ok(value) => attributes.push((OsString::from_vec(name.to_vec()), value)),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(reading(error)),
        }
    }
    attributes.sort_unstable();
    Ok(attributes)
}

/// Tries a small buffer, which nearly always is enough; then asks for a size and for that many bytes, again while the
/// answer grows in between.
fn filled(
    mut size: impl FnMut() -> rustix::io::Result<usize>,
    mut fill: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; 256];
    match fill(&mut small) {
        Ok(length) => return Ok(small.get(..length).unwrap_or_default().to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
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
    imitate_rest(
        &Subject::held(parent, name, path)?,
        wanted,
        attributes,
        owned,
        path,
    )?;
    Ok(owned)
}

/// As [`imitate`], for a file or directory that is open and now is `now`; the modification time too.
pub(super) fn imitate_open(
    open: BorrowedFd<'_>,
    now: &Stat,
    wanted: &Stat,
    attributes: &Attributes,
    path: &Path,
) -> Result<bool> {
    let owned = owned(now, wanted, path, |owner, group| {
        rustix::fs::fchown(open, owner, group)
    })?;
    imitate_rest(&Subject::Open(open), wanted, attributes, owned, path)?;
    rustix::fs::futimens(open, &modified(wanted.mtime_ns))
        .map_err(|error| failure("set the modification time of", path, error))?;
    Ok(owned)
}

/// Gives an open directory of ours all that another one has but its contents. Returns whether the owner could be kept.
///
/// # Errors
/// What the system says.
pub(crate) fn imitate_directory(open: BorrowedFd<'_>, like: BorrowedFd<'_>, path: &Path) -> Result<bool> {
    let (now, wanted) = (
        super::resolve::stat_open(open, path)?,
        super::resolve::stat_open(like, path)?,
    );
    imitate_open(open, &now, &wanted, &read_open(like, path)?, path)
}

fn imitate_rest(
    subject: &Subject<'_>,
    wanted: &Stat,
    attributes: &Attributes,
    owned: bool,
    path: &Path,
) -> Result<()> {
    if matches!(wanted.kind, EntryKind::File | EntryKind::Directory) {
        set_attributes(subject, attributes, path)?;
    }
    let mode = if owned { wanted.mode } else { wanted.mode & 0o1777 };
    set_mode(subject, mode, path)
}

fn set_owner(parent: BorrowedFd<'_>, name: &OsStr, wanted: &Stat, path: &Path) -> Result<bool> {
    let Some(now) = super::resolve::stat_at(parent, name, path)? else {
        return Err(super::resolve::absent(path));
    };
    owned(&now, wanted, path, |owner, group| {
        rustix::fs::chownat(parent, name, owner, group, AtFlags::SYMLINK_NOFOLLOW)
    })
}

/// Whether the owner is, or by `give` becomes, the wanted one.
fn owned(
    now: &Stat,
    wanted: &Stat,
    path: &Path,
    give: impl FnOnce(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
) -> Result<bool> {
    if now.uid == wanted.uid && now.gid == wanted.gid {
        return Ok(true);
    }
    let owner = (now.uid != wanted.uid).then(|| Uid::from_raw(wanted.uid));
    let group = (now.gid != wanted.gid).then(|| Gid::from_raw(wanted.gid));
    match give(owner, group) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL) => Ok(false),
        Err(error) => Err(failure("set the owner of", path, error)),
    }
}

fn set_attributes(subject: &Subject<'_>, wanted: &Attributes, path: &Path) -> Result<()> {
    let now = read(subject, path)?;
    if now == *wanted {
        return Ok(());
    }
    // A default access list of the new parent directory is inherited; what was copied had none.
    for (name, _) in now
        .iter()
        .filter(|(name, _)| !wanted.iter().any(|(kept, _)| kept == name))
    {
        subject
            .remove(name)
            .map_err(|error| failure("remove an extended attribute of", path, error))?;
    }
    for (name, value) in wanted.iter().filter(|entry| !now.contains(entry)) {
        subject.set(name, value).map_err(|error| {
            Error::io(
                format_args!(
                    "keep the extended attribute `{}` of `{}`",
                    name.to_string_lossy(),
                    display(path)
                ),
                &error.into(),
            )
            .hint("copy to a file system that keeps extended attributes")
        })?;
    }
    Ok(())
}

fn set_mode(subject: &Subject<'_>, mode: u32, path: &Path) -> Result<()> {
    subject
        .set_mode(mode)
        .map_err(|error| failure("set the mode of", path, error))
}

/// Sets the permission bits of the name itself. A symbolic link has none.
pub(super) fn set_mode_at(parent: BorrowedFd<'_>, name: &OsStr, mode: u32, path: &Path) -> Result<()> {
    set_mode(&Subject::held(parent, name, path)?, mode & 0o7777, path)
}

/// Sets the modification time of the name itself, nanoseconds since the epoch; the access time stays.
pub(super) fn set_mtime_at(parent: BorrowedFd<'_>, name: &OsStr, mtime_ns: i64, path: &Path) -> Result<()> {
    rustix::fs::utimensat(parent, name, &modified(mtime_ns), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failure("set the modification time of", path, error))
}

fn modified(mtime_ns: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    }
}

//! From an absolute path to an open parent directory and a final name, without following a single link.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::{EntryKind, Files, Stat, display};
use crate::base::broken::{Own, is_down};
use crate::base::error::{Error, Result};

/// An open root. The descriptor stays valid, and the same directory, whatever happens to the path.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) path: PathBuf,
    directory: OwnedFd,
}

/// A final name in an open directory. A root is the name `.` in itself.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parent: OwnedFd,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
}

/// How the parent directory is opened.
#[derive(Clone, Copy)]
enum Purpose {
    Look,
    /// Readable, so that the directory can be synced after the change. Found out before the change.
    Change,
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS);

/// Resolution of one name during recursion: it stays on its mount as well.
const BENEATH_ON_MOUNT: ResolveFlags = BENEATH.union(ResolveFlags::NO_XDEV);

/// Without `NOFOLLOW`, which would make a link at the end look like a file; `NO_SYMLINKS` refuses all links by name.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Files {
    /// Opens the roots: existing directories, named absolutely; the first is the workspace.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::base::error::Kind::NotFound) or `Failed` for a root that can't be opened as a directory,
    /// `Invalid` for one that is not an absolute, normalised path.
    pub fn open(roots: &[PathBuf]) -> Result<Self> {
        let mut opened = Vec::with_capacity(roots.len());
        for path in roots {
            if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
                return Err(
                    Error::invalid(format!("the root `{}` is not an absolute path", display(path)))
                        .hint("name the directory from `/` on, without `..`"),
                );
            }
            let directory = rustix::fs::open(path, PATH_ONLY, Mode::empty())
                .map_err(|error| failure("open the directory", path, error))?;
            opened.push(Root {
                path: path.components().collect(),
                directory,
            });
        }
        Ok(Self {
            roots: opened,
            layers: std::sync::OnceLock::new(),
            meter: std::sync::Arc::default(),
            left: std::sync::Mutex::default(),
        })
    }

    /// Looks and moves reach a directory of our own, too, in which commands write over the workspace.
    ///
    /// # Errors
    /// `Bug` where it was admitted already.
    pub fn admit_layers(&self, path: PathBuf, directory: OwnedFd) -> Result<()> {
        self.layers
            .set(Root { path, directory })
            .map_err(|_| Error::bug("the directory of layers was admitted twice"))
    }

    /// The paths of the roots; the first is the workspace.
    pub fn roots(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().map(|root| root.path.as_path())
    }

    /// The roots themselves: the same directories whatever has become of their paths.
    pub fn open_roots(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.roots.iter().map(|root| root.directory.as_fd())
    }

    /// Whether the path lies below a root (or is one), by its name alone.
    #[must_use]
    pub fn contains(&self, path: &Path) -> bool {
        self.split(path).is_ok()
    }

    /// The innermost root that contains `path`, and the way from there.
    fn split(&self, path: &Path) -> Result<(&Root, PathBuf)> {
        if let (true, Some(root)) = (is_down(Own::Policy), self.roots.first()) {
            let rest = path.strip_prefix(&root.path).unwrap_or(path);
            return Ok((root, rest.to_path_buf()));
        }
        if !path.is_absolute() {
            return Err(Error::denied(format!(
                "`{}` is not an absolute path",
                display(path)
            )));
        }
        if path
            .components()
            .any(|part| !matches!(part, Component::RootDir | Component::Normal(_)))
        {
            return Err(Error::denied(format!("`{}` has `..` in it", display(path)))
                .hint("name the path directly, without `..`"));
        }
        self.roots
            .iter()
            .chain(self.layers.get())
            .filter_map(|root| Some((root, path.strip_prefix(&root.path).ok()?)))
            .max_by_key(|(root, _)| root.path.components().count())
            .map(|(root, rest)| (root, rest.components().collect()))
            .ok_or_else(|| {
                Error::denied(format!(
                    "`{}` lies outside the allowed directories",
                    display(path)
                ))
                .hint(
                    "add its directory to `policy.write` in `rollback.yaml` if it belongs to this workspace",
                )
            })
    }

    /// The place of `path` for looking; `None` where its parent is absent or no directory.
    pub(super) fn place(&self, path: &Path) -> Result<Option<Place>> {
        self.resolve(path, Purpose::Look)
    }

    /// As [`Files::place`], where an absent parent is an error.
    pub(super) fn existing_place(&self, path: &Path) -> Result<Place> {
        self.place(path)?.ok_or_else(|| absent(path))
    }

    /// The place of `path` for a change: never a root, nor anything with a root below it.
    pub(super) fn changeable(&self, path: &Path) -> Result<Place> {
        self.refuse_roots(path)?;
        self.resolve(path, Purpose::Change)?.ok_or_else(|| {
            went_away(path).unwrap_or_else(|| {
                Error::not_found(format!("the directory of `{}` does not exist", display(path)))
            })
        })
    }

    fn refuse_roots(&self, path: &Path) -> Result<()> {
        let mut roots = self.roots.iter().chain(self.layers.get());
        match roots.find(|root| root.path.starts_with(path)) {
            Some(root) if root.path == path => Err(Error::denied(format!(
                "`{}` is the workspace or an allowed directory itself",
                display(path)
            ))
            .hint("name what is to be changed inside it")),
            Some(root) => Err(Error::denied(format!(
                "`{}` holds the allowed directory `{}`",
                display(path),
                display(&root.path)
            ))
            .hint("name what is to be changed inside it")),
            None => Ok(()),
        }
    }

    fn resolve(&self, path: &Path, purpose: Purpose) -> Result<Option<Place>> {
        let (root, rest) = self.split(path)?;
        let flags = match purpose {
            Purpose::Look => PATH_ONLY,
            Purpose::Change => DIRECTORY,
        };
        let (above, name) = match rest.file_name() {
            None => (Path::new("."), OsStr::new(".")),
            Some(name) => match rest.parent() {
                Some(above) if !above.as_os_str().is_empty() => (above, name),
                _ => (Path::new("."), name),
            },
        };
        match open_beneath(root.directory.as_fd(), above, flags, BENEATH) {
            Ok(parent) => Ok(Some(Place {
                parent,
                name: name.to_os_string(),
                path: path.to_path_buf(),
            })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP | Errno::XDEV) => Err(through_a_link(root, above, path)),
            Err(error) => Err(failure("open the directory of", path, error)),
        }
    }
}

impl Place {
    /// What stands there; `None` if nothing.
    pub(super) fn stat(&self) -> Result<Option<Stat>> {
        stat_at(self.parent.as_fd(), &self.name, &self.path)
    }

    /// What stands there; an error if nothing.
    pub(super) fn existing(&self) -> Result<Stat> {
        self.stat()?.ok_or_else(|| absent(&self.path))
    }

    /// Opens the directory that stands there, for reading. It may be on another mount than its parent.
    pub(super) fn open_directory(&self) -> Result<OwnedFd> {
        open_directory(self.parent.as_fd(), &self.name, &self.path)
    }

    /// Holds the directory that stands there, to look at it alone: no right to read it is needed.
    pub(super) fn hold(&self) -> Result<OwnedFd> {
        open_beneath(self.parent.as_fd(), Path::new(&self.name), PATH_ONLY, BENEATH)
            .map_err(|error| failure("look at the directory", &self.path, error))
    }

    /// Makes the change to this directory durable. Only for places made by [`Files::changeable`].
    pub(super) fn sync_parent(&self) -> Result<()> {
        rustix::fs::fsync(&self.parent).map_err(|error| failure("sync the directory of", &self.path, error))
    }

    /// Makes a change of mode, time or attributes of what stands there durable; links have none but their time.
    pub(super) fn sync_own(&self) -> Result<()> {
        let kind = self.existing()?.kind;
        if !matches!(kind, EntryKind::File | EntryKind::Directory) {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let synced = match open_beneath(self.parent.as_fd(), Path::new(&self.name), flags, BENEATH) {
            // What its owner may not read can't be synced by itself; it comes with what the system writes next.
            Err(Errno::ACCESS) => return Ok(()),
            opened => opened.and_then(rustix::fs::fsync),
        };
        synced.map_err(|error| failure("sync", &self.path, error))
    }
}

/// Opens a directory for reading that is no link; it may be on another mount than its parent.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    open_beneath(parent, Path::new(name), DIRECTORY, BENEATH).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => Error::invalid(format!("`{}` is not a directory", display(path))),
        Errno::NOENT => absent(path),
        error => failure("open the directory", path, error),
    })
}

/// Opens one name below a directory met in recursion: no link, no other mount.
pub(super) fn open_directory_on_mount(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    open_beneath(parent, Path::new(name), DIRECTORY, BENEATH_ON_MOUNT).map_err(|error| match error {
        Errno::XDEV => on_other_mount(path),
        error => failure("open the directory", path, error),
    })
}

/// A mount point inside a tree that was to be handled as a whole.
pub(super) fn on_other_mount(path: &Path) -> Error {
    Error::denied(format!("`{}` is a mount point", display(path)))
        .hint("unmount it, or leave it out: what is mounted inside a tree is never touched")
}

fn open_beneath(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    // The kernel answers EAGAIN when something was renamed while it looked.
    let mut attempts = 0;
    let resolve = if is_down(Own::Resolution) {
        ResolveFlags::empty()
    } else {
        resolve
    };
    loop {
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < 32 => attempts += 1,
            answer => return answer,
        }
    }
}

/// Names the first link on the way, for the message; the refusal itself is the kernel's.
fn through_a_link(root: &Root, above: &Path, path: &Path) -> Error {
    let mut way = PathBuf::new();
    let link = above.components().find_map(|part| {
        way.push(part);
        let target = rustix::fs::readlinkat(&root.directory, &way, Vec::new()).ok()?;
        Some((root.path.join(&way), target))
    });
    match link {
        Some((link, target)) => Error::denied(format!(
            "`{}` passes through the symbolic link `{}`, which points to `{}`",
            display(path),
            display(&link),
            display(Path::new(&*target.to_string_lossy()))
        )),
        None => Error::denied(format!("`{}` passes through a symbolic link", display(path))),
    }
    .hint("name the path without the link, where it lies inside the allowed directories")
}

pub(super) fn absent(path: &Path) -> Error {
    went_away(path).unwrap_or_else(|| Error::not_found(format!("`{}` does not exist", display(path))))
}

/// For a path at or below a temporary of ours, whose name says nothing to people.
fn went_away(path: &Path) -> Option<Error> {
    let own = path.ancestors().find(|above| super::is_temporary(above))?;
    let message = format!(
        "what was being written in `{}` went away meanwhile: it was removed, or the directory was",
        display(own.parent()?)
    );
    Some(Error::not_found(message).hint("stop the program that changes this directory, then try again"))
}

/// A failed system call on a path, with a hint where one is known.
pub(super) fn failure(doing: &str, path: &Path, error: Errno) -> Error {
    if error == Errno::NOENT
        && let Some(error) = went_away(path)
    {
        return error;
    }
    let hint = match error {
        Errno::ACCESS | Errno::PERM => Some("check who owns it and its permissions"),
        Errno::NOSPC | Errno::DQUOT => Some("make room on the disk, then try again"),
        Errno::ROFS => Some("the file system is mounted read-only"),
        Errno::NOSYS => Some("a Linux kernel of version 5.8 or later is needed"),
        Errno::MFILE | Errno::NFILE => Some("raise the limit of open files (`ulimit -n`)"),
        Errno::NAMETOOLONG => Some("the name or the whole path is too long for the system"),
        _ => None,
    };
    let error = Error::io(format_args!("{doing} `{}`", display(path)), &error.into());
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// `statx` of a name itself; `None` if there is nothing.
pub(super) fn stat_at(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<Stat>> {
    match statx(parent, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(failure("look at", path, error)),
    }
}

/// `statx` of something open.
pub(super) fn stat_open(open: BorrowedFd<'_>, path: &Path) -> Result<Stat> {
    statx(open, OsStr::new(""), AtFlags::EMPTY_PATH).map_err(|error| failure("look at", path, error))
}

fn statx(directory: BorrowedFd<'_>, name: &OsStr, flags: AtFlags) -> rustix::io::Result<Stat> {
    rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS).map(|seen| stat_of(&seen))
}

pub(super) fn stat_of(seen: &rustix::fs::Statx) -> Stat {
    let mode = u32::from(seen.stx_mode);
    Stat {
        kind: EntryKind::of(rustix::fs::FileType::from_raw_mode(mode)),
        size: seen.stx_size,
        mode: mode & 0o7777,
        uid: seen.stx_uid,
        gid: seen.stx_gid,
        mtime_ns: nanoseconds(seen.stx_mtime),
        ctime_ns: nanoseconds(seen.stx_ctime),
        inode: seen.stx_ino,
        device: rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor),
        links: u64::from(seen.stx_nlink),
        mount_point: seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    }
}

/// Nanoseconds since the epoch; times before 1677 and after 2262 are cut to those years.
pub(super) fn nanoseconds(time: StatxTimestamp) -> i64 {
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(i64::from(time.tv_nsec))
}

/// A name for something that lives during one operation; not yet taken, as far as this process knows.
pub(super) fn temporary_name() -> OsString {
    own_name("tmp")
}

/// A name for an original that nobody has compared with its copy yet: no temporary, and never swept.
pub(super) fn aside_name() -> OsString {
    own_name("aside")
}

fn own_name(kind: &str) -> OsString {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(".rollback-{}-{number}.{kind}", std::process::id()).into()
}

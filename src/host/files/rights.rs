//! What the kernel will let this user do, asked without doing it. The answers are the kernel's own where it has a call
//! for them (`faccessat2`: modes, access lists, read-only mounts); sticky directories and the attributes immutable and
//! append-only are looked at by its rules.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::look::names;
use super::mounts::is_data;
use super::resolve::{Place, absent, failure, on_other_mount, open_directory};
use super::walk::{DEPTH_LIMIT, too_deep};
use super::{EntryKind, Files, Stat, display};
use crate::base::error::{Error, Result};

/// Whoever changes a directory makes, takes away and lists names in it, and syncs it.
const CHANGE: Access = Access::READ_OK.union(Access::WRITE_OK).union(Access::EXEC_OK);

const LIST: Access = Access::READ_OK.union(Access::EXEC_OK);

/// What is to become of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// Its directories are read.
    Listed,
    /// Its files too.
    Copied,
    /// All of it goes.
    Removed,
    /// It is copied, with owners and kinds, and goes then.
    Moved,
}

/// What a tree takes on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of regular files, without their holes.
    pub bytes: u64,
    /// Paths, the top included.
    pub entries: u64,
}

impl Extent {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }
}

impl Files {
    /// Refuses where this user can't make a name in a directory, and take it away again: whatever is made gets its name
    /// when it is whole, and can be taken back.
    ///
    /// # Errors
    /// `Denied` with the right that is missing; `NotFound`; `Invalid` for what is no directory.
    pub fn require_making(&self, directory: &Path) -> Result<()> {
        let place = self.existing_place(directory)?;
        let met = Met::of(&place)?;
        if met.stat.kind != EntryKind::Directory {
            return Err(Error::invalid(format!(
                "`{}` is not a directory",
                display(directory)
            )));
        }
        met.allows(CHANGE, "no name can be made or taken away in")?;
        if met.attributes.contains(StatxAttributes::APPEND) {
            return Err(met.frozen("append-only", "a"));
        }
        Ok(())
    }

    /// Refuses where this user can't take a name out of a directory. `entry` is what stands there, perhaps still under
    /// another name; a directory that `leaves` for another one must itself be writable.
    ///
    /// # Errors
    /// `Denied` with what is in the way; `NotFound`.
    pub fn require_taking(&self, directory: &Path, entry: &Path, leaves: bool) -> Result<()> {
        self.require_making(directory)?;
        let (above, place) = (self.existing_place(directory)?, self.existing_place(entry)?);
        let met = Met::of(&place)?;
        met.may_leave(&Met::of(&above)?)?;
        if leaves && met.stat.kind == EntryKind::Device {
            return Err(Error::denied(format!(
                "`{}` is a device: the walls around this program let none get to another directory",
                display(entry)
            ))
            .hint("move or remove it by hand, or name the directory that holds it"));
        }
        if leaves && met.stat.kind == EntryKind::Directory {
            met.allows(
                Access::WRITE_OK,
                "a directory that goes to another one must be writable itself:",
            )?;
        }
        Ok(())
    }

    /// Refuses where this user can't give a regular file other contents, by a rename over it.
    ///
    /// # Errors
    /// As [`Files::require_taking`]; `Denied` for a mount point, and for a file that would change hands.
    pub fn require_replacing(&self, directory: &Path, entry: &Path) -> Result<()> {
        self.require_taking(directory, entry, false)?;
        let (above, place) = (self.existing_place(directory)?, self.existing_place(entry)?);
        let met = Met::of(&place)?;
        if met.stat.mount_point {
            return Err(on_other_mount(entry));
        }
        met.allows(Access::READ_OK, "no contents can be read in")?;
        met.keeps_owner(Some(&Met::of(&above)?.stat))
    }

    /// Whether this user may set the times of what stands at a path: its owner may.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn may_set_times(&self, path: &Path) -> Result<bool> {
        let place = self.existing_place(path)?;
        let owner = place.existing()?.uid;
        Ok(owner == rustix::process::geteuid().as_raw() || has(CapabilitySet::FOWNER))
    }

    /// Refuses a tree in which something is in the way. What is mounted inside is looked into too.
    ///
    /// # Errors
    /// `Denied` with the first path that is in the way; `Limit` for a tree that is nested too deeply.
    pub fn require_tree(&self, top: &Path, taking: Taking) -> Result<Extent> {
        let place = self.existing_place(top)?;
        let met = Met::of(&place)?;
        let mut extent = Extent::default();
        met.descend(taking, 0, &mut extent)?;
        Ok(extent)
    }
}

/// A name in an open directory, and what the kernel tells of it.
struct Met<'a> {
    parent: BorrowedFd<'a>,
    name: &'a OsStr,
    path: &'a Path,
    stat: Stat,
    attributes: StatxAttributes,
    allocated: u64,
}

impl<'a> Met<'a> {
    fn of(place: &'a Place) -> Result<Self> {
        Self::at(place.parent.as_fd(), &place.name, &place.path)
    }

    fn at(parent: BorrowedFd<'a>, name: &'a OsStr, path: &'a Path) -> Result<Self> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let seen =
            rustix::fs::statx(parent, name, flags, StatxFlags::BASIC_STATS).map_err(|error| match error {
                Errno::NOENT | Errno::NOTDIR => absent(path),
                error => failure("look at", path, error),
            })?;
        Ok(Self {
            parent,
            name,
            path,
            stat: super::resolve::stat_of(&seen),
            attributes: seen.stx_attributes,
            allocated: seen.stx_blocks.saturating_mul(512),
        })
    }

    /// Whether the kernel grants these rights on the thing itself.
    fn allows(&self, rights: Access, otherwise: &str) -> Result<()> {
        if rights.contains(Access::WRITE_OK) && self.attributes.contains(StatxAttributes::IMMUTABLE) {
            return Err(self.frozen("immutable", "i"));
        }
        match rustix::fs::accessat(
            self.parent,
            self.name,
            rights,
            AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(()) => Ok(()),
            Err(Errno::PERM) if rights.contains(Access::WRITE_OK) => Err(self.frozen("immutable", "i")),
            Err(error @ Errno::ACCESS) => Err(Error::denied(format!(
                "{otherwise} `{}` ({} of {}, mode {:04o}): {} lacks the right {}: {error}",
                display(self.path),
                self.stat.kind.name(),
                owner(self.stat.uid),
                self.stat.mode,
                user(),
                letters(rights),
            ))
            .hint(format!(
                "give the right with `chmod` or `chown` on `{}`, or run as its owner",
                display(self.path)
            ))),
            Err(error @ Errno::ROFS) => Err(Error::denied(format!(
                "{otherwise} `{}`: {error}",
                display(self.path)
            ))
            .hint("what is mounted read-only can't be changed; mount it writable, then try again")),
            Err(error) => Err(failure("ask for rights on", self.path, error)),
        }
    }

    fn frozen(&self, attribute: &str, letter: &str) -> Error {
        Error::denied(format!(
            "`{}` is {attribute}: nobody, root included, can move, remove or replace it or change names in it",
            display(self.path)
        ))
        .hint(format!("`chattr -{letter} {}` takes the attribute away", display(self.path)))
    }

    /// Whether the name can be taken out of a directory whose names may be changed.
    fn may_leave(&self, above: &Met<'_>) -> Result<()> {
        for met in [self, above] {
            if met.attributes.contains(StatxAttributes::APPEND) {
                return Err(met.frozen("append-only", "a"));
            }
        }
        if self.attributes.contains(StatxAttributes::IMMUTABLE) {
            return Err(self.frozen("immutable", "i"));
        }
        let me = rustix::process::geteuid().as_raw();
        let sticky = above.stat.mode & 0o1000 != 0;
        if !sticky || me == self.stat.uid || me == above.stat.uid || has(CapabilitySet::FOWNER) {
            return Ok(());
        }
        Err(Error::denied(format!(
            "`{}` belongs to {}, and `{}` is sticky (mode {:04o}): {} can't move, remove or replace it there: {}",
            display(self.path),
            owner(self.stat.uid),
            display(above.path),
            above.stat.mode,
            user(),
            Errno::PERM,
        ))
        .hint("run as its owner or as the owner of the directory, or `chmod -t` the directory"))
    }

    /// Whether a copy can have the same owner. A new name gets the group of a directory with the set-group-id bit.
    fn keeps_owner(&self, above: Option<&Stat>) -> Result<()> {
        let (me, group) = (rustix::process::geteuid(), self.stat.gid);
        let mine = |group: u32| {
            rustix::process::getegid().as_raw() == group
                || rustix::process::getgroups()
                    .is_ok_and(|groups| groups.iter().any(|each| each.as_raw() == group))
        };
        let given = above.is_some_and(|above| above.mode & 0o2000 != 0 && above.gid == group);
        if (me.as_raw() == self.stat.uid && (given || mine(group))) || has(CapabilitySet::CHOWN) {
            return Ok(());
        }
        Err(Error::denied(format!(
            "`{}` belongs to another user ({}, group {group}): {} can't give a copy of it that owner: {}",
            display(self.path),
            owner(self.stat.uid),
            user(),
            Errno::PERM,
        ))
        .hint("run as its owner: a copy or a rewritten file would change hands"))
    }

    fn descend(&self, taking: Taking, depth: usize, extent: &mut Extent) -> Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(too_deep(self.path));
        }
        extent.entries += 1;
        let kind = self.stat.kind;
        let goes = matches!(taking, Taking::Removed | Taking::Moved);
        if taking == Taking::Moved {
            self.can_be_copied()?;
        }
        if kind == EntryKind::File {
            extent.bytes = extent.bytes.saturating_add(self.allocated.min(self.stat.size));
            return match taking {
                Taking::Copied | Taking::Moved => self.allows(Access::READ_OK, "no contents can be read in"),
                Taking::Listed | Taking::Removed => Ok(()),
            };
        }
        if kind != EntryKind::Directory {
            return Ok(());
        }
        let mine = self.stat.uid == rustix::process::geteuid().as_raw();
        // A removal opens up directories of the same user; what is in them can't be looked at before.
        let opened_up = taking == Taking::Removed && mine && self.stat.mode & 0o700 != 0o700;
        match self.allows(LIST, "no names can be read in") {
            Err(_) if opened_up => return Ok(()),
            listed => listed?,
        }
        let directory = open_directory(self.parent, self.name, self.path)?;
        if self.stat.mount_point && !is_data(directory.as_fd(), self.path)? {
            return Err(Error::denied(format!(
                "`{}` is mounted there by the system and holds no data",
                display(self.path)
            ))
            .hint("unmount it, or leave it out"));
        }
        let names = names(directory.as_fd(), self.path)?;
        if goes && !names.is_empty() && !opened_up {
            self.allows(CHANGE, "nothing can be removed from")?;
        }
        for name in names {
            let path = self.path.join(&name);
            let inner = match Met::at(directory.as_fd(), &name, &path) {
                Err(error) if error.kind() == crate::base::error::Kind::NotFound => continue,
                inner => inner?,
            };
            if goes && !(inner.stat.mount_point && inner.stat.kind == EntryKind::Directory) {
                inner.may_leave(self)?;
            }
            inner.descend(taking, depth + 1, extent)?;
        }
        Ok(())
    }

    /// Whether a copy can be the same in all but place.
    fn can_be_copied(&self) -> Result<()> {
        if matches!(self.stat.kind, EntryKind::Socket | EntryKind::Device) {
            return Err(Error::denied(format!(
                "`{}` is a {}: it can't be moved by copying",
                display(self.path),
                self.stat.kind.name()
            ))
            .hint("remove it, or use a directory on the same file system"));
        }
        if self.stat.mount_point && self.stat.kind != EntryKind::Directory {
            return Err(on_other_mount(self.path));
        }
        self.keeps_owner(None)
    }
}

/// Whether this process has a capability now.
fn has(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

fn user() -> String {
    format!("user {}", owner(rustix::process::geteuid().as_raw()))
}

fn owner(uid: u32) -> String {
    let name = crate::host::processes::name_of(uid);
    if name == uid.to_string() {
        name
    } else {
        format!("{name} ({uid})")
    }
}

fn letters(rights: Access) -> String {
    [
        (Access::READ_OK, 'r'),
        (Access::WRITE_OK, 'w'),
        (Access::EXEC_OK, 'x'),
    ]
    .into_iter()
    .filter_map(|(right, letter)| rights.contains(right).then_some(letter))
    .collect()
}

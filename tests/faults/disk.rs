//! What a disk holds after a power cut: a tree is looked at after each change, and what was brought to the disk is kept
//! apart from what was not.
//!
//! The model is stricter than file systems with a journal are:
//!
//! - The contents of a file, with its mode, time and attributes, are on the disk from a successful `fsync` of it on.
//!   After a cut it has those or any later ones, and of what was appended perhaps a part, in whole sectors.
//! - A name in a directory is on the disk from a successful `fsync` of that directory on. After a cut each later change of
//!   a name has come about or not, whatever the order; one that builds on another (the same name) only with it.
//! - A link can't be synced by itself: it comes with the directory in which it stands.
//! - A rename is one change of two names, and comes about as a whole.
//! - `syncfs` and `sync` bring everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};

use super::cutter::{Target, Watch};
use crate::sandbox::attributes;

/// A file, a directory or a link, whatever its names.
type Id = usize;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// The directory at the top.
const ROOT: Id = 0;

/// A name in a directory.
type Slot = (Id, OsString);

/// How a thing is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inode {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Contents of a file, target of a link.
    bytes: Vec<u8>,
}

/// A thing in the order of its changes.
#[derive(Debug, Default)]
struct Object {
    /// Each with its moment.
    versions: Vec<(usize, Inode)>,
    /// From this moment on, this version is on the disk.
    synced: Vec<(usize, usize)>,
}

/// A change of names.
#[derive(Debug)]
struct Step {
    at: usize,
    changes: Vec<(Slot, Option<Id>, Option<Id>)>,
    synced: Option<usize>,
}

/// What a cut takes of that which was not brought to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// Nothing: what a kill leaves.
    Nothing,
    /// All of it.
    Everything,
    /// Contents alone.
    Contents,
    /// Names alone.
    Names,
    /// Whatever this seed says.
    Some(u64),
}

/// The disk under a tree.
pub struct Disk {
    root: PathBuf,
    now: usize,
    objects: Vec<Object>,
    /// Inode numbers of what stands in the tree.
    known: HashMap<u64, Id>,
    names: BTreeMap<Slot, Id>,
    steps: Vec<Step>,
    /// What threads are about to bring to the disk, and the moment at which they began.
    under_way: HashMap<i32, (Target, usize)>,
}

/// A tree as a cut leaves it.
pub struct Left {
    names: BTreeMap<Slot, Id>,
    inodes: BTreeMap<Id, Inode>,
}

impl Disk {
    /// The disk under a directory, all of which is on it.
    pub fn under(root: &Path) -> Self {
        let mut disk = Self {
            root: root.to_path_buf(),
            now: 0,
            objects: Vec::new(),
            known: HashMap::new(),
            names: BTreeMap::new(),
            steps: Vec::new(),
            under_way: HashMap::new(),
        };
        disk.look();
        disk.bring(Target::Everything, 0);
        disk
    }

    /// How many moments there were; a cut can be at each.
    pub fn moments(&self) -> usize {
        self.now
    }

    /// What happened last before a cut at a moment, for people.
    pub fn at(&self, moment: usize) -> String {
        let named = |slot: &Slot| slot.1.to_string_lossy().into_owned();
        let last = self.steps.iter().rev().find(|step| step.at <= moment);
        last.map_or_else(String::new, |step| {
            let names: Vec<String> = step.changes.iter().map(|(slot, ..)| named(slot)).collect();
            format!("after {} changed", names.join(" and "))
        })
    }

    /// Looks at the whole tree.
    fn look(&mut self) {
        let mut known = HashMap::new();
        let mut names = BTreeMap::new();
        let mut open: Vec<(PathBuf, Option<Slot>)> = vec![(self.root.clone(), None)];
        while let Some((path, slot)) = open.pop() {
            // Another thread may have taken it away meanwhile: it tells of that itself.
            let Some((number, inode)) = seen(&path) else {
                continue;
            };
            let is_directory = inode.kind() == FileType::Directory;
            let id = *known.entry(number).or_insert_with(|| {
                self.known.get(&number).copied().unwrap_or_else(|| {
                    self.objects.push(Object::default());
                    self.objects.len() - 1
                })
            });
            let versions = &mut self.objects[id].versions;
            if versions.last().is_none_or(|(_, last)| *last != inode) {
                versions.push((self.now, inode));
            }
            if let Some(slot) = slot {
                names.insert(slot, id);
            }
            if is_directory {
                for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
                    open.push((entry.path(), Some((id, entry.file_name()))));
                }
            }
        }
        let slots: BTreeSet<&Slot> = self.names.keys().chain(names.keys()).collect();
        let changes: Vec<_> = slots
            .into_iter()
            .map(|slot| {
                (
                    slot.clone(),
                    self.names.get(slot).copied(),
                    names.get(slot).copied(),
                )
            })
            .filter(|(_, before, after)| before != after)
            .collect();
        if !changes.is_empty() {
            self.steps.push(Step {
                at: self.now,
                changes,
                synced: None,
            });
        }
        self.known = known;
        self.names = names;
    }

    /// From now on these are on the disk, as they were at a moment.
    fn bring(&mut self, target: Target, moment: usize) {
        let now = self.now;
        let whole = match target {
            Target::Everything => None,
            Target::Inode(number) => match self.known.get(&number) {
                Some(id) => Some(*id),
                // It stands in no directory any more, or elsewhere.
                None => return,
            },
        };
        let links: BTreeSet<Id> = self
            .names
            .iter()
            .filter(|((directory, _), _)| Some(*directory) == whole)
            .map(|(_, id)| *id)
            .collect();
        for (id, object) in self.objects.iter_mut().enumerate() {
            let is_link = object.versions.last().is_some_and(|(_, inode)| {
                !matches!(inode.kind(), FileType::RegularFile | FileType::Directory)
            });
            let comes_along = is_link && links.contains(&id);
            let count = object.versions.iter().take_while(|(at, _)| *at <= moment).count();
            if (whole.is_none_or(|whole| whole == id) || comes_along) && count > 0 {
                object.synced.push((now, count - 1));
            }
        }
        let mut slots: BTreeSet<Slot> = BTreeSet::new();
        for step in self.steps.iter_mut().filter(|step| step.at <= moment).rev() {
            let is_meant = step
                .changes
                .iter()
                .any(|(slot, ..)| whole.is_none_or(|whole| slot.0 == whole) || slots.contains(slot));
            if is_meant {
                step.synced.get_or_insert(now);
                // What it builds on comes with it.
                slots.extend(step.changes.iter().map(|(slot, ..)| slot.clone()));
            }
        }
    }

    /// The tree after a cut at a moment.
    pub fn cut(&self, at: usize, drop: Drop) -> Left {
        let mut chance = Chance(match drop {
            Drop::Some(seed) => ((seed << 32) ^ (at as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            _ => 1,
        });
        let mut names = BTreeMap::new();
        let mut lost: BTreeSet<&Slot> = BTreeSet::new();
        for step in self.steps.iter().filter(|step| step.at <= at) {
            let is_safe = step.synced.is_some_and(|synced| synced <= at);
            let is_dropped = match drop {
                Drop::Nothing | Drop::Contents => false,
                Drop::Everything | Drop::Names => true,
                Drop::Some(_) => chance.flip(),
            };
            let builds_on_lost = step.changes.iter().any(|(slot, ..)| lost.contains(slot));
            if !is_safe && (is_dropped || builds_on_lost) {
                lost.extend(step.changes.iter().map(|(slot, ..)| slot));
                continue;
            }
            for (slot, _, after) in &step.changes {
                match after {
                    Some(id) => names.insert(slot.clone(), *id),
                    None => names.remove(slot),
                };
            }
        }
        // The time of a directory goes with the names in it.
        let behind: BTreeSet<Id> = lost.iter().map(|(directory, _)| *directory).collect();
        let mut inodes = BTreeMap::new();
        for id in names.values().copied().chain([ROOT]) {
            if inodes.contains_key(&id) {
                continue;
            }
            let object = &self.objects[id];
            let there = object
                .versions
                .iter()
                .take_while(|(moment, _)| *moment <= at)
                .count();
            let safe = object.synced.iter().rev().find(|(moment, _)| *moment <= at);
            // What was never brought to the disk is there as it was made.
            let first = safe.map_or(0, |(_, version)| *version);
            let last = there.max(first + 1) - 1;
            let inode = match drop {
                _ if behind.contains(&id) => object.versions[first].1.clone(),
                Drop::Nothing | Drop::Names => object.versions[last].1.clone(),
                Drop::Everything | Drop::Contents => object.versions[first].1.clone(),
                Drop::Some(_) => {
                    let chosen = first + chance.below(last - first + 1);
                    let mut inode = object.versions[chosen].1.clone();
                    let next = object.versions.get(chosen + 1).filter(|_| chosen < last);
                    if let Some((_, next)) = next
                        && next.bytes.starts_with(&inode.bytes)
                        && chance.flip()
                    {
                        let more = next.bytes.len() - inode.bytes.len();
                        let part = (inode.bytes.len() + more / 2) / SECTOR * SECTOR;
                        inode.bytes = next.bytes[..part.max(inode.bytes.len())].to_vec();
                    }
                    inode
                }
            };
            inodes.insert(id, inode);
        }
        Left { names, inodes }
    }

    /// Puts such a tree into the place of what stands there now.
    pub fn put(&self, left: &Left) {
        for entry in std::fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
        let mut made: BTreeMap<Id, PathBuf> = BTreeMap::new();
        let mut directories = vec![(ROOT, self.root.clone())];
        let mut at = 0;
        while let Some((directory, place)) = directories.get(at).cloned() {
            at += 1;
            for (name, id) in left.names_in(directory) {
                let path = place.join(name);
                if let Some(first) = made.get(&id) {
                    std::fs::hard_link(first, &path).unwrap();
                    continue;
                }
                let inode = &left.inodes[&id];
                match inode.kind() {
                    FileType::Directory => {
                        std::fs::create_dir(&path).unwrap();
                        directories.push((id, path));
                        continue;
                    }
                    FileType::Symlink => symlink(OsStr::from_bytes(&inode.bytes), &path).unwrap(),
                    _ => std::fs::write(&path, &inode.bytes).unwrap(),
                }
                inode.give_to(&path);
                made.insert(id, path);
            }
        }
        // The innermost first: what is made in a directory changes its time.
        for (id, path) in directories.iter().rev() {
            left.inodes[id].give_to(path);
        }
    }
}

impl Watch for Disk {
    fn changed(&mut self) {
        self.now += 1;
        self.look();
    }

    fn syncing(&mut self, thread: i32, target: Target) {
        self.under_way.insert(thread, (target, self.now));
    }

    fn synced(&mut self, thread: i32, done: bool) {
        self.now += 1;
        if let (Some((target, moment)), true) = (self.under_way.remove(&thread), done) {
            self.bring(target, moment);
        }
    }
}

impl Left {
    fn names_in(&self, directory: Id) -> impl Iterator<Item = (&OsString, Id)> {
        self.names
            .range((directory, OsString::new())..(directory + 1, OsString::new()))
            .map(|((_, name), id)| (name, *id))
    }

    /// The same for two trees that are alike, but for the times of directories.
    pub fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut open = vec![ROOT];
        while let Some(directory) = open.pop() {
            for (name, id) in self.names_in(directory) {
                let inode = &self.inodes[&id];
                let is_directory = inode.kind() == FileType::Directory;
                let modified = if is_directory { (0, 0) } else { inode.modified };
                hasher.update(format!("{directory} {id} {} {modified:?} ", inode.mode).as_bytes());
                hasher.update(name.as_bytes());
                hasher.update(blake3::hash(&inode.bytes).as_bytes());
                if is_directory {
                    open.push(id);
                }
            }
        }
        hasher.finalize()
    }
}

impl Inode {
    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    fn give_to(&self, path: &Path) {
        let is_link = self.kind() == FileType::Symlink;
        lchown(path, Some(self.owner.0), Some(self.owner.1)).unwrap();
        if !is_link {
            rustix::fs::chmod(path, Mode::from_raw_mode(self.mode)).unwrap();
            for (name, value) in &self.attributes {
                lsetxattr(path, name.as_slice(), value, XattrFlags::empty()).unwrap();
            }
        }
        let time = Timespec {
            tv_sec: self.modified.0,
            tv_nsec: self.modified.1,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// What stands at a path, and its inode number.
fn seen(path: &Path) -> Option<(u64, Inode)> {
    let metadata = path.symlink_metadata().ok()?;
    let bytes = if metadata.is_symlink() {
        path.read_link().ok()?.into_os_string().into_vec()
    } else if metadata.is_file() {
        std::fs::read(path).ok()?
    } else {
        Vec::new()
    };
    let inode = Inode {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        attributes: attributes(path),
        bytes,
    };
    Some((metadata.ino(), inode))
}

/// A xorshift generator: the same numbers each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}

//! Who holds files below a path: open descriptors, mapped memory and locks. A copy of what somebody writes is no
//! backup.
//!
//! Files are recognized by name and by inode, so that a hard link, a bind mount or a container's own name for a
//! file does not hide its writer.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::open::{OpenFile, OpenFiles, Opened, Via};
use super::table::{Seen, Table};
use super::{Process, as_path, settled};
use crate::base::error::Result;

/// How a file is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It can't be changed through this.
    Read,
    /// It can.
    Write,
}

/// A process that holds a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Who.
    pub process: Process,
    /// The file as the process names it; the asked path itself where we may see only its lock.
    #[serde(serialize_with = "as_path")]
    pub path: PathBuf,
    /// How.
    pub access: Access,
    /// The lock that is held on it: a shared one (`Read`) keeps writers away, an exclusive one everybody.
    pub lock: Option<Access>,
}

impl Holder {
    /// Whether the file may be changed through this, or nobody else may look at it meanwhile.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.access == Access::Write || self.lock == Some(Access::Write)
    }

    /// "process 7 (`tail -f x`) reads `x`", with the name that the file has for people.
    #[must_use]
    pub fn rendered(&self, file: &str) -> String {
        let does = match (self.access, self.lock) {
            (Access::Write, _) => "writes",
            (Access::Read, Some(Access::Write)) => "holds an exclusive lock on",
            (Access::Read, _) => "reads",
        };
        format!(
            "process {} (`{}`) {does} `{file}`",
            self.process.pid,
            self.process.describe()
        )
    }
}

/// Every other process that holds a file at or below `path`, by number and path. Whoever's it is, as far as we may
/// inspect it; of the others we see the locks. Deleted files count.
///
/// # Errors
/// `/proc` cannot be read.
pub fn holders(path: &Path) -> Result<Vec<Holder>> {
    holders_among(path, &OpenFiles::look()?)
}

/// As [`holders`], among files that were looked at already.
///
/// # Errors
/// `/proc` cannot be read.
pub fn holders_among(path: &Path, open: &OpenFiles) -> Result<Vec<Holder>> {
    let table = Table::open()?;
    let tree = Tree::new(path);
    let mut holders = Vec::new();
    let mut locks = locks(&tree);
    for (pid, opened) in open.iter() {
        if !tree.concerns(opened) && !locks.contains_key(&pid) {
            continue;
        }
        let Some(seen) = Seen::open(pid) else { continue };
        let mut held = tree.held_by(opened, &table, &seen);
        if held.is_empty()
            && let Some(access) = locks.remove(&pid)
        {
            held.insert(
                tree.path.clone(),
                Hold {
                    access,
                    lock: Some(access),
                },
            );
        }
        // It holds the files whatever it becomes: a change of its command line meanwhile doesn't hide it.
        let Some(process) = table.whatever_it_runs(&seen) else {
            continue;
        };
        holders.extend(held.into_iter().map(|(path, hold)| Holder {
            process: process.clone(),
            path,
            access: hold.access,
            lock: hold.lock,
        }));
    }
    Ok(holders)
}

/// Files that these processes have open for writing, and the directories in which they work, by the names that they have
/// for us.
///
/// # Errors
/// `/proc` cannot be read.
pub fn written_by(pids: &[i32]) -> Result<Vec<PathBuf>> {
    let table = Table::open()?;
    let mut written = Vec::new();
    for pid in pids {
        let Some(seen) = Seen::open(*pid) else { continue };
        let opened = Opened::of(&seen);
        written.extend(opened.cwd(*pid, &table).map(Path::to_path_buf));
        if table.is_elsewhere(&seen) {
            continue;
        }
        let writes = |file: &OpenFile| file.access(&seen) == Access::Write;
        written.extend(opened.files.into_iter().filter(writes).map(|file| file.path));
    }
    Ok(written)
}

impl OpenFile {
    /// How the process that was seen has it open.
    pub fn access(&self, seen: &Seen) -> Access {
        self.hold(seen).access
    }

    fn hold(&self, seen: &Seen) -> Hold {
        match &self.via {
            Via::Descriptor(number) => descriptor(seen, number),
            Via::Mapping(access) => Hold {
                access: *access,
                lock: None,
            },
        }
    }
}

/// How one process holds one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hold {
    access: Access,
    lock: Option<Access>,
}

/// A path with everything below it, by name and by inode.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    inodes: HashSet<(u64, u64)>,
    devices: HashSet<u64>,
}

impl Tree {
    /// Lists what is at and below `path`. Its own links are followed, those below are not. What cannot be listed is
    /// known by name only.
    pub fn new(path: &Path) -> Self {
        let mut tree = Self {
            path: settled(path),
            inodes: HashSet::new(),
            devices: HashSet::new(),
        };
        let mut rest = vec![tree.path.clone()];
        while let Some(path) = rest.pop() {
            let Ok(about) = path.symlink_metadata() else {
                continue;
            };
            tree.devices.insert(about.dev());
            tree.inodes.insert((about.dev(), about.ino()));
            if about.is_dir() {
                rest.extend(
                    std::fs::read_dir(&path)
                        .into_iter()
                        .flatten()
                        .flatten()
                        .map(|entry| entry.path()),
                );
            }
        }
        tree
    }

    /// Whether any of what a process has open may be of this tree.
    pub fn concerns(&self, opened: &Opened) -> bool {
        opened.files.iter().any(|file| self.has(file, false))
    }

    /// Whether any of what the process has open is of this tree.
    pub fn holds(&self, opened: &Opened, table: &Table, seen: &Seen) -> bool {
        self.concerns(opened) && !self.held_by(opened, table, seen).is_empty()
    }

    /// What the process holds of it.
    pub fn held_by(&self, opened: &Opened, table: &Table, seen: &Seen) -> BTreeMap<PathBuf, Hold> {
        let mut held = BTreeMap::new();
        let elsewhere = table.is_elsewhere(seen);
        for file in opened.files.iter().filter(|file| self.has(file, elsewhere)) {
            note(&mut held, file.path.clone(), file.hold(seen));
        }
        held
    }

    fn has(&self, file: &OpenFile, elsewhere: bool) -> bool {
        self.has_name(&file.path, elsewhere) || file.identity.is_some_and(|is| self.inodes.contains(&is))
    }

    /// Whether the name is of this tree. A name from another mount tree says nothing.
    fn has_name(&self, path: &Path, elsewhere: bool) -> bool {
        // Both are as the kernel writes them, one slash between two names: bytes tell what parts would, and faster.
        let top = self.path.as_os_str().as_bytes();
        let top = top.strip_suffix(b"/").unwrap_or(top);
        let rest = path.as_os_str().as_bytes().strip_prefix(top);
        !elsewhere && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

fn note(files: &mut BTreeMap<PathBuf, Hold>, path: PathBuf, hold: Hold) {
    let known = files.entry(path).or_insert(hold);
    known.access = known.access.max(hold.access);
    known.lock = known.lock.max(hold.lock);
}

/// How a descriptor is open. One that we can see but not read is taken for a writer's.
fn descriptor(seen: &Seen, number: &str) -> Hold {
    /// The two lowest bits of the flags: 0 reads, 1 writes, 2 does both.
    const ACCESS: u32 = 0o3;
    let about = seen.read(&format!("fdinfo/{number}")).unwrap_or_default();
    let about = String::from_utf8_lossy(&about);
    let flags = about
        .lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    Hold {
        access: match flags.map(|flags| flags & ACCESS) {
            Some(0) => Access::Read,
            _ => Access::Write,
        },
        lock: about
            .lines()
            .filter_map(|line| line.strip_prefix("lock:"))
            .map(lock)
            .max(),
    }
}

/// What a lock is, by its line in `fdinfo`: `1: POSIX ADVISORY READ 719 08:01:1234 0 EOF`.
fn lock(line: &str) -> Access {
    match line.split_ascii_whitespace().nth(3) {
        Some("READ") => Access::Read,
        _ => Access::Write,
    }
}

/// The files in the memory of a process: they may have been closed since.
pub(super) fn mapped(seen: &Seen) -> Vec<OpenFile> {
    let maps = seen.read("maps").unwrap_or_default();
    let mut files: Vec<OpenFile> = Vec::new();
    let mut last: &[u8] = b"";
    for mapped in maps.split(|byte| *byte == b'\n').filter_map(Mapped::parse) {
        // One file has several mappings in a row; the one that writes counts.
        if mapped.name == last {
            if let Some(Via::Mapping(access)) = files.last_mut().map(|file| &mut file.via) {
                *access = (*access).max(mapped.access);
            }
            continue;
        }
        last = mapped.name;
        files.push(OpenFile {
            path: PathBuf::from(unescaped(mapped.name)),
            identity: Some(mapped.identity),
            via: Via::Mapping(mapped.access),
        });
    }
    files
}

/// A file in the memory of a process.
#[derive(Debug, PartialEq, Eq)]
struct Mapped<'a> {
    /// As it is written, without the remark that it was deleted.
    name: &'a [u8],
    identity: (u64, u64),
    access: Access,
}

impl<'a> Mapped<'a> {
    /// Reads `start-end perms offset major:minor inode path`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        // Most of a memory belongs to no file: no field before the path holds a slash.
        let at = line.iter().position(|byte| *byte == b'/')?;
        let (fields, name) = line.split_at_checked(at)?;
        let mut fields = fields
            .split(|byte| *byte == b' ')
            .filter(|field| !field.is_empty())
            .skip(1);
        let permissions = fields.next()?;
        let device = fields.nth(1)?;
        let inode = fields.next()?;
        if fields.next().is_some() {
            return None;
        }
        let writes = permissions.contains(&b'w') && permissions.contains(&b's');
        Some(Self {
            name: name.strip_suffix(b" (deleted)").unwrap_or(name),
            identity: (
                device_number(std::str::from_utf8(device).ok()?)?,
                std::str::from_utf8(inode).ok()?.parse().ok()?,
            ),
            access: if writes { Access::Write } else { Access::Read },
        })
    }
}

/// Line breaks in names are written as octal.
fn unescaped(path: &[u8]) -> OsString {
    const BREAK: &[u8] = b"\\012";
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(BREAK) {
            bytes.push(b'\n');
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    OsStr::from_bytes(&bytes).to_os_string()
}

/// `08:01` as the kernel numbers devices.
fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(rustix::fs::makedev(
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    ))
}

/// The holders of locks in the tree, from `/proc/locks`, which names other users' processes too.
fn locks(tree: &Tree) -> BTreeMap<i32, Access> {
    let mut locks: BTreeMap<i32, Access> = BTreeMap::new();
    let text = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    for line in text.lines() {
        // `1: POSIX ADVISORY WRITE 719 08:01:1234 0 EOF`; one that waits has `->` before its kind and holds nothing.
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(&kind), Some(&access), Some(pid), Some(file)) =
            (fields.get(1), fields.get(3), fields.get(4), fields.get(5))
        else {
            continue;
        };
        let identity = file
            .rsplit_once(':')
            .and_then(|(device, inode)| Some((device_number(device)?, inode.parse::<u64>().ok()?)));
        if kind != "->"
            && identity.is_some_and(|is| tree.inodes.contains(&is))
            && let Ok(pid) = pid.parse::<i32>()
        {
            let access = if access == "READ" {
                Access::Read
            } else {
                Access::Write
            };
            let known = locks.entry(pid).or_insert(access);
            *known = (*known).max(access);
        }
    }
    locks
}

#[cfg(test)]
mod tests {
    use super::super::trial::Trial;
    use super::*;

    fn held(path: &Path, pid: i32) -> Vec<(PathBuf, Access, bool)> {
        let holders = holders(path).expect("a proc file system");
        holders
            .into_iter()
            .filter(|holder| holder.process.pid == pid)
            .map(|holder| (holder.path, holder.access, holder.lock.is_some()))
            .collect()
    }

    #[test]
    fn readers_and_writers_are_told_apart() {
        let trial = Trial::new();
        let written = trial.write("data/written.db", "x");
        let read = trial.write("data/read.db", "x");
        trial.write("data-2/other.db", "x");
        let child =
            trial.shell("exec 8<>data/written.db 9<data/read.db 7>data-2/other.db; echo ready; read line");
        let expected = vec![
            (read, Access::Read, false),
            (written.clone(), Access::Write, false),
        ];
        assert_eq!(held(&trial.root().join("data"), child.pid()), expected);
        assert_eq!(held(&written, child.pid()), [(written, Access::Write, false)]);
    }

    #[test]
    fn a_deleted_file_is_still_held() {
        let trial = Trial::new();
        let file = trial.write("data/gone.db", "x");
        let child = trial.shell("exec 8>>data/gone.db; rm data/gone.db; echo ready; read line");
        assert_eq!(
            held(&trial.root().join("data"), child.pid()),
            [(file, Access::Write, false)]
        );
    }

    #[test]
    fn another_name_does_not_hide_a_writer() {
        let trial = Trial::new();
        trial.write("data/real.db", "x");
        let child = trial.shell("ln data/real.db alias.db; exec 8>>alias.db; echo ready; read line");
        let alias = trial.root().join("alias.db");
        assert_eq!(
            held(&trial.root().join("data"), child.pid()),
            [(alias, Access::Write, false)]
        );
    }

    #[test]
    fn this_process_holds_nothing_against_itself() {
        let trial = Trial::new();
        let path = trial.write("data/own.db", "x");
        let file = std::fs::File::open(&path).expect("the file");
        assert!(holders(&path).expect("a proc file system").is_empty(), "{file:?}");
    }

    #[test]
    fn a_locked_file_is_known_as_such() {
        let trial = Trial::new();
        let path = trial.write("data/locked.db", "x");
        let file = std::fs::File::open(&path).expect("the file");
        file.lock().expect("nobody else has it");
        let own = i32::try_from(std::process::id()).expect("a pid fits");
        assert_eq!(
            locks(&Tree::new(path.parent().expect("a directory"))).get(&own),
            Some(&Access::Write)
        );
        let table = Table::open().expect("a proc file system");
        let seen = Seen::open(own).expect("we are here");
        let held = Tree::new(&path).held_by(&Opened::of(&seen), &table, &seen);
        assert!(
            held.get(&path)
                .is_some_and(|hold| hold.lock == Some(Access::Write) && hold.access == Access::Read),
            "{held:?}"
        );
        file.lock_shared().expect("our own lock is changed");
        let held = Tree::new(&path).held_by(&Opened::of(&seen), &table, &seen);
        assert!(
            held.get(&path)
                .is_some_and(|hold| hold.lock == Some(Access::Read) && hold.access == Access::Read),
            "a shared lock is a reader's: {held:?}"
        );
    }

    #[test]
    fn mapped_files_are_read_from_a_line() {
        fn parse(line: &str) -> Option<Mapped<'_>> {
            Mapped::parse(line.as_bytes())
        }
        let shared =
            parse("7f00-7f01 rw-s 00000000 08:01 42                         /ws/a b.db").expect("a file");
        assert_eq!(shared.name, b"/ws/a b.db");
        assert_eq!(shared.identity, (rustix::fs::makedev(8, 1), 42));
        assert_eq!(shared.access, Access::Write);
        let private = parse("7f00-7f01 rw-p 00000000 08:01 42 /ws/a.db (deleted)").expect("a file");
        assert_eq!(
            (private.name, private.access),
            (b"/ws/a.db".as_slice(), Access::Read)
        );
        assert_eq!(parse("7f00-7f01 rw-p 00000000 00:00 0 [heap]"), None);
        assert_eq!(parse("7f00-7f01 rw-p 00000000 00:00 0 "), None);
    }
}

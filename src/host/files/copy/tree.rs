//! The tree of a copy: directory by directory, the names of each in batches that any thread takes.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::durable::Durable;
use super::{Copied, CopyOutcome, is_copied};
use crate::base::error::{Error, Kind, Result};
use crate::host::files::attributes::{self, imitate, imitate_open, set_mtime_at};
use crate::host::files::contents::{self, BUFFER, LARGE, differs, reading_back, writing};
use crate::host::files::crew::{self, Heap, lock};
use crate::host::files::look::{changed_meanwhile, names, open_known, read_link_at};
use crate::host::files::meter::Meter;
use crate::host::files::resolve::{
    Place, failure, on_other_mount, open_directory, open_directory_on_mount, stat_at, stat_open,
};
use crate::host::files::walk::{DEPTH_LIMIT, too_deep};
use crate::host::files::write::make_directory_at;
use crate::host::files::{EntryKind, Stat, below, display};

/// Names that one thread takes at a time.
const BATCH: usize = 64;

/// Copies what stands at one place to another, where nothing stands.
pub(super) fn copy(
    (source, stat): (&Place, Stat),
    target: &Place,
    (leave_out, across): (&(dyn Fn(&Path) -> bool + Sync), bool),
    durable: &Durable,
    meter: &Meter,
    started: &AtomicBool,
) -> Result<CopyOutcome> {
    let duplicate = |place: &Place| {
        rustix::io::fcntl_dupfd_cloexec(&place.parent, 3)
            .map_err(|error| failure("open the directory of", &place.path, error))
    };
    let tree = Tree {
        from: &source.path,
        to: &target.path,
        leave_out,
        across,
        durable,
        meter,
        started,
        links: Mutex::new(HashMap::new()),
        cloning: AtomicBool::new(true),
    };
    let top = Item {
        level: Arc::new(Level {
            parent: None,
            source: duplicate(source)?,
            target: duplicate(target)?,
            relative: PathBuf::new(),
            stat: None,
            depth: 0,
            pending: AtomicUsize::new(1),
        }),
        name: source.name.clone(),
        new_name: target.name.clone(),
        relative: PathBuf::new(),
        stat,
        depth: 0,
    };
    let parts = crew::work(vec![Job::Item(top)], &Own::default, &|job, own, heap| {
        tree.act(job, own, heap)
    })?;
    let mut outcome = CopyOutcome::default();
    for own in parts {
        let part = own.part;
        outcome.entries += part.entries;
        outcome.files += part.files;
        outcome.bytes = outcome.bytes.saturating_add(part.bytes);
        outcome.shared += part.shared;
        outcome.written += part.written;
        outcome.skipped.extend(part.skipped);
        outcome.not_owned.extend(part.not_owned);
        outcome.copied.add(own.copied);
    }
    outcome.skipped.sort_unstable();
    outcome.not_owned.sort_unstable();
    outcome.copied.set_top(stat);
    Ok(outcome)
}

/// A directory at work, open at both ends until all below it is done. Without a `stat` it is the one that holds both
/// tops, which is not copied.
struct Level {
    parent: Option<Arc<Level>>,
    source: OwnedFd,
    target: OwnedFd,
    relative: PathBuf,
    stat: Option<Stat>,
    depth: usize,
    /// Batches of names and directories below that are not done.
    pending: AtomicUsize,
}

/// One name, in an open directory at both ends.
struct Item {
    level: Arc<Level>,
    name: OsString,
    new_name: OsString,
    relative: PathBuf,
    stat: Stat,
    depth: usize,
}

enum Job {
    Item(Item),
    Names(Arc<Level>, Vec<OsString>),
}

/// What one thread keeps.
#[derive(Default)]
struct Own {
    buffer: Vec<u8>,
    again: Vec<u8>,
    part: CopyOutcome,
    copied: Vec<Copied>,
}

/// A file that has several names.
enum Links {
    /// Its first name is being copied; the others wait.
    Copying(Vec<Item>),
    Copied(Arc<FirstName>),
}

struct FirstName {
    /// From the top of the copy.
    relative: PathBuf,
    copy: Stat,
    source: Stat,
    digest: blake3::Hash,
}

struct Tree<'a> {
    from: &'a Path,
    to: &'a Path,
    leave_out: &'a (dyn Fn(&Path) -> bool + Sync),
    /// Whether what is mounted inside, at both ends, is a part of the tree.
    across: bool,
    durable: &'a Durable,
    meter: &'a Meter,
    /// Set when something of ours stands at the target.
    started: &'a AtomicBool,
    links: Mutex<HashMap<(u64, u64), Links>>,
    /// Whether the file system may share blocks; until it says no.
    cloning: AtomicBool,
}

impl Item {
    fn source(&self) -> BorrowedFd<'_> {
        self.level.source.as_fd()
    }

    fn target(&self) -> BorrowedFd<'_> {
        self.level.target.as_fd()
    }
}

impl Tree<'_> {
    fn act(&self, job: Job, own: &mut Own, heap: &Heap<Job>) -> Result<()> {
        match job {
            Job::Item(item) if item.stat.kind == EntryKind::Directory => self.directory(item, own, heap),
            Job::Item(item) => {
                let level = Arc::clone(&item.level);
                self.entry(item, own, heap)?;
                self.release(level, own)
            }
            Job::Names(level, names) => {
                for name in names {
                    let relative = level.relative.join(&name);
                    if (self.leave_out)(&relative) {
                        continue;
                    }
                    let path = below(self.from, &relative);
                    let stat = stat_at(level.source.as_fd(), &name, &path)?
                        .ok_or_else(|| changed_meanwhile(&path))?;
                    let item = Item {
                        level: Arc::clone(&level),
                        new_name: name.clone(),
                        name,
                        relative,
                        stat,
                        depth: level.depth,
                    };
                    if stat.kind == EntryKind::Directory {
                        level.pending.fetch_add(1, Ordering::Relaxed);
                        heap.push(Job::Item(item));
                    } else {
                        self.entry(item, own, heap)?;
                    }
                }
                self.release(level, own)
            }
        }
    }

    /// Makes a directory and hands out its names.
    fn directory(&self, item: Item, own: &mut Own, heap: &Heap<Job>) -> Result<()> {
        let path = below(self.from, &item.relative);
        self.refuse(&item, &path)?;
        // The top itself may be a mount point: its contents were asked for.
        let source = if item.depth == 0 || self.across {
            open_directory(item.source(), &item.name, &path)?
        } else {
            open_directory_on_mount(item.source(), &item.name, &path)?
        };
        if !stat_open(source.as_fd(), &path)?.same_version(&item.stat) {
            return Err(changed_meanwhile(&path));
        }
        let copy_path = below(self.to, &item.relative);
        let target = match make_directory_at(item.target(), &item.new_name, &copy_path) {
            Err(error) if self.across && error.kind() == Kind::Exists => {
                open_directory(item.target(), &item.new_name, &copy_path)?
            }
            made => made?,
        };
        self.started.store(true, Ordering::Relaxed);
        let names = names(source.as_fd(), &path)?;
        let level = Arc::new(Level {
            parent: Some(item.level),
            source,
            target,
            relative: item.relative,
            stat: Some(item.stat),
            depth: item.depth + 1,
            pending: AtomicUsize::new(1),
        });
        let mut batch = Vec::new();
        for name in names {
            batch.push(name);
            if batch.len() == BATCH {
                level.pending.fetch_add(1, Ordering::Relaxed);
                heap.push(Job::Names(Arc::clone(&level), std::mem::take(&mut batch)));
            }
        }
        // The last batch goes with the count that the level began with; an empty one finishes the directory.
        self.act(Job::Names(level, batch), own, heap)
    }

    /// One batch or directory below is done; with the last the directory is too, and perhaps those above.
    fn release(&self, level: Arc<Level>, own: &mut Own) -> Result<()> {
        let mut level = Some(level);
        while let Some(done) = level.take() {
            if done.pending.fetch_sub(1, Ordering::AcqRel) > 1 {
                break;
            }
            if let Some(stat) = done.stat {
                self.finish_directory(&done, stat, own)?;
            }
            level.clone_from(&done.parent);
        }
        Ok(())
    }

    fn finish_directory(&self, level: &Level, stat: Stat, own: &mut Own) -> Result<()> {
        let path = below(self.from, &level.relative);
        let copy_path = below(self.to, &level.relative);
        let kept = attributes::read_open(level.source.as_fd(), &path)?;
        let now = stat_open(level.target.as_fd(), &copy_path)?;
        if !imitate_open(level.target.as_fd(), &now, &stat, &kept, &copy_path)? {
            own.part.not_owned.push(level.relative.clone());
        }
        self.durable.add(level.target.as_fd(), &copy_path)?;
        if !stat_open(level.source.as_fd(), &path)?.same_version(&stat) {
            return Err(changed_meanwhile(&path));
        }
        if level.depth > 1 {
            own.part.entries += 1;
        }
        own.copied.push(Copied::new(&level.relative, &stat, None));
        Ok(())
    }

    /// Anything but a directory.
    fn entry(&self, item: Item, own: &mut Own, heap: &Heap<Job>) -> Result<()> {
        let path = below(self.from, &item.relative);
        self.refuse(&item, &path)?;
        if !is_copied(&path, item.stat.kind, item.depth)? {
            own.part.skipped.push(item.relative);
            return Ok(());
        }
        let digest = match item.stat.kind {
            EntryKind::File => match self.file(&item, &path, own, heap)? {
                Done::Copied(digest) => Some(digest),
                Done::Later => return self.wait(item, heap),
            },
            EntryKind::Symlink => {
                let target = read_link_at(item.source(), &item.name, &path)?;
                rustix::fs::symlinkat(&target, item.target(), &item.new_name)
                    .map_err(|error| self.failure("make the symbolic link", &item.relative, error))?;
                self.finish(&item, own)?;
                None
            }
            EntryKind::Fifo => {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(item.target(), &item.new_name, FileType::Fifo, mode, 0)
                    .map_err(|error| self.failure("make the named pipe", &item.relative, error))?;
                self.finish(&item, own)?;
                None
            }
            EntryKind::Directory | EntryKind::Socket | EntryKind::Device => {
                return Err(Error::bug("only files, links and pipes are copied one by one"));
            }
        };
        own.part.entries += 1;
        let stat = item.stat;
        if stat.kind == EntryKind::File {
            own.part.files += 1;
            own.part.bytes = own.part.bytes.saturating_add(stat.size);
            self.meter.file();
        }
        own.copied.push(Copied::new(&item.relative, &stat, digest));
        Ok(())
    }

    fn refuse(&self, item: &Item, path: &Path) -> Result<()> {
        if item.depth > DEPTH_LIMIT {
            return Err(too_deep(path));
        }
        if item.stat.mount_point && item.depth > 0 && !self.across {
            return Err(on_other_mount(path));
        }
        Ok(())
    }

    /// Owner, attributes, mode and time of what can't be opened.
    fn finish(&self, item: &Item, own: &mut Own) -> Result<()> {
        self.started.store(true, Ordering::Relaxed);
        let path = below(self.to, &item.relative);
        if !imitate(item.target(), &item.new_name, &item.stat, &Vec::new(), &path)? {
            own.part.not_owned.push(item.relative.clone());
        }
        set_mtime_at(item.target(), &item.new_name, item.stat.mtime_ns, &path)
    }

    fn failure(&self, doing: &str, relative: &Path, error: Errno) -> Error {
        failure(doing, &below(self.to, relative), error)
    }

    /// A file by any of its names.
    fn file(&self, item: &Item, path: &Path, own: &mut Own, heap: &Heap<Job>) -> Result<Done> {
        if item.stat.links < 2 {
            return self
                .new_file(item, path, own)
                .map(|(digest, _)| Done::Copied(digest));
        }
        let key = (item.stat.device, item.stat.inode);
        let first = match lock(&self.links).entry(key) {
            std::collections::hash_map::Entry::Vacant(none) => {
                none.insert(Links::Copying(Vec::new()));
                None
            }
            std::collections::hash_map::Entry::Occupied(links) => match links.get() {
                Links::Copying(_) => return Ok(Done::Later),
                Links::Copied(first) => Some(Arc::clone(first)),
            },
        };
        if let Some(first) = first {
            return self.link(item, path, &first).map(Done::Copied);
        }
        let (digest, copy) = self.new_file(item, path, own)?;
        let first = Links::Copied(Arc::new(FirstName {
            relative: item.relative.clone(),
            copy,
            source: item.stat,
            digest,
        }));
        if let Some(Links::Copying(waiting)) = lock(&self.links).insert(key, first) {
            for item in waiting {
                heap.push(Job::Item(item));
            }
        }
        Ok(Done::Copied(digest))
    }

    /// Puts a name off until the first name of its file is copied.
    fn wait(&self, item: Item, heap: &Heap<Job>) -> Result<()> {
        let level = Arc::clone(&item.level);
        level.pending.fetch_add(1, Ordering::Relaxed);
        match lock(&self.links).get_mut(&(item.stat.device, item.stat.inode)) {
            Some(Links::Copying(waiting)) => waiting.push(item),
            // It was finished in between.
            _ => heap.push(Job::Item(item)),
        }
        Ok(())
    }

    /// Another name of a file that is copied already.
    fn link(&self, item: &Item, path: &Path, first: &FirstName) -> Result<blake3::Hash> {
        if !item.stat.same_version(&first.source) {
            return Err(changed_meanwhile(path));
        }
        // Relative to the new name's directory, so that every step stays inside the copy.
        let up = item.relative.components().count().saturating_sub(1);
        let mut old: PathBuf = std::iter::repeat_n("..", up).collect();
        old.push(&first.relative);
        rustix::fs::linkat(
            item.target(),
            &old,
            item.target(),
            &item.new_name,
            AtFlags::empty(),
        )
        .map_err(|error| self.failure("link", &item.relative, error))?;
        let copy_path = below(self.to, &item.relative);
        match stat_at(item.target(), &item.new_name, &copy_path)? {
            Some(linked) if linked.same_thing(&first.copy) => Ok(first.digest),
            _ => Err(Error::changed(format!(
                "`{}` was replaced while it was copied",
                display(&copy_path)
            ))),
        }
    }

    fn new_file(&self, item: &Item, path: &Path, own: &mut Own) -> Result<(blake3::Hash, Stat)> {
        let source = open_known(item.source(), &item.name, path)?;
        let stat = &item.stat;
        if !stat_open(source.as_fd(), path)?.same_version(stat) {
            return Err(changed_meanwhile(path));
        }
        let copy_path = below(self.to, &item.relative);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(item.target(), &item.new_name, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(|error| self.failure("make", &item.relative, error))?;
        self.started.store(true, Ordering::Relaxed);
        let digest = self.contents((&source, path), (&target, &copy_path), stat.size, own)?;
        let copy = stat_open(target.as_fd(), &copy_path)?;
        if copy.size != stat.size {
            return Err(differs(&copy_path));
        }
        let kept = attributes::read_open(source.as_fd(), path)?;
        if !imitate_open(target.as_fd(), &copy, stat, &kept, &copy_path)? {
            own.part.not_owned.push(item.relative.clone());
        }
        self.durable.add(target.as_fd(), &copy_path)?;
        if stat.size >= LARGE {
            self.durable.begin(&target);
        }
        if !stat_open(source.as_fd(), path)?.same_version(stat) {
            return Err(changed_meanwhile(path));
        }
        Ok((digest, copy))
    }

    /// Copies what a file holds, and makes sure that the copy holds it.
    fn contents(
        &self,
        (source, path): (&File, &Path),
        (target, copy_path): (&File, &Path),
        size: u64,
        own: &mut Own,
    ) -> Result<blake3::Hash> {
        let bytes = self.meter.bytes();
        if self.cloned(source, target, size) {
            own.part.shared += 1;
            return contents::digest(target, size, copy_path, &mut own.buffer, bytes);
        }
        own.part.written += u64::from(size > 0);
        let at_once = usize::try_from(size).ok().filter(|size| *size <= BUFFER);
        if let Some(length) = at_once
            && rustix::fs::seek(source, SeekFrom::Hole(0)).is_ok_and(|hole| hole >= size)
        {
            own.buffer.resize(own.buffer.len().max(BUFFER), 0);
            own.again.resize(own.again.len().max(BUFFER), 0);
            let whole = own.buffer.get_mut(..length).ok_or_else(short)?;
            source
                .read_exact_at(whole, 0)
                .map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => changed_meanwhile(path),
                    _ => Error::io(format_args!("read `{}`", display(path)), &error),
                })?;
            target
                .write_all_at(whole, 0)
                .map_err(|error| writing(copy_path, &error))?;
            let again = own.again.get_mut(..length).ok_or_else(short)?;
            target
                .read_exact_at(again, 0)
                .map_err(|error| reading_back(copy_path, &error))?;
            if again != whole {
                return Err(differs(copy_path));
            }
            bytes.fetch_add(size, Ordering::Relaxed);
            return Ok(blake3::hash(whole));
        }
        if size == 0 {
            return Ok(blake3::hash(&[]));
        }
        contents::copy((source, path), (target, copy_path), size, &mut own.buffer, bytes)
    }

    /// Whether the copy now shares the blocks of its original.
    fn cloned(&self, source: &File, target: &File, size: u64) -> bool {
        if size == 0 || !self.cloning.load(Ordering::Relaxed) {
            return false;
        }
        match rustix::fs::ioctl_ficlone(target, source) {
            Ok(()) => true,
            Err(error) => {
                if matches!(
                    error,
                    Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS
                ) {
                    self.cloning.store(false, Ordering::Relaxed);
                }
                false
            }
        }
    }
}

/// What became of a file's name.
enum Done {
    Copied(blake3::Hash),
    /// The first name of the same file is being copied.
    Later,
}

fn short() -> Error {
    Error::bug("a buffer is too short")
}

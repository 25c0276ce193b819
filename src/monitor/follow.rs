//! Following logs: whole lines, each once, across rotation by renaming and by copying, truncation and restarts.
//!
//! A file is known by device and inode, not by name; a digest of its head tells a file that was emptied and has grown again,
//! digests of head and tail tell a copy of one that was read before.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::base::error::{Error, Result};
use crate::log_line::{self, Line, Zone};
use crate::workspace::{LOGS, SECURITY_LOG};

/// The longest line, in bytes; what is longer is passed over.
pub const LONGEST_LINE: usize = 1 << 20;

/// How much is read at once, in bytes.
const BLOCK: usize = 1 << 20;

/// Files that are followed at most.
const FILES: usize = 1000;

/// Bytes of a head that tell a file, at most.
const HEAD: u64 = 256;

/// Bytes of a head that are enough to tell a copy.
const TELLING: u64 = 32;

/// Bytes before the position that tell a copy.
const TAIL: u64 = 128;

/// Files up to this size are read from their beginning, in bytes.
const SMALL: u64 = 1 << 20;

/// Places of a file at which its times are compared before it counts as sorted.
const PROBES: u64 = 64;

/// How long a file that was renamed is still looked at after its last line, in ms: its writer may not know yet.
const LINGER: i64 = 60_000;

/// How far a file was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file, relative to the workspace; as it was last called.
    path: String,
    /// The service whose directory it lies in; `None` for the security log.
    service: Option<String>,
    device: u64,
    inode: u64,
    /// Bytes that were read and need not be read again.
    offset: u64,
    /// Bytes of the head that the digest is of.
    head_bytes: u64,
    head: String,
    /// Digest of what stands right before the offset.
    tail: String,
    /// Inside a line that is too long.
    skipping: bool,
}

#[derive(Debug)]
struct Followed {
    position: Position,
    file: Option<File>,
    /// When it last grew, in ms.
    grew: i64,
}

/// A file that stands in the directory of logs.
struct Listed {
    path: PathBuf,
    service: Option<String>,
    device: u64,
    inode: u64,
}

/// The logs of a workspace.
#[derive(Debug)]
pub struct Follower {
    root: PathBuf,
    followed: Vec<Followed>,
    buffer: Vec<u8>,
}

/// Whoever takes the lines.
pub trait Reader {
    /// In which zone the times of a log are meant that name none.
    fn zone(&self, _service: Option<&str>) -> Zone {
        Zone::Utc
    }
    /// The lines that follow are of another file.
    fn file(&mut self);
    /// A whole line without its end, and the service whose directory it stands in.
    fn line(&mut self, line: &[u8], service: Option<&str>);
    /// A line that was too long, of the service whose directory it stands in.
    fn huge(&mut self, service: Option<&str>);
    /// Whether to stop here and go on at the next call.
    fn stop(&self) -> bool;
}

impl Follower {
    /// The logs of the workspace at `root`, from where they were left.
    #[must_use]
    pub fn new(root: &Path, positions: Vec<Position>) -> Self {
        let followed = positions.into_iter().map(|position| Followed {
            position,
            file: None,
            grew: i64::MIN,
        });
        Self {
            root: root.to_path_buf(),
            followed: followed.collect(),
            buffer: Vec::new(),
        }
    }

    /// How far each file was read.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        self.followed
            .iter()
            .map(|followed| followed.position.clone())
            .collect()
    }

    /// Reads what is new, as seen at `now` (ms). Of a file that was not known, what was logged before `from` (ms) may be left
    /// out. Gives what could not be read, for people; the rest is read all the same.
    pub fn poll(&mut self, now: i64, from: i64, reader: &mut dyn Reader) -> Vec<String> {
        let mut problems = Vec::new();
        let listed = self.list(&mut problems);
        self.find_again(&listed, &mut problems, now);
        for file in &listed {
            if let Err(error) = self.meet(file, from, reader.zone(file.service.as_deref())) {
                problems.push(error.to_string());
            }
        }
        // What was renamed comes first: it is older.
        let is_listed = |position: &Position| {
            listed
                .iter()
                .any(|file| (file.device, file.inode) == (position.device, position.inode))
        };
        self.followed
            .sort_by_key(|followed| is_listed(&followed.position));
        let mut buffer = std::mem::take(&mut self.buffer);
        for followed in &mut self.followed {
            if reader.stop() {
                break;
            }
            match followed.read(&mut buffer, reader) {
                Ok(true) => followed.grew = now,
                Ok(false) if followed.grew == i64::MIN || followed.grew > now => followed.grew = now,
                Ok(false) => {}
                Err(error) => problems.push(format!(
                    "cannot read `{}`: {error}; it is tried again",
                    followed.position.path
                )),
            }
        }
        self.buffer = buffer;
        self.followed
            .retain(|followed| is_listed(&followed.position) || now - followed.grew < LINGER);
        problems
    }

    /// The security log, and the logs in the directories of services.
    fn list(&self, problems: &mut Vec<String>) -> Vec<Listed> {
        let logs = self.root.join(LOGS);
        let mut paths = vec![(logs.join(SECURITY_LOG), None)];
        let is_log = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
        let walk = WalkDir::new(&logs)
            .follow_links(true)
            .max_depth(2)
            .sort_by_file_name();
        for entry in walk {
            match entry {
                Ok(entry) if entry.depth() == 2 && is_log(entry.path()) => {
                    let service = entry.path().parent().and_then(Path::file_name);
                    let service = service.map(|name| name.to_string_lossy().into_owned());
                    paths.push((entry.into_path(), service));
                }
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(&logs);
                    match error.io_error() {
                        Some(why) if why.kind() == ErrorKind::NotFound && path == logs => {
                            problems.push(format!(
                                "there is no directory `{LOGS}`: no events are seen until services log there"
                            ));
                            return Vec::new();
                        }
                        // A link that leads nowhere, or a log that was moved away by now.
                        Some(why) if why.kind() == ErrorKind::NotFound => {}
                        Some(why) if error.depth() < 2 || is_log(path) => problems.push(format!(
                            "cannot look at `{}`: {why}; make it readable",
                            self.display(path)
                        )),
                        // A link that leads back, or to what is no log.
                        _ => {}
                    }
                }
            }
        }
        if paths.len() > FILES {
            problems.push(format!(
                "`{LOGS}` holds {} logs, and {FILES} are followed: move old ones away",
                paths.len()
            ));
            paths.truncate(FILES);
        }
        let mut listed: Vec<Listed> = Vec::new();
        for (path, service) in paths {
            let metadata = match std::fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) => {
                    if error.kind() != ErrorKind::NotFound {
                        problems.push(format!("cannot look at `{}`: {error}", self.display(&path)));
                    }
                    continue;
                }
            };
            let id = (metadata.dev(), metadata.ino());
            let is_known = listed.iter().any(|file| (file.device, file.inode) == id);
            if metadata.is_file() && !is_known {
                listed.push(Listed {
                    device: id.0,
                    inode: id.1,
                    path,
                    service,
                });
            }
        }
        listed
    }

    /// After a restart, a file that was renamed is looked for beside its old place; what was open stays open.
    fn find_again(&mut self, listed: &[Listed], problems: &mut Vec<String>, now: i64) {
        let root = self.root.clone();
        self.followed.retain_mut(|followed| {
            let position = &followed.position;
            let id = (position.device, position.inode);
            if followed.file.is_some() || listed.iter().any(|file| (file.device, file.inode) == id) {
                return true;
            }
            let path = root.join(&position.path);
            let found = siblings(&path).find(|(_, metadata)| (metadata.dev(), metadata.ino()) == id);
            let file = found.and_then(|(path, _)| open(&path).ok());
            match file {
                Some(file) if is_head(&file, position) => {
                    followed.file = Some(file);
                    followed.grew = now;
                    true
                }
                _ => {
                    if path.exists() {
                        problems.push(format!(
                            "`{}` was rotated away while nobody watched: its last lines were not seen",
                            position.path
                        ));
                    }
                    false
                }
            }
        });
    }

    /// A file of the list: one that is known, one that was emptied, a copy, or a new one.
    fn meet(&mut self, listed: &Listed, from: i64, zone: Zone) -> Result<()> {
        let display = self.display(&listed.path);
        let unreadable = |error: &std::io::Error| {
            Error::io(format!("read `{display}`"), error).hint("make it readable for this user")
        };
        let known = self.followed.iter().position(|followed| {
            (followed.position.device, followed.position.inode) == (listed.device, listed.inode)
        });
        let Some(known) = known else {
            let file = open(&listed.path).map_err(|error| unreadable(&error))?;
            let size = file.metadata().map_err(|error| unreadable(&error))?.len();
            let copied = self.followed.iter().find(|followed| {
                followed.position.service == listed.service && is_copy(&file, size, &followed.position)
            });
            let offset = match copied {
                Some(original) => original.position.offset,
                None => start(&file, size, from, zone).unwrap_or(0),
            };
            let mut followed = Followed {
                position: Position {
                    path: display,
                    service: listed.service.clone(),
                    device: listed.device,
                    inode: listed.inode,
                    offset,
                    head_bytes: 0,
                    head: String::new(),
                    tail: String::new(),
                    skipping: false,
                },
                file: Some(file),
                grew: i64::MIN,
            };
            followed.mark();
            self.followed.push(followed);
            return Ok(());
        };
        let Some(followed) = self.followed.get_mut(known) else {
            return Ok(());
        };
        followed.position.path.clone_from(&display);
        followed.position.service.clone_from(&listed.service);
        if followed.file.is_none() {
            followed.file = Some(open(&listed.path).map_err(|error| unreadable(&error))?);
        }
        let Some(file) = &followed.file else { return Ok(()) };
        let size = file.metadata().map_err(|error| unreadable(&error))?.len();
        if size >= followed.position.offset && is_head(file, &followed.position) {
            return Ok(());
        }
        // It was emptied. What was added before that may stand in a copy beside it.
        let before = followed.position.clone();
        followed.position.offset = 0;
        followed.position.skipping = false;
        followed.mark();
        let known_inodes: Vec<(u64, u64)> = self
            .followed
            .iter()
            .map(|followed| (followed.position.device, followed.position.inode))
            .collect();
        for (path, metadata) in siblings(&listed.path) {
            if known_inodes.contains(&(metadata.dev(), metadata.ino())) {
                continue;
            }
            let Ok(file) = open(&path) else { continue };
            if is_copy(&file, metadata.len(), &before) {
                let mut copy = Followed {
                    position: Position {
                        path: self.display(&path),
                        device: metadata.dev(),
                        inode: metadata.ino(),
                        ..before
                    },
                    file: Some(file),
                    grew: i64::MIN,
                };
                copy.mark();
                self.followed.push(copy);
                break;
            }
        }
        Ok(())
    }

    fn display(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned()
    }
}

/// The plain files beside a path whose names begin like its own: where rotation puts them.
fn siblings(path: &Path) -> impl Iterator<Item = (PathBuf, std::fs::Metadata)> {
    let stem = path.file_stem().unwrap_or_default().to_owned();
    let own = path.to_path_buf();
    path.parent()
        .and_then(|parent| std::fs::read_dir(parent).ok())
        .into_iter()
        .flatten()
        .flatten()
        .filter(move |entry| {
            let name = entry.file_name();
            name.as_encoded_bytes().starts_with(stem.as_encoded_bytes()) && entry.path() != own
        })
        .take(FILES)
        .filter_map(|entry| {
            Some((
                entry.path(),
                entry.metadata().ok().filter(std::fs::Metadata::is_file)?,
            ))
        })
}

/// Opens for reading, and never waits for a pipe.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("it is no regular file"))
    }
}

/// The digest of a piece of a file; `None` where it does not reach so far.
fn digest(file: &File, from: u64, length: u64) -> Option<String> {
    let mut piece = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut piece, from).ok()?;
    Some(blake3::hash(&piece).to_hex().as_str().get(..16)?.to_owned())
}

/// Whether a file begins like the one of this position.
fn is_head(file: &File, position: &Position) -> bool {
    position.head_bytes == 0 || digest(file, 0, position.head_bytes).as_ref() == Some(&position.head)
}

/// Whether a file holds all that was read at this position, byte for byte as far as digests tell.
fn is_copy(file: &File, size: u64, position: &Position) -> bool {
    let tail = TAIL.min(position.offset);
    position.head_bytes >= TELLING
        && size >= position.offset
        && is_head(file, position)
        && digest(file, position.offset - tail, tail).as_ref() == Some(&position.tail)
}

impl Followed {
    /// Renews the digests after the position has moved.
    fn mark(&mut self) {
        let Some(file) = &self.file else { return };
        let position = &mut self.position;
        let head = HEAD.min(position.offset);
        if head != position.head_bytes {
            position.head = digest(file, 0, head).unwrap_or_default();
            position.head_bytes = head;
        }
        let tail = TAIL.min(position.offset);
        position.tail = digest(file, position.offset - tail, tail).unwrap_or_default();
    }

    /// Reads whole lines to the end that the file has now. Gives whether there was anything new.
    fn read(&mut self, buffer: &mut Vec<u8>, reader: &mut dyn Reader) -> std::io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let size = file.metadata()?.len();
        let began = self.position.offset;
        let service = self.position.service.as_deref();
        let mut at = began;
        let mut kept = 0;
        buffer.resize(BLOCK + LONGEST_LINE, 0);
        reader.file();
        while at < size && !reader.stop() {
            let room = usize::try_from(size - at).unwrap_or(BLOCK).min(BLOCK);
            let Some(space) = buffer.get_mut(kept..kept + room) else {
                break;
            };
            let read = match file.read_at(space, at) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            at += read as u64;
            let filled = kept + read;
            let mut begin = 0;
            for end in memchr::memchr_iter(b'\n', buffer.get(kept..filled).unwrap_or_default()) {
                let end = kept + end;
                if self.position.skipping {
                    self.position.skipping = false;
                } else if let Some(line) = buffer.get(begin..end) {
                    reader.line(line, service);
                }
                begin = end + 1;
            }
            kept = filled - begin;
            if self.position.skipping || kept >= LONGEST_LINE {
                if !self.position.skipping {
                    reader.huge(service);
                }
                self.position.skipping = true;
                kept = 0;
            } else {
                buffer.copy_within(begin..filled, 0);
            }
            self.position.offset = at - kept as u64;
        }
        let moved = self.position.offset != began;
        if moved {
            self.mark();
        }
        Ok(moved)
    }
}

/// Where in a file to begin, so that no line from `from` (ms) on is left out: found by halving where the times are sorted,
/// else `None`: as in a zone whose clocks are set back.
fn start(file: &File, size: u64, from: i64, zone: Zone) -> Option<u64> {
    if size <= SMALL || zone == Zone::Local {
        return None;
    }
    let line_after = |place| line_after(file, place, from, zone);
    let mut last = i64::MIN;
    for probe in 0..PROBES {
        let (_, time) = line_after(size / PROBES * probe)?;
        if time < last {
            return None;
        }
        last = time;
    }
    let (mut low, mut high) = (0, size);
    while high - low > SMALL / 4 {
        let middle = low + (high - low) / 2;
        match line_after(middle) {
            Some((_, time)) if time < from => low = middle,
            Some(_) => high = middle,
            // Near the end there may be no whole line any more.
            None if size - middle < SMALL => high = middle,
            None => return None,
        }
    }
    // Lines may be a little out of order.
    let low = low.saturating_sub(SMALL);
    if low == 0 {
        return Some(0);
    }
    line_after(low).map(|(begin, _)| begin)
}

/// The first whole line with a time after a place: where it begins, and its time; one without a year is near `near` (ms).
fn line_after(file: &File, place: u64, near: i64, zone: Zone) -> Option<(u64, i64)> {
    const SEEN: usize = 64 << 10;
    let mut piece = vec![0; SEEN];
    let read = file.read_at(&mut piece, place).ok()?;
    piece.truncate(read);
    let mut begin = if place == 0 {
        0
    } else {
        memchr::memchr(b'\n', &piece)? + 1
    };
    while let Some(end) = memchr::memchr(b'\n', piece.get(begin..)?) {
        let line = piece.get(begin..begin + end)?;
        let time = log_line::time_of(line).or_else(|| match log_line::read_in(line, near, zone) {
            Line::Event(event) => event.time(),
            _ => None,
        });
        if let Some(time) = time {
            return Some((place + begin as u64, time));
        }
        begin += end + 1;
    }
    None
}

#[cfg(test)]
mod tests;

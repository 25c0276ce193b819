//! What a backup holds, path by path: JSON lines in `.rollback-manifest.jsonl`, a header, entries sorted by the bytes
//! of their paths, and a footer whose root is the BLAKE3 of all entry lines. It is written and read line by line, and
//! compared with a backup that is walked in the same order, so that it never has to be in memory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::MANIFEST;
use crate::base::error::{Error, Result};
use crate::host::files::{Demand, EntryKind, Files, Meter, Stat, Walked, display};

/// Making one.
mod make;

pub use make::{Digests, make};
pub(super) use make::{LOOKED_AT, READ};

const VERSION: u32 = 1;

/// No honest line is longer: a path of 4 KiB, and extended attributes of 64 KiB each.
const LINE_LIMIT: u64 = 4 << 20;

/// Bytes of a usual line.
const LINE: u64 = 200;

/// How a footer begins, and no entry.
const FOOTER: &[u8] = b"{\"entries\":";

/// The path of the top directory in its own manifest.
pub(super) const TOP: &str = ".";

/// Where a backup comes from: what its maker knows beyond the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `<name>` without the time.
    pub name: String,
    /// What was backed up: relative to the workspace (the first root), absolute where it lies outside.
    pub source: String,
    /// The run that made it.
    pub run: String,
    /// The story at hand; may be empty.
    pub story: String,
    /// When, RFC 3339 in UTC with milliseconds.
    pub created: String,
}

/// How the contents came into the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By renames.
    Moved,
    /// By a verified copy.
    Copied,
    /// By sharing the blocks of a file system that can.
    Reflinked,
}

impl Method {
    /// As in the manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Copied => "copied",
            Self::Reflinked => "reflinked",
        }
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Of the format: 1.
    pub version: u32,
    /// `<name>` without the time.
    pub name: String,
    /// What was backed up, as shown.
    pub source: String,
    /// `directory` or `file`: a single file is the only entry of its backup.
    pub kind: EntryKind,
    /// The run that made it.
    pub run: String,
    /// The story at hand; may be empty.
    pub story: String,
    /// When, RFC 3339 in UTC with milliseconds.
    pub created: String,
    /// How.
    pub method: Method,
}

impl Header {
    /// The header of a new backup.
    #[must_use]
    pub fn new(origin: &Origin, kind: EntryKind, method: Method) -> Self {
        Self {
            version: VERSION,
            name: origin.name.clone(),
            source: origin.source.clone(),
            kind,
            run: origin.run.clone(),
            story: origin.story.clone(),
            created: origin.created.clone(),
            method,
        }
    }
}

/// What the manifest of so many paths in a backup demands.
#[must_use]
pub fn demand(backup: &Path, entries: u64) -> Demand {
    Demand::Contents {
        path: backup.join(MANIFEST),
        bytes: entries.saturating_add(2).saturating_mul(LINE),
    }
}

/// One path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the backup's directory; `.` is the source directory itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a regular file; 0 for anything else.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Extended attributes, values in base64.
    pub xattrs: BTreeMap<String, String>,
    /// Target of a symbolic link.
    pub target: Option<PathBuf>,
    /// BLAKE3 of a regular file's contents in hexadecimal, where it was computed.
    pub blake3: Option<String>,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footer {
    /// Entries, the top directory not counted.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// BLAKE3 of the entry lines, each with its line feed, in hexadecimal.
    pub root: String,
}

/// A whole manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Where it comes from.
    pub header: Header,
    /// Sorted by the bytes of their paths.
    pub entries: Vec<Entry>,
    /// Absent where writing was cut short: not a finished backup.
    pub footer: Option<Footer>,
}

/// An entry as it stands in its line.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    path_b64: Option<String>,
    #[serde(rename = "type")]
    kind: EntryKind,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime_ns: i64,
    #[serde(default)]
    xattrs: BTreeMap<String, String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    target_b64: Option<String>,
    #[serde(default)]
    blake3: Option<String>,
}

/// The same, on its way out.
#[derive(Serialize)]
struct LineOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(rename = "type")]
    kind: EntryKind,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime_ns: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<&'a str>,
}

/// A path as text where it is UTF-8, otherwise in base64.
fn encoded(path: &Path) -> (Option<&str>, Option<String>) {
    match path.to_str() {
        Some(text) => (Some(text), None),
        None => (None, Some(BASE64.encode(path.as_os_str().as_bytes()))),
    }
}

fn decoded(text: Option<String>, base64: Option<String>) -> Result<Option<PathBuf>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(Some(PathBuf::from(text))),
        (None, Some(base64)) => BASE64
            .decode(base64)
            .map(|bytes| Some(PathBuf::from(OsString::from_vec(bytes))))
            .map_err(|error| error.to_string()),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err("a path is given twice".to_owned()),
    }
}

/// Whether a path of a manifest, which is joined to directories, can't lead out of them.
fn is_inside(path: &Path) -> bool {
    let invalid = |name: &[u8]| name.is_empty() || name == b"." || name == b"..";
    !bytes(path).split(|byte| *byte == b'/').any(invalid)
}

impl Entry {
    fn to_line(&self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.add_line(&mut line)?;
        Ok(line)
    }

    fn add_line(&self, lines: &mut Vec<u8>) -> Result<()> {
        let (path, path_b64) = encoded(&self.path);
        let (target, target_b64) = self.target.as_deref().map_or((None, None), encoded);
        let line = LineOf {
            path,
            path_b64,
            kind: self.kind,
            size: self.size,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime_ns: self.mtime_ns,
            xattrs: &self.xattrs,
            target,
            target_b64,
            blake3: self.blake3.as_deref(),
        };
        add_line(&line, lines)
    }

    fn from_line(line: &[u8]) -> Result<Self, String> {
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let path = decoded(line.path, line.path_b64)?.ok_or("there is no path")?;
        if !is_inside(&path) && path != Path::new(TOP) {
            return Err(format!("`{}` is not a path inside the backup", display(&path)));
        }
        Ok(Self {
            path,
            kind: line.kind,
            size: line.size,
            mode: line.mode,
            uid: line.uid,
            gid: line.gid,
            mtime_ns: line.mtime_ns,
            xattrs: line.xattrs,
            target: decoded(line.target, line.target_b64)?,
            blake3: line.blake3,
        })
    }

    fn new(path: &Path, stat: &Stat, attributes: Vec<(OsString, Vec<u8>)>) -> Self {
        Self {
            path: path.to_path_buf(),
            kind: stat.kind,
            size: if stat.kind == EntryKind::File {
                stat.size
            } else {
                0
            },
            mode: if stat.kind == EntryKind::Symlink {
                0o777
            } else {
                stat.mode
            },
            uid: stat.uid,
            gid: stat.gid,
            mtime_ns: stat.mtime_ns,
            xattrs: attributes
                .into_iter()
                .map(|(name, value)| (name.to_string_lossy().into_owned(), BASE64.encode(value)))
                .collect(),
            target: None,
            blake3: None,
        }
    }

    /// The entry of something met on a walk, without a digest.
    pub(super) fn of(entry: &Walked<'_>) -> Result<Self> {
        let mut made = Self::new(entry.relative, &entry.stat, entry.attributes()?);
        if entry.stat.kind == EntryKind::Symlink {
            made.target = Some(entry.read_link()?);
        }
        Ok(made)
    }

    /// The entry of a regular file met on a walk, with the digest of its contents.
    pub(super) fn read(entry: &Walked<'_>, buffer: &mut Vec<u8>, meter: &Meter) -> Result<Self> {
        let (attributes, digest) = entry.read(buffer, meter)?;
        let mut made = Self::new(entry.relative, &entry.stat, attributes);
        made.blake3 = Some(digest.to_hex().to_string());
        Ok(made)
    }

    /// The entry of a directory itself.
    pub(super) fn of_top(files: &Files, directory: &Path) -> Result<Self> {
        let stat = files
            .stat(directory)?
            .ok_or_else(|| Error::not_found(format!("`{}` does not exist", display(directory))))?;
        Ok(Self::new(Path::new(TOP), &stat, files.attributes(directory)?))
    }
}

fn to_line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    add_line(value, &mut line)?;
    Ok(line)
}

fn add_line(value: &impl Serialize, lines: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(&mut *lines, value)
        .map_err(|error| Error::bug(format!("a line of a manifest can't be written: {error}")))?;
    lines.push(b'\n');
    Ok(())
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// Counts of entries, as in a footer.
#[derive(Debug, Default)]
struct Tally {
    entries: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Tally {
    fn add(&mut self, entries: u64, bytes: u64, lines: &[u8]) {
        self.entries += entries;
        self.bytes = self.bytes.saturating_add(bytes);
        self.hasher.update(lines);
    }

    fn footer(&self) -> Footer {
        Footer {
            entries: self.entries,
            bytes: self.bytes,
            root: self.hasher.finalize().to_hex().to_string(),
        }
    }
}

/// Reads a backup's whole manifest and checks it against its own footer.
///
/// # Errors
/// As [`Reading::open`] and [`Reading::next`].
pub fn read(files: &Files, directory: &Path) -> Result<Manifest> {
    let mut reading = Reading::open(files, directory)?;
    let mut entries = Vec::new();
    while let Some(entry) = reading.next()? {
        entries.push(entry);
    }
    Ok(Manifest {
        header: reading.header,
        entries,
        footer: reading.footer,
    })
}

/// A manifest that is read entry by entry. It can be trusted as a whole only when its end was reached.
#[derive(Debug)]
pub struct Reading {
    header: Header,
    lines: Lines<std::fs::File>,
    tally: Tally,
    last: Option<PathBuf>,
    footer: Option<Footer>,
}

impl Reading {
    /// Opens a backup's manifest.
    ///
    /// # Errors
    /// `NotFound` where there is none; `Corrupt` where it does not begin with a header.
    pub fn open(files: &Files, directory: &Path) -> Result<Self> {
        let path = directory.join(MANIFEST);
        let (file, _) = open(files, directory, &path)?;
        let mut lines = Lines::new(file, path);
        Ok(Self {
            header: lines.header()?,
            lines,
            tally: Tally::default(),
            last: None,
            footer: None,
        })
    }

    /// The first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The last line, which is there when all before it were read and it matches them; never in a manifest that was cut
    /// short.
    #[must_use]
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// The next entry, in the order of the bytes of their paths; `None` at the end.
    ///
    /// # Errors
    /// `Corrupt`, with the line, where it is not what was written. A manifest that was cut short is no error.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would go on after an error"
    )]
    pub fn next(&mut self) -> Result<Option<Entry>> {
        let Some(line) = self.lines.next()? else {
            return Ok(None);
        };
        if line.starts_with(FOOTER)
            && let Ok(footer) = serde_json::from_slice::<Footer>(&line)
        {
            if footer != self.tally.footer() {
                return Err(self.lines.corrupt("the footer does not match the entries"));
            }
            if self.lines.next()?.is_some() {
                return Err(self.lines.corrupt("something stands after the footer"));
            }
            self.footer = Some(footer);
            return Ok(None);
        }
        let entry = Entry::from_line(&line).map_err(|error| self.lines.corrupt(&error))?;
        if self
            .last
            .as_ref()
            .is_some_and(|last| bytes(last) >= bytes(&entry.path))
        {
            return Err(self.lines.corrupt("the entries are not in order"));
        }
        let counted = u64::from(entry.path != Path::new(TOP));
        self.tally.add(counted, entry.size, &line);
        self.last = Some(entry.path.clone());
        Ok(Some(entry))
    }
}

/// The two ends of a manifest, read in two steps however long it is. The footer is absent where it was cut short.
///
/// # Errors
/// `NotFound` where there is none; `Corrupt` where it does not begin with a header.
pub fn ends(files: &Files, directory: &Path) -> Result<(Header, Option<Footer>)> {
    const END: u64 = 1024;
    let path = directory.join(MANIFEST);
    let (mut file, stat) = open(files, directory, &path)?;
    let header = Lines::new(&file, path.clone()).header()?;
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(stat.size.saturating_sub(END)))
        .and_then(|_| file.take(END).read_to_end(&mut end))
        .map_err(|error| Error::io(format_args!("read `{}`", display(&path)), &error))?;
    let footer = end
        .strip_suffix(b"\n")
        .and_then(|end| end.rsplit(|byte| *byte == b'\n').next())
        .and_then(|line| serde_json::from_slice(line).ok());
    Ok((header, footer))
}

fn open(files: &Files, directory: &Path, path: &Path) -> Result<(std::fs::File, Stat)> {
    if files.stat(path)?.is_none() {
        return Err(Error::not_found(format!(
            "`{}` is no finished backup: it has no manifest",
            display(directory)
        ))
        .hint("look into it by hand; nothing of ours removes it"));
    }
    files.open_file(path)
}

fn header_from(line: &[u8]) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if header.version != VERSION {
        return Err(format!(
            "the format has version {}, not {VERSION}",
            header.version
        ));
    }
    Ok(header)
}

fn corrupt(path: &Path, line: usize, what: &str) -> Error {
    Error::corrupt(format!("`{}` line {line}: {what}", display(path)))
        .hint("the backup can't be trusted as a whole; its files can still be looked at")
}

/// Whole lines, each with its line feed; a last line without one is not there.
#[derive(Debug)]
struct Lines<R> {
    reader: BufReader<R>,
    path: PathBuf,
    number: usize,
}

impl<R: Read> Lines<R> {
    fn new(file: R, path: PathBuf) -> Self {
        Self {
            reader: BufReader::with_capacity(64 << 10, file),
            path,
            number: 0,
        }
    }

    fn header(&mut self) -> Result<Header> {
        match self.next()? {
            Some(line) => header_from(&line).map_err(|error| self.corrupt(&error)),
            None => Err(corrupt(&self.path, 1, "the header is missing")),
        }
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::with_capacity(256);
        self.number += 1;
        (&mut self.reader)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .map_err(|error| Error::io(format_args!("read `{}`", display(&self.path)), &error))?;
        if line.last() == Some(&b'\n') {
            return Ok(Some(line));
        }
        if line.len() as u64 >= LINE_LIMIT {
            return Err(self.corrupt("the line is too long"));
        }
        Ok(None)
    }

    fn corrupt(&self, what: &str) -> Error {
        corrupt(&self.path, self.number, what)
    }
}

//! What a backup holds, path by path: JSON lines in `.rollback-manifest.jsonl`, a header, entries sorted by the bytes
//! of their paths, and a footer whose root is the BLAKE3 of all entry lines.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::MANIFEST;
use crate::error::{Error, Result};
use crate::gate::Permit;
use crate::host::files::{EntryKind, Expect, Files, Stat, Step, Walked, shown};

const VERSION: u32 = 1;

/// No honest line is longer: a path of 4 KiB, and extended attributes of 64 KiB each.
const LINE_LIMIT: u64 = 4 << 20;

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
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    #[serde(rename = "type")]
    kind: EntryKind,
    size: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime_ns: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
}

/// A path as text where it is UTF-8, otherwise in base64.
fn encoded(path: &Path) -> (Option<String>, Option<String>) {
    match path.to_str() {
        Some(text) => (Some(text.to_owned()), None),
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

impl Entry {
    fn to_line(&self) -> Result<Vec<u8>> {
        let (path, path_b64) = encoded(&self.path);
        let (target, target_b64) = self.target.as_deref().map_or((None, None), encoded);
        let line = Line {
            path,
            path_b64,
            kind: self.kind,
            size: self.size,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime_ns: self.mtime_ns,
            xattrs: self.xattrs.clone(),
            target,
            target_b64,
            blake3: self.blake3.clone(),
        };
        to_line(&line)
    }

    fn from_line(line: &[u8]) -> Result<Self, String> {
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let path = decoded(line.path, line.path_b64)?.ok_or("there is no path")?;
        // A path of a manifest is joined to directories: it must not lead out of them.
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)))
            && path.components().collect::<PathBuf>().as_os_str() == path.as_os_str()
            && !path.as_os_str().is_empty();
        if !inside && path != Path::new(TOP) {
            return Err(format!("`{}` is not a path inside the backup", shown(&path)));
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

    /// The entry of a directory itself.
    pub(super) fn of_top(files: &Files, directory: &Path) -> Result<Self> {
        let stat = files
            .stat(directory)?
            .ok_or_else(|| Error::not_found(format!("`{}` does not exist", shown(directory))))?;
        Ok(Self::new(Path::new(TOP), &stat, files.attributes(directory)?))
    }
}

fn to_line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Error::bug(format!("a line of a manifest can't be written: {error}")))?;
    line.push(b'\n');
    Ok(line)
}

/// Where the digests of a new manifest come from.
#[derive(Clone, Copy)]
pub enum Digests<'a> {
    /// None are recorded.
    Without,
    /// Every file is read.
    Computed,
    /// Known from the copying, by the path from the backup's directory.
    Known(&'a dyn Fn(&Path) -> Option<blake3::Hash>),
}

impl std::fmt::Debug for Digests<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Without => "Without",
            Self::Computed => "Computed",
            Self::Known(_) => "Known",
        })
    }
}

/// The entries of what lies in a backup's directory, sorted, the manifest left out. The top directory is an entry
/// where `kind`, that of the source, is a directory.
///
/// # Errors
/// `Denied` where something is mounted inside; what the system says of what can't be read.
pub fn build(files: &Files, directory: &Path, kind: EntryKind, digests: Digests<'_>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if kind == EntryKind::Directory {
        entries.push(Entry::of_top(files, directory)?);
    }
    files.walk(directory, &mut |walked| {
        if walked.relative == Path::new(MANIFEST) {
            return Ok(Step::Continue);
        }
        if walked.stat.mount_point {
            return Err(
                Error::denied(format!("`{}` is a mount point", shown(walked.path)))
                    .hint("unmount it: a backup does not reach into other file systems"),
            );
        }
        let mut entry = Entry::of(walked)?;
        if entry.kind == EntryKind::File {
            entry.blake3 = match digests {
                Digests::Without => None,
                Digests::Computed => Some(walked.digest()?),
                Digests::Known(known) => known(walked.relative),
            }
            .map(|digest| digest.to_hex().to_string());
        }
        entries.push(entry);
        Ok(Step::Continue)
    })?;
    entries.sort_unstable_by(|left, right| bytes(&left.path).cmp(bytes(&right.path)));
    Ok(entries)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// Counts of entries, as in a footer.
#[derive(Default)]
struct Tally {
    entries: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl Tally {
    fn add(&mut self, entry: &Entry, line: &[u8]) {
        if entry.path != Path::new(TOP) {
            self.entries += 1;
        }
        self.bytes = self.bytes.saturating_add(entry.size);
        self.hasher.update(line);
    }

    fn footer(&self) -> Footer {
        Footer {
            entries: self.entries,
            bytes: self.bytes,
            root: self.hasher.finalize().to_hex().to_string(),
        }
    }
}

/// Writes the manifest of a backup, durably and in one piece; the directory keeps its mode and modification time.
///
/// # Errors
/// `Exists` or `Changed` where `expect` does not hold; what the system says. There is then no new manifest.
pub fn write(
    permit: &Permit,
    files: &Files,
    directory: &Path,
    header: &Header,
    entries: &[Entry],
    expect: &Expect,
) -> Result<Footer> {
    let mut contents = to_line(header)?;
    let mut tally = Tally::default();
    for entry in entries {
        let line = entry.to_line()?;
        tally.add(entry, &line);
        contents.extend(line);
    }
    let footer = tally.footer();
    contents.extend(to_line(&footer)?);

    let before = files
        .stat(directory)?
        .ok_or_else(|| Error::not_found(format!("`{}` does not exist", shown(directory))))?;
    let closed = before.mode & 0o300 != 0o300;
    if closed {
        files.set_mode(permit, directory, before.mode | 0o300)?;
    }
    let written = files.write(permit, &directory.join(MANIFEST), &contents, expect);
    if closed {
        files.set_mode(permit, directory, before.mode)?;
    }
    files.set_mtime(permit, directory, before.mtime_ns)?;
    written.map(|()| footer)
}

/// Reads a backup's manifest and checks it against its own footer.
///
/// # Errors
/// `NotFound` where there is none; `Corrupt`, with the line, where it is not what was written. A manifest that was cut
/// short is no error: its `footer` is absent.
pub fn read(files: &Files, directory: &Path) -> Result<Manifest> {
    let path = directory.join(MANIFEST);
    let (file, _) = open(files, directory, &path)?;
    let mut lines = Lines {
        reader: BufReader::new(file),
        path: &path,
        number: 0,
    };
    let header = match lines.next()? {
        Some(line) => header_from(&line).map_err(|error| lines.corrupt(&error))?,
        None => return Err(corrupt(&path, 1, "the header is missing")),
    };
    let mut manifest = Manifest {
        header,
        entries: Vec::new(),
        footer: None,
    };
    let mut tally = Tally::default();
    while let Some(line) = lines.next()? {
        if manifest.footer.is_some() {
            return Err(lines.corrupt("something stands after the footer"));
        }
        if let Ok(footer) = serde_json::from_slice::<Footer>(&line) {
            if footer != tally.footer() {
                return Err(lines.corrupt("the footer does not match the entries"));
            }
            manifest.footer = Some(footer);
            continue;
        }
        let entry = Entry::from_line(&line).map_err(|error| lines.corrupt(&error))?;
        if manifest
            .entries
            .last()
            .is_some_and(|last| bytes(&last.path) >= bytes(&entry.path))
        {
            return Err(lines.corrupt("the entries are not in order"));
        }
        tally.add(&entry, &line);
        manifest.entries.push(entry);
    }
    Ok(manifest)
}

/// The two ends of a manifest, read in two steps however long it is. The footer is absent where it was cut short.
///
/// # Errors
/// `NotFound` where there is none; `Corrupt` where it does not begin with a header.
pub fn ends(files: &Files, directory: &Path) -> Result<(Header, Option<Footer>)> {
    const END: u64 = 1024;
    let path = directory.join(MANIFEST);
    let (mut file, stat) = open(files, directory, &path)?;
    let mut lines = Lines {
        reader: BufReader::new(&file),
        path: &path,
        number: 0,
    };
    let header = match lines.next()? {
        Some(line) => header_from(&line).map_err(|error| lines.corrupt(&error))?,
        None => return Err(corrupt(&path, 1, "the header is missing")),
    };
    let mut end = Vec::new();
    file.seek(SeekFrom::Start(stat.size.saturating_sub(END)))
        .and_then(|_| file.take(END).read_to_end(&mut end))
        .map_err(|error| Error::io(format_args!("read `{}`", shown(&path)), &error))?;
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
            shown(directory)
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
    Error::corrupt(format!("`{}` line {line}: {what}", shown(path)))
        .hint("the backup can't be trusted as a whole; its files can still be looked at")
}

/// Whole lines, each with its line feed; a last line without one is not there.
struct Lines<'a, R: Read> {
    reader: BufReader<R>,
    path: &'a Path,
    number: usize,
}

impl<R: Read> Lines<'_, R> {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.number += 1;
        (&mut self.reader)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut line)
            .map_err(|error| Error::io(format_args!("read `{}`", shown(self.path)), &error))?;
        if line.last() == Some(&b'\n') {
            return Ok(Some(line));
        }
        if line.len() as u64 >= LINE_LIMIT {
            return Err(self.corrupt("the line is too long"));
        }
        Ok(None)
    }

    fn corrupt(&self, what: &str) -> Error {
        corrupt(self.path, self.number, what)
    }
}

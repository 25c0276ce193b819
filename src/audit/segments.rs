//! The files of the log: which there are, where the log ends, and its records in order.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::record::{self, Hash, LINE_LIMIT, check, hex};
use crate::base::error::{Error, Result};
use crate::report::AuditHead;

/// How much of the end of a segment is read at first.
const BLOCK: u64 = 16 << 10;

/// Where the log ends.
#[derive(Debug, Default)]
pub struct Tail {
    /// The last segment.
    pub segment: Option<PathBuf>,
    /// Identity of the log.
    pub log_id: Option<String>,
    /// Sequence number of the last record; 0 where there is none.
    pub sequence: u64,
    /// Hash of the last record.
    pub hash: Hash,
    /// Records in the last segment.
    pub segment_records: u64,
    /// Length to which the last segment must be cut, and how much is cut: what follows is a torn line.
    pub torn: Option<(u64, u64)>,
}

/// What the head file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadFile {
    /// It is not there, or nothing was ever written to it.
    Missing,
    /// It is not what the program would write.
    Unreadable,
    /// It names this record.
    Names(AuditHead),
}

/// The segments, in order.
///
/// # Errors
/// What the system says; a missing directory is an empty log.
pub fn segments(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list the audit log", &error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| Error::io("list the audit log", &error))?
            .path();
        if number(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The number of a segment file.
#[must_use]
pub fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".jsonl")
        .filter(|stem| stem.len() == 6 && stem.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

/// The name of a segment file.
#[must_use]
pub fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Opens a segment for reading; `None` for what is no regular file, which could keep a reader waiting for ever.
///
/// # Errors
/// What the system says.
pub fn open(segment: &Path) -> Result<Option<File>> {
    let failed = |error: std::io::Error| Error::io("open the audit log", &error);
    if !std::fs::symlink_metadata(segment).map_err(failed)?.is_file() {
        return Ok(None);
    }
    crate::workspace::open(segment).map(Some).map_err(failed)
}

/// The text of the head file, padded to one length: it is overwritten in place, and a shorter text would leave the end
/// of a longer one behind.
#[must_use]
pub fn head_text(head: &AuditHead) -> String {
    format!("{:<159}\n", serde_json::json!(head).to_string())
}

/// The head file.
#[must_use]
pub fn read_head(directory: &Path) -> HeadFile {
    let path = directory.join("head");
    let Ok(metadata) = std::fs::symlink_metadata(&path) else {
        return HeadFile::Missing;
    };
    if !metadata.is_file() || metadata.len() > 4096 {
        return HeadFile::Unreadable;
    }
    // It is made before the first record is written, and a full disk or a cut can come in between.
    if metadata.len() == 0 {
        return HeadFile::Missing;
    }
    let Ok(text) = crate::workspace::text(&path, 4096) else {
        return HeadFile::Unreadable;
    };
    match serde_json::from_str::<AuditHead>(&text) {
        Ok(head) if head_text(&head) == text || format!("{}\n", serde_json::json!(head)) == text => {
            HeadFile::Names(head)
        }
        _ => HeadFile::Unreadable,
    }
}

/// Finds the end of the log, from the ends of its last files alone, and holds it against the head file: a log that
/// was cut back must not be continued as if nothing were missing.
///
/// # Errors
/// [`crate::base::error::Kind::Corrupt`] where the log does not end with a record of ours, or not where the head says.
pub fn tail(directory: &Path) -> Result<Tail> {
    let mut found = segments(directory)?;
    let head = read_head(directory);
    let Some(segment) = found.pop() else {
        return match head {
            HeadFile::Missing => Ok(Tail::default()),
            _ => Err(damaged("the audit log has gone, and its head is still there")),
        };
    };
    let mut ending = Ending::of(&segment, &head)?;
    let mut tail = Tail {
        torn: ending.torn,
        ..Tail::default()
    };
    if let Some(last) = &ending.last {
        tail.segment_records = (last.seq + 1).saturating_sub(ending.first.unwrap_or(last.seq));
    } else {
        // The new segment is still empty (or holds only a torn line): the chain ends in the one before.
        let Some(before) = found.pop() else {
            tail.segment = Some(segment);
            return match head {
                HeadFile::Missing => Ok(tail),
                _ => Err(damaged("the audit log is empty, and its head names a record")),
            };
        };
        let torn = ending.torn;
        ending = Ending::of(&before, &head)?;
        if ending.last.is_none() || ending.torn.is_some() {
            return Err(not_a_record(&before));
        }
        ending.torn = torn;
    }
    let last = ending.last.as_ref().ok_or_else(|| not_a_record(&segment))?;
    // A record becomes the head only after it is on the disk, so the log is never behind its head.
    let agrees = match &head {
        HeadFile::Missing => last.seq == 1,
        HeadFile::Unreadable => false,
        HeadFile::Names(head) if head.log_id != last.log => false,
        HeadFile::Names(head) => {
            let mut rotated = || {
                let before = found.pop()?;
                Ending::of(&before, &HeadFile::Missing).ok()?.last
            };
            ending.named || rotated().is_some_and(|last| last.seq == head.seq && hex(&last.hash) == head.hash)
        }
    };
    if !agrees {
        return Err(damaged(
            "the audit log does not hold the record that its head names",
        ));
    }
    tail.log_id = Some(last.log.clone());
    tail.sequence = last.seq;
    tail.hash = last.hash;
    tail.segment = Some(segment);
    Ok(tail)
}

/// A new segment behind the last whole record of a log whose end is damaged.
///
/// # Errors
/// What the system says.
pub fn after_damage(directory: &Path) -> Result<Tail> {
    let mut tail = Tail::default();
    lines(directory, |line| {
        if let Some(record) = check(line) {
            tail.log_id = Some(record.front.log.to_owned());
            tail.sequence = record.front.seq;
            tail.hash = record.hash;
        }
    })?;
    let last = segments(directory)?.iter().filter_map(|path| number(path)).max();
    tail.segment = Some(directory.join(segment_name(last.unwrap_or(0) + 1)));
    Ok(tail)
}

/// The file name of a segment.
#[must_use]
pub fn segment_name(number: u64) -> String {
    format!("{number:06}.jsonl")
}

fn damaged(what: &str) -> Error {
    Error::corrupt(what).hint(
        "nothing is done while the log can't be trusted; `rollback audit verify` names the damage; to begin a new log, \
         keep the old one: move `.rollback/audit` aside",
    )
}

fn not_a_record(segment: &Path) -> Error {
    damaged(&format!(
        "the end of audit segment `{}` is not a record",
        name(segment)
    ))
}

/// The end of one segment.
struct Ending {
    /// Number of the segment's first record.
    first: Option<u64>,
    last: Option<Last>,
    /// Whether the record that the head names is among those that were read.
    named: bool,
    torn: Option<(u64, u64)>,
}

struct Last {
    seq: u64,
    hash: Hash,
    log: String,
}

impl Ending {
    /// Reads back from the end until the last whole line and the record that the head names were seen. The head lags
    /// by the few records that need not be on the disk yet.
    fn of(segment: &Path, head: &HeadFile) -> Result<Self> {
        let failed = |error: std::io::Error| Error::io("read the audit log", &error);
        let file = open(segment)?.ok_or_else(|| not_a_record(segment))?;
        let length = file.metadata().map_err(failed)?.len();
        let limit = 2 * LINE_LIMIT as u64;
        let mut span = BLOCK;
        loop {
            let from = length.saturating_sub(span.min(limit));
            let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(0)];
            file.read_exact_at(&mut bytes, from).map_err(failed)?;
            let ending = Self::within(&bytes, from, head)
                .ok_or_else(|| not_a_record(segment))
                .map(|mut ending| {
                    ending.first = first_seq(&file);
                    ending
                });
            let whole = from == 0 || span >= limit;
            match ending {
                Ok(ending) if whole || (ending.last.is_some() && ending.named) => return Ok(ending),
                Err(error) if whole => return Err(error),
                _ => span *= 8,
            }
        }
    }

    fn within(bytes: &[u8], from: u64, head: &HeadFile) -> Option<Self> {
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = end.map_or(0, |end| end + 1);
        let rest = bytes.get(whole..)?;
        // More than a torn line, or a record with something else in the place of its line feed.
        if rest.len() > LINE_LIMIT
            || (end.is_none() && from > 0)
            || Torn::of(rest).is_some_and(|torn| torn.edited)
        {
            return None;
        }
        let mut ending = Self {
            first: None,
            last: None,
            named: false,
            torn: (!rest.is_empty()).then_some((from + whole as u64, rest.len() as u64)),
        };
        let Some(end) = end else { return Some(ending) };
        let (wanted, hash) = match head {
            HeadFile::Names(head) => (head.seq, head.hash.as_str()),
            _ => (u64::MAX, ""),
        };
        for line in bytes.get(..end)?.rsplit(|byte| *byte == b'\n') {
            let Some(record) = check(line) else {
                // The last line must be one; the first may be cut by the block, and older damage is none of ours.
                ending.last.as_ref()?;
                break;
            };
            ending.named |= record.front.seq == wanted && hex(&record.hash) == hash;
            ending.last.get_or_insert_with(|| Last {
                seq: record.front.seq,
                hash: record.hash,
                log: record.front.log.to_owned(),
            });
            if record.front.seq <= wanted {
                break;
            }
        }
        Some(ending)
    }
}

/// The number of the record at the beginning of a segment, from a few bytes of it.
fn first_seq(file: &File) -> Option<u64> {
    let mut bytes = [0; 64];
    let read = file.read_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..read)?).into_owned();
    record::claimed_seq(&text).map(|(seq, _)| seq)
}

/// What stands behind the last line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// The number of the whole record that it begins with.
    pub seq: u64,
    /// The hash of the record before that.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
    /// Whether the record is followed by something that no crash leaves: neither nothing nor the zeros of a block that
    /// was never written.
    pub edited: bool,
}

impl Torn {
    /// A whole record without its line feed; `None` where only a part of one is there.
    #[must_use]
    pub fn of(rest: &[u8]) -> Option<Self> {
        let ends = rest
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| *pair == b"\"}")
            .map(|(at, _)| at + 2);
        // Few candidates: hostile text could look like the end of a record at every turn.
        ends.filter(|end| rest.get(..*end).is_some_and(record::looks_sealed))
            .take(4)
            .find_map(|end| Some((check(rest.get(..end)?)?, rest.get(end..)?)))
            .map(|(record, after)| Self {
                seq: record.front.seq,
                prev: record.prev,
                hash: record.hash,
                edited: after.iter().any(|byte| *byte != 0),
            })
    }
}

/// Every line of the log, in order, without its line feed. What has none, or is longer than a record can be, is left
/// out.
///
/// # Errors
/// What the system says.
pub fn lines(directory: &Path, mut each: impl FnMut(&[u8])) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("read the audit log", &error);
    for segment in segments(directory)? {
        let Some(file) = open(&segment)? else { continue };
        let mut reader = BufReader::with_capacity(1 << 17, file);
        let mut line = Vec::new();
        let mut within = false;
        loop {
            line.clear();
            let limit = LINE_LIMIT as u64 + 1;
            let read = reader.by_ref().take(limit).read_until(b'\n', &mut line);
            if read.map_err(failed)? == 0 {
                break;
            }
            let ended = line.ends_with(b"\n");
            line.pop();
            if ended && !within && line.len() <= LINE_LIMIT {
                each(&line);
            }
            within = !ended;
        }
    }
    Ok(())
}

/// Every record of the log, in order, as far as lines can be read.
///
/// # Errors
/// What the system says.
pub fn read(directory: &Path, mut each: impl FnMut(&Map<String, Value>)) -> Result<()> {
    lines(directory, |line| {
        if let Ok(record) = serde_json::from_slice::<Map<String, Value>>(line) {
            each(&record);
        }
    })
}

/// The records of one run, in order. Those of others are passed over by a look at their first fields.
///
/// # Errors
/// What the system says.
pub fn read_run(directory: &Path, run: &str, mut each: impl FnMut(&Map<String, Value>)) -> Result<()> {
    lines(directory, |line| {
        let other = std::str::from_utf8(line)
            .ok()
            .and_then(record::front)
            .is_some_and(|front| front.run != run);
        if other {
            return;
        }
        if let Ok(record) = serde_json::from_slice::<Map<String, Value>>(line)
            && record.get("run").and_then(Value::as_str) == Some(run)
        {
            each(&record);
        }
    })
}

//! Reading the audit log back: where it ends, whether the chain holds, and what kind of damage it has.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::report::AuditHead;

/// The longest line that is read, in bytes.
const LINE_LIMIT: u64 = 4 << 20;

/// The hash of a record: BLAKE3 of its canonical line without the field `hash`.
#[must_use]
pub fn hash(record: &Map<String, Value>) -> String {
    let mut hasher = blake3::Hasher::new();
    // Records are small; serialising to a string first keeps one code path for writing and hashing.
    let line = serde_json::to_string(record).unwrap_or_default();
    hasher.update(line.as_bytes());
    hasher.finalize().to_hex().to_string()
}

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
    pub hash: Option<String>,
    /// Records in the last segment.
    pub segment_records: u64,
    /// Length to which the last segment must be cut: what follows is a torn line.
    pub torn_at: Option<u64>,
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
        if segment_number(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The number of a segment file.
#[must_use]
pub fn segment_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".jsonl")
        .filter(|stem| stem.len() == 6)?
        .parse()
        .ok()
}

/// Finds the end of the log; reads only the last lines of the last segment.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] where the last whole line is not a record of ours.
pub fn tail(directory: &Path) -> Result<Tail> {
    let mut found = segments(directory)?;
    let Some(segment) = found.pop() else {
        return Ok(Tail::default());
    };
    let mut file = std::fs::File::open(&segment).map_err(|error| Error::io("open the audit log", &error))?;
    let length = file
        .metadata()
        .map_err(|error| Error::io("look at the audit log", &error))?
        .len();
    let (last, torn_at) = last_line(&mut file, length)?;
    let mut end = Tail {
        segment: Some(segment.clone()),
        torn_at,
        ..Tail::default()
    };
    let line = match last {
        Some(line) => line,
        // The new segment is still empty (or holds only a torn line): the chain ends in the one before.
        None => match found.pop() {
            Some(before) => {
                let mut file =
                    std::fs::File::open(&before).map_err(|error| Error::io("open the audit log", &error))?;
                let length = file
                    .metadata()
                    .map_err(|error| Error::io("look at the audit log", &error))?
                    .len();
                match last_line(&mut file, length)?.0 {
                    Some(line) => line,
                    None => return Err(damaged(&before)),
                }
            }
            None => return Ok(end),
        },
    };
    let record: Map<String, Value> = serde_json::from_slice(&line).map_err(|_| damaged(&segment))?;
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(str::to_owned);
    end.log_id = text("log");
    end.hash = text("hash");
    end.sequence = record
        .get("seq")
        .and_then(Value::as_u64)
        .ok_or_else(|| damaged(&segment))?;
    if end.hash.is_none() || end.log_id.is_none() {
        return Err(damaged(&segment));
    }
    file.rewind()
        .map_err(|error| Error::io("read the audit log", &error))?;
    end.segment_records = BufReader::new(file).split(b'\n').count() as u64;
    Ok(end)
}

fn damaged(segment: &Path) -> Error {
    let name = segment
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Error::corrupt(format!("the end of audit segment `{name}` is not a record"))
        .hint("`rollback audit verify` names the damage; keep the file, and move `.rollback/audit` aside to begin a new log")
}

/// The last whole line, and where a torn line begins behind it.
fn last_line(file: &mut std::fs::File, length: u64) -> Result<(Option<Vec<u8>>, Option<u64>)> {
    let from = length.saturating_sub(2 * LINE_LIMIT);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))
        .and_then(|_| file.take(2 * LINE_LIMIT).read_to_end(&mut bytes))
        .map_err(|error| Error::io("read the audit log", &error))?;
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
        return Ok((None, (!bytes.is_empty()).then_some(from)));
    };
    let torn = (end + 1 < bytes.len()).then(|| from + end as u64 + 1);
    let start = bytes
        .get(..end)
        .and_then(|line| line.iter().rposition(|byte| *byte == b'\n'))
        .map_or(0, |at| at + 1);
    Ok((bytes.get(start..end).map(<[u8]>::to_vec), torn))
}

/// One finding of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// `edited`, `deleted`, `inserted`, `reordered`, `truncated`, `replaced`, `empty` or `torn-tail`.
    pub kind: &'static str,
    /// The segment's file name.
    pub segment: String,
    /// The sequence number at which it shows.
    pub seq: u64,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Whole records.
    pub records: u64,
    /// The last record.
    pub head: Option<AuditHead>,
    /// What is wrong; a torn tail alone is not tampering.
    pub damage: Vec<Damage>,
}

impl Verified {
    /// No damage, or only a torn last line.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.iter().all(|damage| damage.kind == "torn-tail")
    }

    /// `rollback.audit/1`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schema": "rollback.audit/1", "ok": self.is_sound(), "records": self.records,
            "head": self.head, "damage": self.damage,
        })
    }
}

/// Every record of the log, in order, as far as lines can be read. For `audit show` and the history.
///
/// # Errors
/// What the system says.
pub fn read(directory: &Path, mut each: impl FnMut(&Map<String, Value>)) -> Result<()> {
    for segment in segments(directory)? {
        let file = std::fs::File::open(&segment).map_err(|error| Error::io("open the audit log", &error))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader
                .by_ref()
                .take(LINE_LIMIT)
                .read_until(b'\n', &mut line)
                .map_err(|error| Error::io("read the audit log", &error))?;
            if read == 0 {
                break;
            }
            if let Ok(record) = serde_json::from_slice::<Map<String, Value>>(&line) {
                each(&record);
            }
        }
    }
    Ok(())
}

/// Checks the whole chain, against `expected` and the head file.
///
/// # Errors
/// What the system says; damage is no error here.
pub fn verify(directory: &Path, expected: Option<&str>) -> Result<Verified> {
    let mut walk = Walk::default();
    let all = segments(directory)?;
    let head_file = read_head(directory);
    for (index, segment) in all.iter().enumerate() {
        let name = segment
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let file = std::fs::File::open(segment).map_err(|error| Error::io("open the audit log", &error))?;
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        let mut any = false;
        loop {
            line.clear();
            let read = reader
                .by_ref()
                .take(LINE_LIMIT)
                .read_until(b'\n', &mut line)
                .map_err(|error| Error::io("read the audit log", &error))?;
            if read == 0 {
                break;
            }
            any = true;
            let whole = line.ends_with(b"\n");
            if !whole && index + 1 == all.len() {
                walk.report("torn-tail", &name, walk.next);
                break;
            }
            walk.line(&name, line.strip_suffix(b"\n").unwrap_or(&line));
        }
        if !any && (index + 1 < all.len() || all.len() == 1) {
            walk.report("empty", &name, walk.next);
        }
    }
    walk.settle(expected, head_file.as_ref());
    if all.is_empty() && head_file.is_some() {
        walk.verified.damage.push(Damage {
            kind: "empty",
            segment: "000001.jsonl".to_owned(),
            seq: 1,
        });
    }
    Ok(walk.verified)
}

/// The head file, if it can be read.
#[must_use]
pub fn read_head(directory: &Path) -> Option<AuditHead> {
    let text = std::fs::read_to_string(directory.join("head")).ok()?;
    serde_json::from_str(&text).ok()
}

/// The walk along the chain.
#[derive(Default)]
struct Walk {
    verified: Verified,
    next: u64,
    prev: Option<String>,
    log_id: Option<String>,
    seen: std::collections::HashMap<u64, (String, String)>,
    segment: String,
}

impl Walk {
    fn report(&mut self, kind: &'static str, segment: &str, seq: u64) {
        self.verified.damage.push(Damage {
            kind,
            segment: segment.to_owned(),
            seq: seq.max(1),
        });
    }

    fn line(&mut self, segment: &str, line: &[u8]) {
        segment.clone_into(&mut self.segment);
        if self.next == 0 {
            self.next = 1;
        }
        let Some((record, own)) = parse(line) else {
            self.report("edited", segment, self.next);
            self.next += 1;
            self.prev = None;
            return;
        };
        let seq = record.get("seq").and_then(Value::as_u64).unwrap_or(0);
        let prev = record
            .get("prev")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let log = record
            .get("log")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        self.verified.records += 1;
        if self.log_id.as_ref().is_some_and(|id| *id != log) {
            self.report("replaced", segment, seq);
        }
        self.log_id.get_or_insert(log.clone());
        // The record before it by number: the one before it in the file may have been moved there.
        let before = self
            .seen
            .get(&seq.saturating_sub(1))
            .map(|(hash, _)| hash)
            .or(self.prev.as_ref());
        let follows = before.is_none_or(|hash| *hash == prev);
        if seq == self.next {
            if !follows {
                self.report("edited", segment, seq);
            }
        } else if self.seen.get(&seq).is_some_and(|(hash, _)| *hash == own) {
            self.report("inserted", segment, seq);
            return;
        } else if seq > self.next {
            self.report("deleted", segment, self.next);
        } else {
            self.report("reordered", segment, seq);
        }
        self.seen.insert(seq, (own.clone(), segment.to_owned()));
        self.next = seq.max(self.next.saturating_sub(1)) + 1;
        self.prev = Some(own.clone());
        if self.verified.head.as_ref().is_none_or(|head| head.seq <= seq) {
            self.verified.head = Some(AuditHead {
                log_id: log,
                seq,
                hash: own,
            });
        }
    }

    /// A record that is missing at one place and stands at another was moved, not deleted; then the heads.
    fn settle(&mut self, expected: Option<&str>, head: Option<&AuditHead>) {
        let reordered = self
            .verified
            .damage
            .iter()
            .any(|damage| damage.kind == "reordered");
        if reordered {
            let seen = &self.seen;
            self.verified
                .damage
                .retain(|damage| damage.kind != "deleted" || !seen.contains_key(&damage.seq));
        }
        let segment = self.segment.clone();
        if let Some(head) = head {
            match self.seen.get(&head.seq) {
                Some((hash, _)) if *hash == head.hash => {}
                Some((_, place)) => {
                    let place = place.clone();
                    if self.verified.damage.is_empty() {
                        self.report("replaced", &place, head.seq);
                    }
                }
                None if self.log_id.as_ref().is_some_and(|id| *id != head.log_id) => {
                    self.report("replaced", &segment, head.seq);
                }
                None if self
                    .verified
                    .damage
                    .iter()
                    .all(|damage| damage.kind == "torn-tail") =>
                {
                    self.report("truncated", &segment, head.seq);
                }
                None => {}
            }
        }
        if let Some(expected) = expected
            && !self.seen.values().any(|(hash, _)| hash == expected)
            && self.verified.is_sound()
        {
            let seq = self.verified.head.as_ref().map_or(1, |head| head.seq + 1);
            self.report("truncated", &segment, seq);
        }
    }
}

/// The record of a line and its hash, where the line is to the byte what we would write for it.
fn parse(line: &[u8]) -> Option<(Map<String, Value>, String)> {
    let mut record: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let written = serde_json::to_string(&record).ok()?;
    let claimed = record.shift_remove("hash")?.as_str()?.to_owned();
    let own = hash(&record);
    (written.as_bytes() == line && claimed == own).then_some((record, own))
}

//! Checking the whole log: several threads read its files in pieces, then the pieces are held against each other, the
//! head file and the heads that were kept elsewhere. Memory does not grow with the length of a sound log.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use serde::Serialize;
use serde_json::{Value, json};

use super::anchors::Anchor;
use super::record::{Hash, LINE_LIMIT, Sealed, beginnings, check, claimed_seq, unhex};
use super::segments::{self, HeadFile, Torn};
use super::verdict;
use crate::base::error::{Error, Result};
use crate::report::AuditHead;

/// How much of a file one thread takes at a time.
const CHUNK: u64 = 2 << 20;

/// One finding of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// `edited`, `deleted`, `inserted`, `reordered`, `truncated`, `replaced`, `empty` or `torn-tail`.
    pub kind: &'static str,
    /// The segment's file name; `head` for the head file.
    pub segment: String,
    /// The sequence number at which it shows.
    pub seq: u64,
    /// Where the head was kept that tells, if the log alone does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
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
    /// Findings beyond those that are listed.
    pub more: u64,
    /// Heads that were kept elsewhere and name records of this log.
    pub anchors: u64,
    /// Heads that were kept elsewhere and belong to an earlier log, one that was moved aside.
    pub earlier: u64,
    /// Why heads that were kept elsewhere may be missing: what could not be looked at.
    pub unseen: Vec<String>,
}

impl Verified {
    /// No damage, or only a torn last line.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.iter().all(|damage| damage.kind == "torn-tail")
    }

    /// Whether the log holds; `None` where nothing is wrong with what was seen, and not all was.
    #[must_use]
    pub fn verdict(&self) -> Option<bool> {
        match (self.is_sound(), self.unseen.is_empty()) {
            (false, _) => Some(false),
            (true, true) => Some(true),
            (true, false) => None,
        }
    }

    /// `rollback.audit/1`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schema": "rollback.audit/1", "ok": self.verdict(), "records": self.records,
            "head": self.head, "damage": self.damage, "more_damage": self.more,
            "anchors": { "checked": self.anchors, "of_earlier_logs": self.earlier },
            "unknown": self.unseen,
        })
    }
}

/// Checks the whole chain, against `expected` and the head file.
///
/// # Errors
/// What the system says; damage is no error here.
pub fn verify(directory: &Path, expected: Option<&str>) -> Result<Verified> {
    verify_against(directory, expected, &[])
}

/// Checks the whole chain, against `expected`, the head file, and heads that were kept elsewhere, oldest first.
///
/// # Errors
/// What the system says; damage is no error here.
pub fn verify_against(directory: &Path, expected: Option<&str>, anchors: &[Anchor]) -> Result<Verified> {
    // The head first: a run at work may append while this goes on, and its newest head is not in what was read.
    let head = segments::read_head(directory);
    let mut sources = Vec::new();
    for path in segments::segments(directory)? {
        let file = segments::open(&path)?;
        let length = match &file {
            Some(file) => file
                .metadata()
                .map_err(|error| Error::io("look at the audit log", &error))?
                .len(),
            None => 0,
        };
        sources.push(Source {
            name: segments::name(&path),
            file,
            length,
        });
    }
    let mut wanted = Wanted::default();
    wanted.seqs.extend(anchors.iter().map(|anchor| anchor.head.seq));
    if let HeadFile::Names(head) = &head {
        wanted.seqs.insert(head.seq);
        wanted.hashes.extend(unhex(&head.hash));
    }
    wanted.hashes.extend(expected.and_then(unhex));
    let log = take_in(&sources, &wanted)?;
    Ok(verdict::judge(&verdict::Case {
        log,
        segments: sources
            .iter()
            .map(|source| verdict::Segment {
                name: source.name.clone(),
                empty: source.length == 0,
                regular: source.file.is_some(),
            })
            .collect(),
        head,
        expected: expected.map(str::to_owned),
        anchors,
    }))
}

/// One file of the log.
struct Source {
    name: String,
    file: Option<File>,
    length: u64,
}

/// The records that something outside names.
#[derive(Debug, Default)]
struct Wanted {
    seqs: BTreeSet<u64>,
    hashes: Vec<Hash>,
}

/// The log as it was read: what hangs together, and what does not.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// In the order of the files, each with the number of its file.
    pub pieces: Vec<(usize, Piece)>,
    /// Sound records.
    pub records: u64,
    /// The records of wanted numbers.
    pub by_seq: HashMap<u64, Vec<Hash>>,
    /// The numbers of wanted hashes.
    pub by_hash: HashMap<Hash, u64>,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Records that follow each other, number by number and hash by hash.
    Run(Run),
    /// Lines that are no records; the number that the first of them claims.
    Broken { lines: u64, claims: Option<u64> },
    /// Two records on one line: the line feed between them was changed.
    Joined,
    /// What stands behind the last line feed of the log; the record that it begins with.
    Torn(Option<Torn>),
}

/// Records that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub first: u64,
    pub last: u64,
    /// What the first names as the hash before it.
    pub prev: Hash,
    /// The hash of the last.
    pub hash: Hash,
    pub log: Box<str>,
}

/// Reads all files with as many threads as there are processors.
fn take_in(sources: &[Source], wanted: &Wanted) -> Result<Taken> {
    let mut tasks = Vec::new();
    for (segment, source) in sources.iter().enumerate() {
        let mut from = 0;
        while from < source.length {
            let to = (from + CHUNK).min(source.length);
            tasks.push((segment, from..to));
            from = to;
        }
    }
    let next = AtomicUsize::new(0);
    let work = |tell: &mut dyn FnMut(usize, Result<Taken>)| {
        let mut buffer = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((segment, range)) = tasks.get(at) else {
                return;
            };
            let Some(source) = sources.get(*segment) else {
                return;
            };
            let mut chunk = Chunk::new(*segment, wanted);
            let last = segment + 1 == sources.len();
            let done = chunk.take(source, range.clone(), last, &mut buffer);
            tell(at, done.map(|()| chunk.taken));
        }
    };
    let mut parts: Vec<Option<Result<Taken>>> = std::iter::repeat_with(|| None).take(tasks.len()).collect();
    let mut keep = |at: usize, part| {
        if let Some(place) = parts.get_mut(at) {
            *place = Some(part);
        }
    };
    if tasks.len() > 1 {
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..threads.min(tasks.len()) {
                let (sender, work) = (sender.clone(), &work);
                scope.spawn(move || {
                    work(&mut |at, part| {
                        // The receiver lives as long as the scope.
                        let _ = sender.send((at, part));
                    });
                });
            }
            drop(sender);
            for (at, part) in receiver {
                keep(at, part);
            }
        });
    } else {
        work(&mut keep);
    }
    let mut log = Taken::default();
    for part in parts.into_iter().flatten() {
        let part = part?;
        log.records += part.records;
        log.pieces.extend(part.pieces);
        for (seq, hashes) in part.by_seq {
            log.by_seq.entry(seq).or_default().extend(hashes);
        }
        log.by_hash.extend(part.by_hash);
    }
    Ok(log)
}

/// The lines that begin in one stretch of a file.
struct Chunk<'wanted> {
    segment: usize,
    wanted: &'wanted Wanted,
    taken: Taken,
}

impl<'wanted> Chunk<'wanted> {
    fn new(segment: usize, wanted: &'wanted Wanted) -> Self {
        Self {
            segment,
            wanted,
            taken: Taken::default(),
        }
    }

    fn take(
        &mut self,
        source: &Source,
        range: std::ops::Range<u64>,
        last: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(file) = &source.file else { return Ok(()) };
        let failed = |error: std::io::Error| Error::io("read the audit log", &error);
        // One byte before: a line that begins here follows a line feed.
        let from = range.start.saturating_sub(1);
        buffer.clear();
        fill(file, from, range.end, buffer).map_err(failed)?;
        let mut at = if range.start == 0 {
            0
        } else {
            match find_feed(buffer, 0) {
                Some(feed) => feed + 1,
                None => return Ok(()),
            }
        };
        let mut end = from + buffer.len() as u64;
        let inside = buffer.len();
        while at < inside {
            if let Some(feed) = find_feed(buffer, at) {
                self.line(buffer.get(at..feed).unwrap_or_default());
                at = feed + 1;
                continue;
            }
            // The last line goes on behind the stretch.
            let more = end + (64 << 10);
            let before = buffer.len();
            fill(file, end, more.min(source.length), buffer).map_err(failed)?;
            end = from + buffer.len() as u64;
            if buffer.len() == before {
                self.without_feed(buffer.get(at..).unwrap_or_default(), last);
                return Ok(());
            }
            if buffer.len() - at > LINE_LIMIT + 1 && find_feed(buffer, at).is_none() {
                // No record is as long as that: there is nothing more to learn from it.
                self.broken(None);
                return Ok(());
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) {
        if let Some(record) = check(line) {
            self.record(&record);
            return;
        }
        // Two records in one line: the line feed between them is gone, or is another byte.
        for start in beginnings(line).take(4) {
            for end in [start, start.saturating_sub(1)] {
                let (Some(before), Some(after)) = (line.get(..end), line.get(start..)) else {
                    continue;
                };
                if let (Some(before), Some(after)) = (check(before), check(after)) {
                    self.record(&before);
                    self.push(Piece::Joined);
                    self.record(&after);
                    return;
                }
            }
        }
        let start = line.get(..64.min(line.len())).unwrap_or_default();
        self.broken(claimed_seq(&String::from_utf8_lossy(start)).map(|(seq, _)| seq));
    }

    fn without_feed(&mut self, rest: &[u8], last: bool) {
        if !last || rest.len() > LINE_LIMIT {
            return self.broken(None);
        }
        self.push(Piece::Torn(Torn::of(rest)));
    }

    fn record(&mut self, record: &Sealed<'_>) {
        let seq = record.front.seq;
        self.taken.records += 1;
        if self.wanted.seqs.contains(&seq) {
            self.taken.by_seq.entry(seq).or_default().push(record.hash);
        }
        if self.wanted.hashes.contains(&record.hash) {
            self.taken.by_hash.insert(record.hash, seq);
        }
        if let Some((_, Piece::Run(run))) = self.taken.pieces.last_mut()
            && run.last.checked_add(1) == Some(seq)
            && run.hash == record.prev
            && *run.log == *record.front.log
        {
            run.last = seq;
            run.hash = record.hash;
            return;
        }
        self.push(Piece::Run(Run {
            first: seq,
            last: seq,
            prev: record.prev,
            hash: record.hash,
            log: record.front.log.into(),
        }));
    }

    fn broken(&mut self, claims: Option<u64>) {
        if let Some((_, Piece::Broken { lines, .. })) = self.taken.pieces.last_mut() {
            *lines += 1;
        } else {
            self.push(Piece::Broken { lines: 1, claims });
        }
    }

    fn push(&mut self, piece: Piece) {
        self.taken.pieces.push((self.segment, piece));
    }
}

/// Appends the bytes of a stretch of a file; fewer where it ends.
fn fill(file: &File, from: u64, to: u64, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    let start = buffer.len();
    let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    buffer.resize(start + wanted, 0);
    let mut got = 0;
    while got < wanted {
        let space = buffer.get_mut(start + got..).unwrap_or_default();
        match file.read_at(space, from + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(start + got);
    Ok(())
}

fn find_feed(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(b'\n', bytes.get(from..)?).map(|at| from + at)
}

//! What is wrong with a log, from the pieces in which it was found: which records are missing, which are there twice or
//! elsewhere, which lines are no records, and whether the log ends where the heads say.
//!
//! The longest row of records whose numbers rise is taken for the log itself; all else is named by its place beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::anchors::Anchor;
use super::chain::{Damage, Piece, Run, Taken, Verified};
use super::record::{Hash, ORIGIN, hex, unhex};
use super::segments::{HeadFile, Torn};
use crate::report::AuditHead;

/// Findings that are listed one by one.
const LISTED: usize = 1000;

/// All that a verification knows.
pub(super) struct Case<'a> {
    pub log: Taken,
    pub segments: Vec<Segment>,
    pub head: HeadFile,
    pub expected: Option<String>,
    pub anchors: &'a [Anchor],
}

/// A file of the log.
pub(super) struct Segment {
    pub name: String,
    pub empty: bool,
    pub regular: bool,
}

/// Names the damage.
pub(super) fn judge(case: &Case<'_>) -> Verified {
    let mut judge = Judge::of(case);
    judge.files();
    judge.along();
    judge.end();
    judge.heads();
    judge.verified.damage.sort_by_key(|damage| damage.seq);
    judge.verified
}

/// A part of a run that another run does not overlap, except as a whole.
#[derive(Debug, Clone, Copy)]
struct Part {
    first: u64,
    last: u64,
    /// Unknown within a run.
    prev: Option<Hash>,
    hash: Option<Hash>,
    /// Where it stands among the pieces.
    piece: usize,
    main: bool,
}

struct Judge<'a> {
    case: &'a Case<'a>,
    /// Identity of the log.
    log: Option<&'a str>,
    parts: Vec<Part>,
    /// Records that stand in another place than their number says: first to last.
    moved: BTreeMap<u64, u64>,
    seen: BTreeSet<(&'static str, String, u64)>,
    verified: Verified,
    /// The number that comes next.
    next: u64,
    /// The hash of the record before.
    hash: Option<Hash>,
    /// Lines since then that are no records, and whether any of them is a record of another log.
    stray: Stray,
    /// Whether something stands behind the last line feed, and the whole record that it begins with.
    torn: bool,
    torn_record: Option<Torn>,
    segment: usize,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stray {
    lines: u64,
    foreign: bool,
    claims: Option<u64>,
}

impl<'a> Judge<'a> {
    fn of(case: &'a Case<'a>) -> Self {
        let log = principal(case);
        let mut parts = elementary(&case.log.pieces, log);
        main_line(&mut parts);
        let whole: BTreeSet<u64> = parts
            .iter()
            .filter(|part| part.main)
            .map(|part| part.first)
            .collect();
        let moved = parts
            .iter()
            .filter(|part| !part.main && !whole.contains(&part.first))
            .map(|part| (part.first, part.last))
            .collect();
        let verified = Verified {
            records: case.log.records,
            ..Verified::default()
        };
        Self {
            case,
            log,
            parts,
            moved,
            seen: BTreeSet::new(),
            verified,
            next: 1,
            hash: Some(ORIGIN),
            stray: Stray::default(),
            torn: false,
            torn_record: None,
            segment: 0,
        }
    }

    fn report(&mut self, kind: &'static str, seq: u64, against: Option<&str>) {
        let name = self.case.segments.get(self.segment);
        let name = name.map_or_else(|| "000001.jsonl".to_owned(), |segment| segment.name.clone());
        self.report_in(kind, name, seq, against);
    }

    fn report_in(&mut self, kind: &'static str, segment: String, seq: u64, against: Option<&str>) {
        let seq = seq.max(1);
        if !self.seen.insert((kind, segment.clone(), seq)) {
            return;
        }
        if self.verified.damage.len() >= LISTED {
            self.verified.more += 1;
            return;
        }
        self.verified.damage.push(Damage {
            kind,
            segment,
            seq,
            against: against.map(str::to_owned),
        });
    }

    /// Files that are empty where records were, or no files.
    fn files(&mut self) {
        let count = self.case.segments.len();
        let known = !matches!(self.case.head, HeadFile::Missing) || !self.case.anchors.is_empty();
        for (at, segment) in self.case.segments.iter().enumerate() {
            self.segment = at;
            let before = self.case.log.pieces.iter().rev().find(|(place, _)| *place < at);
            let seq = match before {
                Some((_, Piece::Run(run))) => run.last.saturating_add(1),
                _ => 1,
            };
            if !segment.regular {
                self.report("replaced", seq, None);
            } else if segment.empty && (at + 1 < count || (count == 1 && known)) {
                // Only a segment that was just begun may be empty; the very first one while nothing names a record.
                self.report("empty", seq, None);
            }
        }
        if count == 0 && known {
            let against = self.case.anchors.last().map(|anchor| anchor.place.as_str());
            self.report("empty", 1, against);
        }
    }

    /// From the first record to the last.
    fn along(&mut self) {
        let case = self.case;
        let parts = std::mem::take(&mut self.parts);
        let mut parts = parts.iter().peekable();
        for (at, (segment, piece)) in case.log.pieces.iter().enumerate() {
            self.segment = *segment;
            match piece {
                Piece::Run(run) if Some(&*run.log) != self.log => {
                    self.stray.lines += run.last - run.first + 1;
                    self.stray.foreign = true;
                }
                Piece::Run(_) => {
                    while let Some(part) = parts.next_if(|part| part.piece == at) {
                        self.part(part);
                    }
                }
                Piece::Broken { lines, claims } => {
                    self.stray.claims = if self.stray.lines == 0 {
                        *claims
                    } else {
                        self.stray.claims
                    };
                    self.stray.lines += lines;
                }
                Piece::Joined => self.report("edited", self.next.saturating_sub(1), None),
                Piece::Torn(torn) => (self.torn, self.torn_record) = (true, *torn),
            }
        }
    }

    fn part(&mut self, part: &Part) {
        if !part.main {
            let kind = if self.moved.contains_key(&part.first) {
                "reordered"
            } else {
                "inserted"
            };
            self.report(kind, part.first, None);
            return;
        }
        if part.first > self.next {
            self.gap(part.first, "deleted", None);
        } else {
            self.odd_lines();
            if let (Some(before), Some(prev)) = (self.hash, part.prev)
                && before != prev
            {
                // Its hash was made anew, and the next record still names the old one.
                self.report("edited", self.next.saturating_sub(1), None);
            }
        }
        self.next = part.last.saturating_add(1);
        self.hash = part.hash;
    }

    /// Lines that are no records where none is missing.
    fn odd_lines(&mut self) {
        if std::mem::take(&mut self.stray).lines > 0 {
            self.report("inserted", self.next, None);
        }
    }

    /// Numbers from `next` to `end` that are not where they should be.
    fn gap(&mut self, end: u64, kind: &'static str, against: Option<&str>) {
        let stray = std::mem::take(&mut self.stray);
        let moved: Vec<(u64, u64)> = self
            .moved
            .range(self.next..end)
            .map(|(first, last)| (*first, *last))
            .collect();
        let mut missing = Vec::new();
        let mut at = self.next;
        for (first, last) in moved.into_iter().chain([(end, end)]) {
            if first > at {
                missing.push(at..first);
            }
            at = at.max(last.saturating_add(1));
        }
        let mut missing = missing.into_iter().flatten();
        let changed = if stray.foreign { "replaced" } else { "edited" };
        let mut any = false;
        let lines = usize::try_from(stray.lines).unwrap_or(usize::MAX);
        for seq in missing.by_ref().take(lines) {
            any = true;
            self.report(changed, seq, None);
        }
        if stray.lines > 0 && !any {
            self.report("inserted", self.next, None);
        }
        if let Some(seq) = missing.next() {
            self.report(kind, seq, against);
        }
    }

    /// What stands behind the last record, and what should.
    fn end(&mut self) {
        self.segment = self.case.segments.len().saturating_sub(1);
        let known = self.known_end();
        let whole = self
            .torn_record
            .filter(|torn| torn.seq >= self.next && torn.edited);
        if let Some(torn) = whole {
            // The line feed of a whole record is something else now.
            if torn.seq > self.next {
                self.gap(torn.seq, "deleted", None);
            }
            self.odd_lines();
            self.report("edited", torn.seq, None);
            self.verified.records += 1;
            self.next = torn.seq.saturating_add(1);
            self.hash = Some(torn.hash);
        } else if self.torn {
            self.report("torn-tail", self.next, None);
        }
        if known.0 >= self.next && (self.verified.records > 0 || self.stray.lines > 0 || self.torn) {
            self.gap(known.0.saturating_add(1), "truncated", known.1.as_deref());
        } else if self.stray.lines > 0 {
            if self.stray.claims == Some(self.next) {
                self.report("edited", self.next, None);
            } else if self.stray.foreign && self.log.is_none() {
                self.report("replaced", self.next, None);
            } else {
                self.odd_lines();
            }
        }
        if let (Some(log), Some(hash)) = (self.log, self.hash)
            && self.next > 1
        {
            self.verified.head = Some(AuditHead {
                log_id: log.to_owned(),
                seq: self.next - 1,
                hash: hex(&hash),
            });
        }
    }

    /// The last record that must be there, and who says so, if it is not the head file.
    fn known_end(&self) -> (u64, Option<String>) {
        let mut end = match self.head_of_this_log() {
            Some(head) if !self.is_elsewhere(head) => (head.seq, None),
            _ => (0, None),
        };
        for anchor in self.case.anchors {
            if Some(anchor.head.log_id.as_str()) == self.log && anchor.head.seq > end.0 {
                end = (anchor.head.seq, Some(anchor.place.clone()));
            }
        }
        end
    }

    fn head_of_this_log(&self) -> Option<&'a AuditHead> {
        match &self.case.head {
            HeadFile::Names(head) if self.log.is_none_or(|log| log == head.log_id) => Some(head),
            _ => None,
        }
    }

    /// Whether the log holds the hash of a head under another number.
    fn is_elsewhere(&self, head: &AuditHead) -> bool {
        let place = unhex(&head.hash).and_then(|hash| self.case.log.by_hash.get(&hash));
        place.is_some_and(|seq| *seq != head.seq)
    }

    fn heads(&mut self) {
        let last = self.next.saturating_sub(1);
        self.segment = self.case.segments.len().saturating_sub(1);
        let records = self.verified.records > 0;
        match &self.case.head {
            // A cut right after the very first record leaves none.
            HeadFile::Missing if last > 1 => self.report_in("deleted", "head".to_owned(), last, None),
            HeadFile::Unreadable => self.report_in("edited", "head".to_owned(), last, None),
            HeadFile::Names(head) if records => self.head(head),
            HeadFile::Missing | HeadFile::Names(_) => {}
        }
        self.anchors();
        if let Some(expected) = &self.case.expected
            && unhex(expected).is_none_or(|hash| !self.case.log.by_hash.contains_key(&hash))
            && self.verified.is_sound()
        {
            self.report("truncated", self.next, Some("--expect-head"));
        }
    }

    fn head(&mut self, head: &AuditHead) {
        let known = self.case.log.by_seq.get(&head.seq);
        let agrees = known.is_some_and(|hashes| hashes.iter().any(|hash| hex(hash) == head.hash));
        let ours = self.log == Some(head.log_id.as_str());
        if agrees && ours {
            return;
        }
        let near = known.is_some_and(|hashes| hashes.iter().any(|hash| nearly(&hex(hash), &head.hash)));
        if self.is_elsewhere(head) || agrees || (ours && near) {
            self.report_in("edited", "head".to_owned(), head.seq, None);
        } else if !ours {
            self.report("replaced", head.seq, Some("head"));
        } else if known.is_some() {
            self.report("edited", head.seq, Some("head"));
        }
    }

    /// Heads in reports and in `logs/`. Those of another log count only if nothing newer names this one: a log may
    /// have been moved aside and begun anew, but then the newest heads are of the new one.
    fn anchors(&mut self) {
        let case = self.case;
        if self.verified.records == 0 {
            return;
        }
        for anchor in case.anchors {
            if Some(anchor.head.log_id.as_str()) != self.log {
                self.verified.earlier += 1;
                continue;
            }
            self.verified.anchors += 1;
            let known = case.log.by_seq.get(&anchor.head.seq);
            if known.is_some_and(|hashes| hashes.iter().all(|hash| hex(hash) != anchor.head.hash)) {
                self.report("edited", anchor.head.seq, Some(&anchor.place));
            }
        }
        if let Some(newest) = case.anchors.last()
            && Some(newest.head.log_id.as_str()) != self.log
        {
            self.report("replaced", 1, Some(&newest.place));
        }
    }
}

/// Whether two hashes differ in so few digits that one is the other with a byte changed: different records agree in
/// about four of 64.
fn nearly(left: &str, right: &str) -> bool {
    let same = left
        .bytes()
        .zip(right.bytes())
        .filter(|(left, right)| left == right)
        .count();
    same >= 48
}

/// Identity of the log: the one that the head names, otherwise that of most records.
fn principal<'a>(case: &'a Case<'_>) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, piece) in &case.log.pieces {
        if let Piece::Run(run) = piece {
            *counts.entry(&run.log).or_default() += run.last - run.first + 1;
        }
    }
    if let HeadFile::Names(head) = &case.head
        && let Some((log, _)) = counts.get_key_value(head.log_id.as_str())
    {
        return Some(log);
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(log, _)| log)
}

/// The runs of one log, cut so that two parts are either equal in their numbers or have none in common.
fn elementary(pieces: &[(usize, Piece)], log: Option<&str>) -> Vec<Part> {
    let own = || {
        pieces
            .iter()
            .enumerate()
            .filter_map(|(at, (_, piece))| match piece {
                Piece::Run(run) if Some(&*run.log) == log => Some((at, run)),
                _ => None,
            })
    };
    let cuts: BTreeSet<u64> = own()
        .flat_map(|(_, run): (usize, &Run)| [run.first, run.last.saturating_add(1)])
        .collect();
    let mut parts = Vec::new();
    for (piece, run) in own() {
        let mut first = run.first;
        let ends = cuts.range(run.first..=run.last).skip(1).map(|cut| cut - 1);
        for last in ends.chain([run.last]) {
            parts.push(Part {
                first,
                last,
                prev: (first == run.first).then_some(run.prev),
                hash: (last == run.last).then_some(run.hash),
                piece,
                main: false,
            });
            first = last.saturating_add(1);
        }
    }
    parts
}

/// Marks the row of parts with rising numbers that holds the most records.
fn main_line(parts: &mut [Part]) {
    // For each last number the most records that a row ending there can hold; more records only for higher numbers.
    let mut best: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        let row = best.range(..part.first).next_back().map(|(_, row)| *row);
        let weight = row.map_or(0, |(weight, _)| weight) + (part.last - part.first + 1);
        before.push(row.map(|(_, at)| at));
        let beaten = best
            .range(..=part.last)
            .next_back()
            .is_some_and(|(_, (other, _))| *other >= weight);
        if beaten {
            continue;
        }
        let lesser: Vec<u64> = best
            .range(part.last..)
            .take_while(|(_, (other, _))| *other <= weight)
            .map(|(last, _)| *last)
            .collect();
        for last in lesser {
            best.remove(&last);
        }
        best.insert(part.last, (weight, at));
    }
    let mut at = best.values().next_back().map(|(_, at)| *at);
    while let Some(part) = at.and_then(|at| parts.get_mut(at)) {
        part.main = true;
        at = at.and_then(|at| before.get(at).copied().flatten());
    }
}

//! The log and what is found wrong with it: whatever is done to it, at every place, has a name.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage a log in a temporary directory"
)]

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use super::anchors::{self, Anchor};
use super::chain::{self, Verified};
use super::segments::{self, HeadFile};
use super::{AuditLog, Intent, record};
use crate::base::clock::Clock;
use crate::base::error::Kind;
use crate::base::exit_code::ExitCode;
use crate::records::Records;
use crate::report::AuditHead;
use crate::report::effect::Risk;
use crate::report::undo::Undo;
use crate::workspace::Workspace;

mod heads;
mod lives;

/// Records of a log of the matrix.
const LENGTH: u64 = 50;

struct Log {
    directory: TempDir,
}

impl Log {
    fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// A start, operations with their outcomes, and an end.
    fn of(records: u64) -> Self {
        let log = Self::empty();
        let mut audit = log.open();
        audit.run_started(json!({ "stories": ["1.3"] })).expect("written");
        for n in 1..=u32::try_from((records - 2) / 2).expect("few") {
            let permit = audit.begin(&intent(n)).expect("begun");
            audit.finish(permit, n, Ok(None)).expect("finished");
        }
        audit.run_finished(json!({ "outcome": "done" })).expect("closed");
        assert_eq!(audit.head().seq, records);
        log
    }

    /// The same as several files: after each of these records another file begins.
    fn in_segments(records: u64, ends: &[u64]) -> Self {
        let log = Self::empty();
        let mut audit = log.open();
        for n in 1..=records {
            if ends.contains(&n) {
                audit.rotate().expect("rotated");
            } else {
                audit.run_started(json!({ "stories": ["1.3"] })).expect("written");
            }
        }
        log
    }

    fn open(&self) -> AuditLog {
        self.try_open().expect("the log opens")
    }

    fn try_open(&self) -> crate::base::error::Result<AuditLog> {
        let workspace = Workspace::open(self.directory.path()).expect("a workspace");
        let records = Records::of(&workspace);
        records.prepare().expect("the state directory");
        AuditLog::open(&records, &Clock::system(), "run-1")
    }

    fn audit(&self) -> PathBuf {
        self.directory.path().join(".rollback/audit")
    }

    fn segment(&self) -> PathBuf {
        self.nth(1)
    }

    fn nth(&self, number: u64) -> PathBuf {
        self.audit().join(super::segments::segment_name(number))
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.segment()).expect("the segment")
    }

    /// The lines with their line feeds.
    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.segment()).expect("the segment");
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn replace(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.segment(), bytes).expect("replaced");
    }

    fn head(&self) -> Vec<u8> {
        std::fs::read(self.audit().join("head")).expect("the head")
    }

    fn replace_head(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.audit().join("head"), bytes).expect("replaced");
    }

    fn verified(&self) -> Verified {
        chain::verify(&self.audit(), None).expect("verified")
    }

    fn damage(&self) -> Vec<(&'static str, u64)> {
        kinds(&self.verified())
    }
}

fn kinds(verified: &Verified) -> Vec<(&'static str, u64)> {
    verified
        .damage
        .iter()
        .map(|damage| (damage.kind, damage.seq))
        .collect()
}

fn intent(n: u32) -> Intent<'static> {
    static UNDO: Undo = Undo::Command {
        argv: Vec::new(),
        cwd: String::new(),
    };
    Intent {
        n,
        story: "1.3",
        phase: "execute",
        step: None,
        op: "remove_path",
        target: "logs/duckdb",
        summary: "remove `logs/duckdb`",
        risk: Risk::Reversible,
        undo: &UNDO,
    }
}

/// The line with other contents and a hash that fits them.
fn forged(line: &str, change: impl Fn(&mut serde_json::Map<String, serde_json::Value>)) -> String {
    let mut record: serde_json::Map<_, _> = serde_json::from_str(line).expect("a record");
    record.shift_remove("hash");
    change(&mut record);
    record::seal(record).0
}

#[test]
fn a_whole_log_is_sound_and_goes_on() {
    let log = Log::of(8);
    assert_eq!(log.damage(), []);
    log.open().run_started(json!({})).expect("written");
    let verified = log.verified();
    assert_eq!((verified.records, verified.damage.len()), (9, 0));
    let HeadFile::Names(head) = segments::read_head(&log.audit()) else {
        panic!("no head");
    };
    assert_eq!(verified.head, Some(head));
    let first = record::check(log.lines()[0].trim_end().as_bytes())
        .expect("a record")
        .hash;
    let known = chain::verify(&log.audit(), Some(&record::hex(&first))).expect("verified");
    assert!(known.is_sound());
    for strange in ["0".repeat(64), "no hash".to_owned()] {
        let strange = chain::verify(&log.audit(), Some(&strange)).expect("verified");
        assert_eq!(kinds(&strange), [("truncated", 10)]);
    }
}

#[test]
fn the_hash_is_that_of_the_line_without_it() {
    let log = Log::of(4);
    for line in log.lines() {
        let mut record: serde_json::Map<_, _> = serde_json::from_str(&line).expect("a record");
        let hash = record.shift_remove("hash").expect("a hash");
        let without = serde_json::Value::Object(record).to_string();
        assert_eq!(hash, blake3::hash(without.as_bytes()).to_hex().as_str());
    }
}

#[test]
fn every_changed_byte_is_an_edit_of_its_record() {
    let first = Log::of(LENGTH);
    let sound = first.bytes();
    let half = sound.len() / 2;
    let flip = |range: std::ops::Range<usize>| {
        let log = Log::of(4);
        log.replace_head(first.head());
        for at in range {
            let old = sound[at];
            // Another byte, one bit less or more, or a line feed: some make two lines of one, or one of two.
            let choice = [b'\n', old ^ 1, b'x'][at % 3];
            let new = if choice == old { b'y' } else { choice };
            let mut bytes = sound.clone();
            bytes[at] = new;
            log.replace(&bytes);
            let seq = 1 + memchr::memchr_iter(b'\n', &sound[..at]).count() as u64;
            assert_eq!(log.damage(), [("edited", seq)], "byte {at}: {old} to {new:?}");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| flip(0..half));
        flip(half..sound.len());
    });
    assert_eq!(first.damage(), []);
}

#[test]
fn every_changed_byte_of_the_head_is_an_edit_of_the_head() {
    let log = Log::of(LENGTH);
    let sound = log.head();
    for at in 0..sound.len() {
        let old = sound[at];
        for new in [b'0', b' ', b'\n', 0, old ^ 1, old ^ 0x20, old ^ 0x80] {
            if new == old {
                continue;
            }
            let mut bytes = sound.clone();
            bytes[at] = new;
            log.replace_head(&bytes);
            let verified = log.verified();
            let found: Vec<_> = verified
                .damage
                .iter()
                .map(|damage| (damage.kind, damage.segment.as_str()))
                .collect();
            assert_eq!(found, [("edited", "head")], "byte {at}: {new}");
            assert!(log.try_open().is_err_and(|error| error.kind() == Kind::Corrupt));
        }
    }
}

#[test]
fn the_same_json_in_other_bytes_is_an_edit() {
    let log = Log::of(8);
    let lines = log.lines();
    let line = &lines[3];
    let spellings = [
        line.replacen(':', ": ", 1),
        line.replacen("\"n\":2,", "\"n\":2.0,", 1),
        line.replacen("\"n\":2,", "\"n\":2e0,", 1),
        line.replacen("\"n\":2,", "\"n\": 2,", 1),
        line.replacen("\"v\":1,\"seq\":4,", "\"seq\":4,\"v\":1,", 1),
        line.replacen("operation", "\\u006fperation", 1),
        line.replacen("\"n\":2,", "\"n\":2,\"n\":2,", 1),
        line.replace('\n', "\r\n"),
        line.replace('\n', " \n"),
        format!(" {line}"),
        format!("\u{feff}{line}"),
    ];
    for spelling in spellings {
        assert_ne!(spelling, *line);
        let mut changed = lines.clone();
        changed[3] = spelling;
        log.replace(changed.concat());
        assert_eq!(log.damage(), [("edited", 4)], "{}", changed[3]);
    }
    log.replace(lines.concat().replace('\n', "\r\n"));
    assert_eq!(log.damage().len(), 8);
    assert!(log.damage().iter().all(|(kind, _)| *kind == "edited"));
}

#[test]
fn every_missing_record_is_deleted_and_the_last_truncated() {
    let log = Log::of(LENGTH);
    let lines = log.lines();
    for at in 0..lines.len() {
        let mut fewer = lines.clone();
        fewer.remove(at);
        log.replace(fewer.concat());
        let seq = at as u64 + 1;
        let kind = if seq == LENGTH { "truncated" } else { "deleted" };
        assert_eq!(log.damage(), [(kind, seq)]);
    }
    let mut fewer = lines;
    fewer.drain(10..20);
    log.replace(fewer.concat());
    assert_eq!(log.damage(), [("deleted", 11)]);
}

#[test]
fn two_neighbours_that_changed_places_are_reordered_wherever_they_are() {
    let log = Log::of(LENGTH);
    let lines = log.lines();
    for at in 1..lines.len() {
        let mut swapped = lines.clone();
        swapped.swap(at - 1, at);
        log.replace(swapped.concat());
        let damage = log.damage();
        let seq = at as u64;
        assert!(
            damage == [("reordered", seq)] || damage == [("reordered", seq + 1)],
            "{at}: {damage:?}"
        );
    }
    let mut moved = lines.clone();
    let line = moved.remove(40);
    moved.insert(3, line);
    log.replace(moved.concat());
    assert_eq!(log.damage(), [("reordered", 41)]);
    moved.reverse();
    log.replace(moved.concat());
    assert!(log.damage().iter().all(|(kind, _)| *kind == "reordered"));
}

#[test]
fn every_repeated_record_is_inserted_at_every_place() {
    let log = Log::of(LENGTH);
    let lines = log.lines();
    for from in 0..lines.len() {
        for to in 0..=lines.len() {
            let mut more = lines.clone();
            more.insert(to, lines[from].clone());
            log.replace(more.concat());
            assert_eq!(log.damage(), [("inserted", from as u64 + 1)], "{from} at {to}");
        }
    }
    let mut twice = lines.clone();
    twice.extend(lines.clone());
    log.replace(twice.concat());
    assert_eq!(log.damage(), [("inserted", 1)]);
}

#[test]
fn lines_that_are_no_records_are_inserted() {
    let log = Log::of(8);
    let lines = log.lines();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for odd in ["", "{}", "\0\0\0", "not JSON", deep.as_str(), "\u{2028}"] {
        for to in 0..=lines.len() {
            let mut more = lines.clone();
            more.insert(to, format!("{odd}\n"));
            log.replace(more.concat());
            assert_eq!(log.damage(), [("inserted", to as u64 + 1)], "{odd:.20} at {to}");
        }
    }
    let mut bytes = log.bytes();
    bytes.truncate(lines[..4].concat().len());
    bytes.extend(b"\xff\xfe\x80\n");
    bytes.extend(lines[4..].concat().as_bytes());
    log.replace(&bytes);
    let damage = log.damage();
    assert!(
        damage.iter().all(|(kind, _)| *kind == "inserted") && !damage.is_empty(),
        "{damage:?}"
    );
}

#[test]
fn a_line_of_ten_megabytes_is_named_wherever_it_is() {
    let log = Log::of(8);
    let lines = log.lines();
    let long = format!("{{\"v\":1,\"seq\":5,\"ts\":\"{}\"}}", "x".repeat(10 << 20));
    for to in 0..=lines.len() {
        let mut more = lines.clone();
        more.insert(to, format!("{long}\n"));
        log.replace(more.concat());
        assert_eq!(log.damage(), [("inserted", to as u64 + 1)]);
        assert_eq!(log.verified().records, 8);
    }
    log.replace(lines.concat() + long.as_str());
    assert_eq!(log.damage(), [("inserted", 9)]);
    assert!(log.try_open().is_err());
    let mut deep = lines.clone();
    deep[4] = forged(&lines[4], |record| {
        record.insert("message".to_owned(), json!("x".repeat(5 << 20)));
    });
    log.replace(deep.concat());
    assert_eq!(log.damage(), [("edited", 5)]);
}

#[test]
fn a_record_whose_hash_was_made_anew_is_an_edit_that_the_next_one_gives_away() {
    let log = Log::of(LENGTH);
    let lines = log.lines();
    for at in 0..lines.len() {
        let mut changed = lines.clone();
        changed[at] = forged(&lines[at], |record| {
            record.insert("run".to_owned(), json!("another"));
        });
        log.replace(changed.concat());
        assert_eq!(log.damage(), [("edited", at as u64 + 1)]);
    }
    // With right hashes to the end, it is the head that gives it away.
    let mut changed = lines.clone();
    let mut prev = None::<String>;
    for line in changed.iter_mut().skip(20) {
        *line = forged(line, |record| {
            record.insert("run".to_owned(), json!("another"));
            if let Some(prev) = &prev {
                record.insert("prev".to_owned(), json!(prev));
            }
        });
        prev = record::check(line.trim_end().as_bytes()).map(|record| record.hex_hash());
    }
    log.replace(changed.concat());
    assert_eq!(log.damage(), [("edited", LENGTH)]);
    assert!(log.try_open().is_err_and(|error| error.kind() == Kind::Corrupt));
}

#[test]
fn a_log_that_was_cut_back_is_truncated_against_its_head_and_not_continued() {
    let log = Log::of(LENGTH);
    let sound = log.bytes();
    let lines = log.lines();
    for at in 1..lines.len() {
        log.replace(lines[..at].concat());
        assert_eq!(log.damage(), [("truncated", at as u64 + 1)]);
        let error = log.try_open().expect_err("refused");
        assert_eq!(error.exit_code(), ExitCode::Corrupt);
    }
    // Also in the middle of a record: the head names it, so that it was whole.
    for cut in (1..sound.len()).step_by(97) {
        log.replace(&sound[..cut]);
        let damage = log.damage();
        assert!(
            damage.iter().any(|(kind, _)| *kind == "truncated"),
            "{cut}: {damage:?}"
        );
        assert!(log.try_open().is_err());
    }
    log.replace("");
    assert_eq!(log.damage(), [("empty", 1)]);
    assert!(log.try_open().is_err());
    std::fs::remove_file(log.segment()).expect("removed");
    assert_eq!(log.damage(), [("empty", 1)]);
    assert!(log.try_open().is_err());
}

/// What a full disk, or a cut, leaves of the very first write.
#[test]
fn a_log_whose_first_record_found_no_room_begins_all_the_same() {
    for records in [0, 1] {
        let log = Log::empty();
        let mut audit = log.open();
        if records == 1 {
            audit.run_started(json!({})).expect("written");
        }
        drop(audit);
        log.replace_head(String::new());
        assert_eq!(log.damage(), []);
        let mut audit = log.open();
        audit.run_started(json!({})).expect("written");
        assert_eq!(audit.head().seq, records + 1);
        assert_eq!(log.damage(), []);
    }
    // Later it is missed.
    let log = Log::of(LENGTH);
    log.replace_head(String::new());
    assert_eq!(log.damage(), [("deleted", LENGTH)]);
    assert!(log.try_open().is_err());
}

#[test]
fn a_head_that_is_missing_or_from_the_future_is_named() {
    let log = Log::of(LENGTH);
    let sound = log.head();
    std::fs::remove_file(log.audit().join("head")).expect("removed");
    let verified = log.verified();
    assert_eq!(kinds(&verified), [("deleted", LENGTH)]);
    assert_eq!(verified.damage[0].segment, "head");
    assert!(log.try_open().is_err());
    let mut head: AuditHead = serde_json::from_slice(sound.trim_ascii_end()).expect("a head");
    head.seq += 10;
    head.hash = "ab".repeat(32);
    log.replace_head(segments::head_text(&head));
    assert_eq!(log.damage(), [("truncated", LENGTH + 1)]);
    assert!(log.try_open().is_err());
    // An older head is what a cut leaves.
    let first = record::check(log.lines()[47].trim_end().as_bytes())
        .expect("a record")
        .hex_hash();
    (head.seq, head.hash) = (48, first);
    log.replace_head(segments::head_text(&head));
    assert_eq!(log.damage(), []);
    log.open();
    // As it was written before it was padded.
    log.replace_head(format!("{}\n", String::from_utf8_lossy(&sound).trim_end()));
    assert_eq!(log.damage(), []);
    log.open().run_started(json!({})).expect("written");
    assert_eq!(log.damage(), []);
}

#[test]
fn a_torn_last_line_is_no_tampering_and_is_repaired_by_a_record() {
    let log = Log::of(8);
    let sound = log.bytes();
    // The outcome of an operation need not be on the disk when the head names its beginning.
    let mut audit = log.open();
    let permit = audit.begin(&intent(9)).expect("begun");
    audit.finish(permit, 9, Ok(None)).expect("finished");
    let longer = log.bytes();
    let head = log.head();
    let last = log.lines().last().cloned().expect("a line");
    for cut in 1..last.len() {
        log.replace(&longer[..longer.len() - cut]);
        log.replace_head(&head);
        assert_eq!(log.damage(), [("torn-tail", 10)], "{cut}");
        assert!(log.verified().is_sound());
        drop(log.open());
        assert_eq!(log.damage(), []);
        let lines = log.lines();
        assert!(lines[9].contains("\"event\":\"recovered\"") && lines.len() == 10);
    }
    // Blocks that were never written read as zeros.
    log.replace([&longer[..longer.len() - 1], &[0; 300]].concat());
    log.replace_head(&head);
    assert_eq!(log.damage(), [("torn-tail", 10)]);
    // No crash puts another byte in the place of a line feed.
    log.replace([&longer[..longer.len() - 1], b"x"].concat());
    assert_eq!(log.damage(), [("edited", 10)]);
    assert!(log.try_open().is_err());
    assert!(sound.len() < longer.len());
}

//! The log and what is found wrong with it: one test a kind of damage.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests damage a log in a temporary directory"
)]

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::{AuditLog, Intent, chain};
use crate::host::clock::Clock;
use crate::host::records::Records;
use crate::operation::{Risk, Undo};
use crate::workspace::Workspace;

struct Log {
    directory: TempDir,
}

impl Log {
    /// A log with a start, three operations and an end: eight records.
    fn written() -> Self {
        let log = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        let mut audit = log.open();
        audit.run_started(json!({ "stories": ["1.3"] })).expect("written");
        for n in 1..=3 {
            let permit = audit.begin(&intent(n)).expect("begun");
            audit.finish(permit, n, Ok(None)).expect("finished");
        }
        audit.run_finished(json!({ "outcome": "done" })).expect("closed");
        log
    }

    fn open(&self) -> AuditLog {
        let workspace = Workspace::open(self.directory.path()).expect("a workspace");
        let records = Records::of(&workspace);
        records.prepare().expect("the state directory");
        AuditLog::open(&records, &Clock::system(), "run-1").expect("the log opens")
    }

    fn audit(&self) -> PathBuf {
        self.directory.path().join(".rollback/audit")
    }

    fn segment(&self) -> PathBuf {
        self.audit().join("000001.jsonl")
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.segment()).expect("the segment");
        text.lines().map(str::to_owned).collect()
    }

    fn replace(&self, lines: &[String]) {
        let text = lines.join("\n") + "\n";
        std::fs::write(self.segment(), text).expect("replaced");
    }

    fn damage(&self) -> Vec<(&'static str, u64)> {
        let verified = chain::verify(&self.audit(), None).expect("verified");
        verified
            .damage
            .iter()
            .map(|damage| (damage.kind, damage.seq))
            .collect()
    }
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

#[test]
fn a_whole_log_is_sound_and_goes_on() {
    let log = Log::written();
    assert_eq!(log.damage(), []);
    log.open().run_started(json!({})).expect("written");
    let verified = chain::verify(&log.audit(), None).expect("verified");
    assert_eq!((verified.records, verified.damage.len()), (9, 0));
    let first = log.lines().first().cloned().unwrap_or_default();
    let hash = first
        .split("\"hash\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a hash");
    assert!(
        chain::verify(&log.audit(), Some(hash))
            .expect("verified")
            .is_sound()
    );
    let strange = chain::verify(&log.audit(), Some(&"0".repeat(64))).expect("verified");
    assert_eq!(
        strange.damage.first().map(|damage| damage.kind),
        Some("truncated")
    );
}

#[test]
fn every_changed_byte_is_an_edit_of_its_record() {
    let log = Log::written();
    let lines = log.lines();
    let text = lines.get(3).expect("a fourth record").clone();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = if *byte == b'x' { b'y' } else { b'x' };
        }
        let mut changed = lines.clone();
        changed[3] = String::from_utf8(bytes).expect("still text");
        log.replace(&changed);
        assert!(
            log.damage().contains(&("edited", 4)),
            "byte {at}: {:?}",
            log.damage()
        );
    }
    let mut spaced = lines.clone();
    spaced[3] = text.replacen(':', ": ", 1);
    log.replace(&spaced);
    assert!(log.damage().contains(&("edited", 4)));
    log.replace(&lines);
    assert_eq!(log.damage(), []);
}

#[test]
fn a_missing_record_is_deleted() {
    let log = Log::written();
    let mut lines = log.lines();
    lines.remove(3);
    log.replace(&lines);
    assert_eq!(log.damage(), [("deleted", 4)]);
}

#[test]
fn a_repeated_record_is_inserted() {
    let log = Log::written();
    let mut lines = log.lines();
    lines.insert(5, lines[2].clone());
    log.replace(&lines);
    assert_eq!(log.damage(), [("inserted", 3)]);
}

#[test]
fn two_records_that_changed_places_are_reordered() {
    let log = Log::written();
    let mut lines = log.lines();
    lines.swap(3, 4);
    log.replace(&lines);
    let damage = log.damage();
    assert!(damage.iter().any(|(kind, _)| *kind == "reordered"), "{damage:?}");
    assert!(damage.iter().all(|(kind, _)| *kind != "deleted"), "{damage:?}");
}

#[test]
fn a_log_that_was_cut_back_is_truncated_against_its_head() {
    let log = Log::written();
    let mut lines = log.lines();
    lines.truncate(6);
    log.replace(&lines);
    assert_eq!(log.damage(), [("truncated", 8)]);
}

#[test]
fn a_torn_last_line_is_no_tampering_and_is_repaired_by_a_record() {
    let log = Log::written();
    let mut text = std::fs::read_to_string(log.segment()).expect("the segment");
    text.push_str("{\"v\":1,\"seq\":9,");
    std::fs::write(log.segment(), text).expect("torn");
    assert_eq!(log.damage(), [("torn-tail", 9)]);
    assert!(chain::verify(&log.audit(), None).expect("verified").is_sound());
    drop(log.open());
    assert_eq!(log.damage(), []);
    assert!(
        log.lines()
            .last()
            .is_some_and(|line| line.contains("\"event\":\"recovered\""))
    );
}

#[test]
fn another_log_in_its_place_is_replaced() {
    let log = Log::written();
    let head = std::fs::read(log.audit().join("head")).expect("the head");
    let other = Log::written();
    std::fs::copy(other.segment(), log.segment()).expect("replaced");
    std::fs::write(log.audit().join("head"), head).expect("the head stays");
    assert_eq!(log.damage().first().map(|(kind, _)| *kind), Some("replaced"));
    std::fs::write(log.segment(), "").expect("emptied");
    assert!(log.damage().iter().any(|(kind, _)| *kind == "empty"));
}

#[test]
fn a_log_that_is_swapped_or_gone_in_the_middle_of_a_run_allows_nothing_more() {
    for swap in [true, false] {
        let log = Log::written();
        let mut audit = log.open();
        audit.run_started(json!({})).expect("written");
        let permit = audit.begin(&intent(1)).expect("begun");
        audit.finish(permit, 1, Ok(None)).expect("finished");
        let aside = log.audit().join("aside");
        std::fs::rename(log.segment(), &aside).expect("moved");
        if swap {
            std::fs::copy(&aside, log.segment()).expect("copied");
        }
        let error = audit.begin(&intent(2)).expect_err("refused");
        assert_eq!(error.kind(), crate::error::Kind::Denied, "{error}");
    }
}

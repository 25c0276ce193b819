//! Heads of the log: the one that is told, and those that were kept elsewhere.

use super::*;

/// Kind "a head that a power cut can take is nothing to hold the log against": an outcome is not synced, the next intent is.
#[test]
fn the_head_that_is_told_is_that_of_the_last_record_on_the_disk() {
    let log = Log::empty();
    let mut audit = log.open();
    audit.run_started(json!({ "stories": ["1.3"] })).expect("written");
    let permit = audit.begin(&intent(1)).expect("begun");
    let begun = audit.head();
    audit.finish(permit, 1, Ok(None)).expect("finished");
    assert_eq!(audit.head(), begun);
    audit.begin(&intent(2)).expect("begun");
    assert_eq!(audit.head().seq, begun.seq + 2);
}
#[test]
fn another_log_in_its_place_is_replaced() {
    let log = Log::of(8);
    let head = log.head();
    let other = Log::of(8);
    std::fs::copy(other.segment(), log.segment()).expect("replaced");
    assert_eq!(log.damage(), [("replaced", 8)]);
    assert!(log.try_open().is_err());
    // Its head came with it: only what was kept elsewhere tells.
    log.replace_head(other.head());
    assert_eq!(log.damage(), []);
    let head: AuditHead = serde_json::from_slice(head.trim_ascii_end()).expect("a head");
    let anchors = [anchor("2026-01-01T00:00:00.000Z", &head)];
    let verified = chain::verify_against(&log.audit(), None, &anchors).expect("verified");
    assert_eq!(kinds(&verified), [("replaced", 1)]);
    assert_eq!(verified.damage[0].against.as_deref(), Some("logs/audit.log"));
    // A log that was begun anew after the old one was moved aside has the newest head.
    let newer: AuditHead = serde_json::from_slice(other.head().trim_ascii_end()).expect("a head");
    let anchors = [
        anchor("2026-01-01T00:00:00.000Z", &head),
        anchor("2026-01-02T00:00:00.000Z", &newer),
    ];
    let verified = chain::verify_against(&log.audit(), None, &anchors).expect("verified");
    assert_eq!(kinds(&verified), []);
    assert_eq!((verified.anchors, verified.earlier), (1, 1));
    // Records of another log among ours.
    let log = Log::of(8);
    let (mut mixed, foreign) = (log.lines(), other.lines());
    mixed[3].clone_from(&foreign[3]);
    log.replace(mixed.concat());
    assert_eq!(log.damage(), [("replaced", 4)]);
    let mut mixed = log.lines();
    mixed[3] = Log::of(8).lines()[3].clone();
    mixed.insert(3, foreign[3].clone());
    log.replace(mixed.concat());
    assert_eq!(log.damage(), [("replaced", 4)]);
}

fn anchor(at: &str, head: &AuditHead) -> Anchor {
    Anchor {
        place: "logs/audit.log".to_owned(),
        at: at.to_owned(),
        head: head.clone(),
    }
}

#[test]
fn a_log_and_its_head_cut_back_together_are_found_against_what_was_kept_elsewhere() {
    let log = Log::of(LENGTH);
    let HeadFile::Names(newest) = segments::read_head(&log.audit()) else {
        panic!("no head");
    };
    let lines = log.lines();
    for at in 1..lines.len() {
        log.replace(lines[..at].concat());
        let last = record::check(lines[at - 1].trim_end().as_bytes()).expect("a record");
        log.replace_head(segments::head_text(&AuditHead {
            log_id: newest.log_id.clone(),
            seq: at as u64,
            hash: last.hex_hash(),
        }));
        assert_eq!(log.damage(), []);
        let seq = at as u64 + 1;
        let verified = chain::verify(&log.audit(), Some(&newest.hash)).expect("verified");
        assert_eq!(kinds(&verified), [("truncated", seq)]);
        let anchors = [anchor("2026-01-01T00:00:00.000Z", &newest)];
        let verified = chain::verify_against(&log.audit(), None, &anchors).expect("verified");
        assert_eq!(kinds(&verified), [("truncated", seq)]);
        assert_eq!(verified.damage[0].against.as_deref(), Some("logs/audit.log"));
    }
}

#[test]
fn heads_are_found_in_log_lines_and_reports_among_what_others_wrote() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, bytes: &[u8]| {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    };
    let head = |seq: u64| json!({ "log_id": "a", "seq": seq, "hash": "ab".repeat(32) });
    let line = |at: &str, seq: u64| format!("{}\n", json!({ "timestamp": at, "auditHead": head(seq) }));
    let mut log = line("2026-01-02T00:00:00.000Z", 2).into_bytes();
    log.extend(b"\xff\0 \"auditHead\"\n{\"auditHead\": 7}\n\n");
    log.extend(line("2026-01-01T00:00:00.000Z", 1).as_bytes());
    log.extend(b"{\"timestamp\":\"2026");
    write("logs/security.log", &log);
    write("logs/other.txt", line("2026-01-09T00:00:00.000Z", 9).as_bytes());
    let report = json!({ "finished": "2026-01-03T00:00:00.000Z", "audit_head": head(3) });
    write("rollback_reports/a.json", report.to_string().as_bytes());
    write("rollback_reports/b.json", b"{\"audit_head\": null");
    write("rollback_reports/c.json", b"\xff");
    let (found, unseen) = anchors::collect(directory.path());
    assert_eq!(unseen, Vec::<String>::new());
    let found: Vec<(String, u64)> = found
        .into_iter()
        .map(|anchor| (anchor.place, anchor.head.seq))
        .collect();
    let expected = [
        ("logs/security.log", 1),
        ("logs/security.log", 2),
        ("rollback_reports/a.json", 3),
    ];
    assert_eq!(found, expected.map(|(place, seq)| (place.to_owned(), seq)));
    // What can't be listed, and a log that can't be opened, may hold heads.
    std::fs::remove_dir_all(directory.path().join("rollback_reports")).expect("removed");
    std::os::unix::fs::symlink("rollback_reports", directory.path().join("rollback_reports"))
        .expect("a link to itself");
    let (found, unseen) = anchors::collect(directory.path());
    assert_eq!((found.len(), unseen.len()), (2, 1));
    assert!(unseen[0].contains("`rollback_reports`"), "{unseen:?}");
    // So may what is longer than is read.
    let long = std::fs::File::create(directory.path().join("logs/long.log")).expect("made");
    long.set_len((16 << 20) + 1).expect("made longer");
    let (found, unseen) = anchors::collect(directory.path());
    assert_eq!((found.len(), unseen.len()), (2, 2));
    assert!(unseen[0].contains("`logs/long.log`"), "{unseen:?}");
}

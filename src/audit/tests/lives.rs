//! Logs that grow: several segments, many chunks, and what happens to them while a run is at work.

use super::*;

#[test]
fn several_segments_are_one_chain() {
    let log = Log::in_segments(LENGTH, &[20, 40]);
    assert_eq!(log.damage(), []);
    let aside = log.audit().join("aside");
    let moved = |from: &Path, to: &Path| std::fs::rename(from, to).expect("moved");
    for (number, kind, seq) in [(1, "deleted", 1), (2, "deleted", 21), (3, "truncated", 41)] {
        moved(&log.nth(number), &aside);
        assert_eq!(log.damage(), [(kind, seq)]);
        moved(&aside, &log.nth(number));
    }
    for (one, other) in [(1, 2), (2, 3)] {
        for _ in 0..2 {
            moved(&log.nth(one), &aside);
            moved(&log.nth(other), &log.nth(one));
            moved(&aside, &log.nth(other));
            let damage = log.damage();
            if let [(kind, _)] = damage[..] {
                assert_eq!(kind, "reordered");
            }
        }
        assert_eq!(log.damage(), []);
    }
    moved(&log.nth(1), &aside);
    moved(&log.nth(2), &log.nth(1));
    moved(&aside, &log.nth(2));
    assert!(
        matches!(log.damage()[..], [("reordered", _)]),
        "{:?}",
        log.damage()
    );
    moved(&log.nth(2), &aside);
    moved(&log.nth(1), &log.nth(2));
    moved(&aside, &log.nth(1));
    let second = std::fs::read(log.nth(2)).expect("read");
    std::fs::write(log.nth(2), "").expect("emptied");
    assert_eq!(log.damage(), [("empty", 21), ("deleted", 21)]);
    std::fs::write(log.nth(2), &second[..second.len() - 1]).expect("cut");
    assert_eq!(log.damage(), [("edited", 40)]);
    std::fs::write(log.nth(2), second).expect("back");
    std::fs::remove_file(log.nth(3)).expect("removed");
    std::fs::create_dir(log.nth(3)).expect("made");
    assert_eq!(log.damage(), [("replaced", 41), ("truncated", 41)]);
}

#[test]
fn a_log_goes_on_across_its_segments() {
    // A cut right after the rotation leaves an empty segment, or none.
    for leave in [true, false] {
        let log = Log::in_segments(20, &[20]);
        if !leave {
            std::fs::remove_file(log.nth(2)).expect("removed");
        }
        assert_eq!(log.damage(), []);
        let mut audit = log.open();
        audit.run_started(json!({})).expect("written");
        assert_eq!(audit.head().seq, 21);
        assert_eq!(log.damage(), []);
    }
}

#[test]
fn a_log_of_many_chunks_is_checked_at_their_borders_too() {
    let log = Log::empty();
    let mut prev = record::ORIGIN;
    let mut text = String::new();
    let mut last = 0;
    // About three chunks, in lines of very different lengths.
    for seq in 1..=6000_u64 {
        let about = "x".repeat(usize::try_from(seq * 7919 % 2311).expect("small"));
        let json = json!({ "v": 1, "seq": seq, "ts": "2026-01-01T00:00:00.000Z", "log": "log-1", "run": "run-1",
            "event": "recovered", "about": about, "prev": record::hex(&prev) });
        let serde_json::Value::Object(record) = json else {
            panic!("an object")
        };
        let (line, hash) = record::seal(record);
        (prev, last) = (hash, seq);
        text.push_str(&line);
    }
    std::fs::create_dir_all(log.audit()).expect("made");
    log.replace(&text);
    log.replace_head(segments::head_text(&AuditHead {
        log_id: "log-1".to_owned(),
        seq: last,
        hash: record::hex(&prev),
    }));
    let verified = log.verified();
    assert_eq!((kinds(&verified), verified.records), (vec![], 6000));
    let (cut, _) = text
        .match_indices('\n')
        .find(|(at, _)| *at > 3 << 20)
        .expect("long enough");
    let seq = text[..cut].matches('\n').count() as u64 + 1;
    log.replace(format!("{}x{}", &text[..cut], &text[cut + 1..]));
    assert_eq!(log.damage(), [("edited", seq)]);
    for border in [2 << 20, (2 << 20) - 1, (2 << 20) + 1, 4 << 20] {
        let mut bytes = text.clone().into_bytes();
        bytes[border] ^= 1;
        log.replace(&bytes);
        assert!(matches!(log.damage()[..], [("edited", _)]), "{:?}", log.damage());
    }
    log.replace(&text);
    assert_eq!(log.open().head().seq, 6000);
}

#[test]
fn a_log_that_is_swapped_or_gone_in_the_middle_of_a_run_allows_nothing_more() {
    type Way = (&'static str, fn(&Path));
    let ways: [Way; 5] = [
        ("has gone", |log| std::fs::remove_file(log).expect("removed")),
        ("was replaced", |log| {
            let bytes = std::fs::read(log).expect("read");
            std::fs::remove_file(log).expect("removed");
            std::fs::write(log.with_extension("new"), bytes).expect("copied");
            std::fs::rename(log.with_extension("new"), log).expect("moved");
        }),
        ("was changed", |log| {
            let file = std::fs::OpenOptions::new().write(true).open(log).expect("opened");
            file.set_len(100).expect("cut");
        }),
        ("was changed", |log| {
            let bytes = std::fs::read(log).expect("read");
            std::fs::write(log, [&bytes[..], b"{}\n"].concat()).expect("appended");
        }),
        ("was replaced", |log| {
            std::fs::rename(log, log.with_extension("old")).expect("moved");
            std::os::unix::fs::symlink(log.with_extension("old"), log).expect("linked");
        }),
    ];
    for (said, way) in ways {
        let log = Log::empty();
        let mut audit = log.open();
        audit.run_started(json!({})).expect("written");
        let permit = audit.begin(&intent(1)).expect("begun");
        audit.finish(permit, 1, Ok(None)).expect("finished");
        let before = log.bytes();
        way(&log.segment());
        let after = std::fs::read(log.segment()).ok();
        for _ in 0..2 {
            let error = audit.begin(&intent(2)).expect_err("refused");
            assert_eq!(
                (error.kind(), error.exit_code()),
                (Kind::Denied, ExitCode::Corrupt)
            );
            assert!(error.message().contains(said), "{error}");
            audit
                .denied(2, "1.3", "remove_path", "logs", &error)
                .expect("recorded beside it");
        }
        audit.run_finished(json!({})).expect("recorded beside it");
        // What somebody else left is not touched, and the next run does not go on from it.
        assert_eq!(std::fs::read(log.segment()).ok(), after);
        assert!(log.try_open().is_err(), "{said}");
        assert!(!log.verified().is_sound(), "{said}");
        // What this run recorded makes the log whole again, unless its own bytes were cut away.
        let kept = log.audit().join("000001.kept-run-1.jsonl");
        let text = std::fs::read(&kept).expect("kept");
        if after.as_ref().is_none_or(|after| after.len() >= before.len()) {
            assert!(text.starts_with(&before));
            std::fs::rename(kept, log.segment()).expect("put back");
            assert_eq!(log.damage(), [], "{said}");
            log.open();
        }
    }
}

#[test]
fn a_log_whose_directory_is_no_place_to_write_in_opens_for_no_run() {
    let log = Log::empty();
    std::fs::create_dir_all(log.directory.path().join(".rollback")).expect("made");
    std::fs::write(log.audit(), "no directory").expect("in the way");
    assert!(log.try_open().is_err());
    std::fs::remove_file(log.audit()).expect("removed");
    std::fs::create_dir(log.audit()).expect("made");
    std::os::unix::fs::symlink("elsewhere", log.segment()).expect("linked");
    assert!(log.try_open().is_err());
    assert!(!log.audit().join("elsewhere").exists());
}

#[test]
fn only_the_end_of_a_long_log_is_read_to_open_it() {
    let log = Log::of(LENGTH);
    let sound = log.bytes();
    // Damage far from the end does not even show.
    let mut bytes = sound.clone();
    bytes[10] = b'x';
    log.replace(&bytes);
    log.open();
    let padding: String = std::iter::repeat_n("not read\n", 1 << 18).collect();
    log.replace([padding.as_bytes(), &sound].concat());
    log.open();
}

#[test]
fn a_command_that_names_a_secret_is_not_written_down() {
    let log = Log::empty();
    let undo = Undo::Command {
        argv: vec!["psql".to_owned(), "postgres://me:hunter2@host/db".to_owned()],
        cwd: ".".to_owned(),
    };
    let mut audit = log.open();
    let intent = Intent {
        undo: &undo,
        ..intent(1)
    };
    let permit = audit.begin(&intent).expect("begun");
    audit.finish(permit, 1, Ok(None)).expect("finished");
    assert!(!log.lines().concat().contains("hunter2"));
}

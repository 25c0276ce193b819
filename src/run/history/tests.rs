//! The order of runs, with clocks that go back.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{History, undo};
use crate::audit::{AuditLog, Intent};
use crate::backup::retention::Policy;
use crate::base::clock::Clock;
use crate::report::effect::Risk;
use crate::report::undo::Undo;
use crate::report::{Report, RunOutcome};
use crate::run::{Context, Request, prune};
use crate::workspace::Workspace;

/// A rollback that made a file, at so many days.
fn roll_back(context: &Context, run: &str, day: u64) {
    let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * (20_000 + day)));
    let records = &context.host.records;
    let made = format!("{run}.txt");
    let undo = Undo::RemoveCreated {
        path: made.clone(),
        created: None,
        after: None,
        made: Vec::new(),
        times: Vec::new(),
    };
    let mut audit = AuditLog::open(records, &clock, run).expect("a log");
    audit
        .run_started(json!({ "kind": "rollback", "stories": ["9.1"] }))
        .expect("a start");
    let intent = Intent {
        n: 1,
        story: "9.1",
        phase: "execute",
        step: None,
        op: "write_text",
        target: &made,
        summary: "write",
        risk: Risk::Reversible,
        undo: &undo,
    };
    let permit = audit.begin(&intent).expect("an intent");
    let path = context.workspace.root().join(&made);
    let written = crate::host::files::Expect::Absent;
    context
        .host
        .files
        .write(&permit, &path, b"made", &written)
        .expect("a file");
    audit.finish(permit, 1, Ok(None)).expect("an outcome");
    audit
        .run_finished(json!({ "outcome": "done", "exit_code": 0 }))
        .expect("an end");
    records
        .directory(&context.workspace.run_directory(run).join("saved"))
        .expect("a store");
}

#[test]
fn order_is_the_order_of_the_log_and_not_of_the_clock() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let context = Context::open(Workspace::open(directory.path()).expect("a workspace")).expect("a context");
    context.host.records.prepare().expect("a state directory");
    // The clock goes back three days between the two.
    roll_back(&context, "20241013T000000Z-aaaa", 9);
    roll_back(&context, "20241010T000000Z-bbbb", 6);
    let runs: Vec<String> = History::of(&context)
        .list()
        .expect("a history")
        .into_iter()
        .map(|report| report.run)
        .collect();
    assert_eq!(runs, ["20241013T000000Z-aaaa", "20241010T000000Z-bbbb"]);
    let chosen = undo::choose(&context, &Request::default()).expect("a run");
    assert_eq!(chosen.report.run, "20241010T000000Z-bbbb");
    let policy = Policy {
        keep_last: 1,
        ..Policy::default()
    };
    let pruning = prune::look(&context, &policy).expect("what goes");
    let going: Vec<&str> = pruning.going().map(|item| item.name.as_str()).collect();
    assert_eq!(going, ["20241013T000000Z-aaaa"]);
    assert_eq!(pruning.lost.len(), 1, "{:?}", pruning.lost);
    // Nor does what came later count as older than what came before it.
    let policy = Policy {
        keep_within: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_008))
            .ok(),
        ..Policy::default()
    };
    let pruning = prune::look(&context, &policy).expect("what goes");
    assert_eq!(pruning.going().count(), 0);
}

#[test]
fn only_an_undo_that_was_done_and_stands_takes_a_run_back() {
    let report = |run: &str, undoes: Option<&str>, outcome: RunOutcome| Report {
        run: run.to_owned(),
        undoes: undoes.map(str::to_owned),
        outcome,
        ..crate::report::text::sample::real()
    };
    let mut reports = vec![report("run", None, RunOutcome::Done)];
    assert_eq!(History::undone_by(&reports, "run"), None);
    for outcome in [RunOutcome::Failed, RunOutcome::Partial, RunOutcome::Refused] {
        reports.push(report("tried", Some("run"), outcome));
        assert_eq!(History::undone_by(&reports, "run"), None, "{outcome:?}");
    }
    reports.push(report("undo", Some("run"), RunOutcome::Done));
    assert_eq!(History::undone_by(&reports, "run"), Some("undo"));
    reports.push(report("redo", Some("undo"), RunOutcome::Done));
    assert_eq!(History::undone_by(&reports, "run"), None);
}

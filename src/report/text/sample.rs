//! Two reports for tests: a preview and the run that came of it and failed.

use std::collections::BTreeMap;

use crate::report::effect::{BackupMade, Outcome, Risk};
use crate::report::undo::UndoClass;
use crate::report::{
    AuditHead, CheckRecord, FailureRecord, Flags, Mode, OperationRecord, Report, RunKind, RunOutcome,
};

struct Row(
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
    Risk,
    UndoClass,
    Outcome,
    Option<&'static str>,
);

fn operations() -> Vec<OperationRecord> {
    use Outcome::{Kept, NotPresent, Planned, Unknown};
    use Risk::{Disruptive, Irreversible, Reversible};
    use UndoClass::{Compensating, Exact};
    let rows = [
        Row(
            "before",
            None,
            "set_flag",
            "duckdb_analytics",
            "switch off `duckdb_analytics` and 1 flag that depends on it",
            Reversible,
            Exact,
            Planned,
            None,
        ),
        Row(
            "execute",
            Some("Stop services"),
            "kill_process",
            "4242",
            "end process 4242 (`node services/duckdb-analytics-service.js --port 4000 --config \
             config/services/duckdb.json`) with SIGTERM",
            Disruptive,
            UndoClass::None,
            Planned,
            None,
        ),
        Row(
            "execute",
            Some("Stop services"),
            "stop_processes",
            "data/logs/worker.pid",
            "leave data/logs/worker.pid: no such process",
            Risk::None,
            UndoClass::None,
            NotPresent,
            Some("no such process"),
        ),
        Row(
            "execute",
            Some("Retire data"),
            "retire_dir",
            "data/duckdb",
            "move `data/duckdb` (3 files, 1.2 MiB) into backup `duckdb_data`",
            Reversible,
            Exact,
            Planned,
            None,
        ),
        Row(
            "execute",
            Some("Remove packages"),
            "uninstall_packages",
            "npm duckdb",
            "uninstall `duckdb` 1.1.3 by npm",
            Reversible,
            Compensating,
            Planned,
            None,
        ),
        Row(
            "execute",
            Some("Remove files"),
            "remove_path",
            "services/data-catalog.js",
            "leave services/data-catalog.js: `services/orchestrator.js` requires it",
            Risk::None,
            UndoClass::None,
            Kept,
            Some("`services/orchestrator.js` requires it"),
        ),
        Row(
            "execute",
            Some("Remove files"),
            "remove_path",
            "tests/duckdb.test.js",
            "leave tests/duckdb.test.js: no such path",
            Risk::None,
            UndoClass::None,
            NotPresent,
            Some("no such path"),
        ),
        Row(
            "execute",
            Some("Remove containers"),
            "remove_images",
            "images `duckdb-*`",
            "leave images `duckdb-*`: the container engine does not answer",
            Risk::None,
            UndoClass::None,
            Unknown,
            Some("the container engine does not answer"),
        ),
        Row(
            "execute",
            Some("Remove containers"),
            "remove_volumes",
            "duckdb-cache",
            "remove volume `duckdb-cache` (48.0 MiB)",
            Irreversible,
            UndoClass::None,
            Planned,
            None,
        ),
    ];
    (1..)
        .zip(rows)
        .map(
            |(n, Row(phase, step, op, target, summary, risk, undo, outcome, why))| OperationRecord {
                n,
                story: "1.3".to_string(),
                phase: phase.to_string(),
                step: step.map(str::to_string),
                op: op.to_string(),
                target: target.to_string(),
                summary: summary.to_string(),
                paths: Vec::new(),
                risk,
                undo,
                outcome,
                why: why.map(str::to_string),
                rule: None,
                ms: 3,
            },
        )
        .collect()
}

fn check(title: &str, passed: impl Into<Option<bool>>, detail: Option<&str>) -> CheckRecord {
    CheckRecord {
        story: "1.3".to_string(),
        title: title.to_string(),
        passed: passed.into(),
        detail: detail.map(str::to_string),
    }
}

/// What a preview of story 1.3 tells.
pub(crate) fn preview() -> Report {
    Report {
        schema: "rollback.report/1".to_string(),
        run: "20261123T013000Z-1a2b".to_string(),
        plan: "b7d2a4c19f03".to_string(),
        kind: RunKind::Rollback,
        mode: Mode::DryRun,
        stories: vec!["1.3".to_string()],
        reason: Some("queries return rows of another tenant".to_string()),
        trigger: "data-corruption".to_string(),
        user: "ada".to_string(),
        host: "db1".to_string(),
        started: "2026-11-23T01:30:00.000Z".to_string(),
        finished: "2026-11-23T01:30:04.250Z".to_string(),
        outcome: RunOutcome::Planned,
        exit_code: 0,
        operations: operations(),
        backups: vec![BackupMade {
            name: "duckdb_data_20261123_013000".to_string(),
            source: "data/duckdb".to_string(),
            bytes: 1_258_291,
            entries: 4,
            method: "moved".to_string(),
            digest: None,
        }],
        checks: vec![
            check("the feature is off", true, None),
            check(
                "no DuckDB file is left",
                false,
                Some("`exports/old.duckdb` is left"),
            ),
        ],
        flags: Flags {
            before: BTreeMap::from([("duckdb_analytics".to_string(), true), ("dbt".to_string(), false)]),
            after: BTreeMap::from([
                ("duckdb_analytics".to_string(), false),
                ("dbt".to_string(), false),
            ]),
        },
        warnings: vec!["the container engine does not answer: what it holds is unknown".to_string()],
        next: vec!["rollback run 1.3".to_string()],
        audit_head: None,
        error: None,
        undoes: None,
        about: None,
        explanation: None,
    }
}

/// The run: a package could not be uninstalled, so the volume was not removed.
pub(crate) fn real() -> Report {
    let mut report = preview();
    report.mode = Mode::Real;
    report.outcome = RunOutcome::Failed;
    report.exit_code = 1;
    for record in &mut report.operations {
        match record.op.as_str() {
            "uninstall_packages" => {
                record.outcome = Outcome::Failed;
                record.why = Some("`npm` ended with status 1".to_string());
            }
            "remove_volumes" => {}
            _ if record.outcome == Outcome::Planned => record.outcome = Outcome::Done,
            _ => {}
        }
    }
    for backup in &mut report.backups {
        backup.digest = Some("5f".repeat(32));
    }
    report.next = vec![
        "rollback undo 20261123T013000Z-1a2b".to_string(),
        "rollback report 20261123T013000Z-1a2b".to_string(),
    ];
    report.error = Some(FailureRecord {
        story: "1.3".to_string(),
        kind: "failed".to_string(),
        message: "`npm` ended with status 1: `EACCES: permission denied, unlink node_modules/duckdb`"
            .to_string(),
        hint: Some("make `node_modules` writable, then run it again".to_string()),
        at: None,
    });
    report.audit_head = Some(AuditHead {
        log_id: "log-1".to_string(),
        seq: 41,
        hash: "ab".repeat(32),
    });
    report
}

//! The schemas in `docs/schema/` describe what the program writes: what a type of ours serialises into, and for
//! the rest an example of each shape.

use serde_json::{Value, json};

use super::render::error_json;
use crate::base::error::{Error, Kind, Position};
use crate::report::text::sample::{preview, real};
use crate::report::{Mode, RunKind, RunOutcome};

const SCHEMAS: [(&str, &str); 12] = [
    ("alert", include_str!("../../docs/schema/alert.json")),
    ("alerts", include_str!("../../docs/schema/alerts.json")),
    ("audit", include_str!("../../docs/schema/audit.json")),
    ("backups", include_str!("../../docs/schema/backups.json")),
    ("check", include_str!("../../docs/schema/check.json")),
    ("error", include_str!("../../docs/schema/error.json")),
    ("features", include_str!("../../docs/schema/features.json")),
    ("history", include_str!("../../docs/schema/history.json")),
    ("monitor", include_str!("../../docs/schema/monitor.json")),
    ("report", include_str!("../../docs/schema/report.json")),
    ("status", include_str!("../../docs/schema/status.json")),
    ("tests", include_str!("../../docs/schema/tests.json")),
];

fn problems(name: &str, document: &Value) -> Vec<String> {
    let (_, text) = SCHEMAS.iter().find(|(known, _)| *known == name).unwrap();
    let schema: Value = serde_json::from_str(text).unwrap();
    assert_eq!(schema["$id"], format!("rollback.{name}/1"));
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect()
}

fn examples() -> Vec<(&'static str, Value)> {
    let head = json!({"log_id": "log-1", "seq": 41, "hash": "ab".repeat(32)});
    vec![
        (
            "alert",
            json!({"schema": "rollback.alert/1", "id": "20261123T013000Z-1a2b3c4d5e6f", "kind": "failure",
            "severity": "critical", "at": "2026-11-23T01:30:00.000Z", "title": "rollback of 1.3 failed",
            "text": "Error: no", "facts": {"story": "1.3"}, "run": null, "group": "run 1", "held_back": 0}),
        ),
        (
            "alerts",
            json!({"schema": "rollback.alerts/1", "channels": [{"name": "ops", "type": "webhook", "pending": 1,
            "dead": 0, "held_back": 2}], "alerts": [{"id": "20261123T013000Z-1a2b3c4d5e6f", "channel": "ops",
            "state": "pending", "kind": "failure", "severity": "critical", "at": "2026-11-23T01:30:00.000Z",
            "title": "rollback of 1.3 failed", "run": null, "attempts": 1, "last_error": "HTTP 503",
            "next_attempt": "2026-11-23T01:30:10.000Z"}], "attempts": [{"channel": "ops",
            "id": "20261123T013000Z-1a2b3c4d5e6f", "state": "pending", "answer": "HTTP 503", "ms": 3}],
            "busy": [], "problems": [], "unreadable": []}),
        ),
        (
            "audit",
            json!({"schema": "rollback.audit/1", "ok": false, "records": 42, "head": head,
            "damage": [{"kind": "torn-tail", "segment": "000001.jsonl", "seq": 7}]}),
        ),
        (
            "backups",
            json!({"schema": "rollback.backups/1", "backups": [{"name": "duckdb_data_20261123_013000",
            "path": "rollback_backups/duckdb_data_20261123_013000", "source": "data/duckdb", "story": "1.3",
            "created": "2026-11-23T01:30:00.000Z", "entries": 4, "bytes": 48, "method": "moved",
            "complete": true, "verified": null}]}),
        ),
        (
            "check",
            json!({"schema": "rollback.check/1", "ok": false, "exit_code": 3, "scripts": [{
            "file": "rollback/reports.rhai", "story": {"id": "9.1", "title": "Quarterly reports"},
            "imports": [{"line": 1, "path": "std/story", "embedded": true, "functions": ["retire_data"],
            "words": ["retire_dir"]}],
            "header": [{"line": 4, "about": "data/reports", "answer": "allowed",
            "rule": "policy.write: workspace", "why": null, "hint": null}],
            "words": [{"line": 8, "column": 5, "functions": ["execute"], "word": "remove_path",
            "arguments": [{"name": "path", "computed": false, "text": "\"../other\"", "value": "../other"}],
            "policy": [{"about": "../other", "answer": "refused", "rule": null,
            "why": "`../other` goes up with `..`", "hint": null}]}],
            "warnings": [{"line": 9, "message": "the script asks whether this is a dry run: a real run may differ"}],
            "problems": [error_json(&Error::script("unknown function `remove_pth`"))]}]}),
        ),
        ("error", error_json(&Error::denied("`rm` isn't listed"))),
        (
            "features",
            json!({"schema": "rollback.features/1", "features": [{"name": "dbt", "raw": true,
            "effective": false, "dependencies": ["duckdb_analytics"], "dependents": [],
            "description": "dbt models"}]}),
        ),
        (
            "history",
            json!({"schema": "rollback.history/1", "runs": [{"run": "20261123T013000Z-1a2b",
            "kind": "rollback", "mode": "real", "stories": ["1.3"], "started": "2026-11-23T01:30:00.000Z",
            "outcome": "done", "undone_by": null}]}),
        ),
        (
            "monitor",
            json!({"schema": "rollback.monitor/1", "at": "2026-11-23T01:30:00.000Z", "triggers": [{
            "name": "error rate", "service": "duckdb", "metric": "error_rate", "value": 0.5, "threshold": 0.1,
            "samples": 120, "verdict": "breach", "why": "60 of 120 events", "action": "alert"}]}),
        ),
        ("report", serde_json::to_value(preview()).unwrap()),
        (
            "status",
            json!({"schema": "rollback.status/1", "workspace": "/srv/app", "stories": [{"id": "1.3",
            "title": "DuckDB Local Analytics", "feature": "duckdb_analytics", "script": "embedded",
            "flag": {"raw": true, "effective": true}, "present": ["data/duckdb"], "last_run": null,
            "backups": []}], "unfinished_run": null}),
        ),
        (
            "tests",
            json!({"schema": "rollback.tests/1", "exit_code": 1, "tests": [{"file": "rollback/reports.rhai",
            "name": "test_all", "passed": false, "failure": error_json(&Error::failed("no"))}]}),
        ),
    ]
}

#[test]
fn schemas_accept_what_the_contract_shows() {
    for (name, document) in examples() {
        assert_eq!(problems(name, &document), [] as [&str; 0], "{name}: {document}");
    }
}

#[test]
fn schemas_accept_new_fields_and_miss_each_required_one() {
    for (name, document) in examples() {
        let fields = document.as_object().unwrap();
        let mut more = document.clone();
        more["a_field_of_tomorrow"] = json!(1);
        assert_eq!(problems(name, &more), [] as [&str; 0], "{name}");
        for field in fields.keys() {
            let mut less = fields.clone();
            less.remove(field);
            assert_eq!(
                problems(name, &Value::Object(less)).len(),
                1,
                "{name} without {field}"
            );
        }
    }
}

#[test]
fn every_kind_of_report_is_valid() {
    let mut report = real();
    report.undoes = Some("20261123T013000Z-1a2b".to_string());
    for kind in [
        RunKind::Rollback,
        RunKind::Undo,
        RunKind::Recover,
        RunKind::Backup,
        RunKind::Restore,
        RunKind::Feature,
        RunKind::Prune,
    ] {
        for outcome in [
            RunOutcome::Planned,
            RunOutcome::Done,
            RunOutcome::Failed,
            RunOutcome::Partial,
            RunOutcome::Refused,
            RunOutcome::NotApproved,
            RunOutcome::Interrupted,
        ] {
            (report.kind, report.outcome) = (kind, outcome);
            assert_eq!(
                problems("report", &serde_json::to_value(&report).unwrap()),
                [] as [&str; 0]
            );
        }
    }
    report.mode = Mode::DryRun;
    report.started = "2026-11-23T01:30:00Z".to_string();
    assert_eq!(
        problems("report", &serde_json::to_value(&report).unwrap()).len(),
        1,
        "no milliseconds"
    );
}

#[test]
fn every_kind_of_error_is_valid() {
    for kind in [
        Kind::Usage,
        Kind::Configuration,
        Kind::Script,
        Kind::Limit,
        Kind::NotFound,
        Kind::Denied,
        Kind::InUse,
        Kind::Exists,
        Kind::Invalid,
        Kind::Failed,
        Kind::Cancelled,
        Kind::NotApproved,
        Kind::Locked,
        Kind::Changed,
        Kind::Corrupt,
        Kind::Unfinished,
        Kind::Bug,
    ] {
        let error = Error::new(kind, "no").hint("yes").after_changes().at(Position {
            file: "rollback/1.3.rhai".to_string(),
            line: 3,
            column: 5,
            source: Some("secret".into()),
        });
        let document = error_json(&error);
        assert_eq!(problems("error", &document), [] as [&str; 0], "{document}");
        assert!(!document.to_string().contains("secret"));
    }
}

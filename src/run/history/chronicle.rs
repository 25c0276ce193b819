//! The runs as the audit log tells them: which there were, of what kind, in what order, and how each ended. The log is the
//! truth; `report.json` of a run is an index of it that may be lost, and is then made anew from here.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::audit::{record, segments};
use crate::base::error::Result;
use crate::report::effect::{Outcome, Risk};
use crate::report::undo::{Move, Undo};
use crate::report::{AuditHead, Flags, Mode, OperationRecord, PathRecord, Report, RunKind, RunOutcome};
use crate::workspace::spelling;

/// In the record of an operation by which a recovery sweeps up.
const SWEEPS: &str = "\"op\":\"recover\"";

/// The runs of a log, in its order.
#[derive(Debug, Default)]
pub struct Chronicle {
    directory: PathBuf,
    /// Each run, in the order in which they began.
    pub runs: Vec<Logged>,
    places: HashMap<String, usize>,
    log_id: String,
    /// What was pruned of the stores of runs, and when.
    pruned: Vec<(String, String)>,
}

/// A run as far as the log tells it.
#[derive(Debug, Default)]
pub struct Logged {
    /// The run.
    pub run: String,
    /// Number of its first record.
    pub seq: u64,
    /// What its start says; empty where that record is lost.
    start: Map<String, Value>,
    /// The record of its end.
    end: Option<Map<String, Value>>,
    /// When its last record was written.
    last: String,
    /// Whether the newest operation is of a recovery, which sweeps up after the run.
    is_swept: bool,
    /// Whether an operation of its own came to its end.
    has_done: bool,
}

fn text<'a>(record: &'a Map<String, Value>, key: &str) -> &'a str {
    record.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn read_as<T: DeserializeOwned>(record: &Map<String, Value>, key: &str) -> Option<T> {
    serde_json::from_value(record.get(key)?.clone()).ok()
}

fn owned(record: &Map<String, Value>, key: &str) -> Option<String> {
    record.get(key).and_then(Value::as_str).map(str::to_owned)
}

impl Chronicle {
    /// What a log tells.
    ///
    /// # Errors
    /// What the system says; what can't be read of the log tells nothing.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut chronicle = Self {
            directory: directory.to_path_buf(),
            ..Self::default()
        };
        segments::lines(directory, |line| {
            let Some(front) = std::str::from_utf8(line).ok().and_then(record::front) else {
                return;
            };
            let known = chronicle.places.get(front.run).copied();
            if let Some(logged) = known.and_then(|place| chronicle.runs.get_mut(place)) {
                front.ts.clone_into(&mut logged.last);
            }
            let whole = || serde_json::from_slice::<Map<String, Value>>(line).unwrap_or_default();
            match front.event {
                "run_started" => {
                    let start = whole();
                    let logged = chronicle.logged(&front);
                    if logged.start.is_empty() {
                        logged.start = start;
                    }
                }
                "run_finished" => chronicle.logged(&front).end = Some(whole()),
                "operation_finished" => {
                    let logged = chronicle.logged(&front);
                    logged.has_done |= !logged.is_swept;
                }
                "operation_begun" => {
                    chronicle.logged(&front).is_swept =
                        memchr::memmem::find(line, SWEEPS.as_bytes()).is_some();
                    if memchr::memmem::find(line, b"\"op\":\"prune\"").is_some() {
                        let begun = whole();
                        let target = text(&begun, "target").to_owned();
                        chronicle.pruned.push((target, front.ts.to_owned()));
                    }
                }
                _ => {}
            }
        })?;
        Ok(chronicle)
    }

    fn logged(&mut self, front: &record::Front<'_>) -> &mut Logged {
        front.log.clone_into(&mut self.log_id);
        let place = *self.places.entry(front.run.to_owned()).or_insert_with(|| {
            self.runs.push(Logged {
                run: front.run.to_owned(),
                seq: front.seq,
                last: front.ts.to_owned(),
                ..Logged::default()
            });
            self.runs.len() - 1
        });
        // The place was just given to it.
        &mut self.runs[place]
    }

    /// What the log tells of a run.
    #[must_use]
    pub fn get(&self, run: &str) -> Option<&Logged> {
        self.runs.get(*self.places.get(run)?)
    }

    /// When a part of the store of a run was pruned, if it was and is not there any more.
    #[must_use]
    pub fn pruned(&self, root: &Path, run: &str) -> Option<&str> {
        let store = format!("{}/runs/{run}/", crate::workspace::STATE);
        self.pruned
            .iter()
            .find(|(target, _)| target.starts_with(&store) && !root.join(target).exists())
            .map(|(_, at)| at.as_str())
    }

    /// Whether a run did something: one that was cut off in its first operation, and settled, did not.
    #[must_use]
    pub fn has_done(&self, run: &str) -> bool {
        self.get(run).is_none_or(|logged| logged.has_done)
    }

    /// Where a run stands that only its index tells of: before the first of the log, unless its end is known to be in
    /// this log.
    #[must_use]
    pub fn place(&self, report: &Report) -> u64 {
        match &report.audit_head {
            Some(head) if head.log_id == self.log_id => head.seq,
            _ => 0,
        }
    }

    /// The report of a run, made of nothing but the log: what only the index held (checks, flags, backups, what was left
    /// alone) is not in it, and it says so.
    ///
    /// # Errors
    /// What the system says.
    pub fn rebuild(&self, logged: &Logged) -> Result<Report> {
        let mut operations: Vec<OperationRecord> = Vec::new();
        segments::read_run(&self.directory, &logged.run, |record| {
            let n = record
                .get("n")
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0);
            match text(record, "event") {
                "operation_begun" => operations.push(begun(record, n)),
                event @ ("operation_finished" | "operation_failed") => {
                    let Some(operation) = operations.iter_mut().rev().find(|operation| operation.n == n)
                    else {
                        return;
                    };
                    (operation.outcome, operation.why) = if event == "operation_finished" {
                        (Outcome::Done, owned(record, "why"))
                    } else {
                        (Outcome::Failed, owned(record, "message"))
                    };
                }
                "operation_denied" => operations.push(OperationRecord {
                    outcome: Outcome::Denied,
                    why: owned(record, "message"),
                    ..begun(record, n)
                }),
                _ => {}
            }
        })?;
        let start = &logged.start;
        let end = logged.end.clone().unwrap_or_default();
        Ok(logged.corrected(Report {
            schema: "rollback.report/1".to_owned(),
            run: logged.run.clone(),
            plan: text(start, "plan").to_owned(),
            kind: RunKind::default(),
            mode: Mode::Real,
            stories: read_as(start, "stories").unwrap_or_default(),
            reason: owned(start, "reason"),
            trigger: owned(start, "trigger").unwrap_or_else(|| "manual".to_owned()),
            user: text(start, "user").to_owned(),
            host: text(start, "host").to_owned(),
            started: owned(start, "ts").unwrap_or_else(|| logged.last.clone()),
            finished: logged.last.clone(),
            outcome: RunOutcome::Interrupted,
            exit_code: crate::base::exit_code::ExitCode::Unfinished.number(),
            operations,
            backups: Vec::new(),
            checks: Vec::new(),
            flags: Flags::default(),
            warnings: vec![
                "made anew from the audit log, because the report in `.rollback/runs` can't be read: checks, \
                 flags, backups and what was left alone are not in it"
                    .to_owned(),
            ],
            next: vec![format!("rollback undo {}", logged.run)],
            audit_head: logged.end.is_some().then(|| AuditHead {
                log_id: text(&end, "log").to_owned(),
                seq: end.get("seq").and_then(Value::as_u64).unwrap_or_default(),
                hash: text(&end, "hash").to_owned(),
            }),
            error: None,
            undoes: None,
            about: owned(start, "about"),
            explanation: None,
        }))
    }
}

/// An operation as its intent tells it: nothing is known of its end yet.
fn begun(record: &Map<String, Value>, n: u32) -> OperationRecord {
    let undo: Undo = read_as(record, "undo").unwrap_or(Undo::Nothing { why: String::new() });
    OperationRecord {
        n,
        story: text(record, "story").to_owned(),
        phase: text(record, "phase").to_owned(),
        step: owned(record, "step"),
        op: text(record, "op").to_owned(),
        target: text(record, "target").to_owned(),
        summary: text(record, "summary").to_owned(),
        paths: paths(&undo),
        risk: read_as(record, "risk").unwrap_or(Risk::None),
        undo: undo.class(),
        outcome: Outcome::Unknown,
        why: Some("it was cut off".to_owned()),
        rule: None,
        ms: 0,
    }
}

/// Each of the paths of an operation that is about several, whose sizes the log does not hold.
fn paths(undo: &Undo) -> Vec<PathRecord> {
    let Undo::MoveBack {
        moves, apart: true, ..
    } = undo
    else {
        return Vec::new();
    };
    let path = |each: &Move| {
        let path = spelling::for_people(&each.from);
        PathRecord {
            sized: format!("`{path}`"),
            path,
        }
    };
    moves.iter().map(path).collect()
}

impl Logged {
    /// Whether its end is in the log.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end.is_some()
    }

    /// What its start says of it, for going on with it; nothing where that record is lost.
    #[must_use]
    pub fn start(&self) -> Option<&Map<String, Value>> {
        (!self.start.is_empty()).then_some(&self.start)
    }

    /// The report, with what the log says otherwise.
    #[must_use]
    pub fn corrected(&self, mut report: Report) -> Report {
        if !self.start.is_empty() {
            report.kind = RunKind::of_record(text(&self.start, "kind"), text(&self.start, "word"));
            report.undoes = owned(&self.start, "undoes");
        }
        if let Some(end) = &self.end {
            report.outcome = read_as(end, "outcome").unwrap_or(report.outcome);
            report.exit_code = read_as(end, "exit_code").unwrap_or(report.exit_code);
        }
        report
    }
}

/// Times that never go back along the order of the log: a clock that was set back makes nothing older than what came
/// before it.
pub fn monotone<T: Copy + Ord>(times: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut latest = None;
    times
        .into_iter()
        .map(|time| {
            let time = latest.map_or(time, |latest: T| latest.max(time));
            latest = Some(time);
            time
        })
        .collect()
}

/// Each run with its place in the order.
pub fn places(reports: &[Report]) -> BTreeMap<&str, usize> {
    reports
        .iter()
        .enumerate()
        .map(|(place, report)| (report.run.as_str(), place))
        .collect()
}

//! Runs as recorded.
//!
//! The audit log tells which runs there were. On disk besides: `.rollback/runs/<run>/report.json` for a run that was closed;
//! `.rollback/active` names the run at work, and a run that was cut off leaves it behind.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::{chain, segments};
use crate::base::error::{Error, Result};
use crate::base::{clock, wording};
use crate::records::Records;
use crate::report::Report;
use crate::report::options::Options;
use crate::report::undo::Undo;
use crate::run::{Context, Request};
use crate::view::Errand;
use crate::workspace::lock::Lock;
use chronicle::Chronicle;

/// The runs as the log tells them.
pub mod chronicle;

/// Taking an edit back from a file that was edited since.
pub mod merge;

/// What stands in the way of an undo.
pub mod hindrance;

/// Three texts made one.
pub mod three_way;

/// Settling a run that was cut off.
pub mod recover;

/// Taking a run back.
pub mod undo;

/// The most that a record of a run may hold, in bytes.
pub(crate) const REPORT: u64 = 256 << 20;

/// The runs of a workspace.
#[derive(Debug)]
pub struct History {
    state: PathBuf,
    records: Records,
}

/// An operation as the audit log tells it.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Number in the run.
    pub n: u32,
    /// The story.
    pub story: String,
    /// The word.
    pub op: String,
    /// What it is about.
    pub target: String,
    /// How it is taken back.
    pub undo: Undo,
    /// When it was begun, nanoseconds since the epoch.
    pub begun_ns: i64,
    /// `Some(true)`: finished; `Some(false)`: failed; `None`: cut off.
    pub finished: Option<bool>,
}

/// What `.rollback/active` says of the run at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Active {
    /// The run.
    pub run: String,
    /// Its stories, by their ids.
    pub stories: Vec<String>,
    /// When it began.
    pub started: String,
    /// The process.
    pub pid: u32,
    /// An undo: the run that it takes back.
    #[serde(default)]
    pub undoes: Option<String>,
    /// What was asked for; for an undo of single stories, these.
    pub asked: Options,
}

impl Active {
    /// The mark of a rollback.
    #[must_use]
    pub fn of_run(errand: &Errand, request: &Request) -> Self {
        Self {
            run: errand.run.clone(),
            stories: errand.stories.clone(),
            started: clock::timestamp(std::time::SystemTime::now()),
            pid: std::process::id(),
            undoes: None,
            asked: request.options.redacted(),
        }
    }

    /// The mark of a run as the record of its start tells it.
    fn of_record(start: &serde_json::Map<String, Value>) -> Option<Self> {
        let text = |key: &str| Some(start.get(key)?.as_str()?.to_owned());
        let read = |key: &str| start.get(key).cloned();
        Some(Self {
            run: text("run")?,
            stories: serde_json::from_value(read("stories")?).ok()?,
            started: text("ts")?,
            pid: 0,
            undoes: text("undoes"),
            asked: serde_json::from_value(read("asked")?).ok()?,
        })
    }

    /// The mark of an undo.
    #[must_use]
    pub fn of_undo(errand: &Errand, undone: &Report, request: &Request) -> Self {
        let mut active = Self::of_run(errand, request);
        active.undoes = Some(undone.run.clone());
        active.asked.stories.clone_from(&request.only);
        active
    }
}

impl History {
    /// The history of a workspace.
    #[must_use]
    pub fn of(context: &Context) -> Self {
        Self {
            state: context.workspace.state(),
            records: context.host.records.clone(),
        }
    }

    fn mark(&self) -> PathBuf {
        self.state.join("active")
    }

    /// Marks a run as at work, in place of the one whose mark was there: before its first record is written, so that a
    /// cut at any instant after it is told.
    ///
    /// # Errors
    /// What the system says.
    pub fn activate(&self, active: &Active) -> Result<()> {
        self.records
            .directory(&self.state.join("runs").join(&active.run))?;
        self.records
            .write(&self.mark(), format!("{}\n", json!(active)).as_bytes())
    }

    /// Takes the mark away.
    ///
    /// # Errors
    /// What the system says.
    pub fn deactivate(&self) -> Result<()> {
        self.records.remove(&self.mark())
    }

    /// What the mark says, if there is one. Where it can't be read, the log knows which run began and has no end.
    #[must_use]
    pub fn active(&self) -> Option<Active> {
        let text = crate::workspace::text(&self.mark(), REPORT);
        if let Some(active) = text.ok().and_then(|text| serde_json::from_str(&text).ok()) {
            return Some(active);
        }
        std::fs::symlink_metadata(self.mark()).ok()?;
        let chronicle = self.chronicle().ok()?;
        let open = chronicle.runs.iter().rev().find(|logged| !logged.is_closed())?;
        Active::of_record(open.start()?)
    }

    /// The run that was cut off, if one was; only true while nobody holds the workspace.
    #[must_use]
    pub fn unfinished(&self) -> Option<String> {
        use ErrorKind::{NotADirectory, NotFound, PermissionDenied};
        match crate::workspace::text(&self.mark(), REPORT) {
            // Who may not read the mark may not record either.
            Err(error) if matches!(error.kind(), NotFound | NotADirectory | PermissionDenied) => None,
            logged => Some(self.active().map_or_else(
                || match logged {
                    Err(error) => format!("(unreadable mark .rollback/active: {error})"),
                    Ok(_) => "(unreadable mark .rollback/active)".to_owned(),
                },
                |active| active.run,
            )),
        }
    }

    /// Keeps the report of a run.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, report: &Report) -> Result<()> {
        let path = self.state.join("runs").join(&report.run).join("report.json");
        self.records
            .write(&path, format!("{}\n", json!(report)).as_bytes())
    }

    /// What the log tells of the runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn chronicle(&self) -> Result<Chronicle> {
        Chronicle::read(&self.state.join("audit"))
    }

    /// All runs but the one at work, in the order in which they began: the order of the log, whatever the clock said.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self) -> Result<Vec<Report>> {
        self.list_of(&self.chronicle()?)
    }

    /// As [`History::list`], of a log that was read.
    ///
    /// # Errors
    /// What the system says.
    pub fn list_of(&self, chronicle: &Chronicle) -> Result<Vec<Report>> {
        let mut placed: Vec<(u64, Report)> = Vec::new();
        for logged in &chronicle.runs {
            let report = match self.index(&logged.run) {
                Some(report) => logged.corrected(report),
                // What has neither an end nor a mark was cut off too, unless it is at work.
                None if logged.is_closed() || !self.is_at_work() => chronicle.rebuild(logged)?,
                None => continue,
            };
            placed.push((logged.seq, report));
        }
        let only_indexed = self.names()?.into_iter();
        let only_indexed = only_indexed.filter(|name| chronicle.get(name).is_none());
        let only_indexed = only_indexed.filter_map(|name| self.index(&name));
        placed.extend(only_indexed.map(|report| (chronicle.place(&report), report)));
        placed.sort_by(|(left, one), (right, other)| {
            let by_clock = |at: u64, report: &Report| (at == 0).then(|| report.started.clone());
            (left, by_clock(*left, one)).cmp(&(right, by_clock(*right, other)))
        });
        Ok(placed.into_iter().map(|(_, report)| report).collect())
    }

    /// Whether a run is at work, or its mark is still there.
    fn is_at_work(&self) -> bool {
        let root = self.state.parent().unwrap_or(&self.state);
        std::fs::symlink_metadata(self.mark()).is_ok() || Lock::take(root).is_err()
    }

    /// The report in the directory of a run, where it can be read and is that run's.
    fn index(&self, run: &str) -> Option<Report> {
        let path = self.state.join("runs").join(run).join("report.json");
        let text = crate::workspace::contents(&path, REPORT).ok()?;
        let report: Report = serde_json::from_slice(&text).ok()?;
        (report.run == run).then_some(report)
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.state.join("runs")) {
            Ok(entries) => entries,
            // The log tells of the runs whatever stands here.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(Error::io("list the runs", &error)),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The report of a run.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] with the nearest name for an unknown run.
    pub fn load(&self, run: &str) -> Result<Report> {
        let chronicle = self.chronicle()?;
        if let Some(logged) = chronicle.get(run) {
            return match self.index(run) {
                Some(report) => Ok(logged.corrected(report)),
                None => chronicle.rebuild(logged),
            };
        }
        let plain = !run.is_empty()
            && run
                .chars()
                .all(|each| each.is_ascii_alphanumeric() || each == '-');
        if let (true, Some(report)) = (plain, self.index(run)) {
            return Ok(report);
        }
        let names = self.names().unwrap_or_default();
        let known = chronicle.runs.iter().map(|logged| logged.run.as_str());
        let near = wording::nearest(run, known.chain(names.iter().map(String::as_str)));
        Err(Error::usage(format!("unknown run `{run}`")).hint(match near {
            Some(near) => format!("did you mean `{near}`? `rollback history` lists the runs"),
            None => "`rollback history` lists the runs".to_owned(),
        }))
    }

    /// The run that took `run` back as a whole, if one did.
    #[must_use]
    pub fn undone_by<'a>(reports: &'a [Report], run: &str) -> Option<&'a str> {
        let stories = reports
            .iter()
            .find(|report| report.run == run)
            .map(|report| report.stories.as_slice())
            .unwrap_or_default();
        reports
            .iter()
            .rev()
            .find(|report| {
                report.undoes.as_deref() == Some(run)
                    && stories.iter().all(|story| report.stories.contains(story))
                    && report.outcome == crate::report::RunOutcome::Done
                    && Self::undone_by(reports, &report.run).is_none()
            })
            .map(|report| report.run.as_str())
    }

    /// Whether the log can be trusted from a run's first record on: its undos are read from there.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Corrupt`] where it was changed since, otherwise what the system says.
    pub fn require_sound(&self, report: &Report) -> Result<()> {
        let directory = self.state.join("audit");
        let mut first = None;
        segments::read_run(&directory, &report.run, |record| {
            first = first.or(record.get("seq").and_then(Value::as_u64));
        })?;
        let head = report.audit_head.as_ref().map(|head| head.hash.as_str());
        let verified = chain::verify(&directory, head)?;
        let damage = verified
            .damage
            .iter()
            .find(|damage| damage.kind != "torn-tail" && first.is_none_or(|first| damage.seq >= first));
        let Some(damage) = damage else { return Ok(()) };
        Err(Error::corrupt(format!(
            "the audit log is damaged where it tells how to take run {} back: {} at record {}",
            report.run, damage.kind, damage.seq
        ))
        .hint("`rollback audit verify` tells more; what the run removed lies in its directory below `.rollback/runs`; --force goes by what is left of the log"))
    }

    /// The operations of a run, as the audit log tells them, in order.
    ///
    /// # Errors
    /// What the system says.
    pub fn operations(&self, run: &str) -> Result<Vec<Begun>> {
        let mut operations: Vec<Begun> = Vec::new();
        segments::read_run(&self.state.join("audit"), run, |record| {
            let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
            let n = record
                .get("n")
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0);
            match text("event") {
                "operation_begun" => {
                    let undo = record.get("undo").cloned().unwrap_or(Value::Null);
                    let undo = serde_json::from_value(undo).unwrap_or_else(|error| Undo::Nothing {
                        why: format!("its record cannot be read: {error}"),
                    });
                    operations.push(Begun {
                        n,
                        story: text("story").to_owned(),
                        op: text("op").to_owned(),
                        target: text("target").to_owned(),
                        undo,
                        begun_ns: clock::nanoseconds(text("ts")).unwrap_or(0),
                        finished: None,
                    });
                }
                event @ ("operation_finished" | "operation_failed") => {
                    if let Some(operation) = operations.iter_mut().rev().find(|operation| operation.n == n) {
                        operation.finished = Some(event == "operation_finished");
                    }
                }
                _ => {}
            }
        })?;
        Ok(operations)
    }
}

#[cfg(test)]
mod tests;

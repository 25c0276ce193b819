//! A run as told to people and programs: `rollback.report/1` and its renderings.
//!
//! On disk: `rollback_reports/<kind>_<story>_<YYYYMMDD_HHMMSS>.{json,md,html}`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{redact, wording};
use crate::report::effect::{BackupMade, Outcome, Risk};
use crate::report::undo::UndoClass;

/// Something that happened, for people and programs elsewhere.
pub mod alert;

/// What an operation needs, rests on, risks and comes to.
pub mod effect;

/// What an undo takes back, and what it does not.
pub mod explanation;

/// What a run is, as a phrase.
pub mod heading;

/// HTML, for reading in a browser and for sending on.
pub mod html;

/// Markdown, for reading and for reviews.
pub mod markdown;

/// What a run was asked for.
pub mod options;

/// Text, for the terminal.
pub mod text;

/// How what was done is taken back.
pub mod undo;

/// What kind of run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Stories were rolled back.
    #[default]
    Rollback,
    /// An earlier run was taken back.
    Undo,
    /// A run that was cut off was settled.
    Recover,
    /// A backup was made, sealed or put back on trial.
    Backup,
    /// A backup was put back.
    Restore,
    /// A feature was switched.
    Feature,
    /// Backups and run stores were removed.
    Prune,
}

impl RunKind {
    /// As in the log and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Undo => "undo",
            Self::Recover => "recover",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Feature => "feature",
            Self::Prune => "prune",
        }
    }

    /// The kind that the record of a start names. Version 0.1 called a word outside of a story a rollback, and had names
    /// of their own for what is done to a backup.
    #[must_use]
    pub fn of_record(kind: &str, word: &str) -> Self {
        match (kind, word) {
            ("rollback", "set_flag") | ("feature", _) => Self::Feature,
            ("rollback", "backup_dir") | ("backup" | "seal" | "trial-restore", _) => Self::Backup,
            ("rollback", "restore_backup") | ("restore", _) => Self::Restore,
            ("undo", _) => Self::Undo,
            ("recover", _) => Self::Recover,
            ("prune", _) => Self::Prune,
            _ => Self::Rollback,
        }
    }
}

/// Preview or real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nothing was changed.
    DryRun,
    /// It happened.
    Real,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// A preview.
    Planned,
    /// Everything was done.
    Done,
    /// An operation or check failed.
    Failed,
    /// Some stories failed, others succeeded.
    Partial,
    /// Policy refused.
    Refused,
    /// Nobody said yes.
    NotApproved,
    /// A signal ended it.
    Interrupted,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Number in the run, from 1.
    pub n: u32,
    /// The story's id; empty outside a story.
    pub story: String,
    /// `before`, `prepare`, `execute`, `validate`, `finish`, `after` or `undo`.
    pub phase: String,
    /// The innermost step's title.
    pub step: Option<String>,
    /// The word of the script.
    pub op: String,
    /// What it is about.
    pub target: String,
    /// One line.
    pub summary: String,
    /// Each of the paths, where it is about several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathRecord>,
    /// What is at stake.
    pub risk: Risk,
    /// How well it can be taken back.
    pub undo: UndoClass,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it is so.
    pub why: Option<String>,
    /// The rule of the policy that allowed or refused it.
    pub rule: Option<String>,
    /// Duration in milliseconds.
    pub ms: u64,
}

/// One of several paths of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathRecord {
    /// The path.
    pub path: String,
    /// The path with how much stands there, as in a summary.
    pub sized: String,
}

impl OperationRecord {
    /// What it is about: each of several paths, or its target.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        let own = self.paths.is_empty().then_some(self.target.as_str());
        own.into_iter()
            .chain(self.paths.iter().map(|each| each.path.as_str()))
    }
}

/// One check of the validation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// The story's id.
    pub story: String,
    /// What is checked.
    pub title: String,
    /// Whether it holds; `None`: it rests on something that could not be looked at, and `detail` says on what.
    pub passed: Option<bool>,
    /// What was found.
    pub detail: Option<String>,
}

/// How many checks came to which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// They hold.
    pub passed: usize,
    /// They don't.
    pub failed: usize,
    /// Nobody can tell.
    pub unknown: usize,
}

impl Tally {
    /// "6 of 8 checks passed, 1 unknown", with the verb of a preview or of a real run.
    #[must_use]
    pub fn sentence(&self, verb: &str) -> String {
        let total = wording::plural(self.passed + self.failed + self.unknown, "check");
        let unknown = match self.unknown {
            0 => String::new(),
            count => format!(", {count} unknown"),
        };
        format!("{} of {total} {verb}{unknown}", self.passed)
    }
}

impl Report {
    /// The checks by their verdicts.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for check in &self.checks {
            match check.passed {
                Some(true) => tally.passed += 1,
                Some(false) => tally.failed += 1,
                None => tally.unknown += 1,
            }
        }
        tally
    }
}

impl CheckRecord {
    /// Whether it fails: what is unknown does where validation is strict.
    #[must_use]
    pub fn fails(&self, strict: bool) -> bool {
        !self.passed.unwrap_or(!strict)
    }
}

/// Flags before and after; only those that the run changed or the stories own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    /// Raw truth before.
    pub before: BTreeMap<String, bool>,
    /// Raw truth after.
    pub after: BTreeMap<String, bool>,
}

/// Head of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// Identity of the log.
    pub log_id: String,
    /// Sequence number of the last record.
    pub seq: u64,
    /// Its hash, in hexadecimal.
    pub hash: String,
}

/// A run, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `rollback.report/1`.
    pub schema: String,
    /// The run's id.
    pub run: String,
    /// The plan's id.
    pub plan: String,
    /// What kind of run.
    pub kind: RunKind,
    /// Preview or real.
    pub mode: Mode,
    /// Ids of the stories, in the order in which they ran.
    pub stories: Vec<String>,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// What set it off: `manual`, `data-corruption`, ...
    pub trigger: String,
    /// Who.
    pub user: String,
    /// Where.
    pub host: String,
    /// RFC 3339 UTC with milliseconds.
    pub started: String,
    /// RFC 3339 UTC with milliseconds.
    pub finished: String,
    /// How it ended.
    pub outcome: RunOutcome,
    /// The exit code.
    pub exit_code: u8,
    /// Every operation, in order.
    pub operations: Vec<OperationRecord>,
    /// Backups that were (or would be) made.
    pub backups: Vec<BackupMade>,
    /// The validation.
    pub checks: Vec<CheckRecord>,
    /// Flags before and after.
    pub flags: Flags,
    /// What the person should know.
    pub warnings: Vec<String>,
    /// What the person can type next.
    pub next: Vec<String>,
    /// The head of the audit log at the end; absent in a preview.
    pub audit_head: Option<AuditHead>,
    /// The failure that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureRecord>,
    /// Identity of undone run for an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// What a run without stories is about: a backup, a feature, the run that is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What an undo takes back, and what it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<explanation::Explanation>,
}

/// A failure inside a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureRecord {
    /// The story in which it happened; empty outside a story.
    pub story: String,
    /// The kind's name.
    pub kind: String,
    /// What went wrong.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// The place in the script or the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<crate::base::error::Position>,
}

impl FailureRecord {
    /// What an error says, without secrets.
    #[must_use]
    pub fn of(story: &str, error: &crate::base::error::Error) -> Self {
        Self {
            story: story.to_owned(),
            kind: error.kind().name().to_owned(),
            message: redact::rendered(error.message()),
            hint: error.hint_text().map(redact::redact),
            at: error.position().cloned(),
        }
    }
}

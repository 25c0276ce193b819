//! What people are told: a breach, its end, a rollback and what became of it, an incident. Its identity is the same however
//! often it is told, so that a receiver can tell a second copy.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Assessment;
use super::ledger::Step;
use super::security::{Incident, Level};
use super::state::Attempt;
use super::trigger::Trigger;
use super::units::{show, time};
use crate::base::error::Result;
use crate::base::redact::redact;
use crate::report::alert::{self, Alert};
use crate::workspace::monitor_config::Severity;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A trigger is in alarm.
    Breach,
    /// An alarm has ended.
    Recovery,
    /// An automatic rollback is done.
    Completion,
    /// An automatic rollback is not, or not wholly, done.
    Failure,
    /// The security log tells of an attack.
    SecurityIncident,
}

impl Kind {
    /// As JSON writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breach => "breach",
            Self::Recovery => "recovery",
            Self::Completion => "completion",
            Self::Failure => "failure",
            Self::SecurityIncident => "security-incident",
        }
    }
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its identity.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// When, in ms.
    pub at: i64,
    /// One line.
    pub title: String,
    /// The numbers, and what to do.
    pub text: String,
    /// The same for programs.
    pub facts: Map<String, Value>,
    /// The run that it is about.
    pub run: Option<String>,
    /// Whether the run that it is about has told the channels itself, with its reason and its report.
    pub told_by_run: bool,
}

/// Whoever passes notices on.
pub trait Sink {
    /// Takes a notice, durably, before it returns.
    ///
    /// # Errors
    /// Where it can't be kept: it is tried again.
    fn raise(&mut self, notice: &Notice) -> Result<()>;
    /// Sends what waits, and comes back after `within` at the latest. Gives what did not work.
    fn deliver(&mut self, within: Duration) -> Vec<String>;
}

impl Notice {
    /// An identity out of what tells a notice apart.
    #[must_use]
    pub fn identity(parts: &[&str]) -> String {
        let digest = blake3::hash(parts.join("\u{0}").as_bytes()).to_hex();
        digest.as_str().get(..16).unwrap_or_default().to_owned()
    }

    /// The notice as an alert for the channels of `alerts:`.
    #[must_use]
    pub fn alert(&self) -> Alert {
        Alert {
            id: self.id.clone(),
            kind: match self.kind {
                Kind::Breach => alert::Kind::Breach,
                Kind::Recovery => alert::Kind::Recovery,
                Kind::Completion => alert::Kind::Completion,
                Kind::Failure => alert::Kind::Failure,
                Kind::SecurityIncident => alert::Kind::SecurityIncident,
            },
            severity: match self.severity {
                Severity::Info => alert::Severity::Info,
                Severity::Warning => alert::Severity::Warning,
                Severity::Critical => alert::Severity::Critical,
            },
            at: super::export::timestamp(self.at),
            title: self.title.clone(),
            text: self.text.clone(),
            facts: self.facts.clone(),
            run: self.run.clone(),
            // A breach of which nothing follows must not keep back that of which a rollback does.
            group: format!("{}/{}", self.kind.name(), self.title),
        }
    }

    /// The notice of a step that is told.
    #[must_use]
    pub fn of(assessment: &Assessment, now: i64) -> Self {
        let (trigger, judgement) = (&assessment.trigger, &assessment.judgement);
        let about = about(trigger, assessment.service.as_deref());
        let (kind, title, more) = match &assessment.step {
            Step::Recovery => (Kind::Recovery, format!("{about} is well again"), String::new()),
            Step::Rollback(story) => (
                Kind::Breach,
                format!("{about}: {story} is being rolled back"),
                format!(
                    "\nStory {story} is being rolled back, as `rollback run {story} --yes` does. Steps that lose data for good are \
                     not approved by that."
                ),
            ),
            Step::Alert(Some(held)) => {
                let story = trigger.story.as_deref().unwrap_or_default();
                (
                    Kind::Breach,
                    format!("{about} is in breach"),
                    format!(
                        "\nStory {story} is not rolled back: {held}. By hand: rollback run {story} --trigger {}",
                        trigger.metric.word()
                    ),
                )
            }
            _ => (Kind::Breach, format!("{about} is in breach"), String::new()),
        };
        let since = assessment.alarmed.unwrap_or(now);
        Self {
            id: Self::identity(&[kind.name(), &about, &since.to_string(), &now.to_string()]),
            kind,
            severity: if kind == Kind::Recovery {
                Severity::Info
            } else {
                trigger.severity
            },
            at: now,
            title,
            text: format!("{} (window {}){more}", judgement.why, time(trigger.window)),
            facts: facts(json!({
                "trigger": trigger.name, "service": assessment.service, "metric": trigger.metric.name(),
                "value": finite(judgement.value), "threshold": judgement.threshold, "samples": judgement.samples,
                "window_ms": trigger.window, "sustained_for_ms": trigger.sustained, "story": trigger.story,
            })),
            run: None,
            told_by_run: false,
        }
    }

    /// The notice of an incident.
    #[must_use]
    pub fn of_incident(incident: &Incident, now: i64) -> Self {
        let address = redact(&incident.address);
        Self {
            id: Self::identity(&[incident.pattern.name(), &address, &now.to_string()]),
            kind: Kind::SecurityIncident,
            severity: match incident.severity {
                Level::Medium => Severity::Warning,
                Level::High => Severity::Critical,
            },
            at: now,
            title: format!("{} from {address}", incident.pattern.name()),
            text: redact(&incident.why),
            facts: facts(json!({
                "pattern": incident.pattern, "address": address, "count": incident.count,
                "severity": incident.severity,
            })),
            run: None,
            told_by_run: false,
        }
    }

    /// The notice of the end of an automatic rollback: `document` is its report or its error.
    #[must_use]
    pub fn of_end(attempt: &Attempt, document: &Value, code: Option<i32>, said: &str, now: i64) -> Self {
        let story = &attempt.story;
        let text_of = |key: &str| document.get(key).and_then(Value::as_str);
        let run = text_of("run").filter(|run| !run.is_empty());
        let outcome = text_of("outcome").unwrap_or("failed");
        let done = code == Some(0) && outcome == "done";
        let nothing = code == Some(0) && outcome != "done";
        let title = if done {
            format!("{story} was rolled back")
        } else if nothing {
            format!("there was nothing to roll back for {story}")
        } else {
            format!("{story} could not be rolled back")
        };
        let mut text = format!("Because of `{}`: {}.", attempt.trigger, attempt.why);
        let failure = document
            .pointer("/error/message")
            .and_then(Value::as_str)
            .or_else(|| text_of("message"))
            .unwrap_or_else(|| said.lines().last().unwrap_or_default());
        if !done && !failure.is_empty() {
            text.push_str(&format!("\nOutcome: {outcome}: {}", redact(failure)));
        }
        if code == Some(5) {
            text.push_str(&format!(
                "\nIt has steps that lose data for good, which nobody approved: `rollback run {story}` shows and asks."
            ));
        }
        if code == Some(9) {
            text.push_str("\nAn earlier run was cut off: `rollback recover` settles it.");
        }
        if let Some(run) = run.filter(|_| done || outcome == "partial" || outcome == "failed") {
            text.push_str(&format!(
                "\n`rollback show {run}` tells what happened, `rollback undo {run}` takes it back."
            ));
        }
        Self {
            id: Self::identity(&["end", &attempt.id]),
            kind: if done { Kind::Completion } else { Kind::Failure },
            severity: if done || nothing {
                Severity::Warning
            } else {
                Severity::Critical
            },
            at: now,
            title,
            text,
            facts: facts(json!({
                "story": story, "trigger": attempt.trigger, "service": attempt.service, "outcome": outcome,
                "exit_code": code, "attempt": attempt.id,
            })),
            run: run.map(str::to_owned),
            told_by_run: code.is_some()
                && text_of("mode") == Some("real")
                && document.get("audit_head").is_some_and(|head| !head.is_null()),
        }
    }

    /// The notice of an automatic rollback that was cut off.
    #[must_use]
    pub fn of_cut(attempt: &Attempt, run: &str, now: i64) -> Self {
        Self {
            title: format!("the rollback of {} was cut off", attempt.story),
            text: format!("Run {run} was cut off: `rollback recover` settles it. It is not tried again."),
            run: Some(run.to_owned()),
            ..Self::of_end(attempt, &json!({}), None, "", now)
        }
    }

    /// The notice of an automatic rollback of which there is no record.
    #[must_use]
    pub fn of_none(attempt: &Attempt, why: &str, now: i64) -> Self {
        Self {
            title: format!("the rollback of {} did not begin", attempt.story),
            text: format!(
                "{why}. It is not tried again within the cooldown; by hand: rollback run {}",
                attempt.story
            ),
            ..Self::of_end(attempt, &json!({}), None, "", now)
        }
    }
}

impl Attempt {
    /// The reason of its run, for the audit log and the report.
    #[must_use]
    pub fn reason(&self, trigger: &Trigger) -> String {
        format!(
            "monitor: trigger `{}`{}: {} (window {}, threshold {}) [{}]",
            self.trigger,
            self.service
                .as_ref()
                .map(|service| format!(" of {service}"))
                .unwrap_or_default(),
            self.why,
            time(trigger.window),
            match trigger.limit {
                super::trigger::Limit::Value(value) => show(trigger.metric, value),
                super::trigger::Limit::Baseline { factor, .. } => format!("{factor} x baseline"),
            },
            self.id
        )
    }
}

fn about(trigger: &Trigger, service: Option<&str>) -> String {
    match service {
        Some(service) => format!("`{}` of {}", trigger.name, redact(service)),
        None => format!("`{}`", trigger.name),
    }
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

fn facts(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

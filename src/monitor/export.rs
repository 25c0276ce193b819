//! What a judgement says, for programs: `rollback.monitor/1`, and the text form of Prometheus.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Assessment;
use super::ledger::Step;
use super::metrics::Metrics;
use super::trigger::Trigger;
use super::verdict::Verdict;
use super::watching::Round;
pub use crate::base::clock::of_millis as timestamp;
use crate::base::redact::redact;
use crate::workspace::monitor_config::Wanted;

/// The document of a round.
#[must_use]
pub fn document(round: &Round, metrics: &Metrics, warnings: &[String]) -> Value {
    json!({
        "schema": "rollback.monitor/1", "at": timestamp(round.at),
        "triggers": round.assessments.iter().map(trigger).collect::<Vec<_>>(),
        "incidents": round.incidents.iter().map(|incident| json!({
            "pattern": incident.pattern, "severity": incident.severity, "address": redact(&incident.address),
            "count": incident.count, "why": redact(&incident.why), "new": incident.new,
        })).collect::<Vec<_>>(),
        "intake": metrics.intake, "warnings": warnings,
    })
}

fn trigger(assessment: &Assessment) -> Value {
    let judgement = &assessment.judgement;
    let action = match (judgement.verdict, assessment.trigger.action) {
        (Verdict::Breach, Wanted::Alert) => "alert",
        (Verdict::Breach, Wanted::Rollback) => "rollback",
        _ => "none",
    };
    let (done, held_back) = match &assessment.step {
        Step::Nothing => ("nothing", None),
        Step::Alert(held) => ("alerted", held.clone()),
        Step::Rollback(_) => ("rolled-back", None),
        Step::Recovery => ("recovered", None),
    };
    json!({
        "name": assessment.trigger.name, "service": assessment.service.as_deref().map(redact),
        "metric": assessment.trigger.metric.name(), "value": judgement.value.filter(|value| value.is_finite()),
        "threshold": judgement.threshold, "samples": judgement.samples, "verdict": judgement.verdict,
        "why": redact(&judgement.why), "action": action, "sustained": judgement.sustained, "held_ms": judgement.held,
        "intake": judgement.reads.as_ref().map(|reads| json!({
            "lines": reads.lines, "unreadable": reads.unreadable, "untimed": reads.untimed, "future": reads.future,
            "unlevelled": reads.unlevelled, "lost": reads.lost(assessment.trigger.metric),
        })),
        "done": done, "held_back": held_back, "story": assessment.trigger.story,
    })
}

/// A label's value.
fn label(text: &str) -> String {
    redact(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The text form of Prometheus.
#[must_use]
pub fn exposition(
    round: &Round,
    metrics: &Metrics,
    triggers: &[Trigger],
    rollbacks: usize,
    window: i64,
) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, about: &str, lines: Vec<(String, f64)>| {
        let _ = writeln!(
            text,
            "# HELP rollback_monitor_{name} {about}\n# TYPE rollback_monitor_{name} {kind}"
        );
        for (labels, value) in lines {
            let _ = writeln!(text, "rollback_monitor_{name}{labels} {value}");
        }
    };
    let of = |assessment: &Assessment| {
        format!(
            "{{trigger=\"{}\",service=\"{}\"}}",
            label(&assessment.trigger.name),
            label(assessment.service.as_deref().unwrap_or_default())
        )
    };
    let each = |value: &dyn Fn(&Assessment) -> f64| -> Vec<(String, f64)> {
        round
            .assessments
            .iter()
            .map(|assessment| (of(assessment), value(assessment)))
            .collect()
    };
    family(
        "verdict",
        "gauge",
        "0 healthy, 1 breach, -1 inconclusive",
        each(&|assessment| match assessment.judgement.verdict {
            Verdict::Healthy => 0.0,
            Verdict::Breach => 1.0,
            Verdict::Inconclusive => -1.0,
        }),
    );
    family(
        "value",
        "gauge",
        "Value of the trigger's metric",
        each(&|assessment| assessment.judgement.value.unwrap_or(f64::NAN)),
    );
    family(
        "threshold",
        "gauge",
        "Threshold of the trigger",
        each(&|assessment| assessment.judgement.threshold),
    );
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = |count: u64| count as f64;
    family(
        "samples",
        "gauge",
        "Samples that the value rests on",
        each(&|assessment| count(assessment.judgement.samples)),
    );
    let mut events = Vec::new();
    let mut errors = Vec::new();
    for (name, _) in metrics.services() {
        let totals = metrics.totals(name, round.at, window);
        let labels = format!("{{service=\"{}\"}}", label(name));
        events.push((labels.clone(), count(totals.events)));
        errors.push((labels, count(totals.errors)));
    }
    family("window_events", "gauge", "Events in the window", events);
    family("window_errors", "gauge", "Errors in the window", errors);
    let intake = &metrics.intake;
    family(
        "unlevelled_total",
        "counter",
        "Events of an unknown level",
        vec![(String::new(), count(intake.unlevelled))],
    );
    let lines = [
        ("counted", intake.events),
        ("broken", intake.broken),
        ("huge", intake.huge),
        ("untimed", intake.untimed),
        ("old", intake.old),
        ("future", intake.future),
        ("crowded", intake.crowded),
        ("continued", intake.continued),
    ];
    family(
        "lines_total",
        "counter",
        "Lines that were read, by what became of them",
        lines
            .iter()
            .map(|(name, lines)| (format!("{{became=\"{name}\"}}"), count(*lines)))
            .collect(),
    );
    family(
        "triggers",
        "gauge",
        "Triggers",
        vec![(String::new(), count(triggers.len() as u64))],
    );
    family(
        "rollbacks",
        "gauge",
        "Automatic rollbacks that are remembered",
        vec![(String::new(), count(rollbacks as u64))],
    );
    text
}

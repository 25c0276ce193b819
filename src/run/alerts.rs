//! What a real run tells the channels: that it begins, and how it ended. What goes wrong with that is a warning, and no
//! run fails or waits for long because of it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Context;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::host::delivery::DELIVERY;
use crate::report::alert::{Alert, Kind, Severity};
use crate::report::{Mode, Report, RunKind, RunOutcome};

/// How long a run that was interrupted waits for its delivery: somebody wants it to end.
const HURRIED: Duration = Duration::from_secs(2);

/// Raises that a run begins; `plan` is what it is about to do. Gives a warning where that can't be kept.
pub(crate) fn begun(context: &Context, plan: &Report, run: &str) -> Option<String> {
    let title = format!("{} begins", subject(plan));
    let lines = [
        line("Reason", plan.reason.as_deref()),
        line("Trigger", Some(&plan.trigger)),
        line("By", Some(&format!("{} on {}", plan.user, plan.host))),
        line("Run", Some(run)),
    ];
    let alert = Alert::new(
        &context.host.clock,
        Kind::Initiation,
        Severity::Warning,
        title,
        lines.concat().trim_end(),
    );
    raise(context, with_facts(context, alert, plan, run))
}

/// Raises how a run ended that is closed, and adds a warning to its report where that can't be kept.
pub(crate) fn ended(context: &Context, report: &mut Report) {
    let tampered = report.exit_code == ExitCode::Corrupt.number();
    let (kind, severity, how) = match report.outcome {
        _ if tampered => (
            Kind::SecurityIncident,
            Severity::Critical,
            "ended with damaged records",
        ),
        RunOutcome::Done | RunOutcome::Planned => (Kind::Completion, Severity::Info, "is done"),
        RunOutcome::Refused => (
            Kind::SecurityIncident,
            Severity::Critical,
            "was refused by policy",
        ),
        RunOutcome::Partial => (Kind::Failure, Severity::Critical, "failed in part"),
        RunOutcome::Failed => (Kind::Failure, Severity::Critical, "failed"),
        RunOutcome::Interrupted => (Kind::Failure, Severity::Warning, "was interrupted"),
        RunOutcome::NotApproved => (Kind::Failure, Severity::Warning, "was not approved"),
    };
    let failure = report.error.as_ref().map(|failure| failure.message.as_str());
    let lines = [
        line("Error", failure),
        line("Reason", report.reason.as_deref()),
        line("Trigger", Some(&report.trigger)),
        line("By", Some(&format!("{} on {}", report.user, report.host))),
        line("Run", Some(&report.run)),
        line("Report", page(report)),
        line("Next", report.next.first().map(String::as_str)),
    ];
    let title = format!("{} {how}", subject(report));
    let alert = Alert::new(
        &context.host.clock,
        kind,
        severity,
        title,
        lines.concat().trim_end(),
    );
    let mut alert = with_facts(context, alert, report, &report.run)
        .fact("outcome", json!(report.outcome))
        .fact("exit_code", report.exit_code);
    for (name, value) in [("error", failure), ("report", page(report))] {
        if let Some(value) = value {
            alert = alert.fact(name, value);
        }
    }
    if let Some(next) = report.next.first() {
        alert = alert.fact("next", next.as_str());
    }
    if let Some(head) = &report.audit_head {
        alert = alert.fact("audit_head", json!(head));
    }
    let warning = raise(context, alert);
    report.warnings.extend(warning);
}

/// Delivers what a command's run raised, once the workspace is free again, and puts what did not get through among the
/// warnings of its report. A command that changed nothing delivers nothing, unless damaged records were why.
///
/// # Errors
/// Those of `result` alone.
pub fn deliver(context: &Context, result: Result<Report>) -> Result<Report> {
    let alerts = &context.host.alerts;
    let changed = match &result {
        Ok(report) => report.mode == Mode::Real && report.audit_head.is_some(),
        Err(error) => error.changed_something(),
    };
    let damaged = matches!(&result, Err(error) if error.exit_code() == ExitCode::Corrupt);
    if !alerts.has_channels() || !(changed || damaged) {
        return result;
    }
    let mut warnings: Vec<String> = Vec::new();
    if let Err(error) = &result {
        warnings.extend(raise(context, without_report(context, error, damaged)));
    }
    let hurried = matches!(&result, Ok(report) if report.outcome == RunOutcome::Interrupted);
    let until = Instant::now() + if hurried { HURRIED } else { DELIVERY };
    match alerts.deliver(until) {
        Ok(deliveries) => warnings.extend(deliveries.warnings()),
        Err(error) => warnings.push(format!("no alert was delivered: {error}")),
    }
    result.map(|mut report| {
        report.warnings.append(&mut warnings);
        report
    })
}

/// A run that could not be closed has no report, nor has one that damaged records kept from beginning.
fn without_report(context: &Context, error: &Error, damaged: bool) -> Alert {
    let text = match error.hint_text() {
        Some(hint) => format!("{}\nNext: {hint}", error.message()),
        None => error.message().to_owned(),
    };
    let kind = if damaged {
        Kind::SecurityIncident
    } else {
        Kind::Failure
    };
    let title = match (damaged, error.changed_something()) {
        (true, false) => "a run did not begin: records are damaged",
        (true, true) => "a run ended with damaged records",
        (false, _) => "a run ended with an error after it had changed something",
    };
    let (user, host) = super::user_and_host();
    Alert::new(&context.host.clock, kind, Severity::Critical, title, text)
        .fact("error", error.message())
        .fact("user", user)
        .fact("host", host)
}

fn raise(context: &Context, alert: Alert) -> Option<String> {
    let kind = alert.kind.name();
    let error = context.host.alerts.raise(alert).err()?;
    Some(format!(
        "the alert of {kind} could not be kept, so it is not sent: {error}"
    ))
}

fn with_facts(context: &Context, alert: Alert, report: &Report, run: &str) -> Alert {
    let features: Vec<&str> = report
        .stories
        .iter()
        .filter_map(|id| context.catalogue.stories().iter().find(|story| story.id == *id))
        .filter_map(|story| story.feature.as_deref())
        .collect();
    let mut alert = alert
        .of_run(run)
        .grouped(format!("run {run}"))
        .fact("story", report.stories.join(", "))
        .fact("feature", features.join(", "))
        .fact("trigger", report.trigger.as_str())
        .fact("user", report.user.as_str())
        .fact("host", report.host.as_str())
        .fact("plan", report.plan.as_str());
    if let Some(reason) = &report.reason {
        alert = alert.fact("reason", reason.as_str());
    }
    if let Some(undoes) = &report.undoes {
        alert = alert.fact("undoes", undoes.as_str());
    }
    alert
}

/// What a run is, as the subject of a sentence.
fn subject(report: &Report) -> String {
    match (report.kind, &report.undoes) {
        (RunKind::Rollback, _) => format!("rollback of {}", report.stories.join(", ")),
        (RunKind::Undo | RunKind::Recover, Some(undoes)) => format!("undo of run {undoes}"),
        _ => crate::report::heading::subject(report),
    }
}

/// The report for people, among the next steps.
fn page(report: &Report) -> Option<&str> {
    report.next.iter().find_map(|next| next.strip_prefix("less "))
}

fn line(name: &str, value: Option<&str>) -> String {
    value
        .filter(|value| !value.is_empty())
        .map(|value| format!("{name}: {value}\n"))
        .unwrap_or_default()
}

//! What the journal of a pass says, as a report; the plan's id; how a run ended.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::json;

use super::Request;
use super::plan_file::Asked;
use crate::error::{Error, Kind};
use crate::exit_code::ExitCode;
use crate::operation::{Fact, Outcome};
use crate::report::{FailureRecord, Flags, Mode, Report, RunKind, RunOutcome};
use crate::script::session::{Journal, Session};
use crate::view::{Errand, View};
use crate::workspace::catalogue::Story;

/// The report of a pass, as far as the journal tells it; outcome, plan id and next steps are set by the caller.
#[must_use]
pub fn report(
    session: &Session,
    request: &Request,
    errand: &Errand,
    started: String,
    flags: Flags,
) -> Report {
    let journal = session.journal.borrow();
    let (user, host) = super::user_and_host();
    let mut warnings = journal.warnings.clone();
    // In a real pass the answers are in the log.
    for (question, answer) in journal.questions.iter().filter(|_| session.view.errand.preview) {
        warnings.push(format!("the script asks `{question}`: {answer}"));
    }
    Report {
        schema: "rollback.report/1".to_owned(),
        run: errand.run.clone(),
        plan: String::new(),
        kind: RunKind::Rollback,
        mode: Mode::DryRun,
        stories: errand.stories.clone(),
        reason: request.reason.as_deref().map(crate::gate::redact::redact),
        trigger: request.trigger.clone(),
        user,
        host,
        started,
        finished: session.view.host.clock.timestamp(),
        outcome: RunOutcome::Planned,
        exit_code: 0,
        operations: journal.operations.clone(),
        backups: journal.backups.clone(),
        checks: journal.checks.clone(),
        flags,
        warnings,
        next: Vec::new(),
        audit_head: None,
        error: journal.failures.first().cloned(),
        undoes: None,
    }
}

/// The id of a plan: a hash over its operations, the facts that they rest on, and the options that change them. It
/// holds no time, so that the same plan of the same world has the same id.
#[must_use]
pub fn id(report: &Report, facts: &[(u32, Fact)], request: &Request) -> String {
    let operations: Vec<_> = report
        .operations
        .iter()
        .map(|operation| {
            json!([
                operation.story,
                operation.phase,
                operation.step,
                operation.op,
                operation.target,
                operation.summary,
                operation.risk,
                operation.undo,
                operation.outcome,
            ])
        })
        .collect();
    let whole = json!({
        "kind": report.kind, "undoes": report.undoes, "stories": report.stories, "operations": operations,
        "facts": facts, "params": Asked::of(request).params, "copy": request.copy, "purge": request.purge,
    });
    blake3::hash(timeless(&whole.to_string(), report).as_bytes())
        .to_hex()
        .chars()
        .take(16)
        .collect()
}

/// A text in which the backups that the plan itself would make are numbered: their names hold the time.
#[must_use]
pub fn timeless(text: &str, plan: &Report) -> String {
    let named = plan.backups.iter().enumerate();
    named.fold(text.to_owned(), |text, (number, backup)| {
        text.replace(&backup.name, &format!("backup #{number}"))
    })
}

/// Raw truth of every flag, where there is a flags file that can be read.
#[must_use]
pub fn flags(view: &View, stories: &[Rc<Story>]) -> BTreeMap<String, bool> {
    let Ok(Some(flags)) = view.flags() else {
        return BTreeMap::new();
    };
    let own: Vec<String> = stories.iter().flat_map(|story| story.flags()).collect();
    flags
        .names()
        .map(|name| (name.to_owned(), flags.raw(name).unwrap_or(false)))
        .filter(|(name, raw)| own.contains(name) || *raw)
        .collect()
}

/// The flags that differ, and those that the stories own.
#[must_use]
pub fn changed_flags(before: BTreeMap<String, bool>, after: BTreeMap<String, bool>) -> Flags {
    let differs = |name: &String| {
        before.get(name).copied().unwrap_or(false) != after.get(name).copied().unwrap_or(false)
    };
    let names: Vec<String> = before
        .keys()
        .chain(after.keys())
        .filter(|name| differs(name))
        .cloned()
        .collect();
    let pick = |from: &BTreeMap<String, bool>| {
        names
            .iter()
            .map(|name| (name.clone(), from.get(name).copied().unwrap_or(false)))
            .collect()
    };
    Flags {
        before: pick(&before),
        after: pick(&after),
    }
}

/// The outcome that a failure means.
#[must_use]
pub fn outcome_of(error: &Error) -> RunOutcome {
    match error.kind() {
        Kind::Denied => RunOutcome::Refused,
        Kind::NotApproved => RunOutcome::NotApproved,
        Kind::Cancelled => RunOutcome::Interrupted,
        _ => RunOutcome::Failed,
    }
}

/// Sets how a real pass ended.
pub fn conclude(report: &mut Report, journal: &Journal, error: Option<&Error>, request: &Request) {
    let failed = journal.failures.len();
    let (outcome, code) = match error {
        Some(error)
            if failed < request.stories.len()
                && request.continue_on_error
                && !super::ends_everything(error) =>
        {
            (RunOutcome::Partial, ExitCode::Partial)
        }
        Some(error) => (outcome_of(error), code_after_changes(error, journal.touched)),
        None if failed > 0 => (RunOutcome::Partial, ExitCode::Partial),
        None => (RunOutcome::Done, ExitCode::Done),
    };
    report.outcome = outcome;
    report.exit_code = code.number();
    let undo = format!("rollback undo {}", report.run);
    if journal.touched {
        report.next.push(undo);
    }
    report.next.push(format!("rollback show {}", report.run));
    if let Some(backup) = report.backups.first() {
        report
            .next
            .push(format!("rollback backup restore {}", backup.name));
    }
}

/// Code 2 and 7 promise that nothing was changed.
fn code_after_changes(error: &Error, touched: bool) -> ExitCode {
    match error.exit_code() {
        ExitCode::Usage | ExitCode::Changed | ExitCode::NotApproved if touched => ExitCode::Failed,
        code => code,
    }
}

/// What a person can type after a preview.
#[must_use]
pub fn next_of_preview(report: &Report, request: &Request) -> Vec<String> {
    if report.outcome != RunOutcome::Planned
        || !report
            .operations
            .iter()
            .any(|operation| operation.outcome == Outcome::Planned)
    {
        return Vec::new();
    }
    let stories: Vec<&str> = request.stories.iter().map(|story| story.id.as_str()).collect();
    vec![format!(
        "rollback run {} --confirm {}",
        stories.join(","),
        report.plan
    )]
}

/// A plan without anything to do is a run that is done.
#[must_use]
pub fn nothing_to_do(mut plan: Report) -> Report {
    let failed = plan.checks.iter().filter(|check| !check.passed).count();
    plan.mode = Mode::Real;
    plan.next.clear();
    if failed == 0 {
        plan.outcome = RunOutcome::Done;
    } else {
        plan.outcome = RunOutcome::Failed;
        plan.exit_code = ExitCode::Failed.number();
    }
    plan
}

/// A plan that nobody approved.
#[must_use]
pub fn not_approved(mut plan: Report, error: &Error) -> Report {
    plan.mode = Mode::Real;
    plan.outcome = outcome_of(error);
    plan.exit_code = error.exit_code().number();
    plan.error = Some(FailureRecord::of("", error));
    plan
}

//! What the journal of a pass says, as a report; the plan's id; how a run ended.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::json;

use super::Request;
use crate::base::error::{Error, Kind};
use crate::base::exit_code::ExitCode;
use crate::base::redact;
use crate::base::wording::plural;
use crate::gate::expected::Step;
use crate::pass::{Journal, Session};
use crate::report::effect::Outcome;
use crate::report::{FailureRecord, Flags, Mode, Report, RunOutcome};
use crate::view::Errand;
use crate::workspace::Workspace;
use crate::workspace::story::Story;

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
        kind: request.kind,
        mode: Mode::DryRun,
        stories: errand.stories.clone(),
        reason: request.options.reason.as_deref().map(redact::redact),
        trigger: request.options.trigger.clone(),
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
        about: request.about.clone(),
        explanation: None,
    }
}

/// The id of a plan: a hash over what is done and what it rests on, contents and sources included, and the options that
/// change it. No text in it holds a moment, so that the same plan of the same world has the same id.
#[must_use]
pub fn id(report: &Report, steps: &[Step], sources: &[(String, String)], request: &Request) -> String {
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            json!([
                step.story,
                step.phase,
                step.step,
                step.op,
                step.target,
                step.risk,
                step.undo,
                step.outcome,
                step.asked,
                step.effect,
                step.facts,
            ])
        })
        .collect();
    let whole = json!({
        "kind": report.kind, "undoes": report.undoes, "stories": report.stories, "steps": steps,
        "sources": sources, "params": request.options.redacted().params, "copy": request.options.copy, "purge": request.options.purge,
        "allow_open": request.options.allow_open, "strict": request.options.strict,
    });
    blake3::hash(whole.to_string().as_bytes())
        .to_hex()
        .chars()
        .take(16)
        .collect()
}

/// Raw truth of every flag, where there is a flags file; a warning where it can't be read.
#[must_use]
pub fn flags(session: &Session, stories: &[Rc<Story>]) -> BTreeMap<String, bool> {
    let flags = match session.view.flags() {
        Ok(Some(flags)) => flags,
        Ok(None) => return BTreeMap::new(),
        Err(error) => {
            session.warn(&format!("the flags are not told: {}", error.message()));
            return BTreeMap::new();
        }
    };
    let maintenance: Vec<String> = stories.iter().flat_map(|story| story.flags()).collect();
    flags
        .names()
        .map(|name| (name.to_owned(), flags.raw(name).unwrap_or(false)))
        .filter(|(name, raw)| maintenance.contains(name) || *raw)
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

/// A real pass that failed after its first change says what stands, where what it took away lies, and how it is taken back.
pub fn tell_what_stands(report: &mut Report, workspace: &Workspace) {
    let Some(failure) = &mut report.error else { return };
    let done = report
        .operations
        .iter()
        .filter(|operation| operation.outcome == Outcome::Done)
        .count();
    let mut kept: Vec<String> = report
        .backups
        .iter()
        .map(|backup| format!("`{}`", workspace.show(&workspace.backups().join(&backup.name))))
        .collect();
    let store = workspace.run_directory(&report.run);
    let stored = ["removed", "saved"].into_iter().map(|sort| store.join(sort));
    kept.extend(
        stored
            .filter(|path| path.is_dir())
            .map(|path| format!("`{}`", workspace.show(&path))),
    );
    let (stand, took) = if done == 1 {
        ("stands", "it")
    } else {
        ("stand", "they")
    };
    let mut stands = format!("{} {stand}", plural(done as u64, "operation"));
    if !kept.is_empty() {
        stands.push_str(&format!(
            "; what {took} took away or changed lies in {}",
            kept.join(", ")
        ));
    }
    stands.push_str(&format!(
        "; `rollback undo {}` takes back what was done",
        report.run
    ));
    failure.hint = Some(match &failure.hint {
        Some(hint) => format!("{hint}; {stands}"),
        None => stands,
    });
}

/// Codes 2, 3, 5 and 7 promise that nothing was changed.
pub(crate) fn code_after_changes(error: &Error, touched: bool) -> ExitCode {
    match error.exit_code() {
        ExitCode::Usage | ExitCode::Refused | ExitCode::Changed | ExitCode::NotApproved if touched => {
            ExitCode::Failed
        }
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
    // A script that was named by its path is known by nothing else.
    let by_path = |name: &String| {
        std::path::Path::new(name)
            .extension()
            .is_some_and(|is| is == "rhai")
    };
    let stories: Vec<String> = if request.options.stories.iter().any(by_path) {
        request.options.stories.iter().map(|name| quoted(name)).collect()
    } else {
        vec![
            request
                .stories
                .iter()
                .map(|story| story.id.clone())
                .collect::<Vec<_>>()
                .join(","),
        ]
    };
    let mut command = format!("rollback run {}", stories.join(" "));
    for (name, value) in &request.options.redacted().params {
        command.push_str(&format!(" --param {}", quoted(&format!("{name}={value}"))));
    }
    let options = [
        ("copy", request.options.copy),
        ("purge", request.options.purge),
        ("allow-open", request.options.allow_open),
        ("strict", request.options.strict),
    ];
    for (option, _) in options.iter().filter(|(_, given)| *given) {
        command.push_str(&format!(" --{option}"));
    }
    vec![format!("{command} --confirm {}", report.plan)]
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "=._-/:,+@".contains(character);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A plan without anything to do is a run that is done.
#[must_use]
pub fn nothing_to_do(mut plan: Report, strict: bool) -> Report {
    let failed = plan.checks.iter().filter(|check| check.fails(strict)).count();
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

/// A plan that came to nothing: nobody approved it, or the world changed meanwhile.
#[must_use]
pub fn not_begun(mut plan: Report, error: &Error) -> Report {
    plan.mode = Mode::Real;
    plan.outcome = outcome_of(error);
    plan.exit_code = error.exit_code().number();
    plan.error = Some(FailureRecord::of("", error));
    if error.kind() == Kind::Changed {
        // It is no longer so, and the same approval would fail again.
        plan.checks.clear();
        plan.backups.clear();
        for command in &mut plan.next {
            if let Some((again, _)) = command.split_once(" --confirm ") {
                *command = format!("{again} -n");
            }
        }
    }
    plan
}

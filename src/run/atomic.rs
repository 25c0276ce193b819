//! `--atomic`: a run that failed undoes itself, and says what it could not take back.

use super::{Audience, Context, Request, alerts, plan, records};
use crate::base::error::Result;
use crate::pass::Session;
use crate::report::effect::{Outcome, Risk};
use crate::report::undo::UndoClass;
use crate::report::{FailureRecord, Report, RunKind, RunOutcome};
use crate::run::history::undo::Chosen;
use crate::run::history::{History, undo};

/// Closes a failed run and takes it back. The caller holds the workspace; the run's mark stays until it is taken back or
/// that was told to be impossible.
///
/// # Errors
/// Where the run can't be closed.
pub fn take_back(
    context: &Context,
    request: &Request,
    session: &Session,
    mut report: Report,
    audience: &dyn Audience,
) -> Result<Report> {
    let history = History::of(context);
    let undo = format!("rollback undo {}", report.run);
    report.next.retain(|next| *next != undo);
    records::finish(context, session, &mut report, records::Mark::Stays)?;
    alerts::ended(context, &mut report);
    let mut request = request.clone();
    request.kind = RunKind::Undo;
    request.answers.force = true;
    let undone = undo::carry_out(context, &Chosen::named(report.clone()), &request, audience);
    let stays = || left_by(&report, undone.as_ref().ok());
    let (warning, is_taken_back) = match &undone {
        Ok(undone) if undone.outcome == RunOutcome::Done => match stays().as_slice() {
            [] => (
                format!("--atomic: everything was taken back by run {}", undone.run),
                true,
            ),
            stays => (
                format!(
                    "--atomic: taken back by run {}, but for what can't be: {}",
                    undone.run,
                    stays.join("; ")
                ),
                true,
            ),
        },
        Ok(undone) => {
            let why = undone
                .error
                .as_ref()
                .map(|FailureRecord { message, .. }| message.as_str());
            (
                format!(
                    "--atomic: it could not be taken back: {}",
                    why.unwrap_or_default()
                ),
                false,
            )
        }
        Err(error) => (format!("--atomic: it could not be taken back: {error}"), false),
    };
    if !is_taken_back {
        plan::tell_what_stands(&mut report, &context.workspace);
        report.next.insert(0, undo);
    }
    report.warnings.push(warning);
    history.save(&report)?;
    // Where the undo did not begin, this run's mark is still there; it was told what became of it.
    history.deactivate()?;
    Ok(report)
}

/// What the run did and its undo did not take back.
fn left_by(report: &Report, undone: Option<&Report>) -> Vec<String> {
    let without_undo = report
        .operations
        .iter()
        .filter(|operation| {
            operation.outcome == Outcome::Done
                && operation.undo == UndoClass::None
                && operation.risk != Risk::None
        })
        .map(|operation| (operation.target.clone(), operation.summary.clone()));
    let mut left: Vec<(String, String)> = without_undo.collect();
    let cannot = undone
        .and_then(|undone| undone.explanation.as_ref())
        .map(|explanation| explanation.cannot.as_slice());
    for remark in cannot.unwrap_or_default() {
        if !left.iter().any(|(target, _)| *target == remark.target) {
            left.push((remark.target.clone(), remark.why.clone()));
        }
    }
    left.into_iter()
        .map(|(target, what)| {
            if what.contains(&target) {
                what
            } else {
                format!("`{target}`: {what}")
            }
        })
        .collect()
}

//! Settling a run that was cut off: each unfinished operation is settled from what is on disk, then the run is taken
//! back (default) or its stories are rolled back again (`--resume`).

use serde_json::json;

use super::{Active, History, undo};
use crate::error::{Error, Result};
use crate::gate::audit::AuditLog;
use crate::operation::reverting::{Ready, Revert};
use crate::report::{AuditHead, Flags, Mode, Report, RunKind, RunOutcome};
use crate::run::{Audience, Context, Request, plan};
use crate::view::{Errand, View};
use crate::workspace::lock::Lock;

/// What to do after settling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Take the run back.
    Undo,
    /// Roll its stories back again.
    Resume,
}

/// Settles the run that was cut off.
///
/// # Errors
/// [`crate::error::Kind::Usage`] where no run was cut off, otherwise what the second run says.
pub fn run(context: &Context, then: Then, request: &Request, audience: &dyn Audience) -> Result<Report> {
    let lock = Lock::take(context.workspace.root())?;
    let history = History::of(context);
    if history.unfinished().is_none() {
        return Err(Error::usage("no run was cut off: there is nothing to recover"));
    }
    let Some(active) = history.active() else {
        return Err(Error::corrupt("`.rollback/active` cannot be read")
            .hint("`rollback audit show` tells which run it was; remove the file after looking at `rollback history`"));
    };
    if request.dry_run {
        let closed = closed_report(context, &active, None)?;
        return undo::carry_out(context, &closed, request, audience);
    }
    let head = settle(context, &active)?;
    let closed = closed_report(context, &active, Some(head))?;
    history.save(&closed)?;
    history.deactivate()?;
    let mut report = match then {
        Then::Undo => undo::carry_out(context, &closed, request, audience)?,
        Then::Resume => {
            drop(lock);
            let names = active.stories.clone();
            let flags = context.view().flags().ok().flatten();
            let request = Request {
                stories: context.catalogue.select(&names, flags.as_ref())?,
                reason: active.reason.clone(),
                trigger: active.trigger.clone(),
                params: active.params.clone(),
                ..request.clone()
            };
            return crate::run::run(context, &request, audience);
        }
    };
    report.kind = RunKind::Recover;
    Ok(report)
}

/// Writes an outcome for each operation that was begun and not finished.
fn settle(context: &Context, active: &Active) -> Result<AuditHead> {
    let host = &context.host;
    host.records.prepare()?;
    let mut audit = AuditLog::open(&host.records, &host.clock, &active.run)?;
    let view = View::new(
        std::rc::Rc::clone(&context.workspace),
        std::rc::Rc::clone(host),
        std::rc::Rc::clone(&context.catalogue),
        Errand {
            run: active.run.clone(),
            ..Errand::default()
        },
    );
    for begun in History::of(context).operations(&active.run)? {
        if begun.finished.is_some() {
            continue;
        }
        let (_, ready) = Revert::new(&view, begun.undo.clone())?;
        let found = match ready {
            Ready::Yes => "its effect, or a part of it, is there".to_owned(),
            Ready::Nothing(why) => format!("it had no effect: {why}"),
            Ready::ChangedSince(why) => format!("its effect was changed since: {why}"),
            Ready::Never(why) => format!("it cannot be told: {why}"),
        };
        audit.recovered(json!({ "n": begun.n, "op": begun.op, "target": begun.target, "found": found }))?;
    }
    audit.run_finished(json!({ "outcome": "interrupted", "exit_code": 9, "recovered": true }))
}

/// The report of the run that was cut off, as far as the log tells it.
fn closed_report(context: &Context, active: &Active, head: Option<AuditHead>) -> Result<Report> {
    let request = Request {
        reason: active.reason.clone(),
        trigger: active.trigger.clone(),
        params: active.params.clone(),
        ..Request::default()
    };
    let errand = Errand {
        run: active.run.clone(),
        stories: active.stories.clone(),
        ..Errand::default()
    };
    let session = context.session(
        errand.clone(),
        crate::gate::Pass::Preview,
        crate::script::session::Questions::Preview,
        Box::new(crate::script::session::Silent),
    )?;
    let mut report = plan::report(
        &session,
        &request,
        &errand,
        active.started.clone(),
        Flags::default(),
    );
    report.mode = Mode::Real;
    report.outcome = RunOutcome::Interrupted;
    report.exit_code = crate::exit_code::ExitCode::Unfinished.number();
    report.audit_head = head;
    Ok(report)
}

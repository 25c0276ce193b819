//! A command of the program itself that changes something it keeps: previewed, approved, and recorded like a story's
//! operations.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::{Context, Request, approval, plan, records};
use crate::audit::AuditLog;
use crate::base::error::Result;
use crate::gate::Pass;
use crate::gate::confirm::{Approval, Confirm};
use crate::pass::{Listener, Questions, Session, Silent};
use crate::report::options::Options;
use crate::report::{FailureRecord, Flags, Mode, Report, RunKind, RunOutcome};

/// Approval of a preview.
pub type Approve<'a> = &'a dyn Fn(&Report) -> Result<Approval>;

/// Submits operations to a session.
pub type Act<'a> = &'a dyn Fn(&Rc<Session>) -> Result<()>;

/// Previews what `act` submits, has it approved, and submits it for real. Its kind, its word, what it is about and `more`
/// stand in the record of its start. The caller holds the workspace.
///
/// # Errors
/// What the preview, the approval or an operation says; what was done before stays done.
pub fn carry_out(
    context: &Context,
    (kind, word): (RunKind, &str),
    about: &str,
    more: Map<String, Value>,
    approve: Approve<'_>,
    listener: Box<dyn Listener>,
    act: Act<'_>,
) -> Result<()> {
    let request = Request {
        kind,
        about: Some(about.to_owned()),
        options: Options::by_hand(),
        ..Request::default()
    };
    let errand = super::single::errand(context, false);
    let rehearse = || -> Result<Rc<Session>> {
        let silent = Box::new(Silent);
        let session = context.session(errand.clone(), Pass::Preview, Questions::Preview, silent)?;
        act(&session)?;
        Ok(session)
    };
    let preview = rehearse()?;
    let started = context.host.clock.timestamp();
    let steps = preview.journal.borrow().steps.clone();
    let mut planned = plan::report(&preview, &request, &errand, started, Flags::default());
    planned.plan = plan::id(&planned, &steps, &[], &request);
    let approval = approve(&planned).map_err(|error| context.by_signal(error))?;
    if approval.asked {
        approval::still_so(&steps, &|| {
            let session = rehearse()?;
            let steps = session.journal.borrow().steps.clone();
            Ok((steps, None))
        })?;
    }

    let host = &context.host;
    host.records.prepare()?;
    let mut audit = AuditLog::open(&host.records, &host.clock, &errand.run)?;
    let mut start = Map::new();
    start.insert("kind".to_owned(), json!(kind));
    start.insert("word".to_owned(), word.into());
    start.insert("about".to_owned(), about.into());
    start.insert("plan".to_owned(), planned.plan.clone().into());
    start.insert("stories".to_owned(), json!([]));
    start.insert("user".to_owned(), planned.user.clone().into());
    start.insert("host".to_owned(), planned.host.clone().into());
    start.extend(more);
    audit.run_started(Value::Object(start))?;
    for (question, answer) in approval.answers {
        audit.answered(&question, &answer)?;
    }
    let pass = Pass::Real {
        confirm: Confirm::of_plan(steps),
        audit: Box::new(audit),
    };
    let session = context.session(errand.clone(), pass, Questions::Yes, listener)?;
    let result = act(&session).map_err(|error| context.by_signal(error));
    let started = planned.started.clone();
    let mut report = plan::report(&session, &request, &errand, started, Flags::default());
    report.plan.clone_from(&planned.plan);
    report.mode = Mode::Real;
    report.outcome = result
        .as_ref()
        .map_or_else(plan::outcome_of, |()| RunOutcome::Done);
    if let Err(error) = &result {
        report.exit_code = error.exit_code().number();
        report.error = Some(FailureRecord::of("", error));
    }
    // What it could not remove is told by the next run. It has no mark that could go.
    let closed = records::close(context, &session, &mut report, records::Mark::Stays);
    result.and(closed)
}

//! Approval of a plan, whoever asks for it: a run, an undo, a command of the program's own.

use crate::base::error::{Error, Result};
use crate::gate::confirm::{self, Answers, Approval};
use crate::gate::expected::{self, Step};
use crate::pass::Session;
use crate::report::{OperationRecord, Report};

use super::Audience;

/// The steps of a preview that is made again, and the failure that ended it, if one did.
pub type Again<'a> = &'a dyn Fn() -> Result<(Vec<Step>, Option<Error>)>;

/// Has a plan approved. Where a person was asked, the plan is made again after the answer: what was shown is what is done.
///
/// # Errors
/// As [`confirm::approve`]; [`crate::base::error::Kind::Changed`] where the world changed while the question stood.
pub fn approve(
    (plan, steps): (&Report, &[Step]),
    question: &str,
    answers: &Answers,
    audience: &dyn Audience,
    again: Again<'_>,
) -> Result<Approval> {
    let mut person = audience.person();
    let approval = match &mut person {
        Some(person) => confirm::approve(plan, question, answers, Some(person.as_mut())),
        None => confirm::approve(plan, question, answers, None),
    }?;
    if approval.asked {
        still_so(steps, again)?;
    }
    Ok(approval)
}

/// Every step that would have changed something was declined: a run like one that was not approved.
#[must_use]
pub fn all_declined(session: &Session) -> Option<Error> {
    let journal = session.journal.borrow();
    let declined = |operation: &OperationRecord| operation.why.as_deref() == Some(confirm::DECLINED);
    (!journal.touched && journal.operations.iter().any(declined))
        .then(|| Error::not_approved("every step was declined; nothing was changed"))
}

/// Makes a plan again and compares.
///
/// # Errors
/// [`crate::base::error::Kind::Changed`] with the first difference; nothing was changed then.
pub fn still_so(steps: &[Step], again: Again<'_>) -> Result<()> {
    let (now, ended) = again()?;
    expected::compare(steps, &now, ended.as_ref())
}

//! One word outside a story, for commands such as `feature disable` and `backup restore`: a recorded run of its own.

use rhai::Dynamic;
use serde_json::json;

use super::records::Mark;
use super::{Context, Request, approval, begin, plan, records};
use crate::audit::AuditLog;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::gate::Pass;
use crate::gate::confirm::{Answers, Confirm};
use crate::gate::expected::Step;
use crate::pass::{Questions, Session, Silent};
use crate::primitives;
use crate::primitives::contract::Action;
use crate::report::effect::Outcome;
use crate::report::options::Options;
use crate::report::text::touched;
use crate::report::{FailureRecord, Flags, Mode, Report, RunKind, RunOutcome};
use crate::run::Audience;
use crate::run::history::{Active, History};
use crate::view::Errand;

/// A word with its arguments.
pub struct Single {
    /// What kind of run it is.
    pub kind: RunKind,
    /// What it is about, in a few words.
    pub about: String,
    /// The word.
    pub word: &'static str,
    /// Its arguments.
    pub arguments: Vec<Dynamic>,
}

impl Single {
    fn request(&self) -> Request {
        Request {
            kind: self.kind,
            about: Some(self.about.clone()),
            options: Options::by_hand(),
            ..Request::default()
        }
    }

    fn say(&self, session: &Session) -> Result<()> {
        let word = primitives::find(self.word)
            .ok_or_else(|| Error::bug(format!("there is no word `{}`", self.word)))?;
        let Action::Change(propose) = word.action else {
            return Err(Error::bug(format!("`{}` changes nothing", self.word)));
        };
        let arguments = word.accept(self.arguments.clone())?;
        "execute".clone_into(&mut session.journal.borrow_mut().scene.phase);
        session
            .change(&arguments.call(word.name), |view| propose(&arguments, view))
            .map(|_| ())
    }
}

/// Says the word for real, without asking.
///
/// # Errors
/// What the word or the gate says.
pub fn carry_out(context: &Context, single: &Single) -> Result<Report> {
    let _lock = begin(context)?;
    let errand = errand(context, false);
    let planned = preview(context, single, &errand)?;
    real_pass(context, single, errand, planned, &[])
}

/// Previews the word: the plan and its steps.
///
/// # Errors
/// What the word or the policy says.
pub fn preview(context: &Context, single: &Single, errand: &Errand) -> Result<(Report, Vec<Step>)> {
    let session = context.session(
        errand.clone(),
        Pass::Preview,
        Questions::Preview,
        Box::new(Silent),
    )?;
    single.say(&session)?;
    let request = single.request();
    let started = context.host.clock.timestamp();
    let mut report = plan::report(&session, &request, errand, started, Flags::default());
    let steps = session.journal.borrow().steps.clone();
    report.plan = plan::id(&report, &steps, &[], &request);
    Ok((report, steps))
}

/// The errand of a single word.
#[must_use]
pub fn errand(context: &Context, dry_run: bool) -> Errand {
    Errand {
        dry_run,
        ..Errand::begin(&context.host.clock)
    }
}

/// Shows, asks, and says the word for real.
///
/// # Errors
/// What the word, the gate or the person says.
pub fn ask_and_carry_out(
    context: &Context,
    single: &Single,
    question: &str,
    answers: &Answers,
    audience: &dyn Audience,
) -> Result<Report> {
    let _lock = begin(context)?;
    let errand = errand(context, false);
    let planned = preview(context, single, &errand)?;
    audience.show_plan(&planned.0)?;
    let again = || preview(context, single, &errand).map(|(_, steps)| (steps, None));
    let approval = approval::approve((&planned.0, &planned.1), question, answers, audience, &again)
        .map_err(|error| context.by_signal(error))?;
    real_pass(context, single, errand, planned, &approval.answers)
}

fn real_pass(
    context: &Context,
    single: &Single,
    errand: Errand,
    (planned, steps): (Report, Vec<Step>),
    answers: &[(String, String)],
) -> Result<Report> {
    if !planned
        .operations
        .iter()
        .any(|operation| operation.outcome == Outcome::Planned)
    {
        return Ok(plan::nothing_to_do(planned, false));
    }
    let host = &context.host;
    let request = single.request();
    host.records.prepare()?;
    let mut audit = AuditLog::open(&host.records, &host.clock, &errand.run)?;
    let history = History::of(context);
    let active = Active::of_run(&errand, &request);
    history.activate(&active)?;
    audit.run_started(json!({
        "kind": planned.kind, "plan": planned.plan, "stories": [], "about": planned.about, "word": single.word,
        "user": planned.user, "host": planned.host, "asked": active.asked,
    }))?;
    for (question, answer) in answers {
        audit.answered(question, answer)?;
    }
    let pass = Pass::Real {
        confirm: Confirm::of_plan(steps),
        audit: Box::new(audit),
    };
    let session = context.session(errand.clone(), pass, Questions::Yes, Box::new(Silent))?;
    let result = single.say(&session).map_err(|error| context.by_signal(error));
    let mut report = plan::report(
        &session,
        &request,
        &errand,
        planned.started.clone(),
        Flags::default(),
    );
    report.plan.clone_from(&planned.plan);
    report.mode = Mode::Real;
    report.outcome = result
        .as_ref()
        .map_or_else(plan::outcome_of, |()| RunOutcome::Done);
    report.exit_code = result
        .as_ref()
        .map_or_else(Error::exit_code, |()| ExitCode::Done)
        .number();
    if let Err(error) = &result {
        report.error = Some(FailureRecord::of("", error));
    }
    records::close(context, &session, &mut report, Mark::Goes)?;
    match result {
        Err(error) if touched(&report) => Err(after_others(error, &report.run)),
        result => result.map(|()| report),
    }
}

/// A failure after an earlier operation of the same word succeeded.
fn after_others(error: Error, run: &str) -> Error {
    let undo = format!("`rollback undo {run}` takes back what was done before it");
    let hint = match error.hint_text() {
        Some(hint) => format!("{hint}; {undo}"),
        None => undo,
    };
    let code = plan::code_after_changes(&error, true);
    let error = error.exiting(code);
    error.hint(hint).after_changes()
}

//! Taking a run back: its recorded undos in reverse, as a new run with its own preview, approval and records. It explains
//! itself: what it takes back, what it can't and why, what was changed since, what stays.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::json;
use tracing::info;

use super::{Active, Begun, History, hindrance, merge, recover};
use crate::audit::AuditLog;
use crate::base::error::{Error, Kind, Result};
use crate::base::exit_code::ExitCode;
use crate::gate::confirm::Confirm;
use crate::gate::expected::Step;
use crate::gate::{Pass, Scene};
use crate::operation::Proposal;
use crate::operation::editing::Edit;
use crate::operation::reverting::{Ready, Revert, describe, proven, target};
use crate::pass::{Listener, Questions, Session, Silent};
use crate::report::effect::Outcome;
use crate::report::explanation::{Explanation, Remark};
use crate::report::undo::Undo;
use crate::report::{FailureRecord, Mode, Report, RunKind, RunOutcome, heading};
use crate::run::records::Mark;
use crate::run::{Audience, Context, Request, alerts, approval, begin, plan, records};
use crate::view::Errand;

/// The run that is to be taken back.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The run.
    pub report: Report,
    /// Newer ones that have nothing to take back, and why.
    pub passed_over: Vec<String>,
}

impl Chosen {
    /// The one that somebody named.
    #[must_use]
    pub fn named(report: Report) -> Self {
        Self {
            report,
            passed_over: Vec::new(),
        }
    }
}

/// The newest rollback, by the order of the log, that is not undone and has something to take back.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] where there is none, naming those that were passed over.
pub fn choose(context: &Context, request: &Request) -> Result<Chosen> {
    let history = History::of(context);
    let chronicle = history.chronicle()?;
    let reports = history.list_of(&chronicle)?;
    let mut passed_over = Vec::new();
    for report in reports
        .iter()
        .rev()
        .filter(|report| report.kind == RunKind::Rollback)
    {
        if History::undone_by(&reports, &report.run).is_some() {
            continue;
        }
        let why = match chronicle.pruned(context.workspace.root(), &report.run) {
            Some(at) => format!("its store was pruned on {at}"),
            None if has_something(context, &history, report, request)? => {
                return Ok(Chosen {
                    report: report.clone(),
                    passed_over,
                });
            }
            None => {
                // Only a log that can be trusted says that there is nothing.
                if !request.answers.force {
                    history.require_sound(report)?;
                }
                "it has nothing to take back".to_owned()
            }
        };
        passed_over.push(format!("run {} was passed over: {why}", report.run));
    }
    let hint = "`rollback history` lists the runs; other kinds than rollbacks are taken back by naming them";
    passed_over.push(hint.to_owned());
    Err(Error::usage("there is no run to take back").hint(passed_over.join("; ")))
}

/// Whether a run has something that can be taken back, or that should be and can't.
fn has_something(context: &Context, history: &History, report: &Report, request: &Request) -> Result<bool> {
    let operations = history.operations(&report.run)?;
    let undoing = Undoing {
        context,
        history,
        undone: report,
        operations: &operations,
        request,
        passed_over: &[],
        half_done: half_done(history, &report.run)?,
    };
    if operations.iter().all(|begun| undoing.is_nobodys(begun)) {
        return Ok(false);
    }
    let errand = Errand {
        dry_run: true,
        stories: report.stories.clone(),
        ..Errand::begin(&context.host.clock)
    };
    let (session, _, error) = undoing.rehearse(&errand)?;
    let journal = session.journal.borrow();
    Ok(error.is_some()
        || journal
            .operations
            .iter()
            .any(|operation| operation.outcome != Outcome::NotPresent))
}

/// Takes a run back, or one that a cut left half done.
///
/// # Errors
/// What keeps the run from beginning.
pub fn run(context: &Context, chosen: &Chosen, request: &Request, audience: &dyn Audience) -> Result<Report> {
    let _lock = begin(context)?;
    let undone = &chosen.report;
    let reports = History::of(context).list()?;
    if let Some(by) = History::undone_by(&reports, &undone.run) {
        return Err(
            Error::changed(format!("run {} was taken back already, by run {by}", undone.run))
                .hint(format!("to do it again, take that back: rollback undo {by}")),
        );
    }
    carry_out(context, chosen, request, audience)
}

/// The preview and the real pass of an undo.
///
/// # Errors
/// As [`run`].
pub fn carry_out(
    context: &Context,
    chosen: &Chosen,
    request: &Request,
    audience: &dyn Audience,
) -> Result<Report> {
    let history = History::of(context);
    let undone = &chosen.report;
    if let Some(at) = history.chronicle()?.pruned(context.workspace.root(), &undone.run) {
        return Err(Error::failed(format!(
            "run {} can't be taken back: its store was pruned on {at}",
            undone.run
        ))
        .hint("`rollback backup list` shows the backups that are left; nothing was changed"));
    }
    if !request.answers.force {
        history.require_sound(undone)?;
    }
    info!(run = undone.run, passed_over = ?chosen.passed_over, "takes a run back");
    let undone = &only_of(undone, &request.only)?;
    let mut operations = history.operations(&undone.run)?;
    if !request.only.is_empty() {
        operations.retain(|begun| undone.stories.contains(&begun.story));
    }
    let errand = Errand {
        dry_run: request.dry_run,
        stories: undone.stories.clone(),
        ..Errand::begin(&context.host.clock)
    };
    let undoing = Undoing {
        context,
        history: &history,
        undone,
        operations: &operations,
        request,
        passed_over: &chosen.passed_over,
        half_done: half_done(&history, &undone.run)?,
    };
    let (preview, explanation, error) = undoing.rehearse(&errand)?;
    let steps = preview.journal.borrow().steps.clone();
    let mut planned = undoing.report(&preview, &errand, explanation);
    planned.plan = plan::id(&planned, &steps, &[], request);
    if let Some(error) = error {
        planned.outcome = plan::outcome_of(&error);
        planned.exit_code = error.exit_code().number();
        planned.error = Some(FailureRecord::of("", &error));
        return Ok(planned);
    }
    if !planned
        .operations
        .iter()
        .any(|operation| operation.outcome == Outcome::Planned)
    {
        return Ok(undoing.nothing(planned));
    }
    if request.dry_run {
        return Ok(planned);
    }
    audience.show_plan(&planned)?;
    let question = if request.only.is_empty() {
        format!("Take back run {}?", undone.run)
    } else {
        format!("Take back {} of run {}?", undone.stories.join(", "), undone.run)
    };
    let again = || {
        let (session, _, error) = undoing.rehearse(&errand)?;
        let steps = session.journal.borrow().steps.clone();
        Ok((steps, error))
    };
    let approval = match approval::approve((&planned, &steps), &question, &request.answers, audience, &again)
    {
        Ok(approval) => approval,
        Err(error) => return Ok(plan::not_begun(planned, &context.by_signal(error))),
    };
    undoing.real_pass((&planned, steps), errand, &approval.answers, audience.listener())
}

/// An undo of one run, in whichever pass.
struct Undoing<'a> {
    context: &'a Context,
    history: &'a History,
    undone: &'a Report,
    operations: &'a [Begun],
    request: &'a Request,
    passed_over: &'a [String],
    /// What an earlier undo of this run began to take back, and failed at: it is not as the run left it, by our own doing.
    half_done: Vec<String>,
}

impl Undoing<'_> {
    fn rehearse(&self, errand: &Errand) -> Result<(Rc<Session>, Explanation, Option<Error>)> {
        let silent = Box::new(Silent);
        let context = self.context;
        let session = context.session(errand.clone(), Pass::Preview, Questions::Preview, silent)?;
        let explanation = RefCell::default();
        let error = self.replay(&session, &explanation).err();
        let error = error.map(|error| context.by_signal(error));
        Ok((session, explanation.take(), error))
    }

    fn report(&self, session: &Session, errand: &Errand, explanation: Explanation) -> Report {
        let mut report = plan::report(
            session,
            self.request,
            errand,
            session.view.host.clock.timestamp(),
            crate::report::Flags::default(),
        );
        report.undoes = Some(self.undone.run.clone());
        report.stories.clone_from(&self.undone.stories);
        if self.undone.kind != RunKind::Rollback {
            report.about = Some(heading::subject(self.undone));
        }
        report.explanation = Some(explanation);
        report
    }

    /// An undo of which nothing would be done: that is an end of a recovery, and else no success.
    fn nothing(&self, mut planned: Report) -> Report {
        if self.request.kind == RunKind::Recover {
            if !self.request.dry_run {
                planned.warnings.push("there is nothing to take back".to_owned());
                planned = plan::nothing_to_do(planned, false);
            }
            return planned;
        }
        let explanation = planned.explanation.clone().unwrap_or_default();
        let left: Vec<String> = explanation
            .cannot
            .iter()
            .chain(&explanation.stays)
            .map(|remark| format!("`{}`: {}", remark.target, remark.why))
            .collect();
        let run = &self.undone.run;
        let error = if left.is_empty() {
            Error::usage(format!("run {run} has nothing to take back"))
                .hint(format!("`rollback show {run}` tells what it did"))
        } else {
            Error::failed(format!(
                "nothing of run {run} can be taken back: {}",
                left.join("; ")
            ))
        };
        let mode = planned.mode;
        let mut planned = plan::not_begun(planned, &error);
        planned.mode = if self.request.dry_run { mode } else { Mode::Real };
        planned
    }

    fn real_pass(
        &self,
        (planned, steps): (&Report, Vec<Step>),
        errand: Errand,
        answers: &[(String, String)],
        listener: Box<dyn Listener>,
    ) -> Result<Report> {
        let (context, request, undone) = (self.context, self.request, self.undone);
        let host = &context.host;
        host.records.prepare()?;
        let open = if request.answers.force {
            AuditLog::open_after_damage
        } else {
            AuditLog::open
        };
        let mut audit = open(&host.records, &host.clock, &errand.run)?;
        let active = Active::of_undo(&errand, undone, request);
        self.history.activate(&active)?;
        audit.run_started(json!({
            "kind": planned.kind, "undoes": undone.run, "plan": planned.plan, "stories": undone.stories,
            "about": planned.about, "reason": request.options.reason, "trigger": request.options.trigger, "user": planned.user,
            "host": planned.host, "asked": active.asked,
        }))?;
        for (question, answer) in answers {
            audit.answered(question, answer)?;
        }
        let pass = Pass::Real {
            confirm: Confirm::of_plan(steps),
            audit: Box::new(audit),
        };
        let session = context.session(errand.clone(), pass, Questions::Yes, listener)?;
        if let Some(warning) = alerts::begun(context, planned, &errand.run) {
            session.warn(&warning);
        }
        let explanation = RefCell::default();
        let result = self.replay(&session, &explanation);
        let result = result.map_err(|error| context.by_signal(error));
        let mut report = self.report(&session, &errand, explanation.take());
        report.started.clone_from(&planned.started);
        report.plan.clone_from(&planned.plan);
        report.mode = Mode::Real;
        match &result {
            Ok(()) => {
                report.outcome = RunOutcome::Done;
                report.exit_code = ExitCode::Done.number();
            }
            Err(error) => {
                report.outcome = plan::outcome_of(error);
                let touched = session.journal.borrow().touched;
                report.exit_code = plan::code_after_changes(error, touched).number();
                report.error = Some(FailureRecord::of("", error));
                if touched {
                    plan::tell_what_stands(&mut report, &context.workspace);
                }
            }
        }
        report.next = vec![
            format!("rollback undo {}", report.run),
            format!("rollback show {}", report.run),
        ];
        records::finish(context, &session, &mut report, Mark::Goes)?;
        alerts::ended(context, &mut report);
        Ok(report)
    }

    /// A message can't be unsaid, and what a recovery swept away was nobody's.
    #[expect(clippy::unused_self, reason = "asked of an undo")]
    fn is_nobodys(&self, begun: &Begun) -> bool {
        matches!(begun.op.as_str(), "notify" | recover::WORD)
    }

    /// Takes each operation back, the newest first. What was changed since where we can't tell our own from others' stops
    /// the undo, with all of it named.
    fn replay(&self, session: &Rc<Session>, explanation: &RefCell<Explanation>) -> Result<()> {
        for passed_over in self.passed_over {
            session.warn(passed_over);
        }
        let mut conflicts: Vec<Error> = Vec::new();
        let mut differences = Vec::new();
        let force = self.request.answers.force;
        let parts = |begun: &Begun| -> Vec<Begun> {
            let part = |undo| Begun {
                undo,
                ..begun.clone()
            };
            begun.undo.parts().into_iter().map(part).collect()
        };
        for begun in &self.operations.iter().flat_map(parts).rev().collect::<Vec<_>>() {
            session.journal.borrow_mut().scene = Scene {
                story: begun.story.clone(),
                phase: "undo".to_owned(),
                steps: vec![format!("Take back {}", begun.op)],
                ..Scene::default()
            };
            if self.is_nobodys(begun) {
                continue;
            }
            // An undo that was cut off has put back a part of it, and its real pass found what its preview compared.
            let is_whole = begun.finished == Some(true)
                && !self.request.finishes
                && !self.half_done.contains(&about(begun));
            if is_whole && (session.view.errand.preview || force) {
                differences.extend(proven::differences(&session.view, &begun.undo)?);
            }
            match self.take_one_back(session, begun, explanation) {
                Ok(()) => {}
                Err(error) if error.kind() == Kind::Changed && session.view.errand.preview => {
                    conflicts.push(error);
                }
                Err(_) if !conflicts.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        session.journal.borrow_mut().scene = Scene::default();
        if !differences.is_empty() && !force {
            return Err(proven::refused(&self.undone.run, &differences));
        }
        for difference in differences {
            session.warn(&difference.text);
        }
        if let Some(error) = hindrance::all(conflicts) {
            return Err(error);
        }
        if let Some(expected) = session.gate.borrow_mut().expected() {
            expected.end(None)?;
        }
        Ok(())
    }

    fn take_one_back(
        &self,
        session: &Rc<Session>,
        begun: &Begun,
        explanation: &RefCell<Explanation>,
    ) -> Result<()> {
        let about = about(begun);
        let explained = || explanation.borrow_mut();
        let remark = |why: &str| Remark::new(&about, why);
        let (revert, ready) = Revert::new(&session.view, begun.undo.clone())?;
        let settled = |outcome: Outcome, why: &str| {
            session.submit(&Proposal::settled(
                "undo",
                about.clone(),
                outcome,
                why,
                Vec::new(),
            ))
        };
        let act = |proposal: &Proposal| {
            explained().takes_back.push(remark("").target);
            session.submit(proposal)
        };
        let force = self.request.answers.force;
        let recovers = self.request.kind == RunKind::Recover;
        match ready {
            Ready::Nothing(why) => match revert.late() {
                Some(rest) if self.request.finishes => session.submit(&Proposal::act(
                    "undo",
                    about.clone(),
                    format!("put back the times around `{about}`"),
                    rest,
                )),
                _ => settled(Outcome::NotPresent, &why),
            },
            Ready::Never(why) | Ready::Lost(why) => {
                explained().cannot.push(remark(&why));
                settled(Outcome::Kept, &why)
            }
            Ready::Lacking(why) if force => {
                explained().cannot.push(remark(&why));
                settled(Outcome::Unknown, &why)
            }
            Ready::Lacking(why) => Err(Error::not_found(format!("`{about}` can't be taken back: {why}"))
                .hint("put it in place, then undo again; --force takes the rest back without it")),
            Ready::ChangedSince(why) if let Undo::MoveBack { moves, .. } = &begun.undo => {
                let hindered = hindrance::of(&session.view, moves)?;
                if recovers && force {
                    let why = hindered.left();
                    explained().cannot.push(remark(&why));
                    return settled(Outcome::Kept, &why);
                }
                Err(hindered.error(&about, &why, &self.undone.run, recovers))
            }
            Ready::ChangedSince(_) if self.stands_in_later_ones(session, begun)? => {
                let why = "later operations added to it";
                explained().stays.push(remark(why));
                settled(Outcome::Kept, why)
            }
            Ready::ChangedSince(_) if let Some((edit, stays)) = self.merged(session, begun)? => {
                explained()
                    .changed_since
                    .push(remark(&format!("{stays}, which stays")));
                match edit {
                    Some(edit) => act(&edit),
                    None => settled(Outcome::NotPresent, "the change is not there any more"),
                }
            }
            Ready::ChangedSince(why) if !force => Err(Error::changed(format!(
                "`{about}` can't be taken back: {why}"
            ))
            .hint("move it aside or keep it; --force overwrites changed contents (they are saved first)")),
            ready @ (Ready::Yes | Ready::ChangedSince(_)) => {
                if let Ready::ChangedSince(why) = ready {
                    let why = format!("{why}; what it is now goes into the store of this undo");
                    explained().changed_since.push(remark(&why));
                }
                act(&Proposal::act(
                    "undo",
                    about.clone(),
                    describe(&begun.undo),
                    revert,
                ))
            }
        }
    }

    /// An edit that others, or other operations of ours, built upon, taken out of what they made of it, unless it is out
    /// already; and what stays.
    fn merged(&self, session: &Session, begun: &Begun) -> Result<Option<(Option<Proposal>, String)>> {
        let (path, before, after) = match &begun.undo {
            Undo::RestoreContents { files, .. } => match files.as_slice() {
                [file] => (&file.path, Some(file.saved.as_str()), file.after.as_deref()),
                _ => return Ok(None),
            },
            Undo::RemoveCreated { path, after, .. } => (path, None, after.as_deref()),
            _ => return Ok(None),
        };
        let Some(after) = after else { return Ok(None) };
        let view = &session.view;
        let Some(merged) = merge::without(self.history, view, &self.undone.run, path, (before, after))?
        else {
            return Ok(None);
        };
        let place = view.workspace.place(path)?;
        let now = view.read(&place, crate::host::files::TEXT_LIMIT)?;
        if merged.text.as_bytes() == now {
            return Ok(Some((None, merged.stays)));
        }
        let edit = Edit::new(view, &place, Some(&now), merged.text.into_bytes())?;
        let summary = format!("take the change out of `{place}`, and keep what came after it");
        let mut proposal = Proposal::act("undo", place.display, summary, edit);
        proposal.why = Some(format!("changed since: {}", merged.stays));
        Ok(Some((Some(proposal), merged.stays)))
    }

    /// Whether a file that the operation made was edited by later ones of ours: then it stays, with all that is in it.
    fn stands_in_later_ones(&self, session: &Session, begun: &Begun) -> Result<bool> {
        let Undo::RemoveCreated {
            path,
            after: Some(after),
            ..
        } = &begun.undo
        else {
            return Ok(false);
        };
        Ok(merge::saved_text(self.history, &session.view, path, after)?.is_some())
    }
}

/// What an operation's undo is about, for people.
fn about(begun: &Begun) -> String {
    let about = target(&begun.undo);
    if about.is_empty() {
        begun.target.clone()
    } else {
        about
    }
}

fn half_done(history: &History, run: &str) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for report in history.list()? {
        if report.undoes.as_deref() == Some(run) && report.outcome != RunOutcome::Done {
            let operations = history.operations(&report.run)?.into_iter();
            let failed = operations.filter(|operation| operation.finished != Some(true));
            targets.extend(failed.map(|operation| operation.target));
        }
    }
    Ok(targets)
}

/// The run as far as these stories of it go.
fn only_of(undone: &Report, only: &[String]) -> Result<Report> {
    let mut part = undone.clone();
    if only.is_empty() {
        return Ok(part);
    }
    if let Some(other) = only.iter().find(|story| !undone.stories.contains(story)) {
        return Err(
            Error::usage(format!("story {other} is not part of run {}", undone.run))
                .hint(format!("its stories: {}", undone.stories.join(", "))),
        );
    }
    part.stories.retain(|story| only.contains(story));
    Ok(part)
}

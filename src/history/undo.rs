//! Taking a run back: its recorded undos in reverse, as a new run with its own preview, approval and records.

use std::rc::Rc;

use serde_json::json;

use super::{Active, Begun, History, merge, recover};
use crate::error::{Error, Result};
use crate::exit_code::ExitCode;
use crate::gate::audit::AuditLog;
use crate::gate::confirm::Confirm;
use crate::gate::expected::Step;
use crate::gate::{Pass, Scene};
use crate::operation::editing::Edit;
use crate::operation::reverting::{Ready, Revert, describe, proven, target};
use crate::operation::{Outcome, Proposal, Undo};
use crate::report::{FailureRecord, Mode, Report, RunKind, RunOutcome};
use crate::run::records::Mark;
use crate::run::{Audience, Context, Request, alerts, approval, begin, plan, records};
use crate::script::session::{Listener, Questions, Session, Silent};
use crate::view::Errand;

/// Takes a run back, or one that a cut left half done.
///
/// # Errors
/// What keeps the run from beginning.
pub fn run(context: &Context, undone: &Report, request: &Request, audience: &dyn Audience) -> Result<Report> {
    let _lock = begin(context)?;
    let reports = History::of(context).list()?;
    if let Some(by) = History::undone_by(&reports, &undone.run) {
        return Err(
            Error::changed(format!("run {} was taken back already, by run {by}", undone.run))
                .hint(format!("to do it again, take that back: rollback undo {by}")),
        );
    }
    carry_out(context, undone, request, audience)
}

/// Takes a run back right after it failed, for `--atomic`: the caller holds the workspace.
///
/// # Errors
/// What the second run says.
pub fn take_back(context: &Context, run: &str, request: &Request, audience: &dyn Audience) -> Result<Report> {
    let undone = History::of(context).load(run)?;
    let mut request = request.clone();
    request.answers.force = true;
    request.atomic = false;
    let report = carry_out(context, &undone, &request, audience)?;
    if report.outcome == RunOutcome::Done {
        return Ok(report);
    }
    let why = report.error.map(|error| error.message).unwrap_or_default();
    Err(Error::failed(format!(
        "run {} could not take everything back: {why}",
        report.run
    )))
}

/// The preview and the real pass of an undo.
///
/// # Errors
/// As [`run`].
pub fn carry_out(
    context: &Context,
    undone: &Report,
    request: &Request,
    audience: &dyn Audience,
) -> Result<Report> {
    let history = History::of(context);
    if let Some(at) = history.pruned(&undone.run) {
        return Err(Error::failed(format!(
            "run {} can't be taken back: its store was pruned on {at}",
            undone.run
        ))
        .hint("`rollback backup list` shows the backups that are left; nothing was changed"));
    }
    if !request.answers.force {
        history.require_sound(undone)?;
    }
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
    let rehearse = || -> Result<(Rc<Session>, Option<Error>)> {
        let silent = Box::new(Silent);
        let session = context.session(errand.clone(), Pass::Preview, Questions::Preview, silent)?;
        let error = replay(&history, &session, &undone.run, &operations, request).err();
        Ok((session, error.map(|error| context.by_signal(error))))
    };
    let (preview, error) = rehearse()?;
    let steps = preview.journal.borrow().steps.clone();
    let mut shown = report_of(&preview, request, &errand, undone);
    shown.plan = plan::id(&shown, &steps, &[], request);
    if let Some(error) = error {
        shown.outcome = plan::outcome_of(&error);
        shown.exit_code = error.exit_code().number();
        shown.error = Some(FailureRecord::of("", &error));
        return Ok(shown);
    }
    if request.dry_run {
        return Ok(shown);
    }
    if !shown
        .operations
        .iter()
        .any(|operation| operation.outcome == Outcome::Planned)
    {
        shown.warnings.push("there is nothing to take back".to_owned());
        return Ok(plan::nothing_to_do(shown, false));
    }
    audience.show_plan(&shown)?;
    let question = if request.only.is_empty() {
        format!("Take back run {}?", undone.run)
    } else {
        format!("Take back {} of run {}?", undone.stories.join(", "), undone.run)
    };
    let again = || {
        let (session, error) = rehearse()?;
        let steps = session.journal.borrow().steps.clone();
        Ok((steps, error))
    };
    let approval = match approval::approve((&shown, &steps), &question, &request.answers, audience, &again) {
        Ok(approval) => approval,
        Err(error) => return Ok(plan::not_begun(shown, &context.by_signal(error))),
    };
    real_pass(
        context,
        undone,
        request,
        (&shown, steps),
        errand,
        &operations,
        &approval.said,
        audience.listener(),
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "everything that the preview settled, used once"
)]
fn real_pass(
    context: &Context,
    undone: &Report,
    request: &Request,
    (shown, steps): (&Report, Vec<Step>),
    errand: Errand,
    operations: &[Begun],
    said: &[(String, String)],
    listener: Box<dyn Listener>,
) -> Result<Report> {
    let host = &context.host;
    host.records.prepare()?;
    let open = if request.answers.force {
        AuditLog::open_after_damage
    } else {
        AuditLog::open
    };
    let mut audit = open(&host.records, &host.clock, &errand.run)?;
    let history = History::of(context);
    history.activate(&Active::of_undo(&errand, undone, request))?;
    audit.run_started(json!({
        "kind": "undo", "undoes": undone.run, "plan": shown.plan, "stories": undone.stories,
        "reason": request.reason, "trigger": request.trigger, "user": shown.user, "host": shown.host,
    }))?;
    for (question, answer) in said {
        audit.answered(question, answer)?;
    }
    let pass = Pass::Real {
        confirm: Confirm::of_plan(steps),
        audit: Box::new(audit),
    };
    let session = context.session(errand.clone(), pass, Questions::Yes, listener)?;
    if let Some(warning) = alerts::begun(context, shown, &errand.run) {
        session.warn(&warning);
    }
    let result = replay(&history, &session, &undone.run, operations, request)
        .map_err(|error| context.by_signal(error));
    let mut report = report_of(&session, request, &errand, undone);
    report.started.clone_from(&shown.started);
    report.plan.clone_from(&shown.plan);
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

fn report_of(session: &Session, request: &Request, errand: &Errand, undone: &Report) -> Report {
    let mut report = plan::report(
        session,
        request,
        errand,
        session.view.host.clock.timestamp(),
        crate::report::Flags::default(),
    );
    report.kind = RunKind::Undo;
    report.undoes = Some(undone.run.clone());
    report.stories.clone_from(&undone.stories);
    report
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

/// An edit that other operations of ours built upon, taken out of what they made of it.
fn merged(history: &History, session: &Session, begun: &Begun) -> Result<Option<Proposal>> {
    let Undo::RestoreContents { files, .. } = &begun.undo else {
        return Ok(None);
    };
    let [file] = files.as_slice() else {
        return Ok(None);
    };
    let view = &session.view;
    let Some(text) = merge::without(history, view, file)? else {
        return Ok(None);
    };
    let place = view.workspace.place(&file.path)?;
    let now = view.read(&place, crate::view::TEXT_LIMIT)?;
    let edit = Edit::new(view, &place, Some(&now), text.into_bytes())?;
    let summary = format!("take the change out of `{place}`, and keep what came after it");
    Ok(Some(Proposal::act("undo", place.shown, summary, edit)))
}

/// Whether a file that the operation made was edited by later ones of ours: then it stays, with all that is in it.
fn stands_in_later_ones(history: &History, session: &Session, begun: &Begun) -> Result<bool> {
    let Undo::RemoveCreated {
        path,
        after: Some(after),
        ..
    } = &begun.undo
    else {
        return Ok(false);
    };
    Ok(merge::saved_text(history, &session.view, path, after)?.is_some())
}

/// Takes each operation back, the newest first. What has been changed since is shown, and stops the undo unless forced.
fn replay(
    history: &History,
    session: &Rc<Session>,
    run: &str,
    operations: &[Begun],
    request: &Request,
) -> Result<()> {
    let mut differences = Vec::new();
    for begun in operations.iter().rev() {
        session.journal.borrow_mut().scene = Scene {
            story: begun.story.clone(),
            phase: "undo".to_owned(),
            steps: vec![format!("Take back {}", begun.op)],
            ..Scene::default()
        };
        // A message can't be unsaid, and what a recovery swept away was nobody's.
        if matches!(begun.op.as_str(), "notify" | recover::WORD) {
            continue;
        }
        // An undo that was cut off has put back a part of it, and its real pass found what its preview compared.
        let is_whole = begun.finished == Some(true) && !request.finishes;
        if is_whole && (session.view.errand.preview || request.answers.force) {
            differences.extend(proven::differences(&session.view, &begun.undo)?);
        }
        take_one_back(history, session, begun, request)?;
    }
    if !differences.is_empty() && !request.answers.force {
        return Err(proven::refused(run, &differences));
    }
    for difference in differences {
        session.warn(&difference);
    }
    if let Some(expected) = session.gate.borrow_mut().expected() {
        expected.end(None)?;
    }
    session.journal.borrow_mut().scene = Scene::default();
    Ok(())
}

fn take_one_back(history: &History, session: &Rc<Session>, begun: &Begun, request: &Request) -> Result<()> {
    let about = target(&begun.undo);
    let about = if about.is_empty() {
        begun.target.clone()
    } else {
        about
    };
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
    match ready {
        Ready::Nothing(why) => match revert.late() {
            Some(rest) if request.finishes => session.submit(&Proposal::act(
                "undo",
                about.clone(),
                format!("put back the times around `{about}`"),
                rest,
            )),
            _ => settled(Outcome::NotPresent, &why),
        },
        Ready::Never(why) | Ready::Lost(why) => settled(Outcome::Kept, &why),
        Ready::Lacking(why) if request.answers.force => settled(Outcome::Unknown, &why),
        Ready::Lacking(why) => Err(Error::not_found(format!("`{about}` can't be taken back: {why}"))
            .hint("put it in place, then undo again; --force takes the rest back without it")),
        Ready::ChangedSince(_) if let Some(edit) = merged(history, session, begun)? => session.submit(&edit),
        Ready::ChangedSince(_) if stands_in_later_ones(history, session, begun)? => {
            settled(Outcome::Kept, "later operations added to it")
        }
        Ready::ChangedSince(why) if !request.answers.force || matches!(begun.undo, Undo::MoveBack { .. }) => {
            Err(Error::changed(format!("`{about}` can't be taken back: {why}"))
                .hint("move it aside or keep it; --force overwrites changed contents (they are saved first)"))
        }
        Ready::Yes | Ready::ChangedSince(_) => session.submit(&Proposal::act(
            "undo",
            about.clone(),
            describe(&begun.undo),
            revert,
        )),
    }
}

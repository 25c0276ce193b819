//! Settling a run that was cut off: each unfinished operation is settled from what is on disk, then the run is taken
//! back (default) or its stories are rolled back again (`--resume`). An undo that was cut off is finished either way.
//!
//! The mark of the run that was cut stays until the mark of what follows it takes its place, or until there is nothing
//! left to do: a cut in the middle of a recovery is told like any other.

use serde_json::{Value, json};

use super::undo::{self, Chosen};
use super::{Active, Begun, History};
use crate::audit::{AuditLog, Intent, segments};
use crate::base::error::{Error, Result};
use crate::operation::Operation;
use crate::operation::editing::AFTER;
use crate::operation::reverting::{Ready, Revert};
use crate::operation::sweeping::{CutOff, Leftovers};
use crate::report::effect::Risk;
use crate::report::undo::{Undo, UndoClass};
use crate::report::{AuditHead, Flags, Mode, Report, RunKind, RunOutcome};
use crate::run::{Audience, Context, Request, plan};
use crate::view::{Errand, View};
use crate::workspace::lock::Lock;

/// The word of a recovery's own operations in the log.
pub const WORD: &str = "recover";

/// What to do after settling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Take the run back.
    Undo,
    /// Roll its stories back again.
    Resume,
}

/// The run that was cut off.
///
/// # Errors
/// [`crate::base::error::Kind::Locked`] while a run is at work; [`crate::base::error::Kind::Usage`] where none was cut off;
/// [`crate::base::error::Kind::Corrupt`] for a mark that can't be read.
pub fn cut_off(context: &Context) -> Result<Active> {
    let _lock = Lock::take(context.workspace.root())?;
    marked(context)
}

fn marked(context: &Context) -> Result<Active> {
    context.require_own_state()?;
    let history = History::of(context);
    if history.unfinished().is_none() {
        return Err(Error::usage("no run was cut off: there is nothing to recover"));
    }
    history.active().ok_or_else(|| {
        Error::corrupt("`.rollback/active` cannot be read").hint(
            "the log names no run that was begun and not ended, so that nothing was changed under this mark: look at \
             `rollback history`, then move it aside: mv .rollback/active .rollback/active.aside",
        )
    })
}

/// Settles the run that was cut off, and takes it back or goes on. A request to go on holds the stories that
/// `active.asked` names.
///
/// # Errors
/// [`crate::base::error::Kind::Changed`] where another run was cut off meanwhile; [`crate::base::error::Kind::Usage`] for a run that
/// can't go on; otherwise what the second run says.
pub fn run(
    context: &Context,
    active: &Active,
    then: Then,
    request: &Request,
    audience: &dyn Audience,
) -> Result<Report> {
    if !request.dry_run {
        context.require_wall()?;
    }
    let lock = Lock::take(context.workspace.root())?;
    if marked(context)?.run != active.run {
        return Err(
            Error::changed("somebody else settled the run meanwhile").hint("look at `rollback history`")
        );
    }
    let history = History::of(context);
    // An undo aims at the state before the run that it takes back, so it is finished, and not itself taken back.
    let unfinished_undo = active
        .undoes
        .as_deref()
        .map(|run| history.load(run))
        .transpose()?;
    if then == Then::Resume && unfinished_undo.is_none() && active.asked.stories.is_empty() {
        return Err(Error::usage(format!(
            "run {} rolled no story back, so it can't go on",
            active.run
        ))
        .hint("`rollback recover` takes it back"));
    }
    let (closed, fates) = if request.dry_run {
        let mut fates = Vec::new();
        for begun in unsettled(context, active)?.unwrap_or_default() {
            fates.extend(leftovers(context, active, &begun)?.fates(false));
        }
        (closed_report(context, active, None)?, fates)
    } else {
        let (head, fates) = settle(context, active, then, request.answers.force)?;
        let closed = closed_report(context, active, head)?;
        history.save(&closed)?;
        (closed, fates)
    };
    let report = match (&unfinished_undo, then) {
        (Some(undone), _) => {
            let request = Request {
                kind: RunKind::Recover,
                only: active.asked.stories.clone(),
                finishes: true,
                ..request.clone()
            };
            undo::carry_out(context, &Chosen::named(undone.clone()), &request, audience)
        }
        (None, Then::Undo) => {
            let request = Request {
                kind: RunKind::Recover,
                ..request.clone()
            };
            undo::carry_out(context, &Chosen::named(closed), &request, audience)
        }
        (None, Then::Resume) => crate::run::go_on(context, lock, request, audience),
    };
    let mut report = report.map_err(|error| fates.iter().fold(error, Error::context))?;
    report.warnings.splice(0..0, fates);
    if !request.dry_run && report.outcome == RunOutcome::Done {
        history.deactivate()?;
    }
    Ok(report)
}

/// The operations that were begun and not finished, and that no earlier recovery, itself cut off, has settled; `None` where
/// the log holds the end of the run.
fn unsettled(context: &Context, active: &Active) -> Result<Option<Vec<Begun>>> {
    let mut settled = Vec::new();
    let mut is_finished = false;
    segments::read_run(
        &context.workspace.state().join("audit"),
        &active.run,
        |record| match record.get("event").and_then(Value::as_str) {
            Some("recovered") => settled.extend(record.get("n").and_then(Value::as_u64)),
            Some("run_finished") => is_finished = true,
            _ => {}
        },
    )?;
    if is_finished {
        return Ok(None);
    }
    let mut begun = History::of(context).operations(&active.run)?;
    begun.retain(|begun| {
        begun.finished.is_none() && !settled.contains(&u64::from(begun.n)) && begun.op != WORD
    });
    Ok(Some(begun))
}

/// Writes an outcome for each operation that was begun and not finished, and for the run; gives the head of the log
/// where the run was not finished in it, and what became of originals that were out of their place.
///
/// Before a run goes on, its unfinished operation is taken back: what is half done then begins anew.
fn settle(
    context: &Context,
    active: &Active,
    then: Then,
    force: bool,
) -> Result<(Option<AuditHead>, Vec<String>)> {
    let host = &context.host;
    host.records.prepare()?;
    let store = context.workspace.run_directory(&active.run);
    host.records.sweep(&store)?;
    host.records.sweep(&store.join(AFTER))?;
    let open = if force {
        AuditLog::open_after_damage
    } else {
        AuditLog::open
    };
    let mut audit = open(&host.records, &host.clock, &active.run)?;
    let Some(unsettled) = unsettled(context, active)? else {
        return Ok((None, Vec::new()));
    };
    let mut fates = Vec::new();
    let view = View::new(
        std::rc::Rc::clone(&context.workspace),
        std::rc::Rc::clone(host),
        std::rc::Rc::clone(&context.catalogue),
        // What is displaced goes beside what the run itself has put away.
        Errand {
            run: format!("{}/{WORD}", active.run),
            ..Errand::default()
        },
    );
    for begun in unsettled {
        let originals = sweep(context, active, &begun, &mut audit)?;
        let (revert, ready) = Revert::new(&view, begun.undo.clone())?;
        let found = match ready {
            Ready::Yes if then == Then::Resume && begun.undo.class() == UndoClass::Exact => {
                let summary = "take back what an operation that was cut off did";
                let intent = intent(&begun, &begun.target, summary);
                let undo = revert.undo();
                let permit = audit.begin(&Intent {
                    undo: &undo,
                    ..intent
                })?;
                let reverted = revert.execute(&permit, host);
                audit.finish(permit, begun.n, reverted.as_ref().map(|_| None))?;
                reverted?;
                "it was taken back".to_owned()
            }
            Ready::Yes => "its effect, or a part of it, is there".to_owned(),
            Ready::Nothing(why) => format!("it had no effect: {why}"),
            Ready::ChangedSince(why) => format!("its effect was changed since: {why}"),
            Ready::Never(why) | Ready::Lost(why) | Ready::Lacking(why) => format!("it cannot be told: {why}"),
        };
        let found: Vec<&str> = std::iter::once(&found)
            .chain(&originals)
            .map(String::as_str)
            .collect();
        let found = found.join("; ");
        audit.recovered(json!({ "n": begun.n, "op": begun.op, "target": begun.target, "found": found }))?;
        fates.extend(originals);
    }
    let head = audit.run_finished(json!({ "outcome": "interrupted", "exit_code": 9, "recovered": true }))?;
    Ok((Some(head), fates))
}

fn leftovers(context: &Context, active: &Active, begun: &Begun) -> Result<Leftovers> {
    let cut_off = CutOff {
        undo: &begun.undo,
        target: &begun.target,
        begun_ns: begun.begun_ns,
        pid: active.pid,
    };
    cut_off.leftovers(&context.host, &context.workspace)
}

/// Removes what an unfinished operation left lying about; says what became of originals that were out of their place.
fn sweep(context: &Context, active: &Active, begun: &Begun, audit: &mut AuditLog) -> Result<Vec<String>> {
    let (host, workspace) = (&context.host, &context.workspace);
    let left = leftovers(context, active, begun)?;
    if left.paths.is_empty() {
        return Ok(left.fates(true));
    }
    let names: Vec<&str> = left.paths.iter().map(|place| place.display.as_str()).collect();
    let names = names.join(", ");
    let undo = Undo::Nothing {
        why: "it was a temporary of the program's own".to_owned(),
    };
    let summary = match &left.original {
        Some((aside, from)) => {
            format!(
                "put `{aside}` back as `{from}`, and remove its copy, after an operation that was cut off"
            )
        }
        None => "remove what an operation that was cut off left".to_owned(),
    };
    let intent = intent(begun, &names, &summary);
    let permit = audit.begin(&Intent {
        undo: &undo,
        ..intent
    })?;
    let swept = left.sweep(&permit, host, workspace);
    let still = host.note_leftovers();
    audit.finish(permit, begun.n, swept.as_ref().map(|()| still.as_deref()))?;
    swept.map(|()| left.fates(true))
}

/// An operation of the recovery itself.
fn intent<'a>(begun: &'a Begun, target: &'a str, summary: &'a str) -> Intent<'a> {
    Intent {
        n: begun.n,
        story: &begun.story,
        phase: WORD,
        step: None,
        op: WORD,
        target,
        summary,
        risk: Risk::None,
        undo: &begun.undo,
    }
}

/// The report of the run that was cut off: its own where it had come to that, otherwise as far as the mark tells.
fn closed_report(context: &Context, active: &Active, head: Option<AuditHead>) -> Result<Report> {
    if let Ok(report) = History::of(context).load(&active.run) {
        return Ok(report);
    }
    let request = Request {
        options: active.asked.clone(),
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
        crate::pass::Questions::Preview,
        Box::new(crate::pass::Silent),
    )?;
    let mut report = plan::report(
        &session,
        &request,
        &errand,
        active.started.clone(),
        Flags::default(),
    );
    report.mode = Mode::Real;
    if active.undoes.is_some() {
        report.kind = RunKind::Undo;
        report.about = None;
        report.undoes.clone_from(&active.undoes);
    }
    report.outcome = RunOutcome::Interrupted;
    report.exit_code = crate::base::exit_code::ExitCode::Unfinished.number();
    report.audit_head = head;
    Ok(report)
}

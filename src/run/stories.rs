//! The phases of a story: before (the feature goes off), prepare, execute, validate, finish, after.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use rhai::{CallFnOptions, Dynamic, Scope};

use super::{Context, Request, checklist, ends_everything, engine_failure, records, switches};
use crate::base::error::{Error, Kind, Result};
use crate::base::{panic, wording};
use crate::pass::Session;
use crate::report::FailureRecord;
use crate::report::effect::Outcome;
use crate::script::{diagnostics, engine, patterns};
use crate::view::allowance::Counting;
use crate::workspace::story::{Origin, Script, Story};

/// Runs every story of a request, in order.
///
/// # Errors
/// The failure that ended the pass; with `--continue-on-error` the others stand in the journal only.
pub fn run_all(context: &Context, session: &Rc<Session>, request: &Request) -> Result<()> {
    let mut last = None;
    for story in &request.stories {
        let span = tracing::info_span!("story", id = story.id.as_str()).entered();
        // A mistake of ours must not leave the run open: it ends the story like any other failure.
        let result = panic::guard(|| run_one(context, session, story));
        drop(session.phase.take());
        drop(span);
        session.warn_of_unknown();
        patterns::end(session, story);
        let Err(error) = result else {
            continue;
        };
        let error = engine_failure::located(context, session, request, story, error);
        session
            .journal
            .borrow_mut()
            .failures
            .push(FailureRecord::of(&story.id, &error));
        records::story_failed(context, session, story, &error)?;
        if !request.continue_on_error || ends_everything(&error) {
            session.journal.borrow_mut().scene = crate::gate::Scene::default();
            return Err(error);
        }
        session.warn(&format!("story {} failed: {}", story.id, error.message()));
        last = Some(error);
    }
    session.journal.borrow_mut().scene = crate::gate::Scene::default();
    match last {
        Some(error) if session.journal.borrow().failures.len() == request.stories.len() => Err(error),
        _ => Ok(()),
    }
}

fn enter(session: &Session, story: &Story, phase: &str) {
    drop(session.phase.take());
    *session.phase.borrow_mut() = Some(tracing::info_span!("phase", name = phase).entered());
    session.listener.phase(&story.id, phase);
    let mut journal = session.journal.borrow_mut();
    journal.scene.story.clone_from(&story.id);
    phase.clone_into(&mut journal.scene.phase);
    journal.scene.steps.clear();
    journal.scene.within.clear();
}

fn run_one(context: &Context, session: &Rc<Session>, story: &Rc<Story>) -> Result<()> {
    *session.view.story.borrow_mut() = Some(Rc::clone(story));
    session.journal.borrow_mut().scene.asked = false;
    enter(session, story, "before");
    let operations_before = session.journal.borrow().operations.len();
    let checks_before = session.journal.borrow().checks.len();
    records::story_begun(context, session, story)?;
    patterns::begin(session, story)?;
    switches::switch_off(session, story)?;
    let machine = Machine::of(session, &story.script)?;
    for phase in ["prepare", "execute"] {
        if story.script.has_phase(phase) {
            enter(session, story, phase);
            machine.call(&story.script, phase)?;
        }
    }
    enter(session, story, "validate");
    checklist::check(session, story)?;
    if story.script.has_phase("validate") {
        machine.call(&story.script, "validate")?;
    }
    if story.script.has_phase("finish") {
        enter(session, story, "finish");
        machine.call(&story.script, "finish")?;
    }
    // Before the story's end is logged, with its warnings.
    session.warn_of_unknown();
    let acted = session
        .journal
        .borrow()
        .operations
        .iter()
        .skip(operations_before)
        .any(|operation| matches!(operation.outcome, Outcome::Done | Outcome::Planned));
    if acted {
        enter(session, story, "after");
        session.step("Update documentation", || records::document(session, story))?;
    }
    let failed: Vec<String> = session
        .journal
        .borrow()
        .checks
        .iter()
        .skip(checks_before)
        .filter(|check| check.fails(session.view.errand.options.strict))
        .map(|check| check.title.clone())
        .collect();
    if let Some(expected) = session.gate.borrow_mut().expected() {
        expected.end(Some(&story.id))?;
    }
    records::story_completed(context, session, story, &failed, acted)?;
    if failed.is_empty() || context_is_preview(session) {
        return Ok(());
    }
    let count = wording::plural(failed.len() as u64, "check");
    let error = Error::failed(format!(
        "{count} of story {} failed: {}",
        story.id,
        failed.join("; ")
    ));
    if !session.journal.borrow().touched {
        return Err(error);
    }
    Err(error
        .hint("what was done is done and recorded; `rollback undo` takes it back")
        .after_changes())
}

fn context_is_preview(session: &Session) -> bool {
    session.gate.borrow_mut().audit().is_none()
}

/// Runs the checklist and the script's own checks alone, for `rollback validate`.
///
/// # Errors
/// What the script says; a failed check is no error.
pub fn validate_one(session: &Rc<Session>, story: &Rc<Story>) -> Result<()> {
    *session.view.story.borrow_mut() = Some(Rc::clone(story));
    enter(session, story, "validate");
    checklist::check(session, story)?;
    if story.script.has_phase("validate") {
        Machine::of(session, &story.script)?.call(&story.script, "validate")?;
    }
    session.warn_of_unknown();
    Ok(())
}

/// The engine of one story in one pass.
pub(super) struct Machine {
    engine: rhai::Engine,
    session: Rc<Session>,
    counting: Option<Counting>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(counting) = self.counting.take() {
            counting.end(self.session.cancelled().is_some());
        }
    }
}

impl Machine {
    pub(super) fn of(session: &Rc<Session>, script: &Script) -> Result<Self> {
        let beside = match &script.origin {
            Origin::Embedded => None,
            Origin::File(path) => path.parent().map(PathBuf::from),
        };
        session.begin_story();
        let view = &session.view;
        let counting = view
            .allowance
            .begin(view.limits(), vec![Arc::clone(&view.host.cancelled)])?;
        Ok(Self {
            engine: engine::engine(session, beside),
            session: Rc::clone(session),
            counting: Some(counting),
        })
    }

    pub(super) fn call(&self, script: &Script, phase: &str) -> Result<()> {
        let options = CallFnOptions::new().eval_ast(true).rewind_scope(true);
        let mut scope = Scope::new();
        let watch = &self.session.watch;
        let call = || {
            self.engine
                .call_fn_with_options::<Dynamic>(options, &mut scope, &script.ast, phase, ())
        };
        let result = match catch_unwind(AssertUnwindSafe(call)) {
            Ok(result) => diagnostics::checked(script, result),
            Err(panic) => match watch.failure(script, phase) {
                Some(failure) => Err(failure),
                None => resume_unwind(panic),
            },
        };
        // What can't be caught ends the story, even where the engine swallowed it.
        let result = match (self.session.ended.borrow().clone(), result) {
            (Some(ended), Err(error)) if error.kind() == ended.kind() => Err(error),
            (Some(ended), _) => Err(ended),
            (None, Ok(_)) if self.session.view.allowance.over().is_some() => {
                self.session.view.allowance.check().map(|()| Dynamic::UNIT)
            }
            (None, result) => result,
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::Invalid => {
                Err(error.exiting(crate::base::exit_code::ExitCode::Usage))
            }
            Err(error) => Err(error),
        }
    }
}

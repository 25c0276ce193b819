//! A run: the preview against the overlay, approval, the real pass, validation, report.
//!
//! On disk: `.rollback/runs/<run>/` (what was removed, contents before edits, `report.json`), `.rollback/active` while a
//! real pass goes on, `rollback_reports/`, lines of `logs/`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::audit::AuditLog;
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::exit_code::ExitCode;
use crate::base::{redact, wording};
use crate::gate::confirm::{Answers, Confirm};
use crate::gate::expected::Step;
use crate::gate::policy::Policy;
use crate::gate::prompt::Ask;
use crate::gate::{Gate, Pass};
use crate::host::{Host, confine, processes};
use crate::pass::sources::Sources;
use crate::pass::{Journal, Listener, Questions, Session};
use crate::report::effect::Outcome;
use crate::report::options::Options;
use crate::report::{Mode, Report, RunKind, RunOutcome};
use crate::run::history::{Active, History};
use crate::view::{Errand, View};
use crate::workspace::catalogue::Catalogue;
use crate::workspace::lock::Lock;
use crate::workspace::story::Story;
use crate::workspace::{Workspace, trust};

/// Approval of a plan.
pub mod approval;

/// Failed runs that undo themselves.
mod atomic;

/// What a real run tells the channels.
pub mod alerts;

/// The validation checklist of the procedures: eight items a story.
pub mod checklist;

/// What the journal of a pass says, as a report with a plan id.
pub mod plan;

/// Where the script engine failed.
mod engine_failure;

/// Reports, log lines and the documentation entry of a real run.
pub mod records;

/// What earlier commands left behind.
mod leftovers;

/// Plans in files, and doing what they say.
pub mod plan_file;

/// Checking backups.
pub mod verification;

/// What a backup's manifest can't tell.
pub mod proving;

/// Commands of our own that change what we keep.
mod maintenance;

/// Retention of backups and run stores.
pub mod prune;

/// One word outside a story.
pub mod single;

/// The phases of a story.
mod stories;

/// Switching a story's code off.
pub mod switches;

/// Tests of scripts.
pub mod tests;
/// The kernel's wall around a command.
mod wall;

/// Runs as recorded, and how they are taken back.
pub mod history;

pub use stories::validate_one;

/// What a person asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// What kind of run it is.
    pub kind: RunKind,
    /// What a run without stories is about.
    pub about: Option<String>,
    /// The stories, in the order in which they go.
    pub stories: Vec<Rc<Story>>,
    /// What was asked for beside them.
    pub options: Options,
    /// What the command line answered.
    pub answers: Answers,
    /// Nothing is to change.
    pub dry_run: bool,
    /// `--continue-on-error`.
    pub continue_on_error: bool,
    /// `--atomic`.
    pub atomic: bool,
    /// An undo that goes on with one that was cut off: what it did not come to is done, down to the times.
    pub finishes: bool,
    /// An undo: these stories of the run alone; none means all.
    pub only: Vec<String>,
}

/// Where and with what a run happens.
pub struct Context {
    /// The workspace.
    pub workspace: Rc<Workspace>,
    /// The world.
    pub host: Rc<Host>,
    /// All stories.
    pub catalogue: Rc<Catalogue>,
    /// What scripts import, each read once.
    pub sources: Rc<Sources>,
    /// The signal that came; 0: none.
    pub signal: Arc<AtomicUsize>,
    /// What the kernel keeps this program from, once it was asked to.
    wall: std::cell::OnceCell<confine::Wall>,
}

impl Context {
    /// Opens the workspace's host and catalogue.
    ///
    /// # Errors
    /// What the configuration or a story says.
    pub fn open(workspace: Workspace) -> Result<Self> {
        let cancelled = Arc::new(AtomicBool::new(false));
        // Before anything is written or shown.
        if let Ok(bytes) =
            crate::workspace::contents(&workspace.env_file().absolute, crate::host::files::TEXT_LIMIT)
        {
            redact::learn(&String::from_utf8_lossy(&bytes));
        }
        let host = Host::open(&workspace, Clock::system(), cancelled)?;
        let catalogue = Catalogue::load(&workspace)?;
        Ok(Self {
            workspace: Rc::new(workspace),
            host: Rc::new(host),
            catalogue: Rc::new(catalogue),
            sources: Rc::default(),
            signal: Arc::new(AtomicUsize::new(0)),
            wall: std::cell::OnceCell::new(),
        })
    }

    /// Whether a check that rests on something unknown fails.
    #[must_use]
    pub fn is_strict(&self, request: &Request) -> bool {
        request.options.strict || self.workspace.config().validation.strict
    }

    /// Refuses to go by records and backups that a stranger can write.
    ///
    /// # Errors
    /// [`Kind::Denied`], with what to do.
    pub fn require_own_state(&self) -> Result<()> {
        let workspace = &self.workspace;
        trust::check_state(workspace.root(), &workspace.backups(), crate::backup::MANIFEST)
    }

    /// A view outside any run, for commands that only look: of one moment, as a preview is.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(
            Rc::clone(&self.workspace),
            Rc::clone(&self.host),
            Rc::clone(&self.catalogue),
            Errand {
                preview: true,
                ..Errand::begin(&self.host.clock)
            },
        )
    }

    /// A run that a signal stopped ends with the code of that signal, wherever it was stopped.
    pub(crate) fn by_signal(&self, error: Error) -> Error {
        if error.kind() == Kind::Cancelled && self.signal.load(Ordering::Relaxed) == 15 {
            return error.exiting(ExitCode::Terminated);
        }
        error
    }

    /// One pass: a view, a gate, and somebody who watches.
    ///
    /// # Errors
    /// Where the policy can't be read.
    pub fn session(
        &self,
        errand: Errand,
        pass: Pass,
        questions: Questions,
        listener: Box<dyn Listener>,
    ) -> Result<Rc<Session>> {
        self.require_own_state()?;
        let policy = Policy::of(&self.workspace)?;
        let errand = Errand {
            preview: matches!(pass, Pass::Preview),
            ..errand
        };
        let (errand_reason, errand_forced) = (errand.options.reason.clone(), errand.forced);
        let session = Session {
            view: View::new(
                Rc::clone(&self.workspace),
                Rc::clone(&self.host),
                Rc::clone(&self.catalogue),
                errand,
            ),
            gate: std::cell::RefCell::new(Gate::new(policy, pass)),
            journal: std::cell::RefCell::new(Journal::default()),
            sources: Rc::clone(&self.sources),
            listener,
            questions: std::cell::RefCell::new(questions),
            forced: errand_forced,
            reason: errand_reason,
            since: self.host.clock.timestamp(),
            signal: Arc::clone(&self.signal),
            operations: std::cell::Cell::new(0),
            ended: std::cell::RefCell::new(None),
            watch: crate::pass::watch::Watch::default(),
            phase: std::cell::RefCell::new(None),
        };
        if let Some(warning) = self.wall_warning() {
            session.journal.borrow_mut().warnings.push(warning);
        }
        Ok(Rc::new(session))
    }
}

/// Whoever takes part in a run: watches it, and is asked.
pub trait Audience {
    /// Shows the plan before the question.
    ///
    /// # Errors
    /// Where it can't be shown: then nothing is asked.
    fn show_plan(&self, plan: &Report) -> Result<()>;
    /// Somebody to ask; `None` where nobody is there.
    fn person(&self) -> Option<Box<dyn Ask>>;
    /// Who watches the real pass.
    fn listener(&self) -> Box<dyn Listener>;
}

/// A finished preview.
pub struct Preview {
    /// The plan.
    pub report: Report,
    /// The failure that ended it, if one did.
    pub error: Option<Error>,
    /// What it shows, as the real pass must be.
    pub steps: Vec<Step>,
    /// The digest of each script and module that it is of, in hexadecimal, by its name.
    pub sources: Vec<(String, String)>,
    pub(crate) errand: Errand,
}

/// The errand of a request, with a new run id.
fn errand(context: &Context, request: &Request) -> Errand {
    Errand {
        dry_run: request.dry_run,
        options: Options {
            strict: context.is_strict(request),
            ..request.options.clone()
        },
        forced: request.answers.force,
        stories: request.stories.iter().map(|story| story.id.clone()).collect(),
        scripted: true,
        had_state: context.workspace.state().is_dir(),
        had_logs: context.workspace.root().join(crate::workspace::LOGS).is_dir(),
        logs: context.host.logs.sizes(),
        ..Errand::begin(&context.host.clock)
    }
}

/// Previews a request: the same scripts as the real pass, against the overlay. Changes nothing.
///
/// # Errors
/// Only where not even a plan can be begun; a failing script stands in [`Preview::error`].
pub fn preview(context: &Context, request: &Request, listener: Box<dyn Listener>) -> Result<Preview> {
    preview_as(context, request, errand(context, request), listener)
}

fn preview_as(
    context: &Context,
    request: &Request,
    errand: Errand,
    listener: Box<dyn Listener>,
) -> Result<Preview> {
    let _span = tracing::info_span!("preview").entered();
    let started = context.host.clock.timestamp();
    let session = context.session(errand.clone(), Pass::Preview, Questions::Preview, listener)?;
    for warning in context
        .workspace
        .warnings
        .iter()
        .chain(&context.catalogue.warnings)
    {
        session.warn(warning);
    }
    let before = plan::flags(&session, &request.stories);
    let error = stories::run_all(context, &session, request)
        .err()
        .map(|error| context.by_signal(error))
        .or_else(|| records::refused(context, &session));
    let after = plan::flags(&session, &request.stories);
    if let Some(warning) = not_read(&session.view.sources_not_read()) {
        session.warn(&warning);
    }
    for warning in session.view.unsent() {
        session.warn(&warning);
    }
    // A preview that failed early may not have come to them.
    if error.is_none() {
        for name in session.view.params_not_asked() {
            session.warn(&format!("--param {name}: no script asks for it"));
        }
    }
    let flags = plan::changed_flags(before, after);
    let mut report = plan::report(&session, request, &errand, started, flags);
    let steps = session.journal.borrow().steps.clone();
    let sources = sources(context, request);
    report.plan = plan::id(&report, &steps, &sources, request);
    report.mode = Mode::DryRun;
    let failed = error.is_some() || !session.journal.borrow().failures.is_empty();
    let (outcome, code) = match &error {
        None if failed => (RunOutcome::Failed, ExitCode::Failed),
        None => (RunOutcome::Planned, ExitCode::Done),
        Some(error) => (plan::outcome_of(error), error.exit_code()),
    };
    report.outcome = outcome;
    report.exit_code = code.number();
    report.next = plan::next_of_preview(&report, request);
    Ok(Preview {
        report,
        error,
        steps,
        sources,
        errand,
    })
}

/// The scripts of a request and what they imported.
fn sources(context: &Context, request: &Request) -> Vec<(String, String)> {
    let scripts = request.stories.iter().map(|story| &story.script);
    scripts
        .map(|script| {
            let digest = blake3::hash(script.source.as_bytes()).to_hex().to_string();
            (script.name.clone(), digest)
        })
        .chain(context.sources.digests())
        .collect()
}

/// What is not known of sources that are too large, binary or unreadable.
fn not_read(files: &[String]) -> Option<String> {
    const SHOWN: usize = 3;
    let count = files.len();
    let named: Vec<String> = files.iter().take(SHOWN).map(|file| format!("`{file}`")).collect();
    let more = count.saturating_sub(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (count > 0).then(|| {
        format!(
            "{} could not be looked into ({}{more}): what they need is not known",
            wording::plural(count as u64, "source file"),
            named.join(", ")
        )
    })
}

/// Rolls back: preview, approval, real pass. Gives the report, whatever its outcome.
///
/// # Errors
/// What keeps a run from beginning: no approval, another run, an unfinished run, a log that can't be written.
pub fn run(context: &Context, request: &Request, audience: &dyn Audience) -> Result<Report> {
    let _lock = begin(context)?;
    let preview = preview(context, request, Box::new(crate::pass::Silent))?;
    carry_out(context, request, preview, audience)
}

/// As [`run`], in place of a run that was cut off: its mark stays until this run's own takes its place.
///
/// # Errors
/// As [`run`].
pub fn go_on(context: &Context, lock: Lock, request: &Request, audience: &dyn Audience) -> Result<Report> {
    let _lock = lock;
    let preview = preview(context, request, Box::new(crate::pass::Silent))?;
    if request.dry_run {
        return Ok(preview.report);
    }
    carry_out(context, request, preview, audience)
}

/// Takes the workspace for a change: the lock, and no unfinished run.
///
/// # Errors
/// [`Kind::Locked`] or [`Kind::Unfinished`].
pub fn begin(context: &Context) -> Result<Lock> {
    context.require_wall()?;
    let lock = Lock::take(context.workspace.root())?;
    if let Some(run) = History::of(context).unfinished() {
        return Err(Error::unfinished(format!("run {run} was cut off"))
            .hint("`rollback recover` settles it and takes it back; `rollback recover --resume` goes on"));
    }
    Ok(lock)
}

/// The second half of a run: approval of a preview and the real pass.
///
/// # Errors
/// As [`run`].
pub fn carry_out(
    context: &Context,
    request: &Request,
    preview: Preview,
    audience: &dyn Audience,
) -> Result<Report> {
    context.sources.seal();
    let plan = &preview.report;
    if let Err(error) = request.answers.require_plan(&plan.plan) {
        return Ok(plan::not_begun(preview.report, &error));
    }
    let goes_on =
        request.continue_on_error && !matches!(plan.outcome, RunOutcome::Refused | RunOutcome::Interrupted);
    if let (Some(_), false) = (&preview.error, goes_on) {
        return Ok(preview.report);
    }
    if !plan
        .operations
        .iter()
        .any(|operation| operation.outcome == Outcome::Planned)
    {
        return Ok(plan::nothing_to_do(preview.report, context.is_strict(request)));
    }
    audience.show_plan(plan)?;
    let question = format!("Roll back {}?", plan.stories.join(", "));
    let again = || {
        let listener = Box::new(crate::pass::Silent);
        let now = preview_as(context, request, preview.errand.clone(), listener)?;
        Ok((now.steps, now.error))
    };
    let planned = (plan, preview.steps.as_slice());
    let approval = match approval::approve(planned, &question, &request.answers, audience, &again) {
        Ok(approval) => approval,
        Err(error) => return Ok(plan::not_begun(preview.report, &context.by_signal(error))),
    };
    real_pass(context, request, preview, &approval.answers, audience)
}

fn real_pass(
    context: &Context,
    request: &Request,
    preview: Preview,
    answers: &[(String, String)],
    audience: &dyn Audience,
) -> Result<Report> {
    let Preview {
        report: plan,
        steps,
        errand,
        ..
    } = preview;
    let plan = &plan;
    let _span = tracing::info_span!("run", id = errand.run.as_str()).entered();
    // Before anything is written: a run that can't ask must not begin.
    let each = request
        .answers
        .each
        .then(|| audience.person().ok_or_else(nobody_for_each))
        .transpose()?;
    let started = context.host.clock.timestamp();
    let host = &context.host;
    host.records.prepare()?;
    let mut audit = AuditLog::open(&host.records, &host.clock, &errand.run)?;
    let history = History::of(context);
    let active = Active::of_run(&errand, request);
    history.activate(&active)?;
    audit.run_started(json!({
        "kind": plan.kind, "plan": plan.plan, "stories": plan.stories, "reason": plan.reason,
        "trigger": plan.trigger, "user": plan.user, "host": plan.host, "params": request.options.params,
        "asked": active.asked,
    }))?;
    for (question, answer) in answers {
        audit.answered(question, answer)?;
    }
    let mut confirm = Confirm::of_plan(steps);
    if let Some(person) = each {
        confirm = confirm.asking_each(person);
    }
    let questions = if request.answers.yes || request.answers.force || request.answers.plan.is_some() {
        Questions::Yes
    } else {
        confirm = confirm.with_questions();
        audience.person().map_or(Questions::Nobody, Questions::Person)
    };
    let pass = Pass::Real {
        confirm,
        audit: Box::new(audit),
    };
    let session = context.session(errand.clone(), pass, questions, audience.listener())?;
    for warning in &plan.warnings {
        session.warn(warning);
    }
    if let Some(warning) = alerts::begun(context, plan, &errand.run) {
        session.warn(&warning);
    }
    let before = plan::flags(&session, &request.stories);
    let error = stories::run_all(context, &session, request)
        .err()
        .map(|error| context.by_signal(error));
    let error = approval::all_declined(&session).or(error);
    let after = plan::flags(&session, &request.stories);
    let mut report = plan::report(
        &session,
        request,
        &errand,
        started,
        plan::changed_flags(before, after),
    );
    report.plan.clone_from(&plan.plan);
    report.mode = Mode::Real;
    plan::conclude(&mut report, &session.journal.borrow(), error.as_ref(), request);
    if !session.journal.borrow().touched && report.outcome != RunOutcome::Done {
        // Nothing happened: the audit log tells of it, and the workspace is as it was.
        records::close(context, &session, &mut report, records::Mark::Goes)?;
        alerts::ended(context, &mut report);
        return Ok(report);
    }
    if request.atomic && report.outcome != RunOutcome::Done {
        return atomic::take_back(context, request, &session, report, audience);
    }
    plan::tell_what_stands(&mut report, &context.workspace);
    records::finish(context, &session, &mut report, records::Mark::Goes)?;
    alerts::ended(context, &mut report);
    Ok(report)
}

fn nobody_for_each() -> Error {
    Error::not_approved("--each asks at every step, and nobody is here to ask").hint("run it at a terminal")
}

/// Who runs this program, and where.
#[must_use]
pub fn user_and_host() -> (String, String) {
    (processes::user_name(), processes::host_name())
}

/// Whether a failure ends the whole run, whatever `--continue-on-error` says.
pub(crate) fn ends_everything(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Denied | Kind::Cancelled | Kind::NotApproved | Kind::Bug | Kind::Corrupt
    )
}

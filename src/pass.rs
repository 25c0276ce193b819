//! One pass of a run, as the words of a script see it: the view, the gate, and the journal of what became of each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rhai::{Dynamic, FnPtr, NativeCallContext};
use serde_json::Value;
use tracing::debug;

use crate::base::error::{Error, Kind, Result};
use crate::base::exit_code::ExitCode;
use crate::base::redact::{redact, rendered};
use crate::gate::expected::Step;
use crate::gate::prompt::{Answer, Ask};
use crate::gate::{Gate, Passed, Scene};
use crate::operation::Proposal;
use crate::report::effect::{BackupMade, Outcome, Risk};
use crate::report::{CheckRecord, FailureRecord, OperationRecord};
use crate::view::View;

/// The texts of imported modules, each read once.
pub mod sources;

/// Failures of ours as errors of the script engine, and back.
pub mod thrown;

/// Who is at work in a script.
pub mod watch;

use sources::Sources;
use watch::Watch;

/// The patterns of the story at hand, each with the word that takes a path and was given it (none for one that takes
/// patterns), and whether it ever matched.
pub type Patterns = std::collections::BTreeMap<(Option<&'static str>, String), bool>;

/// What happened in a pass, in order.
#[derive(Debug, Default)]
pub struct Journal {
    /// Every operation.
    pub operations: Vec<OperationRecord>,
    /// The same, as far as passes can be compared.
    pub steps: Vec<Step>,
    /// How many steps of the script were opened.
    pub opened: u32,
    /// Backups made or pretended.
    pub backups: Vec<BackupMade>,
    /// Checks of the validation.
    pub checks: Vec<CheckRecord>,
    /// What the person should know.
    pub warnings: Vec<String>,
    /// Patterns of the story at hand.
    pub patterns: Patterns,
    /// Failures of stories.
    pub failures: Vec<FailureRecord>,
    /// Questions of scripts, with their answers.
    pub questions: Vec<(String, String)>,
    /// Whether the world was, or may have been, changed.
    pub touched: bool,
    /// Where the pass is.
    pub scene: Scene,
}

/// What happens, as it happens, for whoever watches.
pub trait Listener {
    /// A phase of a story begins.
    fn phase(&self, story: &str, phase: &str) {
        let _ = (story, phase);
    }
    /// A step begins.
    fn step(&self, title: &str) {
        let _ = title;
    }
    /// An operation was settled.
    fn operation(&self, record: &OperationRecord) {
        let _ = record;
    }
    /// A check was made.
    fn check(&self, record: &CheckRecord) {
        let _ = record;
    }
    /// A script notes something.
    fn note(&self, text: &str) {
        let _ = text;
    }
    /// Something the person should know.
    fn warning(&self, text: &str) {
        let _ = text;
    }
}

/// Nobody watches.
pub struct Silent;

impl Listener for Silent {}

/// How a script's own questions are answered.
pub enum Questions {
    /// A preview: shown as questions, answered with yes.
    Preview,
    /// `--yes` or `--force`.
    Yes,
    /// A person.
    Person(Box<dyn Ask>),
    /// Nobody.
    Nobody,
}

/// One pass.
pub struct Session {
    /// What is seen.
    pub view: View,
    /// The only way in.
    pub gate: RefCell<Gate>,
    /// What happened.
    pub journal: RefCell<Journal>,
    /// What scripts import.
    pub sources: Rc<Sources>,
    /// Who watches.
    pub listener: Box<dyn Listener>,
    /// Who answers.
    pub questions: RefCell<Questions>,
    /// `--force`: optional steps may fail.
    pub forced: bool,
    /// Why the run happens.
    pub reason: Option<String>,
    /// Errors in logs count from this time on (RFC 3339 UTC).
    pub since: String,
    /// The signal that asked the run to stop; 0: none.
    pub signal: Arc<AtomicUsize>,
    /// Operations of the engine in the story at hand.
    pub operations: Cell<u64>,
    /// What ended the story at hand and can't be caught: some functions of the engine swallow every failure of the
    /// closures that they call.
    pub ended: RefCell<Option<Error>>,
    /// Who is at work in the story at hand.
    pub watch: Watch,
    /// The phase at hand, for diagnostics.
    pub phase: RefCell<Option<tracing::span::EnteredSpan>>,
}

/// A word as a script said it.
pub struct Call<'a> {
    /// The word.
    pub word: &'a str,
    /// What it names first.
    pub target: String,
    /// All that it was given, in one form.
    pub arguments: String,
}

/// A word that speaks to the run, with the engine's context for calling closures.
pub struct Telling<'a> {
    /// The pass.
    pub session: &'a Session,
    /// The call.
    pub context: &'a NativeCallContext<'a>,
}

impl Telling<'_> {
    /// Calls a closure without arguments.
    ///
    /// # Errors
    /// Whatever the closure throws.
    pub fn call(&self, closure: &FnPtr) -> Result<Dynamic, Box<rhai::EvalAltResult>> {
        let call = || closure.call_within_context(self.context, ());
        self.session.watch.within(false, call)
    }
}

impl Session {
    /// The failure that a signal means, if one came.
    #[must_use]
    pub fn cancelled(&self) -> Option<Error> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            15 => Some(Error::cancelled("interrupted by SIGTERM").exiting(ExitCode::Terminated)),
            _ => Some(Error::cancelled("interrupted by SIGINT").exiting(ExitCode::Interrupted)),
        }
    }

    /// Why the script must not go on: a signal, a failure that can't be caught, or something that is used up.
    #[must_use]
    pub fn stopped(&self) -> Option<Error> {
        self.cancelled()
            .or_else(|| self.ended.borrow().clone())
            .or_else(|| self.view.allowance.over())
    }

    /// Counts an operation of the engine; gives why it must not go on.
    #[must_use]
    pub fn count_operation(&self) -> Option<Error> {
        let count = self.operations.get().saturating_add(1);
        self.operations.set(count);
        if count > self.view.limits().operations {
            return Some(used_up());
        }
        self.stopped()
    }

    /// A story begins: its own operations, and nothing that ended another one.
    pub fn begin_story(&self) {
        self.operations.set(0);
        self.ended.take();
        self.watch.begin();
    }

    /// A word that changes something: each proposal passes the gate. Gives the last proposal's value.
    ///
    /// # Errors
    /// Why it can't be proposed, or what became of it at the gate.
    pub fn change(
        &self,
        call: &Call<'_>,
        propose: impl FnOnce(&View) -> Result<Vec<Proposal>>,
    ) -> Result<Value> {
        let proposals = self.proposed(call, propose)?;
        self.carry_out(call, proposals)
    }

    /// What a word proposes; a refusal is recorded.
    ///
    /// # Errors
    /// Why it can't be proposed.
    pub fn proposed(
        &self,
        call: &Call<'_>,
        propose: impl FnOnce(&View) -> Result<Vec<Proposal>>,
    ) -> Result<Vec<Proposal>> {
        self.view
            .at_one_moment(|| propose(&self.view))
            .inspect_err(|error| self.refused_before_the_gate(call, error))
    }

    /// Takes what a word proposed through the gate. Gives the last proposal's value.
    ///
    /// # Errors
    /// What became of it at the gate.
    pub fn carry_out(&self, call: &Call<'_>, mut proposals: Vec<Proposal>) -> Result<Value> {
        let asked = self.view.errand.timeless_digest(call.arguments.as_bytes());
        let mut value = Value::Null;
        for (index, proposal) in proposals.iter_mut().enumerate() {
            proposal.asked.clone_from(&asked);
            value = proposal.value.clone();
            // What an earlier act of this word took its time for may have changed meanwhile.
            self.pass(proposal, index > 0)?;
        }
        Ok(value)
    }

    /// Takes a proposal through the gate and writes down what became of it.
    ///
    /// # Errors
    /// What became of it.
    pub fn submit(&self, proposal: &Proposal) -> Result<()> {
        self.pass(proposal, false)
    }

    fn pass(&self, proposal: &Proposal, stale: bool) -> Result<()> {
        if let Some(error) = self.cancelled() {
            return Err(error);
        }
        let scene = self.journal.borrow().scene.clone();
        let passed = self.gate.borrow_mut().pass(proposal, stale, &scene, &self.view)?;
        let unknown = passed.record.outcome == Outcome::Unknown;
        let unknown = unknown.then(|| passed.record.why.clone()).flatten();
        let error = self.write_down(passed);
        for warning in unknown.iter().chain(&proposal.warning) {
            self.warn(warning);
        }
        error.map_or(Ok(()), Err)
    }

    /// Keeps what became of a proposal before it is told: whoever listens may fail. Gives the failure.
    fn write_down(&self, passed: Passed) -> Option<Error> {
        self.count_record(&passed.record);
        let record = passed.record.clone();
        let mut journal = self.journal.borrow_mut();
        journal.touched |= passed.touched;
        journal.operations.push(passed.record);
        journal.steps.push(passed.step);
        journal.backups.extend(passed.backup);
        drop(journal);
        self.listener.operation(&record);
        passed.error
    }

    /// A word that refuses to propose is part of the record too.
    fn refused_before_the_gate(&self, call: &Call<'_>, error: &Error) {
        let scene = self.journal.borrow().scene.clone();
        let denied = error.kind() == Kind::Denied;
        let record = OperationRecord {
            n: 0,
            story: scene.story.clone(),
            phase: scene.phase.clone(),
            step: scene.steps.last().cloned(),
            op: call.word.to_owned(),
            target: rendered(&call.target),
            summary: rendered(error.message()),
            paths: Vec::new(),
            risk: Risk::None,
            undo: crate::report::undo::UndoClass::Exact,
            outcome: if denied { Outcome::Denied } else { Outcome::Failed },
            why: Some(rendered(error.message())),
            rule: None,
            ms: 0,
        };
        let passed = self.gate.borrow_mut().failed_before(record, &scene, &self.view);
        self.write_down(passed);
    }

    fn count_record(&self, record: &OperationRecord) {
        let why = record.why.as_ref().map_or(0, String::len);
        let paths = record.paths.iter().map(|each| each.sized.len());
        let _ = self
            .view
            .allowance
            .say(record.target.len() + record.summary.len() + why + paths.sum::<usize>());
    }

    /// Opens a step around `body`.
    ///
    /// # Errors
    /// What `body` fails with.
    pub fn step<T, E>(&self, title: &str, body: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let title = rendered(title);
        if self.view.allowance.say(title.len()) {
            self.listener.step(&title);
        }
        {
            let mut journal = self.journal.borrow_mut();
            journal.opened += 1;
            let number = journal.opened;
            journal.scene.within.push(number);
            journal.scene.steps.push(title);
        }
        let result = body();
        let mut journal = self.journal.borrow_mut();
        journal.scene.steps.pop();
        journal.scene.within.pop();
        result
    }

    /// The step of this number failed and is passed over: what the plan has in it does not come about.
    pub fn pass_over(&self, number: u32) {
        if let Some(expected) = self.gate.borrow_mut().expected() {
            expected.leave(number);
        }
    }

    /// Writes down a check.
    pub fn check(&self, title: &str, passed: Option<bool>, detail: Option<String>) {
        let story = self.journal.borrow().scene.story.clone();
        let record = CheckRecord {
            story,
            title: rendered(title),
            passed,
            detail: detail.map(|text| rendered(&text)),
        };
        let detail = record.detail.as_ref().map_or(0, String::len);
        if !self.view.allowance.say(record.title.len() + detail) {
            return;
        }
        debug!(
            title = record.title,
            passed = record.passed,
            detail = record.detail,
            "check"
        );
        self.listener.check(&record);
        self.journal.borrow_mut().checks.push(record);
    }

    /// A remark for whoever watches.
    pub fn note(&self, text: &str) {
        let display = rendered(text);
        if self.view.allowance.say(text.len()) {
            self.listener.note(&display);
        }
    }

    /// Warns of what a script was given without anybody being able to tell, where no check has told it.
    pub fn warn_of_unknown(&self) {
        for why in self.view.take_unknown() {
            self.warn(&why);
        }
    }

    /// Something the person should know; said once.
    pub fn warn(&self, text: &str) {
        if !self.view.allowance.say(text.len()) {
            return;
        }
        let text = rendered(text);
        let mut journal = self.journal.borrow_mut();
        if !journal.warnings.contains(&text) {
            self.listener.warning(&text);
            journal.warnings.push(text);
        }
    }

    /// A script's question; every answer is recorded.
    ///
    /// # Errors
    /// [`Kind::NotApproved`] where nobody is there to ask, [`Kind::Cancelled`] after Ctrl-C.
    pub fn confirm(&self, question: &str) -> Result<bool> {
        let question = &self.asked(question)?;
        let answer = match &mut *self.questions.borrow_mut() {
            Questions::Preview => {
                self.note_answer(question, "asked in the run".to_owned());
                return Ok(true);
            }
            Questions::Yes => Answer::Yes,
            Questions::Nobody => return Err(nobody(question)),
            Questions::Person(person) => person.question(&redact(question))?,
        };
        let approved = matches!(answer, Answer::Yes);
        self.record_answer(question, if approved { "yes" } else { "no" })?;
        if matches!(answer, Answer::Interrupted) {
            return Err(Error::cancelled("interrupted at the question"));
        }
        Ok(approved)
    }

    /// A script's question for a line of text; `default` under `--yes` and in a preview.
    ///
    /// # Errors
    /// As [`Session::confirm`].
    pub fn ask(&self, question: &str, default: &str) -> Result<String> {
        let question = &self.asked(question)?;
        let answer = match &mut *self.questions.borrow_mut() {
            Questions::Preview => {
                self.note_answer(question, "asked in the run".to_owned());
                return Ok(default.to_owned());
            }
            Questions::Yes => default.to_owned(),
            Questions::Nobody => return Err(nobody(question)),
            Questions::Person(person) => person.line(&redact(question), default)?,
        };
        self.record_answer(question, &answer)?;
        Ok(answer)
    }

    /// A question as it is told and recorded.
    fn asked(&self, question: &str) -> Result<String> {
        self.journal.borrow_mut().scene.asked = true;
        if self.view.allowance.say(question.len()) {
            return Ok(rendered(question));
        }
        self.view.allowance.check().map(|()| String::new())
    }

    fn note_answer(&self, question: &str, answer: String) {
        let mut journal = self.journal.borrow_mut();
        journal.questions.push((redact(question), answer));
    }

    fn record_answer(&self, question: &str, answer: &str) -> Result<()> {
        self.note_answer(question, rendered(answer));
        if let Some(audit) = self.gate.borrow_mut().audit() {
            audit.answered(question, answer)?;
        }
        Ok(())
    }
}

/// The script used up its operations.
#[must_use]
pub fn used_up() -> Error {
    Error::limit("the script used up its operations")
        .hint("is there an endless loop? policy.limits.operations sets the limit")
}

fn nobody(question: &str) -> Error {
    Error::not_approved(format!(
        "the script asks `{question}`, and nobody is here to answer"
    ))
    .hint("run it at a terminal, or answer yes with --yes")
}

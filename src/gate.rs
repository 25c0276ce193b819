//! The only way in: policy, overlay, confirmation, audit, then the host. One function, and it fits a screen.

use std::time::Instant;

use serde_json::Value;
use tracing::{debug, debug_span};

use crate::base::error::{Error, Kind, Result};
use crate::base::{panic, redact};
use crate::host::logs::Level;
use crate::operation::{Act, Operation, Proposal};
use crate::report::effect::{BackupMade, Capability, Done, Fact, Outcome};
use crate::report::{OperationRecord, PathRecord};
use crate::view::View;

/// What a dry run does whose wall a test has taken down.
#[cfg(feature = "broken-walls")]
mod broken;

/// Should it? Answers come from the approved plan, a flag, or the person.
pub mod confirm;

/// What the plan showed, step by step.
pub mod expected;

/// May it?
pub mod policy;

/// Asking a person, safely.
pub mod prompt;

use crate::audit::{AuditLog, Intent};
use confirm::Confirm;
use expected::Step;
use policy::Policy;

/// The gate of one pass.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    pass: Pass,
    count: u32,
    /// What `logs/` are told before the first act of the story at hand.
    announcement: Option<Value>,
}

/// Which pass it guards.
#[derive(Debug)]
pub enum Pass {
    /// The preview: operations are pretended.
    Preview,
    /// The real pass: operations are confirmed, recorded, and happen.
    Real {
        /// What was approved.
        confirm: Confirm,
        /// The log.
        audit: Box<AuditLog>,
    },
}

/// Where in a run an operation stands.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// The story's id.
    pub story: String,
    /// The phase.
    pub phase: String,
    /// The titles of the open steps, outermost first.
    pub steps: Vec<String>,
    /// Their numbers in the pass.
    pub within: Vec<u32>,
    /// The script has asked a question.
    pub asked: bool,
}

/// What became of a proposal.
#[derive(Debug)]
pub struct Passed {
    /// For the report.
    pub record: OperationRecord,
    /// The backup that it made.
    pub backup: Option<BackupMade>,
    /// For the plan.
    pub step: Step,
    /// The failure, where it failed or was refused.
    pub error: Option<Error>,
    /// Whether the world was, or may have been, changed.
    pub touched: bool,
}

impl Gate {
    /// A gate for one pass.
    #[must_use]
    pub fn new(policy: Policy, pass: Pass) -> Self {
        Self {
            policy,
            pass,
            count: 0,
            announcement: None,
        }
    }

    /// The audit log of a real pass.
    pub fn audit(&mut self) -> Option<&mut AuditLog> {
        match &mut self.pass {
            Pass::Preview => None,
            Pass::Real { audit, .. } => Some(audit),
        }
    }

    /// A story begins: `data` goes into `logs/` before its first act, so that a story which does nothing leaves nothing.
    pub fn begin_story(&mut self, story: &str, data: Value) {
        self.announcement = Some(data);
        if let Some(expected) = self.expected() {
            expected.begin_story(story);
        }
    }

    /// Writes what [`Gate::begin_story`] left to be written, where no act has done so.
    ///
    /// # Errors
    /// What the system says.
    pub fn announce(&mut self, view: &View) -> Result<()> {
        match (self.announcement.take(), &self.pass) {
            (Some(data), Pass::Real { audit, .. }) => announce(view, data, audit),
            _ => Ok(()),
        }
    }

    /// Takes one proposal through. The record says what became of it, whatever happened. What its facts rest on was
    /// looked at just now, unless `stale`: then it is looked at again.
    ///
    /// # Errors
    /// Only where the log can't be written after the act; all else stands in [`Passed::error`].
    pub fn pass(&mut self, proposal: &Proposal, stale: bool, scene: &Scene, view: &View) -> Result<Passed> {
        let started = Instant::now();
        self.count += 1;
        let _span = debug_span!("operation", n = self.count, target = %proposal.target).entered();
        let mut passed = self.describe(proposal, scene, view);
        let result = match &proposal.act {
            Act::Settled(outcome, needs) => self.settle(*outcome, needs, view, &mut passed),
            Act::Do(operation) => self.submit(operation.as_ref(), stale, scene, view, &mut passed),
        };
        passed.record.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = result {
            let denied = error.kind() == Kind::Denied;
            passed.record.outcome = match error.kind() {
                Kind::Denied => Outcome::Denied,
                // It was not tried.
                Kind::NotApproved | Kind::Cancelled if !passed.touched => Outcome::Kept,
                _ => Outcome::Failed,
            };
            passed.record.why = Some(redact::rendered(error.message()));
            if let (true, false, Pass::Real { audit, .. }) = (denied, passed.touched, &mut self.pass) {
                audit.denied(self.count, &scene.story, proposal.word, &proposal.target, &error)?;
            }
            passed.error = Some(error);
        }
        passed.step.outcome = passed.record.outcome;
        let record = &passed.record;
        debug!(
            outcome = ?record.outcome,
            rule = record.rule.as_deref(),
            why = record.why.as_deref(),
            "{}",
            record.summary
        );
        Ok(passed)
    }

    /// The way of one call.
    fn submit(
        &mut self,
        operation: &dyn Operation,
        stale: bool,
        scene: &Scene,
        view: &View,
        passed: &mut Passed,
    ) -> Result<()> {
        passed.record.rule =
            debug_span!("policy").in_scope(|| self.policy.check(&operation.needs(), view))?;
        view.require_recordable()?;
        passed.remark(debug_span!("demands").in_scope(|| view.demand(&operation.demands()))?);
        let Pass::Real { confirm, audit } = &mut self.pass else {
            #[cfg(feature = "broken-walls")]
            if crate::base::broken::is_down(crate::base::broken::Own::Overlay) {
                passed.accept(broken::act(operation, &view.host)?);
                return Ok(());
            }
            let done = debug_span!("overlay").in_scope(|| operation.pretend(&mut view.overlay_mut()))?;
            passed.record.outcome = Outcome::Planned;
            passed.accept(done);
            return Ok(());
        };
        let planned = confirm.expected().meet(&passed.step)?;
        if planned.outcome == Outcome::Failed {
            return Err(Error::failed(format!(
                "it failed in the preview: {}",
                planned.summary
            )));
        }
        let asked = debug_span!("confirm").in_scope(|| confirm.ask(&passed.record))?;
        if let Some((question, answer)) = &asked {
            audit.answered(question, &answer.to_string())?;
            if answer.is_no() {
                confirm.expected().decline(&planned)?;
                passed.record.outcome = Outcome::Kept;
                passed.record.why = Some(confirm::DECLINED.to_owned());
                return Ok(());
            }
            answer.require()?;
        }
        if stale || asked.is_some() {
            view.look_again(&operation.facts())?;
        }
        if let Some(data) = self.announcement.take() {
            announce(view, data, audit)?;
        }
        let undo = operation.undo();
        let permit =
            debug_span!("audit").in_scope(|| audit.begin(&Intent::of(&passed.record, scene, &undo)))?;
        confirm.expected().acts();
        passed.touched = true;
        let act = || operation.execute(&permit, &view.host);
        let result = debug_span!("host").in_scope(|| panic::guard(act));
        let result = Done::telling(result, view.host.note_leftovers());
        audit.finish(
            permit,
            self.count,
            result.as_ref().map(|done| done.why.as_deref()),
        )?;
        passed.record.outcome = Outcome::Done;
        passed.accept(result?);
        // What is of the run itself is told apart from what others change, as in the preview.
        if operation.pretend(&mut view.done_mut()).is_err() {
            view.done_mut().cannot_simulate(&passed.record.op);
        }
        Ok(())
    }

    fn settle(
        &mut self,
        outcome: Outcome,
        needs: &[Capability],
        view: &View,
        passed: &mut Passed,
    ) -> Result<()> {
        passed.record.rule = self.policy.check(needs, view)?;
        passed.record.outcome = outcome;
        passed.step.outcome = outcome;
        if let Pass::Real { confirm, .. } = &mut self.pass {
            confirm.expected().meet(&passed.step)?;
        }
        Ok(())
    }

    /// A word that refuses to propose is a step of the pass too.
    pub fn failed_before(&mut self, mut record: OperationRecord, scene: &Scene, view: &View) -> Passed {
        self.count += 1;
        record.n = self.count;
        let step = step_of(&record, scene, view);
        if let Pass::Real { confirm, .. } = &mut self.pass {
            confirm.expected().meet_failure(&step.op, &step.target);
        }
        Passed {
            record,
            backup: None,
            step,
            error: None,
            touched: false,
        }
    }

    /// The steps of the plan that are still to come, in a real pass.
    pub fn expected(&mut self) -> Option<&mut expected::Expected> {
        match &mut self.pass {
            Pass::Preview => None,
            Pass::Real { confirm, .. } => Some(confirm.expected()),
        }
    }

    fn describe(&self, proposal: &Proposal, scene: &Scene, view: &View) -> Passed {
        let (risk, undo) = match &proposal.act {
            Act::Do(operation) => (operation.risk(), operation.undo().class()),
            Act::Settled(..) => (
                crate::report::effect::Risk::None,
                crate::report::undo::UndoClass::Exact,
            ),
        };
        let record = OperationRecord {
            n: self.count,
            story: scene.story.clone(),
            phase: scene.phase.clone(),
            step: scene.steps.last().map(|step| redact::redact(step)),
            op: proposal.word.to_owned(),
            target: redact::rendered(&proposal.target),
            summary: redact::rendered(&proposal.summary),
            paths: (proposal.paths.iter())
                .map(|each| PathRecord {
                    path: redact::rendered(&each.path),
                    sized: redact::rendered(&each.sized),
                })
                .collect(),
            risk,
            undo,
            outcome: Outcome::Planned,
            why: proposal.why.as_deref().map(redact::rendered),
            rule: None,
            ms: 0,
        };
        let mut step = step_of(&record, scene, view);
        step.asked.clone_from(&proposal.asked);
        if let Act::Do(operation) = &proposal.act {
            step.effect = display(operation.effect(), view);
            step.facts = operation
                .facts()
                .into_iter()
                .map(|fact| fact_of(fact, view))
                .collect();
        }
        Passed {
            record,
            backup: None,
            step,
            error: None,
            touched: false,
        }
    }
}

fn announce(view: &View, data: Value, audit: &AuditLog) -> Result<()> {
    view.host
        .logs
        .both(Level::Warn, "rollback_initiated", data, &audit.head())
}

/// A step as far as its record tells it.
fn step_of(record: &OperationRecord, scene: &Scene, view: &View) -> Step {
    Step {
        n: record.n,
        story: record.story.clone(),
        phase: record.phase.clone(),
        step: record.step.clone(),
        op: record.op.clone(),
        target: view.errand.timeless(&record.target),
        summary: view.errand.timeless(&record.summary),
        risk: record.risk,
        undo: record.undo,
        outcome: record.outcome,
        asked: String::new(),
        effect: Value::Null,
        facts: Vec::new(),
        uncertain: view.own().unsimulated().is_some(),
        conditional: scene.asked,
        within: scene.within.clone(),
    }
}

/// Data as it may stand in a plan's file: without secrets, and without the moment.
fn display(mut value: Value, view: &View) -> Value {
    redact::redact_value(&mut value);
    let text = view.errand.timeless(&value.to_string());
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn fact_of(fact: Fact, view: &View) -> Fact {
    Fact {
        about: view.errand.timeless(&redact::redact(&fact.about)),
        seen: display(fact.seen, view),
        path: fact.path,
    }
}

impl Passed {
    fn remark(&mut self, way: Option<String>) {
        let Some(way) = way else { return };
        self.record.why = Some(match self.record.why.take() {
            Some(why) => format!("{why}; {way}"),
            None => way,
        });
    }

    fn accept(&mut self, done: crate::report::effect::Done) {
        if let Some(why) = done.why {
            self.record.why = Some(redact::redact(&why));
        }
        self.backup = done.backup;
    }
}

impl<'a> Intent<'a> {
    fn of(record: &'a OperationRecord, scene: &'a Scene, undo: &'a crate::report::undo::Undo) -> Self {
        Self {
            n: record.n,
            story: &record.story,
            phase: &record.phase,
            step: scene.steps.last().map(String::as_str),
            op: &record.op,
            target: &record.target,
            summary: &record.summary,
            risk: record.risk,
            undo,
        }
    }
}

//! The only way in: policy, overlay, confirmation, audit, then the host. One function, and it fits a screen.

use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::operation::{Act, BackupMade, Capability, Operation, Outcome, Proposal};
use crate::report::OperationRecord;
use crate::view::View;

/// Every intent is on disk before the act.
pub mod audit;

/// Should it? Answers come from the approved plan, a flag, or the person.
pub mod confirm;

/// What a preview has pretended so far.
pub mod overlay;

/// The proof that an operation passed.
pub mod permit;

/// May it?
pub mod policy;

/// Asking a person, safely.
pub mod prompt;

/// Secrets never reach what is written.
pub mod redact;

pub use overlay::Overlay;
pub use permit::Permit;

use audit::{AuditLog, Intent};
use confirm::Confirm;
use policy::Policy;

/// The gate of one pass.
#[derive(Debug)]
pub struct Gate {
    policy: Policy,
    pass: Pass,
    count: u32,
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
}

/// What became of a proposal.
#[derive(Debug)]
pub struct Passed {
    /// For the report.
    pub record: OperationRecord,
    /// The backup that it made.
    pub backup: Option<BackupMade>,
    /// What it rests on.
    pub facts: Vec<crate::operation::Fact>,
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
        }
    }

    /// The audit log of a real pass.
    pub fn audit(&mut self) -> Option<&mut AuditLog> {
        match &mut self.pass {
            Pass::Preview => None,
            Pass::Real { audit, .. } => Some(audit),
        }
    }

    /// Takes one proposal through. The record says what became of it, whatever happened.
    ///
    /// # Errors
    /// Only where the log can't be written after the act; all else stands in [`Passed::error`].
    pub fn pass(&mut self, proposal: &Proposal, scene: &Scene, view: &View) -> Result<Passed> {
        let started = Instant::now();
        self.count += 1;
        let mut passed = self.describe(proposal, scene);
        let result = match &proposal.act {
            Act::Settled(outcome, needs) => self.settle(*outcome, needs, view, &mut passed),
            Act::Do(operation) => self.submit(operation.as_ref(), scene, view, &mut passed),
        };
        passed.record.ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = result {
            let denied = error.kind() == Kind::Denied;
            passed.record.outcome = if denied { Outcome::Denied } else { Outcome::Failed };
            passed.record.why = Some(redact::told(error.message()));
            if let (true, false, Pass::Real { audit, .. }) = (denied, passed.touched, &mut self.pass) {
                audit.denied(self.count, &scene.story, proposal.word, &proposal.target, &error)?;
            }
            passed.error = Some(error);
        }
        Ok(passed)
    }

    /// The way of one call.
    fn submit(
        &mut self,
        operation: &dyn Operation,
        scene: &Scene,
        view: &View,
        passed: &mut Passed,
    ) -> Result<()> {
        passed.record.rule = self.policy.check(&operation.needs(), view)?;
        passed.remark(view.demand(&operation.demands())?);
        let Pass::Real { confirm, audit } = &mut self.pass else {
            #[cfg(feature = "broken-walls")]
            if crate::broken::is_down(crate::broken::Own::Overlay) {
                passed.accept(crate::broken::act(operation, &view.host)?);
                return Ok(());
            }
            let done = operation.pretend(&mut view.overlay_mut())?;
            passed.record.outcome = Outcome::Planned;
            passed.accept(done);
            return Ok(());
        };
        if let Some((question, answer)) = confirm.ask(&passed.record)? {
            audit.answered(&question, &answer.to_string())?;
            answer.require()?;
        }
        let undo = operation.undo();
        let permit = audit.begin(&Intent::of(&passed.record, scene, &undo))?;
        passed.touched = true;
        let result = crate::panic::guard(|| operation.execute(&permit, &view.host));
        audit.finish(
            permit,
            self.count,
            result.as_ref().map(|done| done.why.as_deref()),
        )?;
        passed.record.outcome = Outcome::Done;
        passed.accept(result?);
        Ok(())
    }

    fn settle(&self, outcome: Outcome, needs: &[Capability], view: &View, passed: &mut Passed) -> Result<()> {
        passed.record.rule = self.policy.check(needs, view)?;
        passed.record.outcome = outcome;
        Ok(())
    }

    fn describe(&self, proposal: &Proposal, scene: &Scene) -> Passed {
        let (risk, undo, facts) = match &proposal.act {
            Act::Do(operation) => (
                operation.risk(),
                operation.undo().class(),
                shown(operation.facts()),
            ),
            Act::Settled(..) => (
                crate::operation::Risk::None,
                crate::operation::UndoClass::Exact,
                Vec::new(),
            ),
        };
        Passed {
            record: OperationRecord {
                n: self.count,
                story: scene.story.clone(),
                phase: scene.phase.clone(),
                step: scene.steps.last().map(|step| redact::redact(step)),
                op: proposal.word.to_owned(),
                target: redact::told(&proposal.target),
                summary: redact::told(&proposal.summary),
                risk,
                undo,
                outcome: Outcome::Planned,
                why: proposal.why.as_deref().map(redact::told),
                rule: None,
                ms: 0,
            },
            backup: None,
            facts,
            error: None,
            touched: false,
        }
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

    fn accept(&mut self, done: crate::operation::Done) {
        if let Some(why) = done.why {
            self.record.why = Some(redact::redact(&why));
        }
        self.backup = done.backup;
    }
}

impl<'a> Intent<'a> {
    fn of(record: &'a OperationRecord, scene: &'a Scene, undo: &'a crate::operation::Undo) -> Self {
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

/// Facts as they may stand in a plan's file.
fn shown(mut facts: Vec<crate::operation::Fact>) -> Vec<crate::operation::Fact> {
    for fact in &mut facts {
        fact.about = redact::redact(&fact.about);
        redact::redact_value(&mut fact.seen);
    }
    facts
}

//! What the plan showed, step by step. The real pass must be that: the same operations in the same order, with the same
//! targets, contents and facts. Only what the plan showed as unknown may turn out either way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::report::effect::{Fact, Outcome, Risk};
use crate::report::undo::UndoClass;

/// One step of a pass, as far as it can be compared with the same step of another: no text in it holds a run's id or a
/// moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Number in the run, from 1.
    pub n: u32,
    /// The story's id; empty outside a story.
    pub story: String,
    /// The phase.
    pub phase: String,
    /// The innermost step's title.
    pub step: Option<String>,
    /// The word.
    pub op: String,
    /// What it is about.
    pub target: String,
    /// One line for people; what it tells of the world stands in the facts.
    pub summary: String,
    /// What is at stake.
    pub risk: Risk,
    /// How well it can be taken back.
    pub undo: UndoClass,
    /// What becomes of it: `planned` for everything that acts.
    pub outcome: Outcome,
    /// Digest of the word's arguments; empty where no script said it.
    pub asked: String,
    /// What the act does.
    pub effect: Value,
    /// What it rests on.
    pub facts: Vec<Fact>,
    /// A command whose effects can't be known before the run came before it.
    pub uncertain: bool,
    /// The script asked a question before it: with another answer it may not come about.
    pub conditional: bool,
    /// The open steps of the script, by their number in the pass, outermost first.
    pub within: Vec<u32>,
}

impl Step {
    /// "operation 3 (`remove_path` of `notes.txt`, step "Remove files")".
    #[must_use]
    pub fn name(&self) -> String {
        let step = self.step.as_deref();
        let step = step.map(|step| format!(", step \"{step}\"")).unwrap_or_default();
        format!("operation {} (`{}` of `{}`{step})", self.n, self.op, self.target)
    }

    /// What differs between this step of the plan and what it is now; nothing where they are the same.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        let acts = |step: &Self| step.outcome == Outcome::Planned;
        if !Expected::is_place_of(self, now) || (acts(now) && self.risk != now.risk) {
            return Some(format!("{} would now be: {}", self.name(), now.summary));
        }
        // What was not shown as an act must not become one, however little was known.
        if acts(now) && !acts(self) && now.risk > Risk::None {
            return Some(format!("{} would now act: {}", self.name(), now.summary));
        }
        if self.uncertain || self.outcome == Outcome::Unknown {
            return (self.asked != now.asked)
                .then(|| format!("{} would now be: {}", self.name(), now.summary));
        }
        for (place, then) in self.facts.iter().enumerate() {
            match now.facts.get(place) {
                Some(fact) if fact.about == then.about && fact.seen == then.seen => {}
                Some(fact) if fact.about == then.about => {
                    return Some(format!(
                        "`{}` is not what the plan rests on ({}): {}",
                        then.about,
                        then.difference(&fact.seen),
                        self.name()
                    ));
                }
                _ => {
                    return Some(format!(
                        "{} rests on something else now: {}",
                        self.name(),
                        now.summary
                    ));
                }
            }
        }
        let same = self.outcome == now.outcome && self.facts.len() == now.facts.len();
        if !same {
            return Some(format!(
                "{} would now be: {} ({})",
                self.name(),
                now.summary,
                serde_json::json!(now.outcome).as_str().unwrap_or_default()
            ));
        }
        (self.effect != now.effect)
            .then(|| format!("{} would now do something else with the same target", self.name()))
    }
}

impl Step {
    /// Whether it is about what another step is about, or about something in or above that; or whether only that step
    /// makes it uncertain. A command that was rehearsed found the world as all steps before had made it.
    fn rests_on(&self, other: &Self) -> bool {
        let within = |path: &str, above: &str| {
            path.strip_prefix(above)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let about = |step: &Self| -> Vec<String> {
            let mut about = vec![step.target.clone()];
            about.extend(step.facts.iter().map(|fact| fact.about.clone()));
            // Where things go, which is not there before.
            for place in ["move", "to"].iter().filter_map(|key| step.effect.get(key)) {
                texts(place, &mut about);
            }
            about.retain(|about| !about.is_empty());
            about
        };
        let theirs = about(other);
        (self.uncertain && !other.uncertain)
            || self.effect.get("rehearsed").is_some()
            || about(self).iter().any(|own| {
                theirs
                    .iter()
                    .any(|their| within(own, their) || within(their, own))
            })
    }
}

/// All texts in a value.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        _ => {}
    }
}

/// What certain steps rest on, each fact with its step.
fn certain_facts(steps: &[Step]) -> impl Iterator<Item = (&Step, &Fact)> {
    let certain = steps.iter().filter(|step| !step.uncertain);
    certain.flat_map(|step| step.facts.iter().map(move |fact| (step, fact)))
}

/// The first difference between two plans of the same request.
///
/// # Errors
/// [`crate::base::error::Kind::Changed`] naming it. `ended` is the failure that ended the second one, if one did.
pub fn compare(planned: &[Step], now: &[Step], ended: Option<&Error>) -> Result<()> {
    let hint = "look at it, and make a new plan";
    // A fact that changed explains more than the operations that it moved.
    for ((step, then), (_, fact)) in certain_facts(planned).zip(certain_facts(now)) {
        if then.about != fact.about {
            break;
        }
        if then.seen != fact.seen {
            return Err(Error::changed(format!(
                "`{}` is not what the plan rests on ({}): {}",
                then.about,
                then.difference(&fact.seen),
                step.name()
            ))
            .hint(hint));
        }
    }
    for (place, then) in planned.iter().enumerate() {
        let Some(step) = now.get(place) else {
            let why = ended
                .map(|error| format!(": {}", error.message()))
                .unwrap_or_default();
            return Err(Error::changed(format!("{} would not come about{why}", then.name())).hint(hint));
        };
        if let Some(what) = then.difference(step) {
            return Err(Error::changed(what).hint(hint));
        }
    }
    match now.get(planned.len()) {
        Some(more) => Err(Error::changed(format!("{} is not in the plan", more.name())).hint(hint)),
        None => Ok(()),
    }
}

/// The steps of the approved plan that are still to come.
#[derive(Debug, Default)]
pub struct Expected {
    steps: Vec<Step>,
    next: usize,
    /// Whether a person answers the script's questions.
    asks: bool,
    /// Whether something was changed already.
    acted: bool,
    /// What a person declined.
    declined: Vec<String>,
}

impl Expected {
    /// What a plan showed.
    #[must_use]
    pub fn of(steps: Vec<Step>) -> Self {
        Self {
            steps,
            ..Self::default()
        }
    }

    /// A person answers the script's questions in the run: with another answer than the preview's, what comes after may
    /// not come about.
    pub fn ask(&mut self) {
        self.asks = true;
    }

    /// Whether a step of the plan may be left out.
    fn may_be_absent(&self, step: &Step) -> bool {
        step.uncertain || (self.asks && step.conditional)
    }

    fn is_place_of(planned: &Step, now: &Step) -> bool {
        (&planned.story, &planned.phase, &planned.op, &planned.target)
            == (&now.story, &now.phase, &now.op, &now.target)
    }

    /// The next step of the plan, if `now` is that one.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Changed`] with the difference.
    pub fn meet(&mut self, now: &Step) -> Result<Step> {
        let rest = self.steps.get(self.next..).unwrap_or_default();
        let absent = rest
            .iter()
            .take_while(|step| self.may_be_absent(step) && !Self::is_place_of(step, now))
            .count();
        let found = rest
            .get(absent)
            .filter(|step| Self::is_place_of(step, now))
            .cloned();
        let Some(planned) = found else {
            let expected = rest.first().filter(|step| step.story == now.story);
            let instead = expected
                .map(|step| format!(" at this place, which has `{}` of `{}`", step.op, step.target))
                .unwrap_or_default();
            return Err(self.differs(format!(
                "`{}` of `{}` was not in the plan{instead}",
                now.op, now.target
            )));
        };
        self.next += absent;
        let mut wanted = planned.clone();
        if !self.declined.is_empty() && planned.risk == Risk::None {
            // What the run itself writes down of what was done tells of what was declined too.
            wanted.effect.clone_from(&now.effect);
        }
        // It failed in the preview too, and the script goes on with that.
        if planned.outcome != Outcome::Failed
            && let Some(what) = wanted.difference(now)
        {
            return Err(self.differs(what));
        }
        self.next += 1;
        Ok(planned)
    }

    /// A person declined this step of the plan: it is left out, where nothing that is still to come rests on it.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::NotApproved`] naming what does.
    pub fn decline(&mut self, step: &Step) -> Result<()> {
        let rest = self.steps.get(self.next..).unwrap_or_default();
        let resting: Vec<String> = rest
            .iter()
            .filter(|later| later.risk > Risk::None && later.rests_on(step))
            .map(Step::name)
            .collect();
        if resting.is_empty() {
            self.declined.push(step.name());
            return Ok(());
        }
        let what = format!("{} was declined", step.name());
        Err(Error::not_approved(format!(
            "{what}, and what is still to come rests on it: {}",
            resting.join(", ")
        ))
        .hint("a step can be left out on which none that comes later rests"))
    }

    /// A word that refuses to propose: it did so in the preview, or the pass ends here.
    pub fn meet_failure(&mut self, op: &str, target: &str) {
        let planned = self.steps.get(self.next);
        if planned
            .is_some_and(|step| step.outcome == Outcome::Failed && step.op == op && step.target == target)
        {
            self.next += 1;
        }
    }

    /// Something is changed from here on.
    pub fn acts(&mut self) {
        self.acted = true;
    }

    /// A story begins: what is left of the ones before it failed with them.
    pub fn begin_story(&mut self, story: &str) {
        let rest = self.steps.get(self.next..).unwrap_or_default();
        if let Some(first) = rest.iter().position(|step| step.story == story) {
            self.next += first;
        }
    }

    /// An optional step failed, and the script goes on after it.
    pub fn leave(&mut self, within: u32) {
        while self
            .steps
            .get(self.next)
            .is_some_and(|step| step.within.contains(&within))
        {
            self.next += 1;
        }
    }

    /// The pass, or a story of it, says that it is done: nothing of the plan may be left.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Changed`] naming the first step that did not come about.
    pub fn end(&self, story: Option<&str>) -> Result<()> {
        let rest = self.steps.get(self.next..).unwrap_or_default();
        let left = rest
            .iter()
            .find(|step| story.is_none_or(|story| step.story == story) && !self.may_be_absent(step));
        let Some(left) = left else { return Ok(()) };
        // What follows something that is known only in the run may follow from it.
        let unknown = self.steps.iter().take(self.next).any(|step| {
            step.story == left.story && (self.may_be_absent(step) || step.outcome == Outcome::Unknown)
        });
        if (unknown || !self.declined.is_empty()) && left.risk == Risk::None {
            return Ok(());
        }
        Err(self.differs(format!("{} of the plan did not come about", left.name())))
    }

    /// The run is not the plan.
    fn differs(&self, mut what: String) -> Error {
        if !self.declined.is_empty() {
            what = format!("{what}, after {} was declined", self.declined.join(", "));
        }
        if self.acted {
            return Error::changed(format!("the run is not the plan: {what}"))
                .hint("it stops here; what was done before stands, is recorded, and can be taken back")
                .after_changes()
                .exiting(ExitCode::Failed);
        }
        Error::changed(format!("the run is not the plan: {what}"))
            .hint("the world or the script changed after the preview: look at the plan again")
    }
}

#[cfg(test)]
mod tests;

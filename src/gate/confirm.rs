//! Should it? Before a run: approval of the whole plan. In the run: an operation that was not shown does not happen.

use tracing::debug;

use crate::base::error::{Error, Kind, Result};
use crate::base::wording;
use crate::gate::expected::{Expected, Step};
use crate::gate::prompt::{Answer, Ask};
use crate::report::effect::{Outcome, Risk};
use crate::report::{OperationRecord, Report};

/// What the command line already answered.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// `--yes`: all but what loses data for good.
    pub yes: bool,
    /// `--force`: everything.
    pub force: bool,
    /// `--confirm ID`: everything of the plan with this id.
    pub plan: Option<String>,
    /// `--each`: ask at every destructive operation.
    pub each: bool,
}

impl Answers {
    /// Refuses another plan than the one that `--confirm` names.
    ///
    /// # Errors
    /// [`Kind::Changed`]; nothing was changed then.
    pub fn require_plan(&self, plan: &str) -> Result<()> {
        match &self.plan {
            Some(id) if id != plan => Err(Error::changed(format!(
                "--confirm names plan `{id}`, but the plan is now `{plan}`"
            ))
            .hint("the world or the options changed; look at the plan again")),
            _ => Ok(()),
        }
    }
}

/// What a real pass may do: the approved plan, step by step.
pub struct Confirm {
    expected: Expected,
    each: Option<Box<dyn Ask>>,
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Confirm")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Why an operation was left out that a person did not want.
pub const DECLINED: &str = "declined at the question";

/// A person's answer about one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply(Answer);

impl std::fmt::Display for Reply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.0 {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::EndOfInput => "end of input",
            Answer::Interrupted => "interrupted",
        })
    }
}

impl Reply {
    /// Whether somebody said no, and may go on to the next.
    #[must_use]
    pub fn is_no(self) -> bool {
        self.0 == Answer::No
    }

    /// Goes on only with a yes.
    ///
    /// # Errors
    /// [`Kind::NotApproved`], or [`Kind::Cancelled`] after Ctrl-C.
    pub fn require(self) -> Result<()> {
        match self.0 {
            Answer::Yes => Ok(()),
            Answer::Interrupted => Err(Error::cancelled("interrupted at the question")),
            Answer::No | Answer::EndOfInput => Err(Error::not_approved("the operation was declined")),
        }
    }
}

impl Confirm {
    /// Approval of a plan.
    #[must_use]
    pub fn of_plan(steps: Vec<Step>) -> Self {
        Self {
            expected: Expected::of(steps),
            each: None,
        }
    }

    /// A person answers the script's questions in the run: what depends on an answer may not come about.
    #[must_use]
    pub fn with_questions(mut self) -> Self {
        self.expected.ask();
        self
    }

    /// Asks at every destructive operation too.
    #[must_use]
    pub fn asking_each(mut self, person: Box<dyn Ask>) -> Self {
        self.each = Some(person);
        self
    }

    /// The steps that are still to come.
    pub fn expected(&mut self) -> &mut Expected {
        &mut self.expected
    }

    /// Asks the person about one operation where `--each` says so; gives the question and the answer.
    ///
    /// # Errors
    /// Where nobody can be asked any more.
    pub fn ask(&mut self, record: &OperationRecord) -> Result<Option<(String, Reply)>> {
        match &mut self.each {
            Some(person) if record.risk > Risk::None => {
                let paths: Vec<&str> = record.paths.iter().map(|each| each.sized.as_str()).collect();
                let question = if paths.is_empty() {
                    format!("{}?", record.summary)
                } else {
                    format!("{}: {}?", record.summary, paths.join(", "))
                };
                Ok(Some((question.clone(), Reply(person.question(&question)?))))
            }
            _ => Ok(None),
        }
    }
}

/// What was said to a plan.
#[derive(Debug, Default)]
pub struct Approval {
    /// Questions and answers, for the log.
    pub answers: Vec<(String, String)>,
    /// Whether a person was asked: the world may have changed while the question stood.
    pub asked: bool,
}

impl Approval {
    fn given(what: &str, by: impl Into<String>) -> Self {
        Self {
            answers: vec![(what.to_owned(), by.into())],
            asked: false,
        }
    }
}

/// Approves a plan before anything is touched.
///
/// # Errors
/// [`Kind::NotApproved`] where somebody said no or nobody is there to ask; [`Kind::Changed`] where `--confirm` names
/// another plan; [`Kind::Cancelled`] after Ctrl-C.
pub fn approve(
    plan: &Report,
    what: &str,
    answers: &Answers,
    person: Option<&mut (dyn Ask + '_)>,
) -> Result<Approval> {
    let acts = plan
        .operations
        .iter()
        .any(|operation| operation.outcome == Outcome::Planned);
    let irreversible: Vec<&OperationRecord> = plan
        .operations
        .iter()
        .filter(|operation| operation.outcome == Outcome::Planned && operation.risk == Risk::Irreversible)
        .collect();
    debug!(
        plan = plan.plan,
        ?answers,
        acts,
        irreversible = irreversible.len(),
        "asks for approval"
    );
    answers.require_plan(&plan.plan)?;
    if let Some(id) = &answers.plan {
        return Ok(Approval::given(what, format!("approved by --confirm {id}")));
    }
    if answers.force {
        return Ok(Approval::given(what, "approved by --force"));
    }
    if !acts {
        return Ok(Approval::default());
    }
    if answers.yes && irreversible.is_empty() {
        return Ok(Approval::given(what, "approved by --yes"));
    }
    let Some(person) = person else {
        return Err(if answers.yes {
            Error::not_approved(format!(
                "{} would lose data for good, which --yes does not approve",
                wording::plural(irreversible.len() as u64, "operation")
            ))
            .hint(format!("approve exactly this plan with --confirm {}", plan.plan))
        } else {
            Error::not_approved("nobody is here to ask").hint(format!(
                "look at the plan with -n, then approve it with --yes or --confirm {}",
                plan.plan
            ))
        });
    };
    let mut given = Vec::new();
    if !answers.yes {
        let answer = Reply(person.question(what)?);
        given.push((what.to_owned(), answer.to_string()));
        declined(answer)?;
    }
    if !irreversible.is_empty() {
        let id = plan.stories.join(",");
        let question = format!(
            "{} can't be undone. Type {id} to go on:",
            wording::plural(irreversible.len() as u64, "operation")
        );
        let answer = Reply(person.typed(&question, &id)?);
        given.push((question, answer.to_string()));
        declined(answer)?;
    }
    Ok(Approval {
        answers: given,
        asked: true,
    })
}

/// Asks one question outside a plan; gives the answer for the log.
///
/// # Errors
/// [`Kind::NotApproved`] for anything but a yes; [`Kind::Cancelled`] after Ctrl-C.
pub fn yes_or_no(person: &mut dyn Ask, question: &str) -> Result<String> {
    let answer = Reply(person.question(question)?);
    declined(answer)?;
    Ok(answer.to_string())
}

fn declined(answer: Reply) -> Result<()> {
    answer.require().map_err(|error| {
        if error.kind() == Kind::Cancelled {
            error
        } else {
            Error::not_approved("not approved; nothing was changed")
        }
    })
}

#[cfg(test)]
mod tests;

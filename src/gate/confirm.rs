//! Should it? Before a run: approval of the whole plan. In the run: an operation that was not shown does not happen.

use std::collections::HashSet;

use crate::error::{Error, Kind, Result};
use crate::gate::prompt::{Answer, Ask};
use crate::operation::{Outcome, Risk};
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

/// What a real pass may do.
pub struct Confirm {
    approved: HashSet<Key>,
    each: Option<Box<dyn Ask>>,
    changed: bool,
}

impl std::fmt::Debug for Confirm {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Confirm")
            .field("approved", &self.approved.len())
            .finish_non_exhaustive()
    }
}

/// What makes an operation of the real pass the one that the plan showed.
#[derive(PartialEq, Eq, Hash)]
struct Key(String, String, String, String, Risk);

impl Key {
    fn of(record: &OperationRecord) -> Self {
        Self(
            record.story.clone(),
            record.phase.clone(),
            record.op.clone(),
            record.target.clone(),
            record.risk,
        )
    }
}

/// A person's answer about one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said(Answer);

impl std::fmt::Display for Said {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.0 {
            Answer::Yes => "yes",
            Answer::No => "no",
            Answer::EndOfInput => "end of input",
            Answer::Interrupted => "interrupted",
        })
    }
}

impl Said {
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
    /// Approval of everything that the plan shows as planned.
    #[must_use]
    pub fn of_plan(plan: &Report) -> Self {
        let approved = plan
            .operations
            .iter()
            .filter(|operation| operation.outcome == Outcome::Planned)
            .map(Key::of)
            .collect();
        Self {
            approved,
            each: None,
            changed: false,
        }
    }

    /// Asks at every destructive operation too.
    #[must_use]
    pub fn asking_each(mut self, person: Box<dyn Ask>) -> Self {
        self.each = Some(person);
        self
    }

    /// Whether the operation may happen; with the question and the answer where a person was asked.
    ///
    /// # Errors
    /// [`Kind::Changed`] for an operation that the plan did not show.
    pub fn ask(&mut self, record: &OperationRecord) -> Result<Option<(String, Said)>> {
        if record.risk > Risk::None && !self.approved.contains(&Key::of(record)) {
            let error = Error::changed(format!(
                "`{}` of `{}` was not in the plan",
                record.op, record.target
            ))
            .hint("the world changed after the preview; look at the plan again");
            return Err(if self.changed {
                error.after_changes().exiting(crate::exit_code::ExitCode::Failed)
            } else {
                error
            });
        }
        let asked = match &mut self.each {
            Some(person) if record.risk > Risk::None => {
                let question = format!("{}?", record.summary);
                Some((question.clone(), Said(person.question(&question)?)))
            }
            _ => None,
        };
        self.changed = true;
        Ok(asked)
    }
}

/// Approves a plan before anything is touched; gives the question and the answer for the log.
///
/// # Errors
/// [`Kind::NotApproved`] where somebody said no or nobody is there to ask; [`Kind::Changed`] where `--confirm` names
/// another plan; [`Kind::Cancelled`] after Ctrl-C.
pub fn approve(
    plan: &Report,
    what: &str,
    answers: &Answers,
    person: Option<&mut (dyn Ask + '_)>,
) -> Result<Vec<(String, String)>> {
    let acts = plan
        .operations
        .iter()
        .any(|operation| operation.outcome == Outcome::Planned);
    let irreversible: Vec<&OperationRecord> = plan
        .operations
        .iter()
        .filter(|operation| operation.outcome == Outcome::Planned && operation.risk == Risk::Irreversible)
        .collect();
    if let Some(id) = &answers.plan {
        if *id != plan.plan {
            return Err(Error::changed(format!(
                "--confirm names plan `{id}`, but the plan is now `{}`",
                plan.plan
            ))
            .hint("the world or the options changed; look at the plan again"));
        }
        return Ok(vec![(what.to_owned(), format!("approved by --confirm {id}"))]);
    }
    if answers.force {
        return Ok(vec![(what.to_owned(), "approved by --force".to_owned())]);
    }
    if !acts {
        return Ok(Vec::new());
    }
    if answers.yes && irreversible.is_empty() {
        return Ok(vec![(what.to_owned(), "approved by --yes".to_owned())]);
    }
    let Some(person) = person else {
        return Err(if answers.yes {
            Error::not_approved(format!(
                "{} would lose data for good, which --yes does not approve",
                crate::cli::terminal::plural(irreversible.len() as u64, "operation")
            ))
            .hint(format!("approve exactly this plan with --confirm {}", plan.plan))
        } else {
            Error::not_approved("nobody is here to ask").hint(format!(
                "look at the plan with -n, then approve it with --yes or --confirm {}",
                plan.plan
            ))
        });
    };
    let mut said = Vec::new();
    if !answers.yes {
        let answer = Said(person.question(what)?);
        said.push((what.to_owned(), answer.to_string()));
        declined(answer)?;
    }
    if !irreversible.is_empty() {
        let id = plan.stories.join(",");
        let question = format!(
            "{} can't be undone. Type {id} to go on:",
            crate::cli::terminal::plural(irreversible.len() as u64, "operation")
        );
        let answer = Said(person.typed(&question, &id)?);
        said.push((question, answer.to_string()));
        declined(answer)?;
    }
    Ok(said)
}

/// Asks one question outside a plan; gives the answer for the log.
///
/// # Errors
/// [`Kind::NotApproved`] for anything but a yes; [`Kind::Cancelled`] after Ctrl-C.
pub fn yes_or_no(person: &mut dyn Ask, question: &str) -> Result<String> {
    let answer = Said(person.question(question)?);
    declined(answer)?;
    Ok(answer.to_string())
}

fn declined(answer: Said) -> Result<()> {
    answer.require().map_err(|error| {
        if error.kind() == Kind::Cancelled {
            error
        } else {
            Error::not_approved("not approved; nothing was changed")
        }
    })
}

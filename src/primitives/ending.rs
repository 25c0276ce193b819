//! How processes are ended: together, and not behind the back of what would start them again.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::host::processes::{Means, Process};
use crate::operation::Proposal;
use crate::operation::stopping::{EndProcesses, Kill};
use crate::operation::supervised::StopThroughKeeper;
use crate::view::View;

/// What a word wants of processes that end.
pub struct Ending {
    /// The word.
    pub word: &'static str,
    /// What it is about, as shown to people.
    pub target: String,
    /// How long each may take after TERM.
    pub grace: Duration,
    /// Who gets KILL after that.
    pub kill: Kill,
    /// The pid file that named them.
    pub pid_file: Option<PathBuf>,
}

impl Ending {
    /// Ends these processes: through their keeper where one of its own commands does that, after the loop that they are in,
    /// or directly.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] where the policy lists no such command, [`crate::base::error::Kind::Failed`] where only a
    /// person can keep them from being started again.
    pub fn proposals(self, view: &View, processes: Vec<Process>) -> Result<Vec<Proposal>> {
        let mut proposals = Vec::new();
        let (mut direct, mut loops, mut remarks) = (Vec::new(), Vec::<Process>::new(), Vec::new());
        let keepers = view.keepers(&processes)?;
        for (process, keeper) in processes.into_iter().zip(keepers) {
            let named = format!("process {} (`{}`)", process.pid, process.describe());
            let Some(keeper) = keeper else {
                direct.push(process);
                continue;
            };
            match keeper.means {
                Means::Perhaps => {
                    remarks.push(format!(
                        "{named} was started by {}, which may start it again",
                        keeper.who
                    ));
                    direct.push(process);
                }
                Means::Loop(each) => {
                    if !loops.contains(&each) {
                        loops.push(*each);
                    }
                    direct.push(process);
                }
                Means::ByHand(what) => {
                    return Err(Error::failed(format!(
                        "{named} is kept by {}, which would start it again",
                        keeper.who
                    ))
                    .hint(what));
                }
                Means::Command {
                    stop,
                    start,
                    environment,
                } => {
                    let command = stop.join(" ");
                    let program = stop.first().cloned().unwrap_or_default();
                    if view.workspace.config().policy.commands.find(&program).is_none() {
                        return Err(Error::denied(format!(
                            "{named} is kept by {}, which would start it again",
                            keeper.who
                        ))
                        .hint(format!(
                            "stop it there: `{command}`; or list `{program}` under policy.commands in `rollback.yaml`, \
                             and the run does so"
                        )));
                    }
                    let operation = StopThroughKeeper {
                        writes: view
                            .written_by(&[&process])?
                            .into_iter()
                            .chain(self.pid_file.clone())
                            .collect(),
                        cwd: view.workspace.root().to_path_buf(),
                        grace: self.grace,
                        process,
                        stop,
                        start,
                        environment,
                    };
                    let summary = format!("stop {named} through {}: `{command}`", keeper.who);
                    proposals.push(Proposal::act(self.word, self.target.clone(), summary, operation));
                }
            }
        }
        if direct.is_empty() {
            return Ok(proposals);
        }
        let described: Vec<String> = direct
            .iter()
            .map(|process| format!("{} (`{}`)", process.pid, process.describe()))
            .collect();
        let noun = if direct.len() == 1 { "process" } else { "processes" };
        let summary = format!("stop {noun} {}", described.join(", "));
        let mut operation = EndProcesses::of(view, direct, self.grace, self.kill)?;
        operation.loops = loops;
        operation.writes.extend(self.pid_file);
        remarks.extend(operation.company()?);
        let proposal = Proposal::act(self.word, self.target, summary, operation);
        proposals.push(if remarks.is_empty() {
            proposal
        } else {
            proposal.because(remarks.join("; "))
        });
        Ok(proposals)
    }
}

//! What was asked for, as data: what it needs, what it risks, how it is taken back.
//!
//! A primitive returns a `Proposal`; nothing in it has happened. The gate decides, and only the gate calls
//! `Operation::execute`.

use serde_json::Value;

use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::Demand;
use crate::report::PathRecord;
use crate::report::effect::{Capability, Done, Fact, Outcome, Risk};
use crate::report::undo::Undo;
use crate::view::overlay::Overlay;

/// Removing containers, images and volumes.
pub mod containers;

/// Putting in place what a command wrote over a layer.
pub mod committing;

/// Copying a path, or making a backup by copying.
pub mod copying;

/// Changing the text of a file, or making one.
pub mod editing;

/// Moving paths: removal into the run's store, and plain moves.
pub mod moving;

/// Opening a database on trial.
pub mod opening;

/// Closing the directory of backups to others.
pub mod narrowing;

/// What a tree looked like.
pub mod portrait;

/// Backing up by moving.
pub mod retiring;

/// Pid files of services that have ended.
pub mod pid_file;

/// Giving space back.
pub mod pruning;

/// Removing for good, without a store.
pub mod purging;

/// Taking an operation back.
pub mod reverting;

/// Adding digests to a backup, and restoring it on trial.
pub mod sealing;

/// Ending processes.
pub mod stopping;

/// Stopping a service through what keeps it.
pub mod supervised;

/// Clearing up after an operation that was cut off.
pub mod sweeping;

/// Backing up volumes.
pub mod volumes;

/// What was asked for. Plain data with its effect: pretended on the overlay, or executed on the host.
pub trait Operation: std::fmt::Debug {
    /// What at stake.
    fn risk(&self) -> Risk;
    /// What the policy must allow.
    fn needs(&self) -> Vec<Capability>;
    /// What it will need of the kernel: the gate asks for it in both passes.
    fn demands(&self) -> Vec<Demand>;
    /// How it will be taken back.
    fn undo(&self) -> Undo;
    /// What the act does, as far as its facts do not tell: where to, with which contents and options. It is part of a
    /// plan's identity; a run's id and moment in it don't count.
    fn effect(&self) -> Value;
    /// What the decision rests on.
    fn facts(&self) -> Vec<Fact>;
    /// The effect, on the overlay of a preview. Touches nothing else.
    ///
    /// # Errors
    /// Where the real operation would certainly fail, the same failure.
    fn pretend(&self, overlay: &mut Overlay) -> Result<Done>;
    /// The effect, for real.
    ///
    /// # Errors
    /// Whatever the host reports; the operation has then changed nothing, or its undo takes back the part that was done.
    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done>;
}

/// What a primitive returns: what was asked, and the operation where there is something to do.
#[derive(Debug)]
pub struct Proposal {
    /// The word of the script.
    pub word: &'static str,
    /// What it is about, as shown to people.
    pub target: String,
    /// One line for the plan, in the imperative: "move `data/duckdb` (3 files, 1.2 MiB) into backup `duckdb_data`".
    pub summary: String,
    /// Each of the paths, where it is about several.
    pub paths: Vec<PathRecord>,
    /// Why it is settled, or a remark.
    pub why: Option<String>,
    /// What the person should know of it, beside what is in the plan.
    pub warning: Option<String>,
    /// What to do.
    pub act: Act,
    /// Digest of the word's arguments; empty where no script said it.
    pub asked: String,
    /// What the word returns to the script.
    pub value: Value,
}

/// Something to do, or something settled.
#[derive(Debug)]
pub enum Act {
    /// Passes the gate and happens.
    Do(Box<dyn Operation>),
    /// Nothing to do; recorded with this outcome. Needs the capabilities all the same, so that a refusal
    /// does not depend on what exists.
    Settled(Outcome, Vec<Capability>),
}

impl Proposal {
    /// Something to do.
    #[must_use]
    pub fn act(
        word: &'static str,
        target: impl Into<String>,
        summary: impl Into<String>,
        operation: impl Operation + 'static,
    ) -> Self {
        Self {
            word,
            target: target.into(),
            summary: summary.into(),
            paths: Vec::new(),
            why: None,
            warning: None,
            act: Act::Do(Box::new(operation)),
            asked: String::new(),
            value: Value::Null,
        }
    }

    /// Nothing to do, and why.
    #[must_use]
    pub fn settled(
        word: &'static str,
        target: impl Into<String>,
        outcome: Outcome,
        why: impl Into<String>,
        needs: Vec<Capability>,
    ) -> Self {
        let target = target.into();
        let why = why.into();
        Self {
            word,
            summary: format!("leave {target}: {why}"),
            target,
            paths: Vec::new(),
            why: Some(why),
            warning: None,
            act: Act::Settled(outcome, needs),
            asked: String::new(),
            value: Value::Null,
        }
    }

    /// Tells each of several paths.
    #[must_use]
    pub fn of_paths(mut self, paths: Vec<PathRecord>) -> Self {
        self.paths = paths;
        self
    }

    /// Sets what the word returns to the script.
    #[must_use]
    pub fn returning(mut self, value: impl Into<Value>) -> Self {
        self.value = value.into();
        self
    }

    /// Adds what the person should know.
    #[must_use]
    pub fn warning(mut self, warning: impl Into<String>) -> Self {
        self.warning = Some(warning.into());
        self
    }

    /// Adds a remark, if there is one.
    #[must_use]
    pub fn remarking(mut self, why: Option<String>) -> Self {
        self.why = why.or(self.why);
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }
}

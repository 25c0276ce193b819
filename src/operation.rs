//! What was asked for, as data: what it needs, what it risks, how it is taken back.
//!
//! A primitive returns a `Proposal`; nothing in it has happened. The gate decides, and only the gate calls
//! `Operation::execute`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::Result;
use crate::gate::{Overlay, Permit};
use crate::host::Host;
use crate::host::files::Demand;

/// Removing containers, images and volumes.
pub mod containers;

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

/// What is at stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing is destroyed or interrupted.
    None,
    /// It can be taken back, exactly or by compensation.
    Reversible,
    /// No data is lost, but we can't take it back: a stopped process, a removed container.
    Disruptive,
    /// Data is gone for good: a purge, a volume.
    Irreversible,
}

/// How well it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoClass {
    /// Byte for byte, with modes and times.
    Exact,
    /// By an action of the opposite effect: packages are installed again in the same versions.
    Compensating,
    /// Not at all.
    None,
}

/// One move of a path; both ends as shown to people (relative to the workspace where below it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where it was.
    pub from: String,
    /// Where it is after.
    pub to: String,
    /// What moved, as it was; `None` where a manifest tells, or others may have written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<portrait::Portrait>,
}

/// Contents to put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The file that was changed.
    pub path: String,
    /// Its former contents, in the run's store.
    pub saved: String,
    /// BLAKE3 of the contents after the change, in hexadecimal: a file that differs has been changed since.
    /// `None` where a command makes the contents.
    pub after: Option<String>,
    /// BLAKE3 of the former contents, in hexadecimal, where they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Other names that the file had in the workspace: each keeps the former contents, and the file is made one with them
    /// again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// How to take an operation back, written to the audit log before the operation happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Undo {
    /// It can't be, and why.
    Nothing {
        /// The reason, for people.
        why: String,
    },
    /// Moves each path back, in reverse order, and sets the modification times of the directories that were touched.
    MoveBack {
        /// The moves that were made.
        moves: Vec<Move>,
        /// Directories whose modification time is put back after (path, nanoseconds since the epoch).
        times: Vec<(String, i64)>,
        /// What was made for it: files of ours (a backup's manifest) go first, directories last, where they are empty.
        drop: Vec<String>,
        /// Directories that went with what it took away (path, permission bits): where they are made again, they get
        /// these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        modes: Vec<(String, u32)>,
    },
    /// Removes what was created (into the undo run's own store).
    RemoveCreated {
        /// The created path.
        path: String,
        /// BLAKE3 of its contents for a file.
        after: Option<String>,
        /// What was made, where it is no text of ours: what differs was changed by others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created: Option<portrait::Portrait>,
        /// Directories that were made for it, outermost first; they go where they are empty.
        made: Vec<String>,
        /// Directories whose modification time is put back after.
        times: Vec<(String, i64)>,
    },
    /// Puts former contents back, with mode and modification time.
    RestoreContents {
        /// The files.
        files: Vec<Saved>,
        /// Directories whose modification time is put back after.
        times: Vec<(String, i64)>,
    },
    /// Installs packages again in the versions that were removed.
    InstallPackages {
        /// `npm` or `pip`.
        manager: String,
        /// Name to version.
        packages: std::collections::BTreeMap<String, String>,
        /// Those of them that nobody had asked for: they were installed because another needed them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        automatic: Vec<String>,
        /// Manifest and lock files to put back first.
        files: Vec<Saved>,
    },
    /// Gives a directory the mode that it had.
    SetMode {
        /// The directory.
        path: String,
        /// Its permission bits before.
        was: u32,
        /// Its permission bits after: others have been changed since.
        now: u32,
    },
    /// Runs the command that the script gave as undo.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// Working directory, relative to the workspace.
        cwd: String,
    },
}

impl Undo {
    /// How well this takes the operation back.
    #[must_use]
    pub fn class(&self) -> UndoClass {
        match self {
            Self::Nothing { .. } => UndoClass::None,
            Self::InstallPackages { .. } | Self::Command { .. } => UndoClass::Compensating,
            _ => UndoClass::Exact,
        }
    }
}

/// What an operation needs from the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Change a path: create, write, move or remove it. As shown to people, and absolute.
    Write {
        /// The path as shown.
        shown: String,
        /// The absolute path.
        absolute: std::path::PathBuf,
        /// Whether everything below it is changed with it (then no descendant may be denied).
        whole: bool,
    },
    /// Change the flags file, by its own word.
    Flags,
    /// Copy a path into a backup.
    Backup {
        /// The source as shown.
        source: String,
    },
    /// End a process.
    Signal {
        /// Process id.
        pid: i32,
        /// Its command line, for the message.
        command: String,
    },
    /// Start a listed program.
    Command {
        /// The program as the script names it.
        program: String,
    },
    /// Change the packages of a manager.
    Packages {
        /// `npm` or `pip`.
        manager: String,
    },
    /// Change containers, images or volumes.
    Containers,
    /// Send a message through the alert channels.
    Notify,
}

/// A fact that a plan rests on. `apply` compares it before anything is touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about: a path, a process, a package, a flag.
    pub about: String,
    /// What was seen, comparable as data.
    pub seen: Value,
    /// The path to look at again, where it is about one.
    #[serde(skip)]
    pub path: Option<std::path::PathBuf>,
}

impl Fact {
    /// A fact that is not about a path.
    #[must_use]
    pub fn new(about: impl Into<String>, seen: Value) -> Self {
        Self {
            about: about.into(),
            seen,
            path: None,
        }
    }

    /// What differs from what is seen now, in a few words.
    #[must_use]
    pub fn difference(&self, now: &Value) -> String {
        match (&self.seen, now) {
            (Value::Null, _) => "it was absent and is there now".to_owned(),
            (_, Value::Null) => "it is gone".to_owned(),
            (Value::Object(then), Value::Object(now)) => {
                let names: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
                let mut differing: Vec<&str> = names
                    .into_iter()
                    .filter(|name| then.get(*name) != now.get(*name))
                    .map(String::as_str)
                    .collect();
                // A time tells nothing that the rest does not.
                if differing.len() > 1 {
                    differing.retain(|name| *name != "mtime_ns");
                }
                let said = differing
                    .into_iter()
                    .map(|name| change_of(name, then.get(name), now.get(name)));
                said.collect::<Vec<_>>().join("; ")
            }
            (then, now) => format!("was {then}, is {now}"),
        }
    }
}

/// What it means that one part of a fact is another now.
fn change_of(name: &str, then: Option<&Value>, now: Option<&Value>) -> String {
    let shown = |value: Option<&Value>| match value {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) if name == "mode" => format!("{:04o}", value.as_u64().unwrap_or_default() & 0o7777),
        Some(value) => value.to_string(),
    };
    match name {
        "digest" => "its contents are others now".to_owned(),
        "tree" => "what is in it changed".to_owned(),
        "inode" => "it is another one of the same name".to_owned(),
        "mtime_ns" => "it was written to".to_owned(),
        name => format!("{name} was {}, is {}", shown(then), shown(now)),
    }
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A preview: it would be done.
    Planned,
    /// It was done.
    Done,
    /// There was nothing to do: what was named is not there, or is so already.
    NotPresent,
    /// It was left alone on purpose; `why` says what needs it.
    Kept,
    /// It cannot be known before the run (or at all: a container engine that does not answer).
    Unknown,
    /// Policy or confinement refused.
    Denied,
    /// It was tried and failed.
    Failed,
}

/// A backup that an operation makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {
    /// `<name>_<YYYYMMDD_HHMMSS>`.
    pub name: String,
    /// The source, as shown.
    pub source: String,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Paths below the source.
    pub entries: u64,
    /// `moved`, `copied` or `reflinked`.
    pub method: String,
    /// BLAKE3 over the entry lines of the manifest, where files have digests.
    pub digest: Option<String>,
}

/// How many entries the manifest of a backup lists: not the directory itself.
pub(crate) fn listed(kind: &str, entries: u64) -> u64 {
    if kind == "directory" {
        entries.saturating_sub(1)
    } else {
        entries
    }
}

/// What an executed operation tells beyond success.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Done {
    /// A remark for the report: what was left alone, and why.
    pub why: Option<String>,
    /// The backup that was made.
    pub backup: Option<BackupMade>,
    /// Output of a command, bounded and redacted.
    pub output: Option<String>,
}

impl Done {
    /// What an operation tells, and what the host says of it.
    ///
    /// # Errors
    /// The operation's own, with the words as a hint.
    pub fn telling(result: Result<Self>, said: Option<String>) -> Result<Self> {
        let Some(said) = said else { return result };
        let joined = |before: Option<&str>| match before {
            Some(before) => format!("{before}; {said}"),
            None => said.clone(),
        };
        match result {
            Ok(done) => Ok(Self {
                why: Some(joined(done.why.as_deref())),
                ..done
            }),
            Err(error) => {
                let hint = joined(error.hint_text());
                Err(error.hint(hint))
            }
        }
    }
}

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
    /// Why it is settled, or a remark.
    pub why: Option<String>,
    /// What the person should know of it, beside what is in the plan.
    pub warning: Option<String>,
    /// What to do.
    pub act: Act,
    /// Digest of the word's arguments; empty where no script said it.
    pub asked: String,
    /// What the word returns to the script.
    pub value: rhai::Dynamic,
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
            why: None,
            warning: None,
            act: Act::Do(Box::new(operation)),
            asked: String::new(),
            value: rhai::Dynamic::UNIT,
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
            why: Some(why),
            warning: None,
            act: Act::Settled(outcome, needs),
            asked: String::new(),
            value: rhai::Dynamic::UNIT,
        }
    }

    /// Sets what the word returns to the script.
    #[must_use]
    pub fn returning(mut self, value: impl Into<rhai::Dynamic>) -> Self {
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

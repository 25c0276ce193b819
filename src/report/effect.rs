//! What an operation needs, rests on, risks and comes to, as plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::error::Result;

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

/// What an operation needs from the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capability {
    /// Change a path: create, write, move or remove it. As shown to people, and absolute.
    Write {
        /// The path as shown.
        display: String,
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
                let message = differing
                    .into_iter()
                    .map(|name| change_of(name, then.get(name), now.get(name)));
                message.collect::<Vec<_>>().join("; ")
            }
            (then, now) => format!("was {then}, is {now}"),
        }
    }
}

/// What it means that one part of a fact is another now.
fn change_of(name: &str, then: Option<&Value>, now: Option<&Value>) -> String {
    let display = |value: Option<&Value>| match value {
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
        name => format!("{name} was {}, is {}", display(then), display(now)),
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
    pub fn telling(result: Result<Self>, message: Option<String>) -> Result<Self> {
        let Some(message) = message else { return result };
        let joined = |before: Option<&str>| match before {
            Some(before) => format!("{before}; {message}"),
            None => message.clone(),
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

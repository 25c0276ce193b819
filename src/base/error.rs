//! What can go wrong, with its anatomy: kind, what, where, whether anything was changed, and what to do next.
//!
//! One type for the whole library; `cli/render.rs` is its only renderer.

use serde::{Deserialize, Serialize};

use crate::base::exit_code::ExitCode;

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. Scripts see the name in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The command line asks for something that does not exist or does not go together.
    Usage,
    /// `rollback.yaml` or the flags file is unreadable or says something impossible.
    Configuration,
    /// The script has a syntax error, calls an unknown function or breaks a rule of the language.
    Script,
    /// A limit of the script engine was met.
    Limit,
    /// What was named is not there.
    NotFound,
    /// Policy or the kernel refused. A script can't catch it.
    Denied,
    /// A process holds what was to be changed.
    InUse,
    /// Something stands where something was to be put.
    Exists,
    /// An argument has the wrong type or form.
    Invalid,
    /// It was tried, and it failed.
    Failed,
    /// It could not be looked at: nobody can tell what is there.
    Unknown,
    /// A signal asked the run to stop. A script can't catch it.
    Cancelled,
    /// A person said no, or nobody was there to ask.
    NotApproved,
    /// Another run holds the workspace.
    Locked,
    /// The world is not as the plan saw it.
    Changed,
    /// The audit log or a backup fails verification.
    Corrupt,
    /// An earlier run was cut off.
    Unfinished,
    /// A mistake of ours.
    Bug,
}

impl Kind {
    /// The stable code of this kind, as in the field `code` of `rollback.error/1`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Usage => "RB0201",
            Self::Configuration => "RB0202",
            Self::Script => "RB0203",
            Self::Limit => "RB0204",
            Self::Invalid => "RB0205",
            Self::NotFound => "RB0101",
            Self::InUse => "RB0102",
            Self::Exists => "RB0103",
            Self::Failed => "RB0104",
            Self::Unknown => "RB0105",
            Self::Bug => "RB0199",
            Self::Denied => "RB0301",
            Self::NotApproved => "RB0501",
            Self::Locked => "RB0601",
            Self::Changed => "RB0701",
            Self::Corrupt => "RB0801",
            Self::Unfinished => "RB0901",
            Self::Cancelled => "RB1301",
        }
    }

    /// The name that scripts and JSON see.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Configuration => "configuration",
            Self::Script => "script",
            Self::Limit => "limit",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::InUse => "in_use",
            Self::Exists => "exists",
            Self::Invalid => "invalid",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::NotApproved => "not_approved",
            Self::Locked => "locked",
            Self::Changed => "changed",
            Self::Corrupt => "corrupt",
            Self::Unfinished => "unfinished",
            Self::Bug => "bug",
        }
    }
}

/// A place in a script or a configuration file. Lines and columns count from 1; 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file as the person knows it (a path, or `embedded:rollback-story-1.3.rhai`).
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The whole text of the file, for the caret; not part of any JSON.
    #[serde(skip)]
    pub source: Option<std::sync::Arc<str>>,
}

/// What a failure comes from.
type Cause = std::sync::Arc<dyn std::error::Error + Send + Sync>;

/// A failure with everything that a person needs to go on; its source is what it comes from, where that was kept.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Anatomy>);

#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
struct Anatomy {
    kind: Kind,
    message: String,
    source: Option<Cause>,
    hint: Option<String>,
    at: Option<Position>,
    changed: bool,
    exit_code: Option<ExitCode>,
}

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("A failure of kind [`Kind::", stringify!($kind), "`].")]
            #[must_use]
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(Kind::$kind, message)
            }
        )*
    };
}

impl Error {
    /// A failure of this kind; `message` is lower case, the thing in backticks.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Anatomy {
            kind,
            message: message.into(),
            source: None,
            hint: None,
            at: None,
            changed: false,
            exit_code: None,
        }))
    }

    constructors! {
        usage => Usage,
        configuration => Configuration,
        script => Script,
        limit => Limit,
        not_found => NotFound,
        denied => Denied,
        in_use => InUse,
        exists => Exists,
        invalid => Invalid,
        failed => Failed,
        unknown => Unknown,
        cancelled => Cancelled,
        not_approved => NotApproved,
        locked => Locked,
        changed => Changed,
        corrupt => Corrupt,
        unfinished => Unfinished,
        bug => Bug,
    }

    /// A failed system call: what was being done, and what the system said.
    #[must_use]
    pub fn io(doing: impl std::fmt::Display, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::AlreadyExists => Kind::Exists,
            _ => Kind::Failed,
        };
        let kept = error.raw_os_error().map_or_else(
            || std::io::Error::new(error.kind(), error.to_string()),
            std::io::Error::from_raw_os_error,
        );
        let failure = Self::new(kind, format!("cannot {doing}: {error}")).caused_by(kept);
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                failure.hint("make room on the disk, then try again")
            }
            std::io::ErrorKind::ReadOnlyFilesystem => {
                failure.hint("what is mounted read-only can't be changed; mount it writable, then try again")
            }
            _ => failure,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what it comes from, which `-v` shows: nothing that may hold a secret without the look of one.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(std::sync::Arc::new(cause));
        self
    }

    /// Adds where, unless a nearer place is known already.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.0.at.get_or_insert(position);
        self
    }

    /// Says that something was changed before this failure.
    #[must_use]
    pub fn after_changes(mut self) -> Self {
        self.0.changed = true;
        self
    }

    /// Ends the program with this code, whatever the kind says.
    #[must_use]
    pub fn exiting(mut self, code: ExitCode) -> Self {
        self.0.exit_code = Some(code);
        self
    }

    /// Puts words before the message.
    #[must_use]
    pub fn context(mut self, before: impl std::fmt::Display) -> Self {
        self.0.message = format!("{before}: {}", self.0.message);
        self
    }

    /// A failure of looking: where the system could not do it, what is there is unknown.
    #[must_use]
    pub fn of_looking(mut self) -> Self {
        if self.0.kind == Kind::Failed {
            self.0.kind = Kind::Unknown;
        }
        self
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What went wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do next.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Where it happened.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.0.at.as_ref()
    }

    /// Whether anything was changed before it.
    #[must_use]
    pub fn changed_something(&self) -> bool {
        self.0.changed
    }

    /// The exit code that the program ends with when nothing handles this failure.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        self.0.exit_code.unwrap_or(match self.0.kind {
            Kind::Usage | Kind::Configuration | Kind::Script | Kind::Limit => ExitCode::Usage,
            Kind::Denied => ExitCode::Refused,
            Kind::NotApproved => ExitCode::NotApproved,
            Kind::Locked => ExitCode::Locked,
            Kind::Changed => ExitCode::Changed,
            Kind::Corrupt => ExitCode::Corrupt,
            Kind::Unfinished => ExitCode::Unfinished,
            Kind::Cancelled => ExitCode::Interrupted,
            Kind::NotFound
            | Kind::InUse
            | Kind::Exists
            | Kind::Invalid
            | Kind::Failed
            | Kind::Unknown
            | Kind::Bug => ExitCode::Failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    #[test]
    fn a_failure_keeps_what_it_comes_from() {
        let refused = io::Error::from_raw_os_error(13);
        let failure = Error::io("read `x`", &refused)
            .hint("see")
            .context("first")
            .clone();
        let source = failure.source().expect("a source");
        assert_eq!(source.to_string(), refused.to_string());
        assert!(failure.message().ends_with(&refused.to_string()), "{failure}");

        let inner = Error::failed("inner").caused_by(refused);
        let outer = Error::unknown("outer").caused_by(inner).after_changes();
        let messages: Vec<String> = std::iter::successors(outer.source(), |cause| (*cause).source())
            .map(ToString::to_string)
            .collect();
        assert_eq!(messages, ["inner", "Permission denied (os error 13)"]);
        assert!(Error::bug("alone").source().is_none());
    }
}

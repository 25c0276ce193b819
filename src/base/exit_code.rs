//! The exit codes of the program; scripts and schedulers rely on them.

use serde::{Serialize, Serializer};

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitCode {
    /// Done; for a dry run: the plan could be made.
    Done,
    /// An operation or a validation check failed; the message says what was and what was not changed.
    Failed,
    /// Usage, configuration or script error; nothing was changed.
    Usage,
    /// Refused by policy or by confinement.
    Refused,
    /// Some stories failed and others succeeded.
    Partial,
    /// Not approved: declined, or nobody to ask.
    NotApproved,
    /// Another run holds the workspace.
    Locked,
    /// The world differs from the plan; nothing was changed.
    Changed,
    /// The audit log or a backup fails verification.
    Corrupt,
    /// An earlier run was cut off.
    Unfinished,
    /// SIGINT; state is recoverable.
    Interrupted,
    /// SIGTERM; state is recoverable.
    Terminated,
}

impl ExitCode {
    /// The number that the shell sees.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Partial => 4,
            Self::NotApproved => 5,
            Self::Locked => 6,
            Self::Changed => 7,
            Self::Corrupt => 8,
            Self::Unfinished => 9,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl Serialize for ExitCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

//! Something that happened, for people and programs elsewhere, as data.

use std::hash::{BuildHasher, Hasher};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::clock::Clock;

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A run begins to change something.
    Initiation,
    /// A run did all that it was to do.
    Completion,
    /// A run failed, wholly or in part.
    Failure,
    /// A trigger of the monitor was met.
    Breach,
    /// What a trigger watches is well again.
    Recovery,
    /// A refusal in the middle of a run, or records that were tampered with.
    SecurityIncident,
    /// A script's `notify`.
    Message,
    /// `rollback alert test`.
    Test,
}

impl Kind {
    /// As `rollback.yaml` and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiation => "initiation",
            Self::Completion => "completion",
            Self::Failure => "failure",
            Self::Breach => "breach",
            Self::Recovery => "recovery",
            Self::SecurityIncident => "security-incident",
            Self::Message => "message",
            Self::Test => "test",
        }
    }
}

/// How much it matters. The order is that of importance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// For the record.
    #[default]
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody has to act.
    Critical,
}

impl Severity {
    /// As `rollback.yaml` and JSON write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Something that happened, for people and programs elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its identity, the same on every attempt and channel.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// When it happened, RFC 3339 UTC with milliseconds.
    pub at: String,
    /// One line.
    pub title: String,
    /// Some lines.
    pub text: String,
    /// What programs want to know. Those with the names of placeholders ([`crate::workspace::template::FACTS`]) can stand in templates.
    pub facts: Map<String, Value>,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// Alerts of one kind and one group are equal: within `group_within` of a channel only the first is sent.
    pub group: String,
}

impl Alert {
    /// An alert of now, in a group of its own.
    #[must_use]
    pub fn new(
        clock: &Clock,
        kind: Kind,
        severity: Severity,
        title: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        let id = identity(clock);
        Self {
            group: id.clone(),
            id,
            kind,
            severity,
            at: clock.timestamp(),
            title: title.into(),
            text: text.into(),
            facts: Map::new(),
            run: None,
        }
    }

    /// Adds a fact.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Says which run it belongs to.
    #[must_use]
    pub fn of_run(mut self, run: &str) -> Self {
        self.run = Some(run.to_owned());
        self
    }

    /// Says which alerts it is equal to: those of the same kind with the same key.
    #[must_use]
    pub fn grouped(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }
}

/// A new identity: the second in UTC, and twelve hexadecimal digits by chance.
fn identity(clock: &Clock) -> String {
    let unique = clock.unique();
    let second = unique.split('-').next().unwrap_or_default();
    // A hasher is seeded by the system's randomness.
    let chance = std::hash::RandomState::new().build_hasher().finish();
    format!("{second}-{:012x}", chance & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_differ_even_while_the_clock_stands_still() {
        let clock = Clock::fixed(std::time::SystemTime::UNIX_EPOCH);
        assert_ne!(identity(&clock), identity(&clock));
    }
}

//! Lines of `logs/security.log` and `logs/audit.log`, in the shape that other programs read: compact JSON, key order
//! `timestamp, level, event`, then data; the head of the audit log last. Whole lines are appended, nothing rewritten.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::base::clock::Clock;
use crate::base::error::Result;
use crate::base::redact::redact_value;
use crate::records::Records;
use crate::report::AuditHead;
use crate::workspace::{ALERT_LOG, AUDIT_LOG, LOGS, SECURITY_LOG, Workspace};

/// Where the lines go.
#[derive(Debug, Clone)]
pub struct Logs {
    records: Records,
    clock: Clock,
    directory: PathBuf,
}

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `INFO`.
    Info,
    /// `WARN`.
    Warn,
    /// `ERROR`.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

impl Logs {
    /// The logs of a workspace. Nothing is made yet.
    #[must_use]
    pub fn new(records: Records, clock: Clock, workspace: &Workspace) -> Self {
        Self {
            records,
            clock,
            directory: workspace.root().join(LOGS),
        }
    }

    /// Size in bytes of each log to which a run appends; `None` where there is none yet.
    #[must_use]
    pub fn sizes(&self) -> std::collections::BTreeMap<PathBuf, Option<u64>> {
        [SECURITY_LOG, AUDIT_LOG, ALERT_LOG]
            .into_iter()
            .map(|name| {
                let path = self.directory.join(name);
                let size = path.symlink_metadata().ok().map(|about| about.len());
                (path, size)
            })
            .collect()
    }

    /// Makes sure, without making anything, that lines can be appended to both files.
    ///
    /// # Errors
    /// As [`Records::require_appendable`].
    pub fn require(&self) -> Result<()> {
        [SECURITY_LOG, AUDIT_LOG]
            .iter()
            .try_for_each(|name| self.records.require_appendable(&self.directory.join(name)))
    }

    /// Appends one line to both files.
    ///
    /// # Errors
    /// What the system says.
    pub fn both(&self, level: Level, event: &str, data: Value, head: &AuditHead) -> Result<()> {
        let line = self.line(level, event, data, head);
        for name in [SECURITY_LOG, AUDIT_LOG] {
            self.records.append_line(&self.directory.join(name), &line)?;
        }
        Ok(())
    }

    /// Appends a notification to `security.log`.
    ///
    /// # Errors
    /// What the system says.
    pub fn notification(&self, story: &str, message: &str, head: &AuditHead) -> Result<()> {
        let data = json!({ "storyId": story, "message": message });
        let line = self.line(Level::Info, "notification", data, head);
        self.records
            .append_line(&self.directory.join(SECURITY_LOG), &line)
    }

    fn line(&self, level: Level, event: &str, data: Value, head: &AuditHead) -> String {
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), json!(self.clock.timestamp()));
        line.insert("level".to_owned(), json!(level.name()));
        line.insert("event".to_owned(), json!(event));
        let mut data = data;
        redact_value(&mut data);
        if let Value::Object(data) = data {
            line.extend(data);
        }
        line.insert("auditHead".to_owned(), json!(head));
        Value::Object(line).to_string()
    }
}

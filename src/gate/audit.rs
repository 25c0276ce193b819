//! The audit log: every intent is on disk before the act, every outcome after it, in one hash chain.
//!
//! On disk: `.rollback/audit/NNNNNN.jsonl`, one canonical JSON object a line; `.rollback/audit/head` names the last
//! record that is known to be on disk. The format stands in `docs/audit-format.md`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::gate::Permit;
use crate::gate::redact::redact;
use crate::host::clock::Clock;
use crate::host::records::Records;
use crate::report::AuditHead;

/// Reading the log back: the chain, and what is wrong with it.
pub mod chain;

/// Records of a segment before the next one is begun.
const SEGMENT_RECORDS: u64 = 100_000;

/// The hash before the first record.
const ORIGIN: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The log, open for one run.
#[derive(Debug)]
pub struct AuditLog {
    records: Records,
    clock: Clock,
    run: String,
    log_id: String,
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    length: u64,
    sequence: u64,
    hash: String,
    segment_records: u64,
}

/// An operation as the log tells it before it happens.
#[derive(Debug, Clone)]
pub struct Intent<'a> {
    /// Number in the run.
    pub n: u32,
    /// The story's id.
    pub story: &'a str,
    /// The phase.
    pub phase: &'a str,
    /// The innermost step.
    pub step: Option<&'a str>,
    /// The word.
    pub op: &'a str,
    /// What it is about.
    pub target: &'a str,
    /// One line.
    pub summary: &'a str,
    /// What is at stake.
    pub risk: crate::operation::Risk,
    /// How it is taken back.
    pub undo: &'a crate::operation::Undo,
}

impl AuditLog {
    /// Opens the log for a run, continuing the chain; makes it if there is none. A torn last line (a crash while
    /// writing) is cut off and the repair is recorded.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] where the last segment is damaged, otherwise what the system says.
    pub fn open(records: &Records, clock: &Clock, run: &str) -> Result<Self> {
        let directory = records.state().join("audit");
        records.directory(&directory)?;
        let tail = chain::tail(&directory)?;
        let (path, fresh) = match &tail.segment {
            Some(segment) => (segment.clone(), false),
            None => (directory.join(segment_name(1)), true),
        };
        let file = records.append(&path)?;
        if let Some(length) = tail.torn_at {
            file.set_len(length)
                .map_err(|error| Error::io("repair the audit log", &error))?;
        }
        let metadata = file
            .metadata()
            .map_err(|error| Error::io("look at the audit log", &error))?;
        let mut log = Self {
            records: records.clone(),
            clock: clock.clone(),
            run: run.to_owned(),
            log_id: tail.log_id.unwrap_or_else(|| clock.unique()),
            identity: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            path,
            file,
            sequence: tail.sequence,
            hash: tail.hash.unwrap_or_else(|| ORIGIN.to_owned()),
            segment_records: tail.segment_records,
        };
        if fresh {
            sync_directory(&directory)?;
        }
        if tail.torn_at.is_some() {
            log.append("recovered", json!({ "what": "torn last line removed" }), true)?;
        }
        Ok(log)
    }

    /// Records the start of the run.
    ///
    /// # Errors
    /// What the system says; the run must not begin then.
    pub fn run_started(&mut self, about: Value) -> Result<()> {
        self.append("run_started", about, true)
    }

    /// Records the intent, durably, and gives the permit for it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Denied`] where the log is not the file that was opened, otherwise what the system says.
    pub fn begin(&mut self, intent: &Intent<'_>) -> Result<Permit> {
        self.still_there()?;
        let about = json!({
            "n": intent.n, "story": intent.story, "phase": intent.phase, "step": intent.step,
            "op": intent.op, "target": redact(intent.target), "summary": redact(intent.summary),
            "risk": intent.risk, "undo": intent.undo,
        });
        self.append("operation_begun", about, true)?;
        Ok(Permit::new(self.head()))
    }

    /// Records the outcome of the operation that `permit` allowed, and takes the permit away.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(
        &mut self,
        permit: Permit,
        n: u32,
        outcome: std::result::Result<Option<&str>, &Error>,
    ) -> Result<()> {
        let begun = permit.head().seq;
        // Not synced: the next intent, or the end of the run, brings it to the disk; a cut before that leaves an
        // intent without an outcome, which `recover` settles from what it finds.
        match outcome {
            Ok(why) => self.append("operation_finished", json!({ "n": n, "begun": begun, "why": why.map(redact) }), false),
            Err(error) => self.append(
                "operation_failed",
                json!({ "n": n, "begun": begun, "kind": error.kind().name(), "message": redact(error.message()) }),
                false,
            ),
        }
    }

    /// Records a refusal.
    ///
    /// # Errors
    /// What the system says.
    pub fn denied(&mut self, n: u32, story: &str, op: &str, target: &str, error: &Error) -> Result<()> {
        let about = json!({
            "n": n, "story": story, "op": op, "target": redact(target), "message": redact(error.message()),
        });
        self.append("operation_denied", about, true)
    }

    /// Records a question and its answer.
    ///
    /// # Errors
    /// What the system says.
    pub fn answered(&mut self, question: &str, answer: &str) -> Result<()> {
        self.append(
            "question_answered",
            json!({ "question": redact(question), "answer": redact(answer) }),
            true,
        )
    }

    /// Records that an operation of a run that was cut off was settled.
    ///
    /// # Errors
    /// What the system says.
    pub fn recovered(&mut self, about: Value) -> Result<()> {
        self.append("recovered", about, true)
    }

    /// Records the end of the run, durably, and gives the head.
    ///
    /// # Errors
    /// What the system says.
    pub fn run_finished(&mut self, about: Value) -> Result<AuditHead> {
        self.append("run_finished", about, true)?;
        Ok(self.head())
    }

    /// The last record.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead {
            log_id: self.log_id.clone(),
            seq: self.sequence,
            hash: self.hash.clone(),
        }
    }

    /// Speaks for another run from here on: an undo settles what a cut left before it begins.
    pub fn speak_for(&mut self, run: &str) {
        run.clone_into(&mut self.run);
    }

    fn append(&mut self, event: &str, about: Value, durable: bool) -> Result<()> {
        if self.segment_records >= SEGMENT_RECORDS {
            self.rotate()?;
        }
        self.put(event, about, durable)
    }

    fn put(&mut self, event: &str, about: Value, durable: bool) -> Result<()> {
        let mut record = Map::new();
        record.insert("v".to_owned(), json!(1));
        record.insert("seq".to_owned(), json!(self.sequence + 1));
        record.insert("ts".to_owned(), json!(self.clock.timestamp()));
        record.insert("log".to_owned(), json!(self.log_id));
        record.insert("run".to_owned(), json!(self.run));
        record.insert("event".to_owned(), json!(event));
        if let Value::Object(about) = about {
            record.extend(about);
        }
        record.insert("prev".to_owned(), json!(self.hash));
        let hash = chain::hash(&record);
        record.insert("hash".to_owned(), json!(hash));
        let mut line = Value::Object(record).to_string();
        line.push('\n');
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // Half a line must not stand before the next record.
            let _ = self.file.set_len(self.length);
            return Err(Error::failed(format!("cannot write the audit log: {error}"))
                .hint("nothing is done that cannot be recorded; leave room on the disk"));
        }
        self.length += line.len() as u64;
        self.sequence += 1;
        self.segment_records += 1;
        self.hash = hash;
        if durable {
            self.write_head()?;
        }
        Ok(())
    }

    fn write_head(&self) -> Result<()> {
        let text = format!("{}\n", json!(self.head()));
        self.records
            .write_lazily(&self.records.state().join("audit").join("head"), text.as_bytes())
    }

    fn rotate(&mut self) -> Result<()> {
        let number = chain::segment_number(&self.path).unwrap_or(1) + 1;
        let name = segment_name(number);
        self.put("rotated", json!({ "next": name }), true)?;
        let directory = self.records.state().join("audit");
        self.path = directory.join(name);
        self.file = self.records.append(&self.path)?;
        let metadata = self
            .file
            .metadata()
            .map_err(|error| Error::io("look at the audit log", &error))?;
        self.identity = (metadata.dev(), metadata.ino());
        self.length = metadata.len();
        self.segment_records = 0;
        sync_directory(&directory)
    }

    /// The log is still the same file at the same path, as long as we left it.
    fn still_there(&self) -> Result<()> {
        let refuse = |what: &str| {
            Err(Error::denied(format!("the audit log {what} while this run goes on"))
                .hint("nothing more is done without a record; look at `.rollback/audit`, then `rollback audit verify`"))
        };
        match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) != self.identity => refuse("was replaced"),
            Ok(metadata) if metadata.len() != self.length => refuse("was changed"),
            Ok(_) => Ok(()),
            Err(_) => refuse("has gone"),
        }
    }
}

fn segment_name(number: u64) -> String {
    format!("{number:06}.jsonl")
}

fn sync_directory(directory: &std::path::Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("bring the audit directory to the disk", &error))
}

#[cfg(test)]
mod tests;

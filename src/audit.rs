//! The audit log: every intent is on disk before the act, every outcome after it, in one hash chain.
//!
//! On disk: `.rollback/audit/NNNNNN.jsonl`, one canonical JSON object a line; `.rollback/audit/head` names the last
//! record that is known to be on disk. The format stands in `docs/audit-format.md`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tracing::trace;

use crate::audit::permit::Permit;
use crate::base::clock::Clock;
use crate::base::error::{Error, Kind, Result};
use crate::base::exit_code::ExitCode;
use crate::base::redact::{redact, redact_value};
use crate::records::Records;
use crate::report::AuditHead;
use crate::report::undo::Undo;

/// Heads that are kept outside the log.
pub mod anchors;

/// Checking the whole log.
pub mod chain;

/// One record as a line.
pub mod record;

/// The files of the log.
pub mod segments;

/// What is wrong with a log.
mod verdict;

use record::Hash;

/// Records of a segment before the next one is begun.
const SEGMENT_RECORDS: u64 = 100_000;

/// The log, open for one run.
#[derive(Debug)]
pub struct AuditLog {
    records: Records,
    clock: Clock,
    run: String,
    log_id: String,
    path: PathBuf,
    file: File,
    /// Overwritten in place: one block, which a cut leaves old or new, and which needs no room on a full disk.
    head_file: File,
    identity: (u64, u64),
    length: u64,
    sequence: u64,
    hash: Hash,
    /// The last record that is on the disk, as far as this run knows.
    durable: (u64, Hash),
    segment_records: u64,
    /// What became of the file at its path, and where the records are kept since.
    kept: Option<(&'static str, String)>,
    /// Whether the disk refused to confirm a record: nothing is known of the ones before it from then on.
    unsure: bool,
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
    pub risk: crate::report::effect::Risk,
    /// How it is taken back.
    pub undo: &'a crate::report::undo::Undo,
}

impl AuditLog {
    /// Opens the log for a run, continuing the chain; makes it if there is none. A torn last line (a crash while
    /// writing) is cut off and the repair is recorded. Reads only the end of the log.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Corrupt`] where the log does not end with the record that its head names, otherwise what
    /// the system says.
    pub fn open(records: &Records, clock: &Clock, run: &str) -> Result<Self> {
        let directory = records.state().join("audit");
        records.directory(&directory)?;
        let tail = segments::tail(&directory)?;
        Self::open_at(records, clock, run, tail)
    }

    /// As [`AuditLog::open`], and where the end of the log is damaged, in a new segment that goes on behind the last
    /// whole record: what was done can be taken back even then, if somebody says so. The damage stays, and is named by
    /// every verification.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_after_damage(records: &Records, clock: &Clock, run: &str) -> Result<Self> {
        let directory = records.state().join("audit");
        records.directory(&directory)?;
        match segments::tail(&directory) {
            Err(error) if error.kind() == Kind::Corrupt => {
                let mut log = Self::open_at(records, clock, run, segments::after_damage(&directory)?)?;
                let about = json!({ "what": "begun behind a damaged end", "why": error.message() });
                log.append("recovered", about, true)?;
                Ok(log)
            }
            tail => Self::open_at(records, clock, run, tail?),
        }
    }

    fn open_at(records: &Records, clock: &Clock, run: &str, tail: segments::Tail) -> Result<Self> {
        let directory = records.state().join("audit");
        let path = tail
            .segment
            .clone()
            .unwrap_or_else(|| directory.join(segments::segment_name(1)));
        let file = records.append(&path)?;
        let fresh = tail.segment.is_none() || segments::read_head(&directory) == segments::HeadFile::Missing;
        let head_file = records.in_place(&directory.join("head"))?;
        if let Some((length, _)) = tail.torn {
            crate::records::cut(&file, length).map_err(|error| Error::io("repair the audit log", &error))?;
        }
        let (identity, length) = look(&file)?;
        let mut log = Self {
            records: records.clone(),
            clock: clock.clone(),
            run: run.to_owned(),
            log_id: tail.log_id.unwrap_or_else(|| clock.unique()),
            path,
            file,
            head_file,
            identity,
            length,
            sequence: tail.sequence,
            hash: tail.hash,
            durable: (tail.sequence, tail.hash),
            segment_records: tail.segment_records,
            kept: None,
            unsure: false,
        };
        if fresh {
            if log.sequence > 0 {
                log.write_head()?;
            }
            log.head_file
                .sync_all()
                .map_err(|error| Error::io("bring the audit head to the disk", &error))?;
            sync_directory(&directory)?;
        }
        if let Some((_, bytes)) = tail.torn {
            let about = json!({ "what": "torn last line removed", "bytes": bytes });
            log.append("recovered", about, true)?;
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
    /// [`crate::base::error::Kind::Denied`] with exit code 8 where the log is not the file that this run left, otherwise what
    /// the system says.
    pub fn begin(&mut self, intent: &Intent<'_>) -> Result<Permit> {
        if let Some(what) = self.disturbance()? {
            return Err(Error::denied(what)
                .hint("nothing more is done without a record; look at `.rollback/audit`, then `rollback audit verify`")
                .exiting(ExitCode::Corrupt));
        }
        let about = json!({
            "n": intent.n, "story": intent.story, "phase": intent.phase, "step": intent.step,
            "op": intent.op, "target": intent.target, "summary": intent.summary,
            "risk": intent.risk, "undo": without_secrets(intent.undo),
        });
        self.append("operation_begun", about, true)?;
        trace!(seq = self.head().seq, "intent is on the disk");
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
        let recorded = match outcome {
            Ok(why) => self.append(
                "operation_finished",
                json!({ "n": n, "begun": begun, "why": why }),
                false,
            ),
            Err(error) => self.append(
                "operation_failed",
                json!({ "n": n, "begun": begun, "kind": error.kind().name(), "message": error.message() }),
                false,
            ),
        };
        recorded.map_err(|error| {
            error
                .context("the operation came to its end, and its outcome is not recorded")
                .after_changes()
        })
    }

    /// Records a refusal.
    ///
    /// # Errors
    /// What the system says.
    pub fn denied(&mut self, n: u32, story: &str, op: &str, target: &str, error: &Error) -> Result<()> {
        let about = json!({
            "n": n, "story": story, "op": op, "target": target, "message": error.message(),
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
            json!({ "question": question, "answer": answer }),
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

    /// The last record that is on the disk: one that a power cut can take is nothing to hold the log against.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        let (seq, hash) = &self.durable;
        AuditHead {
            log_id: self.log_id.clone(),
            seq: *seq,
            hash: record::hex(hash),
        }
    }

    /// Speaks for another run from here on: an undo settles what a cut left before it begins.
    pub fn speak_for(&mut self, run: &str) {
        run.clone_into(&mut self.run);
    }

    /// What happened to the file of the log under this run, if anything did. From then on the records go to a file
    /// beside it, which begins with those that this run wrote or found: nothing is added to a log that somebody else
    /// wrote, and nothing of ours is lost.
    ///
    /// # Errors
    /// What the system says where the records can't be kept.
    pub fn disturbance(&mut self) -> Result<Option<String>> {
        if self.kept.is_none()
            && let Some(what) = self.disturbed()
        {
            self.keep(what)?;
        }
        Ok(self.kept.as_ref().map(|(what, place)| {
            format!("the audit log {what} while this run went on; what was recorded is kept in `{place}`")
        }))
    }

    /// Whether the log is still the same file at the same path, as long as we left it.
    fn disturbed(&self) -> Option<&'static str> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if (metadata.dev(), metadata.ino()) != self.identity => Some("was replaced"),
            Ok(metadata) if metadata.len() != self.length => Some("was changed"),
            Ok(_) => None,
            Err(_) => Some("has gone"),
        }
    }

    fn keep(&mut self, what: &'static str) -> Result<()> {
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}.kept-{}.jsonl", self.run);
        let path = self.path.with_file_name(&name);
        let mut file = self.records.append(&path)?;
        let failed = |error: std::io::Error| Error::io("keep the audit log", &error);
        let mut block = vec![0; 1 << 16];
        let mut at = 0;
        // What stands behind our own last byte was written by somebody else.
        while at < self.length {
            let read = self.file.read_at(&mut block, at).map_err(failed)?;
            let left = usize::try_from(self.length - at).unwrap_or(usize::MAX);
            let Some(own @ [_, ..]) = block.get(..read.min(left)) else {
                break;
            };
            file.write_all(own).map_err(failed)?;
            at += own.len() as u64;
        }
        file.sync_all().map_err(failed)?;
        (self.identity, self.length) = look(&file)?;
        self.file = file;
        self.path = path;
        self.kept = Some((what, format!(".rollback/audit/{name}")));
        Ok(())
    }

    fn append(&mut self, event: &str, mut about: Value, durable: bool) -> Result<()> {
        self.disturbance()?;
        // An undo must stay as it is to be of use: it holds names, and contents by their hash.
        let undo = about.get_mut("undo").map(Value::take);
        redact_value(&mut about);
        if let (Some(undo), Some(place)) = (undo, about.get_mut("undo")) {
            *place = undo;
        }
        if self.segment_records >= SEGMENT_RECORDS && self.kept.is_none() {
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
        record.insert("prev".to_owned(), json!(record::hex(&self.hash)));
        let (line, hash) = record::seal(record);
        if line.len() > record::LINE_LIMIT {
            return Err(
                Error::limit("a record of the audit log would be longer than 4 MiB")
                    .hint("nothing is done that cannot be recorded; ask for less at a time"),
            );
        }
        if self.unsure {
            return Err(cannot_write(&"the disk failed to confirm an earlier record"));
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            // Half a line must not stand before the next record.
            let _ = crate::records::cut(&self.file, self.length);
            return Err(cannot_write(&error));
        }
        self.length += line.len() as u64;
        self.sequence += 1;
        self.segment_records += 1;
        self.hash = hash;
        if durable {
            self.file.sync_data().map_err(|error| {
                // After a failed sync the system may report the same bytes as written the next time.
                self.unsure = true;
                cannot_write(&error)
            })?;
            self.durable = (self.sequence, self.hash);
            self.write_head()?;
            // A log of more than one record without a head is not continued, so the first head is on the disk before them.
            if self.sequence == 1 {
                self.head_file.sync_data().map_err(|error| cannot_write(&error))?;
            }
        }
        Ok(())
    }

    fn write_head(&self) -> Result<()> {
        self.head_file
            .write_all_at(segments::head_text(&self.head()).as_bytes(), 0)
            .map_err(|error| cannot_write(&error))
    }

    fn rotate(&mut self) -> Result<()> {
        let number = segments::number(&self.path).unwrap_or(1) + 1;
        let name = segments::segment_name(number);
        self.put("rotated", json!({ "next": name }), true)?;
        let directory = self.records.state().join("audit");
        self.path = directory.join(name);
        self.file = self.records.append(&self.path)?;
        (self.identity, self.length) = look(&self.file)?;
        self.segment_records = 0;
        sync_directory(&directory)
    }
}

fn cannot_write(why: &dyn std::fmt::Display) -> Error {
    Error::failed(format!("cannot write the audit log: {why}"))
        .hint("nothing is done that cannot be recorded; leave room on the disk")
}

/// The identity of a file, and its length.
fn look(file: &File) -> Result<((u64, u64), u64)> {
    let metadata = file
        .metadata()
        .map_err(|error| Error::io("look at the audit log", &error))?;
    Ok(((metadata.dev(), metadata.ino()), metadata.len()))
}

/// A command that takes an operation back is written down only if it names no secret: masked, it could not be run.
fn without_secrets(undo: &Undo) -> std::borrow::Cow<'_, Undo> {
    match undo {
        Undo::Command { argv, .. } if redact(&argv.join(" ")) != argv.join(" ") => {
            std::borrow::Cow::Owned(Undo::Nothing {
                why: "the command that takes it back names a secret, which is not written down".to_owned(),
            })
        }
        _ => std::borrow::Cow::Borrowed(undo),
    }
}

fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::io("bring the audit directory to the disk", &error))
}

#[cfg(test)]
mod tests;

/// The proof that an operation passed.
pub mod permit;

//! What the monitor keeps on disk: how far each log was read, together with what was counted from it, so that nothing is
//! counted twice; what was done; the rollback at work.
//!
//! On disk: `.rollback/monitor/state.json`, replaced as a whole; `.rollback/monitor/lock`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Memory;
use super::follow::Position;
use crate::base::error::Result;
use crate::records::Records;

/// The version of the file.
const VERSION: u32 = 1;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// A rollback that was begun: written before it starts, so that it is never started a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its mark: stands at the end of the run's reason.
    pub id: String,
    /// When, in ms.
    pub at: i64,
    /// The story.
    pub story: String,
    /// The trigger.
    pub trigger: String,
    /// The service.
    pub service: Option<String>,
    /// The numbers.
    pub why: String,
}

/// What is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    /// Version of the format.
    pub version: u32,
    /// Metrics and what was done.
    pub memory: Memory,
    /// How far each log was read.
    pub positions: Vec<Position>,
    /// The processes of each service: number and start.
    pub processes: BTreeMap<String, Vec<(i32, u64)>>,
    /// The rollback at work.
    pub attempt: Option<Attempt>,
}

/// What became of reading it.
#[derive(Debug)]
pub enum Loaded {
    /// There is none yet.
    Absent,
    /// It can't be used, and why.
    Damaged(String),
    /// It is there.
    State(Box<State>),
}

/// Where it is kept.
#[derive(Debug, Clone)]
pub struct Store {
    records: Records,
    directory: PathBuf,
}

impl Store {
    /// The store of a workspace.
    #[must_use]
    pub fn of(records: &Records) -> Self {
        Self {
            directory: records.state().join("monitor"),
            records: records.clone(),
        }
    }

    /// Makes this program the one that watches; `None` where another one does.
    ///
    /// # Errors
    /// What the system says: a read-only workspace.
    pub fn lock(&self) -> Result<Option<File>> {
        // Not `prepare`: it sweeps what a run at work may be writing.
        self.records.directory(&self.directory)?;
        let ignore = self.records.state().join(".gitignore");
        if std::fs::symlink_metadata(&ignore).is_err() {
            self.records.write(&ignore, b"*\n")?;
        }
        let lock = self.records.lock(&self.directory.join("lock"))?;
        if lock.is_some() {
            self.records.sweep(&self.directory)?;
        }
        Ok(lock)
    }

    /// Reads it.
    #[must_use]
    pub fn load(&self) -> Loaded {
        let path = self.directory.join("state.json");
        let text = match crate::workspace::contents(&path, LARGEST) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Loaded::Absent,
            Err(error) => return Loaded::Damaged(error.to_string()),
            Ok(text) => text,
        };
        match serde_json::from_slice::<State>(&text) {
            Err(error) => Loaded::Damaged(error.to_string()),
            Ok(state) if state.version != VERSION => Loaded::Damaged(format!(
                "its version is {}, and {VERSION} is known",
                state.version
            )),
            Ok(state) => Loaded::State(Box::new(state)),
        }
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(
        &self,
        memory: &Memory,
        positions: &[Position],
        processes: &BTreeMap<String, Vec<(i32, u64)>>,
        attempt: Option<&Attempt>,
    ) -> Result<()> {
        #[derive(Serialize)]
        struct Kept<'a> {
            version: u32,
            memory: &'a Memory,
            positions: &'a [Position],
            processes: &'a BTreeMap<String, Vec<(i32, u64)>>,
            attempt: Option<&'a Attempt>,
        }
        let kept = Kept {
            version: VERSION,
            memory,
            positions,
            processes,
            attempt,
        };
        let text = serde_json::to_vec(&kept).map_err(|error| {
            crate::base::error::Error::bug(format!("the state can't be written: {error}"))
        })?;
        self.records.write(&self.directory.join("state.json"), &text)
    }
}

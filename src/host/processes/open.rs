//! What processes have open, read in one go: a preview asks many times about the same moment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::holders::{Access, mapped};
use super::table::{Seen, Table};
use crate::error::Result;

/// The open files of every process but this one, as of one moment.
#[derive(Debug)]
pub struct OpenFiles {
    processes: BTreeMap<i32, Opened>,
}

/// What one process has open.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its command line.
    pub command: Vec<OsString>,
    /// Its files.
    pub files: Vec<OpenFile>,
}

/// One open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    /// As the process names it.
    pub path: PathBuf,
    /// Device and inode.
    pub identity: Option<(u64, u64)>,
    /// How it is open.
    pub via: Via,
}

/// How a file is open.
#[derive(Debug)]
pub(super) enum Via {
    /// By the descriptor of this number.
    Descriptor(String),
    /// By a mapping into memory.
    Mapping(Access),
}

impl OpenFiles {
    /// Looks at every process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn look() -> Result<Self> {
        let table = Table::open()?;
        let others = Table::pids()?.into_iter().filter(|pid| !table.is_own(*pid));
        let processes = others
            .filter_map(|pid| Some((pid, Opened::of(&Seen::open(pid)?))))
            .collect();
        Ok(Self { processes })
    }

    /// Every process with what it has open, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &Opened)> {
        self.processes.iter().map(|(pid, opened)| (*pid, opened))
    }

    /// What one process has open.
    pub(super) fn of(&self, pid: i32) -> Option<&Opened> {
        self.processes.get(&pid)
    }
}

impl Opened {
    /// Looks at one process. Nothing where we may not inspect it.
    pub fn of(seen: &Seen) -> Self {
        let mut files = Vec::new();
        for number in seen.list("fd").unwrap_or_default() {
            let Ok(number) = number.into_string() else {
                continue;
            };
            let link = format!("fd/{number}");
            if let Some(path) = seen.path(&link) {
                files.push(OpenFile {
                    path,
                    identity: seen.identity(&link),
                    via: Via::Descriptor(number),
                });
            }
        }
        files.extend(mapped(seen));
        Self {
            command: seen.command().to_vec(),
            files,
        }
    }
}

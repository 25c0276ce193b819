//! What processes have open, read in one go: a preview asks many times about the same moment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::in_use::{Access, mapped};
use super::table::{Seen, Table};
use crate::base::error::{Error, Result};

/// Threads that look at processes at the same time.
const MOST_THREADS: usize = 8;

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
    /// Its working directory, read when it is first asked for.
    cwd: OnceLock<Option<PathBuf>>,
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
        let others: Vec<i32> = Table::pids()?
            .into_iter()
            .filter(|pid| !table.is_own(*pid))
            .collect();
        let look = |pids: &[i32]| -> Vec<(i32, Opened)> {
            let look = |pid: &i32| Some((*pid, Opened::of(&Seen::open(*pid)?)));
            pids.iter().filter_map(look).collect()
        };
        // Nearly all of it is time in the kernel, process by process.
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS));
        let share = others.len().div_ceil(threads).max(1);
        let processes = std::thread::scope(|scope| {
            let looking: Vec<_> = others
                .chunks(share)
                .map(|pids| scope.spawn(move || look(pids)))
                .collect();
            looking
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .map_err(|_| Error::bug("a look at processes came to grief"))
                })
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(Self {
            processes: processes.into_iter().flatten().collect(),
        })
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
            cwd: OnceLock::new(),
            files,
        }
    }

    /// Its working directory, by the name that it has for us.
    pub fn cwd(&self, pid: i32, table: &Table) -> Option<&Path> {
        let read = || table.path(&Seen::open(pid)?, "cwd");
        self.cwd.get_or_init(read).as_deref()
    }
}

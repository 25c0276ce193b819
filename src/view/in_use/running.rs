//! What still runs after a story was rolled back: asked for by what names its services, and, another way, by what went.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::processes::{self, Found, Keeper, Process, Query, Witnesses};
use crate::host::sight::Look;
use crate::view::View;
use crate::workspace::story::{entries, texts};

impl View {
    /// Processes that match one of the queries. Unknown where none does, and one that nearly does may be meant all the same:
    /// a pid file that can't be read, a command line that was written over.
    ///
    /// # Errors
    /// As [`View::processes`].
    pub fn still_running(&self, queries: &[Query]) -> Result<Known<Vec<Process>>> {
        let mut all = Found::default();
        for found in self.found_of_any(queries)? {
            for process in found.processes {
                if !all.processes.contains(&process) {
                    all.processes.push(process);
                }
            }
            all.passed_over.extend(found.passed_over);
        }
        let mut doubts: Vec<String> = Vec::new();
        for passed in all.passed_over.iter().filter(|passed| passed.doubtful) {
            let rendered = passed.rendered();
            if !doubts.contains(&rendered) {
                doubts.push(rendered);
            }
        }
        Ok(if all.processes.is_empty() && !doubts.is_empty() {
            Known::Unknown(doubts.join("; "))
        } else {
            Known::Yes(all.processes)
        })
    }

    /// As [`View::still_running`]; a real pass goes on looking for `settle`, because what restarts a service takes its time.
    ///
    /// # Errors
    /// As there; [`crate::base::error::Kind::Cancelled`] where a signal came meanwhile.
    pub fn running_after(&self, queries: &[Query], settle: Duration) -> Result<Known<Vec<Process>>> {
        let settle = if self.errand.preview || queries.is_empty() {
            Duration::ZERO
        } else {
            settle
        };
        let mut last = Known::Yes(Vec::new());
        let seen = processes::watch(settle, &self.host.cancelled, &mut || {
            last = self.still_running(queries)?;
            Ok(matches!(&last, Known::Yes(running) if !running.is_empty()).then(|| last.clone()))
        })?;
        Ok(seen.unwrap_or(last))
    }

    /// Who still has to do with absolute paths that went: give where they were, and where they are now. Those that are
    /// pretended to have ended don't count.
    ///
    /// # Errors
    /// What the system says.
    pub fn witnesses(&self, gone: &[PathBuf]) -> Result<Witnesses> {
        self.look(Look::Processes, "who still has to do with what went")?;
        let all = self.host.broker.witnesses(gone, self.moment()?);
        let mut all = all.map_err(Error::of_looking)?;
        all.found.retain(|witness| {
            let process = &witness.process;
            !self.overlay().has_ended(process.pid, process.started_ticks)
        });
        Ok(all)
    }

    /// Who would start each of these processes again, where they end together.
    ///
    /// # Errors
    /// What the system says.
    pub fn keepers(&self, processes: &[Process]) -> Result<Vec<Option<Keeper>>> {
        let ending: Vec<(i32, u64)> = processes
            .iter()
            .map(|process| (process.pid, process.started_ticks))
            .collect();
        if processes.is_empty() {
            return Ok(Vec::new());
        }
        self.look(Look::Processes, "who keeps the processes")?;
        let scope = self.scope();
        let keeper = |process| {
            let keeper = self.host.broker.keeper(process, &scope, ending.clone());
            keeper.map_err(Error::of_looking)
        };
        processes.iter().map(keeper).collect()
    }

    /// The living process that a pid file names, unless it is pretended to have ended; unknown where the file can't tell.
    ///
    /// # Errors
    /// What the system says.
    pub fn named_by(&self, file: &std::path::Path) -> Result<Known<Option<Process>>> {
        let Some(real) = self.real(file) else {
            return Ok(Known::Yes(None));
        };
        self.look(Look::Processes, file.display())?;
        let named = self.host.broker.named_by(&real).map_err(Error::of_looking)?;
        Ok(named.map(|process| {
            process.filter(|process| !self.overlay().has_ended(process.pid, process.started_ticks))
        }))
    }

    /// The pid files of the story at hand that name one of these processes: it may remove its own when it ends.
    ///
    /// # Errors
    /// What the system says.
    pub fn pid_files_of(&self, processes: &[&Process]) -> Result<Vec<PathBuf>> {
        let Some(story) = self.story.borrow().clone() else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        for service in entries(&story.script.header, "services") {
            for file in texts(&service, "pid_file") {
                let Ok(place) = self.workspace.place(&file) else {
                    continue;
                };
                let named = self.named_by(&place.absolute)?;
                let is_named = |process: &&Process| {
                    matches!(&named, Known::Yes(Some(named)) if (named.pid, named.started_ticks)
                        == (process.pid, process.started_ticks))
                };
                if processes.iter().any(is_named) {
                    files.push(place.absolute);
                }
            }
        }
        Ok(files)
    }

    /// Whether a process runs a file that the story at hand owns: a script that was given to an interpreter, or its program.
    ///
    /// # Errors
    /// What the system says.
    pub fn runs_part(&self, process: &Process) -> Result<bool> {
        let Some(story) = self.story.borrow().clone() else {
            return Ok(false);
        };
        for part in texts(&story.script.header, "files") {
            for place in self.standing(&part)? {
                let mut runs = process.script.iter().chain(&process.executable);
                if runs.any(|path| path.starts_with(&place.absolute)) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

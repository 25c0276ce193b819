//! A live service of story 1.3, which holds its database open, and pid files that lie for all other services.

#![expect(
    clippy::disallowed_methods,
    reason = "the demo writes a new throw-away workspace of its own, never the user's"
)]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::deployed::{Group, deployed};

const LIVE_PID_FILE: &str = "logs/duckdb.pid";
const LIVE_DATABASE: &str = ".duckdb/analytics.db";

/// Above the highest number that Linux gives to a process.
const PID_MAX_LIMIT: u32 = 4_194_304;

/// The services of a demo workspace. Dropping it ends the live one.
#[derive(Debug)]
pub struct Services {
    live: Child,
    stale: usize,
}

impl Services {
    /// The number of the live process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.live.id()
    }

    /// How many pid files name a process that does not exist.
    #[must_use]
    pub fn stale(&self) -> usize {
        self.stale
    }

    /// Whether the live process still runs. One that has ended leaves the process table here.
    pub fn is_running(&mut self) -> bool {
        matches!(self.live.try_wait(), Ok(None))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // Both fail only for a process that is gone, which is what we want.
        let _ = self.live.kill();
        let _ = self.live.wait();
    }
}

/// Starts the service of story 1.3 in the workspace `root`, in a process group of its own, and writes the pid files
/// of all stories: a true one for it, stale ones for the others.
///
/// The service is `cat` on a pipe of ours: it ends by itself when this program does, however that happens.
pub(super) fn start(root: &Path) -> Result<Services> {
    let database = root.join(LIVE_DATABASE);
    let open = std::fs::OpenOptions::new()
        .append(true)
        .open(&database)
        .with_context(|| format!("open `{}`", database.display()))?;
    let live = Command::new("cat")
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(open)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("start `cat` as the service of story 1.3")?;

    let mut services = Services { live, stale: 0 };
    write_pid(root, LIVE_PID_FILE, services.pid())?;
    let entries = deployed()?;
    let others = entries
        .iter()
        .filter(|entry| entry.group == Group::PidFile && entry.path != LIVE_PID_FILE);
    for (entry, number) in others.zip(PID_MAX_LIMIT + 1..) {
        write_pid(root, &entry.path, number)?;
        services.stale += 1;
    }
    Ok(services)
}

fn write_pid(root: &Path, path: &str, pid: u32) -> Result<()> {
    let path = root.join(path);
    std::fs::write(&path, format!("{pid}\n")).with_context(|| format!("write `{}`", path.display()))
}

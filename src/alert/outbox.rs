//! `.rollback/outbox/`: one file for each alert and channel, replaced as a whole; beside them a channel's quota and locks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::entry::{Entry, State};
use super::quota::Quota;
use crate::base::error::{Error, Result};
use crate::records::Records;

/// The directory, below `.rollback`.
const DIRECTORY: &str = "outbox";

/// The largest file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// How the name of a file ends that was set aside.
const ASIDE: &str = ".unreadable";

/// Given-up alerts that are kept at most.
const KEEP_DEAD: usize = 1_000;

/// How long the lock of the outbox is waited for: whoever holds it writes a few small files.
const PATIENCE: Duration = Duration::from_secs(2);

/// How old a half-written file is before it counts as left behind.
const LEFT_BEHIND: Duration = Duration::from_hours(1);

/// The outbox of a workspace.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    records: Records,
    directory: PathBuf,
}

impl Outbox {
    /// The outbox. Nothing is made yet.
    pub(crate) fn of(records: &Records) -> Self {
        Self {
            records: records.clone(),
            directory: records.state().join(DIRECTORY),
        }
    }

    /// Makes the directory.
    pub(crate) fn prepare(&self) -> Result<()> {
        self.records.make_state()?;
        self.records.directory(&self.directory)
    }

    /// Keeps other processes from counting at the same time. Where the lock can't be had in time, the counting may be
    /// off by one: no reason to hold a run up.
    pub(crate) fn lock(&self) -> Option<File> {
        let file = self.records.in_place(&self.directory.join(".lock")).ok()?;
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(std::fs::TryLockError::Error(_)) => return None,
            Err(std::fs::TryLockError::WouldBlock) => {}
        }
        let (locked, wait) = channel();
        std::thread::Builder::new()
            .name("outbox-lock".to_owned())
            .spawn(move || {
                if file.lock().is_ok() {
                    // Nobody waits any more after the deadline; then it is free again.
                    let _ = locked.send(file);
                }
            })
            .ok()?;
        wait.recv_timeout(PATIENCE).ok()
    }

    /// Keeps other processes from delivering to a channel; `None` while one does.
    pub(crate) fn lock_channel(&self, name: &str) -> Result<Option<File>> {
        let path = self.directory.join(format!("{}.lock", plain(name)));
        let file = self.records.in_place(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(Error::io("lock the outbox", &error)),
        }
    }

    /// Writes an entry, durably.
    pub(crate) fn store(&self, entry: &Entry) -> Result<()> {
        let text = serde_json::to_string(entry).map_err(|error| Error::bug(error.to_string()))?;
        self.records
            .write(&self.directory.join(&entry.file), text.as_bytes())
    }

    /// An entry, if it is still there and can be read.
    pub(crate) fn read(&self, file: &str) -> Option<Entry> {
        let text = text(&self.directory.join(file))?;
        let mut entry: Entry = serde_json::from_str(&text).ok()?;
        file.clone_into(&mut entry.file);
        // A channel's name is part of file names.
        (entry.version == 1 && plain(&entry.channel) == entry.channel).then_some(entry)
    }

    /// Removes an entry.
    pub(crate) fn remove(&self, entry: &Entry) -> Result<()> {
        self.records.remove(&self.directory.join(&entry.file))
    }

    /// All entries in order, and the names of files that can't be read.
    pub(crate) fn list(&self) -> Result<(Vec<Entry>, Vec<String>)> {
        let listed = match std::fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok((Vec::new(), Vec::new()));
            }
            listed => listed.map_err(|error| Error::io("read `.rollback/outbox`", &error))?,
        };
        let mut names: Vec<String> = listed
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        let (mut entries, mut unreadable) = (Vec::new(), Vec::new());
        for name in names {
            if name.ends_with(ASIDE) {
                unreadable.push(display(&name));
            } else if is_entry(&name) {
                match self.read(&name) {
                    Some(entry) => entries.push(entry),
                    // Another process may have removed it meanwhile.
                    None if self.directory.join(&name).symlink_metadata().is_err() => {}
                    None => unreadable.push(display(&name)),
                }
            }
        }
        Ok((entries, unreadable))
    }

    /// Sets a file aside that can't be read, unless it was already; gives its new name.
    pub(crate) fn set_aside(&self, file: &str) -> Result<Option<String>> {
        let Some(name) = Path::new(file).file_name().and_then(|name| name.to_str()) else {
            return Ok(None);
        };
        if name.ends_with(ASIDE) {
            return Ok(None);
        }
        let aside = format!("{name}{ASIDE}");
        self.records
            .rename(&self.directory.join(name), &self.directory.join(&aside))?;
        Ok(Some(display(&aside)))
    }

    /// What a channel was given of late. One that can't be read counts from the beginning.
    pub(crate) fn quota(&self, channel: &str) -> Quota {
        text(&self.quota_path(channel))
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    /// Keeps what a channel was given.
    pub(crate) fn store_quota(&self, channel: &str, quota: &Quota) -> Result<()> {
        let text = serde_json::to_string(quota).map_err(|error| Error::bug(error.to_string()))?;
        self.records.write(&self.quota_path(channel), text.as_bytes())
    }

    /// Removes sent alerts but for the newest, given-up ones that are too many, and what a cut left half written.
    pub(crate) fn prune(&self, keep_sent: usize) -> Result<()> {
        let (entries, _) = self.list()?;
        for (state, keep) in [(State::Sent, keep_sent), (State::Dead, KEEP_DEAD)] {
            let settled: Vec<&Entry> = entries.iter().filter(|entry| entry.state == state).collect();
            let many = settled.len().saturating_sub(keep);
            for entry in settled.into_iter().take(many) {
                self.remove(entry)?;
            }
        }
        self.records.sweep_older(&self.directory, LEFT_BEHIND)
    }

    fn quota_path(&self, channel: &str) -> PathBuf {
        self.directory.join(format!("{}.quota", plain(channel)))
    }
}

/// A file of the outbox, for people.
fn display(name: &str) -> String {
    format!(".rollback/{DIRECTORY}/{name}")
}

fn is_entry(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "json")
}

/// A name that can be part of a file's name.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(40)
        .collect()
}

/// The text of a plain file of ours.
fn text(path: &Path) -> Option<String> {
    let metadata = path.symlink_metadata().ok()?;
    metadata
        .is_file()
        .then(|| crate::workspace::text(path, LIMIT).ok())
        .flatten()
}

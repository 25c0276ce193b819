//! The program's own records: audit log, run records, reports, alerts on their way, what the monitor keeps, lines of
//! `logs/`. They need no permit, because a permit rests on them; in exchange `Records` reach nothing but `.rollback/`,
//! `rollback_reports/` and `logs/`. Beside them stands `create_new`, for `init` and `script new`: it makes new files at
//! other paths, and never replaces one.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place that writes the program's own records"
)]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, OFlags};

use crate::base::error::{Error, Result};
use crate::workspace::{REPORTS, STATE, Workspace};

/// How the names of files begin that are not yet records.
const TEMPORARY: &str = ".rollback-";

/// Free bytes and inodes without which no records are begun: those of one short run.
const NEW_RECORDS: (u64, u64) = (16 << 10, 8);

/// Those without which no lines are appended.
const NEW_LINES: (u64, u64) = (4 << 10, 0);

/// Where the program writes its own records.
#[derive(Debug, Clone)]
pub struct Records {
    root: PathBuf,
}

impl Records {
    /// The records of a workspace. Nothing is made yet.
    #[must_use]
    pub fn of(workspace: &Workspace) -> Self {
        Self {
            root: workspace.root().to_path_buf(),
        }
    }

    /// `.rollback`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    /// Makes `.rollback/` with its own `.gitignore`.
    ///
    /// # Errors
    /// What the system says: a read-only workspace, no room.
    pub fn prepare(&self) -> Result<()> {
        self.make_state()?;
        self.close_state()?;
        self.sweep(&self.state())?;
        self.sweep(&self.root.join(REPORTS))
    }

    /// Others may neither read nor enter `.rollback/`, whatever became of its mode.
    fn close_state(&self) -> Result<()> {
        let state = self.state();
        let close = || -> std::io::Result<()> {
            let directory = OpenOptions::new()
                .read(true)
                .custom_flags(unwaiting())
                .open(&state)?;
            let mode = directory.metadata()?.mode();
            if mode & 0o077 != 0 {
                directory.set_permissions(std::fs::Permissions::from_mode(mode & 0o7700))?;
            }
            Ok(())
        };
        match close() {
            // A file system without modes of its own, or somebody else's directory: whose word counts is asked elsewhere.
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                Ok(())
            }
            closed => closed.map_err(|error| self.failed("close to others", &state, &error)),
        }
    }

    /// Makes `.rollback/` with its own `.gitignore`, and leaves what is there alone: for whoever doesn't hold the
    /// workspace.
    ///
    /// # Errors
    /// As [`Records::prepare`].
    pub fn make_state(&self) -> Result<()> {
        self.directory(&self.state())?;
        self.directory(&self.root.join(crate::workspace::TEMPORARY))?;
        let ignore = self.state().join(".gitignore");
        if std::fs::symlink_metadata(&ignore).is_err() {
            self.write(&ignore, b"*\n")?;
        }
        Ok(())
    }

    /// Removes temporaries that a cut left in a directory of records long ago: no other process is still at them.
    ///
    /// # Errors
    /// What the system says.
    pub fn sweep_older(&self, directory: &Path, age: std::time::Duration) -> Result<()> {
        self.sweep_which(directory, |metadata| {
            metadata
                .modified()
                .is_ok_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed > age))
        })
    }

    /// Removes temporaries that a cut left in a directory of records; the caller holds the workspace.
    ///
    /// # Errors
    /// What the system says.
    pub fn sweep(&self, directory: &Path) -> Result<()> {
        self.sweep_which(directory, |_| true)
    }

    fn sweep_which(&self, directory: &Path, which: impl Fn(&std::fs::Metadata) -> bool) -> Result<()> {
        self.ours(directory)?;
        let Ok(entries) = std::fs::read_dir(directory) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let is_temporary = entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes());
            let goes = |metadata: &std::fs::Metadata| metadata.is_file() && which(metadata);
            if is_temporary && entry.metadata().is_ok_and(|metadata| goes(&metadata)) {
                self.unlink(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes a directory of ours, and its parents, durably, for this user alone; `logs/` for the group too, whose programs
    /// write there.
    ///
    /// # Errors
    /// What the system says.
    pub fn directory(&self, path: &Path) -> Result<()> {
        self.ours(path)?;
        let mode = if self.is_shared(path) { 0o750 } else { 0o700 };
        let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .and_then(|()| missing.iter().rev().try_for_each(|made| sync_name(made)))
            .map_err(|error| self.failed("make", path, &error))
    }

    /// Opens a record for appending whole lines, and reading; makes it, durably. Never follows a link.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, path: &Path) -> Result<File> {
        self.ours(path)?;
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let is_new = std::fs::symlink_metadata(path).is_err();
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(if self.is_shared(path) { 0o640 } else { 0o600 })
            .custom_flags(unwaiting())
            .open(path)
            .and_then(|file| {
                if is_new {
                    sync_name(path).map(|()| file)
                } else {
                    Ok(file)
                }
            });
        file.map_err(|error| self.failed("open", path, &error))
            .and_then(|file| self.plain(file, path))
    }

    /// A pipe or a device in the place of a record would be waited for, or take what was to be kept.
    fn plain(&self, file: File, path: &Path) -> Result<File> {
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(file);
        }
        let display = path.strip_prefix(&self.root).unwrap_or(path);
        Err(
            Error::denied(format!("`{}` is not a regular file", display.display()))
                .hint("records are only written into real files; move it aside"),
        )
    }

    /// Takes a lock that stands for as long as the file is held; `None` where another program has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn lock(&self, path: &Path) -> Result<Option<File>> {
        let file = self.append(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(self.failed("lock", path, &error)),
        }
    }

    /// Opens a small record that is overwritten in place; makes it. Never follows a link, and never takes a file that
    /// has a second name.
    ///
    /// # Errors
    /// What the system says; [`crate::base::error::Kind::Denied`] for what is no plain file of ours.
    pub fn in_place(&self, path: &Path) -> Result<File> {
        self.ours(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(unwaiting())
            .open(path)
            .map_err(|error| self.failed("open", path, &error))?;
        let plain = file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1);
        if plain {
            return Ok(file);
        }
        let display = path.strip_prefix(&self.root).unwrap_or(path);
        Err(
            Error::denied(format!("`{}` is no plain file with one name", display.display()))
                .hint("records are only written into real files; move it aside"),
        )
    }

    /// Replaces a record of ours atomically: temporary file, fsync, rename, fsync of the directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.ours(path)?;
        let parent = path.parent().unwrap_or(&self.root);
        self.directory(parent)?;
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::Builder::new()
                .prefix(TEMPORARY)
                .tempfile_in(parent)
                .map_err(|error| without_path(&error))?;
            file.as_file_mut().write_all(bytes)?;
            file.as_file().sync_data()?;
            file.persist(path)?;
            sync_name(path)
        };
        write().map_err(|error| self.failed("write", path, &error))
    }

    /// Removes a record of ours, durably: the mark of a run that has ended.
    ///
    /// # Errors
    /// What the system says; a record that is not there is no error.
    pub fn remove(&self, path: &Path) -> Result<()> {
        self.unlink(path)?;
        match sync_name(path) {
            // Nor is a directory that is not there.
            Err(error) if !is_absent(&error) => Err(self.failed("remove", path, &error)),
            _ => Ok(()),
        }
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.ours(path)?;
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.failed("remove", path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Gives a record of ours another name, durably.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.ours(from)?;
        self.ours(to)?;
        std::fs::rename(from, to)
            .and_then(|()| sync_name(to))
            .map_err(|error| self.failed("rename", from, &error))
    }

    /// Appends one whole line to a log that other programs append to as well.
    ///
    /// # Errors
    /// What the system says.
    pub fn append_line(&self, path: &Path, line: &str) -> Result<()> {
        let mut file = self.append(path)?;
        let mut bytes = line.replace(['\n', '\r'], " ").into_bytes();
        bytes.push(b'\n');
        file.write_all(&bytes)
            .and_then(|()| file.sync_data())
            .map_err(|error| self.failed("append to", path, &error))
    }

    /// Makes sure, without making anything, that a run could be recorded: what a real run would meet, a preview says.
    /// Nothing is done that can't be recorded.
    ///
    /// # Errors
    /// As [`Records::require_directory`].
    pub fn require_state(&self) -> Result<()> {
        ["audit", "runs", "tmp"]
            .iter()
            .try_for_each(|own| self.require_directory(&self.state().join(own)))
            .map_err(|error| error.context("no run can be recorded"))
    }

    /// Makes sure that records can be made in a directory, or the directory itself.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] for a link or something else in its place, where this user may not write, and where
    /// the disk is full.
    pub fn require_directory(&self, path: &Path) -> Result<()> {
        self.ours(&path.join(TEMPORARY))?;
        let mut nearest = path;
        loop {
            match std::fs::symlink_metadata(nearest) {
                Ok(metadata) if metadata.is_dir() => break,
                Ok(_) => return Err(self.no_place(nearest, "is no directory")),
                Err(error) if is_absent(&error) => nearest = nearest.parent().unwrap_or(&self.root),
                Err(error) => return Err(self.failed("look at", nearest, &error)),
            }
        }
        self.require_access(nearest, Access::WRITE_OK | Access::EXEC_OK)?;
        self.require_room(nearest, NEW_RECORDS)
    }

    /// Makes sure that lines can be appended to a file, or the file be made.
    ///
    /// # Errors
    /// As [`Records::require_directory`].
    pub fn require_appendable(&self, path: &Path) -> Result<()> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => {
                self.ours(path)?;
                self.require_access(path, Access::WRITE_OK | Access::READ_OK)?;
                self.require_room(path, NEW_LINES)
            }
            Ok(metadata) if metadata.is_symlink() => self.ours(&path.join(TEMPORARY)),
            Ok(_) => Err(self.no_place(path, "is no regular file")),
            Err(error) if is_absent(&error) => self.require_directory(path.parent().unwrap_or(&self.root)),
            Err(error) => Err(self.failed("look at", path, &error)),
        }
    }

    fn require_access(&self, path: &Path, access: Access) -> Result<()> {
        rustix::fs::accessat(rustix::fs::CWD, path, access, AtFlags::EACCESS).map_err(|error| {
            self.not_writable(path, error)
                .hint("nothing is done that cannot be recorded; make the workspace writable for this user")
        })
    }

    fn require_room(&self, path: &Path, (bytes, inodes): (u64, u64)) -> Result<()> {
        let state = rustix::fs::statvfs(path)
            .map_err(|error| self.failed("look at the file system of", path, &error.into()))?;
        let is_short = state.f_bavail.saturating_mul(state.f_frsize) < bytes
            || (state.f_files > 0 && state.f_favail < inodes);
        if is_short {
            return Err(self
                .not_writable(path, rustix::io::Errno::NOSPC)
                .hint("nothing is done that cannot be recorded; make room on the disk"));
        }
        Ok(())
    }

    fn not_writable(&self, path: &Path, error: rustix::io::Errno) -> Error {
        let display = match path.strip_prefix(&self.root) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside,
            _ => path,
        };
        Error::denied(format!(
            "cannot write `{}`: {}",
            display.display(),
            std::io::Error::from(error)
        ))
    }

    fn no_place(&self, path: &Path, what: &str) -> Error {
        let display = path.strip_prefix(&self.root).unwrap_or(path);
        Error::denied(format!("`{}` {what}", display.display()))
            .hint("nothing is done that cannot be recorded; move it aside")
    }

    /// Whether other programs read and write there too. What is there keeps the mode that it has.
    fn is_shared(&self, path: &Path) -> bool {
        path.starts_with(self.root.join(crate::workspace::LOGS))
    }

    fn ours(&self, path: &Path) -> Result<()> {
        let relative = path
            .strip_prefix(&self.root)
            .map_err(|_| Error::bug(format!("`{}` is not a place for records", path.display())))?;
        let own = [STATE, REPORTS, "logs"]
            .iter()
            .any(|own| relative.starts_with(own));
        let plain = relative
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if !own || !plain {
            return Err(Error::bug(format!(
                "`{}` is not a place for records",
                path.display()
            )));
        }
        // A planted link would lead our writes elsewhere.
        let mut walked = self.root.clone();
        for component in relative.components() {
            walked.push(component);
            if walked != path
                && std::fs::symlink_metadata(&walked).is_ok_and(|metadata| metadata.file_type().is_symlink())
            {
                return Err(
                    Error::denied(format!("`{}` is a symbolic link", walked.display()))
                        .hint("records are only written into real directories; remove the link"),
                );
            }
        }
        Ok(())
    }

    fn failed(&self, doing: &str, path: &Path, error: &std::io::Error) -> Error {
        let display = path.strip_prefix(&self.root).unwrap_or(path);
        Error::failed(format!("cannot {doing} `{}`: {error}", display.display())).hint(
            "nothing is done that cannot be recorded; make the workspace writable and leave room on the disk",
        )
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

/// Neither follows a link nor waits for the other end of a pipe.
fn unwaiting() -> i32 {
    i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0)
}

/// A file that `init` makes.
#[derive(Debug)]
pub struct NewFile<'a> {
    /// Relative to the directory.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Whether it can be run.
    pub executable: bool,
}

/// Makes new files in a directory that is to be a workspace; never replaces one.
///
/// # Errors
/// What the system says; [`crate::base::error::Kind::Exists`] where a file stands already.
pub fn create_new(directory: &Path, files: &[NewFile<'_>]) -> Result<()> {
    for file in files {
        let path = directory.join(file.path);
        let make = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            let mode = if file.executable { 0o755 } else { 0o644 };
            let mut made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path)?;
            made.write_all(file.text.as_bytes())?;
            made.sync_all()
        };
        make().map_err(|error| Error::io(format!("make `{}`", path.display()), &error))?;
    }
    Ok(())
}

/// Brings the name of a record, or that it is gone, to the disk.
fn sync_name(path: &Path) -> std::io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// What the system said, without the name of the temporary file: the same failure is the same text each time.
fn without_path(error: &std::io::Error) -> std::io::Error {
    error
        .get_ref()
        .and_then(|wrapped| wrapped.source()?.downcast_ref::<std::io::Error>()?.raw_os_error())
        .map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
}
/// Cuts a file of records off behind its last whole record.
///
/// # Errors
/// What the system says.
pub fn cut(file: &File, length: u64) -> std::io::Result<()> {
    file.set_len(length)
}

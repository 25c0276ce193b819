//! Files of the person's own, outside of any workspace, that nobody else may read: which directories are trusted, and
//! the log file that `--log-file` names.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::base::error::{Error, Result};

/// Replaces a file, readable by this user alone (0600, in directories of 0700 where they are made): temporary file, fsync,
/// rename, fsync of the directory.
///
/// # Errors
/// What the system says.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that writes files of the user's own"
)]
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)?;
        let mut file = tempfile::Builder::new().prefix(".trusted-").tempfile_in(parent)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::fs::File::open(parent)?.sync_all()
    };
    write().map_err(|error| Error::io(format_args!("write `{}`", path.display()), &error))
}

/// Opens a file for lines at its end; makes it (0600) where it is not there.
///
/// # Errors
/// `denied` for what is no regular file or can be read by others, a link included; what the system says.
pub fn append(path: &Path) -> Result<File> {
    let name = path.display();
    let failed = |error: &std::io::Error| Error::io(format_args!("write to `{name}`"), error);
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let open = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(open.map_err(|error| failed(&error.into()))?);
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(Error::denied(format!("`{name}` is no regular file")).hint("name a file for the log"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::denied(format!(
            "`{name}` can be read by others: its mode is {:04o}",
            metadata.mode() & 0o7777
        ))
        .hint(format!("`chmod 600 {name}`, or name a file that is not there")));
    }
    Ok(file)
}

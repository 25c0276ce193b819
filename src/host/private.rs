//! The one file that a person's own configuration directory holds of us: which directories are trusted. Nothing else is
//! written there.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

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

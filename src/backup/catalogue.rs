//! The backups that there are, told from the two ends of each manifest.

use std::path::Path;

use serde::Serialize;

use super::manifest;
use crate::base::error::{Kind, Result};
use crate::host::files::{EntryKind, Files};

/// A directory among the backups. Without a finished manifest it is not `complete`, and no backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The name of the directory.
    pub name: String,
    /// The directory; relative to the workspace (the first root) where it lies inside.
    pub path: String,
    /// What was backed up, as shown; empty where unknown.
    pub source: String,
    /// `directory` or `file`.
    pub kind: EntryKind,
    /// The story at hand; may be empty.
    pub story: String,
    /// The run that made it; empty where unknown.
    pub run: String,
    /// RFC 3339 in UTC; empty where unknown.
    pub created: String,
    /// Paths in it.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// `moved`, `copied`, `reflinked`; empty where unknown.
    pub method: String,
    /// Whether its manifest is there, with both ends.
    pub complete: bool,
    /// Why its manifest could not be read, where nobody can tell whether it is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// Whether its contents were compared with the manifest; a listing never does that.
    pub verified: Option<bool>,
}

/// The directories among the backups, sorted by name; none where there is no such place. Names that are not UTF-8 are
/// not ours and left out.
///
/// # Errors
/// What the system says of the place itself.
pub fn list(files: &Files, backups: &Path) -> Result<Vec<Listed>> {
    if files.stat(backups)?.is_none() {
        return Ok(Vec::new());
    }
    let mut listed = Vec::new();
    for (name, kind) in files.list(backups)? {
        if kind != EntryKind::Directory {
            continue;
        }
        let Some(text) = name.to_str() else { continue };
        // What `prune` was taking apart when it was cut off is no backup any more.
        if text.starts_with(crate::backup::ASIDE) {
            continue;
        }
        listed.push(describe(files, &backups.join(&name), text)?);
    }
    Ok(listed)
}

fn describe(files: &Files, directory: &Path, name: &str) -> Result<Listed> {
    let root = files.roots().next().unwrap_or_else(|| Path::new("/"));
    let mut listed = Listed {
        name: name.to_owned(),
        path: directory
            .strip_prefix(root)
            .unwrap_or(directory)
            .to_string_lossy()
            .into_owned(),
        source: String::new(),
        kind: EntryKind::Directory,
        story: String::new(),
        run: String::new(),
        created: String::new(),
        entries: 0,
        bytes: 0,
        method: String::new(),
        complete: false,
        unread: None,
        verified: None,
    };
    let (header, footer) = match manifest::ends(files, directory) {
        Ok(ends) => ends,
        // One bad directory must not hide the others.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => return Ok(listed),
        Err(error) if matches!(error.kind(), Kind::Invalid | Kind::Failed | Kind::Denied) => {
            listed.unread = Some(error.message().to_owned());
            return Ok(listed);
        }
        Err(error) => return Err(error),
    };
    listed.source = header.source;
    listed.kind = header.kind;
    listed.story = header.story;
    listed.run = header.run;
    listed.created = header.created;
    header.method.name().clone_into(&mut listed.method);
    if let Some(footer) = footer {
        listed.entries = footer.entries;
        listed.bytes = footer.bytes;
        listed.complete = true;
    }
    Ok(listed)
}

//! What a tree looked like when it was put away or made, small enough for the log: an undo compares it with what stands
//! there by then.

use std::path::PathBuf;

use crate::backup::MANIFEST;
use crate::base::error::{Kind, Result};
use crate::host::files::EntryKind;
use crate::report::undo::Portrait;
use crate::view::View;
use crate::workspace::Place;

/// What holds no more bytes in regular files, and no more of these that are not empty, is known by its contents, too: to put
/// away more stays a matter of names.
const CONTENTS: u64 = 1 << 20;
const FILES: usize = 1_000;

impl Portrait {
    /// Looks at a path; nothing where nothing stands there, or where others may still write to it.
    ///
    /// # Errors
    /// What the view says.
    pub fn of(view: &View, place: &Place) -> Result<Option<Self>> {
        let seen = Self::at_this_moment(view, place)?;
        Ok(seen.and_then(|(portrait, settled)| settled.then_some(portrait)))
    }

    /// As [`Portrait::of`], and whether nobody is known who may still write to it.
    ///
    /// # Errors
    /// What the view says.
    pub fn at_this_moment(view: &View, place: &Place) -> Result<Option<(Self, bool)>> {
        let top = &place.absolute;
        let Some(stat) = view.stat(top)? else {
            return Ok(None);
        };
        let mut portrait = Self {
            kind: stat.kind.name().to_owned(),
            entries: 0,
            bytes: 0,
            digest: String::new(),
            contents: None,
        };
        let mut settled = true;
        let mut files = Vec::new();
        let mut hasher = blake3::Hasher::new();
        view.walk_across(top, &mut |path, stat| {
            let inside = path.strip_prefix(top).unwrap_or(path);
            settled &= !view.own().is_unsettled(path);
            if stat.kind == EntryKind::Socket || inside == std::path::Path::new(MANIFEST) {
                return Ok(());
            }
            portrait.entries += 1;
            hasher.update(inside.as_os_str().as_encoded_bytes());
            // Who may not give files away loses set-id bits in a copy; a directory's time changes with what comes and goes.
            let mode = stat.mode & 0o1777;
            let seen = match stat.kind {
                EntryKind::Directory => format!("\0{} {mode:o}\n", stat.kind.name()),
                EntryKind::File => {
                    portrait.bytes = portrait.bytes.saturating_add(stat.size);
                    if stat.size > 0 && portrait.bytes <= CONTENTS && files.len() <= FILES {
                        files.push(path.to_path_buf());
                    }
                    format!("\0file {mode:o} {} {}\n", stat.size, stat.mtime_ns)
                }
                other => format!("\0{} {} {}\n", other.name(), stat.size, stat.mtime_ns),
            };
            hasher.update(seen.as_bytes());
            Ok(())
        })?;
        let is_small = portrait.bytes <= CONTENTS && files.len() <= FILES;
        if is_small && stat.kind == EntryKind::File {
            portrait.contents = digest(view, place)?;
        } else if is_small && !files.is_empty() {
            portrait.contents = digest_of_all(view, &files)?;
        }
        portrait.digest = hasher.finalize().to_hex().to_string();
        Ok(Some((portrait, settled)))
    }
}

/// The digest of a file; what may not be read is known from outside alone.
fn digest(view: &View, place: &Place) -> Result<Option<String>> {
    match view.digest(place) {
        Ok(digest) => Ok(Some(digest)),
        Err(error) if matches!(error.kind(), Kind::Cancelled | Kind::Limit) => Err(error),
        Err(_) => Ok(None),
    }
}

/// One digest of all files of a tree, in the order of the walk; nothing where one of them may not be read.
fn digest_of_all(view: &View, files: &[PathBuf]) -> Result<Option<String>> {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let Some(digest) = digest(view, &view.workspace.show(file))? else {
            return Ok(None);
        };
        hasher.update(digest.as_bytes());
    }
    Ok(Some(hasher.finalize().to_hex().to_string()))
}

//! Backups: directories `<name>_<YYYYMMDD_HHMMSS>` that hold the contents of what was backed up at their top level,
//! and beside them a manifest, `.rollback-manifest.jsonl`, which is written last: without it, it is no backup.

/// The backups that there are.
pub mod catalogue;

/// Comparing a tree with its manifest.
mod compare;

/// Links that lead out of a backup.
pub mod links;

/// What a backup holds, path by path.
pub mod manifest;

/// Putting a backup back.
pub mod restore;

/// What is kept, and what may go.
pub mod retention;

/// Making a backup, by moving or by copying.
pub mod retire;

/// Comparing a backup with its manifest.
pub mod verify;

#[cfg(test)]
mod tests;

use crate::base::error::{Error, Result};

/// How the name of something begins that a cut left half removed.
pub const ASIDE: &str = ".pruned-";

/// The file name of the manifest, in the backup's directory.
pub const MANIFEST: &str = ".rollback-manifest.jsonl";

const NAME_LIMIT: usize = 100;

/// The longest name that is made of a path.
const PLAIN_LIMIT: usize = 80;

/// A name for a backup's directory that is not taken: `<name>_<stamp>`, then `<name>_<stamp>_2`, and so on. `stamp` is
/// the local time as `YYYYMMDD_HHMMSS`.
///
/// # Errors
/// As [`check_name`]; what `taken` says; `Exists` where a thousand of that second are taken.
pub fn directory_name(name: &str, stamp: &str, taken: impl Fn(&str) -> Result<bool>) -> Result<String> {
    check_name(name)?;
    let first = format!("{name}_{stamp}");
    if !taken(&first)? {
        return Ok(first);
    }
    for number in 2..=1000 {
        let candidate = format!("{first}_{number}");
        if !taken(&candidate)? {
            return Ok(candidate);
        }
    }
    Err(Error::exists(format!(
        "no name is free for another backup `{first}`"
    )))
}

/// Makes sure that a name can be a backup's: letters, digits, `_`, `.` and `-`, the first a letter or digit, at most
/// 100 bytes.
///
/// # Errors
/// `Invalid`, with what is wrong.
pub fn check_name(name: &str) -> Result<()> {
    let fine = name.len() <= NAME_LIMIT
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|each| each.is_ascii_alphanumeric() || matches!(each, '_' | '.' | '-'));
    if fine {
        return Ok(());
    }
    Err(
        Error::invalid(format!("`{}` can't be the name of a backup", name.escape_debug()))
            .hint("use letters, digits, `_`, `.` and `-`, at most 100, and begin with a letter or digit"),
    )
}

/// A name for the backup of a path: its last name, without what such a name can't hold.
#[must_use]
pub fn plain_name(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain: String = name
        .chars()
        .map(|each| {
            if each.is_ascii_alphanumeric() || each == '-' {
                each
            } else {
                '_'
            }
        })
        .collect();
    let plain = plain.trim_matches(['_', '-']);
    let plain = plain.get(..PLAIN_LIMIT).unwrap_or(plain);
    if plain.is_empty() { "data" } else { plain }.to_owned()
}

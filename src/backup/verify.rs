//! Comparing what lies in a backup with what its manifest says.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::MANIFEST;
use super::compare::{Comparison, Contents, compare};
use super::manifest::{self, Digests, Footer, Reading, TOP};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::files::{Expect, Files, display};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The path in the backup, as shown; `.` is the top directory.
    pub path: String,
    /// What is wrong with it: "is missing", "has 5 bytes, not 6", ...
    pub what: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries of the manifest, the top directory not counted.
    pub entries: u64,
    /// Bytes of regular files, as in the manifest.
    pub bytes: u64,
    /// Files whose contents were compared.
    pub digests: u64,
    /// Every difference, missing and extra paths included; none is good.
    pub problems: Vec<Problem>,
}

impl Verified {
    /// An error that names the first differences, where there are any.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn sound(&self, directory: &Path) -> Result<()> {
        const NAMED: usize = 3;
        if self.problems.is_empty() {
            return Ok(());
        }
        let mut named: Vec<String> = self
            .problems
            .iter()
            .take(NAMED)
            .map(|problem| format!("`{}` {}", problem.path, problem.what))
            .collect();
        if let Some(more) = self.problems.len().checked_sub(NAMED).filter(|more| *more > 0) {
            named.push(format!("and {more} more"));
        }
        Err(Error::corrupt(format!(
            "backup `{}` differs from its manifest: {}",
            display(directory),
            named.join("; ")
        ))
        .hint(
            "`rollback backup verify` names every difference; take another backup, or its files one by one",
        ))
    }
}

/// Whose contents are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Nobody's.
    Structure,
    /// Those of one in so many files, chosen by their names: the same ones each time.
    Sample(u32),
    /// Everybody's.
    Full,
}

impl Depth {
    pub(super) fn reads(self, path: &Path) -> bool {
        match self {
            Self::Structure => false,
            Self::Full => true,
            Self::Sample(one_in) => {
                let digest = blake3::hash(path.as_os_str().as_encoded_bytes());
                let [first, second, ..] = *digest.as_bytes();
                u32::from(u16::from_le_bytes([first, second])) % one_in.max(1) == 0
            }
        }
    }
}

/// Compares types, sizes, modes, modification times, extended attributes and link targets; of the files that `depth`
/// reads the contents too, where the manifest has digests.
///
/// # Errors
/// `NotFound` without a manifest; `Corrupt` for one that can't be trusted or was cut short. Differences are no error.
pub fn verify(files: &Files, directory: &Path, depth: Depth) -> Result<Verified> {
    let (_, footer) = manifest::ends(files, directory)?;
    // What a sample reads is not known before.
    let known = footer.filter(|_| depth == Depth::Full);
    files.meter().begin(known.map_or(0, |footer| footer.bytes));
    let mut manifest = finished(files, directory)?;
    let comparison = Comparison {
        contents: Contents::Read(depth),
        owners: true,
        sockets: true,
    };
    compare(files, directory, &mut manifest, &comparison)
}

/// Adds the digests to the manifest of a backup that was made without.
///
/// # Errors
/// `Corrupt` where the backup is not what its manifest says.
pub fn seal(permit: &Permit, files: &Files, directory: &Path) -> Result<Footer> {
    let before = files.digest(&directory.join(MANIFEST))?;
    let verified = verify(files, directory, Depth::Full)?;
    verified.sound(directory)?;
    files.meter().begin(verified.bytes);
    let header = finished(files, directory)?.header().clone();
    let expect = Expect::Digest(before);
    manifest::make(permit, files, directory, &header, Digests::Computed, &expect)
}

/// The manifest of a finished backup, to be read.
pub(super) fn finished(files: &Files, directory: &Path) -> Result<Reading> {
    let (_, footer) = manifest::ends(files, directory)?;
    if footer.is_none() {
        return Err(cut_short(directory));
    }
    Reading::open(files, directory)
}

/// Whether a path of a backup is none of its own, by its manifest; and the modification time that the backup's directory
/// has without it, in nanoseconds, where the manifest tells.
///
/// # Errors
/// As [`verify`].
pub fn is_stray(files: &Files, directory: &Path, path: &Path) -> Result<(bool, Option<i64>)> {
    let mut manifest = Reading::open(files, directory)?;
    let mut time = None;
    while let Some(entry) = manifest.next()? {
        if entry.path == Path::new(TOP) {
            time = Some(entry.mtime_ns);
        }
        match entry.path.as_os_str().as_bytes().cmp(path.as_os_str().as_bytes()) {
            Ordering::Less => {}
            order => return Ok((order != Ordering::Equal, time)),
        }
    }
    Ok((true, time))
}

/// The footer of a manifest that was read to its end.
pub(super) fn footer_of<'a>(manifest: &'a Reading, directory: &Path) -> Result<&'a Footer> {
    manifest.footer().ok_or_else(|| cut_short(directory))
}

fn cut_short(directory: &Path) -> Error {
    Error::corrupt(format!(
        "the manifest of `{}` was cut short: it is not a whole backup",
        display(directory)
    ))
    .hint("look into it by hand, or take another")
}

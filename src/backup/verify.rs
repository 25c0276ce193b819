//! Comparing what lies in a backup with what its manifest says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::MANIFEST;
use super::manifest::{self, Entry, Footer, Manifest, TOP};
use crate::error::{Error, Result};
use crate::gate::Permit;
use crate::host::files::{EntryKind, Expect, Files, Step, Walked, shown};

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
            shown(directory),
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
    fn reads(self, path: &Path) -> bool {
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
    let manifest = finished(files, directory)?;
    let read = |walked: &Walked<'_>| {
        let wanted = depth.reads(walked.relative);
        wanted.then(|| walked.digest()).transpose()
    };
    compare(
        files,
        directory,
        &manifest,
        &Comparison {
            digest: &read,
            set_id: true,
        },
    )
}

/// Adds the digests to the manifest of a backup that was made without.
///
/// # Errors
/// `Corrupt` where the backup is not what its manifest says.
pub fn seal(permit: &Permit, files: &Files, directory: &Path) -> Result<Footer> {
    let before = files.digest(&directory.join(MANIFEST))?;
    let manifest = finished(files, directory)?;
    verify(files, directory, Depth::Full)?.sound(directory)?;
    let kind = manifest.header.kind;
    let entries = manifest::build(files, directory, kind, manifest::Digests::Computed)?;
    manifest::write(
        permit,
        files,
        directory,
        &manifest.header,
        &entries,
        &Expect::Digest(before),
    )
}

/// The manifest of a finished backup.
pub(super) fn finished(files: &Files, directory: &Path) -> Result<Manifest> {
    let manifest = manifest::read(files, directory)?;
    if manifest.footer.is_none() {
        return Err(Error::corrupt(format!(
            "the manifest of `{}` was cut short: it is not a whole backup",
            shown(directory)
        ))
        .hint("look into it by hand, or take another"));
    }
    Ok(manifest)
}

/// How two sides are compared.
pub(super) struct Comparison<'a> {
    /// The digest of a file's contents; `None` where they aren't compared.
    pub(super) digest: &'a dyn Fn(&Walked<'_>) -> Result<Option<blake3::Hash>>,
    /// Whether set-id bits count; they can't be kept on files that change hands.
    pub(super) set_id: bool,
}

/// Compares a directory with a manifest.
pub(super) fn compare(
    files: &Files,
    directory: &Path,
    manifest: &Manifest,
    comparison: &Comparison<'_>,
) -> Result<Verified> {
    let mut expected: BTreeMap<&Path, &Entry> = manifest
        .entries
        .iter()
        .map(|entry| (entry.path.as_path(), entry))
        .collect();
    let mut verified = Verified::default();
    if let Some(footer) = &manifest.footer {
        verified.entries = footer.entries;
        verified.bytes = footer.bytes;
    }
    let mut problems: Vec<(PathBuf, String)> = Vec::new();
    if let Some(top) = expected.remove(Path::new(TOP)) {
        let found = Entry::of_top(files, directory)?;
        problems.extend(differences(top, &found, comparison.set_id).map(|what| (top.path.clone(), what)));
    }
    files.walk(directory, &mut |walked| {
        if walked.relative == Path::new(MANIFEST) {
            return Ok(Step::Continue);
        }
        let mut add = |what: String| problems.push((walked.relative.to_path_buf(), what));
        let Some(entry) = expected.remove(walked.relative) else {
            add("is not in the manifest".to_owned());
            return Ok(Step::Continue);
        };
        match Entry::of(walked) {
            Ok(found) => differences(entry, &found, comparison.set_id).for_each(&mut add),
            Err(error) => add(error.message().to_owned()),
        }
        if let (Some(wanted), EntryKind::File) = (&entry.blake3, walked.stat.kind) {
            match (comparison.digest)(walked) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    verified.digests += 1;
                    if found.to_hex().as_str() != wanted.as_str() {
                        add("has other contents".to_owned());
                    }
                }
                Err(error) => add(error.message().to_owned()),
            }
        }
        Ok(Step::Continue)
    })?;
    problems.extend(
        expected
            .into_keys()
            .map(|path| (path.to_path_buf(), "is missing".to_owned())),
    );
    problems.sort();
    verified.problems = problems
        .into_iter()
        .map(|(path, what)| Problem {
            path: shown(&path),
            what,
        })
        .collect();
    Ok(verified)
}

/// What is different in all but the contents.
fn differences(wanted: &Entry, found: &Entry, set_id: bool) -> impl Iterator<Item = String> {
    let mut all = Vec::new();
    let mask = if set_id { 0o7777 } else { 0o1777 };
    if wanted.kind != found.kind {
        all.push(format!(
            "is a {}, not a {}",
            found.kind.name(),
            wanted.kind.name()
        ));
        return all.into_iter();
    }
    if wanted.size != found.size {
        all.push(format!("has {} bytes, not {}", found.size, wanted.size));
    }
    if wanted.mode & mask != found.mode & mask {
        all.push(format!("has mode {:o}, not {:o}", found.mode, wanted.mode));
    }
    if wanted.mtime_ns != found.mtime_ns {
        all.push(format!(
            "was modified at {} ns, not {} ns",
            found.mtime_ns, wanted.mtime_ns
        ));
    }
    if wanted.target != found.target {
        let name = |target: &Option<PathBuf>| target.as_deref().map(shown).unwrap_or_default();
        all.push(format!(
            "points to `{}`, not `{}`",
            name(&found.target),
            name(&wanted.target)
        ));
    }
    if wanted.xattrs != found.xattrs {
        all.push("has other extended attributes".to_owned());
    }
    all.into_iter()
}

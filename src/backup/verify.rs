//! Comparing what lies in a backup with what its manifest says.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::MANIFEST;
use super::manifest::{self, Digests, Entry, Footer, LOOKED_AT, READ, Reading, TOP};
use crate::error::{Error, Result};
use crate::gate::Permit;
use crate::host::files::{EntryKind, Expect, Files, Survey, Walked, shown};

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
    let (_, footer) = manifest::ends(files, directory)?;
    // What a sample reads is not known before.
    let known = footer.filter(|_| depth == Depth::Full);
    files.meter().begin(known.map_or(0, |footer| footer.bytes));
    let mut manifest = finished(files, directory)?;
    let comparison = Comparison {
        contents: Contents::Read(depth),
        set_id: true,
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
        shown(directory)
    ))
    .hint("look into it by hand, or take another")
}

/// Whose contents are compared, and how.
pub(super) enum Contents<'a> {
    /// They are read.
    Read(Depth),
    /// Their digests are known already, by the path from the backup's directory; where not, they aren't compared.
    Known(&'a (dyn Fn(&Path) -> Option<blake3::Hash> + Sync)),
}

/// How two sides are compared.
pub(super) struct Comparison<'a> {
    /// What files hold.
    pub(super) contents: Contents<'a>,
    /// Whether set-id bits count; they can't be kept on files that change hands.
    pub(super) set_id: bool,
    /// Whether sockets count; a copy has none.
    pub(super) sockets: bool,
}

impl Comparison<'_> {
    /// What is different at a path, and whether its contents were compared.
    fn look(
        &self,
        files: &Files,
        entry: &Entry,
        walked: &Walked<'_>,
        buffer: &mut Vec<u8>,
    ) -> (Vec<String>, bool) {
        let is_compared = entry.blake3.is_some() && walked.stat.kind == EntryKind::File;
        let mut different = Vec::new();
        let found = match &self.contents {
            Contents::Read(depth) if is_compared && depth.reads(walked.relative) => {
                Entry::read(walked, buffer, files.meter()).or_else(|error| {
                    different.push(error.message().to_owned());
                    Entry::of(walked)
                })
            }
            Contents::Known(known) if is_compared => Entry::of(walked).map(|mut found| {
                found.blake3 = known(walked.relative).map(|digest| digest.to_hex().to_string());
                found
            }),
            _ => Entry::of(walked),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                different.push(error.message().to_owned());
                return (different, false);
            }
        };
        different.extend(differences(entry, &found, self.set_id));
        if is_compared && found.blake3.is_some() && found.blake3 != entry.blake3 {
            different.push("has other contents".to_owned());
        }
        (different, found.blake3.is_some())
    }
}

/// What was found in one batch.
#[derive(Default)]
struct Part {
    digests: u64,
    problems: Vec<(PathBuf, String)>,
}

/// Compares a directory with a manifest of which nothing was read yet: two streams in the same order.
pub(super) fn compare(
    files: &Files,
    directory: &Path,
    manifest: &mut Reading,
    comparison: &Comparison<'_>,
) -> Result<Verified> {
    let mut verified = Verified::default();
    let mut problems: Vec<(PathBuf, String)> = Vec::new();
    let mut parted: Vec<(PathBuf, String)> = Vec::new();
    let mut expected = manifest.next()?;
    // Nothing stands at the path of this entry, unless it is the top.
    let absent = |entry: Entry, problems: &mut Vec<(PathBuf, String)>| {
        if entry.kind == EntryKind::Socket && !comparison.sockets {
            return Ok(());
        }
        if entry.path != Path::new(TOP) {
            problems.push((entry.path, "is missing".to_owned()));
            return Ok(());
        }
        let found = Entry::of_top(files, directory)?;
        let different = differences(&entry, &found, comparison.set_id);
        problems.extend(different.into_iter().map(|what| (entry.path.clone(), what)));
        Ok(())
    };
    let look = |relative: &Path,
                walked: Option<&Walked<'_>>,
                entry: Entry,
                part: &mut Part,
                buffer: &mut Vec<u8>| {
        let Some(walked) = walked else {
            part.problems
                .push((relative.to_path_buf(), "is missing".to_owned()));
            return Ok(());
        };
        let (different, read) = comparison.look(files, &entry, walked, buffer);
        part.digests += u64::from(read);
        let different = different.into_iter().map(|what| (relative.to_path_buf(), what));
        part.problems.extend(different);
        if entry.kind == EntryKind::File && matches!(comparison.contents, Contents::Read(_)) {
            files.meter().file();
        }
        Ok(())
    };
    files.survey(
        directory,
        Survey {
            batch: match comparison.contents {
                Contents::Read(Depth::Full | Depth::Sample(_)) => READ,
                Contents::Read(Depth::Structure) | Contents::Known(_) => LOOKED_AT,
            },
            claim: &mut |relative| {
                if relative == Path::new(MANIFEST) {
                    return Ok(None);
                }
                while let Some(entry) = expected.take() {
                    let order = entry
                        .path
                        .as_os_str()
                        .as_bytes()
                        .cmp(relative.as_os_str().as_bytes());
                    if order == Ordering::Greater {
                        expected = Some(entry);
                        break;
                    }
                    expected = manifest.next()?;
                    if order == Ordering::Equal {
                        return Ok(Some(entry));
                    }
                    absent(entry, &mut problems)?;
                }
                problems.push((relative.to_path_buf(), "is not in the manifest".to_owned()));
                Ok(None)
            },
            look: &look,
            keep: &mut |part: Part| {
                verified.digests += part.digests;
                parted.extend(part.problems);
                Ok(())
            },
        },
    )?;
    while let Some(entry) = expected.take() {
        expected = manifest.next()?;
        absent(entry, &mut problems)?;
    }
    let footer = footer_of(manifest, directory)?;
    verified.entries = footer.entries;
    verified.bytes = footer.bytes;
    problems.extend(parted);
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
fn differences(wanted: &Entry, found: &Entry, set_id: bool) -> Vec<String> {
    let mut all = Vec::new();
    let mask = if set_id { 0o7777 } else { 0o1777 };
    if wanted.kind != found.kind {
        all.push(format!(
            "is a {}, not a {}",
            found.kind.name(),
            wanted.kind.name()
        ));
        return all;
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
    all
}

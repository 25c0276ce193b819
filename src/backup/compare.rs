//! The one comparison of a tree with its manifest: by verification, by a restore of what it has staged, and before an
//! undo moves a backup back. Two streams in the same order, so that neither is ever in memory.

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::MANIFEST;
use super::manifest::{Entry, LOOKED_AT, READ, Reading, TOP};
use super::verify::{Depth, Problem, Verified, footer_of};
use crate::base::error::Result;
use crate::host::files::{EntryKind, Files, Survey, Walked, display};

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
    /// Whether owners and set-id bits count; they can't be kept by a copy that may not give files away.
    pub(super) owners: bool,
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
        different.extend(differences(entry, &found, self.owners));
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
        let different = differences(&entry, &found, comparison.owners);
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
            path: display(&path),
            what,
        })
        .collect();
    Ok(verified)
}

/// What is different in all but the contents.
fn differences(wanted: &Entry, found: &Entry, owners: bool) -> Vec<String> {
    let mut all = Vec::new();
    let mask = if owners { 0o7777 } else { 0o1777 };
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
    if owners && (wanted.uid, wanted.gid) != (found.uid, found.gid) {
        all.push(format!(
            "belongs to {}:{}, not {}:{}",
            found.uid, found.gid, wanted.uid, wanted.gid
        ));
    }
    if wanted.mtime_ns != found.mtime_ns {
        all.push(format!(
            "was modified at {} ns, not {} ns",
            found.mtime_ns, wanted.mtime_ns
        ));
    }
    if wanted.target != found.target {
        let name = |target: &Option<PathBuf>| target.as_deref().map(display).unwrap_or_default();
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

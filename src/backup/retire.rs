//! Making a backup: by moving the source's contents, which takes no time and no room, or by a verified copy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::MANIFEST;
use super::manifest::{self, Digests, Header, Method, Origin};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::files::{
    Copied, CopyOutcome, EntryKind, Expect, Files, Listed, Mounts, Relocated, Stat, display,
};

/// A rename: from, to.
pub type Rename = (PathBuf, PathBuf);

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Paths in it.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// `moved` or `copied`.
    pub method: &'static str,
    /// BLAKE3 over the entry lines of the manifest, where files have digests.
    pub digest: Option<String>,
    /// Sockets that a copy left out, by the path from the source.
    pub skipped: Vec<PathBuf>,
}

/// The renames that bring the contents of `source` into `backup`, a directory that does not exist yet. Without `keep`
/// a directory goes in one rename; with it (paths relative to the source that stay), child by child on the way to what
/// is kept. A file goes into the directory. `kind_of` and `list` look at the world, or at what a preview makes of it.
///
/// # Errors
/// `NotFound`; `Invalid` for a source that is neither file nor directory or that holds the backup, and for a `keep` that
/// leads out; `Exists` where the source has a manifest of its own.
pub fn plan(
    source: &Path,
    backup: &Path,
    keep: &[PathBuf],
    kind_of: &dyn Fn(&Path) -> Result<Option<EntryKind>>,
    list: &dyn Fn(&Path) -> Result<Vec<Listed>>,
) -> Result<Vec<Rename>> {
    if backup.starts_with(source) {
        return Err(
            Error::invalid(format!("`{}` holds the backups themselves", display(source)))
                .hint("name a part of it"),
        );
    }
    let Some(name) = source.file_name() else {
        return Err(Error::invalid(format!(
            "`{}` can't be backed up by moving",
            display(source)
        )));
    };
    match kind_of(source)? {
        None => return Err(Error::not_found(format!("`{}` does not exist", display(source)))),
        Some(EntryKind::Directory) => {}
        Some(EntryKind::File) => {
            if name == MANIFEST {
                return Err(holds_manifest(source));
            }
            return Ok(vec![(source.to_path_buf(), backup.join(name))]);
        }
        Some(other) => {
            return Err(Error::invalid(format!(
                "`{}` is a {}, neither a directory nor a file",
                display(source),
                other.name()
            )));
        }
    }
    let manifest = source.join(MANIFEST);
    if kind_of(&manifest)?.is_some() {
        return Err(holds_manifest(&manifest));
    }
    let mut kept = Vec::new();
    for path in keep {
        if path.as_os_str().is_empty()
            || path
                .components()
                .any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err(Error::invalid(format!(
                "`{}` is not a path inside `{}`",
                display(path),
                display(source)
            ))
            .hint("name what stays relative to what goes"));
        }
        if kind_of(&source.join(path))?.is_some() {
            kept.push(path.as_path());
        }
    }
    if kept.is_empty() {
        return Ok(vec![(source.to_path_buf(), backup.to_path_buf())]);
    }
    let mut moves = Vec::new();
    part(source, backup, Path::new(""), &kept, list, &mut moves)?;
    Ok(moves)
}

fn part(
    source: &Path,
    backup: &Path,
    relative: &Path,
    kept: &[&Path],
    list: &dyn Fn(&Path) -> Result<Vec<Listed>>,
    moves: &mut Vec<Rename>,
) -> Result<()> {
    let directory: PathBuf = source.join(relative).components().collect();
    for (name, kind) in list(&directory)? {
        let child = relative.join(name);
        if kept.contains(&child.as_path()) {
            continue;
        }
        if kind == EntryKind::Directory && kept.iter().any(|kept| kept.starts_with(&child)) {
            part(source, backup, &child, kept, list, moves)?;
        } else {
            moves.push((source.join(&child), backup.join(&child)));
        }
    }
    Ok(())
}

fn holds_manifest(path: &Path) -> Error {
    Error::exists(format!(
        "`{}` is the manifest of an earlier backup",
        display(path)
    ))
    .hint("remove it first: a directory that was copied from a backup does not need it")
}

/// The directories that [`execute`] makes for these renames, outermost first: the backup's, and those on the way to
/// what is kept. An undo removes them, innermost first, after the moves.
#[must_use]
pub fn made(backup: &Path, moves: &[Rename]) -> Vec<PathBuf> {
    let mut made: Vec<PathBuf> = moves
        .iter()
        .flat_map(|(_, to)| {
            to.ancestors()
                .skip(1)
                .take_while(|above| above.starts_with(backup))
        })
        .map(Path::to_path_buf)
        .collect();
    made.sort();
    made.dedup();
    made
}

/// Makes the renames of a [`plan`], then the manifest. Across file systems a rename becomes a verified copy, after which
/// the original goes.
///
/// # Errors
/// `Exists` where something stands at `backup`; otherwise what a step says. Everything is then back in its place, with
/// its modification times, unless the error says `changed_something`.
pub fn execute(
    permit: &Permit,
    files: &Files,
    moves: &[Rename],
    backup: &Path,
    origin: &Origin,
    digests: bool,
) -> Result<Sealed> {
    let mut making = Making::new(files, moves, backup, origin)?;
    match making.make(permit, files, moves, backup, origin, digests) {
        Ok(sealed) => Ok(sealed),
        Err(error) => Err(making.take_back(permit, files, error)),
    }
}

/// What is known before the first change, and what was done since.
struct Making {
    kind: EntryKind,
    /// The directories to make, with those of the source that they stand for, as they were.
    directories: Vec<(PathBuf, Option<Imitated>)>,
    /// Modification times of the directories that moves touch.
    times: BTreeMap<PathBuf, i64>,
    done: Vec<Rename>,
    created: Vec<PathBuf>,
    sealed: Option<PathBuf>,
}

struct Imitated {
    stat: Stat,
    attributes: Vec<(OsString, Vec<u8>)>,
}

impl Making {
    fn new(files: &Files, moves: &[Rename], backup: &Path, origin: &Origin) -> Result<Self> {
        if moves.is_empty() {
            return Err(Error::invalid(format!(
                "nothing of `{}` is to be backed up",
                origin.source
            )));
        }
        if files.stat(backup)?.is_some() {
            return Err(Error::exists(format!("`{}` exists already", display(backup)))
                .hint("choose another name for the backup"));
        }
        let workspace = files.roots().next().unwrap_or_else(|| Path::new("/"));
        // With what belongs to it, where it is a database.
        let one_file = moves
            .first()
            .is_some_and(|(from, _)| *from == workspace.join(&origin.source))
            && !moves.iter().any(|(_, to)| to == backup);
        let mut times = BTreeMap::new();
        // The directory in which the backup, or those above it, will be made.
        for above in backup.ancestors().skip(1) {
            if files.stat(above)?.is_some() {
                times.insert(above.to_path_buf(), files.mtime(above)?);
                break;
            }
        }
        let mut stands_for = BTreeMap::new();
        for (from, to) in moves {
            if to == &backup.join(MANIFEST) || (to == backup && files.stat(&from.join(MANIFEST))?.is_some()) {
                return Err(holds_manifest(from));
            }
            if let Some(parent) = from.parent() {
                times.insert(parent.to_path_buf(), files.mtime(parent)?);
            }
            let pairs = from.ancestors().skip(1).zip(to.ancestors().skip(1));
            stands_for.extend(
                pairs
                    .take_while(|(_, to)| to.starts_with(backup))
                    .map(|(from, to)| (to.to_path_buf(), from.to_path_buf())),
            );
        }
        let mut directories = Vec::new();
        for directory in made(backup, moves) {
            let imitated = match stands_for.get(&directory) {
                Some(original) if !one_file => Some(Imitated {
                    stat: files
                        .stat(original)?
                        .ok_or_else(|| Error::not_found(format!("`{}` does not exist", display(original))))?,
                    attributes: files.attributes(original)?,
                }),
                _ => None,
            };
            directories.push((directory, imitated));
        }
        let kind = if one_file {
            EntryKind::File
        } else {
            EntryKind::Directory
        };
        Ok(Self {
            kind,
            directories,
            times,
            done: Vec::new(),
            created: Vec::new(),
            sealed: None,
        })
    }

    fn make(
        &mut self,
        permit: &Permit,
        files: &Files,
        moves: &[Rename],
        backup: &Path,
        origin: &Origin,
        digests: bool,
    ) -> Result<Sealed> {
        if let Some(parent) = backup.parent() {
            self.created
                .extend(files.make_private_directories(permit, parent)?);
        }
        for (directory, _) in &self.directories {
            files.make_directory(permit, directory, 0o700)?;
            self.created.push(directory.clone());
        }
        let mut method = Method::Moved;
        for (from, to) in moves {
            let outcome = files.relocate(permit, from, to, Mounts::Contents);
            // A failure that comes after the fact leaves the thing at its new place.
            let gone = files.stat(from)?.is_none() || files.is_hollow(from)?;
            if gone && files.stat(to)?.is_some() {
                self.done.push((from.clone(), to.clone()));
            }
            if matches!(outcome?, Relocated::Copied(_)) {
                method = Method::Copied;
            }
        }
        for (directory, imitated) in self.directories.iter().rev() {
            if let Some(Imitated { stat, attributes }) = imitated {
                files.imitate(permit, directory, stat, attributes)?;
            }
        }
        let wanted = if digests {
            Digests::Computed
        } else {
            Digests::Without
        };
        let header = Header::new(origin, self.kind, method);
        self.sealed = Some(backup.join(MANIFEST));
        let footer = manifest::make(permit, files, backup, &header, wanted, &Expect::Absent)?;
        Ok(Sealed {
            entries: footer.entries,
            bytes: footer.bytes,
            method: method.name(),
            digest: digests.then_some(footer.root),
            skipped: Vec::new(),
        })
    }

    fn take_back(&self, permit: &Permit, files: &Files, error: Error) -> Error {
        match self.try_take_back(permit, files) {
            Ok(()) => error,
            Err(second) => error
                .context(format!(
                    "the backup was begun and could not be taken back ({})",
                    second.message()
                ))
                .after_changes(),
        }
    }

    fn try_take_back(&self, permit: &Permit, files: &Files) -> Result<()> {
        if let Some(manifest) = &self.sealed
            && files.stat(manifest)?.is_some()
        {
            files.remove_file(permit, manifest)?;
        }
        for directory in &self.created {
            // Modes of the source may forbid what is ours to do.
            if let Some(stat) = files.stat(directory)? {
                files.set_mode(permit, directory, stat.mode | 0o700)?;
            }
        }
        for (from, to) in self.done.iter().rev() {
            files.relocate(permit, to, from, Mounts::Contents)?;
        }
        for directory in self.created.iter().rev() {
            files.remove_directory(permit, directory)?;
        }
        for (directory, mtime_ns) in &self.times {
            files.set_mtime(permit, directory, *mtime_ns)?;
        }
        Ok(())
    }
}

/// Copies `source` into a new backup, verified, with a manifest that has digests. The source stays. What belongs to a
/// source that is one file comes along (`sides`, each with its place in the backup).
///
/// # Errors
/// `Exists` where something stands at `backup`, `Changed` where the source is written meanwhile; otherwise what the
/// system says. Nothing is left at `backup` then.
pub fn copy(
    permit: &Permit,
    files: &Files,
    source: &Path,
    sides: &[Rename],
    backup: &Path,
    origin: &Origin,
) -> Result<Sealed> {
    let kind_of = |path: &Path| files.stat(path).map(|stat| stat.map(|stat| stat.kind));
    let mut copies = plan(source, backup, &[], &kind_of, &|path| files.list(path))?;
    copies.extend_from_slice(sides);
    let kind = if copies.iter().any(|(_, to)| to == backup) {
        EntryKind::Directory
    } else {
        EntryKind::File
    };
    let created = match backup.parent() {
        Some(parent) => files.make_private_directories(permit, parent)?,
        None => Vec::new(),
    };
    let copied = copy_into(permit, files, &copies, backup, kind, origin);
    copied.map_err(|error| {
        let cleared = match files.stat(backup) {
            Ok(None) => Ok(()),
            _ if error.kind() == crate::base::error::Kind::Exists => Ok(()),
            _ => files.remove_tree(permit, backup),
        };
        for directory in created.iter().rev() {
            // Empty directories are no loss; the first failure is the one to tell.
            let _ = files.remove_directory(permit, directory);
        }
        match cleared {
            Ok(()) => error,
            Err(left) => error
                .context(format!(
                    "an unfinished copy is left at `{}` ({})",
                    display(backup),
                    left.message()
                ))
                .after_changes(),
        }
    })
}

fn copy_into(
    permit: &Permit,
    files: &Files,
    copies: &[Rename],
    backup: &Path,
    kind: EntryKind,
    origin: &Origin,
) -> Result<Sealed> {
    if kind != EntryKind::Directory {
        files.make_directory(permit, backup, 0o700)?;
    }
    let mut outcomes: Vec<(&Path, CopyOutcome)> = Vec::new();
    for (from, to) in copies {
        let inside = to.strip_prefix(backup).unwrap_or(to);
        outcomes.push((inside, files.copy_across(permit, from, to)?));
    }
    let known = |relative: &Path| {
        let found = outcomes
            .iter()
            .find_map(|(top, outcome)| outcome.copied.get(relative.strip_prefix(top).ok()?));
        found.and_then(Copied::digest)
    };
    let method = if outcomes
        .iter()
        .all(|(_, outcome)| outcome.shared > 0 && outcome.written == 0)
    {
        Method::Reflinked
    } else {
        Method::Copied
    };
    let header = Header::new(origin, kind, method);
    let digests = Digests::Known(&known);
    let footer = manifest::make(permit, files, backup, &header, digests, &Expect::Absent)?;
    Ok(Sealed {
        entries: footer.entries,
        bytes: footer.bytes,
        method: method.name(),
        digest: Some(footer.root),
        skipped: outcomes
            .into_iter()
            .flat_map(|(_, outcome)| outcome.skipped)
            .collect(),
    })
}

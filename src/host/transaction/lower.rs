//! What a layer lies over: the workspace, with what was pretended before laid over it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::host::files::{EntryKind, Files, Stat};

/// The trees below a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lower<'a> {
    /// Looks below both.
    pub(super) files: &'a Files,
    /// The workspace.
    pub(super) root: &'a Path,
    /// The layer of what was pretended, where anything was.
    pub(super) seeded: Option<&'a Path>,
    /// The beginning of the names of the overlay's own attributes.
    pub(super) notes: &'static str,
}

/// Where a path leads below a layer.
enum Leads {
    /// What was pretended.
    Seeded(PathBuf, Stat),
    /// A directory that was pretended, and one of the workspace that shows through it.
    Both(PathBuf, Stat),
    /// The workspace alone.
    Root,
    /// Nothing is there.
    Gone,
}

impl Lower<'_> {
    fn leads(&self, path: &Path) -> Result<Leads> {
        let Some(seeded) = self.seeded else {
            return Ok(Leads::Root);
        };
        let mut at = PathBuf::new();
        let mut shows_through = true;
        let mut last = None;
        for part in path.components() {
            at.push(part);
            let place = below(seeded, &at);
            let Some(stat) = self.files.stat(&place)? else {
                return Ok(if shows_through { Leads::Root } else { Leads::Gone });
            };
            if is_whiteout(&place, &stat)? {
                return Ok(Leads::Gone);
            }
            let is_directory = stat.kind == EntryKind::Directory;
            let whole = !is_directory || is_opaque(self.files, &place, self.notes)?;
            let hides = whole || !self.is_directory_of_root(&at)?;
            shows_through &= !hides;
            last = Some((place, stat));
        }
        Ok(match last {
            None => Leads::Root,
            Some((place, stat)) if shows_through => Leads::Both(place, stat),
            Some((place, stat)) => Leads::Seeded(place, stat),
        })
    }

    fn is_directory_of_root(&self, path: &Path) -> Result<bool> {
        let stat = self.files.stat(&below(self.root, path))?;
        Ok(stat.is_some_and(|stat| stat.kind == EntryKind::Directory))
    }

    /// Where what stands at a path really is, and how it looks; `None` where nothing does. Whether it is of the workspace.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn find(&self, path: &Path) -> Result<Option<(PathBuf, Stat, bool)>> {
        match self.leads(path)? {
            Leads::Gone => Ok(None),
            Leads::Seeded(place, stat) | Leads::Both(place, stat) => Ok(Some((place, stat, false))),
            Leads::Root => {
                let place = below(self.root, path);
                let stat = self.files.stat(&place)?;
                Ok(stat.map(|stat| (place, stat, true)))
            }
        }
    }

    /// The names in a directory, sorted, with how they look, and whether they are of the workspace.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn list(&self, path: &Path) -> Result<Vec<(OsString, Stat, bool)>> {
        let mut names: BTreeMap<OsString, (Stat, bool)> = BTreeMap::new();
        let leads = if path.as_os_str().is_empty()
            && let Some(seeded) = self.seeded
        {
            let stat = self.files.stat(seeded)?;
            stat.map_or(Leads::Root, |stat| Leads::Both(seeded.to_path_buf(), stat))
        } else {
            self.leads(path)?
        };
        if matches!(leads, Leads::Root | Leads::Both(..)) {
            for (name, stat) in self.files.list_stats(&below(self.root, path))? {
                names.insert(name, (stat, true));
            }
        }
        if let Leads::Seeded(place, _) | Leads::Both(place, _) = &leads {
            for (name, stat) in self.files.list_stats(place)? {
                if is_whiteout(&place.join(&name), &stat)? {
                    names.remove(&name);
                } else {
                    names.insert(name, (stat, false));
                }
            }
        }
        Ok(names
            .into_iter()
            .map(|(name, (stat, of_root))| (name, stat, of_root))
            .collect())
    }
}

/// A device without a number: no command can make one, and it means that the name is gone.
pub(super) fn is_whiteout(place: &Path, stat: &Stat) -> Result<bool> {
    Ok(stat.kind == EntryKind::Device && device(place)? == 0)
}

/// Whether a directory of a layer hides the one below it.
pub(super) fn is_opaque(files: &Files, place: &Path, notes: &str) -> Result<bool> {
    let mark = format!("{notes}opaque");
    let attributes = files.attributes(place)?;
    Ok(attributes
        .iter()
        .any(|(name, value)| name.as_os_str() == OsStr::new(&mark) && value == b"y"))
}

/// `tree` with `path` below it, without a slash at the end.
pub(super) fn below(tree: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        tree.to_path_buf()
    } else {
        tree.join(path)
    }
}

/// The number of a device.
pub(super) fn device(path: &Path) -> Result<u64> {
    rustix::fs::lstat(path)
        .map(|found| found.st_rdev)
        .map_err(|error| Error::io(format_args!("look at `{}`", path.display()), &error.into()))
}

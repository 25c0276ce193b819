//! Trees that can't go as a whole, because something is mounted there or because the layer below an overlay does not let
//! them be renamed. They are emptied in place, each thing only while it is as it was copied; mount points, and the
//! directories that lead to them, stay.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;

use super::attributes::{set_mode_at, set_mtime_at};
use super::look::names;
use super::remove::{open_up, unlink};
use super::resolve::{absent, failure, open_directory, stat_at, stat_open};
use super::walk::{DEPTH_LIMIT, too_deep};
use super::{CopyOutcome, EntryKind, Files, Stat, display};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Kind, Result};

/// Whether what stands at a path from the top may go.
type May<'a> = &'a dyn Fn(&Path, &Stat) -> bool;

impl Files {
    /// Whether nothing is left of a tree but mount points and the directories that lead to them.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_hollow(&self, path: &Path) -> Result<bool> {
        if self
            .stat(path)?
            .is_none_or(|stat| stat.kind != EntryKind::Directory)
        {
            return Ok(false);
        }
        let mounted = self.mounted(path)?;
        if mounted.is_empty() {
            return Ok(false);
        }
        let mut pending = vec![path.to_path_buf()];
        while let Some(directory) = pending.pop() {
            for (name, _) in self.list(&directory)? {
                let inner = directory.join(name);
                if !mounted.iter().any(|mount| mount.starts_with(&inner)) {
                    return Ok(false);
                }
                pending.push(inner);
            }
        }
        Ok(true)
    }

    /// The directories that stay when a tree is emptied, outermost first: its mount points and what leads to them.
    ///
    /// # Errors
    /// What the system says.
    pub fn staying(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mounted = self.mounted(path)?;
        let mut staying: Vec<PathBuf> = mounted
            .iter()
            .flat_map(|mount| mount.ancestors().take_while(|above| above.starts_with(path)))
            .map(Path::to_path_buf)
            .collect();
        staying.sort_unstable();
        staying.dedup();
        Ok(staying)
    }

    /// Whether what stands at a path is a part of what stands at another: the rest of an original whose copy is complete.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_remainder(&self, rest: &Path, whole: &Path) -> Result<bool> {
        match self.count(rest, &|relative, stat| {
            self.has_alike(rest, whole, relative, stat)
        }) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::Changed => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes what [`Files::is_remainder`] found.
    ///
    /// # Errors
    /// `Changed` for what is not alike; what was removed before it stands in the whole.
    pub fn remove_remainder(&self, permit: &Permit, rest: &Path, whole: &Path) -> Result<()> {
        self.hollow_out(permit, rest, &|relative, stat| {
            self.has_alike(rest, whole, relative, stat)
        })
        .map_err(Error::after_changes)
    }

    /// Removes everything below a path but mount points and the directories that lead to them; the path too, where nothing
    /// is mounted.
    ///
    /// # Errors
    /// What the system says.
    pub fn empty_out(&self, permit: &Permit, path: &Path) -> Result<()> {
        self.hollow_out(permit, path, &|_, _| true)
    }

    fn has_alike(&self, rest: &Path, whole: &Path, relative: &Path, stat: &Stat) -> bool {
        let path = super::below(whole, relative);
        let Ok(Some(other)) = self.stat(&path) else {
            return false;
        };
        let alike = other.kind == stat.kind && other.size == stat.size && other.mtime_ns == stat.mtime_ns;
        let rest = super::below(rest, relative);
        match stat.kind {
            EntryKind::Directory => other.kind == stat.kind,
            EntryKind::File => alike && same(self.digest(&rest), self.digest(&path)),
            EntryKind::Symlink => alike && same(self.read_link(&rest), self.read_link(&path)),
            _ => alike,
        }
    }

    /// Removes a tree that was copied, as long as it is what was copied; what is mounted there is emptied.
    ///
    /// # Errors
    /// `Changed`, with nothing removed, where it is not; one that says `changed_something` leaves a part of it.
    pub(super) fn take_apart(&self, permit: &Permit, top: &Path, outcome: &CopyOutcome) -> Result<()> {
        let as_copied =
            |relative: &Path, stat: &Stat| outcome.copied.get(relative).is_some_and(|copied| copied.is(stat));
        // Each name of a file that goes changes the file's other names.
        let linked = RefCell::new(HashMap::new());
        let noted = |relative: &Path, stat: &Stat| {
            if stat.kind != EntryKind::Directory && stat.links > 1 {
                linked.borrow_mut().insert((stat.device, stat.inode), *stat);
            }
            as_copied(relative, stat)
        };
        if self.count(top, &noted)? != outcome.copied.len() {
            return Err(changed(top));
        }
        // A recovery tells by the time of this change that the copy is complete, and must not go.
        if let Some(stat) = self.stat(top)? {
            self.set_mtime(permit, top, stat.mtime_ns)?;
        }
        let same_but_for_links = |stat: &Stat| {
            linked
                .borrow()
                .get(&(stat.device, stat.inode))
                .is_some_and(|known: &Stat| {
                    known.same_thing(stat) && known.size == stat.size && known.mtime_ns == stat.mtime_ns
                })
        };
        let of_top = |relative: &Path, stat: &Stat| {
            relative.as_os_str().is_empty() || as_copied(relative, stat) || same_but_for_links(stat)
        };
        self.hollow_out(permit, top, &of_top).map_err(|error| {
            error
                .hint(format!(
                    "its copy is complete; what is left of the original stands at `{}`",
                    display(top)
                ))
                .after_changes()
        })
    }

    /// Removes everything that may go and is no mount point and leads to none, durably.
    ///
    /// # Errors
    /// `Changed` for what may not go.
    pub(super) fn hollow_out(&self, _permit: &Permit, top: &Path, may: May<'_>) -> Result<()> {
        let place = self.changeable(top)?;
        let mounted = self.mounted(top)?;
        let emptying = Emptying { top, mounted, may };
        emptying.entry(place.parent.as_fd(), &place.name, Path::new(""), 0)?;
        place.sync_parent()
    }

    /// Paths in a tree, the top among them, what is mounted inside included; each must be allowed to go.
    fn count(&self, top: &Path, may: May<'_>) -> Result<usize> {
        let place = self.existing_place(top)?;
        let mut pending = vec![PathBuf::new()];
        let mut count = 0;
        while let Some(relative) = pending.pop() {
            let path = super::below(top, &relative);
            let place = if count == 0 {
                &place
            } else {
                &self.existing_place(&path)?
            };
            let stat = place.existing()?;
            if !may(&relative, &stat) {
                return Err(changed(&path));
            }
            count += 1;
            if stat.kind == EntryKind::Directory {
                let directory = place.open_directory()?;
                pending.extend(
                    names(directory.as_fd(), &path)?
                        .iter()
                        .map(|name| relative.join(name)),
                );
            }
        }
        Ok(count)
    }
}

fn same<T: PartialEq>(one: Result<T>, other: Result<T>) -> bool {
    matches!((one, other), (Ok(one), Ok(other)) if one == other)
}

fn changed(path: &Path) -> Error {
    Error::changed(format!("`{}` changed after it was copied", display(path)))
        .hint("stop the program that writes to it, then try again")
}

struct Emptying<'a> {
    top: &'a Path,
    mounted: Vec<PathBuf>,
    may: May<'a>,
}

impl Emptying<'_> {
    fn entry(
        &self,
        parent: BorrowedFd<'_>,
        name: &std::ffi::OsStr,
        relative: &Path,
        depth: usize,
    ) -> Result<()> {
        let path = super::below(self.top, relative);
        if depth > DEPTH_LIMIT {
            return Err(too_deep(&path));
        }
        let Some(stat) = stat_at(parent, name, &path)? else {
            return Err(absent(&path));
        };
        if !(self.may)(relative, &stat) {
            return Err(changed(&path));
        }
        if stat.kind != EntryKind::Directory {
            return unlink(parent, name, AtFlags::empty(), &path);
        }
        open_up(parent, name, &path)?;
        let directory = open_directory(parent, name, &path)?;
        if !stat_open(directory.as_fd(), &path)?.same_thing(&stat) {
            return Err(changed(&path));
        }
        for inner in names(directory.as_fd(), &path)? {
            self.entry(directory.as_fd(), &inner, &relative.join(&inner), depth + 1)?;
        }
        if !self.mounted.iter().any(|mount| mount.starts_with(&path)) {
            return unlink(parent, name, AtFlags::REMOVEDIR, &path);
        }
        if stat.mode & 0o700 != 0o700 {
            set_mode_at(parent, name, stat.mode, &path)?;
        }
        set_mtime_at(parent, name, stat.mtime_ns, &path)?;
        rustix::fs::fsync(&directory).map_err(|error| failure("sync", &path, error))
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test sets its own scene, below a temporary directory"
    )]

    use std::fs;

    use super::super::fixture::{Scene, portrait};
    use super::*;

    #[test]
    fn a_tree_that_can_not_be_renamed_goes_only_as_it_was_copied() {
        let permit = Permit::for_tests();
        let scene = Scene::new();
        let tree = scene.odd_tree("tree");
        let copy = scene.path("copy");
        let before = portrait(&tree);
        let outcome = scene.files.copy_across(&permit, &tree, &copy).unwrap();
        let late = scene.file("tree/deep/late", "new");
        let error = scene.files.take_apart(&permit, &tree, &outcome).unwrap_err();
        assert_eq!((error.kind(), error.changed_something()), (Kind::Changed, false));
        assert_eq!(fs::read(&late).unwrap(), b"new");
        fs::remove_dir_all(&copy).unwrap();
        fs::remove_file(&late).unwrap();
        let outcome = scene.files.copy_across(&permit, &tree, &copy).unwrap();
        scene.files.take_apart(&permit, &tree, &outcome).unwrap();
        assert!(!tree.exists());
        assert_eq!(portrait(&copy).len(), before.len());
    }

    #[test]
    fn what_a_cut_left_of_an_original_is_told_from_what_is_new() {
        let permit = Permit::for_tests();
        let scene = Scene::new();
        let tree = scene.odd_tree("tree");
        let copy = scene.path("copy");
        scene.files.copy_across(&permit, &tree, &copy).unwrap();
        let whole = portrait(&copy);
        fs::remove_file(tree.join("a-b")).unwrap();
        fs::remove_dir_all(tree.join("a")).unwrap();
        assert!(scene.files.is_remainder(&tree, &copy).unwrap());
        let file = tree.join("deep/er/data.txt");
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        let rewrite = |text: &str| {
            fs::write(&file, text).unwrap();
            let open = fs::File::options().write(true).open(&file).unwrap();
            open.set_modified(modified).unwrap();
        };
        rewrite("CONTENTS");
        assert!(!scene.files.is_remainder(&tree, &copy).unwrap());
        scene.files.remove_remainder(&permit, &tree, &copy).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"CONTENTS");
        rewrite("contents");
        scene.files.remove_remainder(&permit, &tree, &copy).unwrap();
        assert!(!tree.exists());
        assert_eq!(portrait(&copy), whole);
    }
}

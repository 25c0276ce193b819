//! What a command changed, read from the upper layer that it wrote and compared with the workspace below. The kernel's own
//! marks (whiteouts, opaque directories, notes in attributes) are read here and nowhere else.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::lower::{Lower, below, device, is_opaque, is_whiteout};
use crate::base::error::{Error, Kind, Result};
use crate::host::files::{Attributes, EntryKind, Files, Stat};
use crate::workspace::STATE;

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// It was not there before.
    Created,
    /// It is no longer there.
    Removed,
    /// Something of another kind stands there.
    Replaced,
    /// A file's bytes, a link's target, a device's number. Attributes may have changed too.
    Contents,
    /// Mode, owner or extended attributes alone.
    Attributes,
    /// Only the time of modification. Worth keeping (`make` asks for it), and not worth counting.
    Touched,
}

/// One path that is no longer as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the workspace on; empty for the workspace itself.
    pub path: PathBuf,
    /// What became of it.
    pub what: What,
    /// What stood there; `None` for what was created. Sizes in bytes, times in nanoseconds since the epoch.
    pub before: Option<Stat>,
    /// What stands there now; `None` for what was removed. Inode, device and number of links are those of the layer.
    pub after: Option<Stat>,
    /// Whether mode, owner or extended attributes differ, whatever else does.
    pub attributes: bool,
    /// The file has other names in the workspace or elsewhere, and was written to, or replaced: whether the others change
    /// with it can't be told.
    pub linked: bool,
    /// Another path of the same file in the layer: one that was there before, or else the first of them. `None` for the
    /// first itself, and for a file with one name.
    pub joins: Option<PathBuf>,
}

/// The trees that are compared.
pub(super) struct Trees<'a> {
    /// What the layer lies over.
    pub(super) lower: Lower<'a>,
    /// The layer.
    pub(super) upper: &'a Path,
    /// When the command began, in nanoseconds since the epoch.
    pub(super) since: i64,
    /// Modes in the layer as the command left them, where we had to open something up.
    pub(super) modes: &'a BTreeMap<PathBuf, u32>,
    /// Whether the layer's top has the workspace's owner.
    pub(super) owned: bool,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    changes: Vec<Change>,
    /// Files of the layer with several names: their paths by inode, and whether each was there before.
    names: BTreeMap<u64, Vec<(PathBuf, bool)>>,
}

impl Trees<'_> {
    /// All changes, in the order of the bytes of their paths.
    ///
    /// # Errors
    /// `Failed` where something of the two trees can't be looked at.
    pub(super) fn compare(&self) -> Result<Vec<Change>> {
        let mut found = Found::default();
        let top = Path::new("");
        let before = self.lower.files.stat(self.lower.root)?;
        let after = self.lower.files.stat(self.upper)?;
        if let (Some(before), Some(after)) = (before, after) {
            self.top(&before, &after, &mut found)?;
            self.inside(top, false, &mut found)?;
        } else {
            return Err(Error::changed("the workspace, or the layer over it, has gone"));
        }
        found.join();
        let mut changes = found.changes;
        changes.sort_unstable_by(|one, other| {
            one.path
                .as_os_str()
                .as_bytes()
                .cmp(other.path.as_os_str().as_bytes())
        });
        Ok(changes)
    }

    /// What stood at a path before the command.
    fn before(&self, path: &Path) -> Result<Option<Stat>> {
        let Some((_, stat, of_root)) = self.lower.find(path)? else {
            return Ok(None);
        };
        self.require_old(path, &stat, of_root)?;
        Ok(Some(stat))
    }

    /// What somebody else has changed meanwhile, the command may have seen in either state.
    fn require_old(&self, path: &Path, stat: &Stat, of_root: bool) -> Result<()> {
        if of_root && stat.kind != EntryKind::Directory && stat.ctime_ns > self.since {
            return Err(
                Error::changed(format!("`{}` was changed while the command ran", path.display()))
                    .hint("run it again when nobody else works there"),
            );
        }
        Ok(())
    }

    /// Where what stood at a path before the command really is.
    fn place_before(&self, path: &Path) -> Result<PathBuf> {
        let found = self.lower.find(path)?;
        found
            .map(|(place, ..)| place)
            .ok_or_else(|| Error::changed(format!("`{}` went while it was looked at", path.display())))
    }

    /// Gives a thing of the layer the mode that the command left it with.
    fn mend(&self, path: &Path, stat: &mut Stat) {
        if let Some(mode) = self.modes.get(path) {
            stat.mode = *mode;
        }
    }

    /// The workspace itself: its time changes with every name in it, ours included.
    fn top(&self, before: &Stat, after: &Stat, found: &mut Found) -> Result<()> {
        let path = Path::new("");
        let mut after = *after;
        if !self.owned {
            (after.uid, after.gid) = (before.uid, before.gid);
        }
        if self.differ(path, before, &after)? {
            found.add(change(path, What::Attributes, Some(*before), Some(after)));
        }
        Ok(())
    }

    /// All names in a directory of the layer; with `whole`, nothing of the directory below shows through.
    fn inside(&self, path: &Path, whole: bool, found: &mut Found) -> Result<()> {
        let mut unseen: BTreeMap<OsString, Stat> = BTreeMap::new();
        if whole {
            unseen.extend(self.listed_before(path)?);
        }
        for (name, after) in self.listed(path)? {
            let path = path.join(&name);
            if path == Path::new(STATE) {
                continue;
            }
            if is_whiteout(&below(self.upper, &path), &after)? {
                if !whole && let Some(before) = self.before(&path)? {
                    self.removed(&path, before, found)?;
                }
                continue;
            }
            let before = if whole {
                unseen.remove(&name)
            } else {
                self.before(&path)?
            };
            match before {
                Some(before) => self.pair(&path, whole, before, after, found)?,
                None => self.created(&path, after, found)?,
            }
        }
        for (name, before) in unseen {
            let path = path.join(name);
            if path != Path::new(STATE) {
                self.removed(&path, before, found)?;
            }
        }
        Ok(())
    }

    fn listed(&self, path: &Path) -> Result<Vec<(OsString, Stat)>> {
        let mut listed = self.lower.files.list_stats(&below(self.upper, path))?;
        for (name, stat) in &mut listed {
            self.mend(&path.join(name), stat);
        }
        Ok(listed)
    }

    fn listed_before(&self, path: &Path) -> Result<Vec<(OsString, Stat)>> {
        let listed = self.lower.list(path)?.into_iter();
        listed
            .map(|(name, stat, of_root)| {
                self.require_old(&path.join(&name), &stat, of_root)?;
                Ok((name, stat))
            })
            .collect()
    }

    /// What stands in both trees.
    fn pair(&self, path: &Path, whole: bool, before: Stat, after: Stat, found: &mut Found) -> Result<()> {
        found.name(path, &after, true);
        if before.kind != after.kind {
            found.add(Change {
                attributes: true,
                ..change(path, What::Replaced, Some(before), Some(after))
            });
            self.removed_inside(path, &before, found)?;
            return self.created_inside(path, &after, found);
        }
        let attributes = self.differ(path, &before, &after)?;
        let what = if self.other_contents(path, &before, &after)? {
            Some(What::Contents)
        } else if attributes {
            Some(What::Attributes)
        } else if before.mtime_ns != after.mtime_ns {
            Some(What::Touched)
        } else {
            None
        };
        if let Some(what) = what {
            found.add(Change {
                attributes,
                linked: before.kind == EntryKind::File && before.links > 1,
                ..change(path, what, Some(before), Some(after))
            });
        }
        if after.kind == EntryKind::Directory {
            let whole = whole || is_opaque(self.lower.files, &below(self.upper, path), self.lower.notes)?;
            self.inside(path, whole, found)?;
        }
        Ok(())
    }

    fn created(&self, path: &Path, after: Stat, found: &mut Found) -> Result<()> {
        found.name(path, &after, false);
        found.add(change(path, What::Created, None, Some(after)));
        self.created_inside(path, &after, found)
    }

    fn created_inside(&self, path: &Path, after: &Stat, found: &mut Found) -> Result<()> {
        if after.kind != EntryKind::Directory {
            return Ok(());
        }
        for (name, after) in self.listed(path)? {
            let path = path.join(name);
            if !is_whiteout(&below(self.upper, &path), &after)? {
                self.created(&path, after, found)?;
            }
        }
        Ok(())
    }

    fn removed(&self, path: &Path, before: Stat, found: &mut Found) -> Result<()> {
        found.add(change(path, What::Removed, Some(before), None));
        self.removed_inside(path, &before, found)
    }

    fn removed_inside(&self, path: &Path, before: &Stat, found: &mut Found) -> Result<()> {
        if before.kind != EntryKind::Directory {
            return Ok(());
        }
        for (name, before) in self.listed_before(path)? {
            self.removed(&path.join(name), before, found)?;
        }
        Ok(())
    }

    /// Whether mode, owner or extended attributes differ. A symbolic link has no mode.
    fn differ(&self, path: &Path, before: &Stat, after: &Stat) -> Result<bool> {
        if (before.uid, before.gid) != (after.uid, after.gid) {
            return Ok(true);
        }
        match before.kind {
            EntryKind::Symlink => return Ok(false),
            _ if before.mode != after.mode => return Ok(true),
            EntryKind::File | EntryKind::Directory => {}
            _ => return Ok(false),
        }
        let (lower, is_seeded) = if path.as_os_str().is_empty() {
            (self.lower.root.to_path_buf(), false)
        } else {
            let place = self.place_before(path)?;
            let is_seeded = self.lower.seeded.is_some_and(|seeded| place.starts_with(seeded));
            (place, is_seeded)
        };
        let lower = self.lower.files.attributes(&lower)?;
        let upper = self.lower.files.attributes(&below(self.upper, path))?;
        let notes = self.lower.notes;
        Ok(visible(lower, notes, is_seeded) != visible(upper, notes, true))
    }

    fn other_contents(&self, path: &Path, before: &Stat, after: &Stat) -> Result<bool> {
        let (lower, upper) = (self.place_before(path)?, below(self.upper, path));
        match before.kind {
            EntryKind::File => {
                if before.size != after.size {
                    return Ok(true);
                }
                match same_bytes(self.lower.files, &lower, &upper) {
                    Ok(same) => Ok(!same),
                    // What its owner has closed for itself can't be compared, and counts as changed.
                    Err(error) if error.kind() == Kind::Failed && before.mode & 0o400 == 0 => Ok(true),
                    Err(error) => Err(error),
                }
            }
            EntryKind::Symlink => {
                Ok(self.lower.files.read_link(&lower)? != self.lower.files.read_link(&upper)?)
            }
            EntryKind::Device => Ok(device(&lower)? != device(&upper)?),
            EntryKind::Directory | EntryKind::Fifo | EntryKind::Socket => Ok(false),
        }
    }
}

impl Found {
    fn add(&mut self, change: Change) {
        self.changes.push(change);
    }

    fn name(&mut self, path: &Path, after: &Stat, was_there: bool) {
        if after.kind == EntryKind::File && after.links > 1 {
            let names = self.names.entry(after.inode).or_default();
            names.push((path.to_path_buf(), was_there));
        }
    }

    /// Says of each further name of a file which one it joins.
    fn join(&mut self) {
        let mut joins: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for names in self.names.values_mut() {
            names.sort_by(|(one, was), (other, were)| {
                let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
                were.cmp(was).then_with(|| bytes(one).cmp(&bytes(other)))
            });
            if let Some(((first, _), others)) = names.split_first() {
                joins.extend(others.iter().map(|(other, _)| (other.clone(), first.clone())));
            }
        }
        for change in &mut self.changes {
            change.joins = joins.remove(&change.path);
        }
    }
}

fn change(path: &Path, what: What, before: Option<Stat>, after: Option<Stat>) -> Change {
    Change {
        path: path.to_path_buf(),
        what,
        before,
        after,
        attributes: false,
        linked: false,
        joins: None,
    }
}

/// Attributes as a command sees them through the overlay: without the overlay's own; in the layer its own of that name are
/// kept one step aside.
fn visible(attributes: Attributes, notes: &str, is_upper: bool) -> Attributes {
    let aside = format!("{notes}overlay.");
    let mut seen: Attributes = attributes
        .into_iter()
        .filter_map(|(name, value)| {
            let bytes = name.as_bytes();
            if !bytes.starts_with(notes.as_bytes()) {
                return Some((name, value));
            }
            let rest = bytes.strip_prefix(aside.as_bytes()).filter(|_| is_upper)?;
            let mut own = OsString::from(notes);
            own.push(OsStr::from_bytes(rest));
            Some((own, value))
        })
        .collect();
    seen.sort_unstable();
    seen
}

fn same_bytes(files: &Files, one: &Path, other: &Path) -> Result<bool> {
    const PIECE: u64 = 1 << 17;
    let reading = |error: std::io::Error| Error::io(format_args!("compare `{}`", one.display()), &error);
    let ((mut one, _), (mut other, _)) = (files.open_file(one)?, files.open_file(other)?);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&mut one).take(PIECE).read_to_end(&mut left).map_err(reading)?;
        (&mut other)
            .take(PIECE)
            .read_to_end(&mut right)
            .map_err(reading)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attributes_of_the_overlay_are_not_the_commands() {
        let named = |name: &str| (OsString::from(name), b"v".to_vec());
        let notes = "user.overlay.";
        let upper = vec![
            named("user.mine"),
            named("user.overlay.opaque"),
            named("user.overlay.overlay.mine"),
        ];
        assert_eq!(
            visible(upper, notes, true),
            [named("user.mine"), named("user.overlay.mine")]
        );
        let lower = vec![named("user.mine"), named("user.overlay.opaque")];
        assert_eq!(visible(lower, notes, false), [named("user.mine")]);
    }

    #[test]
    fn the_name_that_was_there_is_the_one_that_others_join() {
        let mut found = Found::default();
        for (name, was_there) in [("a", false), ("c", true), ("b", false)] {
            let path = Path::new(name);
            found
                .names
                .entry(7)
                .or_default()
                .push((path.to_path_buf(), was_there));
            found.add(change(path, What::Created, None, None));
        }
        found.join();
        let joins: Vec<Option<&Path>> = found
            .changes
            .iter()
            .map(|change| change.joins.as_deref())
            .collect();
        assert_eq!(joins, [Some(Path::new("c")), None, Some(Path::new("c"))]);
    }
}

//! Moving: a rename where the file system can, a verified copy where it can't.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::RenameFlags;
use rustix::io::Errno;

use super::attributes::set_mtime_at;
use super::resolve::{absent, failure, on_other_mount, temporary_name};
use super::{CopyOutcome, EntryKind, Files, shown};
use crate::error::{Error, Result};
use crate::gate::Permit;

/// How a rename went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Renamed {
    /// It is there now.
    Done,
    /// Nothing happened: the two ends lie on different file systems (or mounts).
    CrossDevice,
}

/// How something came to its new place.
#[derive(Debug)]
pub enum Relocated {
    /// By one rename.
    Moved,
    /// By a verified copy, after which the original was removed.
    Copied(CopyOutcome),
}

impl Files {
    /// Renames without replacing anything, durably; the two ends may lie below different roots.
    ///
    /// # Errors
    /// `NotFound`; `Exists` where something stands at `to`; `Invalid` for a directory into itself; `Denied` for a mount
    /// point. Nothing is then changed.
    pub fn rename(&self, _permit: &Permit, from: &Path, to: &Path) -> Result<Renamed> {
        let source = self.changeable(from)?;
        let target = self.changeable(to)?;
        if to.starts_with(from) {
            return Err(Error::invalid(format!(
                "`{}` can't be moved into itself (`{}`)",
                shown(from),
                shown(to)
            )));
        }
        let before = source.existing()?;
        match rustix::fs::renameat_with(
            &source.parent,
            &source.name,
            &target.parent,
            &target.name,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => {}
            Err(Errno::XDEV) => return Ok(Renamed::CrossDevice),
            Err(Errno::NOENT) => return Err(absent(from)),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                return Err(Error::exists(format!("`{}` exists already", shown(to)))
                    .hint("move it out of the way, or choose another name"));
            }
            Err(Errno::BUSY) => return Err(on_other_mount(from)),
            Err(error) => {
                return Err(failure(&format!("move to `{}` from", shown(to)), from, error));
            }
        }
        // Some file systems count the new `..` of a moved directory as a change of its contents.
        if before.kind == EntryKind::Directory
            && target
                .stat()?
                .is_some_and(|after| after.mtime_ns != before.mtime_ns)
        {
            set_mtime_at(target.parent.as_fd(), &target.name, before.mtime_ns, to)
                .map_err(Error::after_changes)?;
        }
        target
            .sync_parent()
            .and_then(|()| source.sync_parent())
            .map_err(Error::after_changes)?;
        Ok(Renamed::Done)
    }

    /// Moves whatever stands at `from`, across file systems too. A copy is verified before the original goes, and
    /// must have kept everything. Refuses trees in which something is mounted.
    ///
    /// # Errors
    /// As [`Files::rename`] and [`Files::copy_tree`]; `Changed` where the original changed after it was copied. An error
    /// that says `changed_something` names what is left where; `from` is then whole, or gone with `to` complete.
    pub fn relocate(&self, permit: &Permit, from: &Path, to: &Path) -> Result<Relocated> {
        self.refuse_mounts(from)?;
        match self.rename(permit, from, to)? {
            Renamed::Done => Ok(Relocated::Moved),
            Renamed::CrossDevice => self.relocate_by_copy(permit, from, to).map(Relocated::Copied),
        }
    }

    /// The second half of [`Files::relocate`], whatever the file systems.
    pub(super) fn relocate_by_copy(&self, permit: &Permit, from: &Path, to: &Path) -> Result<CopyOutcome> {
        let outcome = self.copy_tree(permit, from, to, &|_| false)?;
        let aside = match self.set_aside(permit, from, &outcome) {
            Ok(aside) => aside,
            Err(error) => {
                return Err(match self.remove_tree(permit, to) {
                    Ok(()) => error,
                    Err(left) => error
                        .context(format!(
                            "a copy that nobody needs is left at `{}` ({})",
                            shown(to),
                            left.message()
                        ))
                        .after_changes(),
                });
            }
        };
        // The copy is whole, and the original has gone from its place: the move is done, whatever becomes of the rest.
        if let Err(error) = self.remove_tree(permit, &aside) {
            self.leave(&aside, &error);
        }
        Ok(outcome)
    }

    /// Takes the original out of everybody's way under a hidden name beside it, and makes sure that it is what was
    /// copied. After a failure it is back under its own name.
    pub(super) fn set_aside(&self, permit: &Permit, from: &Path, outcome: &CopyOutcome) -> Result<PathBuf> {
        if let Some(left) = outcome.skipped.iter().chain(&outcome.not_owned).next() {
            return Err(Error::failed(format!(
                "`{}` can't be moved to another file system: its copy would lack its kind or owner",
                shown(&super::below(from, left))
            ))
            .hint("remove it, run as its owner, or use a directory on the same file system"));
        }
        let aside = from.with_file_name(temporary_name());
        if self.rename(permit, from, &aside)? == Renamed::CrossDevice {
            return Err(on_other_mount(from));
        }
        let Err(error) = self.is_what_was_copied(&aside, from, outcome) else {
            return Ok(aside);
        };
        match self.rename(permit, &aside, from) {
            Ok(Renamed::Done) => Err(error),
            Ok(Renamed::CrossDevice) => Err(on_other_mount(from).after_changes()),
            Err(stuck) => Err(stuck
                .context(error.message())
                .hint(format!("the original is now `{}`", shown(&aside)))
                .after_changes()),
        }
    }

    fn is_what_was_copied(&self, aside: &Path, from: &Path, outcome: &CopyOutcome) -> Result<()> {
        let changed = |relative: &Path| {
            Error::changed(format!(
                "`{}` changed after it was copied",
                shown(&super::below(from, relative))
            ))
            .hint("stop the program that writes to it, then try again")
        };
        let top = self.stat(aside)?.ok_or_else(|| absent(aside))?;
        let copied_top = outcome.copied.top().ok_or_else(|| changed(Path::new("")))?;
        // The rename itself has changed the change time of the top.
        if !top.same_thing(copied_top) || top.mtime_ns != copied_top.mtime_ns || top.size != copied_top.size {
            return Err(changed(Path::new("")));
        }
        let mut seen = 1;
        if top.kind == EntryKind::Directory {
            self.walk(aside, &mut |entry| {
                seen += 1;
                match outcome.copied.get(entry.relative) {
                    Some(copied) if copied.is(&entry.stat) => Ok(super::Step::Continue),
                    _ => Err(changed(entry.relative)),
                }
            })?;
        }
        if seen == outcome.copied.len() {
            Ok(())
        } else {
            Err(changed(Path::new("")))
        }
    }
}

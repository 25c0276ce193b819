//! Moving: a rename where the file system can, a verified copy where it can't.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use tracing::{debug, trace};

use super::attributes::set_mtime_at;
use super::claim::rename_new;
use super::resolve::{Place, absent, aside_name, failure, on_other_mount, temporary_name};
use super::{Cause, CopyOutcome, EntryKind, Files, Mounts, Route, display};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};

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

/// Directories in which renames have changed names that are not brought to the disk yet: each is synced once, those that
/// were given a name before those that lost it.
#[derive(Debug, Default)]
pub struct Unsynced {
    given: BTreeMap<PathBuf, OwnedFd>,
    lost: BTreeMap<PathBuf, OwnedFd>,
}

impl Unsynced {
    /// More open directories are not kept.
    const MOST: usize = 128;

    fn add(&mut self, from: Place, to: Place) -> Result<()> {
        if self.given.len() + self.lost.len() >= Self::MOST {
            self.flush()?;
        }
        for (directories, place) in [(&mut self.given, to), (&mut self.lost, from)] {
            let above = place.path.parent().unwrap_or(&place.path).to_path_buf();
            directories.entry(above).or_insert(place.parent);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for (path, directory) in self.given.iter().chain(&self.lost) {
            rustix::fs::fsync(directory)
                .map_err(|error| failure("sync", path, error))
                .map_err(Error::after_changes)?;
        }
        self.given.clear();
        self.lost.clear();
        Ok(())
    }

    /// Brings all to the disk.
    ///
    /// # Errors
    /// What the system says; the names are changed all the same.
    pub fn sync(mut self) -> Result<()> {
        self.flush()
    }
}

impl Files {
    /// Renames without replacing anything, durably; the two ends may lie below different roots.
    ///
    /// # Errors
    /// `NotFound`; `Exists` where something stands at `to`; `Invalid` for a directory into itself; `Denied` for a mount
    /// point. Nothing is then changed.
    pub fn rename(&self, permit: &Permit, from: &Path, to: &Path) -> Result<Renamed> {
        let mut unsynced = Unsynced::default();
        let renamed = self.rename_within(permit, from, to, &mut unsynced)?;
        unsynced.sync()?;
        Ok(renamed)
    }

    /// As [`Files::rename`], one of several: what it changes is brought to the disk with them.
    fn rename_within(
        &self,
        _permit: &Permit,
        from: &Path,
        to: &Path,
        unsynced: &mut Unsynced,
    ) -> Result<Renamed> {
        trace!(from = %from.display(), to = %to.display(), "rename");
        let source = self.changeable(from)?;
        let target = self.changeable(to)?;
        if to.starts_with(from) {
            return Err(Error::invalid(format!(
                "`{}` can't be moved into itself (`{}`)",
                display(from),
                display(to)
            )));
        }
        let before = source.existing()?;
        match rename_new(
            (source.parent.as_fd(), &source.name),
            (target.parent.as_fd(), &target.name),
        ) {
            Ok(()) => {}
            Err(Errno::XDEV) => return Ok(Renamed::CrossDevice),
            Err(Errno::NOENT) => return Err(absent(from)),
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                return Err(Error::exists(format!("`{}` exists already", display(to)))
                    .hint("move it out of the way, or choose another name"));
            }
            Err(Errno::BUSY) => return Err(on_other_mount(from)),
            Err(error) => {
                return Err(failure(&format!("move to `{}` from", display(to)), from, error));
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
        unsynced.add(source, target)?;
        Ok(Renamed::Done)
    }

    /// Moves whatever stands at `from`, by the way that [`Files::route`] finds. A copy is verified before the original
    /// goes, and must have kept everything.
    ///
    /// # Errors
    /// As [`Files::route`], [`Files::rename`] and [`Files::copy_tree`]; `Changed` where the original changed after it was
    /// copied. An error that says `changed_something` names what is left where; `from` is then whole, or gone with `to`
    /// complete.
    pub fn relocate(&self, permit: &Permit, from: &Path, to: &Path, mounts: Mounts) -> Result<Relocated> {
        let mut unsynced = Unsynced::default();
        let relocated = self.relocate_within(permit, from, to, mounts, &mut unsynced)?;
        unsynced.sync()?;
        Ok(relocated)
    }

    /// As [`Files::relocate`], one of several: what a rename changes is brought to the disk with them.
    ///
    /// # Errors
    /// As there.
    pub fn relocate_within(
        &self,
        permit: &Permit,
        from: &Path,
        to: &Path,
        mounts: Mounts,
        unsynced: &mut Unsynced,
    ) -> Result<Relocated> {
        let above = |path: &'_ Path| path.parent().unwrap_or(path).to_path_buf();
        let route = self.route((&above(from), from), (&above(to), to), mounts)?;
        debug!(from = %from.display(), to = %to.display(), ?route, "moves");
        match route {
            Route::Rename | Route::RenameOrCopy => match self.rename_within(permit, from, to, unsynced)? {
                Renamed::Done => Ok(Relocated::Moved),
                Renamed::CrossDevice => {
                    debug!("the rename crosses file systems: copies instead");
                    self.relocate_by_copy(permit, from, to).map(Relocated::Copied)
                }
            },
            Route::Copy(Cause::OtherFileSystem) => {
                self.relocate_by_copy(permit, from, to).map(Relocated::Copied)
            }
            Route::Copy(Cause::MountPoints(_) | Cause::StandingMounts) => {
                self.relocate_across(permit, from, to).map(Relocated::Copied)
            }
        }
    }

    /// As [`Files::relocate_by_copy`], with mount points at either end; those stay.
    fn relocate_across(&self, permit: &Permit, from: &Path, to: &Path) -> Result<CopyOutcome> {
        let hollow = self.is_hollow(to)?;
        let outcome = self.copy_across(permit, from, to)?;
        let gone = refuse_incomplete(from, &outcome).and_then(|()| self.take_apart(permit, from, &outcome));
        match gone {
            Ok(()) => Ok(outcome),
            Err(error) if error.changed_something() => Err(error),
            Err(error) => {
                let removed = if hollow {
                    self.hollow_out(permit, to, &|_, _| true)
                } else {
                    self.remove_tree(permit, to)
                };
                Err(match removed {
                    Ok(()) => error,
                    Err(left) => error.context(left.message()).after_changes(),
                })
            }
        }
    }

    /// The second half of [`Files::relocate`], whatever the file systems.
    pub(super) fn relocate_by_copy(&self, permit: &Permit, from: &Path, to: &Path) -> Result<CopyOutcome> {
        let outcome = self.copy_tree(permit, from, to, &|_| false)?;
        let aside = match self.set_aside(permit, from, &outcome) {
            Ok(Some(aside)) => aside,
            Ok(None) => return Ok(outcome),
            Err(error) if error.changed_something() => return Err(error),
            Err(error) => {
                return Err(match self.remove_tree(permit, to) {
                    Ok(()) => error,
                    Err(left) => error
                        .context(format!(
                            "a copy that nobody needs is left at `{}` ({})",
                            display(to),
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
    /// copied. After a failure it is back under its own name. Until it is compared, its name is none that a recovery
    /// sweeps. `None` where the layer below an overlay does not let it be renamed even beside itself: then it is taken
    /// apart in its place.
    pub(super) fn set_aside(
        &self,
        permit: &Permit,
        from: &Path,
        outcome: &CopyOutcome,
    ) -> Result<Option<PathBuf>> {
        refuse_incomplete(from, outcome)?;
        let aside = from.with_file_name(aside_name());
        let temporary = from.with_file_name(temporary_name());
        if self.rename(permit, from, &aside)? == Renamed::CrossDevice {
            return self.take_apart(permit, from, outcome).map(|()| None);
        }
        let compared = self.is_what_was_copied(&aside, from, outcome).and_then(|()| {
            match self.rename(permit, &aside, &temporary)? {
                Renamed::Done => Ok(()),
                Renamed::CrossDevice => Err(on_other_mount(from)),
            }
        });
        let error = match compared {
            Ok(()) => return Ok(Some(temporary)),
            Err(error) if error.changed_something() => {
                return Err(error.hint(format!("the original is now `{}`", display(&temporary))));
            }
            Err(error) => error,
        };
        match self.rename(permit, &aside, from) {
            Ok(Renamed::Done) => Err(error),
            Ok(Renamed::CrossDevice) => Err(on_other_mount(from).after_changes()),
            Err(stuck) => Err(stuck
                .context(error.message())
                .hint(format!("the original is now `{}`", display(&aside)))
                .after_changes()),
        }
    }

    fn is_what_was_copied(&self, aside: &Path, from: &Path, outcome: &CopyOutcome) -> Result<()> {
        let changed = |relative: &Path| {
            Error::changed(format!(
                "`{}` changed after it was copied",
                display(&super::below(from, relative))
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

/// Refuses a copy that lacks something of its original.
fn refuse_incomplete(from: &Path, outcome: &CopyOutcome) -> Result<()> {
    match outcome.skipped.iter().chain(&outcome.not_owned).next() {
        None => Ok(()),
        Some(left) => Err(Error::failed(format!(
            "`{}` can't be moved by copying: its copy would lack its kind or owner",
            display(&super::below(from, left))
        ))
        .hint("remove it, run as its owner, or use a directory on the same file system")),
    }
}

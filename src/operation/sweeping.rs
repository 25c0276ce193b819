//! What an operation that was cut off left lying about: temporaries of ours, and a copy whose original still stands.

use std::path::Path;

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::Host;
use crate::host::files::{EntryKind, Renamed, is_aside, is_aside_of, is_temporary, is_temporary_of};
use crate::operation::reverting::put_times;
use crate::report::undo::{Move, Undo};
use crate::workspace::{Place, Workspace};

/// Things of ours that nobody needs.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// What goes.
    pub paths: Vec<Place>,
    /// An original that was taken out of the way and not yet compared with its copy, and its place: it goes back first.
    pub original: Option<(Place, Place)>,
    /// Other originals that were taken out of the way, which stay, and the places that each may belong to.
    pub staying: Vec<(Place, Vec<Place>)>,
    /// Modification times of the directories that they lie in, as they were before the operation.
    times: Vec<(String, i64)>,
}

/// An operation that was begun and not finished.
#[derive(Debug, Clone, Copy)]
pub struct CutOff<'a> {
    /// How it is taken back, which tells what it touched.
    pub undo: &'a Undo,
    /// What it was about, where the undo does not tell.
    pub target: &'a str,
    /// When it was begun, nanoseconds since the epoch.
    pub begun_ns: i64,
    /// The process that did it.
    pub pid: u32,
}

impl CutOff<'_> {
    /// Looks for what it left.
    ///
    /// # Errors
    /// What the system says.
    pub fn leftovers(&self, host: &Host, workspace: &Workspace) -> Result<Leftovers> {
        let mut left = Leftovers::default();
        match self.undo {
            Undo::MoveBack {
                moves, times, drop, ..
            } => {
                for each in moves {
                    self.of_move(host, workspace, each, &mut left)?;
                }
                self.original(host, workspace, moves, &mut left)?;
                for display in drop {
                    self.temporaries(host, workspace, &workspace.place(display)?, true, &mut left)?;
                }
                left.times.clone_from(times);
            }
            Undo::RemoveCreated { path, times, .. } => {
                self.beside(host, workspace, path, &mut left)?;
                left.times.clone_from(times);
            }
            Undo::RestoreContents { files, .. } | Undo::InstallPackages { files, .. } => {
                for file in files {
                    self.beside(host, workspace, &file.path, &mut left)?;
                }
                if let Undo::RestoreContents { times, .. } = self.undo {
                    left.times.clone_from(times);
                }
            }
            Undo::Nothing { .. } | Undo::SetMode { .. } | Undo::Command { .. } => {}
        }
        self.staying(host, workspace, &mut left)?;
        left.paths.sort_by(|one, other| one.absolute.cmp(&other.absolute));
        left.paths.dedup_by(|one, other| one.absolute == other.absolute);
        Ok(left)
    }

    /// A move by copying: while the original stands, what is at the other place is a copy, perhaps a part of one. Once
    /// the original has gone from its place, the copy was complete, and what is left of the original lies beside.
    fn of_move(&self, host: &Host, workspace: &Workspace, each: &Move, left: &mut Leftovers) -> Result<()> {
        let (from, to) = (workspace.place(&each.from)?, workspace.place(&each.to)?);
        let original = host.files.stat(&from.absolute)?;
        let Some(copy) = host.files.stat(&to.absolute)? else {
            return Ok(());
        };
        self.temporaries(host, workspace, &to, true, left)?;
        match original {
            // It was given its new name, and still has its former one.
            Some(original) if original.same_thing(&copy) && original.kind != EntryKind::Directory => {
                left.paths.push(to);
            }
            // A name that was claimed for it, and not yet given.
            Some(original)
                if original.kind == EntryKind::Directory
                    && copy.kind == EntryKind::Directory
                    && copy.ctime_ns >= self.begun_ns
                    && !copy.mount_point
                    && host.files.list(&to.absolute)?.is_empty() =>
            {
                left.paths.push(to);
            }
            // What came later is no original. Within one file system little is copied: there it must be known to be ours.
            Some(original)
                if original.ctime_ns < self.begun_ns
                    && (original.device != copy.device
                        || is_ours(workspace, &to)
                        || host
                            .files
                            .born(&to.absolute)?
                            .is_some_and(|born| born >= self.begun_ns)) =>
            {
                // What is mounted there stood before.
                if !copy.mount_point || copy.ctime_ns >= self.begun_ns {
                    left.paths.push(to);
                }
            }
            Some(_) => {}
            None => self.beside_with(host, workspace, &each.from, false, left)?,
        }
        Ok(())
    }

    /// That of the last move whose original is not in its place: earlier ones are done, later ones were not begun.
    fn original(
        &self,
        host: &Host,
        workspace: &Workspace,
        moves: &[Move],
        left: &mut Leftovers,
    ) -> Result<()> {
        for each in moves.iter().rev() {
            let (from, to) = (workspace.place(&each.from)?, workspace.place(&each.to)?);
            if host.files.stat(&from.absolute)?.is_some() {
                continue;
            }
            let (Some(above), Some(copy)) = (from.absolute.parent(), host.files.stat(&to.absolute)?) else {
                break;
            };
            if host.files.stat(above)?.is_none() {
                break;
            }
            let entries = host.files.list(above)?.into_iter();
            let aside = entries
                .filter(|(_, kind)| *kind == copy.kind)
                .map(|(name, _)| above.join(name))
                .find(|path| is_aside_of(path, self.pid));
            if let Some(aside) = aside {
                left.original = Some((workspace.show(&aside), from));
                left.paths.push(to);
            }
            break;
        }
        Ok(())
    }

    /// Originals beside what it was to move that do not go back by themselves.
    fn staying(&self, host: &Host, workspace: &Workspace, left: &mut Leftovers) -> Result<()> {
        let places: Vec<Place> = match self.undo {
            Undo::MoveBack { moves, .. } => {
                let froms = moves.iter().map(|each| workspace.place(&each.from));
                froms.collect::<Result<_>>()?
            }
            // What an operation is about need not be a path.
            _ => workspace.place(self.target).into_iter().collect(),
        };
        let mut directories: Vec<&Path> = places
            .iter()
            .filter_map(|place| place.absolute.parent())
            .collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in directories {
            let stat = host.files.stat(directory)?;
            if stat.is_none_or(|stat| stat.kind != EntryKind::Directory) {
                continue;
            }
            for (name, _) in host.files.list(directory)? {
                let path = directory.join(name);
                let goes_back = left
                    .original
                    .as_ref()
                    .is_some_and(|(aside, _)| aside.absolute == path);
                if is_aside(&path) && !goes_back {
                    let beside = places
                        .iter()
                        .filter(|place| place.absolute.parent() == Some(directory));
                    left.staying
                        .push((workspace.show(&path), beside.cloned().collect()));
                }
            }
        }
        Ok(())
    }

    fn beside(&self, host: &Host, workspace: &Workspace, display: &str, left: &mut Leftovers) -> Result<()> {
        self.beside_with(host, workspace, display, true, left)
    }

    fn beside_with(
        &self,
        host: &Host,
        workspace: &Workspace,
        display: &str,
        only_files: bool,
        left: &mut Leftovers,
    ) -> Result<()> {
        let place = workspace.place(display)?;
        match place.absolute.parent() {
            Some(parent) => self.temporaries(host, workspace, &workspace.show(parent), only_files, left),
            None => Ok(()),
        }
    }

    /// Temporaries of that process in a directory.
    fn temporaries(
        &self,
        host: &Host,
        workspace: &Workspace,
        directory: &Place,
        only_files: bool,
        left: &mut Leftovers,
    ) -> Result<()> {
        let stat = host.files.stat(&directory.absolute)?;
        if stat.is_none_or(|stat| stat.kind != EntryKind::Directory) {
            return Ok(());
        }
        for (name, kind) in host.files.list(&directory.absolute)? {
            let path = directory.absolute.join(name);
            if is_temporary_of(&path, self.pid) && (kind == EntryKind::File || !only_files) {
                left.paths.push(workspace.show(&path));
            }
        }
        Ok(())
    }
}

/// Whether only this program makes anything there.
fn is_ours(workspace: &Workspace, place: &Place) -> bool {
    [workspace.state(), workspace.backups()]
        .iter()
        .any(|own| place.absolute.starts_with(own))
}

impl Leftovers {
    /// What becomes of each original that was taken out of the way, for people: what `is_swept` already, or will be.
    #[must_use]
    pub fn fates(&self, is_swept: bool) -> Vec<String> {
        let verb = if is_swept { "was put" } else { "goes" };
        let back = self.original.iter();
        let back = back.map(|(aside, from)| {
            format!("`{aside}`, an original that was out of its place, {verb} back as `{from}`")
        });
        let staying = self.staying.iter().map(|(aside, places)| {
            let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
            format!(
                "`{aside}`, an original that was taken out of the way of {}, stays: look at it, then move it back by hand, or remove it",
                places.join(" or ")
            )
        });
        back.chain(staying).collect()
    }

    /// Puts the original back, removes the rest, and puts the times of their directories back.
    ///
    /// # Errors
    /// What the system says; `Exists` where something has come to the original's place. The copy is then still there.
    pub fn sweep(&self, permit: &Permit, host: &Host, workspace: &Workspace) -> Result<()> {
        if let Some((aside, from)) = &self.original {
            let stuck = |error: Error| error.context(format!("`{aside}` can't be put back as `{from}`"));
            let renamed = host.files.rename(permit, &aside.absolute, &from.absolute);
            if renamed.map_err(stuck)? == Renamed::CrossDevice {
                return Err(stuck(Error::failed("they lie on different file systems")));
            }
        }
        for place in &self.paths {
            match host.files.empty_out(permit, &place.absolute) {
                // A recovery is not to fail for ever because of something that nobody needs.
                Err(error) if is_temporary(&place.absolute) => host.files.leave(&place.absolute, &error),
                removed => removed?,
            }
        }
        put_times(permit, &host.files, workspace, &self.times).map(|_| ())
    }
}

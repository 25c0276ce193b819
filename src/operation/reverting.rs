//! Taking an operation back, as an operation of its own: it passes the gate, is recorded, and can be taken back too.

use std::path::Path;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::host::Host;
use crate::host::files::{Demand, EntryKind, Mounts};
use crate::host::packages::Manager;
use crate::operation::Operation;
use crate::report::effect::{Capability, Done, Fact, Risk};
use crate::report::undo::{Move, Saved, Undo};
use crate::view::View;
use crate::view::overlay::Overlay;
use crate::workspace::{Place, Workspace};

/// Putting packages back.
mod installing;

/// Putting contents back.
mod restoring;

/// Whether what is put back is what was put away.
pub mod proven;

/// How the world stands to an undo.
mod standing;

/// Modification times of directories.
mod times;

/// An undo in words.
mod telling;

use restoring::Put;
pub use standing::Ready;
use standing::{contents, is_left, only_for, own_place};
pub use telling::{describe, target};
pub use times::put_times;

/// The reverse of an operation.
#[derive(Debug)]
pub struct Revert {
    undo: Undo,
    /// Where what this run displaces goes: current contents before they are overwritten, created things.
    displaced: Vec<Place>,
    /// Files of ours inside what moves back (the manifest of a backup), and where they go.
    dropped: Vec<(Place, Place)>,
    /// Directories that were made for the backup and are empty then, outermost first; they keep their attributes there.
    emptied: Vec<(Place, Place)>,
    /// Directories that were made for what is removed, and hold nothing else, innermost first.
    vanishing: Vec<Place>,
    /// For each move, how many directories above its first place are missing.
    missing: Vec<usize>,
    /// Of each move whether it was made, and is not taken back.
    standing: Vec<bool>,
    /// Modification times as they are now, of the directories whose times it sets.
    times: Vec<(String, i64)>,
    /// Permission bits as they are now, of the directories that go with what it takes away.
    modes: Vec<(String, u32)>,
    /// What it puts back, file by file.
    put: Vec<Put>,
    /// Whether only the times are still to be set.
    is_late: bool,
    workspace: Workspace,
    /// Mount points, and what leads to them: they stay, emptied.
    staying: Vec<std::path::PathBuf>,
    demands: Vec<Demand>,
    facts: Vec<Fact>,
}

impl Revert {
    /// The reverse, as far as the world is as the operation left it.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, undo: Undo) -> Result<(Self, Ready)> {
        let workspace = (*view.workspace).clone();
        let place = |display: &str| own_place(&workspace, display);
        let mut facts = Vec::new();
        let mut displaced = Vec::new();
        let mut dropped = Vec::new();
        let mut emptied: Vec<(Place, Place)> = Vec::new();
        let mut vanishing = Vec::new();
        let mut missing = Vec::new();
        let mut standing = Vec::new();
        let mut modes = Vec::new();
        let mut demands = Vec::new();
        let mut staying = Vec::new();
        let mut put = Vec::new();
        let mut times = times::now(view, &workspace, &undo)?;
        let ready = match &undo {
            Undo::Nothing { why } => Ready::Never(why.clone()),
            Undo::MoveBack { moves, drop, .. } => {
                for display in drop {
                    let own = place(display)?;
                    let stat = view.stat(&own.absolute)?;
                    if stat.is_some_and(|stat| stat.kind == EntryKind::File) {
                        let above = own.absolute.parent().map(|above| workspace.show(above));
                        if let Some(above) = above
                            && let Some(stat) = view.stat(&above.absolute)?
                        {
                            times.push((above.spelled(), stat.mtime_ns));
                        }
                        let aside = view.slot("removed", name_of(display));
                        demands.push(Demand::Aside {
                            from: own.absolute.clone(),
                            to: aside.absolute.clone(),
                        });
                        dropped.push((own, aside));
                    }
                }
                for display in drop {
                    let own = place(display)?;
                    let of_backup = dropped.iter().any(|(file, _)| {
                        let backup = file.absolute.parent();
                        backup.is_some_and(|backup| own.absolute.starts_with(backup))
                    });
                    if let Some(stat) = view.stat(&own.absolute)?
                        && stat.kind == EntryKind::Directory
                    {
                        times.push((display.clone(), stat.mtime_ns));
                        modes.push((display.clone(), stat.mode));
                        if of_backup && !moves.iter().any(|each| each.to == *display) {
                            emptied.push((own, view.slot("removed", name_of(display))));
                        }
                    }
                }
                let mut there = 0_usize;
                let mut lost = None;
                let mut blocked = None;
                for each in moves {
                    let Move { from, to, made, .. } = each;
                    missing.push(view.absent_parents(&place(from)?)?.len());
                    facts.push(view.fact(&place(to)?)?);
                    let is_made =
                        standing::is_made(&workspace, each, &|path| view.exists(path), &|from, to| {
                            view.is_remainder(from, to)
                        })?;
                    standing.push(is_made);
                    if is_made {
                        there += 1;
                        let (from_now, to_then) = (place(to)?.absolute, place(from)?.absolute);
                        // What came in its place goes first.
                        let is_freed = moves.iter().any(|other| other.to == *from);
                        if !is_freed && view.exists(&to_then)? && !view.is_remainder(&to_then, &from_now)? {
                            blocked = Some(from.clone());
                        }
                        staying.extend(view.left_standing(&from_now)?);
                        demands.push(Demand::Move {
                            from: from_now,
                            to: to_then,
                            mounts: Mounts::Contents,
                        });
                    } else if !made
                        && !view.exists(&place(to)?.absolute)?
                        && !view.exists(&place(from)?.absolute)?
                    {
                        lost = Some(to.clone());
                    }
                }
                match blocked {
                    Some(from) => Ready::ChangedSince(format!("something stands at `{from}` again")),
                    None if there == 0 => match lost {
                        Some(to) => Ready::Lost(format!("`{to}` is gone: pruned, or removed by hand")),
                        None if is_left(view, &workspace, drop)? => Ready::Yes,
                        None => Ready::Nothing("nothing was moved".to_owned()),
                    },
                    None => Ready::Yes,
                }
            }
            Undo::RemoveCreated {
                path,
                after,
                created: was,
                made,
                ..
            } => {
                let created = place(path)?;
                vanishing = only_for(view, &created, made)?;
                // Made again by whoever takes this back, they get the times and modes that they had.
                for directory in &vanishing {
                    if let Some(stat) = view.stat(&directory.absolute)? {
                        times.push((directory.spelled(), stat.mtime_ns));
                        modes.push((directory.spelled(), stat.mode));
                    }
                }
                facts.push(view.fact(&created)?);
                let aside = view.slot("removed", name_of(path));
                if view.exists(&created.absolute)? {
                    staying.extend(view.left_standing(&created.absolute)?);
                    demands.push(Demand::Move {
                        from: created.absolute.clone(),
                        to: aside.absolute.clone(),
                        mounts: Mounts::Contents,
                    });
                }
                displaced.push(aside);
                match (view.stat(&created.absolute)?, after) {
                    (None, _) if is_left(view, &workspace, made)? => Ready::Yes,
                    (None, _) => Ready::Nothing(format!("`{path}` is not there")),
                    (Some(_), Some(after)) if view.digest(&created).ok().as_ref() != Some(after) => {
                        Ready::ChangedSince(format!("`{path}` was changed since"))
                    }
                    _ => standing::as_made(view, &created, was.as_ref())?,
                }
            }
            Undo::RestoreContents { files, .. } | Undo::InstallPackages { files, .. } => {
                let mut ready = if files.is_empty() {
                    Ready::Yes
                } else {
                    Ready::Nothing("nothing was changed".to_owned())
                };
                for file in files {
                    facts.push(view.fact(&place(&file.path)?)?);
                    put.push(Put::of(view, file)?);
                    let aside = view.slot("saved", name_of(&file.path));
                    let (from, to) = (place(&file.path)?.absolute, aside.absolute.clone());
                    // What a package manager makes first can't be asked for.
                    let has_directory = match from.parent() {
                        Some(directory) => view.exists(directory)?,
                        None => true,
                    };
                    if let (Some(stat), true) = (view.stat(&place(&file.saved)?.absolute)?, has_directory) {
                        demands.extend([
                            Demand::Make(to.clone()),
                            Demand::Room {
                                from: from.clone(),
                                to,
                            },
                            Demand::Replace(from.clone()),
                            Demand::Contents {
                                path: from,
                                bytes: stat.size,
                            },
                        ]);
                    }
                    displaced.push(aside);
                    match contents(view, &workspace, file)? {
                        Ready::Nothing(_) => {}
                        other @ Ready::ChangedSince(_) => {
                            ready = other;
                            break;
                        }
                        other => ready = other,
                    }
                }
                if let Undo::InstallPackages {
                    manager, packages, ..
                } = &undo
                    && !matches!(ready, Ready::ChangedSince(_))
                {
                    let untouched = files.is_empty() || matches!(ready, Ready::Nothing(_));
                    ready = installing::ready(view, manager, packages, untouched)?;
                }
                ready
            }
            Undo::SetMode { path, was, now } => {
                match view.stat(&place(path)?.absolute)?.map(|stat| stat.mode) {
                    Some(mode) if mode == *now => Ready::Yes,
                    Some(mode) if mode != *was => {
                        Ready::ChangedSince(format!("`{path}` has mode {mode:04o}"))
                    }
                    Some(_) => Ready::Nothing(format!("`{path}` has the mode that it had")),
                    None => Ready::Nothing(format!("`{path}` is not there")),
                }
            }
            Undo::Command { .. } => Ready::Yes,
        };
        Ok((
            Self {
                undo,
                displaced,
                dropped,
                emptied,
                vanishing,
                missing,
                standing,
                times,
                modes,
                put,
                is_late: false,
                workspace,
                staying,
                demands,
                facts,
            },
            ready,
        ))
    }

    /// The rest of a reverse that was cut off: the times of directories, which are set last, and of which nobody can
    /// tell whether they were.
    #[must_use]
    pub fn late(mut self) -> Option<Self> {
        self.is_late = !self.times.is_empty();
        self.is_late.then_some(self)
    }

    fn place(&self, display: &str) -> Result<Place> {
        own_place(&self.workspace, display)
    }

    fn move_back(
        &self,
        permit: &Permit,
        host: &Host,
        moves: &[Move],
        modes: &[(String, u32)],
        drop: &[String],
    ) -> Result<()> {
        let modes = modes
            .iter()
            .map(|(display, mode)| Ok((self.place(display)?.absolute, *mode)))
            .collect::<Result<Vec<_>>>()?;
        // Files of ours inside what moves back go first, so that what comes back is what was.
        for (own, aside) in &self.dropped {
            if host.files.stat(&own.absolute)?.is_some() {
                super::moving::move_one(permit, host, own, aside, Mounts::Refused)?;
            }
        }
        let exists = |path: &Path| host.files.stat(path).map(|stat| stat.is_some());
        let is_rest = |from: &Path, to: &Path| host.files.is_remainder(from, to);
        for each in moves.iter().rev() {
            let (from, to) = (self.place(&each.from)?, self.place(&each.to)?);
            if standing::is_made(&self.workspace, each, &exists, &is_rest)? {
                // What a cut left of an original that was being removed behind its copy.
                if host.files.stat(&from.absolute)?.is_some()
                    && host.files.is_remainder(&from.absolute, &to.absolute)?
                {
                    host.files
                        .remove_remainder(permit, &from.absolute, &to.absolute)?;
                }
                super::moving::move_below(permit, host, (&to, &from), &modes, Mounts::Contents)?;
            }
        }
        for (own, aside) in self.emptied.iter().rev() {
            if host.files.list(&own.absolute)?.is_empty() {
                super::moving::move_one(permit, host, own, aside, Mounts::Refused)?;
            }
        }
        self.drop_empty(permit, host, drop)
    }

    fn drop_empty(&self, permit: &Permit, host: &Host, directories: &[String]) -> Result<()> {
        for display in directories.iter().rev() {
            let own = self.place(display)?;
            let is_directory = host
                .files
                .stat(&own.absolute)?
                .is_some_and(|stat| stat.kind == EntryKind::Directory);
            if is_directory && host.files.list(&own.absolute)?.is_empty() {
                host.files.remove_tree(permit, &own.absolute)?;
            }
        }
        Ok(())
    }
}

fn name_of(display: &str) -> &str {
    Path::new(display)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("file")
}

fn apart((own, aside): &(Place, Place)) -> Move {
    Move::new(own.spelled(), aside.spelled(), None)
}

impl Operation for Revert {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        match &self.undo {
            Undo::InstallPackages { manager, .. } => vec![Capability::Packages {
                manager: manager.clone(),
            }],
            Undo::Command { argv, .. } => argv
                .first()
                .map(|program| Capability::Command {
                    program: program.clone(),
                })
                .into_iter()
                .collect(),
            // What an undo touches was allowed when it was done; its records are ours.
            _ => Vec::new(),
        }
    }

    fn demands(&self) -> Vec<Demand> {
        if self.is_late {
            return Vec::new();
        }
        self.demands.clone()
    }

    fn undo(&self) -> Undo {
        match &self.undo {
            Undo::MoveBack { moves, .. } => Undo::MoveBack {
                moves: (self.dropped.iter().map(apart))
                    .chain(
                        moves
                            .iter()
                            .rev()
                            .map(|each| Move::new(each.to.clone(), each.from.clone(), None)),
                    )
                    .chain(self.emptied.iter().rev().map(apart))
                    .collect(),
                times: self.times.clone(),
                drop: Vec::new(),
                modes: self.modes.clone(),
                apart: false,
            },
            Undo::RemoveCreated { path, .. } => Undo::MoveBack {
                moves: self
                    .displaced
                    .first()
                    .map(|to| Move::new(path.clone(), to.spelled(), None))
                    .into_iter()
                    .collect(),
                times: self.times.clone(),
                drop: Vec::new(),
                modes: self.modes.clone(),
                apart: false,
            },
            Undo::RestoreContents { files, .. } => Undo::RestoreContents {
                files: files
                    .iter()
                    .zip(self.displaced.iter().zip(&self.put))
                    .map(|(file, (displaced, put))| Saved {
                        path: file.path.clone(),
                        saved: displaced.spelled(),
                        after: put.digest.clone(),
                        before: None,
                        names: put.names.clone(),
                    })
                    .collect(),
                times: self.times.clone(),
            },
            Undo::InstallPackages { manager, .. } => Undo::Nothing {
                why: format!("uninstall the packages of {manager} again by rolling back"),
            },
            Undo::SetMode { path, was, now } => Undo::SetMode {
                path: path.clone(),
                was: *now,
                now: *was,
            },
            Undo::Command { .. } => Undo::Nothing {
                why: "the command names no way back".to_owned(),
            },
            Undo::Nothing { why } => Undo::Nothing { why: why.clone() },
        }
    }

    fn effect(&self) -> Value {
        json!({ "take_back": self.undo, "only_times": self.is_late })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        for (display, _) in &self.times {
            overlay.set_time(&self.place(display)?.absolute);
        }
        if self.is_late {
            return Ok(Done::default());
        }
        match &self.undo {
            Undo::MoveBack { moves, drop, .. } => {
                let moves = moves.iter().zip(&self.missing).zip(&self.standing);
                for ((Move { from, to, .. }, missing), _) in moves.filter(|(_, made)| **made).rev() {
                    let from = self.place(from)?.absolute;
                    overlay.make_parents(&from, *missing);
                    overlay.rename(&self.place(to)?.absolute, &from);
                }
                for directory in &self.staying {
                    overlay.make_directory(directory);
                }
                for display in drop {
                    let own = self.place(display)?;
                    // The directory of all backups goes only where no other is in it.
                    if own.absolute != self.workspace.backups() {
                        overlay.remove(&own.absolute);
                    }
                }
            }
            Undo::RemoveCreated { path, .. } => {
                overlay.remove(&self.place(path)?.absolute);
                for directory in &self.vanishing {
                    overlay.remove(&directory.absolute);
                }
            }
            Undo::RestoreContents { files, .. } | Undo::InstallPackages { files, .. } => {
                for file in files {
                    overlay.copy(
                        &self.place(&file.saved)?.absolute,
                        &self.place(&file.path)?.absolute,
                    );
                }
                if let Undo::InstallPackages { manager, .. } = &self.undo {
                    overlay.cannot_simulate(format!("{manager} install"));
                }
            }
            Undo::SetMode { path, was, .. } => overlay.set_mode(&self.place(path)?.absolute, *was),
            Undo::Command { argv, .. } => overlay.cannot_simulate(argv.join(" ")),
            Undo::Nothing { .. } => {}
        }
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let mut why = None;
        match &self.undo {
            Undo::MoveBack { times, .. }
            | Undo::RemoveCreated { times, .. }
            | Undo::RestoreContents { times, .. }
                if self.is_late =>
            {
                why = put_times(permit, &host.files, &self.workspace, times)?;
            }
            Undo::MoveBack {
                moves,
                times,
                drop,
                modes,
                ..
            } => {
                self.move_back(permit, host, moves, modes, drop)?;
                why = put_times(permit, &host.files, &self.workspace, times)?;
            }
            Undo::RemoveCreated {
                path, made, times, ..
            } => {
                let created = self.place(path)?;
                if let Some(displaced) = self.displaced.first()
                    && host.files.stat(&created.absolute)?.is_some()
                {
                    super::moving::move_one(permit, host, &created, displaced, Mounts::Contents)?;
                }
                self.drop_empty(permit, host, made)?;
                why = put_times(permit, &host.files, &self.workspace, times)?;
            }
            Undo::RestoreContents { files, times } => {
                self.restore_contents(permit, host, files)?;
                why = put_times(permit, &host.files, &self.workspace, times)?;
            }
            Undo::InstallPackages {
                manager,
                packages,
                automatic,
                files,
            } => {
                // npm installs what its manifests say; what pip has written over is put back after it.
                let says_what = manager == Manager::Npm.name();
                if says_what {
                    self.restore_contents(permit, host, files)?;
                }
                host.packages
                    .install(permit, &host.cancelled, manager, packages)?;
                host.packages.unmark(permit, &host.files, automatic)?;
                if !says_what {
                    self.restore_contents(permit, host, files)?;
                }
            }
            Undo::SetMode { path, was, .. } => {
                host.files.set_mode(permit, &self.place(path)?.absolute, *was)?;
            }
            Undo::Command { argv, cwd } => {
                let output = host.run_listed(permit, argv, &self.place(cwd)?.absolute, &[], None)?;
                let output = Some(output);
                return Ok(Done {
                    output,
                    ..Done::default()
                });
            }
            Undo::Nothing { why } => return Err(Error::failed(format!("it can't be taken back: {why}"))),
        }
        Ok(Done {
            why,
            ..Done::default()
        })
    }
}

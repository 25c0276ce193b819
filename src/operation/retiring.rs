//! Backing up by moving: the source's contents go into the backup in constant time, a manifest seals it.

use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::backup::manifest::{self, Method};
use crate::backup::retire;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::{Demand, Mounts, Route};
use crate::operation::Operation;
use crate::report::effect::{BackupMade, Capability, Done, Fact, Risk};
use crate::report::undo::{Move, Undo};
use crate::view::overlay::Overlay;
use crate::view::{Size, View};
use crate::workspace::Place;

/// A source on its way into a backup.
#[derive(Debug)]
pub struct Retire {
    /// What is backed up: a directory or a file.
    pub source: Place,
    /// A link that led to the source; it goes too.
    pub link: Option<(Place, Place)>,
    /// The backup's directory.
    pub backup: Place,
    /// `<name>` without the time.
    pub name: String,
    /// Paths below the source that stay.
    pub keep: Vec<PathBuf>,
    /// Sizes of what goes.
    pub size: Size,
    /// The story at hand.
    pub story: String,
    /// The run.
    pub run: String,
    /// When.
    pub created: String,
    /// Whether digests are computed at once.
    pub digests: bool,
    kind: &'static str,
    method: Method,
    /// Mount points, and what leads to them: they stay, emptied.
    staying: Vec<PathBuf>,
    made: Vec<String>,
    moves: Vec<(Place, Place)>,
    times: Vec<(String, i64)>,
    needs: Vec<Capability>,
    facts: Vec<Fact>,
}

/// What a caller says of a backup by moving.
#[derive(Debug)]
pub struct Wanted {
    /// What is backed up.
    pub source: Place,
    /// A link that led there, and where it goes.
    pub link: Option<(Place, Place)>,
    /// What belongs to a source that is one file, and its name in the backup.
    pub sides: Vec<(Place, OsString)>,
    /// The backup's directory.
    pub backup: Place,
    /// `<name>` without the time.
    pub name: String,
    /// Paths below the source that stay.
    pub keep: Vec<PathBuf>,
    /// Sizes of what goes.
    pub size: Size,
}

impl Retire {
    /// The operation, with its moves, needs and facts.
    ///
    /// # Errors
    /// What the view says.
    pub fn new(view: &View, wanted: Wanted) -> Result<Self> {
        let Wanted {
            source,
            link,
            sides,
            backup,
            name,
            keep,
            size,
        } = wanted;
        let mut moves: Vec<(Place, Place)> = retire::plan(
            &source.absolute,
            &backup.absolute,
            &keep,
            &|path| view.stat(path).map(|stat| stat.map(|stat| stat.kind)),
            &|path| view.list(path),
        )?
        .into_iter()
        .map(|(from, to)| (view.workspace.show(&from), view.workspace.show(&to)))
        .collect();
        let mut facts = vec![view.fact(&source)?];
        for (side, name) in sides {
            facts.push(view.fact(&side)?);
            let to = backup.entry(&name);
            moves.push((side, to));
        }
        let mut needs: Vec<Capability> = moves.iter().map(|(from, _)| view.write(from, true)).collect();
        needs.extend(link.iter().map(|(from, _)| view.write(from, false)));
        if let Some((link, _)) = &link {
            facts.push(view.fact(link)?);
        }
        let touched: Vec<&Place> = moves
            .iter()
            .map(|(from, _)| from)
            .chain(link.iter().map(|(from, _)| from))
            .collect();
        let mut times = view.parent_times(&touched)?;
        if let Some(stat) = view.stat(&source.absolute)? {
            times.push((source.spelled(), stat.mtime_ns));
        }
        let kind = view.kind(&source)?;
        let mut staying = Vec::new();
        let mut method = Method::Moved;
        for (from, to) in &moves {
            staying.extend(view.left_standing(&from.absolute)?);
            // What is refused, the gate refuses.
            let route = view.route(&from.absolute, &to.absolute, Mounts::Contents);
            if matches!(route, Ok(Some(Route::Copy(_)))) {
                method = Method::Copied;
            }
        }
        let absolute: Vec<(PathBuf, PathBuf)> = moves
            .iter()
            .map(|(from, to)| (from.absolute.clone(), to.absolute.clone()))
            .collect();
        let made = retire::made(&backup.absolute, &absolute);
        let made = made.iter().map(|path| view.workspace.show(path).spelled());
        let made = view.absent_parents(&backup)?.into_iter().chain(made).collect();
        Ok(Self {
            kind,
            method,
            staying,
            made,
            story: view
                .story
                .borrow()
                .as_ref()
                .map(|story| story.id.clone())
                .unwrap_or_default(),
            run: view.errand.run.clone(),
            created: view.errand.began.clone(),
            digests: view.may_digest(size.bytes),
            source,
            link,
            backup,
            name,
            keep,
            size,
            moves,
            times,
            needs,
            facts,
        })
    }

    fn made(&self, method: &str, digest: Option<String>) -> BackupMade {
        BackupMade {
            name: self
                .backup
                .absolute
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            source: self.source.display.clone(),
            bytes: self.size.bytes,
            entries: self.size.entries,
            method: method.to_owned(),
            digest,
        }
    }

    fn header(&self) -> crate::backup::manifest::Origin {
        crate::backup::manifest::Origin {
            name: self.name.clone(),
            source: self.source.display.clone(),
            run: self.run.clone(),
            story: self.story.clone(),
            created: self.created.clone(),
        }
    }
}

impl Operation for Retire {
    fn risk(&self) -> Risk {
        Risk::Reversible
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        let mut demands: Vec<Demand> = (self.moves.iter())
            .map(|(from, _)| Demand::Read {
                path: from.absolute.clone(),
                contents: self.digests,
            })
            .collect();
        demands.push(Demand::Make(self.backup.absolute.join(crate::backup::MANIFEST)));
        demands.push(manifest::demand(&self.backup.absolute, self.size.entries));
        demands.extend(super::moving::demands(&self.moves, Mounts::Contents));
        demands.extend(super::moving::demands(&self.link, Mounts::Refused));
        demands
    }

    fn undo(&self) -> Undo {
        let moves = self
            .moves
            .iter()
            .chain(&self.link)
            .map(|(from, to)| Move::new(from.spelled(), to.spelled(), None))
            .collect();
        let manifest = format!("{}/{}", self.backup.display, crate::backup::MANIFEST);
        let mut drop = vec![manifest];
        drop.extend(self.made.iter().cloned());
        Undo::MoveBack {
            moves,
            times: self.times.clone(),
            drop,
            modes: Vec::new(),
            apart: false,
        }
    }

    fn effect(&self) -> Value {
        let moves: Vec<_> = self
            .moves
            .iter()
            .chain(&self.link)
            .map(|(from, to)| (&from.display, &to.display))
            .collect();
        json!({ "retire": self.source.display, "into": self.backup.display, "move": moves })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        if let Some(parent) = self.backup.absolute.parent() {
            overlay.make_directory(parent);
        }
        if self.moves.len() != 1 || self.moves.iter().any(|(_, to)| to != &self.backup) {
            overlay.make_directory(&self.backup.absolute);
        }
        for (from, to) in self.moves.iter().chain(&self.link) {
            overlay.rename(&from.absolute, &to.absolute);
        }
        for directory in &self.staying {
            overlay.make_directory(directory);
        }
        let made = self.made(self.method.name(), None);
        overlay.add_backup(serde_json::json!({
            "name": made.name, "path": self.backup.display, "kind": self.kind, "source": made.source, "story": self.story, "run": self.run,
            "created": self.created, "entries": crate::report::effect::listed(self.kind, made.entries), "bytes": made.bytes, "method": made.method,
            "complete": true, "verified": null,
        }));
        Ok(Done {
            backup: Some(made),
            ..Done::default()
        })
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let moves: Vec<(PathBuf, PathBuf)> = self
            .moves
            .iter()
            .map(|(from, to)| (from.absolute.clone(), to.absolute.clone()))
            .collect();
        // Without digests nothing is read.
        host.files
            .meter()
            .begin(if self.digests { self.size.bytes } else { 0 });
        let sealed = retire::execute(
            permit,
            &host.files,
            &moves,
            &self.backup.absolute,
            &self.header(),
            self.digests,
        )?;
        if let Some((from, to)) = &self.link {
            super::moving::move_one(permit, host, from, to, Mounts::Refused)?;
        }
        Ok(Done {
            backup: Some(self.made(sealed.method, sealed.digest)),
            ..Done::default()
        })
    }
}

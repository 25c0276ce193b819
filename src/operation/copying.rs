//! Copying: a backup that leaves the source in place, and plain copies.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::backup::manifest::{self, Method};
use crate::backup::{restore, retire};
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::Demand;
use crate::operation::Operation;
use crate::report::effect::{BackupMade, Capability, Done, Fact, Risk};
use crate::report::undo::{Portrait, Undo};
use crate::view::Size;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// A copy of a path.
#[derive(Debug)]
pub struct Copy {
    /// What is copied.
    pub from: Place,
    /// Where to; nothing stands there.
    pub to: Place,
    /// For the backup of a database: what belongs to it, and its place in the backup.
    pub sides: Vec<(Place, Place)>,
    /// `directory` or `file`.
    pub kind: &'static str,
    /// Sizes of what is copied.
    pub size: Size,
    /// Sockets, which a copy leaves out, by the path from the source.
    pub left_out: Vec<PathBuf>,
    /// The directory of the backup that is restored, where it is one.
    pub restores: Option<PathBuf>,
    /// For a backup: what its manifest says of it.
    pub backup: Option<crate::backup::manifest::Origin>,
    /// The source as it is, of which what is made will be a likeness; not asked for by a preview, nor where a manifest
    /// tells.
    pub made_of: Option<Portrait>,
    /// Modification times of the directories that are touched.
    pub times: Vec<(String, i64)>,
    /// Directories that are made for it.
    pub made: Vec<String>,
    /// What the policy must allow.
    pub needs: Vec<Capability>,
    /// What it rests on.
    pub facts: Vec<Fact>,
}

impl Copy {
    fn made(&self, method: &str, digest: Option<String>) -> Option<BackupMade> {
        self.backup.as_ref().map(|_| BackupMade {
            name: self
                .to
                .absolute
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            source: self.from.display.clone(),
            bytes: self.size.bytes,
            entries: self.size.entries,
            method: method.to_owned(),
            digest,
        })
    }
}

impl Operation for Copy {
    fn risk(&self) -> Risk {
        Risk::None
    }

    fn needs(&self) -> Vec<Capability> {
        self.needs.clone()
    }

    fn demands(&self) -> Vec<Demand> {
        let (from, to) = (self.from.absolute.clone(), self.to.absolute.clone());
        let manifest = self
            .backup
            .as_ref()
            .map(|_| manifest::demand(&to, self.size.entries));
        let mut demands = vec![
            Demand::Make(to.clone()),
            Demand::Read {
                path: from.clone(),
                contents: true,
            },
            Demand::Room { from, to },
        ];
        demands.extend(manifest);
        for (side, _) in &self.sides {
            let (from, to) = (side.absolute.clone(), self.to.absolute.clone());
            demands.push(Demand::Read {
                path: from.clone(),
                contents: true,
            });
            demands.push(Demand::Room { from, to });
        }
        demands
    }

    fn undo(&self) -> Undo {
        Undo::RemoveCreated {
            path: self.to.spelled(),
            after: None,
            created: self.made_of.clone(),
            made: self.made.clone(),
            times: self.times.clone(),
        }
    }

    fn effect(&self) -> Value {
        json!({
            "copy": self.from.display, "to": self.to.display, "kind": self.kind,
            "with": self.sides.iter().map(|(side, to)| (&side.display, &to.display)).collect::<Vec<_>>(),
            "backup": self.backup.is_some(), "restores": self.restores, "left_out": self.left_out,
        })
    }

    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        overlay.make_parents(&self.to.absolute, self.made.len());
        match self.from.absolute.file_name() {
            // The backup of one file is a directory that holds it.
            Some(name) if self.backup.is_some() && self.kind == "file" => {
                overlay.make_directory(&self.to.absolute);
                overlay.copy(&self.from.absolute, &self.to.absolute.join(name));
            }
            _ => overlay.copy(&self.from.absolute, &self.to.absolute),
        }
        for (side, to) in &self.sides {
            overlay.copy(&side.absolute, &to.absolute);
        }
        for left in &self.left_out {
            overlay.remove(&self.to.absolute.join(left));
        }
        if self.restores.is_some() && self.kind == "directory" {
            overlay.remove(&self.to.absolute.join(crate::backup::MANIFEST));
        }
        let made = self.made(Method::Copied.name(), None);
        if let (Some(made), Some(origin)) = (&made, &self.backup) {
            overlay.add_backup(serde_json::json!({
                "name": made.name, "path": self.to.display, "kind": self.kind, "source": made.source, "story": origin.story,
                "run": origin.run, "created": origin.created, "entries": crate::report::effect::listed(self.kind, made.entries), "bytes": made.bytes,
                "method": made.method, "complete": true, "verified": null,
            }));
        }
        Ok(Done {
            backup: made,
            ..Done::default()
        })
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let copy = || self.copy(permit, host);
        if self.backup.is_some() {
            host.files
                .below_new_private_directories(permit, &self.to.absolute, copy)
        } else {
            host.files.below_new_directories(permit, &self.to.absolute, copy)
        }
    }
}

impl Copy {
    fn copy(&self, permit: &Permit, host: &Host) -> Result<Done> {
        host.files.meter().begin(self.size.bytes);
        if let Some(origin) = &self.backup {
            let sides: Vec<_> = (self.sides.iter())
                .map(|(side, to)| (side.absolute.clone(), to.absolute.clone()))
                .collect();
            let sealed = retire::copy(
                permit,
                &host.files,
                &self.from.absolute,
                &sides,
                &self.to.absolute,
                origin,
            )?;
            return Ok(Done {
                backup: self.made(sealed.method, sealed.digest),
                ..Done::default()
            });
        }
        if let Some(backup) = &self.restores {
            restore::restore(permit, &host.files, backup, &self.to.absolute)?;
            return Ok(Done::default());
        }
        host.files
            .copy_across(permit, &self.from.absolute, &self.to.absolute)?;
        Ok(Done::default())
    }
}

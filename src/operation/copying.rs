//! Copying: a backup that leaves the source in place, and plain copies.

use crate::backup::manifest::Method;
use crate::backup::{restore, retire};
use crate::error::{Error, Result};
use crate::gate::{Overlay, Permit};
use crate::host::Host;
use crate::operation::{BackupMade, Capability, Done, Fact, Operation, Risk, Undo};
use crate::view::Size;
use crate::workspace::Place;

/// A copy of a path.
#[derive(Debug)]
pub struct Copy {
    /// What is copied.
    pub from: Place,
    /// Where to; nothing stands there.
    pub to: Place,
    /// `directory` or `file`.
    pub kind: &'static str,
    /// Sizes of the source.
    pub size: Size,
    /// The directory of the backup that is restored, where it is one.
    pub restores: Option<std::path::PathBuf>,
    /// For a backup: what its manifest says of it.
    pub backup: Option<crate::backup::manifest::Origin>,
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
            source: self.from.shown.clone(),
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

    fn undo(&self) -> Undo {
        Undo::RemoveCreated {
            path: self.to.shown.clone(),
            after: None,
            made: self.made.clone(),
            times: self.times.clone(),
        }
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
        if self.restores.is_some() && self.kind == "directory" {
            overlay.remove(&self.to.absolute.join(crate::backup::MANIFEST));
        }
        let made = self.made(Method::Copied.name(), None);
        if let (Some(made), Some(origin)) = (&made, &self.backup) {
            overlay.add_backup(serde_json::json!({
                "name": made.name, "path": self.to.shown, "kind": self.kind, "source": made.source, "story": origin.story,
                "run": origin.run, "created": origin.created, "entries": made.entries, "bytes": made.bytes,
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
            let sealed = retire::copy(
                permit,
                &host.files,
                &self.from.absolute,
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
        let copied = host
            .files
            .copy_tree(permit, &self.from.absolute, &self.to.absolute, &|_| false)?;
        if let Some(skipped) = copied.skipped.first() {
            host.files.remove_tree(permit, &self.to.absolute)?;
            return Err(Error::failed(format!(
                "`{}` holds `{}`, a socket or device, which can't be copied",
                self.from,
                skipped.display()
            ))
            .hint("nothing was copied"));
        }
        Ok(Done::default())
    }
}

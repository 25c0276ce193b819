//! Backing up a volume of the container engine: a tar archive of its contents, in a backup with a manifest.

use serde_json::{Value, json};

use crate::audit::permit::Permit;
use crate::backup::manifest::{self, Digests, Header, Method, Origin};
use crate::base::error::Result;
use crate::host::Host;
use crate::host::docker::Engine;
use crate::host::files::{Demand, EntryKind, Expect};
use crate::operation::Operation;
use crate::report::effect::{BackupMade, Capability, Done, Fact, Risk};
use crate::report::undo::Undo;
use crate::view::overlay::Overlay;
use crate::workspace::Place;

/// The archive in the backup.
pub const ARCHIVE: &str = "volume.tar";

/// What stands before a volume's name where a backup says what it was made of.
pub const SOURCE: &str = "volume:";

/// A volume that is copied into a backup.
#[derive(Debug)]
pub struct BackUpVolume {
    /// The engine.
    pub engine: Engine,
    /// The volume.
    pub volume: String,
    /// The backup's directory.
    pub backup: Place,
    /// What the manifest says of it.
    pub origin: Origin,
}

impl BackUpVolume {
    fn made(&self, bytes: u64, entries: u64, digest: Option<String>) -> BackupMade {
        let name = self.backup.absolute.file_name();
        BackupMade {
            name: name
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            source: self.origin.source.clone(),
            bytes,
            entries,
            method: Method::Copied.name().to_owned(),
            digest,
        }
    }

    fn copy(&self, permit: &Permit, host: &Host) -> Result<Done> {
        let directory = &self.backup.absolute;
        host.files.make_directory(permit, directory, 0o700)?;
        let copied = host
            .files
            .write_by(
                permit,
                &directory.join(ARCHIVE),
                &Expect::Absent,
                &mut |pour, _| {
                    self.engine
                        .export_volume(permit, &self.volume, pour, Some(&host.cancelled))
                },
            )
            .and_then(|()| {
                let header = Header::new(&self.origin, EntryKind::Directory, Method::Copied);
                manifest::make(
                    permit,
                    &host.files,
                    directory,
                    &header,
                    Digests::Computed,
                    &Expect::Absent,
                )
            });
        match copied {
            Ok(footer) => Ok(Done {
                backup: Some(self.made(footer.bytes, footer.entries, Some(footer.root))),
                ..Done::default()
            }),
            Err(error) => match host.files.remove_tree(permit, directory) {
                Ok(()) => Err(error),
                Err(left) => Err(error
                    .context(format!(
                        "an unfinished backup is left at `{}` ({})",
                        self.backup,
                        left.message()
                    ))
                    .after_changes()),
            },
        }
    }
}

impl Operation for BackUpVolume {
    fn risk(&self) -> Risk {
        Risk::None
    }

    fn needs(&self) -> Vec<Capability> {
        vec![
            Capability::Containers,
            Capability::Backup {
                source: self.origin.source.clone(),
            },
        ]
    }

    fn demands(&self) -> Vec<Demand> {
        let archive = self.backup.absolute.join(ARCHIVE);
        // How much is in it only the engine can tell, when it is read.
        vec![
            Demand::Make(archive.clone()),
            Demand::Contents {
                path: archive,
                bytes: 1,
            },
            manifest::demand(&self.backup.absolute, 1),
        ]
    }

    fn undo(&self) -> Undo {
        // Taking it back would destroy the only copy of a volume that was removed after it.
        Undo::Nothing {
            why: "the backup of a volume stays until it is pruned".to_owned(),
        }
    }

    fn effect(&self) -> Value {
        json!({ "copy": self.origin.source, "into": self.backup.display })
    }

    fn facts(&self) -> Vec<Fact> {
        vec![Fact::new(format!("volume {}", self.volume), json!(true))]
    }

    fn pretend(&self, overlay: &mut Overlay) -> Result<Done> {
        if let Some(parent) = self.backup.absolute.parent() {
            overlay.make_directory(parent);
        }
        overlay.make_directory(&self.backup.absolute);
        // How much is in it can't be known before the run: only the engine can read it.
        let made = self.made(0, 0, None);
        overlay.add_backup(json!({
            "name": made.name, "path": self.backup.display, "kind": "directory", "source": made.source,
            "story": self.origin.story, "run": self.origin.run, "created": self.origin.created, "entries": null,
            "bytes": null, "method": made.method, "complete": true, "verified": null,
        }));
        Ok(Done::default())
    }

    fn execute(&self, permit: &Permit, host: &Host) -> Result<Done> {
        host.files
            .below_new_private_directories(permit, &self.backup.absolute, || self.copy(permit, host))
    }
}

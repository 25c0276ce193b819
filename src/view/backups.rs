//! What a run keeps, as a script and its preview see it: backups with those that are pretended, and whether there is a
//! place for backups and records at all.

use std::path::Path;

use serde_json::{Value, json};

use super::View;
use crate::backup;
use crate::backup::verify::{self, Depth, Verified};
use crate::base::error::{Error, Result};
use crate::host::files::EntryKind;
use crate::view::overlay::Seen;
use crate::workspace::Place;

impl View {
    /// Finished backups, real and pretended, as `list_backups` tells them.
    ///
    /// # Errors
    /// What the system says.
    pub fn backups(&self) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = backup::catalogue::list(&self.host.files, &self.workspace.backups())?
            .into_iter()
            .map(|listed| json!(listed))
            .collect();
        all.extend(self.overlay().backups().iter().cloned());
        // One order, whether they are made or pretended: newest last, and of one moment by name, `_2` before `_10`.
        all.sort_by_cached_key(|backup| {
            let text = |key: &str| backup[key].as_str().unwrap_or_default().to_owned();
            let name = text("name");
            (text("created"), name.len(), name)
        });
        Ok(all)
    }

    /// A backup compared with its manifest; nothing for one that is only pretended. A preview reads the contents too: what
    /// changes between it and the real pass changes times as well.
    ///
    /// # Errors
    /// As [`verify::verify`].
    pub fn verified(&self, directory: &Place) -> Result<Option<Verified>> {
        let real = Seen::Real(directory.absolute.clone());
        if self.overlay().touches(&directory.absolute) || self.overlay().seen(&directory.absolute) != real {
            return Ok(None);
        }
        let depth = if self.errand.preview {
            Depth::Full
        } else {
            Depth::Structure
        };
        verify::verify(&self.host.files, &directory.absolute, depth).map(Some)
    }

    /// Makes sure that a backup is what its manifest says.
    ///
    /// # Errors
    /// As [`View::verified`]; `Corrupt` with the first differences.
    pub fn require_sound(&self, directory: &Place) -> Result<()> {
        match self.verified(directory)? {
            Some(verified) => verified.sound(&directory.absolute),
            None => Ok(()),
        }
    }

    /// A free name for a backup of this run.
    ///
    /// # Errors
    /// `Invalid` for a name with other characters than letters, digits, `_`, `.` and `-`.
    pub fn backup_directory(&self, name: &str) -> Result<Place> {
        let backups = self.workspace.backups();
        self.require_place_of_backups(&backups)?;
        let taken = |candidate: &str| self.exists(&backups.join(candidate));
        let directory = backup::directory_name(name, &self.errand.stamp, taken)?;
        Ok(self.workspace.show(&backups.join(directory)))
    }

    /// Makes sure that backups can stand there: in a directory, or where one can be made.
    fn require_place_of_backups(&self, backups: &Path) -> Result<()> {
        let display = self.workspace.show(backups);
        match self.stat(backups)?.map(|stat| stat.kind) {
            None => self.absent_parents(&display).map(|_| ()),
            Some(EntryKind::Directory) => Ok(()),
            Some(EntryKind::Symlink) => Err(Error::denied(format!(
                "`{display}`, the place of backups, is a symbolic link"
            ))
            .hint("make it a real directory, or name another as backups.dir in `rollback.yaml`")),
            Some(other) => Err(Error::exists(format!(
                "`{display}`, the place of backups, is a {}, not a directory",
                other.name()
            ))
            .hint("move it aside, or name another place as backups.dir in `rollback.yaml`")),
        }
    }

    /// Makes sure, once a preview, that what it shows could be recorded.
    ///
    /// # Errors
    /// As [`crate::records::Records::require_state`].
    pub fn require_recordable(&self) -> Result<()> {
        self.moment.recordable(&self.host)
    }

    /// Makes sure that lines can be appended to the logs.
    ///
    /// # Errors
    /// As [`crate::host::logs::Logs::require`].
    pub fn require_logs(&self) -> Result<()> {
        self.host.logs.require()
    }
}

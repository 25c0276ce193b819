//! Putting contents back into files. One that had other names is made one with them again, as long as they hold the same.

use super::Revert;
use super::standing::own_place;
use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::Expect;
use crate::operation::editing;
use crate::report::undo::Saved;
use crate::view::View;

/// What is put back into a file.
#[derive(Debug)]
pub(super) struct Put {
    /// The digest of the contents, as far as they can be read.
    pub digest: Option<String>,
    /// The other names that the file has now.
    pub names: Vec<String>,
}

impl Put {
    /// # Errors
    /// What the view says.
    pub fn of(view: &View, file: &Saved) -> Result<Self> {
        let place = |display: &str| own_place(&view.workspace, display);
        Ok(Self {
            digest: view.digest(&place(&file.saved)?).ok(),
            names: view.other_names(&place(&file.path)?)?.spelled(),
        })
    }
}

impl Revert {
    pub(super) fn restore_contents(&self, permit: &Permit, host: &Host, files: &[Saved]) -> Result<()> {
        for (file, displaced) in files.iter().zip(&self.displaced) {
            let place = self.place(&file.path)?;
            let saved = self.place(&file.saved)?;
            let Some(stat) = host.files.stat(&saved.absolute)? else {
                continue;
            };
            let expect = match host.files.stat(&place.absolute)? {
                Some(_) => {
                    editing::save(permit, host, &place, displaced)?;
                    Expect::Digest(host.files.digest(&place.absolute)?)
                }
                None => Expect::Absent,
            };
            let digest = host.files.digest(&saved.absolute)?;
            let mut joined = false;
            for name in &file.names {
                let other = self.place(name)?.absolute;
                // Written to since, even the same, it is somebody's.
                let is_as_it_was = host
                    .files
                    .stat(&other)?
                    .is_some_and(|other| other.mtime_ns == stat.mtime_ns);
                joined = joined
                    || (is_as_it_was
                        && host
                            .files
                            .rejoin(permit, &place.absolute, &other, &digest, &expect)?);
            }
            if !joined {
                // It was as large when it was put away.
                let bytes = host.files.read(&saved.absolute, u64::MAX)?;
                host.files.write(permit, &place.absolute, &bytes, &expect)?;
                host.files.set_mtime(permit, &place.absolute, stat.mtime_ns)?;
            }
        }
        Ok(())
    }
}

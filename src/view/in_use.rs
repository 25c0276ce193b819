//! Processes by the paths that they hold, in the world as a preview has it so far: by where a thing really stands.

use std::path::{Path, PathBuf};

use super::View;
use crate::base::error::{Error, Result};
use crate::host::processes::{Holder, Query};
use crate::host::sight::Look;
use crate::view::overlay::Seen;

/// What still runs.
mod running;

impl View {
    /// A query with the paths at which what it names really stands; `None` where nothing stands there any more, so that
    /// nobody can be found by it.
    pub(super) fn really(&self, query: &Query) -> Option<Query> {
        let real = |path: &Option<PathBuf>| match path {
            None => Some(None),
            Some(path) => self.real(path).map(Some),
        };
        Some(Query {
            pid_file: real(&query.pid_file)?,
            cwd: real(&query.cwd)?,
            holds: real(&query.holds)?,
            ..query.clone()
        })
    }

    /// Where a path really leads; `None` where it leads to what is only pretended, or gone.
    fn real(&self, path: &Path) -> Option<PathBuf> {
        match self.overlay().seen(&self.workspace.aliases().first_name(path)) {
            Seen::Real(real) => Some(real),
            // What a command may have done to it is not known.
            Seen::Unknown(_) => Some(path.to_path_buf()),
            Seen::Gone | Seen::Text(_) | Seen::Directory => None,
        }
    }

    /// Who holds what stands at or below a path: what has gone from there is not there, what was brought there is.
    pub(super) fn holders_of(&self, path: &Path) -> Result<Vec<Holder>> {
        let first = self.workspace.aliases().first_name(path).into_owned();
        let mut places: Vec<(PathBuf, PathBuf)> = self.overlay().brought(&first);
        if let Some(real) = self.real(&first) {
            places.push((first, real));
        }
        self.look(Look::Processes, path.display())?;
        let mut all: Vec<Holder> = Vec::new();
        for (place, real) in places {
            let held = self.host.broker.holders(&real, self.moment()?);
            for mut holder in held.map_err(Error::of_looking)? {
                if let Ok(inside) = holder.path.strip_prefix(&real) {
                    let now: PathBuf = place.join(inside).components().collect();
                    if self.real(&now).as_ref() != Some(&holder.path) {
                        continue;
                    }
                    holder.path = now;
                }
                if !all.contains(&holder) {
                    all.push(holder);
                }
            }
        }
        Ok(all)
    }
}

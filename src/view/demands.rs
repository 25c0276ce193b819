//! Whether the kernel will let an act happen: its demands, put to the host in the world as it will be by then. What is
//! only pretended is ours; the real directory around it, and the real thing behind it, are asked for.

use std::path::{Path, PathBuf};

use super::View;
use crate::cli::terminal::{bytes, plural};
use crate::error::{Error, Kind, Result};
use crate::gate::overlay::Seen;
use crate::host::files::{Demand, Extent, Files, Mounts, Route, Taking};

/// A directory of the world as it will be.
struct Directory {
    /// It, or the nearest above it that exists already.
    real: PathBuf,
    /// Whether it is to be made first: then its rights are ours.
    made: bool,
}

impl View {
    /// Asks for everything that an act demands. Gives what the plan says of the way in which it will happen.
    ///
    /// # Errors
    /// [`crate::error::Kind::Denied`] with the first thing that is in the way.
    pub fn demand(&self, demands: &[Demand]) -> Result<Option<String>> {
        let mut remarks: Vec<String> = Vec::new();
        for demand in demands {
            let remark = self.require_one(demand).map_err(|error| match error.kind() {
                Kind::Denied => error.context(self.refused(demand)),
                _ => error,
            })?;
            remarks.extend(remark.filter(|remark| !remarks.contains(remark)));
        }
        Ok((!remarks.is_empty()).then(|| remarks.join("; ")))
    }

    /// The way of a move, where anything real moves.
    ///
    /// # Errors
    /// As [`Files::route`].
    pub fn route(&self, from: &Path, to: &Path, mounts: Mounts) -> Result<Option<Route>> {
        let Some(entry) = self.behind(from)? else {
            return Ok(None);
        };
        let (directory, target) = (self.around(from)?, self.around(to)?);
        let files = &self.host.files;
        files
            .route((&directory.real, &entry), (&target.real, to), mounts)
            .map(Some)
    }

    /// The directories that stay when something is emptied, because a file system is mounted there.
    ///
    /// # Errors
    /// What the system says.
    pub fn left_standing(&self, path: &Path) -> Result<Vec<PathBuf>> {
        match self.behind(path)? {
            Some(real) if real == path => self.host.files.staying(&real),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether what stands at a path is no more than the rest of what was copied to another: the mount points that stayed,
    /// or what a cut left of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_remainder(&self, rest: &Path, whole: &Path) -> Result<bool> {
        match (self.behind(rest)?, self.behind(whole)?) {
            (Some(rest), Some(whole)) => self.host.files.is_remainder(&rest, &whole),
            _ => Ok(false),
        }
    }

    fn refused(&self, demand: &Demand) -> String {
        let (path, done) = match demand {
            Demand::Move { from, .. } => (from, "moved"),
            Demand::Remove(path) => (path, "removed"),
            Demand::Make(path) => (path, "made"),
            Demand::Replace(path) => (path, "rewritten"),
            Demand::Read { path, .. } => (path, "read"),
            Demand::Room { from, .. } => (from, "copied"),
        };
        format!("`{}` can't be {done}", self.workspace.show(path))
    }

    fn require_one(&self, demand: &Demand) -> Result<Option<String>> {
        let files = &self.host.files;
        match demand {
            Demand::Move { from, to, mounts } => return self.require_move(from, to, *mounts),
            Demand::Remove(path) => {
                if let Some(entry) = self.taking(path, false)? {
                    files.refuse_mounts(&entry)?;
                    files.require_tree(&entry, Taking::Removed)?;
                }
            }
            Demand::Make(path) => self.making(path)?,
            Demand::Replace(path) => match (self.behind(path)?, self.around(path)?) {
                (Some(entry), directory) if !directory.made => {
                    files.require_replacing(&directory.real, &entry)?;
                }
                (Some(_), _) => {}
                (None, _) => self.making(path)?,
            },
            Demand::Read { path, contents } => {
                let taking = if *contents { Taking::Copied } else { Taking::Listed };
                if let Some(entry) = self.behind(path)? {
                    files.require_tree(&entry, taking)?;
                }
            }
            Demand::Room { from, to } => {
                if let Some(entry) = self.behind(from)? {
                    let extent = files.require_tree(&entry, Taking::Copied)?;
                    self.claim(&entry, to, extent)?;
                }
            }
        }
        Ok(None)
    }

    fn require_move(&self, from: &Path, to: &Path, mounts: Mounts) -> Result<Option<String>> {
        let files = &self.host.files;
        self.making(to)?;
        let Some(route) = self.route(from, to, mounts)? else {
            self.making(from)?;
            return Ok(None);
        };
        if let Route::Copy(_) = route {
            // A mount point stays: its name needs no right, what is in it does.
            let entry = match self.behind(from)? {
                Some(entry) if files.mounted(&entry)?.first() == Some(&entry) => Some(entry),
                _ => self.taking(from, false)?,
            };
            if let Some(entry) = entry {
                let extent = files.require_tree(&entry, Taking::Moved)?;
                self.claim(&entry, to, extent)?;
            }
        } else if let Some(entry) = self.taking(from, from.parent() != to.parent())?
            && route.may_copy()
        {
            let extent = files.require_tree(&entry, Taking::Moved)?;
            self.claim(&entry, to, extent)?;
        }
        Ok(route.remark(&|path| self.workspace.show(path).shown))
    }

    /// Asks for the right to take a name away; gives the real thing behind it.
    fn taking(&self, path: &Path, leaves: bool) -> Result<Option<PathBuf>> {
        let (directory, entry) = (self.around(path)?, self.behind(path)?);
        match &entry {
            Some(_) if directory.made => {}
            Some(entry) => self.host.files.require_taking(&directory.real, entry, leaves)?,
            None => self.making(path)?,
        }
        Ok(entry)
    }

    /// Asks for the right to make a name.
    fn making(&self, path: &Path) -> Result<()> {
        // What is to be made was asked for by whoever makes it; here it may be made by this act.
        self.host.files.require_making(&self.around(path)?.real)
    }

    /// The real thing that will stand at a path; `None` where it is only pretended, or nothing is there.
    fn behind(&self, path: &Path) -> Result<Option<PathBuf>> {
        let files: &Files = &self.host.files;
        let real = match self.overlay().seen(path) {
            Seen::Real(real) => real,
            // A mount point can't be pretended away.
            Seen::Directory if files.stat(path)?.is_some_and(|stat| stat.mount_point) => path.to_path_buf(),
            _ => return Ok(None),
        };
        Ok(files.stat(&real)?.map(|_| real))
    }

    /// The directory that will hold a path.
    fn around(&self, path: &Path) -> Result<Directory> {
        let mut made = false;
        for above in path.ancestors().skip(1) {
            let real = match self.overlay().seen(above) {
                Seen::Real(real) => real,
                Seen::Directory if self.host.files.is_directory(above)? => above.to_path_buf(),
                _ => {
                    made = true;
                    continue;
                }
            };
            if self.host.files.is_directory(&real)? {
                return Ok(Directory { real, made });
            }
            made = true;
        }
        Err(Error::bug(format!("`{}` lies in no root", path.display())))
    }

    /// Takes room for a copy; in a preview, beside the room that earlier acts will have taken.
    fn claim(&self, from: &Path, to: &Path, extent: Extent) -> Result<()> {
        let files = &self.host.files;
        let directory = self.around(to)?.real;
        let room = files.room(&directory)?;
        let source = from.parent().map(|above| files.room(above)).transpose()?;
        let shared = room.sharing.is_some() && source.is_some_and(|source| source.sharing == room.sharing);
        let mut wanted = Extent {
            bytes: if shared { 0 } else { extent.bytes },
            entries: extent.entries,
        };
        if self.errand.preview {
            let mut claimed = self.claimed.borrow_mut();
            let sum = claimed.entry(room.device).or_default();
            sum.bytes = sum.bytes.saturating_add(wanted.bytes);
            sum.entries = sum.entries.saturating_add(wanted.entries);
            wanted = *sum;
        }
        let short = if wanted.bytes > room.bytes {
            format!(
                "{} are needed and {} are left",
                bytes(wanted.bytes),
                bytes(room.bytes)
            )
        } else if let Some(left) = room.entries.filter(|left| wanted.entries > *left) {
            format!(
                "inodes for {} are needed and {left} are left",
                plural(wanted.entries, "path")
            )
        } else {
            return Ok(());
        };
        Err(Error::denied(format!(
            "a copy does not fit on the file system of `{}`: {short}: {}",
            self.workspace.show(&directory),
            rustix::io::Errno::NOSPC,
        ))
        .hint("make room on the disk, then try again"))
    }
}

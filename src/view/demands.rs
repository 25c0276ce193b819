//! Whether the kernel will let an act happen: its demands, put to the host in the world as it will be by then. What is
//! only pretended is ours; the real directory around it, and the real thing behind it, are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::View;
use crate::base::error::{Error, Kind, Result};
use crate::base::wording::{bytes, plural};
use crate::host::files::{Demand, Extent, Files, Mounts, Room, Route, Taking};
use crate::view::overlay::Seen;

/// A directory of the world as it will be.
struct Directory {
    /// It, or the nearest above it that exists already.
    real: PathBuf,
    /// It and those above it that are to be made first: then the rights are ours.
    made: Vec<PathBuf>,
}

/// Room that the acts of a preview will have taken.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    /// By device.
    extents: BTreeMap<u64, Extent>,
    /// Directories that are counted among it.
    directories: BTreeSet<PathBuf>,
}

impl View {
    /// Asks for everything that an act demands. Gives what the plan says of the way in which it will happen.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] with the first thing that is in the way.
    pub fn demand(&self, demands: &[Demand]) -> Result<Option<String>> {
        let mut remarks: Vec<String> = Vec::new();
        let mut aside = Vec::new();
        for demand in demands {
            let remark = self
                .require_one(demand, &aside)
                .map_err(|error| match error.kind() {
                    Kind::Denied => error.context(self.refused(demand)),
                    _ => error,
                })?;
            remarks.extend(remark.filter(|remark| !remarks.contains(remark)));
            if let Demand::Aside { from, .. } = demand {
                aside.extend(self.behind(from)?);
            }
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
            Demand::Move { from, .. } | Demand::Aside { from, .. } => (from, "moved"),
            Demand::Remove(path) => (path, "removed"),
            Demand::Make(path) => (path, "made"),
            Demand::Replace(path) => (path, "rewritten"),
            Demand::Contents { path, .. } => (path, "written"),
            Demand::Read { path, .. } => (path, "read"),
            Demand::Room { from, .. } => (from, "copied"),
        };
        format!("`{}` can't be {done}", self.workspace.show(path))
    }

    fn require_one(&self, demand: &Demand, aside: &[PathBuf]) -> Result<Option<String>> {
        let files = &self.host.files;
        match demand {
            Demand::Move { from, to, mounts } => return self.require_move(from, to, *mounts, aside),
            Demand::Aside { from, to } => {
                self.require_move(from, to, Mounts::Refused, aside)?;
            }
            Demand::Contents { path, bytes } => self.claim_contents(path, *bytes)?,
            Demand::Remove(path) => {
                if let Some(entry) = self.taking(path, false)? {
                    files.refuse_mounts(&entry)?;
                    files.require_tree(&entry, Taking::Removed)?;
                }
            }
            Demand::Make(path) => self.making(path)?,
            Demand::Replace(path) => match (self.behind(path)?, self.around(path)?) {
                (Some(entry), directory) if directory.made.is_empty() => {
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

    fn require_move(
        &self,
        from: &Path,
        to: &Path,
        mounts: Mounts,
        aside: &[PathBuf],
    ) -> Result<Option<String>> {
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
                self.claim(&entry, to, self.going(&entry, aside)?)?;
            }
        } else if let Some(entry) = self.taking(from, from.parent() != to.parent())?
            && route.may_copy()
        {
            self.claim(&entry, to, self.going(&entry, aside)?)?;
        }
        Ok(route.remark(&|path| self.workspace.show(path).display))
    }

    /// What goes along with a move, when some of it is out of the way already.
    fn going(&self, entry: &Path, aside: &[PathBuf]) -> Result<Extent> {
        let files = &self.host.files;
        let mut extent = files.require_tree(entry, Taking::Moved)?;
        for own in aside.iter().filter(|own| own.starts_with(entry) && *own != entry) {
            let less = files.require_tree(own, Taking::Moved)?;
            extent.bytes = extent.bytes.saturating_sub(less.bytes);
            extent.entries = extent.entries.saturating_sub(less.entries);
        }
        Ok(extent)
    }

    /// Asks for the right to take a name away; gives the real thing behind it.
    fn taking(&self, path: &Path, leaves: bool) -> Result<Option<PathBuf>> {
        let (directory, entry) = (self.around(path)?, self.behind(path)?);
        match &entry {
            Some(_) if !directory.made.is_empty() => {}
            Some(entry) => self.host.files.require_taking(&directory.real, entry, leaves)?,
            None => self.making(path)?,
        }
        Ok(entry)
    }

    /// Asks for the right to make a name, and for the room of the directories above it that are to be made.
    fn making(&self, path: &Path) -> Result<()> {
        // What is to be made was asked for by whoever makes it; here it may be made by this act.
        let around = self.around(path)?;
        self.host.files.require_making(&around.real)?;
        let mut made = around.made;
        if self.errand.preview {
            let directories = &mut self.claimed.borrow_mut().directories;
            made.retain(|directory| directories.insert(directory.clone()));
        }
        if made.is_empty() {
            return Ok(());
        }
        let room = self.host.files.room(&around.real)?;
        let entries = made.len() as u64;
        let wanted = Extent {
            bytes: entries.saturating_mul(room.block),
            entries,
        };
        self.take(&around.real, &room, wanted, wanted)
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
        let mut made = Vec::new();
        for above in path.ancestors().skip(1) {
            let real = match self.overlay().seen(above) {
                Seen::Real(real) => real,
                Seen::Directory if self.host.files.is_directory(above)? => above.to_path_buf(),
                _ => {
                    made.push(above.to_path_buf());
                    continue;
                }
            };
            if self.host.files.is_directory(&real)? {
                return Ok(Directory { real, made });
            }
            made.push(above.to_path_buf());
        }
        Err(Error::bug(format!("`{}` lies in no root", path.display())))
    }

    /// Takes room for a file that gets its name when it is whole.
    fn claim_contents(&self, path: &Path, bytes: u64) -> Result<()> {
        let files = &self.host.files;
        let former = match self.overlay().seen(path) {
            Seen::Text(text) => Some(text.len() as u64),
            Seen::Real(real) => files.stat(&real)?.map(|stat| stat.size),
            _ => None,
        };
        let directory = self.around(path)?.real;
        let room = files.room(&directory)?;
        let beside = Extent {
            bytes: bytes.next_multiple_of(room.block),
            entries: 1,
        };
        let kept = former.map_or(beside, |former| Extent {
            bytes: beside.bytes.saturating_sub(former.next_multiple_of(room.block)),
            entries: 0,
        });
        self.take(&directory, &room, beside, kept)
    }

    /// Takes room for a copy.
    fn claim(&self, from: &Path, to: &Path, extent: Extent) -> Result<()> {
        let files = &self.host.files;
        let directory = self.around(to)?.real;
        let room = files.room(&directory)?;
        let source = from.parent().map(|above| files.room(above)).transpose()?;
        let shared = room.sharing.is_some() && source.is_some_and(|source| source.sharing == room.sharing);
        let wanted = Extent {
            bytes: if shared { 0 } else { extent.bytes },
            entries: extent.entries,
        };
        self.take(&directory, &room, wanted, wanted)
    }

    /// Takes room; in a preview, beside the room that earlier acts will have taken. Only what is `kept` stays taken.
    fn take(&self, directory: &Path, room: &Room, mut wanted: Extent, kept: Extent) -> Result<()> {
        if self.errand.preview {
            let mut claimed = self.claimed.borrow_mut();
            let before = claimed.extents.entry(room.device).or_default();
            wanted = before.and(wanted);
            *before = before.and(kept);
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
            "there is no room on the file system of `{}`: {short}: {}",
            self.workspace.show(directory),
            rustix::io::Errno::NOSPC,
        ))
        .hint("make room on the disk, then try again"))
    }
}

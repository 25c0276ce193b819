//! What a script sees: the world through the host, with what this run has pretended so far laid over it.
//!
//! Words look through a `View` and nothing else; in a real pass the overlay is empty, so both passes share this code.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::backup;
use crate::base::error::{Error, Result};
use crate::host::Host;
use crate::host::files::{EntryKind, Stat};
use crate::host::sight::Look;
use crate::references::Index;
use crate::report::effect::Capability;
use crate::view::allowance::Allowance;
use crate::view::overlay::{Overlay, Seen};
use crate::workspace::catalogue::Catalogue;
use crate::workspace::config::Limits;
use crate::workspace::story::Story;
use crate::workspace::{LOGS, Place, Workspace};

/// Whether the kernel will let an act happen.
mod demands;

/// What stands in files.
mod contents;

/// What a run is about.
mod errand;

/// Places under other names.
mod alias;

/// What a restore leaves alone.
mod covering;

/// Databases, with what belongs to them.
mod databases;

/// Facts that a plan rests on; what matches a pattern.
mod facts;
mod finding;

/// Figures of the machine, the same for a whole run.
mod figures;

/// Who holds what stands at a path.
mod in_use;

/// What we keep: backups, records.
mod backups;

/// Where symbolic links lead.
mod links;

/// What a preview has seen already.
mod moment;

/// Other names of files.
mod names;

/// Which packages may go.
mod packages;

/// Parts of stories: where they stand, what names them, to whom they belong.
mod parts;

/// Commands over a layer of the workspace.
mod rehearsal;

/// How much there is.
pub mod size;

/// What a script is not given, and what it was.
pub mod secrets;

/// Containers, packages and processes through the overlay.
mod world;

/// What a preview has changed so far.
pub mod overlay;

/// What a run may still use up.
pub mod allowance;

pub use alias::Known;
pub use databases::Database;
pub use errand::Errand;
pub use figures::Figures;
pub use names::OtherNames;
pub use size::Size;

/// The world as a script sees it.
#[derive(Debug)]
pub struct View {
    /// Where things are.
    pub workspace: Rc<Workspace>,
    /// The world.
    pub host: Rc<Host>,
    /// All stories.
    pub catalogue: Rc<Catalogue>,
    /// What the run is about.
    pub errand: Errand,
    /// The story at hand.
    pub story: RefCell<Option<Rc<Story>>>,
    overlay: RefCell<Overlay>,
    /// What a real pass has done so far, as a preview pretends it.
    done: RefCell<Overlay>,
    /// A real pass works out one proposal: what it has seen for it, it sees once.
    proposing: Cell<bool>,
    /// How often something was pretended.
    pretended: Cell<u64>,
    slots: Cell<u32>,
    /// Commands that were run over a layer, or given from there.
    rehearsed: Cell<u32>,
    claimed: RefCell<demands::Claimed>,
    /// Bytes of backups whose digests are computed at once.
    digested: Cell<u64>,
    /// Parameters that a script asked for.
    asked: RefCell<BTreeSet<String>>,
    /// What a script may use up.
    pub allowance: Arc<Allowance>,
    /// What a script was given without anybody being able to tell.
    given_unknown: RefCell<Vec<String>>,
    indexes: RefCell<Vec<Rc<Index>>>,
    installed: RefCell<world::Installed>,
    moment: moment::Moment,
    secrets: secrets::Secrets,
}

impl View {
    /// A view with nothing pretended.
    #[must_use]
    pub fn new(workspace: Rc<Workspace>, host: Rc<Host>, catalogue: Rc<Catalogue>, errand: Errand) -> Self {
        Self {
            allowance: Arc::new(Allowance::new(&workspace.config().policy.limits)),
            secrets: secrets::Secrets::of(&workspace),
            workspace,
            host,
            catalogue,
            errand,
            story: RefCell::new(None),
            overlay: RefCell::default(),
            done: RefCell::default(),
            proposing: Cell::new(false),
            pretended: Cell::new(0),
            slots: Cell::new(0),
            rehearsed: Cell::new(0),
            claimed: RefCell::default(),
            digested: Cell::new(0),
            asked: RefCell::default(),
            given_unknown: RefCell::default(),
            indexes: RefCell::default(),
            installed: RefCell::default(),
            moment: moment::Moment::default(),
        }
    }

    /// Limits of scripts.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.workspace.config().policy.limits
    }

    /// Whether the digests of a backup of so many bytes are computed at once: up to `backups.digest_limit` a run, in the
    /// order in which they are asked for; 0 means never.
    #[must_use]
    pub fn may_digest(&self, bytes: u64) -> bool {
        let sum = self.digested.get().saturating_add(bytes);
        let limit = self.workspace.config().backups.digest_limit;
        let may = limit > 0 && sum <= limit;
        if may {
            self.digested.set(sum);
        }
        may
    }

    /// What `--param` gives under this name.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.errand.options.params.get(name).map(String::as_str)
    }

    /// Names given with `--param` that no script has asked for.
    #[must_use]
    pub fn params_not_asked(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let names = self.errand.options.params.keys();
        names.filter(|name| !asked.contains(*name)).cloned().collect()
    }

    /// What is pretended.
    #[must_use]
    pub fn overlay(&self) -> Ref<'_, Overlay> {
        self.overlay.borrow()
    }

    /// What is pretended, for the gate alone.
    #[must_use]
    pub fn overlay_mut(&self) -> RefMut<'_, Overlay> {
        self.pretended.set(self.pretended.get() + 1);
        self.overlay.borrow_mut()
    }

    /// What this run itself has changed so far: in a preview what it has pretended, in a real pass what it has done.
    #[must_use]
    pub fn own(&self) -> Ref<'_, Overlay> {
        if self.errand.preview {
            self.overlay.borrow()
        } else {
            self.done.borrow()
        }
    }

    /// What a real pass has done so far, for the gate alone.
    #[must_use]
    pub fn done_mut(&self) -> RefMut<'_, Overlay> {
        self.done.borrow_mut()
    }

    /// Looks at each thing once while `propose` works out a proposal. A preview does so anyway.
    pub fn at_one_moment<T>(&self, propose: impl FnOnce() -> T) -> T {
        if self.errand.preview {
            return propose();
        }
        self.proposing.set(true);
        let proposed = propose();
        self.proposing.set(false);
        self.moment.forget();
        proposed
    }

    /// Whether what was seen once need not be looked at again.
    fn remembers(&self) -> bool {
        self.errand.preview || self.proposing.get()
    }

    /// A place for something that leaves the workspace, or for contents before an edit, in the run's own store:
    /// `.rollback/runs/<run>/<sort>/<number>/<name>`.
    #[must_use]
    pub fn slot(&self, sort: &str, name: &str) -> Place {
        let number = self.slots.get() + 1;
        self.slots.set(number);
        let directory = self.workspace.run_directory(&self.errand.run);
        self.workspace.show(
            &directory
                .join(sort)
                .join(format!("{number:04}"))
                .join(slot_name(name)),
        )
    }

    /// A slot for each of several things: those of one directory lie side by side.
    #[must_use]
    pub fn slots(&self, sort: &str, places: &[&Place]) -> Vec<Place> {
        let mut beside: HashMap<Option<&Path>, PathBuf> = HashMap::new();
        let mut taken = HashSet::new();
        let mut slots = Vec::new();
        for place in places {
            let name = place.absolute.file_name().unwrap_or_default().to_string_lossy();
            let above = place.absolute.parent();
            let near = beside
                .get(&above)
                .map(|directory| directory.join(slot_name(&name)));
            let slot = match near.filter(|near| !taken.contains(near)) {
                Some(near) => self.workspace.show(&near),
                None => self.slot(sort, &name),
            };
            if let Some(directory) = slot.absolute.parent() {
                beside.insert(above, directory.to_path_buf());
            }
            taken.insert(slot.absolute.clone());
            slots.push(slot);
        }
        slots
    }

    /// What stands at a path, not following a link; `None` where nothing does.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] where the path leads through a link, or what the system says.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>> {
        if self.is_hidden(path) {
            return Ok(None);
        }
        if let Some(size) = self.errand.logs.get(path) {
            let stat = self.host.files.stat(path)?;
            return Ok(size.and_then(|size| stat.map(|stat| Stat { size, ..stat })));
        }
        let path = &*self.workspace.aliases().first_name_below(path);
        self.look(Look::Files, path.display())?;
        match self.overlay().seen(path) {
            Seen::Real(real) if self.remembers() => {
                self.moment.stat(&self.host, &real).map_err(Error::of_looking)
            }
            Seen::Real(real) => self.host.files.stat(&real).map_err(Error::of_looking),
            Seen::Gone => Ok(None),
            Seen::Text(bytes) => Ok(Some(pretended(EntryKind::File, bytes.len() as u64))),
            Seen::Directory => Ok(Some(pretended(EntryKind::Directory, 0))),
            Seen::Unknown(_) => Ok(Some(pretended(EntryKind::File, 0))),
        }
    }

    /// One look at the world, before it is made.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Unknown`] where a test has taken it away.
    pub fn look(&self, look: Look, what: impl std::fmt::Display) -> Result<()> {
        self.host.sight.look(look, what)
    }

    /// What a word gave to a script without being able to tell, with why: whatever is concluded from it is unknown.
    pub fn give_unknown(&self, why: &str) {
        self.given_unknown.borrow_mut().push(why.to_owned());
    }

    /// The reasons of [`View::give_unknown`] since they were last taken.
    pub fn take_unknown(&self) -> Vec<String> {
        std::mem::take(&mut self.given_unknown.borrow_mut())
    }

    /// Whether a script must not know of it: what a run has left so far of its own state, and what no preview makes.
    fn is_hidden(&self, path: &Path) -> bool {
        if !self.errand.scripted {
            return false;
        }
        let state = self.workspace.state();
        if path.starts_with(&state) {
            return !(self.errand.had_state && path == state);
        }
        if path.ends_with(backup::MANIFEST) {
            return self.own().covers(path);
        }
        let is_logs = !self.errand.had_logs && path == self.workspace.root().join(LOGS);
        is_logs && !self.own().touches(path)
    }

    /// Refuses a copy of what the run itself appends to: it would tell a script in which pass it is.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Denied`] naming the log.
    pub fn require_at_rest(&self, from: &Place) -> Result<()> {
        match self
            .errand
            .logs
            .keys()
            .find(|log| log.starts_with(&from.absolute))
        {
            Some(log) if self.exists(&from.absolute)? => Err(Error::denied(format!(
                "`{from}` can't be copied: the run itself writes `{}`",
                self.workspace.show(log)
            ))
            .hint("copy what else is in it, by name")),
            _ => Ok(()),
        }
    }

    /// Refuses what is not of this kind, by the name that the script knows: in a preview something else may stand behind it.
    fn require(&self, path: &Path, kind: EntryKind) -> Result<()> {
        let display = self.workspace.show(path);
        match self.stat(path)? {
            Some(stat) if stat.kind == kind => Ok(()),
            Some(stat) => Err(Error::invalid(format!(
                "`{display}` is a {}, not a {}",
                stat.kind.name(),
                kind.name()
            ))),
            None => Err(Error::not_found(format!("`{display}` does not exist"))),
        }
    }

    /// Whether anything stands at a path; a dangling link does.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.stat(path)?.is_some())
    }

    /// The names in a directory, sorted, with what they are.
    ///
    /// # Errors
    /// As [`View::read`].
    pub fn list(&self, place: &Path) -> Result<Vec<(OsString, EntryKind)>> {
        self.require(place, EntryKind::Directory)?;
        self.look(Look::Files, place.display())?;
        let place = &*self.workspace.aliases().first_name(place);
        let overlay = self.overlay();
        let mut names: BTreeMap<OsString, EntryKind> = match overlay.seen(place) {
            Seen::Real(real) if self.remembers() => {
                self.moment.list(&self.host, &real).map_err(Error::of_looking)?
            }
            Seen::Real(real) => {
                let names = self.host.files.list(&real).map_err(Error::of_looking)?;
                names.into_iter().collect()
            }
            Seen::Directory => BTreeMap::new(),
            Seen::Gone | Seen::Text(_) | Seen::Unknown(_) => {
                return Err(Error::bug(format!(
                    "`{}` is no directory",
                    self.workspace.show(place)
                )));
            }
        };
        for (name, there) in overlay.children(place) {
            if there {
                let kind = self
                    .stat(&place.join(name))?
                    .map_or(EntryKind::File, |stat| stat.kind);
                names.insert(name.to_owned(), kind);
            } else {
                names.remove(name);
            }
        }
        names.retain(|name, _| {
            let path = place.join(name);
            !self.is_hidden(&path) && self.errand.logs.get(&path) != Some(&None)
        });
        Ok(names.into_iter().collect())
    }

    /// Visits every path below `top`, the top included, parents first; links are not followed, mounts not entered.
    ///
    /// # Errors
    /// What `visit` says; [`crate::base::error::Kind::Invalid`] past the limit of paths.
    pub fn walk(&self, top: &Path, visit: &mut dyn FnMut(&Path, &Stat) -> Result<()>) -> Result<()> {
        self.walk_as(top, false, visit)
    }

    /// As [`View::walk`], with what is mounted inside, where that is people's data: it goes along when a tree goes.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub fn walk_across(&self, top: &Path, visit: &mut dyn FnMut(&Path, &Stat) -> Result<()>) -> Result<()> {
        self.walk_as(top, true, visit)
    }

    fn walk_as(
        &self,
        top: &Path,
        across: bool,
        visit: &mut dyn FnMut(&Path, &Stat) -> Result<()>,
    ) -> Result<()> {
        let Some(stat) = self.stat(top)? else {
            return Ok(());
        };
        let mut pending = vec![(top.to_path_buf(), stat)];
        let mut count: u64 = 0;
        while let Some((path, stat)) = pending.pop() {
            count += 1;
            self.allowance.check()?;
            if count > self.limits().max_paths {
                return Err(Error::invalid(format!(
                    "`{}` holds more than {} paths",
                    self.workspace.show(top),
                    self.limits().max_paths
                ))
                .hint("policy.limits.max_paths sets the limit"));
            }
            visit(&path, &stat)?;
            let enters = path == top || !stat.mount_point || (across && self.host.files.holds_data(&path)?);
            if stat.kind == EntryKind::Directory && enters {
                let first = self.workspace.aliases().first_name(&path);
                if let (true, Seen::Real(real)) = (self.remembers(), self.overlay().seen(&first)) {
                    self.moment.enter(&self.host, &real)?;
                }
                let mut children = Vec::new();
                for (name, _) in self.list(&path)? {
                    let child = path.join(name);
                    if let Some(stat) = self.stat(&child)? {
                        children.push((child, stat));
                    }
                }
                pending.extend(children.into_iter().rev());
            }
        }
        Ok(())
    }

    /// What is needed to change a path.
    #[must_use]
    pub fn write(&self, place: &Place, whole: bool) -> Capability {
        Capability::Write {
            display: place.display.clone(),
            absolute: place.absolute.clone(),
            whole,
        }
    }

    /// Source files that the first index of this pass could not look into.
    #[must_use]
    pub fn sources_not_read(&self) -> Vec<String> {
        let indexes = self.indexes.borrow();
        indexes
            .first()
            .map(|index| index.unread().to_vec())
            .unwrap_or_default()
    }

    /// `directory` or `file`, as a backup's manifest says it.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn kind(&self, place: &Place) -> Result<&'static str> {
        let directory = self
            .stat(&place.absolute)?
            .is_some_and(|stat| stat.kind == EntryKind::Directory);
        Ok(if directory { "directory" } else { "file" })
    }
}

/// A name of ours for a thing, which need not be its own.
fn slot_name(name: &str) -> String {
    crate::workspace::bounded_name(&crate::workspace::spelling::for_people(name))
}

/// What a look tells of something that exists only in the overlay.
fn pretended(kind: EntryKind, size: u64) -> Stat {
    Stat {
        kind,
        size,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_ns: 0,
        ctime_ns: 0,
        inode: 0,
        device: 0,
        links: 1,
        mount_point: false,
    }
}

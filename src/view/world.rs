//! Processes, packages and containers, with what this run has pretended taken out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::View;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::docker::{Engine, ObjectKind};
use crate::host::files::EntryKind;
use crate::host::memory::Memory;
use crate::host::net;
use crate::host::packages::installer::Installer;
use crate::host::packages::tree::{self, Node, Tree};
use crate::host::packages::{self, Manager, Package};
use crate::host::processes::{Found, Holder, OpenFiles, Process, Query, Scope};
use crate::host::sight::Look;
use crate::view::overlay::Seen;
use crate::workspace::Place;
use crate::workspace::address::Address;
use crate::workspace::config::ProcessScope;

/// Packages by name.
type Packages = BTreeMap<String, Package>;

/// What was read of installed packages.
#[derive(Debug, Default)]
pub struct Installed {
    read: BTreeMap<&'static str, Read>,
}

/// What was read at one place, with what tells that it was changed since.
#[derive(Debug)]
struct Read {
    place: PathBuf,
    watched: Vec<(PathBuf, u64)>,
    packages: Packages,
}

/// Packages are read through what was pretended, like everything else.
impl Tree for View {
    fn is_disk(&self) -> bool {
        self.overlay().has_no_paths()
    }

    fn node(&self, path: &Path) -> Node {
        match self.overlay().seen(path) {
            Seen::Real(real) => Node::Disk(real),
            Seen::Gone => Node::Gone,
            Seen::Text(bytes) => Node::Text(bytes.to_vec()),
            Seen::Directory => Node::Directory,
            Seen::Unknown(_) => Node::Unknown,
        }
    }

    fn pretended(&self, directory: &Path) -> Vec<(OsString, bool)> {
        let overlay = self.overlay();
        let children = overlay.children(directory);
        children.map(|(name, there)| (name.to_owned(), there)).collect()
    }
}

impl View {
    /// Whose processes count.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self.workspace.config().policy.processes.scope {
            ProcessScope::Workspace => Scope::Workspace(self.workspace.root().to_path_buf()),
            ProcessScope::User => Scope::User,
        }
    }

    /// Processes that match a query, without those that are pretended to have ended.
    ///
    /// # Errors
    /// `Kind::Invalid` for an empty query, otherwise what the system says.
    pub fn processes(&self, query: &Query) -> Result<Vec<Process>> {
        Ok(self.find(query)?.processes)
    }

    /// Processes that match one of the queries, in their order; one that matches several stands there several times.
    ///
    /// # Errors
    /// As [`View::processes`].
    pub fn processes_of_any(&self, queries: &[Query]) -> Result<Vec<Process>> {
        let found = self.found_of_any(queries)?;
        Ok(found.into_iter().flat_map(|found| found.processes).collect())
    }

    /// What each of the queries gives. Who holds which file is looked at once for all of them.
    pub(super) fn found_of_any(&self, queries: &[Query]) -> Result<Vec<Found>> {
        let open = if queries.iter().any(|query| query.holds.is_some()) {
            let known = self.moment()?;
            Some(known.map_or_else(|| self.host.broker.open_files().map(Arc::new), Ok)?)
        } else {
            None
        };
        queries
            .iter()
            .map(|query| self.find_at(query, open.clone()))
            .collect()
    }

    /// In a preview, what every process had open at one moment of it, read once; a real pass looks anew each time.
    pub(super) fn moment(&self) -> Result<Option<Arc<OpenFiles>>> {
        if !self.errand.preview {
            return Ok(None);
        }
        self.moment.open_files(&self.host).map(Some)
    }

    /// As [`View::processes`], with near misses and why each was left alone.
    ///
    /// # Errors
    /// As [`View::processes`].
    pub fn find(&self, query: &Query) -> Result<Found> {
        // One process named by its pid file costs less than a look at all.
        let open = if query.pid_file.is_some() && query.holds.is_none() {
            None
        } else {
            self.moment()?
        };
        self.find_at(query, open)
    }

    /// As [`View::find`], among what processes had open at a moment, or now.
    fn find_at(&self, query: &Query, open: Option<Arc<OpenFiles>>) -> Result<Found> {
        let Some(query) = self.really(query) else {
            return Ok(Found::default());
        };
        self.look(Look::Processes, "the processes")?;
        let found = self.host.broker.find(&query, &self.scope(), open);
        let mut found = found.map_err(Error::of_looking)?;
        let has_ended = |pid: i32, ticks: u64| self.overlay().has_ended(pid, ticks);
        found
            .processes
            .retain(|process| !has_ended(process.pid, process.started_ticks));
        found
            .passed_over
            .retain(|passed| match (passed.pid, passed.started_ticks) {
                (Some(pid), Some(ticks)) => !has_ended(pid, ticks),
                _ => true,
            });
        Ok(found)
    }

    /// Directories of the workspace in which these have files open for writing, and their pid files.
    ///
    /// # Errors
    /// What the system says.
    pub fn written_by(&self, processes: &[&Process]) -> Result<Vec<PathBuf>> {
        let pids = processes.iter().map(|process| process.pid);
        let root = self.workspace.root();
        let mut writes: Vec<PathBuf> = self
            .host
            .broker
            .written_by(pids.collect())?
            .into_iter()
            .filter(|path| path.starts_with(root) && path != root)
            // Beside a file that is written others come and go; beside one in the workspace's root stands everything.
            .map(|path| match path.parent() {
                Some(parent) if parent != root && !path.is_dir() => parent.to_path_buf(),
                _ => path,
            })
            .collect();
        writes.extend(self.pid_files_of(processes)?);
        writes.sort();
        writes.dedup();
        Ok(writes)
    }

    /// The process of this identity, if it lives and is in scope.
    ///
    /// # Errors
    /// What the system says; `Kind::Denied` for a process that may never be ended.
    pub fn process(&self, pid: i32, started_ticks: u64) -> Result<Option<Process>> {
        if self.overlay().has_ended(pid, started_ticks) {
            return Ok(None);
        }
        let Some(process) = self
            .host
            .broker
            .look(pid)?
            .filter(|process| process.started_ticks == started_ticks)
        else {
            return Ok(None);
        };
        // The same rules as for finding: somebody else's process, or one outside the scope, is never ended.
        let query = Query {
            name: Some(process.name.clone()),
            ..Query::default()
        };
        let found = self.find(&query)?;
        if !found
            .processes
            .iter()
            .any(|found| found.pid == pid && found.started_ticks == started_ticks)
        {
            let passed = found.passed_over.iter().find(|passed| passed.pid == Some(pid));
            let why = passed
                .map(|passed| format!(": {}", passed.why))
                .unwrap_or_default();
            return Err(Error::denied(format!(
                "process {pid} (`{}`) is not one that this run may end{why}",
                process.describe()
            ))
            .hint("look with find_processes: only what it gives may be ended"));
        }
        Ok(Some(process))
    }

    /// Processes that hold files at or below a path.
    ///
    /// # Errors
    /// What the system says.
    pub fn holders(&self, place: &Place) -> Result<Vec<Holder>> {
        let mut holders = self.holders_of(&place.absolute)?;
        holders.retain(|holder| {
            !self
                .overlay()
                .has_ended(holder.process.pid, holder.process.started_ticks)
        });
        Ok(holders)
    }

    /// Processes that have a file at or below a path open for writing, or locked for themselves.
    ///
    /// # Errors
    /// What the system says.
    pub fn writers(&self, place: &Place) -> Result<Vec<Holder>> {
        let mut holders = self.holders(place)?;
        holders.retain(Holder::writes);
        Ok(holders)
    }

    /// Where the packages of a manager are, if anywhere.
    fn packages_place(&self, manager: Manager) -> Result<Option<PathBuf>> {
        match manager {
            Manager::Pip => {
                packages::pip::environment(self, self.workspace.root(), &self.workspace.config().python)
            }
            Manager::Npm => {
                let manifest = self.workspace.place("package.json")?;
                let there = self
                    .stat(&manifest.absolute)?
                    .is_some_and(|stat| stat.kind == EntryKind::File);
                Ok(there.then(|| self.workspace.root().to_path_buf()))
            }
        }
    }

    /// By what the packages of a manager can be changed.
    ///
    /// # Errors
    /// What the system says.
    pub fn installer(&self, manager: Manager) -> Result<Known<Installer>> {
        self.host.packages.installer(self, manager)
    }

    /// The Python environment whose packages may be uninstalled, if there is one.
    ///
    /// # Errors
    /// What the system says.
    pub fn environment(&self) -> Result<Option<PathBuf>> {
        self.host.packages.environment(self)
    }

    /// Installed packages; `None` where there is no environment or no `package.json`.
    ///
    /// # Errors
    /// What the system says.
    pub fn installed_if_any(&self, manager: Manager) -> Result<Option<Packages>> {
        let Some(place) = self.packages_place(manager)? else {
            return Ok(None);
        };
        self.look(Look::Packages, manager.name())?;
        let mut cache = self.installed.borrow_mut();
        let fresh = cache.read.get(manager.name()).is_some_and(|read| {
            let as_it_was = |(path, was): &(PathBuf, u64)| tree::stamp(self, path) == *was;
            read.place == place && read.watched.iter().all(as_it_was)
        });
        if !fresh {
            let watched = packages::watched(self, manager, &place)?;
            let stamped = |path: PathBuf| {
                let stamp = tree::stamp(self, &path);
                (path, stamp)
            };
            let read = Read {
                watched: watched.into_iter().map(stamped).collect(),
                packages: packages::installed(self, manager, &place)?,
                place,
            };
            cache.read.insert(manager.name(), read);
        }
        let read = cache.read.get(manager.name());
        let mut all = read.map(|read| read.packages.clone()).unwrap_or_default();
        all.retain(|name, _| !self.overlay().is_uninstalled(manager.name(), name));
        Ok(Some(all))
    }

    /// Whether these packages are all installed, in these versions.
    ///
    /// # Errors
    /// As [`View::installed_if_any`].
    pub fn has_installed(&self, manager: &str, packages: &BTreeMap<String, String>) -> Result<bool> {
        let installed = self.installed(Manager::parse(manager)?)?;
        let is_there = |(name, version): (&String, &String)| {
            installed
                .get(name)
                .is_some_and(|package| package.version == *version)
        };
        Ok(packages.iter().all(is_there))
    }

    /// Installed packages; none where there is no environment.
    ///
    /// # Errors
    /// What the system says.
    pub fn installed(&self, manager: Manager) -> Result<Packages> {
        Ok(self.installed_if_any(manager)?.unwrap_or_default())
    }

    /// Containers, images or volumes with a prefix: id and name.
    ///
    /// # Errors
    /// `Kind::Invalid` for an empty prefix; an engine that does not answer is no error.
    pub fn engine_things(&self, kind: ObjectKind, prefix: &str) -> Result<Known<Vec<(String, String)>>> {
        let engine = match self.engine() {
            Known::Yes(engine) => engine,
            Known::Unknown(why) => return Ok(Known::Unknown(why)),
        };
        let cancel = Some(&*self.host.cancelled);
        let things: Known<Vec<(String, String)>> = match kind {
            ObjectKind::Container => engine
                .containers(prefix, cancel)?
                .map(|all| all.into_iter().map(|each| (each.id, each.name)).collect()),
            ObjectKind::Image => engine.images(prefix, cancel)?.map(|all| {
                all.into_iter()
                    .map(|each| (each.reference(), each.reference()))
                    .collect()
            }),
            ObjectKind::Volume => engine.volumes(prefix, cancel)?.map(|all| {
                all.into_iter()
                    .map(|each| (each.name.clone(), each.name))
                    .collect()
            }),
        };
        Ok(things.map(|all| {
            all.into_iter()
                .filter(|(id, _)| !self.overlay().container_is_gone(id))
                .collect()
        }))
    }

    /// Which of these images or volumes a container uses that stays; by id, with the names of those containers.
    ///
    /// # Errors
    /// An engine that does not answer is none.
    pub fn engine_users(
        &self,
        engine: &Engine,
        things: &[(String, String)],
    ) -> Result<Known<BTreeMap<String, Vec<String>>>> {
        let containers = engine.all_containers(Some(&*self.host.cancelled))?;
        Ok(containers.map(|mut all| {
            all.retain(|container| !self.overlay().container_is_gone(&container.id));
            let users = |thing: &str| -> Vec<String> {
                let users = all.iter().filter(|container| container.uses(thing));
                users.map(|container| container.name.clone()).collect()
            };
            let used = things.iter().map(|(id, _)| (id.clone(), users(id)));
            used.filter(|(_, users)| !users.is_empty()).collect()
        }))
    }

    /// Bytes that this user can still write where a place lies, as they were at the run's first question about it; for what
    /// exists only in a preview, where it would be made.
    ///
    /// # Errors
    /// As [`View::follow`]; `Kind::NotFound` where nothing is.
    pub fn disk_free(&self, place: &Place) -> Result<u64> {
        let (there, _) = self.follow(place)?;
        self.look(Look::Room, place)?;
        if !self.exists(&there.absolute)? {
            return Err(
                Error::not_found(format!("`{place}` does not exist")).hint("ask for a directory that does")
            );
        }
        let measure = || {
            for above in there.absolute.ancestors() {
                // What a preview has moved here is still on the disk that it comes from.
                let stands = matches!(self.overlay().seen(above), Seen::Real(real) if real == above);
                if stands && self.host.files.stat(above)?.is_some() {
                    return self.host.files.disk_free(above);
                }
            }
            self.host.files.disk_free(&there.absolute)
        };
        let free = self.errand.figures.free(&there.absolute, measure);
        free.map_err(Error::of_looking)
    }

    /// Memory that programs here can have, as it was at the run's first question.
    ///
    /// # Errors
    /// As [`Memory::look`].
    pub fn memory(&self) -> Result<Memory> {
        self.look(Look::Room, "memory")?;
        self.errand.figures.memory(Memory::look)
    }

    /// Asks an address that the policy lists, and those to which it redirects; unknown where a preview must not ask.
    ///
    /// # Errors
    /// As [`Address::parse`], [`View::check_address`] and [`net::http_check`].
    pub fn http_check(&self, url: &str, timeout: Duration) -> Result<Known<net::HttpSeen>> {
        let address = Address::parse(url)?;
        // The policy lists the host; what is sent beyond it is what a script may not send.
        if self.errand.preview
            && let Some(why) = self.holds_given(address.target())
        {
            self.check_address(&address)?;
            let why = format!("asked in the real run only: {why}");
            self.leave_unsent(format!("http_check: an address is {why}"));
            return Ok(Known::Unknown(why));
        }
        if let Err(error) = self.look(Look::Network, "an address") {
            return Ok(Known::Unknown(error.message().to_owned()));
        }
        net::http_check(address, timeout, &|address| self.check_address(address)).map(Known::Yes)
    }

    /// Whether something listens on a port of a host that the policy lists.
    ///
    /// # Errors
    /// As [`Address::of_host`], [`View::check_address`] and [`net::listening`].
    pub fn listening(&self, host: &str, port: u16, timeout: Duration) -> Result<bool> {
        let address = Address::of_host(host, port)?;
        self.check_address(&address)?;
        self.look(Look::Network, format_args!("port {port}"))?;
        let listening = net::listening(address.host(), port, timeout.min(self.allowance.left()));
        listening.map_err(Error::of_looking)
    }

    /// The container engine.
    #[must_use]
    pub fn engine(&self) -> Known<Engine> {
        match self.look(Look::Engine, "the container engine") {
            Ok(()) => self.host.engine(),
            Err(error) => Known::Unknown(error.message().to_owned()),
        }
    }

    /// Whether the policy lists an address for looking.
    ///
    /// # Errors
    /// `Kind::Denied` naming the rule.
    pub fn check_address(&self, address: &Address) -> Result<()> {
        crate::workspace::address::check_address(&self.workspace.config().policy.http, address).map(|_| ())
    }
}

//! What a preview has seen already. A preview is of one moment: it looks at each thing once, however often its words
//! ask. A real pass looks anew for each proposal.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::error::Result;
use crate::host::Host;
use crate::host::files::{EntryKind, Stat};
use crate::host::processes::OpenFiles;

/// The names in a directory with what they are.
pub(super) type Names = BTreeMap<OsString, EntryKind>;

/// One moment of the real world, as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Moment {
    stats: RefCell<HashMap<PathBuf, Option<Stat>>>,
    names: RefCell<HashMap<PathBuf, Names>>,
    /// Directories in which everything was looked at.
    entered: RefCell<HashSet<PathBuf>>,
    open_files: RefCell<Option<Arc<OpenFiles>>>,
    /// What leaves with the run's stories, after so many pretended operations.
    leaving: RefCell<Option<(u64, Rc<BTreeSet<PathBuf>>)>>,
    /// Whether a run could be recorded.
    recordable: OnceCell<()>,
}

impl Moment {
    /// Forgets what was seen of paths.
    pub(super) fn forget(&self) {
        self.stats.borrow_mut().clear();
        self.names.borrow_mut().clear();
        self.entered.borrow_mut().clear();
    }

    /// As [`crate::host::files::Files::stat`].
    pub(super) fn stat(&self, host: &Host, path: &Path) -> Result<Option<Stat>> {
        if let Some(known) = self.stats.borrow().get(path) {
            return Ok(*known);
        }
        // Below a directory that is not there nothing is: most parts have two places, and stand in one.
        let above = path.parent().filter(|above| host.files.contains(above));
        let seen = match above.map(|above| self.stat(host, above)) {
            Some(Ok(None)) => None,
            _ => host.files.stat(path)?,
        };
        self.stats.borrow_mut().insert(path.to_path_buf(), seen);
        Ok(seen)
    }

    /// Looks at everything in a directory in one go.
    pub(super) fn enter(&self, host: &Host, path: &Path) -> Result<()> {
        if !self.entered.borrow_mut().insert(path.to_path_buf()) {
            return Ok(());
        }
        let mut stats = self.stats.borrow_mut();
        let mut names = Names::new();
        for (name, stat) in host.files.list_stats(path)? {
            stats.entry(path.join(&name)).or_insert(Some(stat));
            names.insert(name, stat.kind);
        }
        self.names.borrow_mut().entry(path.to_path_buf()).or_insert(names);
        Ok(())
    }

    /// As [`crate::host::files::Files::list`].
    pub(super) fn list(&self, host: &Host, path: &Path) -> Result<Names> {
        if let Some(known) = self.names.borrow().get(path) {
            return Ok(known.clone());
        }
        let names: Names = host.files.list(path)?.into_iter().collect();
        self.names.borrow_mut().insert(path.to_path_buf(), names.clone());
        Ok(names)
    }

    /// What leaves with the stories of the run, worked out anew after each pretended operation.
    pub(super) fn leaving(
        &self,
        pretended: u64,
        work_out: impl FnOnce() -> Result<BTreeSet<PathBuf>>,
    ) -> Result<Rc<BTreeSet<PathBuf>>> {
        if let Some((at, known)) = self.leaving.borrow().as_ref()
            && *at == pretended
        {
            return Ok(Rc::clone(known));
        }
        let leaving = Rc::new(work_out()?);
        *self.leaving.borrow_mut() = Some((pretended, Rc::clone(&leaving)));
        Ok(leaving)
    }

    /// As [`crate::records::Records::require_state`].
    pub(super) fn recordable(&self, host: &Host) -> Result<()> {
        if self.recordable.get().is_none() {
            host.records.require_state()?;
            self.recordable.get_or_init(|| ());
        }
        Ok(())
    }

    /// What every process has open.
    pub(super) fn open_files(&self, host: &Host) -> Result<Arc<OpenFiles>> {
        if let Some(known) = self.open_files.borrow().as_ref() {
            return Ok(Arc::clone(known));
        }
        let seen = Arc::new(host.broker.open_files()?);
        *self.open_files.borrow_mut() = Some(Arc::clone(&seen));
        Ok(seen)
    }
}

//! Figures of the machine that a run tells its scripts: what was measured at the first question stands for the whole run,
//! preview and real pass, so that a script that writes one down does what was approved.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::base::error::Result;
use crate::host::memory::Memory;

/// The figures of one run, shared by its passes.
#[derive(Debug, Clone, Default)]
pub struct Figures(Rc<Measured>);

#[derive(Debug, Default)]
struct Measured {
    /// Free bytes by the path that was asked about.
    free: RefCell<BTreeMap<PathBuf, u64>>,
    memory: OnceCell<Memory>,
}

impl Figures {
    /// Free bytes at a path, measured where they are not known yet.
    pub(super) fn free(&self, path: &Path, measure: impl FnOnce() -> Result<u64>) -> Result<u64> {
        if let Some(known) = self.0.free.borrow().get(path) {
            return Ok(*known);
        }
        let free = measure()?;
        self.0.free.borrow_mut().insert(path.to_path_buf(), free);
        Ok(free)
    }

    /// Memory, measured where it is not known yet.
    pub(super) fn memory(&self, measure: impl FnOnce() -> Result<Memory>) -> Result<Memory> {
        if let Some(known) = self.0.memory.get() {
            return Ok(*known);
        }
        let memory = measure()?;
        Ok(*self.0.memory.get_or_init(|| memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Error;

    #[test]
    fn a_figure_is_measured_once_by_path_and_what_could_not_be_measured_again() {
        let (one, other) = (Path::new("/a"), Path::new("/b"));
        let figures = Figures::default();
        let failed = figures.free(one, || Err(Error::unknown("no answer")));
        assert!(failed.is_err());
        let same_run = figures.clone();
        assert_eq!(figures.free(one, || Ok(1)).expect("measured"), 1);
        assert_eq!(same_run.free(one, || Ok(2)).expect("known"), 1);
        assert_eq!(same_run.free(other, || Ok(3)).expect("measured"), 3);
        assert_eq!(Figures::default().free(one, || Ok(4)).expect("another run"), 4);
        let memory = |total| Memory {
            total,
            available: total,
        };
        assert_eq!(figures.memory(|| Ok(memory(1))).expect("measured").total, 1);
        assert_eq!(same_run.memory(|| Ok(memory(2))).expect("known").total, 1);
    }
}

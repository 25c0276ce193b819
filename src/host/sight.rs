//! The looks at the world that scripts and checks build on, counted one by one. A debug build can lose one of them, so that
//! tests can show that what rests on a look that could not be made says so.

#[cfg(debug_assertions)]
use std::cell::{Cell, RefCell};
use std::fmt::Display;

use crate::base::error::Result;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// What stands at a path, and what is in a directory.
    Files,
    /// What stands in a file.
    Contents,
    /// Which processes there are, and what they have open.
    Processes,
    /// What a package manager has installed.
    Packages,
    /// The container engine.
    Engine,
    /// Ports and addresses.
    Network,
    /// Room on a disk, and memory.
    Room,
    /// Which sources name which others.
    Sources,
    /// Lines of logs.
    Logs,
}

/// The looks of one host.
#[derive(Debug, Default)]
pub struct Sight {
    #[cfg(debug_assertions)]
    made: RefCell<Vec<(Look, String)>>,
    #[cfg(debug_assertions)]
    lost: Cell<Option<usize>>,
}

impl Sight {
    /// One look at `what`.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Unknown`] for the one that a test has taken away.
    #[cfg(debug_assertions)]
    pub fn look(&self, look: Look, what: impl Display) -> Result<()> {
        if self.lost.get().is_none() {
            return Ok(());
        }
        let mut made = self.made.borrow_mut();
        made.push((look, what.to_string()));
        if self.lost.get() == Some(made.len()) {
            return Err(crate::base::error::Error::unknown(format!(
                "`{what}` could not be looked at"
            )));
        }
        Ok(())
    }

    /// One look at `what`.
    ///
    /// # Errors
    /// None.
    #[cfg(not(debug_assertions))]
    #[inline]
    pub fn look(&self, _: Look, _: impl Display) -> Result<()> {
        Ok(())
    }

    /// From now on the `n`-th look (from 1) can't be made; 0 loses none, and has them written down.
    #[cfg(debug_assertions)]
    pub fn lose(&self, n: usize) {
        self.made.borrow_mut().clear();
        self.lost.set(Some(n));
    }

    /// The looks that were made since [`Sight::lose`].
    #[cfg(debug_assertions)]
    pub fn made(&self) -> Vec<(Look, String)> {
        self.made.borrow().clone()
    }
}

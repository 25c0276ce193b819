//! The texts of imported modules, each read once a command: what was previewed is what runs, whatever becomes of the
//! files meanwhile.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};

/// The directory beside which an import is looked for, and its path.
type Import = (Option<PathBuf>, String);

/// What was read, by the directory beside which it was looked for and the path of the import; `None` where nothing can
/// be imported.
#[derive(Debug, Default)]
pub struct Sources {
    read: RefCell<BTreeMap<Import, Option<String>>>,
    sealed: Cell<bool>,
}

impl Sources {
    /// The text behind an import's path, read by `read` the first time.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Changed`] for what the approved preview did not import.
    pub fn text(
        &self,
        beside: Option<&Path>,
        path: &str,
        read: impl FnOnce() -> Option<String>,
    ) -> Result<Option<String>> {
        let key = (beside.map(Path::to_path_buf), path.to_owned());
        if let Some(known) = self.read.borrow().get(&key) {
            return Ok(known.clone());
        }
        if self.sealed.get() {
            return Err(Error::changed(format!(
                "the run is not the plan: it imports `{path}`, which the preview did not"
            )));
        }
        let text = read();
        self.read.borrow_mut().insert(key, text.clone());
        Ok(text)
    }

    /// From now on nothing more is read.
    pub fn seal(&self) {
        self.sealed.set(true);
    }

    /// The BLAKE3 of each module that was read, in hexadecimal, by the path of its import.
    #[must_use]
    pub fn digests(&self) -> Vec<(String, String)> {
        let read = self.read.borrow();
        read.iter()
            .filter_map(|((_, path), text)| {
                let digest = blake3::hash(text.as_ref()?.as_bytes()).to_hex().to_string();
                Some((path.clone(), digest))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Kind;

    #[test]
    fn a_module_is_read_once_and_no_other_is_read_after_the_preview() {
        let sources = Sources::default();
        let first = sources.text(None, "a", || Some("one".to_owned())).expect("read");
        let again = sources.text(None, "a", || Some("two".to_owned())).expect("known");
        assert_eq!((first.as_deref(), again.as_deref()), (Some("one"), Some("one")));
        sources.seal();
        assert_eq!(
            sources.text(None, "a", || None).expect("known").as_deref(),
            Some("one")
        );
        let other = sources.text(None, "b", || Some("new".to_owned()));
        assert_eq!(other.expect_err("not shown").kind(), Kind::Changed);
        assert_eq!(sources.digests().len(), 1);
    }
}

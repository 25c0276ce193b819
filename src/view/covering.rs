//! What a restore leaves alone: paths of the destination of which the backup knows nothing.

use std::path::{Path, PathBuf};

use super::View;
use crate::base::error::Result;
use crate::host::files::EntryKind;

impl View {
    /// The topmost paths below `standing`, relative to it, at which nothing stands below `covering`. Below what is a
    /// directory on one side only there are none: that gives way as a whole.
    ///
    /// # Errors
    /// As [`View::list`].
    pub fn uncovered(&self, standing: &Path, covering: &Path) -> Result<Vec<PathBuf>> {
        let mut uncovered = Vec::new();
        let mut pending = vec![PathBuf::new()];
        while let Some(inside) = pending.pop() {
            let below = |top: &Path| -> PathBuf { top.join(&inside).components().collect() };
            if !self.are_directories(&below(standing), &below(covering))? {
                continue;
            }
            for (name, kind) in self.list(&below(standing))? {
                let path = inside.join(&name);
                if !self.exists(&covering.join(&path))? {
                    uncovered.push(path);
                } else if kind == EntryKind::Directory {
                    pending.push(path);
                }
            }
        }
        uncovered.sort();
        Ok(uncovered)
    }

    fn are_directories(&self, one: &Path, other: &Path) -> Result<bool> {
        for path in [one, other] {
            let kind = self.stat(path)?.map(|stat| stat.kind);
            if kind != Some(EntryKind::Directory) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! What matches a pattern of paths, for `find_paths` and for the lists of a STORY alike: in a preview as the run would
//! leave it.

use std::path::{Path, PathBuf};

use super::View;
use crate::base::error::{Error, Result};
use crate::host::files::EntryKind;
use crate::pattern::{self, Pattern};
use crate::workspace::{Place, REPORTS};

/// Directories in which nobody looks for parts of a story.
const LEFT_OUT: [&str; 2] = [".git", "node_modules"];

impl View {
    /// The paths that match a pattern, in the order of their names. Links are not followed; `.git`, `node_modules` and
    /// what rollback keeps are left out.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Invalid`] for what is no pattern, or one that looks at more than `policy.limits.max_paths`;
    /// [`crate::base::error::Kind::Denied`] for one that begins outside of the roots.
    pub fn matching(&self, text: &str) -> Result<Vec<Place>> {
        let text = match text.trim_end_matches('/') {
            "" => text,
            trimmed => trimmed,
        };
        self.workspace.place(text)?;
        let base = pattern::base(text);
        let top = self.workspace.place(if base.is_empty() { "." } else { base })?;
        let rest = text.get(base.len()..).unwrap_or_default().trim_start_matches('/');
        let matcher = Pattern::parse(rest).map_err(|error| match Pattern::parse(text) {
            // The place of the mistake in the whole.
            Err(whole) => whole,
            Ok(_) => error,
        })?;
        let ours: [PathBuf; 3] = [
            self.workspace.state(),
            self.workspace.backups(),
            self.workspace.root().join(REPORTS),
        ];
        let deepest = matcher.depth().unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut count = 0_u64;
        let mut pending = vec![(top, PathBuf::new(), 1)];
        while let Some((directory, relative, depth)) = pending.pop() {
            let is_directory = self
                .stat(&directory.absolute)?
                .is_some_and(|stat| stat.kind == EntryKind::Directory);
            if !is_directory {
                continue;
            }
            for (name, kind) in self.list(&directory.absolute)? {
                count += 1;
                self.allowance.check()?;
                if count > self.limits().max_paths {
                    return Err(Error::invalid(format!(
                        "`{text}` looks at more than {} paths",
                        self.limits().max_paths
                    ))
                    .hint("begin the pattern with a directory, or raise policy.limits.max_paths"));
                }
                let place = directory.entry(&name);
                if ours.contains(&place.absolute) || LEFT_OUT.iter().any(|left_out| name == *left_out) {
                    continue;
                }
                let below = relative.join(&name);
                if matcher.matches(&below) {
                    found.push(place.clone());
                }
                if kind == EntryKind::Directory && depth < deepest {
                    pending.push((place, below, depth + 1));
                }
            }
        }
        found.sort_by_cached_key(Place::spelled);
        Ok(found)
    }
}

/// Those of some places that lie below no other of them.
pub(super) fn outermost(places: Vec<Place>) -> Vec<Place> {
    let all: std::collections::BTreeSet<PathBuf> =
        places.iter().map(|place| place.absolute.clone()).collect();
    let is_below = |path: &Path| path.ancestors().skip(1).any(|above| all.contains(above));
    places
        .into_iter()
        .filter(|place| !is_below(&place.absolute))
        .collect()
}

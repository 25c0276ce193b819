//! Links in a backup that lead out of what was backed up: what they lead to is not in it, whatever it looks like.

use std::path::{Path, PathBuf};

use super::verify::{Problem, finished};
use crate::base::error::Result;
use crate::base::known::Known;
use crate::host::files::{EntryKind, Files, display, lexical};

/// Where a link in `directory`, an absolute path, leads by its text alone.
#[must_use]
pub fn leads_to(directory: &Path, target: &Path) -> PathBuf {
    // None would be a relative path that climbs above its start.
    lexical(&directory.join(target)).unwrap_or_default()
}

/// What it means that a link leads there.
#[must_use]
pub fn meaning(target: &str, is_there: &Known<bool>) -> String {
    let leads = format!("leads to `{target}`, outside of it");
    match is_there {
        Known::Yes(true) => format!("{leads}: what stands there stays there, and is not in the backup"),
        Known::Yes(false) => format!("{leads}, where nothing stands"),
        Known::Unknown(why) => format!("{leads}, where nobody could look: {why}"),
    }
}

/// Links that lead out of what was backed up.
#[derive(Debug, Default)]
pub struct LinksOut {
    /// Those that lead to something: the backup lacks it.
    pub lacking: Vec<Problem>,
    /// Those that lead nowhere by now, or where nobody can look: nobody can tell what stood there.
    pub unknown: Vec<Problem>,
}

/// Looks where the links of a backup led from the place where its source stood; `is_there` looks at a path of the world.
///
/// # Errors
/// As [`super::verify::verify`].
pub fn out_of(files: &Files, backup: &Path, is_there: &dyn Fn(&Path) -> Known<bool>) -> Result<LinksOut> {
    let mut manifest = finished(files, backup)?;
    let root = files.roots().next().unwrap_or_else(|| Path::new("/"));
    let source = root.join(&manifest.header().source);
    let top = if manifest.header().kind == EntryKind::Directory {
        source
    } else {
        source.parent().unwrap_or(root).to_path_buf()
    };
    let mut out = LinksOut::default();
    while let Some(entry) = manifest.next()? {
        let Some(target) = &entry.target else { continue };
        let directory = top.join(entry.path.parent().unwrap_or_else(|| Path::new("")));
        let target = leads_to(&directory, target);
        if target.starts_with(&top) {
            continue;
        }
        let there = is_there(&target);
        let rendered = display(target.strip_prefix(root).unwrap_or(&target));
        let problem = Problem {
            path: display(&entry.path),
            what: meaning(&rendered, &there),
        };
        if there == Known::Yes(true) {
            out.lacking.push(problem);
        } else {
            out.unknown.push(problem);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_where_its_text_says() {
        let leads = |target: &str| leads_to(Path::new("/w/data/in"), Path::new(target));
        assert_eq!(leads("a/./b"), Path::new("/w/data/in/a/b"));
        assert_eq!(leads("../other"), Path::new("/w/data/other"));
        assert_eq!(leads("../../store/w.db"), Path::new("/w/store/w.db"));
        assert_eq!(leads("/usr/bin/x"), Path::new("/usr/bin/x"));
        assert_eq!(leads("../../../../.."), Path::new("/"));
    }
}

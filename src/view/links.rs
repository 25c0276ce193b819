//! Where a symbolic link leads in the world as the view shows it: in a preview, with what it has moved, made and
//! removed so far.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::View;
use crate::backup::links::leads_to;
use crate::base::broken::{Own, is_down};
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::host::files::EntryKind;
use crate::view::overlay::Seen;
use crate::workspace::Place;

/// Links on one way, as in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

impl View {
    /// What a place leads to: itself, or the target of a link where that is allowed; then with the link.
    ///
    /// # Errors
    /// `Kind::Denied` for a link that leads out of the roots, `Kind::NotFound` for one that leads nowhere.
    pub fn follow(&self, place: &Place) -> Result<(Place, Option<Place>)> {
        let link = self
            .stat(&place.absolute)?
            .is_some_and(|stat| stat.kind == EntryKind::Symlink);
        if !link {
            return Ok((place.clone(), None));
        }
        let resolved = self.resolved(&place.absolute).map_err(|why| {
            Error::not_found(format!("the link `{place}` leads nowhere: {why}"))
                .hint("remove the link itself with remove_path()")
        })?;
        let resolved = self.workspace.aliases().first_name(&resolved).into_owned();
        if !self.is_inside(&resolved) {
            return Err(Error::denied(format!(
                "the link `{place}` leads to `{}`, outside the workspace",
                resolved.display()
            ))
            .hint("list its directory in policy.write of `rollback.yaml` if a script may change it"));
        }
        if self.workspace.roots().contains(&resolved) {
            return Err(Error::denied(format!("the link `{place}` leads to a whole root")));
        }
        Ok((self.workspace.show(&resolved), Some(place.clone())))
    }

    /// The links at and below a place that lead out of it by their text: the path from the place, and where to.
    ///
    /// # Errors
    /// As [`View::walk`].
    pub fn links_out(&self, top: &Place) -> Result<Vec<(PathBuf, PathBuf)>> {
        let mut links = Vec::new();
        self.walk_across(&top.absolute, &mut |path, stat| {
            if stat.kind == EntryKind::Symlink {
                links.push(path.to_path_buf());
            }
            Ok(())
        })?;
        let mut out = Vec::new();
        for link in links {
            let Seen::Real(real) = self.overlay().seen(&link) else {
                continue;
            };
            let directory = link.parent().unwrap_or(&link);
            let target = leads_to(directory, &self.host.files.read_link(&real)?);
            if !target.starts_with(&top.absolute) {
                let inside = link.strip_prefix(&top.absolute).unwrap_or(&link);
                out.push((inside.to_path_buf(), target));
            }
        }
        Ok(out)
    }

    /// Whether anything stands at a path, be it outside the roots or behind a link.
    pub fn is_there(&self, path: &Path) -> Known<bool> {
        if self.workspace.roots().iter().any(|root| path.starts_with(root))
            && let Ok(there) = self.exists(path)
        {
            return Known::Yes(there);
        }
        match path.try_exists() {
            Ok(there) => Known::Yes(there),
            Err(error) => Known::Unknown(error.to_string()),
        }
    }

    fn is_inside(&self, path: &Path) -> bool {
        is_down(Own::Policy) || self.workspace.roots().iter().any(|root| path.starts_with(root))
    }

    /// The way to `path` without links, component by component; why not, where it leads nowhere.
    fn resolved(&self, path: &Path) -> std::result::Result<PathBuf, String> {
        let mut at = PathBuf::from("/");
        let mut rest = reversed(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let target = if self.is_inside(&next) {
                self.one_link(&next, rest.is_empty())?
            } else {
                // Outside the roots nothing is pretended.
                real_link(&next)?
            };
            match target {
                None => at = next,
                Some(target) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err("too many links on the way".to_owned());
                    }
                    if target.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    rest.extend(reversed(&target));
                }
            }
        }
        Ok(at)
    }

    /// The target of the link at `path`, whose parents are none; `None` where it is something else.
    fn one_link(&self, path: &Path, last: bool) -> std::result::Result<Option<PathBuf>, String> {
        let stat = self
            .stat(path)
            .map_err(|error| error.message().to_owned())?
            .ok_or_else(|| format!("`{}` does not exist", self.workspace.show(path)))?;
        match (stat.kind, self.overlay().seen(path)) {
            (EntryKind::Symlink, Seen::Real(real)) => match self.host.files.read_link(&real) {
                Ok(target) => Ok(Some(target)),
                Err(error) => Err(error.message().to_owned()),
            },
            (EntryKind::Directory, _) => Ok(None),
            _ if last => Ok(None),
            _ => Err(format!("`{}` is not a directory", self.workspace.show(path))),
        }
    }
}

/// The target of a link outside the roots; `None` where it is something else.
fn real_link(path: &Path) -> std::result::Result<Option<PathBuf>, String> {
    let why = |error: std::io::Error| format!("{}: {error}", path.display());
    if path.symlink_metadata().map_err(why)?.is_symlink() {
        path.read_link().map(Some).map_err(why)
    } else {
        Ok(None)
    }
}

/// The components of a path, the last first; the root itself and `.` left out.
fn reversed(path: &Path) -> Vec<OsString> {
    let named = |component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    let mut components: Vec<OsString> = path.components().filter_map(named).collect();
    components.reverse();
    components
}

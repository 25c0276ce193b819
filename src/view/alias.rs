//! Places under other names: hard links, bind mounts, file systems that don't tell cases apart. A place is what the system
//! says it is (device, inode), whatever name leads to it.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::View;
use crate::base::error::{Error, Result};
use crate::host::files::Stat;

/// Device and inode; `None` for what exists only in a preview.
pub(super) type Identity = Option<(u64, u64)>;

pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.inode != 0).then_some((stat.device, stat.inode))
}

/// Places that are known under other names too.
#[derive(Debug)]
pub struct Known {
    places: Vec<PathBuf>,
    by_identity: HashMap<(u64, u64), PathBuf>,
}

impl View {
    /// These places (absolute), as they are now, there or not.
    ///
    /// # Errors
    /// Where one can't be looked at: under which names it is known can't be told then.
    pub fn known(&self, places: Vec<PathBuf>) -> Result<Known> {
        let mut by_identity = HashMap::new();
        for place in &places {
            // Also what it leads to, where it is a link or lies behind one.
            let led_to = led_to(place)?;
            // A script that a person names may lie outside; only what it leads to counts then.
            let itself = if self.host.files.contains(place) {
                self.stat(place)?.as_ref().and_then(identity)
            } else {
                None
            };
            for identity in led_to.into_iter().chain(itself) {
                by_identity.insert(identity, place.clone());
            }
        }
        Ok(Known { places, by_identity })
    }

    /// The name by which a path is known, where it is one of these places, or lies in one, under another name.
    ///
    /// # Errors
    /// What the system says.
    pub fn alias_of(&self, path: &Path, known: &Known) -> Result<Option<PathBuf>> {
        for above in path.ancestors() {
            if !self.host.files.contains(above) || self.workspace.roots().iter().any(|root| root == above) {
                break;
            }
            let rest = path.strip_prefix(above).unwrap_or(Path::new(""));
            if let Some(stat) = self.stat(above)?
                && let Some(place) = known.meant_by(&stat, above)
            {
                return Ok(Some(joined(place, rest)));
            }
            for place in known.places.iter().filter(|place| differs_in_case(place, above)) {
                // One of the two would be the other's name as well, if names were the same whatever their case.
                let may_be_one = self.stat(place)?.is_none() && self.stat(above)?.is_none();
                if may_be_one && self.is_case_blind(above)? {
                    return Ok(Some(joined(place, rest)));
                }
            }
        }
        Ok(None)
    }

    /// Whether the directory of a path takes names that differ in case for the same one. An empty one can't be asked: it
    /// counts as if.
    ///
    /// # Errors
    /// What the system says.
    pub fn is_case_blind(&self, path: &Path) -> Result<bool> {
        let is_there = |above: &&Path| self.host.files.stat(above).is_ok_and(|stat| stat.is_some());
        let Some(directory) = path.ancestors().skip(1).find(is_there) else {
            return Ok(false);
        };
        for (name, _) in self.host.files.list(directory)? {
            let Some(other) = other_case(&name) else { continue };
            let stat = |name: &OsStr| self.host.files.stat(&directory.join(name));
            let (here, there) = (stat(&name)?, stat(&other)?);
            return Ok(match (here, there) {
                (Some(here), Some(there)) => here.same_thing(&there),
                _ => false,
            });
        }
        Ok(true)
    }
}

impl Known {
    /// The place that something is, if it is one under another name than `path`.
    #[must_use]
    pub fn meant_by(&self, stat: &Stat, path: &Path) -> Option<&Path> {
        let place = self.by_identity.get(&identity(stat)?)?;
        (place != path).then_some(place)
    }
}

/// What a place is, links followed; `None` where nothing is there, also where a link leads nowhere.
fn led_to(place: &Path) -> Result<Identity> {
    match rustix::fs::stat(place) {
        Ok(there) => Ok(Some((there.st_dev, there.st_ino))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => {
            let doing = format_args!("look at `{}`", place.display());
            Err(Error::io(doing, &error.into()).of_looking())
        }
    }
}

fn joined(place: &Path, rest: &Path) -> PathBuf {
    place.components().chain(rest.components()).collect()
}

/// The same name with the case of its ASCII letters turned; `None` where it has none.
fn other_case(name: &OsStr) -> Option<OsString> {
    let turned: Vec<u8> = name
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' => byte.to_ascii_uppercase(),
            other => other.to_ascii_lowercase(),
        })
        .collect();
    (turned != name.as_bytes()).then(|| OsString::from_vec(turned))
}

fn differs_in_case(left: &Path, right: &Path) -> bool {
    left != right && folded(left) == folded(right)
}

/// As file systems compare that don't tell cases apart: letters of one case, without what can't be seen.
fn folded(path: &Path) -> String {
    path.to_string_lossy()
        .chars()
        .filter(|character| !is_ignored(*character))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

const fn is_ignored(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_blind_file_systems_do() {
        for (left, right) in [
            ("/w/.git", "/w/.Git"),
            ("/w/rollback.yaml", "/w/ROLLBACK.YAML"),
            ("/w/rollback.yaml", "/w/rollbac\u{212a}.yaml"),
            ("/w/logs/audit.log", "/w/logs/AUDIT\u{200d}.log"),
            ("/w/services", "/w/\u{17f}ervices"),
        ] {
            assert!(
                differs_in_case(Path::new(left), Path::new(right)),
                "{left} {right}"
            );
        }
        assert!(!differs_in_case(Path::new("/w/.git"), Path::new("/w/.git")));
        assert!(!differs_in_case(Path::new("/w/.git"), Path::new("/w/.gitignore")));
    }
}

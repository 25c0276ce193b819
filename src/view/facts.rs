//! Facts that a plan rests on: what stood where, and when the directories around it were changed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::View;
use crate::error::{Error, Result};
use crate::gate::overlay::Seen;
use crate::host::files::{EntryKind, Stat};
use crate::operation::Fact;
use crate::workspace::Place;

/// Files up to this size are facts by their contents, in bytes.
const DIGEST_LIMIT: u64 = 1 << 20;

impl View {
    /// The fact of a path: kind, size, modification time, inode.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn fact(&self, place: &Place) -> Result<Fact> {
        let seen = match self.stat(&place.absolute)? {
            None => Value::Null,
            Some(stat) => {
                let mut seen = json!({
                    "kind": stat.kind.name(), "size": stat.size, "mtime_ns": stat.mtime_ns, "inode": stat.inode,
                });
                if self.errand.preview {
                    self.look_into(place, &stat, &mut seen)?;
                }
                seen
            }
        };
        Ok(Fact {
            about: place.shown.clone(),
            seen,
        })
    }

    /// Adds what a preview knows beyond the outside: the digest of a small file, and one of all names, sizes and times
    /// in a directory.
    fn look_into(&self, place: &Place, stat: &Stat, seen: &mut Value) -> Result<()> {
        match stat.kind {
            // What is pretended has no contents yet that could be told twice alike: it may hold the time.
            EntryKind::File
                if stat.size <= DIGEST_LIMIT
                    && matches!(self.overlay().seen(&place.absolute), Seen::Real(_)) =>
            {
                if let Ok(digest) = self.digest(place) {
                    seen["digest"] = digest.into();
                }
            }
            EntryKind::Directory => {
                let mut hasher = blake3::Hasher::new();
                self.walk(&place.absolute, &mut |path, stat| {
                    let inside = path.strip_prefix(&place.absolute).unwrap_or(path);
                    hasher.update(inside.as_os_str().as_encoded_bytes());
                    let about = (stat.kind.name(), stat.size, stat.mtime_ns, stat.inode);
                    hasher.update(format!("\0{about:?}\n").as_bytes());
                    Ok(())
                })?;
                seen["tree"] = hasher.finalize().to_hex().to_string().into();
            }
            _ => {}
        }
        Ok(())
    }

    /// Modification times of the directory that holds each path, or will hold what is made for it, to be put back by an
    /// undo.
    #[must_use]
    pub fn parent_times(&self, paths: &[&Place]) -> Vec<(String, i64)> {
        let mut times = BTreeMap::new();
        for place in paths {
            // Where directories are made, that is the first one above that is there already.
            for above in place.absolute.ancestors().skip(1) {
                match self.stat(above) {
                    Ok(None) => {}
                    Ok(Some(stat)) => {
                        times.insert(self.workspace.show(above).spelled(), stat.mtime_ns);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        times.into_iter().collect()
    }

    /// The directories above a path that are not there yet, outermost first.
    ///
    /// # Errors
    /// `Invalid` where a file stands in the place of one; what the system says.
    pub fn absent_parents(&self, place: &Place) -> Result<Vec<String>> {
        let mut absent = Vec::new();
        for parent in place.absolute.ancestors().skip(1) {
            match self.stat(parent)? {
                None => absent.push(self.workspace.show(parent).spelled()),
                Some(stat) if stat.kind == EntryKind::File => {
                    return Err(Error::invalid(format!(
                        "`{}` is a file, so nothing can stand at `{place}`",
                        self.workspace.show(parent)
                    )));
                }
                Some(_) => break,
            }
        }
        absent.reverse();
        Ok(absent)
    }
}

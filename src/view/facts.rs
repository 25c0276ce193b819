//! Facts that a plan rests on: what stood where, and when the directories around it were changed. The real pass looks at
//! them again right before each act, by the same code, and must see the same.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{Errand, View};
use crate::backup::MANIFEST;
use crate::base::error::{Error, Result};
use crate::host::files::{EntryKind, Stat};
use crate::report::effect::Fact;
use crate::view::overlay::{Overlay, Seen};
use crate::workspace::Place;

/// Files up to this size are facts by their contents, in bytes.
const DIGEST_LIMIT: u64 = 1 << 20;

impl View {
    /// The fact of a path: what stands there, with the digest of a small file, and for a directory one digest of all that
    /// is known of what is below. Of what this run itself has changed so far, only what its own acts determine.
    ///
    /// # Errors
    /// As [`View::stat`].
    pub fn fact(&self, place: &Place) -> Result<Fact> {
        Ok(Fact {
            about: place.display.clone(),
            seen: self.seen(&place.absolute)?,
            path: Some(place.absolute.clone()),
        })
    }

    /// Looks at the paths of facts again.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Changed`] naming the first that is another now.
    pub fn look_again(&self, facts: &[Fact]) -> Result<()> {
        for fact in facts {
            let Some(path) = &fact.path else { continue };
            let now = self.seen(path)?;
            if now != fact.seen {
                return Err(Error::changed(format!(
                    "`{}` changed while the question stood ({})",
                    fact.about,
                    fact.difference(&now)
                )));
            }
        }
        Ok(())
    }

    fn seen(&self, path: &Path) -> Result<Value> {
        let own = self.own();
        let path = &*self.workspace.aliases().first_name(path);
        if own.is_unsettled(path) {
            return Ok(json!({ "unsettled": true }));
        }
        let Some(stat) = self.stat(path)? else {
            return Ok(Value::Null);
        };
        let mut seen = outside(&self.errand, &own, path, &stat);
        match stat.kind {
            EntryKind::File if stat.size <= DIGEST_LIMIT && !matches!(own.seen(path), Seen::Unknown(_)) => {
                // Of what may not be read, what is seen from outside is all that can be known.
                seen["digest"] = match self.read(&self.workspace.show(path), DIGEST_LIMIT) {
                    Ok(contents) => self.errand.timeless_digest(&contents).into(),
                    Err(_) => "unknown".into(),
                };
            }
            EntryKind::Directory => {
                let mut hasher = blake3::Hasher::new();
                self.walk_across(path, &mut |below, stat| {
                    // A backup of this run has a manifest that no preview makes.
                    let manifest = below.ends_with(MANIFEST) && own.covers(below);
                    if !own.is_unsettled(below) && !manifest {
                        let inside = below.strip_prefix(path).unwrap_or(below);
                        hasher.update(inside.as_os_str().as_encoded_bytes());
                        hasher.update(format!("\0{}\n", outside(&self.errand, &own, below, stat)).as_bytes());
                    }
                    Ok(())
                })?;
                seen["tree"] = hasher.finalize().to_hex().to_string().into();
            }
            _ => {}
        }
        Ok(seen)
    }

    /// Modification times of the directory that holds each path, or will hold what is made for it, to be put back by an
    /// undo.
    ///
    /// # Errors
    /// What the system says.
    pub fn parent_times(&self, paths: &[&Place]) -> Result<Vec<(String, i64)>> {
        let mut times = BTreeMap::new();
        for place in paths {
            // Where directories are made, that is the first one above that is there already.
            for above in place.absolute.ancestors().skip(1) {
                if let Some(stat) = self.stat(above)? {
                    times.insert(self.workspace.show(above).spelled(), stat.mtime_ns);
                    break;
                }
            }
        }
        Ok(times.into_iter().collect())
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

/// What is known of a path from outside.
fn outside(errand: &Errand, own: &Overlay, path: &Path, stat: &Stat) -> Value {
    // The run itself appends there.
    if errand
        .logs
        .keys()
        .any(|log| log == path || log.parent() == Some(path))
    {
        return json!({ "kind": stat.kind.name() });
    }
    let kind = stat.kind.name();
    match own.seen(path) {
        // What is made of it by a program that was not run.
        Seen::Unknown(_) => json!({ "kind": "unknown" }),
        _ if own.covers(path) && stat.kind == EntryKind::File => json!({ "kind": kind, "size": stat.size }),
        // The directory's own size and times change with what this run does in it.
        _ if own.covers(path) || own.touches_below(path) || own.sets_time(path) => json!({ "kind": kind }),
        _ => json!({
            "kind": kind, "size": stat.size, "mode": stat.mode, "mtime_ns": stat.mtime_ns, "inode": stat.inode,
        }),
    }
}

//! What a command changed, as moves: what has to go out of the workspace, and what has to come into it from the layer.

use std::path::{Path, PathBuf};

use super::changes::{Change, What};
use crate::host::files::EntryKind;

/// The moves that make a workspace what a command made of it. Paths are from the workspace on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// What goes, whole: what was removed, and what stands where something else comes.
    pub out: Vec<PathBuf>,
    /// What comes, whole, into directories that are there.
    pub into: Vec<PathBuf>,
    /// Directories that stay and have another time of modification, in nanoseconds since the epoch.
    pub times: Vec<(PathBuf, i64)>,
}

impl Steps {
    /// The moves of a list of changes in the order of their paths' bytes.
    ///
    /// # Errors
    /// What keeps the changes from being moves, for people.
    pub fn of(changes: &[Change]) -> Result<Self, String> {
        let mut steps = Self::default();
        // A path sorts behind those above it, and names with a sign before `/` may stand in between.
        let mut sorted: Vec<&Change> = changes.iter().collect();
        sorted.sort_by(|one, other| one.path.cmp(&other.path));
        for change in sorted {
            steps.add(change, changes)?;
        }
        Ok(steps)
    }

    fn add(&mut self, change: &Change, all: &[Change]) -> Result<(), String> {
        let path = &change.path;
        let is_directory = |stat: Option<crate::host::files::Stat>| {
            stat.is_some_and(|stat| stat.kind == EntryKind::Directory)
        };
        let both_directories = is_directory(change.before) && is_directory(change.after);
        if both_directories && change.what == What::Touched {
            let time = change.after.map_or(0, |stat| stat.mtime_ns);
            self.times.push((path.clone(), time));
            return Ok(());
        }
        if both_directories {
            return Err(format!(
                "it changes the owner, the mode or the attributes of the directory `{}`",
                if path.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    path
                }
                .display()
            ));
        }
        if change.after.is_some_and(|stat| stat.kind == EntryKind::Device) {
            return Err(format!("it makes the device `{}`", path.display()));
        }
        if change.linked {
            return Err(format!(
                "it writes to `{}`, which has other names: whether they change with it can't be told",
                path.display()
            ));
        }
        if let Some(joined) = &change.joins
            && !all.iter().any(|other| other.path == *joined)
        {
            return Err(format!(
                "it gives the file `{}` a second name, `{}`",
                joined.display(),
                path.display()
            ));
        }
        if change.before.is_some() && !is_inside(&self.out, path) {
            self.out.push(path.clone());
        }
        if change.after.is_some() && !is_inside(&self.into, path) {
            self.into.push(path.clone());
        }
        Ok(())
    }
}

/// Whether a path lies below one of these, which are in order, and none of which lies below another.
fn is_inside(tops: &[PathBuf], path: &Path) -> bool {
    tops.last().is_some_and(|top| path.starts_with(top))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::files::Stat;

    fn stat(kind: EntryKind) -> Stat {
        Stat {
            kind,
            size: 0,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_ns: 7,
            ctime_ns: 0,
            inode: 1,
            device: 1,
            links: 1,
            mount_point: false,
        }
    }

    fn change(path: &str, what: What, before: Option<EntryKind>, after: Option<EntryKind>) -> Change {
        Change {
            path: path.into(),
            what,
            before: before.map(stat),
            after: after.map(stat),
            attributes: false,
            linked: false,
            joins: None,
        }
    }

    #[test]
    fn trees_go_and_come_whole_and_directories_that_stay_get_their_times() {
        use EntryKind::{Directory as D, File as F};
        let steps = Steps::of(&[
            change("a", What::Touched, Some(D), Some(D)),
            change("a/b", What::Removed, Some(D), None),
            // Sorts between a directory and what is in it, by bytes.
            change("a/b-c", What::Removed, Some(F), None),
            change("a/b/x", What::Removed, Some(F), None),
            change("a/new", What::Created, None, Some(D)),
            change("a/new/x", What::Created, None, Some(F)),
            change("f", What::Contents, Some(F), Some(F)),
            change("t", What::Touched, Some(F), Some(F)),
            change("turned", What::Replaced, Some(D), Some(F)),
            change("turned/x", What::Removed, Some(F), None),
        ])
        .unwrap();
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(steps.out, paths(&["a/b", "a/b-c", "f", "t", "turned"]));
        assert_eq!(steps.into, paths(&["a/new", "f", "t", "turned"]));
        assert_eq!(steps.times, [(PathBuf::from("a"), 7)]);
    }

    #[test]
    fn what_no_move_can_do_is_told() {
        use EntryKind::{Device, Directory as D, File as F};
        let linked = Change {
            linked: true,
            ..change("f", What::Contents, Some(F), Some(F))
        };
        let joins = Change {
            joins: Some("stays".into()),
            ..change("second", What::Created, None, Some(F))
        };
        for (change, why) in [
            (linked, "other names"),
            (joins, "a second name"),
            (change("d", What::Attributes, Some(D), Some(D)), "directory `d`"),
            (change("", What::Attributes, Some(D), Some(D)), "directory `.`"),
            (change("n", What::Created, None, Some(Device)), "device"),
        ] {
            let told = Steps::of(&[change]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}

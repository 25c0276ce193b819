//! Second names of the same directories: what is mounted below the workspace and is, at the same time, a part of it
//! (bind mounts). A path is known by one name, the first, so that what a run has done to a thing is seen by each name
//! of it. Without such mounts a look costs nothing.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The kernel's list of what is mounted where.
const LIST: &str = "/proc/self/mountinfo";

/// A directory with a second name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alias {
    /// Where it is mounted.
    second: PathBuf,
    /// Its first name.
    first: PathBuf,
}

/// The second names of directories below the roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    all: Vec<Alias>,
    /// Everything that is mounted below the roots.
    mounted: Vec<PathBuf>,
}

/// A line of the list.
struct Mount {
    device: Vec<u8>,
    /// Which directory of its file system is mounted.
    root: PathBuf,
    point: PathBuf,
}

impl Aliases {
    /// What is mounted now.
    ///
    /// # Errors
    /// What the system says of its list.
    pub fn read(roots: &[PathBuf]) -> std::io::Result<Self> {
        let list = std::fs::read(LIST)?;
        let identity = |path: &Path| {
            let metadata = path.symlink_metadata().ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        Ok(Self::of(&list, roots, &|one, other| {
            identity(one).is_some_and(|one| identity(other) == Some(one))
        }))
    }

    fn of(list: &[u8], roots: &[PathBuf], is_same: &dyn Fn(&Path, &Path) -> bool) -> Self {
        let is_below = |path: &Path| roots.iter().any(|root| path.starts_with(root));
        let mounts: Vec<Mount> = list.split(|byte| *byte == b'\n').filter_map(Mount::of).collect();
        let mut aliases = Self::default();
        for (index, mount) in mounts.iter().enumerate() {
            if !is_below(&mount.point) {
                continue;
            }
            aliases.mounted.push(mount.point.clone());
            // What it shows was there before it: that is the first name.
            let before = mounts
                .iter()
                .take(index)
                .filter(|before| before.device == mount.device);
            let names = before.filter_map(|before| {
                let inside = mount.root.strip_prefix(&before.root).ok()?;
                Some(before.point.join(inside).components().collect::<PathBuf>())
            });
            let first = names
                .filter(|name| is_below(name) && *name != mount.point)
                .find(|name| is_same(name, &mount.point));
            if let Some(first) = first {
                let first = aliases.first_name(&first).into_owned();
                aliases.all.push(Alias {
                    second: mount.point.clone(),
                    first,
                });
            }
        }
        aliases
    }

    /// The first name of a path.
    #[must_use]
    pub fn first_name<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        let within = self.all.iter().filter(|alias| path.starts_with(&alias.second));
        let Some(alias) = within.max_by_key(|alias| alias.second.components().count()) else {
            return Cow::Borrowed(path);
        };
        let Ok(inside) = path.strip_prefix(&alias.second) else {
            return Cow::Borrowed(path);
        };
        let first: PathBuf = alias.first.join(inside).components().collect();
        // By its first name a path may lead into something that is mounted there alone.
        let elsewhere = |point: &PathBuf| {
            *point != alias.first && point.starts_with(&alias.first) && first.starts_with(point)
        };
        if self.mounted.iter().any(elsewhere) {
            return Cow::Borrowed(path);
        }
        Cow::Owned(first)
    }

    /// As [`Aliases::first_name`], but what is mounted there itself keeps its own.
    #[must_use]
    pub fn first_name_below<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        if self.all.iter().any(|alias| path == alias.second) {
            return Cow::Borrowed(path);
        }
        self.first_name(path)
    }

    /// Other names of a path that bears its first one.
    pub fn second_names<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        self.all.iter().filter_map(move |alias| {
            let inside = path.strip_prefix(&alias.first).ok()?;
            Some(alias.second.join(inside).components().collect())
        })
    }

    /// A directory at or below `path` that has a second name, with that.
    #[must_use]
    pub fn within(&self, path: &Path) -> Option<(&Path, &Path)> {
        let met = |alias: &&Alias| alias.first.starts_with(path) || alias.second.starts_with(path);
        let alias = self.all.iter().find(met)?;
        Some((&alias.first, &alias.second))
    }
}

impl Mount {
    fn of(line: &[u8]) -> Option<Self> {
        Some(Self {
            device: line.split(|byte| *byte == b' ').nth(2)?.to_vec(),
            root: field(line, 3)?,
            point: field(line, 4)?,
        })
    }
}

/// A path in a line of the kernel's list: a word in which blanks are written as three octal digits.
pub(crate) fn field(line: &[u8], index: usize) -> Option<PathBuf> {
    let word = line.split(|byte| *byte == b' ').nth(index)?;
    let mut path = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = escaped {
            path.push(byte);
            rest = after.get(3..)?;
        } else {
            path.push(*first);
            rest = after;
        }
    }
    Some(PathBuf::from(OsString::from_vec(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        20 1 8:1 / / rw - ext4 /dev/a rw\n\
        21 20 0:5 / /proc rw - proc proc rw\n\
        30 20 8:1 /w/a /w/mnt rw - ext4 /dev/a rw\n\
        31 20 8:1 /w/mnt\\040b/deep /w/mnt/own rw - ext4 /dev/a rw\n\
        32 20 0:9 / /w/a/disk rw - tmpfs tmpfs rw\n\
        33 20 8:1 /elsewhere /w/one rw - ext4 /dev/a rw\n\
        34 20 8:1 /elsewhere/in /w/two rw - ext4 /dev/a rw\n\
        35 20 8:1 /w/a /other/mnt rw - ext4 /dev/a rw\n";

    fn aliases() -> Aliases {
        Aliases::of(MOUNTS.as_bytes(), &["/w".into()], &|_, _| true)
    }

    #[test]
    fn what_is_mounted_twice_has_one_first_name() {
        let aliases = aliases();
        for (name, first) in [
            ("/w/mnt", "/w/a"),
            ("/w/mnt/x/y", "/w/a/x/y"),
            ("/w/mnt/own/x", "/w/mnt b/deep/x"),
            ("/w/two/x", "/w/one/in/x"),
            ("/w/one/x", "/w/one/x"),
            ("/w/mntx", "/w/mntx"),
            ("/w/a/x", "/w/a/x"),
            // The plain bind shows what lies under the other disk, which has no other name.
            ("/w/mnt/disk/x", "/w/mnt/disk/x"),
        ] {
            assert_eq!(*aliases.first_name(Path::new(name)), *Path::new(first), "{name}");
        }
        assert_eq!(
            *aliases.first_name_below(Path::new("/w/mnt")),
            *Path::new("/w/mnt")
        );
        assert_eq!(
            *aliases.first_name_below(Path::new("/w/mnt/x")),
            *Path::new("/w/a/x")
        );
    }

    #[test]
    fn every_name_of_a_path_is_known() {
        let aliases = aliases();
        let names: Vec<PathBuf> = aliases.second_names(Path::new("/w/a/x")).collect();
        assert_eq!(names, [Path::new("/w/mnt/x")]);
        for path in ["/w/a", "/w", "/w/mnt", "/w/one/in"] {
            assert!(aliases.within(Path::new(path)).is_some(), "{path}");
        }
        for path in ["/w/a/x", "/w/one/other", "/w/b"] {
            assert_eq!(aliases.within(Path::new(path)), None, "{path}");
        }
    }

    /// Names alone say nothing: a mount on top hides what bore the name.
    #[test]
    fn what_is_not_the_same_directory_is_no_alias() {
        let none = Aliases::of(MOUNTS.as_bytes(), &["/w".into()], &|_, _| false);
        assert_eq!(*none.first_name(Path::new("/w/mnt/x")), *Path::new("/w/mnt/x"));
    }
}

//! What a preview has pretended so far: paths, processes, packages, containers.
//!
//! Only [`crate::operation::Operation::pretend`] writes it, and only [`crate::view::View`] reads it. In a real run it
//! stays empty, so both passes read the world through the same code.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// What stands at a pretended path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing.
    Gone,
    /// A regular file with these contents.
    Text(Vec<u8>),
    /// A directory that was made.
    Directory,
    /// What really stands at this path, whole.
    From(PathBuf),
    /// Something whose contents depend on a command that was not run.
    Unknown(String),
}

/// Where a path of the pretended world leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<'a> {
    /// To this path of the real world.
    Real(PathBuf),
    /// Nothing there.
    Gone,
    /// To these contents.
    Text(&'a [u8]),
    /// To a directory that exists only here.
    Directory,
    /// To contents that cannot be known before the run, and why.
    Unknown(&'a str),
}

/// The pretended world.
#[derive(Debug, Default)]
pub struct Overlay {
    paths: BTreeMap<PathBuf, Node>,
    ended: BTreeSet<(i32, u64)>,
    uninstalled: BTreeSet<(String, String)>,
    containers: BTreeSet<String>,
    backups: Vec<serde_json::Value>,
    unsettled: BTreeSet<PathBuf>,
    unsimulated: Option<String>,
    modes: BTreeMap<PathBuf, u32>,
    timed: BTreeSet<PathBuf>,
}

impl Overlay {
    /// Whether no path is pretended.
    #[must_use]
    pub fn has_no_paths(&self) -> bool {
        self.paths.is_empty()
    }

    /// The pretended nodes, by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&PathBuf, &Node)> {
        self.paths.iter()
    }

    /// Where `path` leads.
    #[must_use]
    pub fn seen(&self, path: &Path) -> Seen<'_> {
        if let Some((ancestor, node)) = self.nearest(path) {
            let below = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            let itself = below.as_os_str().is_empty();
            return match node {
                Node::From(real) if itself => Seen::Real(real.clone()),
                Node::From(real) => Seen::Real(real.join(below)),
                Node::Text(bytes) if itself => Seen::Text(bytes),
                Node::Directory if itself => Seen::Directory,
                Node::Unknown(why) => Seen::Unknown(why),
                _ => Seen::Gone,
            };
        }
        Seen::Real(path.to_path_buf())
    }

    /// What is pretended of `path` itself, or of the nearest directory above it.
    fn nearest(&self, path: &Path) -> Option<(&Path, &Node)> {
        let mut last = path;
        loop {
            let (key, node) = self
                .paths
                .range::<Path, _>((Bound::Unbounded, Bound::Included(last)))
                .next_back()?;
            if path.starts_with(key) {
                return Some((key, node));
            }
            // What stands above the path sorts before what it has in common with this neighbour, or is that.
            last = path.ancestors().find(|ancestor| key.starts_with(ancestor))?;
        }
    }

    /// Whether anything at or below `path` is pretended.
    #[must_use]
    pub fn touches(&self, path: &Path) -> bool {
        self.below(path).next().is_some() || self.nearest(path).is_some()
    }

    /// Whether `path` itself, or a directory above it, is pretended.
    #[must_use]
    pub fn covers(&self, path: &Path) -> bool {
        self.nearest(path).is_some()
    }

    /// Whether anything below `path` is pretended or may change.
    #[must_use]
    pub fn touches_below(&self, path: &Path) -> bool {
        let unsettled = self
            .unsettled
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        self.below(path).any(|(pretended, _)| pretended != path)
            || unsettled.take_while(|below| below.starts_with(path)).count() > 0
    }

    /// Notes that others may still change what is at and below `path` while the run goes on: a process that writes
    /// there until it ends, a package manager.
    pub fn unsettle(&mut self, path: &Path) {
        self.unsettled.insert(path.to_path_buf());
    }

    /// Whether what stands at `path` may change while the run goes on.
    #[must_use]
    pub fn is_unsettled(&self, path: &Path) -> bool {
        !self.unsettled.is_empty() && path.ancestors().any(|above| self.unsettled.contains(above))
    }

    /// The pretended nodes at and below `path`, by path.
    fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
        // `a/b` sorts before `a/b/c` and, component by component, nothing else stands between them.
        self.paths
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(move |(pretended, _)| pretended.starts_with(path))
    }

    /// What stands below `path` and was brought there from elsewhere: where it is pretended, and where it really is.
    #[must_use]
    pub fn brought(&self, path: &Path) -> Vec<(PathBuf, PathBuf)> {
        let below = self.below(path).filter(|(pretended, _)| *pretended != path);
        below
            .filter_map(|(pretended, node)| match node {
                Node::From(real) => Some((pretended.clone(), real.clone())),
                _ => None,
            })
            .collect()
    }

    /// Names directly below `directory` that are pretended, with whether something stands there.
    pub fn children<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = (&'a std::ffi::OsStr, bool)> {
        self.below(directory).filter_map(move |(path, node)| {
            (path.parent() == Some(directory)).then_some(())?;
            Some((path.file_name()?, !matches!(node, Node::Gone)))
        })
    }

    fn put(&mut self, path: &Path, node: Node) {
        let below: Vec<PathBuf> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.paths.remove(&path);
        }
        self.paths.insert(path.to_path_buf(), node);
    }

    /// Pretends that `path` is gone, with everything below it.
    pub fn remove(&mut self, path: &Path) {
        self.put(path, Node::Gone);
    }

    /// Pretends that `path` holds `bytes`.
    pub fn write(&mut self, path: &Path, bytes: Vec<u8>) {
        self.put(path, Node::Text(bytes));
    }

    /// Pretends that the contents of `path` depend on a command.
    pub fn doubt(&mut self, path: &Path, why: impl Into<String>) {
        self.put(path, Node::Unknown(why.into()));
    }

    /// Pretends that the directory `path` was made; one that is pretended already stays.
    pub fn make_directory(&mut self, path: &Path) {
        if !matches!(self.paths.get(path), Some(Node::Directory | Node::From(_))) {
            self.put(path, Node::Directory);
        }
    }

    /// Pretends that the `count` directories above `path` were made.
    pub fn make_parents(&mut self, path: &Path, count: usize) {
        let above: Vec<&Path> = path.ancestors().skip(1).take(count).collect();
        for directory in above.into_iter().rev() {
            self.make_directory(directory);
        }
    }

    /// Pretends that `from` stands at `to`; it stays at `from` too.
    pub fn copy(&mut self, from: &Path, to: &Path) {
        let node = match self.seen(from) {
            Seen::Real(real) => Node::From(real),
            Seen::Gone => Node::Gone,
            Seen::Text(bytes) => Node::Text(bytes.to_vec()),
            Seen::Directory => Node::Directory,
            Seen::Unknown(why) => Node::Unknown(why.to_owned()),
        };
        let inside: Vec<(PathBuf, Node)> = self
            .below(from)
            .filter_map(|(path, node)| {
                let relative = path.strip_prefix(from).ok()?;
                (!relative.as_os_str().is_empty()).then(|| (to.join(relative), node.clone()))
            })
            .collect();
        self.put(to, node);
        self.paths.extend(inside);
        let unsettled: Vec<PathBuf> = self
            .unsettled
            .iter()
            .filter_map(|path| Some(to.join(path.strip_prefix(from).ok()?)))
            .collect();
        self.unsettled.extend(unsettled);
    }

    /// Pretends that `from` was moved to `to`.
    pub fn rename(&mut self, from: &Path, to: &Path) {
        self.copy(from, to);
        self.remove(from);
    }

    /// Pretends that a process has ended: its id and its start time in clock ticks.
    pub fn end_process(&mut self, pid: i32, started_ticks: u64) {
        self.ended.insert((pid, started_ticks));
    }

    /// Whether a process is pretended to have ended.
    #[must_use]
    pub fn has_ended(&self, pid: i32, started_ticks: u64) -> bool {
        self.ended.contains(&(pid, started_ticks))
    }

    /// Pretends that a package is uninstalled.
    pub fn uninstall(&mut self, manager: &str, name: &str) {
        self.uninstalled.insert((manager.to_owned(), name.to_owned()));
    }

    /// Whether a package is pretended to be uninstalled.
    #[must_use]
    pub fn is_uninstalled(&self, manager: &str, name: &str) -> bool {
        self.uninstalled.contains(&(manager.to_owned(), name.to_owned()))
    }

    /// Names of packages that are pretended to be uninstalled.
    pub fn uninstalled(&self) -> impl Iterator<Item = &str> {
        self.uninstalled.iter().map(|(_, name)| name.as_str())
    }

    /// Pretends that a container, image or volume is gone, by its id.
    pub fn remove_container(&mut self, id: &str) {
        self.containers.insert(id.to_owned());
    }

    /// Whether a container, image or volume is pretended to be gone.
    #[must_use]
    pub fn container_is_gone(&self, id: &str) -> bool {
        self.containers.contains(id)
    }

    /// Pretends that a directory has this mode.
    pub fn set_mode(&mut self, path: &Path, mode: u32) {
        self.modes.insert(path.to_path_buf(), mode);
    }

    /// Notes that the run sets the modification time of a directory.
    pub fn set_time(&mut self, path: &Path) {
        self.timed.insert(path.to_path_buf());
    }

    /// Whether the run sets the modification time of a directory.
    #[must_use]
    pub fn sets_time(&self, path: &Path) -> bool {
        self.timed.contains(path)
    }

    /// The mode that a path is pretended to have.
    #[must_use]
    pub fn mode(&self, path: &Path) -> Option<u32> {
        self.modes.get(path).copied()
    }

    /// The modes that directories are pretended to have.
    pub fn modes(&self) -> impl Iterator<Item = (&Path, u32)> {
        self.modes.iter().map(|(path, mode)| (path.as_path(), *mode))
    }

    /// Pretends that a backup was made; the value is what `list_backups` tells of it.
    pub fn add_backup(&mut self, backup: serde_json::Value) {
        self.backups.push(backup);
    }

    /// Backups that are pretended to have been made.
    #[must_use]
    pub fn backups(&self) -> &[serde_json::Value] {
        &self.backups
    }

    /// Notes a command whose effect cannot be pretended.
    pub fn cannot_simulate(&mut self, command: impl Into<String>) {
        self.unsimulated.get_or_insert(command.into());
    }

    /// The first command whose effect could not be pretended.
    #[must_use]
    pub fn unsimulated(&self) -> Option<&str> {
        self.unsimulated.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_tree_takes_its_edits_along() {
        let mut overlay = Overlay::default();
        overlay.write(Path::new("/w/a/x"), b"new".to_vec());
        overlay.remove(Path::new("/w/a/gone"));
        overlay.rename(Path::new("/w/a"), Path::new("/w/b"));
        assert_eq!(overlay.seen(Path::new("/w/b/x")), Seen::Text(b"new"));
        assert_eq!(overlay.seen(Path::new("/w/b/gone")), Seen::Gone);
        assert_eq!(overlay.seen(Path::new("/w/b/y")), Seen::Real("/w/a/y".into()));
        assert_eq!(overlay.seen(Path::new("/w/a/y")), Seen::Gone);
        assert_eq!(overlay.seen(Path::new("/w/ab")), Seen::Real("/w/ab".into()));
    }

    #[test]
    fn what_is_written_below_a_removed_directory_is_there() {
        let mut overlay = Overlay::default();
        overlay.remove(Path::new("/w/a"));
        overlay.make_directory(Path::new("/w/a"));
        overlay.write(Path::new("/w/a/x"), b"1".to_vec());
        assert_eq!(overlay.seen(Path::new("/w/a")), Seen::Directory);
        assert_eq!(overlay.seen(Path::new("/w/a/x")), Seen::Text(b"1"));
        assert_eq!(overlay.seen(Path::new("/w/a/y")), Seen::Gone);
        let children: Vec<_> = overlay.children(Path::new("/w/a")).collect();
        assert_eq!(children, [(std::ffi::OsStr::new("x"), true)]);
    }

    proptest::proptest! {
        #[test]
        fn the_nearest_is_the_innermost_of_those_above(
            pretended in proptest::collection::vec("(/[ab.-]{1,2}){1,4}", 0..12),
            asked in "(/[ab.-]{1,2}){1,5}",
        ) {
            let mut overlay = Overlay::default();
            for path in &pretended {
                overlay.write(Path::new(path), Vec::new());
            }
            let asked = Path::new(&asked);
            let plain = asked.ancestors().find(|above| overlay.paths.contains_key(*above));
            proptest::prop_assert_eq!(overlay.nearest(asked).map(|(path, _)| path), plain);
        }
    }
}

//! Where packages are read from: the disk, or what a preview makes of it. Links are followed as npm and Python follow
//! them, through what is pretended too: a link whose target went leads nowhere.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// The most links on the way to one path, as in the kernel.
const MOST_LINKS: u32 = 40;

/// What stands at a path of a tree; links are not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// What stands at this path of the disk.
    Disk(PathBuf),
    /// Nothing.
    Gone,
    /// A file of these contents.
    Text(Vec<u8>),
    /// A directory that holds only [`Tree::pretended`].
    Directory,
    /// Something that only a run can tell.
    Unknown,
}

/// A tree of files.
pub trait Tree {
    /// Whether it is the disk as it is.
    fn is_disk(&self) -> bool;
    /// What stands at an absolute path.
    fn node(&self, path: &Path) -> Node;
    /// Names directly below a directory that differ from the disk, with whether something stands there.
    fn pretended(&self, directory: &Path) -> Vec<(OsString, bool)>;
}

/// The disk as it is.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Tree for Disk {
    fn is_disk(&self) -> bool {
        true
    }

    fn node(&self, path: &Path) -> Node {
        Node::Disk(path.to_path_buf())
    }

    fn pretended(&self, _directory: &Path) -> Vec<(OsString, bool)> {
        Vec::new()
    }
}

/// Nothing there is no failure, nor is a circle of links.
fn if_there<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path without links and what stands there; `None` where nothing does, or links lead in a circle.
///
/// # Errors
/// What the system says.
pub fn follow(tree: &dyn Tree, path: &Path) -> Result<Option<(PathBuf, Node)>> {
    if tree.is_disk() {
        let real = if_there(path.canonicalize())?;
        return Ok(real.map(|real| (real.clone(), Node::Disk(real))));
    }
    let mut links = 0;
    let mut real = PathBuf::from("/");
    let mut node = Node::Disk(real.clone());
    let mut pending: Vec<OsString> = components(path);
    while let Some(name) = pending.pop() {
        if name == ".." {
            real.pop();
            node = tree.node(&real);
            continue;
        }
        let next = real.join(&name);
        node = tree.node(&next);
        match &node {
            Node::Gone => return Ok(None),
            Node::Disk(disk) => {
                let Some(metadata) = if_there(disk.symlink_metadata())? else {
                    return Ok(None);
                };
                if metadata.is_symlink() {
                    links += 1;
                    if links > MOST_LINKS {
                        return Ok(None);
                    }
                    let target = disk.read_link()?;
                    if target.is_absolute() {
                        real = PathBuf::from("/");
                    }
                    node = tree.node(&real);
                    pending.extend(components(&target));
                    continue;
                }
            }
            Node::Text(_) | Node::Directory | Node::Unknown => {}
        }
        real = next;
    }
    Ok(Some((real, node)))
}

/// The names of a path, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// Whether a link stands at a path.
#[must_use]
pub fn is_link(tree: &dyn Tree, path: &Path) -> bool {
    matches!(tree.node(path), Node::Disk(disk) if disk.is_symlink())
}

/// As [`follow`]; on the disk itself the system follows the links.
fn reach(tree: &dyn Tree, path: &Path) -> Result<Option<(PathBuf, Node)>> {
    if tree.is_disk() {
        return Ok(Some((path.to_path_buf(), Node::Disk(path.to_path_buf()))));
    }
    follow(tree, path)
}

/// Whether a path leads to a file.
///
/// # Errors
/// What the system says.
pub fn is_file(tree: &dyn Tree, path: &Path) -> Result<bool> {
    Ok(match reach(tree, path)? {
        Some((_, Node::Disk(disk))) => if_there(disk.metadata())?.is_some_and(|metadata| metadata.is_file()),
        Some((_, Node::Text(_) | Node::Unknown)) => true,
        Some((_, Node::Directory | Node::Gone)) | None => false,
    })
}

/// Whether a path leads to a directory.
///
/// # Errors
/// What the system says.
pub fn is_directory(tree: &dyn Tree, path: &Path) -> Result<bool> {
    Ok(match reach(tree, path)? {
        Some((_, Node::Disk(disk))) => if_there(disk.metadata())?.is_some_and(|metadata| metadata.is_dir()),
        Some((_, Node::Directory)) => true,
        _ => false,
    })
}

/// At most `limit` bytes of the file to which a path leads. `None` where there is none, or its contents depend on a
/// command that was not run.
///
/// # Errors
/// What the system says.
pub fn read(tree: &dyn Tree, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match reach(tree, path)? {
        Some((_, Node::Disk(disk))) => {
            if !if_there(disk.metadata())?.is_some_and(|metadata| metadata.is_file()) {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            crate::workspace::open(&disk)?
                .take(limit)
                .read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Some((_, Node::Text(mut bytes))) => {
            bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            Ok(Some(bytes))
        }
        _ => Ok(None),
    }
}

/// The names in the directory to which a path leads, sorted, with their paths; none where there is no directory. A name
/// that isn't UTF-8 is left out: it is no package's.
///
/// # Errors
/// What the system says.
pub fn list(tree: &dyn Tree, path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut names = BTreeSet::new();
    let real = match reach(tree, path)? {
        Some((real, Node::Disk(disk))) => {
            for entry in if_there(std::fs::read_dir(disk))?.into_iter().flatten() {
                names.insert(entry?.file_name());
            }
            real
        }
        Some((real, Node::Directory)) => real,
        _ => return Ok(Vec::new()),
    };
    for (name, is_there) in tree.pretended(&real) {
        if is_there {
            names.insert(name);
        } else {
            names.remove(&name);
        }
    }
    let named = |name: OsString| {
        let below = path.join(&name);
        name.into_string().ok().map(|name| (name, below))
    };
    Ok(names.into_iter().filter_map(named).collect())
}

/// A number that differs when what a path leads to was changed: a file, or the names in a directory.
#[must_use]
pub fn stamp(tree: &dyn Tree, path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    match reach(tree, path) {
        Ok(Some((real, node))) => {
            match &node {
                Node::Disk(disk) => match disk.metadata() {
                    Ok(metadata) => {
                        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()).hash(&mut hasher);
                    }
                    Err(error) => error.raw_os_error().hash(&mut hasher),
                },
                Node::Text(bytes) => bytes.hash(&mut hasher),
                Node::Unknown => "unknown".hash(&mut hasher),
                Node::Directory | Node::Gone => {}
            }
            tree.pretended(&real).hash(&mut hasher);
        }
        Ok(None) => "gone".hash(&mut hasher),
        Err(error) => error.raw_os_error().hash(&mut hasher),
    }
    hasher.finish()
}

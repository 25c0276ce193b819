//! A directory tree in memory, and its way to the disk.

#![expect(
    clippy::disallowed_methods,
    reason = "the demo writes a new throw-away workspace of its own, never the user's"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

/// 2025-08-28T09:26:56Z, the modification time of everything, in seconds since the epoch.
pub(super) const MODIFIED: i64 = 1_756_373_216;

const PLAIN: u32 = 0o644;
const PRIVATE: u32 = 0o600;
const PROGRAM: u32 = 0o755;

enum Node {
    File { contents: Vec<u8>, mode: u32 },
    Link { target: PathBuf },
}

/// Files and links by their path below the root. Later ones replace earlier ones.
#[derive(Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// A file that everyone may read; private if it holds secrets, executable if it is a program.
    pub(super) fn file(&mut self, path: impl Into<String>, contents: impl Into<Vec<u8>>) {
        let (path, contents) = (path.into(), contents.into());
        let mode = if path.rsplit('.').next() == Some("env") {
            PRIVATE
        } else if contents.starts_with(b"#!") {
            PROGRAM
        } else {
            PLAIN
        };
        self.nodes.insert(path, Node::File { contents, mode });
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: impl Into<String>, target: impl Into<PathBuf>) {
        self.nodes.insert(
            path.into(),
            Node::Link {
                target: target.into(),
            },
        );
    }

    /// How many files and links.
    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The sum of the sizes of the files, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| {
                if let Node::File { contents, .. } = node {
                    contents.len() as u64
                } else {
                    0
                }
            })
            .sum()
    }

    /// Writes everything below `root`, which must be empty; replaces nothing.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let directories: BTreeSet<&Path> = self
            .nodes
            .keys()
            .flat_map(|path| Path::new(path).ancestors().skip(1))
            .filter(|directory| !directory.as_os_str().is_empty())
            .collect();
        for directory in &directories {
            let path = root.join(directory);
            std::fs::create_dir(&path).with_context(|| doing("create", &path))?;
        }
        for (path, node) in &self.nodes {
            let path = root.join(path);
            match node {
                Node::File { contents, mode } => write_file(&path, contents, *mode),
                Node::Link { target } => {
                    std::os::unix::fs::symlink(target, &path).and_then(|()| set_times(&path))
                }
            }
            .with_context(|| doing("write", &path))?;
        }
        // Last and from the bottom: making an entry changes the time of the directory that holds it.
        for directory in directories.iter().rev() {
            let path = root.join(directory);
            set_times(&path).with_context(|| doing("set the times of", &path))?;
        }
        set_times(root).with_context(|| doing("set the times of", root))
    }
}

fn write_file(path: &Path, contents: &[u8], mode: u32) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(contents)?;
    Ok(rustix::fs::futimens(&file, &times())?)
}

fn set_times(path: &Path) -> std::io::Result<()> {
    Ok(rustix::fs::utimensat(
        CWD,
        path,
        &times(),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn times() -> Timestamps {
    let moment = Timespec {
        tv_sec: MODIFIED,
        tv_nsec: 0,
    };
    Timestamps {
        last_access: moment,
        last_modification: moment,
    }
}

fn doing(what: &str, path: &Path) -> String {
    format!("{what} `{}`", path.display())
}

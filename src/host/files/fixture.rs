//! Trees for tests, built and described without the code under test.

#![expect(
    clippy::disallowed_methods,
    reason = "a test sets its own scene, below a temporary directory"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::Files;

/// A temporary directory with `Files` opened on it.
pub(crate) struct Scene {
    pub(crate) files: Files,
    directory: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            files: Files::open(&[directory.path().to_path_buf()]).unwrap(),
            directory,
        }
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        super::below(self.directory.path(), relative.as_ref())
    }

    pub(crate) fn file(&self, relative: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    pub(crate) fn directory(&self, relative: impl AsRef<Path>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn link(&self, relative: impl AsRef<Path>, target: impl AsRef<Path>) -> PathBuf {
        let path = self.path(relative);
        symlink(target, &path).unwrap();
        path
    }

    /// All that a copy must keep: links, odd names, holes, hard links, modes, times, attributes, pipes.
    pub(crate) fn odd_tree(&self, top: &str) -> PathBuf {
        let tree = self.directory(top);
        self.directory(tree.join("empty"));
        self.file(tree.join("deep/er/data.txt"), "contents");
        self.file(tree.join("name with\nline feed"), "one");
        self.file(tree.join(OsStr::from_bytes(b"not utf-8 \xff\xfe")), "two");
        self.file(tree.join("x".repeat(255)), "three");
        self.file(tree.join("a-b"), "sorts between `a` and `a/c`");
        self.file(tree.join("a/c"), "");
        self.link(tree.join("dangling"), "nowhere/at all");
        self.link(tree.join("outward"), "/etc/passwd");
        self.link(tree.join("sibling"), "deep");
        fs::hard_link(tree.join("deep/er/data.txt"), tree.join("deep/again.txt")).unwrap();
        fs::hard_link(tree.join("deep/er/data.txt"), tree.join("zz")).unwrap();
        let mut sparse = fs::File::create(tree.join("sparse")).unwrap();
        sparse.seek(SeekFrom::Start(3 << 20)).unwrap();
        sparse.write_all(b"island").unwrap();
        sparse.set_len(6 << 20).unwrap();
        let script = self.file(tree.join("run.sh"), "#!/bin/sh\n");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o4751)).unwrap();
        // A file system without user attributes (an old tmpfs) is no reason to fail here.
        let _ = rustix::fs::setxattr(&script, "user.origin", b"a\0b", rustix::fs::XattrFlags::empty());
        let pipe = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, tree.join("pipe"), pipe, 0o640.into(), 0).unwrap();
        fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o700)).unwrap();
        for (nanoseconds, path) in (0_u32..).zip(["deep/er/data.txt", "empty", "deep/er", "deep", "a", ""]) {
            let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_700 + nanoseconds);
            fs::File::open(tree.join(path))
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        tree
    }
}

/// Everything that a faithful copy shares with its original, by path from the top (the top is "").
pub(crate) fn portrait(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut portrait = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let path = if relative.as_os_str().is_empty() {
            top.to_path_buf()
        } else {
            top.join(&relative)
        };
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let contents = if kind.is_dir() {
            let mut names: Vec<OsString> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            todo.extend(names.iter().map(|name| relative.join(name)));
            format!("{names:?}")
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if kind.is_fifo() {
            "pipe".to_owned()
        } else {
            inodes
                .entry(metadata.ino())
                .or_insert_with(Vec::new)
                .push(relative.clone());
            let mut value = [0; 64];
            let attribute =
                rustix::fs::getxattr(&path, "user.origin", &mut value).map(|length| value[..length].to_vec());
            let holes = metadata.len() >= 1 << 20 && metadata.blocks() * 512 < metadata.len() / 2;
            let digest = blake3::hash(&fs::read(&path).unwrap());
            format!("{digest} {:?} {holes}", attribute.ok())
        };
        portrait.insert(
            relative,
            format!(
                "{:o} {}:{} {}.{:09} {contents}",
                metadata.mode(),
                metadata.uid(),
                metadata.gid(),
                metadata.mtime(),
                metadata.mtime_nsec()
            ),
        );
    }
    let linked = inodes.into_values().map(|mut names| {
        names.sort();
        format!("{names:?}")
    });
    let mut linked: Vec<String> = linked.collect();
    linked.sort();
    portrait.insert(PathBuf::from("/hard links"), linked.join(" "));
    portrait
}

/// A random tree: each entry is a directory, a file, a link, a second name of an earlier file, a file with holes, a
/// pipe, or a file with attributes.
pub(crate) fn entries() -> impl Strategy<Value = Vec<(u8, usize, Vec<u8>, u16)>> {
    let name = proptest::collection::vec(any::<u8>(), 0..6);
    proptest::collection::vec((0_u8..7, any::<usize>(), name, any::<u16>()), 0..24)
}

/// Builds a random tree below an existing directory.
pub(crate) fn grow(top: &Path, entries: &[(u8, usize, Vec<u8>, u16)]) {
    let mut directories = vec![top.to_path_buf()];
    let mut plain: Vec<PathBuf> = Vec::new();
    let mut timed = Vec::new();
    for (number, (kind, place, name, number16)) in entries.iter().enumerate() {
        let mut bytes: Vec<u8> = name
            .iter()
            .copied()
            .filter(|byte| *byte != 0 && *byte != b'/')
            .collect();
        bytes.extend(format!("-{number}").bytes());
        // Now and then a name is as long as names can be.
        if number16 % 11 == 0 {
            bytes.resize(255, b'x');
        }
        let path = directories[place % directories.len()].join(OsStr::from_bytes(&bytes));
        match kind {
            0 => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            1 => symlink(OsStr::from_bytes(&bytes), &path).unwrap(),
            2 if !plain.is_empty() => fs::hard_link(&plain[place % plain.len()], &path).unwrap(),
            4 => {
                let mut file = fs::File::create(&path).unwrap();
                file.seek(SeekFrom::Start(u64::from(*number16) << 6)).unwrap();
                file.write_all(name).unwrap();
                file.set_len(8 << 20).unwrap();
            }
            5 => {
                let pipe = rustix::fs::FileType::Fifo;
                let mode = (0o400 | u32::from(number16 & 0o377)).into();
                rustix::fs::mknodat(rustix::fs::CWD, &path, pipe, mode, 0).unwrap();
            }
            _ => {
                fs::write(&path, vec![*kind; usize::from(*number16)]).unwrap();
                if *kind == 6 {
                    // As above: not every file system has them.
                    let _ = rustix::fs::setxattr(
                        &path,
                        "user.origin",
                        &name[..],
                        rustix::fs::XattrFlags::empty(),
                    );
                }
                fs::set_permissions(
                    &path,
                    fs::Permissions::from_mode(0o400 | u32::from(number16 & 0o377)),
                )
                .unwrap();
                plain.push(path.clone());
            }
        }
        if !matches!(kind, 1 | 5) {
            timed.push((path, u32::from(*number16)));
        }
    }
    // Innermost first: making something inside a directory sets its time.
    for (path, number16) in timed.iter().rev() {
        if path.is_dir() {
            let modes = [0o755, 0o700, 0o2750, 0o1777];
            let mode = modes[usize::try_from(*number16).unwrap() % modes.len()];
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000, 1_000 * number16 + 7);
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
}

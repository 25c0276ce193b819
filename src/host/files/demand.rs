//! What an act will need of the kernel, as data: the gate asks for it in both passes, before anything is done.

use std::path::PathBuf;

/// What becomes of file systems that are mounted at a path that moves, or below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// Nothing may be mounted there.
    Refused,
    /// One that is mounted at the path itself is data: its contents move, the mount point stays as an empty directory.
    /// Nothing may be mounted below.
    Itself,
    /// Those below are data too.
    Contents,
}

/// One need. Paths are absolute, and named as the act will name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// What stands at `from` goes to `to`, by the way that [`super::Files::route`] finds.
    Move {
        /// Where it is.
        from: PathBuf,
        /// Where nothing stands, or what is left of a tree whose mount points stayed.
        to: PathBuf,
        /// What may be mounted there.
        mounts: Mounts,
    },
    /// What stands there goes, with all that is below.
    Remove(PathBuf),
    /// A file of ours goes out of the way of the moves that come after it: it does not go along with them.
    Aside {
        /// Where it is.
        from: PathBuf,
        /// Where nothing stands.
        to: PathBuf,
    },
    /// Something new stands there, below directories that may be made for it.
    Make(PathBuf),
    /// A file is written there, beside what it replaces: there must be room for both.
    Contents {
        /// The file.
        path: PathBuf,
        /// Length of what is written.
        bytes: u64,
    },
    /// A regular file gets other contents, owner and mode as before.
    Replace(PathBuf),
    /// A tree is read: its directories, and the contents of its files where these are wanted.
    Read {
        /// Its top.
        path: PathBuf,
        /// Whether files are read too.
        contents: bool,
    },
    /// What stands at `from` is copied into the file system of `to`: there must be room for it.
    Room {
        /// What is copied.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
    },
}

//! How what was done is taken back, as it stands in the audit log.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::wording::plural_as;

/// How well it can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoClass {
    /// Byte for byte, with modes and times.
    Exact,
    /// By an action of the opposite effect: packages are installed again in the same versions.
    Compensating,
    /// Not at all.
    None,
}

/// One move of a path; both ends as shown to people (relative to the workspace where below it).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where it was.
    pub from: String,
    /// Where it is after.
    pub to: String,
    /// What moved, as it was; `None` where a manifest tells, or others may have written to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Portrait>,
    /// A command made it, and it is nowhere else: where it has gone by then, nothing is lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub made: bool,
    /// Where what stood at `to` before was put first: as long as nothing is there, what stands at `to` is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

impl Move {
    /// A move whose thing is compared with `was`, where that is known.
    #[must_use]
    pub fn new(from: impl Into<String>, to: impl Into<String>, was: Option<Portrait>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            was,
            made: false,
            instead_of: None,
        }
    }
}

/// Contents to put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The file that was changed.
    pub path: String,
    /// Its former contents, in the run's store.
    pub saved: String,
    /// BLAKE3 of the contents after the change, in hexadecimal: a file that differs has been changed since.
    /// `None` where a command makes the contents.
    pub after: Option<String>,
    /// BLAKE3 of the former contents, in hexadecimal, where they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Other names that the file had in the workspace: each keeps the former contents, and the file is made one with them
    /// again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// How to take an operation back, written to the audit log before the operation happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Undo {
    /// It can't be, and why.
    Nothing {
        /// The reason, for people.
        why: String,
    },
    /// Moves each path back, in reverse order, and sets the modification times of the directories that were touched.
    MoveBack {
        /// The moves that were made.
        moves: Vec<Move>,
        /// Directories whose modification time is put back after (path, nanoseconds since the epoch).
        times: Vec<(String, i64)>,
        /// What was made for it: files of ours (a backup's manifest) go first, directories last, where they are empty.
        drop: Vec<String>,
        /// Directories that went with what it took away (path, permission bits): where they are made again, they get
        /// these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        modes: Vec<(String, u32)>,
        /// Whether each move is taken back by itself: they were made in one go, and nothing else binds them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        apart: bool,
    },
    /// Removes what was created (into the undo run's own store).
    RemoveCreated {
        /// The created path.
        path: String,
        /// BLAKE3 of its contents for a file.
        after: Option<String>,
        /// What was made, where it is no text of ours: what differs was changed by others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        created: Option<Portrait>,
        /// Directories that were made for it, outermost first; they go where they are empty.
        made: Vec<String>,
        /// Directories whose modification time is put back after.
        times: Vec<(String, i64)>,
    },
    /// Puts former contents back, with mode and modification time.
    RestoreContents {
        /// The files.
        files: Vec<Saved>,
        /// Directories whose modification time is put back after.
        times: Vec<(String, i64)>,
    },
    /// Installs packages again in the versions that were removed.
    InstallPackages {
        /// `npm` or `pip`.
        manager: String,
        /// Name to version.
        packages: std::collections::BTreeMap<String, String>,
        /// Those of them that nobody had asked for: they were installed because another needed them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        automatic: Vec<String>,
        /// Manifest and lock files to put back first.
        files: Vec<Saved>,
    },
    /// Gives a directory the mode that it had.
    SetMode {
        /// The directory.
        path: String,
        /// Its permission bits before.
        was: u32,
        /// Its permission bits after: others have been changed since.
        now: u32,
    },
    /// Runs the command that the script gave as undo.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// Working directory, relative to the workspace.
        cwd: String,
    },
}

impl Undo {
    /// What is taken back each by itself, in the order in which it was done.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        match self {
            Self::MoveBack {
                moves,
                times,
                drop,
                modes,
                apart: true,
            } => {
                let one = |each: &Move| {
                    let above = Path::new(&each.from).parent();
                    let above = above
                        .filter(|above| *above != Path::new(""))
                        .unwrap_or(Path::new("."));
                    Self::MoveBack {
                        moves: vec![each.clone()],
                        times: times
                            .iter()
                            .filter(|(path, _)| Path::new(path) == above)
                            .cloned()
                            .collect(),
                        drop: drop.clone(),
                        modes: modes.clone(),
                        apart: false,
                    }
                };
                moves.iter().map(one).collect()
            }
            whole => vec![whole.clone()],
        }
    }

    /// How well this takes the operation back.
    #[must_use]
    pub fn class(&self) -> UndoClass {
        match self {
            Self::Nothing { .. } => UndoClass::None,
            Self::InstallPackages { .. } | Self::Command { .. } => UndoClass::Compensating,
            _ => UndoClass::Exact,
        }
    }
}

/// What was seen of a path: of files their sizes, modes and modification times, of what is small the contents.
/// Sockets, and the manifest of a backup, don't count: copies have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portrait {
    /// `file`, `directory`, `symbolic link`, ...
    pub kind: String,
    /// Paths, the top included.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// BLAKE3 over all that is compared from outside, in hexadecimal.
    pub digest: String,
    /// Up to 1 MiB, and 1,000 files that are not empty: BLAKE3 of the contents of a file, or over those of all files of a
    /// tree, in hexadecimal. `None` for what is larger, where nothing is in it, and where it may not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
}

impl Portrait {
    /// What is different now, in a few words; nothing where it is the same.
    #[must_use]
    pub fn difference(&self, now: &Self) -> Option<String> {
        if self.digest == now.digest {
            return match (&self.contents, &now.contents) {
                (Some(was), Some(is)) if was != is => Some("holds other contents".to_owned()),
                (Some(_), None) => Some("can't be read".to_owned()),
                _ => None,
            };
        }
        Some(if self.kind != now.kind {
            format!("is a {}, not a {}", now.kind, self.kind)
        } else if self.entries != now.entries {
            format!(
                "holds {}, not {}",
                plural_as(now.entries, "path", "paths"),
                self.entries
            )
        } else if self.bytes != now.bytes {
            format!("has {} bytes, not {}", now.bytes, self.bytes)
        } else if self.kind == "directory" {
            "holds something that was written to, or has another mode".to_owned()
        } else {
            "was written to, or has another mode".to_owned()
        })
    }
}

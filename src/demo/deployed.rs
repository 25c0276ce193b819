//! The catalogue `demo/deployed.json`: every path that the procedures name or a deployment really has.

use serde::Deserialize;

use crate::base::error::{Error, Result};

const CATALOGUE: &str = include_str!("../../demo/deployed.json");

/// Why a path belongs to a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Named by the written procedures, whether or not a real deployment has it.
    Procedure,
    /// Code that runs.
    Services,
    /// Used by other stories too.
    Shared,
    /// Configuration.
    Config,
    /// Data that the story made.
    Data,
    /// Tests.
    Tests,
    /// Documentation.
    Docs,
    /// The second engine of story 1.4.
    Sqlmesh,
    /// Appears when the story runs.
    Runtime,
    /// To be kept in a named backup.
    Preserve,
    /// Can be made again.
    Caches,
    /// The pid file of a service; written by [`start_services`](super::start_services).
    PidFile,
    /// Belongs to no story: nothing may touch it.
    Unrelated,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// A regular file.
    File,
    /// A directory with some files.
    Directory,
    /// A pid file, which [`build`](super::build) leaves out.
    PidFile,
}

/// One path and its role in one story. A path has several entries where it has several roles.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// The story's id; `None` for what belongs to none.
    pub story: Option<String>,
    /// The role.
    pub group: Group,
    /// What stands there.
    pub kind: PathKind,
    /// Relative to the workspace, without a slash at the end.
    pub path: String,
    /// The files of a directory, relative to it; given at the first entry of that directory only.
    #[serde(default)]
    pub files: Vec<String>,
    /// What a JavaScript file requires, as written in it.
    #[serde(default)]
    pub requires: Vec<String>,
}

/// The catalogue, story by story. Fails only if the embedded file is broken ([`Kind::Bug`](crate::base::error::Kind)).
pub fn deployed() -> Result<Vec<Deployed>> {
    serde_json::from_str(CATALOGUE)
        .map_err(|error| Error::bug(format!("`demo/deployed.json` is unreadable: {error}")))
}

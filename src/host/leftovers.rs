//! Temporaries of ours that could not be removed: kept in mind, and removed by the next command that changes something.
//!
//! On disk: `.rollback/leftovers`, a JSON object a line, while there are any.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::Host;
use super::files::{Files, display, is_temporary};
use crate::audit::permit::Permit;
use crate::base::error::{Error, Result};
use crate::workspace;

/// Their list, in the state directory.
const LIST: &str = "leftovers";

/// More than this is no list of ours, in bytes.
const LIMIT: u64 = 1 << 20;

/// Something of ours that could not be removed, by what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    path_b64: String,
    inode: u64,
    device: u64,
}

impl Leftover {
    /// What stands at a path now; `None` for nothing, and for what does not bear a name of ours.
    pub(crate) fn of(files: &Files, path: &Path) -> Option<Self> {
        // What can't be looked at can't be told apart later.
        let stat = files.stat(path).ok().flatten().filter(|_| is_temporary(path))?;
        Some(Self {
            path_b64: BASE64.encode(path.as_os_str().as_bytes()),
            inode: stat.inode,
            device: stat.device,
        })
    }

    /// Where it stands, if it is still the same thing.
    #[must_use]
    pub fn still_there(&self, files: &Files) -> Option<PathBuf> {
        let bytes = BASE64.decode(&self.path_b64).ok()?;
        let path = PathBuf::from(OsString::from_vec(bytes));
        (Self::of(files, &path).as_ref() == Some(self)).then_some(path)
    }
}

impl Host {
    /// Writes down what the operation at hand could not remove, and says it; `None` where it removed everything.
    #[must_use]
    pub fn note_leftovers(&self) -> Option<String> {
        let left = self.files.take_left();
        let names: Vec<String> = left
            .iter()
            .map(|(path, why)| format!("`{}` ({why})", display(path)))
            .collect();
        let new: Vec<Leftover> = left
            .iter()
            .filter_map(|(path, _)| Leftover::of(&self.files, path))
            .collect();
        if new.is_empty() {
            return None;
        }
        let mut all = self.leftovers().unwrap_or_default();
        all.extend(new);
        let later = match self.keep_leftovers(&all) {
            Ok(()) => "the next command that changes something tries again".to_owned(),
            Err(error) => format!("remove it by hand: {error}"),
        };
        Some(format!(
            "left behind, and of no use: {}; {later}",
            names.join(", ")
        ))
    }

    /// What earlier commands could not remove.
    ///
    /// # Errors
    /// Where the list can't be read.
    pub fn leftovers(&self) -> Result<Vec<Leftover>> {
        let text = match workspace::text(&self.list(), LIMIT) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io(format_args!("read `.rollback/{LIST}`"), &error)),
        };
        let mut all: Vec<Leftover> = Vec::new();
        for line in text.lines() {
            let leftover = serde_json::from_str(line).map_err(|error| {
                Error::corrupt(format!("`.rollback/{LIST}` cannot be read: {error}")).caused_by(error)
            })?;
            if !all.contains(&leftover) {
                all.push(leftover);
            }
        }
        Ok(all)
    }

    /// Replaces the list.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_leftovers(&self, all: &[Leftover]) -> Result<()> {
        if all.is_empty() {
            return self.records.remove(&self.list());
        }
        let mut lines = String::new();
        for each in all {
            lines.push_str(&serde_json::json!(each).to_string());
            lines.push('\n');
        }
        self.records.write(&self.list(), lines.as_bytes())
    }

    /// Removes one of them, looked at once more; its directory then gets this modification time, in nanoseconds.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_leftover(&self, permit: &Permit, leftover: &Leftover, time: Option<i64>) -> Result<()> {
        let Some(path) = leftover.still_there(&self.files) else {
            return Ok(());
        };
        self.files.remove_tree(permit, &path)?;
        match (time, path.parent()) {
            (Some(time), Some(directory)) => self.files.set_mtime(permit, directory, time),
            _ => Ok(()),
        }
    }

    fn list(&self) -> PathBuf {
        self.records.state().join(LIST)
    }
}

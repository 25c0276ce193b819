//! Files that a person names with `-o`: readable by this user alone, never through a link, never in place of anything but
//! an earlier file of the same kind, and never among what this program keeps or goes by.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place that writes files which the command line names"
)]

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::base::error::{Error, Result};
use crate::workspace::{ALERT_LOG, AUDIT_LOG, CONFIG, LOGS, REPORTS, SECURITY_LOG, STORIES, Workspace};

/// The largest plan that is replaced, in bytes.
const LARGEST: u64 = 256 << 20;

/// The file of `-o` for a plan, open before the kernel's wall stands. Until the plan is written it holds one that can't be
/// done, so that what a cut leaves is known for ours.
#[derive(Debug)]
pub struct PlanOutput {
    file: File,
    empty: String,
}

impl PlanOutput {
    /// Opens the file; `empty` is what stands in it until the plan is there, `is_plan` knows a plan of ours.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Usage`] where something other than a plan stands there, for a place of the program's own, and
    /// where the file can't be written.
    pub fn open(
        path: &Path,
        workspace: &Workspace,
        empty: String,
        is_plan: &dyn Fn(&str) -> bool,
    ) -> Result<Self> {
        refuse_own(path, workspace)?;
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let mut file = match made {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let file = plan_there(path, is_plan)?;
                return Ok(Self { file, empty });
            }
            Err(error) => return Err(cannot("write", path, &error)),
        };
        file.write_all(empty.as_bytes()).map_err(|error| {
            // It is ours and empty; the first failure is the one to tell.
            let _ = std::fs::remove_file(path);
            cannot("write", path, &error)
        })?;
        Ok(Self { file, empty })
    }

    /// Writes the plan, to the disk.
    ///
    /// # Errors
    /// What the system says; the file then holds no plan that can be done.
    pub fn write(mut self, text: &str) -> Result<()> {
        self.put(text).map_err(|error| {
            let empty = std::mem::take(&mut self.empty);
            // There is room for what was there first.
            let _ = self.put(&empty);
            Error::io("write the plan", &error)
        })
    }

    fn put(&mut self, text: &str) -> std::io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_all()
    }
}

/// The plan of ours that stands at a path, open to be replaced.
fn plan_there(path: &Path, is_plan: &dyn Fn(&str) -> bool) -> Result<File> {
    let refused = |why: &str| {
        Error::usage(format!("`{}` {why}, and is not replaced", path.display()))
            .hint("name a new file; only a plan that `rollback plan -o` made is replaced")
    };
    let metadata = std::fs::symlink_metadata(path).map_err(|error| cannot("look at", path, &error))?;
    if metadata.is_symlink() {
        return Err(refused("is a symbolic link"));
    }
    // Opening a device can act.
    if !metadata.is_file() {
        return Err(refused("is no regular file"));
    }
    if metadata.nlink() != 1 {
        return Err(refused("has a second name"));
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)
        .map_err(|error| cannot("write", path, &error))?;
    let now = file.metadata().map_err(|error| cannot("look at", path, &error))?;
    if (now.dev(), now.ino(), now.nlink()) != (metadata.dev(), metadata.ino(), 1) {
        return Err(refused("was changed by another program meanwhile"));
    }
    let mut text = String::new();
    let read = (&mut file).take(LARGEST).read_to_string(&mut text);
    if read.is_err() || !is_plan(&text) {
        return Err(refused("is there already and is no plan of ours"));
    }
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|error| cannot("make private", path, &error))?;
    Ok(file)
}

/// Makes the file of `-o` for an export, readable by this user alone; one that is there already is never replaced.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] where it can't be made, and for a place of the program's own.
pub fn new_output(path: &Path, workspace: &Workspace) -> Result<File> {
    refuse_own(path, workspace)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            Error::usage(format!("cannot make `{}`: {error}", path.display()))
                .hint("name a new file; nothing is replaced")
                .caused_by(error)
        })
}

/// Refuses what this program keeps or goes by, under whatever name, there or not.
fn refuse_own(path: &Path, workspace: &Workspace) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (Ok(parent), Some(name)) = (parent.canonicalize(), path.file_name()) else {
        // Opening it will say what is wrong.
        return Ok(());
    };
    let log = |name: &str| workspace.root().join(LOGS).join(name);
    let own: [PathBuf; 10] = [
        workspace.state(),
        workspace.backups(),
        workspace.root().join(REPORTS),
        workspace.root().join(STORIES),
        workspace.root().join(CONFIG),
        workspace.flags_file().absolute,
        workspace.env_file().absolute,
        log(SECURITY_LOG),
        log(AUDIT_LOG),
        log(ALERT_LOG),
    ];
    let identity = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let whole = parent.join(name);
    let met = own.iter().find(|own| {
        // A name that differs in case alone may be the same one, if not today.
        let is_named = own.parent() == Some(&*parent)
            && own.file_name().is_some_and(|own| own.eq_ignore_ascii_case(name));
        let known = identity(own);
        is_named || (known.is_some() && whole.ancestors().any(|above| identity(above) == known))
    });
    match met {
        None => Ok(()),
        Some(own) => Err(Error::usage(format!(
            "`{}` can't be written: `{}` belongs to the workspace",
            path.display(),
            workspace.show(own)
        ))
        .hint("name a new file outside of it")),
    }
}

fn cannot(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::usage(format!("cannot {doing} `{}`: {error}", path.display()))
        .hint("name a file that can be written")
}

fn flags(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

//! Why a command can't be rehearsed here, and what would allow it.

use std::path::Path;

use rustix::io::Errno;

use super::order::Refused;
use crate::base::error::{Error, Result};
use crate::host::commands::Ran;
use crate::host::files::Files;

/// Why this machine, or this workspace, allows no rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is in the way.
    pub reason: String,
    /// Whether it was seen to be in the way; else nobody could tell whether anything is.
    pub is_certain: bool,
    /// What would allow it, where we know.
    pub remedy: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.reason)?;
        match &self.remedy {
            Some(remedy) => write!(formatter, "; {remedy}"),
            None => Ok(()),
        }
    }
}

impl Refusal {
    fn new(reason: impl Into<String>, remedy: Option<&str>) -> Self {
        Self {
            reason: reason.into(),
            is_certain: true,
            remedy: remedy.map(str::to_owned),
        }
    }

    /// The rights of this process can't be read.
    pub(super) fn of_rights(error: &std::io::Error) -> Self {
        let reason = format!("what this process may do can't be read: {error}");
        Self::new(reason, Some("`/proc` must be mounted")).uncertain()
    }

    fn uncertain(self) -> Self {
        Self {
            is_certain: false,
            ..self
        }
    }

    /// No directory can hold a layer.
    pub(super) fn of_place(error: &Error) -> Self {
        Self::new(
            error.message(),
            Some("set XDG_CACHE_HOME to a directory on a local file system outside of the workspace"),
        )
    }

    /// The file system of the layer has no room.
    pub(super) fn full(layer: &Path) -> Self {
        Self::new(
            format!("the file system of `{}` is full", layer.display()),
            Some("make room there"),
        )
    }

    /// The process that was to set it up said nothing.
    pub(super) fn silent(ran: &Ran) -> Self {
        Self::new(
            format!(
                "the process that sets a rehearsal up ended early: {}",
                ran.failure()
            ),
            None,
        )
        .uncertain()
    }

    /// A step that the system refused.
    pub(super) fn of_system(refused: &Refused) -> Self {
        let says =
            |file: &str, value: &str| std::fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
        let is_refused = [Errno::PERM, Errno::ACCESS, Errno::NOSPC, Errno::INVAL]
            .iter()
            .any(|errno| errno.raw_os_error() == refused.errno);
        let remedy = if !is_refused {
            None
        } else if says("/proc/sys/user/max_user_namespaces", "0") {
            Some("`sysctl user.max_user_namespaces=10000` allows it")
        } else if says("/proc/sys/kernel/unprivileged_userns_clone", "0") {
            Some("`sysctl kernel.unprivileged_userns_clone=1` allows it")
        } else if says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
            Some("an AppArmor profile with `userns,` for this program allows it")
        } else {
            Some(
                "a container allows it with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`, \
                 or with `--cap-add SYS_ADMIN`",
            )
        };
        Self::new(format!("the system refuses to {}", refused.reason()), remedy)
    }
}

/// What of the workspace itself is in the way.
///
/// # Errors
/// Where it can't be looked at.
pub(super) fn of_workspace(root: &Path) -> Result<Option<Refusal>> {
    if root.parent().is_none() {
        return Ok(Some(Refusal::new(
            "the workspace is the root of the file system, and nothing stands outside of it",
            None,
        )));
    }
    let mounted = Files::open(&[root.to_path_buf()])?.mounted(root)?;
    let inside = mounted.into_iter().find(|mount| mount != root);
    Ok(inside.map(|inside| {
        Refusal::new(
            format!(
                "`{}` is mounted inside of the workspace, and a layer would not show what it holds",
                inside.display()
            ),
            Some("unmount it"),
        )
    }))
}

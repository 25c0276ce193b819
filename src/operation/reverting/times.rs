//! Modification times of directories, which an undo puts back last.

use super::own_place;
use crate::audit::permit::Permit;
use crate::base::error::Result;
use crate::host::files::Files;
use crate::report::undo::Undo;
use crate::view::View;
use crate::workspace::Workspace;

/// The times as they are now, of those that an undo sets.
pub(super) fn now(view: &View, workspace: &Workspace, undo: &Undo) -> Result<Vec<(String, i64)>> {
    let (Undo::MoveBack { times, .. }
    | Undo::RemoveCreated { times, .. }
    | Undo::RestoreContents { times, .. }) = undo
    else {
        return Ok(Vec::new());
    };
    let mut now = Vec::new();
    for (display, _) in times {
        if let Some(stat) = view.stat(&own_place(workspace, display)?.absolute)? {
            now.push((display.clone(), stat.mtime_ns));
        }
    }
    Ok(now)
}

/// Sets modification times, of what is still there and belongs to this user. Gives a remark on what does not.
///
/// # Errors
/// What the system says.
pub fn put_times(
    permit: &Permit,
    files: &Files,
    workspace: &Workspace,
    times: &[(String, i64)],
) -> Result<Option<String>> {
    let mut left = Vec::new();
    for (display, nanoseconds) in times {
        let place = own_place(workspace, display)?;
        if files.stat(&place.absolute)?.is_none() {
            continue;
        }
        if files.may_set_times(&place.absolute)? {
            files.set_mtime(permit, &place.absolute, *nanoseconds)?;
        } else {
            left.push(format!("`{display}`"));
        }
    }
    Ok((!left.is_empty()).then(|| {
        format!(
            "the modification time of {} was left as it is now: it belongs to another user",
            left.join(", ")
        )
    }))
}

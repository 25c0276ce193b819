//! How the world stands to an undo: whether what an operation did is there, and still as it left it.

use std::path::Path;

use crate::base::error::Result;
use crate::host::files::EntryKind;
use crate::report::undo::{Move, Portrait, Saved};
use crate::view::View;
use crate::workspace::{Place, Workspace};

/// The state in which an undo finds the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// It can be taken back.
    Yes,
    /// The operation never had its effect, or it was taken back already.
    Nothing(String),
    /// What it made has been changed since.
    ChangedSince(String),
    /// It can't be taken back.
    Never(String),
    /// What would be put back is gone.
    Lost(String),
    /// It can't be taken back before a program is there.
    Lacking(String),
}

/// A path of an undo record: it was made by us, so it may lie in `.rollback` or the backups.
pub(super) fn own_place(workspace: &Workspace, display: &str) -> Result<Place> {
    workspace.place(display)
}

/// Whether a move was made, and is not taken back yet, as far as what stands at its places tells. `exists` tells whether
/// anything stands at a path, `is_rest` whether what stands at the first is what a cut left of what is at the second.
///
/// # Errors
/// What those say; `Invalid` for a record that names no paths.
pub(super) fn is_made(
    workspace: &Workspace,
    each: &Move,
    exists: &dyn Fn(&Path) -> Result<bool>,
    is_rest: &dyn Fn(&Path, &Path) -> Result<bool>,
) -> Result<bool> {
    let place = |display: &str| own_place(workspace, display).map(|place| place.absolute);
    let (from, to) = (place(&each.from)?, place(&each.to)?);
    if !exists(&to)? {
        return Ok(false);
    }
    // Nobody else puts anything into the store of a run: what is there has not left it, or is back.
    if from.starts_with(workspace.runs()) && exists(&from)? && !is_rest(&from, &to)? {
        return Ok(false);
    }
    match &each.instead_of {
        Some(aside) => exists(&place(aside)?),
        None => Ok(true),
    }
}

pub(super) fn contents(view: &View, workspace: &Workspace, file: &Saved) -> Result<Ready> {
    let place = own_place(workspace, &file.path)?;
    let saved = own_place(workspace, &file.saved)?;
    if !view.exists(&saved.absolute)? {
        let changed = file.after.is_some() && view.digest(&place).ok() == file.after;
        if changed {
            return Ok(Ready::Lost(format!(
                "`{}` is gone: pruned, or removed by hand",
                file.saved
            )));
        }
        return Ok(Ready::Nothing(format!("`{}` was not changed", file.path)));
    }
    let now = view.digest(&place).ok();
    if now.is_some() && now == view.digest(&saved).ok() {
        let time = |place: &Place| -> Result<Option<i64>> {
            Ok(view.stat(&place.absolute)?.map(|stat| stat.mtime_ns))
        };
        // The time comes after the contents.
        return Ok(if time(&place)? == time(&saved)? {
            Ready::Nothing(format!("`{}` is as it was", file.path))
        } else {
            Ready::Yes
        });
    }
    match (&file.after, &now) {
        (Some(after), Some(now)) if after != now => {
            Ok(Ready::ChangedSince(format!("`{}` was changed since", file.path)))
        }
        (Some(_), None) => Ok(Ready::ChangedSince(format!("`{}` is gone", file.path))),
        _ => Ok(Ready::Yes),
    }
}

/// Whether what was made is as it was made.
pub(super) fn as_made(view: &View, created: &Place, was: Option<&Portrait>) -> Result<Ready> {
    let difference = match was {
        Some(was) => Portrait::of(view, created)?.and_then(|now| was.difference(&now)),
        None => None,
    };
    Ok(match difference {
        Some(difference) => Ready::ChangedSince(format!("it was changed since: it {difference}")),
        None => Ready::Yes,
    })
}

/// Whether directories that were made for the operation are still there, with nothing of anybody else's in them.
pub(super) fn is_left(view: &View, workspace: &Workspace, made: &[String]) -> Result<bool> {
    for display in made {
        let own = own_place(workspace, display)?;
        let kind = view.stat(&own.absolute)?.map(|stat| stat.kind);
        if kind == Some(EntryKind::Directory) && view.list(&own.absolute)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Those of the directories above something that hold nothing but it, innermost first.
pub(super) fn only_for(view: &View, created: &Place, made: &[String]) -> Result<Vec<Place>> {
    let mut only = Vec::new();
    let mut inner = created.clone();
    for display in made.iter().rev() {
        let directory = own_place(&view.workspace, display)?;
        let is_directory = view
            .stat(&directory.absolute)?
            .is_some_and(|stat| stat.kind == EntryKind::Directory);
        let others = |name: &std::ffi::OsString| Some(name.as_os_str()) != inner.absolute.file_name();
        if !is_directory
            || view
                .list(&directory.absolute)?
                .iter()
                .any(|(name, _)| others(name))
        {
            break;
        }
        inner = directory.clone();
        only.push(directory);
    }
    Ok(only)
}

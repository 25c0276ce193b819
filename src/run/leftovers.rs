//! What earlier commands left behind goes at the end of a command that changes something: temporaries that could not be
//! removed, and those of commands that were cut off without a run to recover. The caller holds the workspace, so nobody
//! is at them. At the end, because what a plan rests on may hold one.

use std::path::{Path, PathBuf};

use crate::audit::{AuditLog, Intent};
use crate::backup::verify;
use crate::base::error::Result;
use crate::host::files::{EntryKind, is_temporary};
use crate::host::leftovers::Leftover;
use crate::report::effect::Risk;
use crate::report::undo::Undo;
use crate::run::Context;
use crate::run::history::recover;

/// Removes them, each recorded like any other change. What still can't be removed is told, and tried again by the next
/// command.
///
/// # Errors
/// Where the log can't be written.
pub fn sweep(context: &Context, audit: &mut AuditLog) -> Result<Vec<String>> {
    let host = &context.host;
    let noted = match host.leftovers() {
        Ok(noted) => noted,
        Err(error) => return Ok(vec![format!("what was left behind is not known: {error}")]),
    };
    let mut found: Vec<(Leftover, Option<i64>)> = noted.iter().map(|noted| (noted.clone(), None)).collect();
    found.extend(lying_about(context));
    let mut rendered = Vec::new();
    let mut staying = Vec::new();
    for (leftover, time) in found {
        let Some(path) = leftover.still_there(&host.files) else {
            continue;
        };
        let place = context.workspace.show(&path);
        let undo = Undo::Nothing {
            why: "it was a temporary of the program's own".to_owned(),
        };
        let permit = audit.begin(&Intent {
            n: 0,
            story: "",
            phase: recover::WORD,
            step: None,
            op: recover::WORD,
            target: &place.display,
            summary: "remove what an earlier command left behind",
            risk: Risk::None,
            undo: &undo,
        })?;
        let removed = host.remove_leftover(&permit, &leftover, time);
        audit.finish(permit, 0, removed.as_ref().map(|()| None))?;
        if let Err(error) = removed {
            rendered.push(format!(
                "`{place}` is left behind, of no use, and can't be removed: {error}"
            ));
            staying.push(leftover);
        }
    }
    if staying != noted
        && let Err(error) = host.keep_leftovers(&staying)
    {
        rendered.push(error.to_string());
    }
    Ok(rendered)
}

/// Temporaries where only commands of our own work, which leave no run behind: a manifest that was being written, and a
/// backup that was restored on trial. What a backup's manifest names is data, whatever it is called. With each, the
/// modification time that its directory gets back.
fn lying_about(context: &Context) -> Vec<(Leftover, Option<i64>)> {
    let files = &context.host.files;
    // A place that can't be listed can't be swept; whoever needs it says so.
    let temporaries = |directory: &Path, kind: EntryKind| -> Vec<PathBuf> {
        let listed = files.list(directory).unwrap_or_default().into_iter();
        let paths = listed
            .filter(|(_, found)| *found == kind)
            .map(|(name, _)| directory.join(name));
        paths.filter(|path| is_temporary(path)).collect()
    };
    let trials = temporaries(&context.workspace.state().join("trial"), EntryKind::Directory);
    let mut lying: Vec<(PathBuf, Option<i64>)> = trials.into_iter().map(|path| (path, None)).collect();
    let backups = context.workspace.backups();
    for (name, _) in files.list(&backups).unwrap_or_default() {
        let directory = backups.join(name);
        for path in temporaries(&directory, EntryKind::File) {
            let inside = path.strip_prefix(&directory).unwrap_or(&path);
            if let Ok((true, time)) = verify::is_stray(files, &directory, inside) {
                lying.push((path, time));
            }
        }
    }
    let of = |(path, time): (PathBuf, Option<i64>)| Some((Leftover::of(files, &path)?, time));
    lying.into_iter().filter_map(of).collect()
}

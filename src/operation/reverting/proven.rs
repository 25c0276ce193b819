//! Whether what an undo would put back is still what was put away: backups by their manifests, everything else by what
//! the log recorded of it.

use super::standing::own_place;
use crate::backup::MANIFEST;
use crate::base::error::{Error, Kind, Result};
use crate::host::files::EntryKind;
use crate::report::undo::{Move, Portrait, Saved, Undo};
use crate::view::View;

/// Something that is not as it was put away.
#[derive(Debug)]
pub struct Difference {
    /// What it is, with its path, for people.
    pub text: String,
    /// It lies in the store of a run or among the backups, where nobody has anything to do; elsewhere others may change
    /// what they like.
    is_damage: bool,
}

/// What is different; nothing where all is as it was put away. For operations that came to their end.
///
/// # Errors
/// What the view says.
pub fn differences(view: &View, undo: &Undo) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    match undo {
        Undo::MoveBack { moves, drop, .. } => {
            for each in moves {
                moved(view, each, &mut found)?;
            }
            for manifest in drop.iter().filter(|display| display.ends_with(MANIFEST)) {
                backed_up(view, moves, manifest, &mut found)?;
            }
        }
        Undo::RestoreContents { files, .. } | Undo::InstallPackages { files, .. } => {
            for file in files {
                saved(view, file, &mut found)?;
            }
        }
        _ => {}
    }
    Ok(found)
}

/// The failure of an undo whose sources are not what was put away.
#[must_use]
pub fn refused(run: &str, differences: &[Difference]) -> Error {
    const NAMED: usize = 5;
    let texts = differences.iter().map(|difference| difference.text.clone());
    let mut named: Vec<String> = texts.take(NAMED).collect();
    if let Some(more) = differences.len().checked_sub(NAMED).filter(|more| *more > 0) {
        named.push(format!("and {more} more"));
    }
    let message = format!("run {run} can't be taken back as it was: {}", named.join("; "));
    let is_damaged = differences.iter().any(|difference| difference.is_damage);
    if !is_damaged {
        return Error::changed(message).hint(
            "nothing was changed; put aside what others have made of it, or let --force take back what is there, as it is \
             now",
        );
    }
    Error::corrupt(message).hint(
        "nothing was changed; put back what is missing, or let --force take back what is there, as it is now",
    )
}

const fn damage(text: String) -> Difference {
    Difference {
        text,
        is_damage: true,
    }
}

fn moved(view: &View, each: &Move, found: &mut Vec<Difference>) -> Result<()> {
    let Move {
        from, to, was, made, ..
    } = each;
    let place = own_place(&view.workspace, to)?;
    if !view.exists(&place.absolute)? {
        // What stands at its old place was taken back already, or came later.
        if !made && !view.exists(&own_place(&view.workspace, from)?.absolute)? {
            found.push(damage(format!(
                "`{from}` is lost: `{to}` is gone, pruned or removed by hand"
            )));
        }
        return Ok(());
    }
    if let Some(was) = was
        && let Some(now) = Portrait::of(view, &place)?
        && let Some(difference) = was.difference(&now)
    {
        let ours = [view.workspace.state(), view.workspace.backups()];
        found.push(Difference {
            text: format!("`{to}` {difference}"),
            is_damage: ours.iter().any(|ours| place.absolute.starts_with(ours)),
        });
    }
    Ok(())
}

fn backed_up(view: &View, moves: &[Move], manifest: &str, found: &mut Vec<Difference>) -> Result<()> {
    let manifest = own_place(&view.workspace, manifest)?;
    let Some(backup) = manifest.absolute.parent().map(|above| view.workspace.show(above)) else {
        return Ok(());
    };
    let mut is_there = false;
    for each in moves {
        let place = own_place(&view.workspace, &each.to)?;
        is_there |= place.absolute.starts_with(&backup.absolute) && view.exists(&place.absolute)?;
    }
    if !is_there {
        return Ok(());
    }
    match view.verified(&backup) {
        Ok(None) => {}
        Ok(Some(verified)) => found.extend(
            verified
                .problems
                .iter()
                .map(|problem| damage(format!("`{backup}/{}` {}", problem.path, problem.what))),
        ),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {
            found.push(damage(error.message().to_owned()));
        }
        Err(error) => return Err(error.context(format!("`{backup}` can't be compared with its manifest"))),
    }
    Ok(())
}

fn saved(view: &View, file: &Saved, found: &mut Vec<Difference>) -> Result<()> {
    let saved = own_place(&view.workspace, &file.saved)?;
    let is_file = |stat: crate::host::files::Stat| stat.kind == EntryKind::File;
    if !view.stat(&saved.absolute)?.is_some_and(is_file) {
        let now = view.digest(&own_place(&view.workspace, &file.path)?).ok();
        // What differs from what the run wrote was changed by somebody else, and is told as that.
        if file.after.is_none() || now == file.after {
            found.push(damage(format!(
                "the former contents of `{}` are lost: `{}` is gone, pruned or removed by hand",
                file.path, file.saved
            )));
        }
        return Ok(());
    }
    if let Some(before) = &file.before
        && view.digest(&saved)? != *before
    {
        found.push(damage(format!(
            "`{}` holds other contents than were saved",
            file.saved
        )));
    }
    Ok(())
}

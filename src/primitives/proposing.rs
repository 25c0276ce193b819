//! What several words propose alike: removals, edits, and the sizes that the plan shows.

use std::path::PathBuf;

use crate::base::error::{Error, Kind, Result};
use crate::base::wording::{bytes, plural};
use crate::edit::Edited;
use crate::host::files::{Mounts, Route, TEXT_LIMIT};
use crate::operation::Proposal;
use crate::operation::editing::Edit;
use crate::operation::moving::MovePaths;
use crate::operation::purging::Purge;
use crate::report::PathRecord;
use crate::report::effect::{Capability, Outcome};
use crate::report::undo::Portrait;
use crate::view::size::Size;
use crate::view::{Database, View};
use crate::workspace::Place;

/// What a copy leaves out, for the plan; nothing where it leaves out nothing.
#[must_use]
pub fn left_out(left_out: &[PathBuf]) -> Option<String> {
    (!left_out.is_empty()).then(|| {
        format!(
            "left out, because a socket can't be copied and its program makes it anew: {}",
            listed(left_out)
        )
    })
}

/// The first of some paths, and how many more there are.
#[must_use]
pub fn listed(paths: &[PathBuf]) -> String {
    let named = paths.iter().take(3).map(|path| format!("`{}`", path.display()));
    let mut named: Vec<String> = named.collect();
    if let Some(more) = paths.len().checked_sub(3).filter(|more| *more > 0) {
        named.push(format!("and {more} more"));
    }
    named.join(", ")
}

/// What a real pass is about to copy, as it is.
///
/// # Errors
/// What the view says.
pub fn likeness(view: &View, source: &Place) -> Result<Option<Portrait>> {
    if view.errand.preview {
        return Ok(None);
    }
    Portrait::of(view, source)
}

/// Nothing is there.
#[must_use]
pub fn not_present(word: &'static str, place: &Place, needs: Vec<Capability>) -> Proposal {
    Proposal::settled(
        word,
        place.display.clone(),
        Outcome::NotPresent,
        "not present",
        needs,
    )
}

/// It is so already.
#[must_use]
pub fn already(word: &'static str, view: &View, place: &Place, why: &str) -> Proposal {
    Proposal::settled(
        word,
        place.display.clone(),
        Outcome::NotPresent,
        why,
        vec![view.write(place, false)],
    )
}

/// A removal that a script asks for: into the run's store, or for good under `--purge`.
///
/// # Errors
/// As [`removal`].
pub fn asked_removal(word: &'static str, view: &View, place: &Place) -> Result<Vec<Proposal>> {
    if let Some(database) = super::whole::whole_database(view, place)? {
        return super::whole::database_removal(word, view, &database, view.errand.options.purge);
    }
    if !view.errand.options.purge || !view.exists(&place.absolute)? {
        return removal(word, view, place).map(|removal| vec![removal]);
    }
    let aside = view.slot("purged", &last_name(place));
    let summary = format!("remove {} for good", view.sized(place)?);
    let purge = Purge::new(view, place.clone(), aside)?;
    Ok(vec![Proposal::act(word, place.display.clone(), summary, purge)])
}

/// A removal into the run's store.
///
/// # Errors
/// What the view says; [`Kind::Denied`] for the workspace itself.
pub fn removal(word: &'static str, view: &View, place: &Place) -> Result<Proposal> {
    if !view.exists(&place.absolute)? {
        return Ok(not_present(word, place, vec![view.write(place, false)]));
    }
    let slot = view.slot("removed", &last_name(place));
    let summary = format!("remove {}", view.sized(place)?);
    let moves = MovePaths::new(view, vec![(place.clone(), slot)], false)?;
    Ok(Proposal::act(word, place.display.clone(), summary, moves))
}

/// Whether the removal of a path that a script asks for is one rename into the run's store: it is there, no database, and
/// needs no copy.
///
/// # Errors
/// What the view says.
pub fn goes_plainly(view: &View, place: &Place) -> Result<bool> {
    if view.errand.options.purge
        || !view.exists(&place.absolute)?
        || super::whole::whole_database(view, place)?.is_some()
    {
        return Ok(false);
    }
    let store = view.workspace.run_directory(&view.errand.run);
    // What is in the way is told of the path alone.
    let route = view.route(&place.absolute, &store.join(last_name(place)), Mounts::Itself);
    Ok(matches!(route, Ok(None | Some(Route::Rename))))
}

/// The removal of several paths into the run's store, together or not at all; of one as [`removal`].
///
/// # Errors
/// As there.
pub fn removals(word: &'static str, view: &View, places: &[&Place]) -> Result<Option<Proposal>> {
    if let [] | [_] = places {
        return places.first().map(|place| removal(word, view, place)).transpose();
    }
    let mut size = Size::default();
    let mut paths = Vec::new();
    for place in places {
        let own = view.size(&place.absolute)?;
        size.add(own);
        paths.push(PathRecord {
            path: place.display.clone(),
            sized: view.described(place, own)?,
        });
    }
    let summary = format!(
        "remove {} ({}, {})",
        plural(places.len() as u64, "path"),
        plural(size.files, "file"),
        bytes(size.bytes)
    );
    let target = listed(
        &places
            .iter()
            .map(|place| place.display.clone().into())
            .collect::<Vec<_>>(),
    );
    let slots = view.slots("removed", places);
    let moves = places.iter().map(|place| (*place).clone()).zip(slots).collect();
    let moves = MovePaths::new(view, moves, false)?.apart();
    Ok(Some(Proposal::act(word, target, summary, moves).of_paths(paths)))
}

/// The last name of a path.
#[must_use]
pub fn last_name(place: &Place) -> String {
    place
        .absolute
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Makes room at a target: refuses, or moves what stands there into the run's store. Where a database comes, a log that
/// stands there is another's, and would be taken for its own.
///
/// # Errors
/// [`Kind::Exists`] where something stands there and nobody said to overwrite it.
pub fn displace(
    word: &'static str,
    view: &View,
    to: &Place,
    comes: Option<&Database>,
    overwrite: bool,
) -> Result<Option<Proposal>> {
    let standing = standing_at(view, to, comes)?;
    let Some(first) = standing.first() else {
        return Ok(None);
    };
    if !overwrite {
        return Err(Error::exists(format!("`{first}` exists")).hint("say #{ overwrite: true } to replace it"));
    }
    out_of_the_way(word, view, to, &standing).map(Some)
}

/// What stands at a target, and what there belongs to a database: to one that stands there, or that comes.
///
/// # Errors
/// What the view says.
pub fn standing_at(view: &View, to: &Place, comes: Option<&Database>) -> Result<Vec<Place>> {
    let mut standing = Vec::new();
    if view.exists(&to.absolute)? {
        standing.push(to.clone());
    }
    let there = view.database(to)?.filter(|there| there.main == *to);
    let mut sides: Vec<Place> = there
        .iter()
        .flat_map(|there| there.sides.iter().map(|(side, _)| side.clone()))
        .collect();
    if let Some(comes) = comes {
        sides.extend(view.left_beside(to, comes.sort)?);
    }
    for side in sides {
        if !standing.contains(&side) {
            standing.push(side);
        }
    }
    Ok(standing)
}

/// Moves what stands at a target into the run's store, together.
///
/// # Errors
/// What the view says.
pub fn out_of_the_way(word: &'static str, view: &View, to: &Place, standing: &[Place]) -> Result<Proposal> {
    let slot = view.slot("removed", &last_name(to));
    let mut moves = Vec::new();
    let mut named = Vec::new();
    for place in standing {
        let aside = slot.absolute.with_file_name(last_os_name(place));
        let aside = if place == to {
            slot.clone()
        } else {
            view.workspace.show(&aside)
        };
        moves.push((place.clone(), aside));
        named.push(view.sized(place)?);
    }
    let summary = format!("move {} out of the way", named.join(" and "));
    let moves = MovePaths::new(view, moves, false)?;
    Ok(Proposal::act(word, to.display.clone(), summary, moves))
}

fn last_os_name(place: &Place) -> &std::ffi::OsStr {
    place.absolute.file_name().unwrap_or_default()
}

/// The text after an edit, if it changed.
#[must_use]
pub fn edited_text(edited: Edited) -> Option<String> {
    match edited {
        Edited::Unchanged => None,
        Edited::Changed(text) => Some(text),
    }
}

/// An edit of a text file that a script may read: what an edit does tells what was there. What is not there, or needs no
/// change, is recorded as not present. That suits a removal; for all else there is [`setting`].
///
/// # Errors
/// What the view or the edit says.
pub fn edit(
    word: &'static str,
    view: &View,
    place: &Place,
    change: &mut dyn FnMut(&str) -> Result<(Edited, String)>,
) -> Result<Vec<Proposal>> {
    view.may_read(place)?;
    blind_edit(word, view, place, change)
}

/// As [`edit`], of what is to be there afterwards: a file that is not there is told.
///
/// # Errors
/// As there.
pub fn setting(
    word: &'static str,
    view: &View,
    place: &Place,
    what: &str,
    change: &mut dyn FnMut(&str) -> Result<(Edited, String)>,
) -> Result<Vec<Proposal>> {
    let is_there = view.exists(&place.absolute)?;
    let proposals = edit(word, view, place, change)?;
    if is_there {
        return Ok(proposals);
    }
    let warning = format!("`{place}` is not there: `{what}` was not set in it");
    Ok(proposals
        .into_iter()
        .map(|proposal| proposal.warning(&warning))
        .collect())
}

/// As [`edit`], of a file that a script may not read.
///
/// # Errors
/// As there.
pub fn blind_edit(
    word: &'static str,
    view: &View,
    place: &Place,
    change: &mut dyn FnMut(&str) -> Result<(Edited, String)>,
) -> Result<Vec<Proposal>> {
    let text = match view.read(place, TEXT_LIMIT) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Error::invalid(format!("`{place}` is not UTF-8")).hint("edit it by hand"))?,
        Err(error) if error.kind() == Kind::NotFound => {
            return Ok(vec![not_present(word, place, vec![view.write(place, false)])]);
        }
        Err(error) => return Err(error),
    };
    let (edited, summary) = change(&text).map_err(|error| error.context(format!("`{place}`")))?;
    let Some(after) = edited_text(edited) else {
        return Ok(vec![already(word, view, place, "nothing of it is there")]);
    };
    let edit = Edit::new(view, place, Some(text.as_bytes()), after.into_bytes())?;
    let remark = edit.remark();
    Ok(vec![
        Proposal::act(word, place.display.clone(), summary, edit).remarking(remark),
    ])
}

/// Refuses a source that a process has open for writing; what is below `keep` (relative to it) doesn't count.
///
/// # Errors
/// [`Kind::InUse`] naming the process.
pub fn require_quiet(view: &View, source: &Place, keep: &[PathBuf], allow_open: bool) -> Result<()> {
    if allow_open {
        return Ok(());
    }
    let mut writers = view.writers(source)?;
    // What stays in place may go on being written.
    writers.retain(|writer| {
        !keep
            .iter()
            .any(|kept| writer.path.starts_with(source.absolute.join(kept)))
    });
    let Some(first) = writers.first() else {
        return Ok(());
    };
    let more = match writers.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    Err(Error::in_use(format!(
        "`{source}` is not quiet: {}{more}",
        first.rendered(&view.workspace.show(&first.path).display)
    ))
    .hint(
        "stop it first; a copy of what is being written is not a backup. Who knows better says --allow-open",
    ))
}

/// Who reads what is about to be moved, and what that means for them; what is below `keep` (relative to it) doesn't count.
///
/// # Errors
/// What the view says.
pub fn readers(view: &View, source: &Place, keep: &[PathBuf]) -> Result<Option<String>> {
    let mut readers = view.holders(source)?;
    readers.retain(|reader| {
        !reader.writes()
            && !keep
                .iter()
                .any(|kept| reader.path.starts_with(source.absolute.join(kept)))
    });
    let Some(first) = readers.first() else {
        return Ok(None);
    };
    let more = match readers.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let rendered = first.rendered(&view.workspace.show(&first.path).display);
    Ok(Some(format!(
        "{rendered}{more}: it goes on reading what was moved"
    )))
}

/// Where a backup's contents stand: the backup's directory, or the one file in it.
///
/// # Errors
/// What the view says.
pub fn backup_contents(view: &View, directory: &Place, kind: &str) -> Result<Place> {
    if kind != "file" {
        return Ok(directory.clone());
    }
    let name = view
        .list(&directory.absolute)?
        .into_iter()
        .map(|(name, _)| name)
        .find(|name| name != crate::backup::MANIFEST)
        .ok_or_else(|| Error::corrupt(format!("backup `{directory}` holds no file")))?;
    Ok(directory.entry(&name))
}

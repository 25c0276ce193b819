//! `retire_dir(path, name)`: back up by moving.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::base::error::{Error, Result};
use crate::operation::Proposal;
use crate::operation::moving::MovePaths;
use crate::operation::narrowing::Narrow;
use crate::operation::retiring::{Retire, Wanted};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::Outcome;
use crate::view::{Size, View};
use crate::workspace::Place;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "retire_dir",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("name", Type::Text),
        Parameter::options(&[("keep", Type::TextOrTexts), ("allow_open", Type::Boolean)]),
    ],
    returns: Type::Text,
    about: "Moves a directory (or a file; a database with its logs) into a timestamped backup, in constant time: the way to remove data. A link is \
            followed when its target is allowed. Paths under `keep` (relative to the path) stay. Refuses a source that a \
            process writes. Gives the backup's name; nothing where the path does not exist.",
    example: r#"retire_dir("data/duckdb", "example")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let name = arguments.text(1);
    let backup = view.backup_directory(&name)?;
    if !view.exists(&place.absolute)? {
        return Ok(vec![super::proposing::not_present(
            WORD.name,
            &place,
            vec![view.write(&place, false)],
        )]);
    }
    let (source, link) = view.follow(&place)?;
    let whole = super::whole::Whole::of(view, source, link.as_ref())?;
    let along = whole.along();
    let super::whole::Whole {
        main: source, sides, ..
    } = whole;
    let keep = kept(arguments, view, &source)?;
    let mut all = view.size(&source.absolute)?;
    for (side, _) in &sides {
        all.add(view.size(&side.absolute)?);
    }
    let mut stays = Size::default();
    for path in &keep {
        stays.add(view.size(&source.absolute.join(path))?);
    }
    if !keep.is_empty() && stays.files >= all.files && only_directories_else(view, &source, &keep)? {
        let why = format!("everything in it belongs to other stories: {}", list(&keep));
        return Ok(vec![Proposal::settled(
            WORD.name,
            place.display.clone(),
            Outcome::Kept,
            why,
            vec![view.write(&place, false)],
        )]);
    }
    let allow_open = arguments.option_flag(2, "allow_open") || view.errand.options.allow_open;
    super::proposing::require_quiet(view, &source, &keep, allow_open)?;
    for (side, _) in &sides {
        super::proposing::require_quiet(view, side, &[], allow_open)?;
    }
    let size = Size {
        entries: all.entries.saturating_sub(stays.entries),
        files: all.files.saturating_sub(stays.files),
        bytes: all.bytes.saturating_sub(stays.bytes),
    };
    let directory = backup
        .absolute
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut summary = format!(
        "move {}{along} into backup `{name}`",
        view.described(&source, size)?
    );
    if link.is_some() {
        summary = format!("{summary} (the target of the link `{place}`, which goes too)");
    }
    let why = super::whole::remarks([
        (!keep.is_empty()).then(|| format!("left in place for other stories: {}", list(&keep))),
        super::proposing::readers(view, &source, &keep)?,
        super::whole::links_out(view, &source, &keep)?,
    ]);
    // A copy sees to it itself.
    let narrow = if view.errand.options.copy {
        None
    } else {
        Narrow::before_backup(WORD.name, view, &source)?
    };
    let mut proposals = if view.errand.options.copy {
        copied(
            view,
            &place,
            (&source, &sides),
            &name,
            &keep,
            &summary,
            link.is_some(),
        )?
    } else {
        let link = link.map(|link| {
            let to = view.slot("removed", &super::proposing::last_name(&link));
            (link, to)
        });
        let retire = Retire::new(
            view,
            Wanted {
                source,
                link,
                sides,
                backup,
                name,
                keep,
                size,
            },
        )?;
        vec![Proposal::act(WORD.name, place.display, summary, retire)]
    };
    if let (Some(why), Some(first)) = (why, proposals.first_mut()) {
        first.why = Some(why);
    }
    if let Some(narrow) = narrow {
        proposals.insert(0, narrow);
    }
    Ok(proposals
        .into_iter()
        .map(|proposal| proposal.returning(directory.clone()))
        .collect())
}

/// `--copy`: a verified copy first, then the source goes into the run's store.
fn copied(
    view: &View,
    place: &Place,
    (source, sides): (&Place, &[(Place, OsString)]),
    name: &str,
    keep: &[PathBuf],
    summary: &str,
    link: bool,
) -> Result<Vec<Proposal>> {
    if !keep.is_empty() {
        return Err(Error::invalid(format!(
            "--copy can't leave parts of `{source}` in place: {}",
            list(keep)
        ))
        .hint("run without --copy, or roll back the other stories first"));
    }
    let named = if link { place } else { source };
    let backup = super::backup_dir::WORD.accept(vec![named.spelled().into(), name.to_owned().into()])?;
    let Action::Change(propose_backup) = super::backup_dir::WORD.action else {
        return Ok(Vec::new());
    };
    let mut proposals = propose_backup(&backup, view)?;
    let to = view.slot("removed", &super::proposing::last_name(source));
    let mut moves = vec![(source.clone(), to.clone())];
    for (side, name) in sides {
        moves.push((
            side.clone(),
            view.workspace.show(&to.absolute.with_file_name(name)),
        ));
    }
    if link {
        moves.push((
            place.clone(),
            view.slot("removed", &super::proposing::last_name(place)),
        ));
    }
    let gone = MovePaths::new(view, moves, false)?.with_mounts();
    proposals.push(Proposal::act(
        WORD.name,
        place.display.clone(),
        format!("{summary}, by copying"),
        gone,
    ));
    Ok(proposals)
}

fn list(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The paths to keep that are there, without those below another.
fn kept(arguments: &Arguments, view: &View, source: &Place) -> Result<Vec<PathBuf>> {
    let mut keep: Vec<PathBuf> = Vec::new();
    for path in arguments.option_texts(2, "keep") {
        let kept = view.workspace.place(&format!("{}/{path}", source.display))?;
        let relative = kept
            .absolute
            .strip_prefix(&source.absolute)
            .map(PathBuf::from)
            .unwrap_or_default();
        if relative.as_os_str().is_empty() {
            return Err(Error::invalid(format!(
                "`keep: \"{path}\"` would keep all of `{source}`"
            )));
        }
        if view.exists(&kept.absolute)? {
            keep.push(relative);
        }
        // What belongs together stays together.
        if let Some(database) = view.database(&kept)? {
            let members = database.members();
            let inside = members.filter_map(|member| member.absolute.strip_prefix(&source.absolute).ok());
            keep.extend(inside.map(PathBuf::from));
        }
    }
    keep.sort();
    keep.dedup_by(|later, earlier| later.starts_with(&*earlier));
    Ok(keep)
}

/// Whether what is not kept is directories that lead to what is kept, and nothing else.
fn only_directories_else(view: &View, source: &Place, keep: &[PathBuf]) -> Result<bool> {
    let mut only = true;
    view.walk(&source.absolute, &mut |path, _| {
        let relative = path.strip_prefix(&source.absolute).unwrap_or(path);
        only &= keep
            .iter()
            .any(|kept| kept.starts_with(relative) || relative.starts_with(kept));
        Ok(())
    })?;
    Ok(only)
}

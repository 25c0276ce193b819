//! `restore_backup(name, path)`.

use crate::base::error::{Error, Result};
use crate::base::wording;
use crate::operation::Proposal;
use crate::operation::copying::Copy;
use crate::operation::moving::MovePaths;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "restore_backup",
    parameters: &[
        Parameter::needed("name", Type::Text),
        Parameter::optional("path", Type::Text),
    ],
    returns: Type::Nothing,
    about: "Puts a backup's contents back, to where they came from or to another path. What stands there of what the \
            backup holds goes into the run's store first, all else stays. The backup stays.",
    example: r#"restore_backup(backup_dir("data/duckdb", "example"), "data/restored")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let name = arguments.text(0);
    let text = |backup: &serde_json::Value, key: &str| {
        backup
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let backups = view.backups()?;
    let Some(backup) = backups.iter().find(|backup| text(backup, "name") == name) else {
        let near = wording::nearest(
            &name,
            backups
                .iter()
                .filter_map(|backup| backup.get("name").and_then(serde_json::Value::as_str)),
        );
        return Err(
            Error::not_found(format!("there is no backup `{name}`")).hint(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`rollback backup list` lists them".to_owned(),
            }),
        );
    };
    if backup.get("complete").and_then(serde_json::Value::as_bool) != Some(true) {
        return Err(Error::corrupt(format!(
            "backup `{name}` has no finished manifest: it is not whole"
        ))
        .hint("look into it by hand, or take another"));
    }
    let to = if arguments.get(1).is_some() {
        view.workspace.place(&arguments.text(1))?
    } else {
        let source = text(backup, "source");
        if source.starts_with(crate::operation::volumes::SOURCE) {
            return Err(
                Error::invalid(format!("backup `{name}` holds a volume of the container engine"))
                    .hint("name a place for its archive, or give that to the engine: docs/operations.md"),
            );
        }
        view.workspace.place(&source)?
    };
    let directory = view.workspace.show(&view.workspace.backups().join(&name));
    let kind = text(backup, "kind");
    let from = super::proposing::backup_contents(view, &directory, &kind)?;
    // A person may put back what a script may not see.
    if view.story.borrow().is_some() {
        view.may_take(&from, &to, false)?;
    }
    view.require_sound(&directory)?;
    let (mut size, left_out) = view.size_of_copy(&from)?;
    let why = super::proposing::left_out(&left_out);
    let database = view.database(&from)?.filter(|_| kind == "file");
    let mut proposals = Vec::new();
    let (mut uncovered, mut kept) = (Vec::new(), None);
    let standing = super::proposing::standing_at(view, &to, database.as_ref())?;
    if kind == "file" && !standing.is_empty() {
        proposals.push(super::proposing::out_of_the_way(WORD.name, view, &to, &standing)?);
    } else if view.exists(&to.absolute)? {
        let slot = view.slot("removed", &super::proposing::last_name(&to));
        uncovered = view.uncovered(&to.absolute, &from.absolute)?;
        if !uncovered.is_empty() {
            kept = Some(MovePaths::bringing_back(view, &to, &slot, &uncovered)?);
        }
        let moved = MovePaths::new(view, vec![(to.clone(), slot)], false)?;
        proposals.push(Proposal::act(
            WORD.name,
            to.display.clone(),
            format!("move {} out of the way", view.sized(&to)?),
            moved,
        ));
    }
    if let Some(database) = database.filter(|database| !database.sides.is_empty()) {
        for (from, to) in database.moves_to(view, &to).into_iter().rev() {
            proposals.push(super::copy_path::copy(view, WORD.name, from, to)?);
        }
        return Ok(proposals);
    }
    if let Some(manifest) = view.stat(&from.absolute.join(crate::backup::MANIFEST))? {
        size.entries -= 1;
        size.files -= 1;
        size.bytes -= manifest.size;
    }
    let kind = view.kind(&from)?;
    let copy = Copy {
        kind,
        times: view.parent_times(&[&to])?,
        made: view.absent_parents(&to)?,
        needs: vec![view.write(&to, false)],
        facts: vec![view.fact(&from)?],
        backup: None,
        made_of: super::proposing::likeness(view, &from)?,
        sides: Vec::new(),
        restores: Some(directory.absolute.clone()),
        from,
        to: to.clone(),
        size,
        left_out,
    };
    let summary = format!(
        "restore backup `{name}` ({}) to `{to}`",
        wording::bytes(size.bytes)
    );
    let mut proposal = Proposal::act(WORD.name, to.display.clone(), summary, copy);
    proposal.why = why;
    proposals.push(proposal);
    if let Some(kept) = kept {
        let summary = format!(
            "leave in `{to}` what the backup does not hold: {}",
            super::proposing::listed(&uncovered)
        );
        proposals.push(Proposal::act(WORD.name, to.display, summary, kept));
    }
    Ok(proposals)
}

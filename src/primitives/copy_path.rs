//! `copy_path(from, to)`.

use crate::base::error::{Error, Result};
use crate::operation::Proposal;
use crate::operation::copying::Copy;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;
use crate::workspace::Place;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "copy_path",
    parameters: &[
        Parameter::needed("from", Type::Text),
        Parameter::needed("to", Type::Text),
        Parameter::options(&[("overwrite", Type::Boolean)]),
    ],
    returns: Type::Nothing,
    about: "Copies a file or a tree, verified; a database with its logs. Refuses where something stands at the target, unless told \
            #{ overwrite: true }: that goes into the run's store first.",
    example: r#"copy_path("package.json", "package.json.before")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let from = view.workspace.place(&arguments.text(0))?;
    view.may_read(&from)?;
    let to = view.workspace.place(&arguments.text(1))?;
    if !view.exists(&from.absolute)? {
        return Err(Error::not_found(format!("`{from}` does not exist")).hint("ask path_exists() first"));
    }
    if to.absolute.starts_with(&from.absolute) {
        return Err(Error::invalid(format!(
            "`{from}` can't be copied into itself (`{to}`)"
        )));
    }
    if from.absolute.starts_with(&to.absolute) {
        return Err(
            Error::invalid(format!("`{from}` lies inside `{to}`, which it would replace"))
                .hint("take it out under another name first"),
        );
    }
    view.require_at_rest(&from)?;
    let database = super::whole::whole_database(view, &from)?;
    let copies = match &database {
        Some(database) => database.moves_to(view, &to),
        None => vec![(from.clone(), to.clone())],
    };
    for (from, to) in &copies {
        view.may_read(from)?;
        view.may_take(from, to, false)?;
    }
    let mut proposals = Vec::new();
    proposals.extend(super::proposing::displace(
        WORD.name,
        view,
        &to,
        database.as_ref(),
        arguments.option_flag(2, "overwrite"),
    )?);
    // What a database needs comes before it: nobody finds one without the other.
    for (from, to) in copies.into_iter().rev() {
        proposals.push(copy(view, WORD.name, from, to)?);
    }
    Ok(proposals)
}

/// A plain copy of what stands at a path.
///
/// # Errors
/// What the view says.
pub(super) fn copy(view: &View, word: &'static str, from: Place, to: Place) -> Result<Proposal> {
    let (size, left_out) = view.size_of_copy(&from)?;
    let summary = format!("copy {} to `{to}`", view.described(&from, size)?);
    let copy = Copy {
        kind: view.kind(&from)?,
        restores: None,
        made_of: super::proposing::likeness(view, &from)?,
        size,
        backup: None,
        sides: Vec::new(),
        times: view.parent_times(&[&to])?,
        made: view.absent_parents(&to)?,
        needs: vec![view.write(&to, false)],
        facts: vec![view.fact(&from)?],
        from: from.clone(),
        to,
        left_out: left_out.clone(),
    };
    let mut proposal = Proposal::act(word, from.display, summary, copy);
    proposal.why = super::proposing::left_out(&left_out);
    Ok(proposal)
}

//! `copy_path(from, to)`.

use crate::error::{Error, Result};
use crate::operation::Proposal;
use crate::operation::copying::Copy;
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "copy_path",
    parameters: &[
        Parameter::needed("from", Type::Text),
        Parameter::needed("to", Type::Text),
        Parameter::options(&[("overwrite", Type::Boolean)]),
    ],
    returns: Type::Nothing,
    about: "Copies a file or a tree, verified. Refuses where something stands at the target, unless told \
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
    view.may_take(&from, &to, false)?;
    view.require_at_rest(&from)?;
    let (size, left_out) = view.size_of_copy(&from)?;
    let why = super::left_out(&left_out);
    let mut proposals = Vec::new();
    proposals.extend(super::displace(
        WORD.name,
        view,
        &to,
        arguments.option_flag(2, "overwrite"),
    )?);
    let summary = format!("copy {} to `{to}`", super::described(view, &from, size)?);
    let kind = view.kind(&from)?;
    let copy = Copy {
        kind,
        restores: None,
        made_of: super::likeness(view, &from)?,
        size,
        left_out,
        backup: None,
        times: view.parent_times(&[&to]),
        made: view.absent_parents(&to)?,
        needs: vec![view.write(&to, false)],
        facts: vec![view.fact(&from)?],
        from: from.clone(),
        to,
    };
    let mut proposal = Proposal::act(WORD.name, from.shown, summary, copy);
    proposal.why = why;
    proposals.push(proposal);
    Ok(proposals)
}

//! `move_path(from, to)`.

use crate::base::error::{Error, Result};
use crate::operation::Proposal;
use crate::operation::moving::MovePaths;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "move_path",
    parameters: &[
        Parameter::needed("from", Type::Text),
        Parameter::needed("to", Type::Text),
        Parameter::options(&[("overwrite", Type::Boolean)]),
    ],
    returns: Type::Nothing,
    about: "Moves a path; a database goes with its logs. Refuses where something stands at the target, unless told #{ overwrite: true }: that goes into \
            the run's store first.",
    example: r#"move_path("logs/dbt", "logs/dbt-old")"#,
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
            "`{from}` can't be moved into itself (`{to}`)"
        )));
    }
    if from.absolute.starts_with(&to.absolute) {
        return Err(
            Error::invalid(format!("`{from}` lies inside `{to}`, which it would replace"))
                .hint("take it out under another name first"),
        );
    }
    let database = super::whole::whole_database(view, &from)?;
    let moves = match &database {
        Some(database) => database.moves_to(view, &to),
        None => vec![(from.clone(), to.clone())],
    };
    for (from, to) in &moves {
        view.may_read(from)?;
        view.may_take(from, to, true)?;
    }
    let mut proposals = Vec::new();
    proposals.extend(super::proposing::displace(
        WORD.name,
        view,
        &to,
        database.as_ref(),
        arguments.option_flag(2, "overwrite"),
    )?);
    let along = database.map(|database| database.along()).unwrap_or_default();
    let summary = format!("move {}{along} to `{to}`", view.sized(&from)?);
    let moves = MovePaths::new(view, moves, true)?;
    proposals.push(Proposal::act(WORD.name, from.display, summary, moves));
    Ok(proposals)
}

//! `remove_path(path)`.

use crate::base::error::Result;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_path",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Nothing,
    about: "Moves a file, a directory with all that is in it, or a link (as a link) into the run's own store (under --purge: \
            removes it for good). A database goes with its logs; a log alone is refused while its database is there. What is \
            not there is recorded as not present.",
    example: r#"remove_path("logs/dbt")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    super::proposing::asked_removal(WORD.name, view, &place)
}

//! `remove_volumes(prefix)`.

use crate::base::error::Result;
use crate::host::docker::ObjectKind;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_volumes",
    parameters: &[Parameter::needed("prefix", Type::Text)],
    returns: Type::Integer,
    about: "Removes the volumes that list_volumes gives, after a copy of each into a backup (`volume.tar`). An engine can't \
            take that back: it is asked for separately. Gives how many matched.",
    example: r#"remove_volumes("airbyte")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    super::engine::engine_removal(WORD.name, view, ObjectKind::Volume, &arguments.text(0))
}

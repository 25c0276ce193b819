//! `remove_containers(prefix)`.

use crate::base::error::Result;
use crate::host::docker::ObjectKind;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_containers",
    parameters: &[Parameter::needed("prefix", Type::Text)],
    returns: Type::Integer,
    about: "Removes the containers that list_containers gives, running or not. Without an engine that answers, the outcome \
            is unknown, and a warning. Gives how many matched.",
    example: r#"remove_containers("airbyte")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    super::engine::engine_removal(WORD.name, view, ObjectKind::Container, &arguments.text(0))
}

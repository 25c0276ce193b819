//! `remove_images(prefix)`.

use crate::base::error::Result;
use crate::host::docker::ObjectKind;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_images",
    parameters: &[Parameter::needed("prefix", Type::Text)],
    returns: Type::Integer,
    about: "Removes the images that list_images gives. Gives how many matched.",
    example: r#"remove_images("airbyte")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    super::engine::engine_removal(WORD.name, view, ObjectKind::Image, &arguments.text(0))
}

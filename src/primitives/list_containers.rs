//! `list_containers(prefix)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::host::docker::ObjectKind;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "list_containers",
    parameters: &[Parameter::needed("prefix", Type::Text)],
    returns: Type::Array,
    about: "Containers, running or not, whose name begins with the prefix (up to a word's end) or whose label has it. Gives \
            maps with id, name; nothing where no engine answers.",
    example: r#"list_containers("airbyte").len() >= 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    super::engine::engine_list(view, ObjectKind::Container, &arguments.text(0))
}

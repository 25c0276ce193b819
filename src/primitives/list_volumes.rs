//! `list_volumes(prefix)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::host::docker::ObjectKind;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "list_volumes",
    parameters: &[Parameter::needed("prefix", Type::Text)],
    returns: Type::Array,
    about: "Volumes whose name begins with the prefix (up to a word's end). Gives maps with id, name; nothing where no \
            engine answers.",
    example: r#"list_volumes("airbyte").len() >= 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    super::engine::engine_list(view, ObjectKind::Volume, &arguments.text(0))
}

//! `read_json(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "read_json",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Any,
    about: "A JSON file of at most 8 MiB, as maps, arrays and scalars. A number that no script can hold to its last digit is an \
            error that names its place.",
    example: r#"read_json("package.json").name"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    view.may_read(&place)?;
    let text = view.read_text(&place)?;
    view.given(&place, &text);
    let value = crate::edit::json::parse(&text).map_err(|error| error.context(format!("`{place}`")))?;
    super::to_script(&value)
}

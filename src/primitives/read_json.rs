//! `read_json(path)`.

use rhai::Dynamic;

use crate::error::{Error, Result};
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "read_json",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Any,
    about: "A JSON file of at most 8 MiB, as maps, arrays and scalars.",
    example: r#"read_json("package.json").name"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    view.may_read(&place)?;
    let text = view.read_text(&place)?;
    view.given(&place, &text);
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Error::invalid(format!("`{place}` is not JSON: {error}")))?;
    super::to_script(&value)
}

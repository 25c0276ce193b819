//! `read_text(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "read_text",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Text,
    about: "The contents of a UTF-8 file of at most 8 MiB.",
    example: r#"read_text("package.json").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    view.may_read(&place)?;
    let text = view.read_text(&place)?;
    view.given(&place, &text);
    Ok(text.into())
}

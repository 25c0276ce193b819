//! `digest(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "digest",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Text,
    about: "BLAKE3 of a file's contents, in hexadecimal.",
    example: r#"digest("package.json").len() == 64"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    view.may_read(&place)?;
    let digest = view.digest(&place)?;
    view.given(&place, &digest);
    Ok(digest.into())
}

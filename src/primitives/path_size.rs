//! `path_size(path)`.

use rhai::Dynamic;

use crate::base::error::{Error, Result};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "path_size",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Integer,
    about: "Bytes of the file, or of all files in the directory and below. Links are not followed.",
    example: r#"path_size("config")"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    if !view.exists(&place.absolute)? {
        return Err(Error::not_found(format!("`{place}` does not exist")).hint("ask path_exists() first"));
    }
    Ok(i64::try_from(view.size(&place.absolute)?.bytes)
        .unwrap_or(i64::MAX)
        .into())
}

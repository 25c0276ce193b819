//! `list_dir(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "list_dir",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Texts,
    about: "The paths directly in a directory, sorted, relative to the workspace. In a name that is not UTF-8, a NUL and two hexadecimal digits stand for each such byte, here as in every path.",
    example: r#"list_dir("config").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    let paths: rhai::Array = view
        .list(&place.absolute)?
        .iter()
        .map(|(name, _)| Dynamic::from(place.entry(name).spelled()))
        .collect();
    Ok(paths.into())
}

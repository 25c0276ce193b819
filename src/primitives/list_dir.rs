//! `list_dir(path)`.

use rhai::Dynamic;

use crate::error::Result;
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "list_dir",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Texts,
    about: "The paths directly in a directory, sorted, relative to the workspace. A name that is not UTF-8 shows replacement characters.",
    example: r#"list_dir("config").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    let paths: rhai::Array = view
        .list(&place.absolute)?
        .iter()
        .map(|(name, _)| Dynamic::from(place.below(&name.to_string_lossy()).shown))
        .collect();
    Ok(paths.into())
}

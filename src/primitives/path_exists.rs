//! `path_exists(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "path_exists",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Boolean,
    about: "Whether anything stands at the path: a file, a directory, or a link, dangling or not.",
    example: r#"path_exists("package.json")"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    Ok(view
        .exists(&view.workspace.place(&arguments.text(0))?.absolute)?
        .into())
}

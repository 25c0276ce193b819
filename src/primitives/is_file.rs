//! `is_file(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::host::files::EntryKind;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "is_file",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Boolean,
    about: "Whether a regular file stands at the path. A link is none.",
    example: r#"is_file("package.json")"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let stat = view.stat(&view.workspace.place(&arguments.text(0))?.absolute)?;
    Ok(stat.is_some_and(|stat| stat.kind == EntryKind::File).into())
}

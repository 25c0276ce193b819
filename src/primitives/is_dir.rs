//! `is_dir(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::host::files::EntryKind;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "is_dir",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Boolean,
    about: "Whether a directory stands at the path. A link is none.",
    example: r#"is_dir("config")"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let stat = view.stat(&view.workspace.place(&arguments.text(0))?.absolute)?;
    Ok(stat.is_some_and(|stat| stat.kind == EntryKind::Directory).into())
}

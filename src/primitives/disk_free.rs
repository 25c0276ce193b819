//! `disk_free(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "disk_free",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Integer,
    about: "Bytes free for this user on the file system that holds the path. The first answer of a run stands for all of it, so that the run says what the plan said.",
    example: r#"disk_free(".") > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    Ok(i64::try_from(view.disk_free(&place)?).unwrap_or(i64::MAX).into())
}

//! `flag_enabled(name)`.

use rhai::Dynamic;

use crate::base::error::{Error, Result};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "flag_enabled",
    parameters: &[Parameter::needed("name", Type::Text)],
    returns: Type::Boolean,
    about: "Whether a feature is effectively on: switched on, and everything it depends on too. Unknown or circular \
            means off, and so does a missing flags file.",
    example: r#"flag_enabled("duckdb_analytics")"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let name = arguments.text(0);
    if name.is_empty() {
        return Err(Error::invalid("`flag_enabled` takes a feature's name"));
    }
    Ok(view
        .flags()?
        .is_some_and(|flags| flags.effective(&name).unwrap_or(false))
        .into())
}

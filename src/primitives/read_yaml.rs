//! `read_yaml(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "read_yaml",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Any,
    about: "A YAML file of at most 8 MiB, as maps, arrays and scalars.",
    example: r#"read_yaml("config/feature-flags.yaml").features.duckdb_analytics.enabled"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    view.may_read(&place)?;
    let text = view.read_text(&place)?;
    view.given(&place, &text);
    let value = crate::edit::yaml::parse(&text).map_err(|error| error.context(&place))?;
    super::to_script(&value)
}

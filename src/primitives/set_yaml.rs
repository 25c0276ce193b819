//! `set_yaml(path, key, value)`.

use crate::base::error::Result;
use crate::edit::yaml;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "set_yaml",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("key", Type::Text),
        Parameter::needed("value", Type::Any),
    ],
    returns: Type::Nothing,
    about: "Sets one value of a YAML file, named by a dotted key; comments, order, quoting and line endings stay.",
    example: r#"set_yaml("core-config.yaml", "version", "2.0.0")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let key = arguments.text(1);
    let value = super::from_script(arguments.get(2))?;
    super::proposing::setting(WORD.name, view, &place, &key, &mut |text| {
        Ok((
            yaml::set(text, &key, &value)?,
            format!("set `{key}` in `{place}`"),
        ))
    })
}

//! `set_json(path, key, value)`.

use crate::base::error::Result;
use crate::edit::json;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "set_json",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("key", Type::Text),
        Parameter::needed("value", Type::Any),
    ],
    returns: Type::Nothing,
    about: "Sets one value of a JSON file, named by a dotted key; formatting stays.",
    example: r#"set_json("package.json", "private", false)"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let key = arguments.text(1);
    let value = super::from_script(arguments.get(2))?;
    super::proposing::setting(WORD.name, view, &place, &key, &mut |text| {
        Ok((
            json::set(text, &key, &value)?,
            format!("set `{key}` in `{place}`"),
        ))
    })
}

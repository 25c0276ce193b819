//! `remove_json(path, key)`.

use crate::base::error::Result;
use crate::edit::json;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_json",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("key", Type::Text),
    ],
    returns: Type::Nothing,
    about: "Removes one entry of a JSON file, named by a dotted key; formatting stays.",
    example: r#"remove_json("package.json", "private")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let key = arguments.text(1);
    super::proposing::edit(WORD.name, view, &place, &mut |text| {
        Ok((
            json::remove(text, &key)?,
            format!("remove `{key}` from `{place}`"),
        ))
    })
}

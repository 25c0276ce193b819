//! `keep_path(path, why)`.

use crate::base::error::Result;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::report::effect::Outcome;
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "keep_path",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("why", Type::Text),
    ],
    returns: Type::Nothing,
    about: "Records that a path is left alone on purpose, and why. It changes nothing.",
    example: r#"keep_path("package.json", "others need it")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    Ok(vec![Proposal::settled(
        WORD.name,
        place.display,
        Outcome::Kept,
        arguments.text(1),
        Vec::new(),
    )])
}

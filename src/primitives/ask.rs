//! `ask(question, default)`.

use rhai::{Dynamic, EvalAltResult};

use crate::pass::Telling;
use crate::pass::thrown::raise;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "ask",
    parameters: &[
        Parameter::needed("question", Type::Text),
        Parameter::needed("default", Type::Text),
    ],
    returns: Type::Text,
    about: "Asks the person for a line of text; an empty line gives the default, and so do --yes and a preview.",
    example: r#"ask("Which quarter?", "Q3")"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    telling
        .session
        .ask(&arguments.text(0), &arguments.text(1))
        .map(Dynamic::from)
        .map_err(raise)
}

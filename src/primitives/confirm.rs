//! `confirm(question)`.

use rhai::{Dynamic, EvalAltResult};

use crate::pass::Telling;
use crate::pass::thrown::raise;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "confirm",
    parameters: &[Parameter::needed("question", Type::Text)],
    returns: Type::Boolean,
    about: "Asks the person yes or no. Yes under --yes; a preview shows the question and goes on as if yes; without a \
            terminal it fails. Every answer is recorded.",
    example: r#"confirm("Remove the reports too?")"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    telling
        .session
        .confirm(&arguments.text(0))
        .map(Dynamic::from)
        .map_err(raise)
}

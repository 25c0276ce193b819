//! `note(text)`.

use rhai::{Dynamic, EvalAltResult};

use crate::pass::Telling;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "note",
    parameters: &[Parameter::needed("text", Type::Text)],
    returns: Type::Nothing,
    about: "A remark for whoever watches the run.",
    example: r#"note("the reports are kept for a year")"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    telling.session.note(&arguments.text(0));
    Ok(Dynamic::UNIT)
}

//! `warn(text)`.

use rhai::{Dynamic, EvalAltResult};

use crate::pass::Telling;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "warn",
    parameters: &[Parameter::needed("text", Type::Text)],
    returns: Type::Nothing,
    about: "Something the person should know: it stands in the plan and in the report.",
    example: r#"warn("the warehouse lies on a network disk")"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    telling.session.warn(&arguments.text(0));
    Ok(Dynamic::UNIT)
}

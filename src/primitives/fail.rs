//! `fail(text)`.

use rhai::{Dynamic, EvalAltResult};

use crate::base::error::Error;
use crate::base::redact::rendered;
use crate::pass::Telling;
use crate::pass::thrown::raise;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "fail",
    parameters: &[Parameter::needed("text", Type::Text)],
    returns: Type::Nothing,
    about: "Ends the story with this failure; a script can catch it.",
    example: r#"try { fail("not today") } catch { }"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, _telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    Err(raise(Error::failed(rendered(&arguments.text(0)))))
}

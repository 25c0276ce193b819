//! `now()`.

use rhai::Dynamic;

use crate::error::Result;
use crate::primitive::{Action, Arguments, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "now",
    parameters: &[],
    returns: Type::Text,
    about: "The time, as RFC 3339 in UTC with milliseconds.",
    example: "now().len() == 24",
    action: Action::Look(look),
};

fn look(_arguments: &Arguments, view: &View) -> Result<Dynamic> {
    Ok(view.host.clock.timestamp().into())
}

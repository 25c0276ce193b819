//! `now()`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "now",
    parameters: &[],
    returns: Type::Text,
    about: "The time at which the run began, as RFC 3339 in UTC with milliseconds: it stands still, so that the run says what the plan said.",
    example: "now().len() == 24",
    action: Action::Look(look),
};

fn look(_arguments: &Arguments, view: &View) -> Result<Dynamic> {
    Ok(view.errand.began.clone().into())
}

//! `dry_run()`.

use rhai::Dynamic;

use crate::error::Result;
use crate::primitive::{Action, Arguments, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "dry_run",
    parameters: &[],
    returns: Type::Boolean,
    about: "Whether the person asked for a dry run. Scripts need not ask: in a dry run nothing changes by itself. It is \
            the same in the preview and in the real pass of one run.",
    example: "dry_run() == false || true",
    action: Action::Look(look),
};

fn look(_arguments: &Arguments, view: &View) -> Result<Dynamic> {
    Ok(view.errand.dry_run.into())
}

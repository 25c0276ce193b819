//! `dry_run()`.

use rhai::{Dynamic, EvalAltResult};

use crate::pass::Telling;
use crate::primitives::contract::{Action, Arguments, Primitive, Type};

/// What a person is told of a script that says the word: its preview shows less than it may do.
pub const WARNING: &str = "the script asks whether this is a dry run: a real run may differ";

/// The word.
pub static WORD: Primitive = Primitive {
    name: "dry_run",
    parameters: &[],
    returns: Type::Boolean,
    about: "Whether the person asked for a dry run. Scripts need not ask: in a dry run nothing changes by itself. It is \
            the same in the preview and in the real pass of one run. A plan warns of a script that asks.",
    example: "dry_run() == false || true",
    action: Action::Tell(tell),
};

fn tell(_arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    let errand = &telling.session.view.errand;
    if errand.preview {
        telling.session.warn(WARNING);
    }
    Ok(errand.dry_run.into())
}

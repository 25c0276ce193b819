//! `remove_lines(path, pattern)`.

use crate::base::error::Result;
use crate::base::wording;
use crate::edit::lines;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_lines",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("pattern", Type::Text),
    ],
    returns: Type::Nothing,
    about: "Removes the lines that a regular expression matches; the others stay to the byte.",
    example: r#"remove_lines("tools/cli.js", "duckdb.*command")"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let pattern = lines::pattern(&arguments.text(1))?;
    super::proposing::edit(WORD.name, view, &place, &mut |text| {
        let (edited, numbers) = lines::remove_matching(text, &pattern)?;
        let count = wording::plural(numbers.len() as u64, "line");
        Ok((
            edited,
            format!("remove {count} matching `{}` from `{place}`", arguments.text(1)),
        ))
    })
}

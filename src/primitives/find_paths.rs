//! `find_paths(glob)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "find_paths",
    parameters: &[Parameter::needed("glob", Type::Text)],
    returns: Type::Texts,
    about: "Paths that match a pattern, sorted: `*`, `?`, `[a-z]`, `[!a-z]` within a name, `**` between slashes for any number \
            of directories, `{a,b}`, `\\` before a sign taken as it is. What stands before the first of these says where to \
            begin. A pattern that never matches in a story is named in the plan. Links are not followed; `.git`, \
            `node_modules`, and what rollback keeps (state, backups, reports) are left out.",
    example: r#"find_paths("config/**/*.yaml").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let found = view.matching(&arguments.text(0))?;
    let found: rhai::Array = found.iter().map(|place| place.spelled().into()).collect();
    Ok(found.into())
}

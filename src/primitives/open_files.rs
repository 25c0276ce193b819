//! `open_files(path)`.

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::host::processes::Access;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "open_files",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Array,
    about: "Processes that hold a file open at or below the path, and how: maps with pid, command, path, access \
            (\"read\" or \"write\").",
    example: r#"open_files("data").len() >= 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    let mut found = rhai::Array::new();
    for holder in view.holders(&place)? {
        let mut map = Map::new();
        map.insert("pid".into(), i64::from(holder.process.pid).into());
        map.insert("command".into(), holder.process.describe().into());
        map.insert("path".into(), view.workspace.show(&holder.path).display.into());
        map.insert(
            "access".into(),
            (if holder.access == Access::Write {
                "write"
            } else {
                "read"
            })
            .into(),
        );
        found.push(map.into());
    }
    Ok(found.into())
}

//! `find_databases(path)`.

use rhai::{Dynamic, Map};

use crate::backup;
use crate::base::error::{Error, Result};
use crate::base::known::Known;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "find_databases",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Array,
    about: "Databases at and below a path, known by what is in them (DuckDB, SQLite): maps with path, sort, and backup (a \
            name for its backup). Fails where a file can't be looked into: what is not known to be none may be one.",
    example: r#"find_databases("config").len() == 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    match view.databases_below(&place)? {
        Known::Yes(databases) => {
            let entries = databases.iter().map(|database| {
                let mut map = Map::new();
                map.insert("path".into(), database.main.spelled().into());
                map.insert("sort".into(), database.sort.name.into());
                map.insert("backup".into(), backup::plain_name(&database.main.display).into());
                Dynamic::from(map)
            });
            Ok(entries.collect::<rhai::Array>().into())
        }
        Known::Unknown(why) => Err(Error::unknown(format!(
            "whether there are databases in `{place}` is unknown: {why}"
        ))
        .hint("make it readable, or take it out of the way by hand")),
    }
}

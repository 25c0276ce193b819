//! `story_additions(id)`.

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "story_additions",
    parameters: &[Parameter::needed("id", Type::Text)],
    returns: Type::Map,
    about: "What `rollback.yaml` adds to a story's lists: a map with data (maps of path and backup) and files.",
    example: r#"story_additions("1.3").files.len() == 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let mut data = rhai::Array::new();
    let mut files = rhai::Array::new();
    if let Some(additions) = view.workspace.config().stories.get(&arguments.text(0)) {
        for (backup, paths) in &additions.data {
            for path in paths {
                let mut entry = Map::new();
                entry.insert("path".into(), path.clone().into());
                entry.insert("backup".into(), backup.clone().into());
                data.push(entry.into());
            }
        }
        files.extend(additions.paths.iter().map(|path| Dynamic::from(path.clone())));
    }
    let mut map = Map::new();
    map.insert("data".into(), data.into());
    map.insert("files".into(), files.into());
    Ok(map.into())
}

//! `list_backups(name)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "list_backups",
    parameters: &[Parameter::optional("source", Type::Text)],
    returns: Type::Array,
    about: "Backups, newest last: maps with name, path, source, story, created, entries, bytes, method, complete. With a \
            path, only backups made from it.",
    example: r#"list_backups("data/duckdb").len() == 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let wanted = arguments
        .get(0)
        .map(|_| view.workspace.place(&arguments.text(0)))
        .transpose()?;
    let mut found = rhai::Array::new();
    for backup in view.backups()? {
        let source = backup
            .get("source")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        if wanted.as_ref().is_none_or(|place| place.display == source) {
            found.push(super::to_script(&backup)?);
        }
    }
    Ok(found.into())
}

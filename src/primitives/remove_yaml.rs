//! `remove_yaml(path, key)`.

use crate::edit::yaml;
use crate::error::Result;
use crate::operation::Proposal;
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_yaml",
    parameters: &[
        Parameter::needed("path", Type::Text),
        Parameter::needed("key", Type::Text),
        Parameter::options(&[("naming", Type::Boolean)]),
    ],
    returns: Type::Nothing,
    about: "Removes one entry of a YAML file, named by a dotted key. With #{ naming: true } the key is a word, and every \
            whole entry whose key or value names it goes.",
    example: r#"remove_yaml("core-config.yaml", "duckdb", #{ naming: true })"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let key = arguments.text(1);
    let naming = arguments.option_flag(2, "naming");
    super::edit(WORD.name, view, &place, &mut |text| {
        if naming {
            Ok((
                yaml::remove_entries_naming(text, &key)?.0,
                format!("remove the entries that name `{key}` from `{place}`"),
            ))
        } else {
            Ok((
                yaml::remove(text, &key)?,
                format!("remove `{key}` from `{place}`"),
            ))
        }
    })
}

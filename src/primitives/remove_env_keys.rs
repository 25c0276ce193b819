//! `remove_env_keys(prefixes)`.

use crate::edit::env;
use crate::error::Result;
use crate::operation::Proposal;
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_env_keys",
    parameters: &[Parameter::needed("prefixes", Type::TextOrTexts)],
    returns: Type::Nothing,
    about: "Removes the entries of the environment file whose keys begin with a prefix, `export X=` and indented forms too. \
            Values are never shown.",
    example: r#"remove_env_keys(["DUCKDB_"])"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.env_file();
    let prefixes = arguments.texts(0);
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    super::blind_edit(WORD.name, view, &place, &mut |text| {
        let keys: Vec<String> = prefixes
            .iter()
            .flat_map(|prefix| env::keys(text, prefix))
            .collect();
        let edited = env::remove_keys(text, &prefixes)?;
        Ok((edited, format!("remove {} from `{place}`", keys.join(", "))))
    })
}

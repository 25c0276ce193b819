//! `remove_env_keys(prefixes)`.

use crate::base::error::Result;
use crate::edit::env;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "remove_env_keys",
    parameters: &[Parameter::needed("prefixes", Type::TextOrTexts)],
    returns: Type::Nothing,
    about: "Removes the entries of the environment file whose keys begin with a prefix, `export X=` and indented forms too. \
            Values are never shown. Keys that look as if they belonged to it are told, and stay.",
    example: r#"remove_env_keys(["DUCKDB_"])"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.env_file();
    let prefixes = arguments.texts(0);
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let mut alike = Vec::new();
    let mut proposals = super::proposing::blind_edit(WORD.name, view, &place, &mut |text| {
        alike = env::alike(text, &prefixes);
        let edited = env::remove_keys(text, &prefixes)?;
        let mut keys = Vec::new();
        for prefix in &prefixes {
            keys.extend(env::keys(text, prefix)?);
        }
        Ok((edited, format!("remove {} from `{place}`", keys.join(", "))))
    })?;
    if !alike.is_empty()
        && let Some(proposal) = proposals.pop()
    {
        let (look, stay) = if alike.len() == 1 {
            ("looks like it belongs", "stays")
        } else {
            ("look like they belong", "stay")
        };
        proposals.push(proposal.warning(format!(
            "`{}` in `{place}` {look} to {}*, and {stay}",
            alike.join("`, `"),
            prefixes.join("*, ")
        )));
    }
    Ok(proposals)
}

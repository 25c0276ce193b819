//! `remove_yaml(path, key)`.

use crate::base::error::Result;
use crate::base::wording::plural_as;
use crate::edit::yaml;
use crate::operation::Proposal;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
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
            entry whose key or value names it goes, an entry of a list whole or not at all; the plan lists each, and what \
            only mentions the word stays.",
    example: r#"remove_yaml("core-config.yaml", "duckdb", #{ naming: true })"#,
    action: Action::Change(propose),
};

fn propose(arguments: &Arguments, view: &View) -> Result<Vec<Proposal>> {
    let place = view.workspace.place(&arguments.text(0))?;
    let key = arguments.text(1);
    let naming = arguments.option_flag(2, "naming");
    if !naming {
        return super::proposing::edit(WORD.name, view, &place, &mut |text| {
            Ok((
                yaml::remove(text, &key)?,
                format!("remove `{key}` from `{place}`"),
            ))
        });
    }
    let mut stays = None;
    let proposals = super::proposing::edit(WORD.name, view, &place, &mut |text| {
        let named = yaml::remove_entries_naming(text, &key)?;
        let entries = plural_as(
            named.removed.len() as u64,
            "entry that names",
            "entries that name",
        );
        let mut summary = format!(
            "remove {entries} `{key}` from `{place}`: {}",
            named.removed.join(", ")
        );
        if !named.mentioned.is_empty() {
            let mentioned = format!("what only mentions it stays: {}", named.mentioned.join(", "));
            summary = format!("{summary}; {mentioned}");
            stays = Some(mentioned);
        }
        Ok((named.edited, summary))
    })?;
    // Where nothing goes, the summary is not told.
    let remarked = |proposal: Proposal| match (proposal.why.clone(), &stays) {
        (Some(why), Some(stays)) => proposal.because(format!("{why}; {stays}")),
        _ => proposal,
    };
    Ok(proposals.into_iter().map(remarked).collect())
}

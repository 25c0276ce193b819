//! `foreign_parts(path)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "foreign_parts",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Texts,
    about: "Paths below the path that belong to other stories and must not go along, relative to it: their data and \
            results always; their other parts as long as they are deployed and not in the same run.",
    example: r#"foreign_parts("bmad-method/expansion-packs/bmad-data-practitioner/evidence-project").len() >= 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    let found: rhai::Array = view
        .foreign_parts(&place)?
        .into_iter()
        .map(|path| Dynamic::from(path.to_string_lossy().into_owned()))
        .collect();
    Ok(found.into())
}

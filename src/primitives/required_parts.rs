//! `required_parts(paths)`: which parts must stay.

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "required_parts",
    parameters: &[Parameter::needed("paths", Type::TextOrTexts)],
    returns: Type::Map,
    about: "Of these paths, those that something that stays still needs (see find_references), directly or through another \
            that must stay: a map from path to the files that need it.",
    example: r#"required_parts("bmad-method/tools/data-services/hypothesis-generator.js").len() == 1"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let mut places = Vec::new();
    for path in arguments.texts(0) {
        places.push(view.workspace.place(&path)?);
    }
    let mut map = Map::new();
    for (path, files) in view.required(&places)? {
        let files: rhai::Array = files.into_iter().map(Dynamic::from).collect();
        map.insert(path.as_str().into(), files.into());
    }
    Ok(map.into())
}

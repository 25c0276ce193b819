//! `find_parts(patterns)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "find_parts",
    parameters: &[Parameter::needed("paths", Type::TextOrTexts)],
    returns: Type::Texts,
    about: "Where parts of a story stand: each path or pattern as named, and with or without the main directory \
            (`bmad-method/`) before it. A path that stands nowhere is given as named, so that it is recorded as not \
            present; a pattern that matches nothing gives nothing, and is named in the plan.",
    example: r#"find_parts("logs/dbt").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let mut found: Vec<String> = Vec::new();
    for path in arguments.texts(0) {
        for place in view.parts(&path)? {
            let spelled = place.spelled();
            if !found.contains(&spelled) {
                found.push(spelled);
            }
        }
    }
    let found: rhai::Array = found.into_iter().map(Dynamic::from).collect();
    Ok(found.into())
}

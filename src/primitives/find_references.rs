//! `find_references(path)`: "safe delete".

use rhai::{Dynamic, Map};

use crate::base::error::{Kind, Result};
use crate::base::redact::MASK;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "find_references",
    parameters: &[Parameter::needed("path", Type::Text)],
    returns: Type::Array,
    about: "Source files that name this file or module (`require`, `import`, paths in configuration) and stay: files of \
            the run's stories, and files that are gone, don't count. Gives maps with file, line, text.",
    example: r#"find_references("bmad-method/tools/data-services/hypothesis-generator.js").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.place(&arguments.text(0))?;
    let mut found = rhai::Array::new();
    for reference in view.references_that_stay(&place)? {
        let mut map = Map::new();
        map.insert("file".into(), reference.file.clone().into());
        map.insert("line".into(), i64::try_from(reference.line).unwrap_or(0).into());
        let source = view.workspace.place(&reference.file)?;
        let text = match view.may_read(&source) {
            Ok(()) => reference.text,
            Err(error) if error.kind() == Kind::Denied => MASK.to_owned(),
            Err(error) => return Err(error),
        };
        view.given(&source, &text);
        map.insert("text".into(), text.into());
        found.push(map.into());
    }
    Ok(found.into())
}

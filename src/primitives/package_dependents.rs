//! `package_dependents(manager, name)`.

use rhai::Dynamic;

use crate::base::error::Result;
use crate::host::packages::Manager;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "package_dependents",
    parameters: &[
        Parameter::needed("manager", Type::Text),
        Parameter::needed("name", Type::Text),
    ],
    returns: Type::Texts,
    about: "Installed packages that require this one.",
    example: r#"package_dependents("npm", "yaml").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let manager = Manager::parse(&arguments.text(0))?;
    let name = manager.normalise(&arguments.text(1));
    let dependents: rhai::Array = view
        .installed(manager)?
        .into_values()
        .filter(|package| package.requires.contains(&name))
        .map(|package| Dynamic::from(package.name))
        .collect();
    Ok(dependents.into())
}

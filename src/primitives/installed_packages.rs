//! `installed_packages(manager)`.

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::host::packages::Manager;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "installed_packages",
    parameters: &[Parameter::needed("manager", Type::Text)],
    returns: Type::Map,
    about: "Packages of \"npm\" (the workspace's node_modules) or \"pip\" (the configured environment): name to version. \
            Read from their metadata; neither npm nor Python is started.",
    example: r#"installed_packages("npm").keys().len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let manager = Manager::parse(&arguments.text(0))?;
    let mut map = Map::new();
    for (name, package) in view.installed(manager)? {
        map.insert(name.as_str().into(), package.version.into());
    }
    Ok(map.into())
}

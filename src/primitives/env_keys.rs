//! `env_keys(prefix)`.

use rhai::Dynamic;

use crate::base::error::{Kind, Result};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "env_keys",
    parameters: &[Parameter::needed("prefix", Type::Text)],
    returns: Type::Texts,
    about: "Names of the keys in the environment file that begin with the prefix; never their values.",
    example: r#"env_keys("DUCKDB_").len() > 0"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let place = view.workspace.env_file();
    let text = match view.read_text(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == Kind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let keys = crate::edit::env::keys(&text, &arguments.text(0))
        .map_err(|error| error.context(format!("`{place}`")))?;
    view.given(&place, &keys.join("\n"));
    let keys: rhai::Array = keys.into_iter().map(Dynamic::from).collect();
    Ok(keys.into())
}

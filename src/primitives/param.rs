//! `param(name, default)`.

use rhai::Dynamic;

use crate::base::error::{Error, Result};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "param",
    parameters: &[
        Parameter::needed("name", Type::Text),
        Parameter::needed("default", Type::Any),
    ],
    returns: Type::Any,
    about: "What the person gave as `--param NAME=VALUE`, in the type of the default; else the default.",
    example: r#"param("volumes", false) == false"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let name = arguments.text(0);
    let default = arguments.get(1).cloned().unwrap_or(Dynamic::UNIT);
    let Some(given) = view.param(&name) else {
        return Ok(default);
    };
    let wrong = |kind: &str| {
        Error::usage(format!("--param {name}={given}: {kind} is wanted"))
            .hint("look at the script's `param(...)`")
    };
    if default.is_bool() {
        return match given {
            "true" | "yes" | "on" | "1" => Ok(true.into()),
            "false" | "no" | "off" | "0" => Ok(false.into()),
            _ => Err(wrong("true or false")),
        };
    }
    if default.is_int() {
        return given
            .parse::<i64>()
            .map(Dynamic::from)
            .map_err(|_| wrong("a whole number"));
    }
    if default.is_float() {
        return given
            .parse::<f64>()
            .map(Dynamic::from)
            .map_err(|_| wrong("a number"));
    }
    Ok(given.to_owned().into())
}

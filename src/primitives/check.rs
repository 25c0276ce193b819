//! `check(title, closure)`.

use rhai::{Dynamic, EvalAltResult, Map};

use crate::base::error::{Error, Kind};
use crate::pass::Telling;
use crate::pass::thrown::{kind_of, message, raise};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};

/// The word.
pub static WORD: Primitive = Primitive {
    name: "check",
    parameters: &[
        Parameter::needed("title", Type::Text),
        Parameter::needed("body", Type::Closure),
    ],
    returns: Type::Boolean,
    about: "One check of the validation. The closure gives true or false, a string that says what is wrong (empty: nothing), \
            an array of such strings, or a map #{ passed, detail }. An error inside is a failed check; where something could \
            not be looked at, the check is unknown.",
    example: r#"check("there is a package.json", || path_exists("package.json"))"#,
    action: Action::Tell(tell),
};

fn tell(arguments: &Arguments, telling: &Telling<'_>) -> Result<Dynamic, Box<EvalAltResult>> {
    let closure = arguments
        .closure(1)
        .ok_or_else(|| raise(Error::invalid("`check` takes a closure")))?;
    let title = arguments.text(0);
    let view = &telling.session.view;
    // What was unknown before is not this check's.
    telling.session.warn_of_unknown();
    let (passed, detail) = match telling.call(&closure) {
        Ok(value) => {
            let (passed, detail) = verdict(&title, &value).map_err(raise)?;
            let unknown = view.take_unknown();
            // What is wrong is wrong, whatever else could not be seen.
            if passed && !unknown.is_empty() {
                (None, Some(unknown.join("; ")))
            } else {
                (Some(passed), detail)
            }
        }
        Err(error) if !error.is_catchable() => return Err(error),
        Err(error) if kind_of(&error) == Some(Kind::Unknown) => (None, Some(message(&error))),
        Err(error) => (Some(false), Some(message(&error))),
    };
    telling.session.check(&title, passed, detail);
    Ok((passed == Some(true)).into())
}

fn verdict(title: &str, value: &Dynamic) -> Result<(bool, Option<String>), Error> {
    if let Ok(passed) = value.as_bool() {
        return Ok((passed, None));
    }
    if let Ok(wrong) = value.clone().into_string() {
        return Ok((wrong.is_empty(), (!wrong.is_empty()).then_some(wrong)));
    }
    if let Some(list) = value.read_lock::<rhai::Array>() {
        let wrong: Vec<String> = list.iter().map(ToString::to_string).collect();
        return Ok((wrong.is_empty(), (!wrong.is_empty()).then(|| wrong.join("; "))));
    }
    if let Some(map) = value.read_lock::<Map>()
        && let Some(passed) = map.get("passed").and_then(|passed| passed.as_bool().ok())
    {
        let detail = map
            .get("detail")
            .map(ToString::to_string)
            .filter(|detail| !detail.is_empty());
        return Ok((passed, detail));
    }
    Err(Error::script(format!(
        "check `{title}` gives {}, which is no verdict",
        value.type_name()
    ))
    .hint("give true or false, a text that says what is wrong, or #{ passed, detail }"))
}

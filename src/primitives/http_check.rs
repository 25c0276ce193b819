//! `http_check(url, options)`.

use std::time::Duration;

use rhai::{Dynamic, Map};

use crate::base::error::Result;
use crate::base::known::Known;
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "http_check",
    parameters: &[
        Parameter::needed("url", Type::Text),
        Parameter::options(&[("timeout", Type::Any), ("expect", Type::Integer)]),
    ],
    returns: Type::Map,
    about: "Asks a URL of a host that the policy lists; every redirect is checked again. Gives a map with asked, ok, \
            status (0: no answer), milliseconds, why. A dry run doesn't ask an address that holds what was read from a file.",
    example: r#"http_check("http://127.0.0.1:1/", #{ timeout: 1 }).ok == false"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let timeout = arguments
        .option_duration(1, "timeout", Duration::from_secs(5))?
        .min(view.allowance.left());
    let seen = match view.http_check(&arguments.text(0), timeout)? {
        Known::Yes(seen) => seen,
        Known::Unknown(why) => {
            view.give_unknown(&why);
            return Ok(answer(false, false, 0, 0, why));
        }
    };
    let status = seen.status.map_or(0, i64::from);
    let ok = match arguments.option_integer(1, "expect") {
        Some(expected) => status == expected,
        None => (200..400).contains(&status),
    };
    let milliseconds = i64::try_from(seen.milliseconds).unwrap_or(i64::MAX);
    Ok(answer(
        true,
        ok,
        status,
        milliseconds,
        seen.why.unwrap_or_default(),
    ))
}

fn answer(asked: bool, ok: bool, status: i64, milliseconds: i64, why: String) -> Dynamic {
    let mut map = Map::new();
    map.insert("asked".into(), asked.into());
    map.insert("ok".into(), ok.into());
    map.insert("status".into(), status.into());
    map.insert("milliseconds".into(), milliseconds.into());
    map.insert("why".into(), why.into());
    map.into()
}

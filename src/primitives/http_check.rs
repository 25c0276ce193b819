//! `http_check(url, options)`.

use std::time::Duration;

use rhai::{Dynamic, Map};

use crate::error::Result;
use crate::host::net;
use crate::primitive::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "http_check",
    parameters: &[
        Parameter::needed("url", Type::Text),
        Parameter::options(&[("timeout", Type::Any), ("expect", Type::Integer)]),
    ],
    returns: Type::Map,
    about: "Asks a URL of a host that the policy lists; every redirect is checked again. Gives a map with ok, status \
            (0: no answer), milliseconds, why.",
    example: r#"http_check("http://127.0.0.1:1/", #{ timeout: 1 }).ok == false"#,
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let timeout = arguments
        .option_duration(1, "timeout", Duration::from_secs(5))?
        .min(view.allowance.left());
    let seen = net::http_check(&arguments.text(0), timeout, &|url| view.check_address(url))?;
    let status = seen.status.map_or(0, i64::from);
    let ok = match arguments.option_integer(1, "expect") {
        Some(expected) => status == expected,
        None => (200..400).contains(&status),
    };
    let mut map = Map::new();
    map.insert("ok".into(), ok.into());
    map.insert("status".into(), status.into());
    map.insert(
        "milliseconds".into(),
        i64::try_from(seen.milliseconds).unwrap_or(i64::MAX).into(),
    );
    map.insert("why".into(), seen.why.unwrap_or_default().into());
    Ok(map.into())
}

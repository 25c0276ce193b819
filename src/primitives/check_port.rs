//! `check_port(port)` and `check_port(host, port)`.

use std::time::Duration;

use rhai::Dynamic;

use crate::base::error::{Error, Result};
use crate::primitives::contract::{Action, Arguments, Parameter, Primitive, Type};
use crate::view::View;

/// The word.
pub static WORD: Primitive = Primitive {
    name: "check_port",
    parameters: &[
        Parameter::needed("host_or_port", Type::Any),
        Parameter::optional("port", Type::Integer),
    ],
    returns: Type::Boolean,
    about: "Whether something listens on the TCP port, on this machine or on a listed host.",
    example: "check_port(1) == false",
    action: Action::Look(look),
};

fn look(arguments: &Arguments, view: &View) -> Result<Dynamic> {
    let (host, port) = match arguments.get(1) {
        Some(_) => (arguments.text(0), arguments.integer(1)),
        None => ("127.0.0.1".to_owned(), arguments.integer(0)),
    };
    let port = u16::try_from(port)
        .ok()
        .filter(|port| *port > 0 && !host.is_empty())
        .ok_or_else(|| Error::invalid("`check_port` takes a port from 1 to 65535, or a host and a port"))?;
    Ok(view.listening(&host, port, Duration::from_secs(2))?.into())
}

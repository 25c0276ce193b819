//! Processes between the script's maps and the host's types.

use rhai::{Dynamic, Map};

use crate::base::error::{Error, Result};
use crate::base::{clock, redact};
use crate::host::processes::{Process, Query};
use crate::primitives::contract::Arguments;
use crate::view::View;

/// The query that a script's map tells.
///
/// # Errors
/// [`crate::base::error::Kind::Invalid`] for an empty query or an impossible port.
pub fn process_query(arguments: &Arguments, index: usize, view: &View) -> Result<Query> {
    let path = |key: &str| {
        arguments
            .option_text(index, key)
            .map(|path| view.workspace.place(&path).map(|place| place.absolute))
            .transpose()
    };
    let command = arguments.option_texts(index, "command");
    let command: Vec<String> = match command.as_slice() {
        [line] => line.split_whitespace().map(str::to_owned).collect(),
        _ => command,
    };
    let port = arguments
        .option_integer(index, "port")
        .map(|port| {
            u16::try_from(port)
                .map_err(|_| Error::invalid(format!("`port: {port}` is no port")).hint("from 1 to 65535"))
        })
        .transpose()?;
    Ok(Query {
        pid_file: path("pid_file")?,
        name: arguments.option_text(index, "name"),
        argument: arguments.option_text(index, "argument"),
        command: (!command.is_empty()).then_some(command),
        port,
        cwd: path("cwd")?,
        holds: path("holds")?,
    })
}

/// A query in words, for plan and messages.
#[must_use]
pub fn query_text(query: &Map) -> String {
    let mut parts: Vec<String> = query
        .iter()
        .map(|(key, value)| match value.read_lock::<rhai::Array>() {
            Some(words) => {
                format!(
                    "{key} {}",
                    words
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join(" ")
                )
            }
            None => format!("{key} {value}"),
        })
        .collect();
    parts.sort();
    parts.join(", ")
}

/// A process as a script sees it.
pub fn process_map(process: &Process) -> Dynamic {
    let mut map = Map::new();
    map.insert("pid".into(), i64::from(process.pid).into());
    map.insert("name".into(), process.name.clone().into());
    map.insert("command".into(), redact::redact(&process.describe()).into());
    map.insert("started".into(), clock::timestamp(process.started).into());
    map.insert(
        "ticks".into(),
        i64::try_from(process.started_ticks).unwrap_or(i64::MAX).into(),
    );
    map.insert(
        "memory".into(),
        i64::try_from(process.memory).unwrap_or(i64::MAX).into(),
    );
    map.insert("user".into(), process.user.clone().into());
    map.into()
}

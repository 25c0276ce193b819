//! Containers, images and volumes: what the three words of each sort share.

use rhai::{Dynamic, Map};

use crate::error::Result;
use crate::host::docker::Known;
use crate::operation::containers::{Kind, RemoveFromEngine};
use crate::operation::{Capability, Outcome, Proposal};
use crate::view::View;

/// What the engine holds, as an array of maps.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] for an empty prefix.
pub fn engine_list(view: &View, kind: Kind, prefix: &str) -> Result<Dynamic> {
    let Known::Yes(things) = view.engine_things(kind, prefix)? else {
        return Ok(rhai::Array::new().into());
    };
    let things: rhai::Array = things
        .into_iter()
        .map(|(id, name)| {
            let mut map = Map::new();
            map.insert("id".into(), id.into());
            map.insert("name".into(), name.into());
            Dynamic::from(map)
        })
        .collect();
    Ok(things.into())
}

/// The removal of what the engine holds.
///
/// # Errors
/// As [`engine_list`].
pub fn engine_removal(word: &'static str, view: &View, kind: Kind, prefix: &str) -> Result<Vec<Proposal>> {
    let needs = vec![Capability::Containers];
    let target = format!("{} {prefix}*", kind.name());
    let things = match view.engine_things(kind, prefix)? {
        Known::Yes(things) => things,
        Known::Unknown(why) => {
            let why = format!("what the container engine holds is unknown: {why}");
            return Ok(vec![
                Proposal::settled(word, target, Outcome::Unknown, why, needs).returning(0_i64),
            ]);
        }
    };
    if things.is_empty() {
        let why = format!("no such {}", kind.name());
        return Ok(vec![
            Proposal::settled(word, target, Outcome::NotPresent, why, needs).returning(0_i64),
        ]);
    }
    let names: Vec<&str> = things.iter().map(|(_, name)| name.as_str()).collect();
    let count = i64::try_from(things.len()).unwrap_or(i64::MAX);
    let summary = format!(
        "remove {}: {}",
        crate::cli::terminal::plural(things.len() as u64, kind.name()),
        names.join(", ")
    );
    let Known::Yes(engine) = view.host.engine() else {
        return Err(crate::error::Error::failed(
            "the container engine has gone since it was asked",
        ));
    };
    let operation = RemoveFromEngine { engine, kind, things };
    Ok(vec![
        Proposal::act(word, target, summary, operation).returning(count),
    ])
}

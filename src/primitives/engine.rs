//! Containers, images and volumes: what the three words of each sort share.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map};

use crate::backup::manifest::Origin;
use crate::base::error::Result;
use crate::base::known::Known;
use crate::base::wording;
use crate::host::docker::{Engine, ObjectKind};
use crate::operation::Proposal;
use crate::operation::containers::RemoveFromEngine;
use crate::operation::volumes::{BackUpVolume, SOURCE};
use crate::report::effect::{Capability, Outcome};
use crate::view::View;

/// What the engine holds, as an array of maps.
///
/// # Errors
/// [`crate::base::error::Kind::Invalid`] for an empty prefix.
pub fn engine_list(view: &View, kind: ObjectKind, prefix: &str) -> Result<Dynamic> {
    let things = match view.engine_things(kind, prefix)? {
        Known::Yes(things) => things,
        Known::Unknown(why) => {
            view.give_unknown(&format!("what the container engine holds is unknown: {why}"));
            return Ok(rhai::Array::new().into());
        }
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
pub fn engine_removal(
    word: &'static str,
    view: &View,
    kind: ObjectKind,
    prefix: &str,
) -> Result<Vec<Proposal>> {
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
    let Known::Yes(engine) = view.engine() else {
        return Err(crate::base::error::Error::failed(
            "the container engine has gone since it was asked",
        ));
    };
    let used = match kind {
        ObjectKind::Container => BTreeMap::new(),
        ObjectKind::Image | ObjectKind::Volume => match view.engine_users(&engine, &things)? {
            Known::Yes(used) => used,
            Known::Unknown(why) => {
                let why = format!("whether a container uses it is unknown: {why}");
                return Ok(vec![
                    Proposal::settled(word, target, Outcome::Unknown, why, needs).returning(0_i64),
                ]);
            }
        },
    };
    let (kept, things): (Vec<_>, Vec<_>) = things.into_iter().partition(|(id, _)| used.contains_key(id));
    let mut proposals: Vec<Proposal> = kept
        .into_iter()
        .map(|(id, name)| {
            let users = used.get(&id).map(|users| users.join(", ")).unwrap_or_default();
            let why = format!("container {users} uses it, and stays");
            let target = format!("{} {name}", kind.name());
            Proposal::settled(word, target, Outcome::Kept, why, needs.clone()).returning(0_i64)
        })
        .collect();
    if things.is_empty() {
        return Ok(proposals);
    }
    if kind == ObjectKind::Volume {
        for (volume, _) in &things {
            proposals.push(volume_backup(word, view, &engine, volume)?);
        }
    }
    let names: Vec<&str> = things.iter().map(|(_, name)| name.as_str()).collect();
    let count = i64::try_from(things.len()).unwrap_or(i64::MAX);
    let summary = format!(
        "remove {}: {}",
        wording::plural(things.len() as u64, kind.name()),
        names.join(", ")
    );
    let operation = RemoveFromEngine { engine, kind, things };
    proposals.push(Proposal::act(word, target, summary, operation).returning(count));
    Ok(proposals)
}

/// The backup of a volume's contents, which comes before its removal.
fn volume_backup(word: &'static str, view: &View, engine: &Engine, volume: &str) -> Result<Proposal> {
    let backup = view.backup_directory(volume)?;
    let story = view.story.borrow();
    let operation = BackUpVolume {
        engine: engine.clone(),
        volume: volume.to_owned(),
        origin: Origin {
            name: volume.to_owned(),
            source: format!("{SOURCE}{volume}"),
            run: view.errand.run.clone(),
            story: story.as_ref().map(|story| story.id.clone()).unwrap_or_default(),
            created: view.errand.began.clone(),
        },
        backup,
    };
    let summary = format!("copy the volume {volume} into backup `{volume}` (size known only in the run)");
    Ok(Proposal::act(
        word,
        format!("volume {volume}"),
        summary,
        operation,
    ))
}

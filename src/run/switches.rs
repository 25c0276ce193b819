//! Switching a story's code off: its features in the flags file, and the keys of other files that `rollback.yaml` names.

use rhai::Dynamic;
use serde_json::Value;

use crate::base::error::{Error, Kind, Result};
use crate::edit::yaml;
use crate::pass::Session;
use crate::primitives;
use crate::primitives::contract::Action;
use crate::view::View;
use crate::workspace::story::Story;
use crate::workspace::{CONFIG, Place};

/// Switches off the features that gate the story's code, with what depends on them, and then its keys in other files.
///
/// # Errors
/// What the words `set_flag` and `set_yaml` say.
pub fn switch_off(session: &Session, story: &Story) -> Result<()> {
    let names = story.flags();
    let keys = keys(&session.view, story)?;
    if names.is_empty() && keys.is_empty() {
        return Ok(());
    }
    session.step("Switch the feature off", || {
        features_off(session, &names)?;
        for (place, key) in &keys {
            if !session.view.exists(&place.absolute)? {
                session.warn(&format!(
                    "{}: `{key}` was not switched off",
                    not_there(place, story)
                ));
                continue;
            }
            if value(&session.view, place, key)?.is_none() {
                session.warn(&format!(
                    "`{place}` has no key `{key}`: nothing was switched off there"
                ));
                continue;
            }
            let values = vec![place.display.clone().into(), key.clone().into(), false.into()];
            change(session, "set_yaml", values)?;
        }
        Ok(())
    })
}

/// How the keys of other files stand, for people.
#[derive(Debug, Default)]
pub struct Keys {
    /// Those that are still on.
    pub on: Vec<String>,
    /// Those of which nobody can tell, and why.
    pub unknown: Vec<String>,
    /// Those that their file does not have, which is to be off.
    pub absent: Vec<String>,
}

impl Keys {
    /// Looks at the keys of a story.
    ///
    /// # Errors
    /// A file can't be read, or is no YAML.
    pub fn of(view: &View, story: &Story) -> Result<Self> {
        let mut found = Self::default();
        for (place, key) in keys(view, story)? {
            if !view.exists(&place.absolute)? {
                // What went with the story has no switch left.
                if !is_part(view, story, &place)? {
                    let why = format!("{}: whether `{key}` is on is unknown", not_there(&place, story));
                    found.unknown.push(why);
                }
                continue;
            }
            match value(view, &place, &key)? {
                None => found.absent.push(format!("`{place}` has no key `{key}`")),
                Some(Value::Null | Value::Bool(false)) => {}
                Some(_) => found.on.push(format!("`{key}` of `{place}` is on")),
            }
        }
        Ok(found)
    }
}

fn not_there(place: &Place, story: &Story) -> String {
    format!(
        "`{place}`, which `{CONFIG}` names at `stories.{}.flags`, is not there",
        story.id
    )
}

/// Whether a file is, or lies in, what the story takes away.
fn is_part(view: &View, story: &Story, file: &Place) -> Result<bool> {
    for part in &story.parts {
        let places = view.parts(part)?;
        if places
            .iter()
            .any(|part| file.absolute.starts_with(&part.absolute))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn features_off(session: &Session, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let Some(flags) = session.view.flags()? else {
        session.warn(&format!(
            "there is no flags file `{}`: nothing was switched off",
            session.view.workspace.flags_file()
        ));
        return Ok(());
    };
    for cycle in flags.cycles() {
        session.warn(&format!(
            "features depend on each other in a circle: {}",
            cycle.join(" -> ")
        ));
    }
    for (index, name) in names.iter().enumerate() {
        let known = flags.raw(name).is_some();
        if !known && index > 0 {
            continue;
        }
        if !known {
            session.warn(&format!("the flags file knows no feature `{name}`"));
            continue;
        }
        change(session, "set_flag", vec![name.clone().into(), false.into()])?;
    }
    Ok(())
}

/// Each key with its file, as `rollback.yaml` names them for the story.
fn keys(view: &View, story: &Story) -> Result<Vec<(Place, String)>> {
    let workspace = &view.workspace;
    let Some(additions) = workspace.config().stories.get(&story.id) else {
        return Ok(Vec::new());
    };
    let mut keys = Vec::new();
    for (file, named) in &additions.flags {
        let place = workspace.place(file)?;
        keys.extend(named.iter().map(|key| (place.clone(), key.clone())));
    }
    Ok(keys)
}

fn value(view: &View, place: &Place, key: &str) -> Result<Option<Value>> {
    let text = view.read_text(place)?;
    yaml::get(&text, key).map_err(|error| error.context(place))
}

/// Says a word as a script would. A file that can't be edited there is told, and what it gates stays on: that is no reason
/// to leave everything else where it is.
fn change(session: &Session, name: &str, values: Vec<Dynamic>) -> Result<()> {
    let Some(word) = primitives::find(name) else {
        return Err(Error::bug(format!("there is no word `{name}`")));
    };
    let Action::Change(propose) = word.action else {
        return Err(Error::bug(format!("`{name}` changes nothing")));
    };
    let arguments = word.accept(values)?;
    let call = arguments.call(word.name);
    match session.proposed(&call, |view| propose(&arguments, view)) {
        Ok(proposals) => session.carry_out(&call, proposals).map(|_| ()),
        Err(error) if matches!(error.kind(), Kind::Failed | Kind::Invalid) => {
            session.warn(&format!("{}: it was not switched off there", error.message()));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

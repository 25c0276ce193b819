//! The contract of a word: name, parameters, documentation, and what it does, all in one file a word.
//!
//! From the list in [`crate::primitives::all`] come the Rhai functions, the definitions for editors, the reference
//! page, "did you mean", and the contract tests.

use std::time::Duration;

use rhai::{Dynamic, FnPtr, Map};

use crate::base::error::{Error, Result};
use crate::base::wording;
use crate::operation::Proposal;
use crate::pass::{Call, Telling};
use crate::view::View;

/// What a word is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Tells about the world, through the overlay.
    Look,
    /// Asks for a change, through the gate.
    Change,
    /// Speaks to the run: steps, checks, notes, questions.
    Tell,
}

/// The type of a parameter or result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// An array of strings.
    Texts,
    /// A string or an array of strings.
    TextOrTexts,
    /// An object map.
    Map,
    /// An array.
    Array,
    /// A closure without parameters.
    Closure,
    /// Anything.
    Any,
    /// Nothing.
    Nothing,
}

impl Type {
    /// The name in messages and on the reference page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Boolean => "bool",
            Self::Texts => "array of strings",
            Self::TextOrTexts => "string or array of strings",
            Self::Map => "object map",
            Self::Array => "array",
            Self::Closure => "closure",
            Self::Any => "any value",
            Self::Nothing => "nothing",
        }
    }

    /// The name in `.d.rhai` definitions.
    #[must_use]
    pub const fn rhai(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "int",
            Self::Boolean => "bool",
            Self::Texts | Self::Array => "array",
            Self::Map => "map",
            Self::Closure => "Fn",
            Self::TextOrTexts | Self::Any => "?",
            Self::Nothing => "()",
        }
    }

    fn takes(self, value: &Dynamic) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => value.is_int(),
            Self::Boolean => value.is_bool(),
            Self::Array => value.is_array(),
            Self::Texts => texts(value).is_some(),
            Self::TextOrTexts => value.is_string() || texts(value).is_some(),
            Self::Map => value.is_map(),
            Self::Closure => value.is_fnptr(),
            Self::Any | Self::Nothing => true,
        }
    }
}

/// The type of a value, in the same words as [`Type::name`].
pub(crate) fn type_name(value: &Dynamic) -> &str {
    match value.type_name() {
        "i64" => "integer",
        "f64" => "number",
        "map" => "object map",
        "Fn" => "closure",
        "()" => "nothing",
        other => other,
    }
}

fn texts(value: &Dynamic) -> Option<Vec<String>> {
    let array = value.read_lock::<rhai::Array>()?;
    array.iter().map(|item| item.clone().into_string().ok()).collect()
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// It may be left out (only the last ones may).
    pub optional: bool,
    /// For an options map: the keys that are known, with their types.
    pub keys: &'static [(&'static str, Type)],
}

impl Parameter {
    /// A parameter that must be given.
    #[must_use]
    pub const fn needed(name: &'static str, kind: Type) -> Self {
        Self {
            name,
            kind,
            optional: false,
            keys: &[],
        }
    }

    /// A parameter that may be left out.
    #[must_use]
    pub const fn optional(name: &'static str, kind: Type) -> Self {
        Self {
            name,
            kind,
            optional: true,
            keys: &[],
        }
    }

    /// A map of options that may be left out, with its keys.
    #[must_use]
    pub const fn options(keys: &'static [(&'static str, Type)]) -> Self {
        Self {
            name: "options",
            kind: Type::Map,
            optional: true,
            keys,
        }
    }

    /// A map that must be given, with its keys.
    #[must_use]
    pub const fn query(name: &'static str, keys: &'static [(&'static str, Type)]) -> Self {
        Self {
            name,
            kind: Type::Map,
            optional: false,
            keys,
        }
    }
}

/// What a word does.
#[derive(Clone, Copy)]
pub enum Action {
    /// Looks, and answers.
    Look(fn(&Arguments, &View) -> Result<Dynamic>),
    /// Looks, and proposes; several proposals pass the gate one after the other.
    Change(fn(&Arguments, &View) -> Result<Vec<Proposal>>),
    /// Speaks to the run.
    Tell(fn(&Arguments, &Telling<'_>) -> Result<Dynamic, Box<rhai::EvalAltResult>>),
}

/// A word of the script language.
pub struct Primitive {
    /// The word.
    pub name: &'static str,
    /// Its parameters, in order.
    pub parameters: &'static [Parameter],
    /// What it gives.
    pub returns: Type,
    /// What it does, in one to three lines.
    pub about: &'static str,
    /// A line that runs in the example workspace; it is a test too.
    pub example: &'static str,
    /// What it does.
    pub action: Action,
}

impl Primitive {
    /// What it is for.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self.action {
            Action::Look(_) => Family::Look,
            Action::Change(_) => Family::Change,
            Action::Tell(_) => Family::Tell,
        }
    }

    /// How many arguments it takes: from, to.
    #[must_use]
    pub fn counts(&self) -> std::ops::RangeInclusive<usize> {
        let needed = self.parameters.iter().filter(|parameter| !parameter.optional);
        needed.count()..=self.parameters.len()
    }

    /// `remove_path(path)`; what may be left out stands in brackets.
    #[must_use]
    pub fn signature(&self) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|parameter| {
                if parameter.optional {
                    format!("[{}]", parameter.name)
                } else {
                    parameter.name.to_owned()
                }
            })
            .collect();
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// Checks values against the parameters.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Invalid`] naming the word, the parameter, and both types.
    pub fn accept(&'static self, values: Vec<Dynamic>) -> Result<Arguments> {
        for (index, value) in values.iter().enumerate() {
            self.takes(index, value)?;
        }
        Ok(Arguments { word: self, values })
    }

    /// Checks one value against its parameter.
    ///
    /// # Errors
    /// As [`Primitive::accept`].
    pub fn takes(&self, index: usize, value: &Dynamic) -> Result<()> {
        let Some(parameter) = self.parameters.get(index) else {
            return Ok(());
        };
        if !parameter.kind.takes(value) {
            return Err(Error::invalid(format!(
                "`{}` takes {} as argument {} (`{}`), not {}",
                self.name,
                parameter.kind.name(),
                index + 1,
                parameter.name,
                type_name(value)
            ))
            .hint(format!("it is said as `{}`", self.signature())));
        }
        match value.read_lock::<Map>() {
            Some(map) if !parameter.keys.is_empty() => self.accept_keys(&map, parameter),
            _ => Ok(()),
        }
    }

    /// The type of an option.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Invalid`] with the nearest option.
    pub fn option(&self, parameter: &Parameter, key: &str) -> Result<Type> {
        if let Some((_, kind)) = parameter.keys.iter().find(|(known, _)| *known == key) {
            return Ok(*kind);
        }
        let known = parameter.keys.iter().map(|(known, _)| *known);
        let near = wording::nearest(key, known.clone());
        let hint = near.map_or_else(
            || format!("known: {}", known.collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Err(Error::invalid(format!("`{}` knows no option `{key}`", self.name)).hint(hint))
    }

    fn accept_keys(&self, map: &Map, parameter: &Parameter) -> Result<()> {
        for (key, value) in map {
            let kind = self.option(parameter, key)?;
            if !kind.takes(value) {
                return Err(Error::invalid(format!(
                    "option `{key}` of `{}` takes {}, not {}",
                    self.name,
                    kind.name(),
                    type_name(value)
                )));
            }
        }
        Ok(())
    }
}

/// The values of one call, checked against the parameters.
pub struct Arguments {
    word: &'static Primitive,
    values: Vec<Dynamic>,
}

impl Arguments {
    /// The word as it was said with these.
    #[must_use]
    pub fn call(&self, word: &'static str) -> Call<'static> {
        Call {
            word,
            target: self.texts(0).join(", "),
            arguments: self.canonical(),
        }
    }

    /// The word that was said.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.word.name
    }

    /// The values as text, the same for the same values: what a script asked for. A process is who it is, whatever
    /// memory it uses, and by whatever clock its start is told.
    #[must_use]
    pub fn canonical(&self) -> String {
        let canonical = |value: &Dynamic| {
            let value = serde_json::to_value(value).unwrap_or_else(|_| value.to_string().into());
            match (value.get("pid"), value.get("ticks")) {
                (Some(pid), Some(ticks)) => serde_json::json!({ "pid": pid, "ticks": ticks }),
                _ => value,
            }
        };
        let values: Vec<serde_json::Value> = self.values.iter().map(canonical).collect();
        serde_json::Value::from(values).to_string()
    }

    /// A value, if it was given.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Dynamic> {
        self.values.get(index)
    }

    /// A string; empty if it was left out.
    #[must_use]
    pub fn text(&self, index: usize) -> String {
        self.get(index)
            .and_then(|value| value.clone().into_string().ok())
            .unwrap_or_default()
    }

    /// A whole number; 0 if it was left out.
    #[must_use]
    pub fn integer(&self, index: usize) -> i64 {
        self.get(index)
            .and_then(|value| value.as_int().ok())
            .unwrap_or_default()
    }

    /// A truth; false if it was left out.
    #[must_use]
    pub fn boolean(&self, index: usize) -> bool {
        self.get(index)
            .and_then(|value| value.as_bool().ok())
            .unwrap_or_default()
    }

    /// One string or several.
    #[must_use]
    pub fn texts(&self, index: usize) -> Vec<String> {
        self.get(index)
            .map(|value| texts(value).unwrap_or_else(|| vec![self.text(index)]))
            .unwrap_or_default()
    }

    /// A closure.
    #[must_use]
    pub fn closure(&self, index: usize) -> Option<FnPtr> {
        self.get(index)
            .and_then(|value| value.clone().try_cast::<FnPtr>())
    }

    /// A map; empty if it was left out.
    #[must_use]
    pub fn map(&self, index: usize) -> Map {
        self.get(index)
            .and_then(|value| value.clone().try_cast::<Map>())
            .unwrap_or_default()
    }

    /// A string of an options map.
    #[must_use]
    pub fn option_text(&self, index: usize, key: &str) -> Option<String> {
        self.map(index)
            .get(key)
            .and_then(|value| value.clone().into_string().ok())
    }

    /// A truth of an options map; false if it was left out.
    #[must_use]
    pub fn option_flag(&self, index: usize, key: &str) -> bool {
        self.map(index)
            .get(key)
            .and_then(|value| value.as_bool().ok())
            .unwrap_or_default()
    }

    /// A whole number of an options map.
    #[must_use]
    pub fn option_integer(&self, index: usize, key: &str) -> Option<i64> {
        self.map(index).get(key).and_then(|value| value.as_int().ok())
    }

    /// One string or several of an options map.
    #[must_use]
    pub fn option_texts(&self, index: usize, key: &str) -> Vec<String> {
        self.map(index)
            .get(key)
            .map(|value| {
                texts(value)
                    .or_else(|| Some(vec![value.clone().into_string().ok()?]))
                    .unwrap_or_default()
            })
            .unwrap_or_default()
    }

    /// Seconds (a whole number) or text such as `5s` of an options map.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Invalid`] where it is no duration.
    pub fn option_duration(&self, index: usize, key: &str, default: Duration) -> Result<Duration> {
        let Some(value) = self.map(index).get(key).cloned() else {
            return Ok(default);
        };
        if let Ok(seconds) = value.as_int() {
            return u64::try_from(seconds)
                .map(Duration::from_secs)
                .map_err(|_| Error::invalid(format!("option `{key}` of `{}` is negative", self.word())));
        }
        let text = value.into_string().unwrap_or_default();
        humantime::parse_duration(&text).map_err(|error| {
            Error::invalid(format!(
                "option `{key}` of `{}`: `{text}` is not a duration: {error}",
                self.word()
            ))
            .hint("write seconds, or text such as \"5s\"")
        })
    }
}

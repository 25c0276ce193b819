//! The flags file as read from its text.

use serde_yaml::{Mapping, Value};

use crate::base::error::{Error, Result};
use crate::edit::LARGEST;
use crate::edit::key_path::KeyPath;
use crate::edit::yaml::{self, key_name};

/// One feature as the file has it.
#[derive(Debug, Clone)]
pub(super) struct Feature {
    pub(super) name: String,
    /// Whether JavaScript takes `enabled` for true.
    pub(super) on: bool,
    /// `enabled`, where it is a plain true or false.
    pub(super) plain: Option<bool>,
    pub(super) suspicious: bool,
    pub(super) description: Option<String>,
    pub(super) dependencies: Vec<String>,
}

/// Triggers by name, with their thresholds.
pub(super) type Thresholds = Vec<(String, f64)>;

/// Reads a whole flags file.
pub(super) fn read(text: &str) -> Result<(Vec<Feature>, Thresholds)> {
    let root = root(text)?;
    let Value::Mapping(root) = root else {
        return Err(no_mapping(text, "the flags file", None));
    };
    let features = match root.get("features") {
        Some(Value::Mapping(features)) => features,
        Some(Value::Null) => &Mapping::new(),
        Some(_) => return Err(no_mapping(text, "`features`", KeyPath::of(["features"]).as_ref())),
        None => {
            return Err(Error::configuration("the flags file has no `features`")
                .hint("restore the file, or write `features: {}`"));
        }
    };
    let mut list: Vec<Feature> = Vec::with_capacity(features.len());
    for (key, value) in features {
        // Nobody can name what has no scalar for a key.
        if matches!(key, Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_)) {
            continue;
        }
        let name = key_name(key);
        let nothing = Mapping::new();
        // JavaScript finds no `enabled` in what is no mapping, and takes that for off.
        let fields = match untagged(value) {
            Value::Mapping(fields) => fields,
            _ => &nothing,
        };
        let enabled = fields.get("enabled").map(untagged);
        list.push(Feature {
            on: enabled.is_some_and(truthy),
            plain: enabled.and_then(Value::as_bool),
            suspicious: !matches!(enabled, None | Some(Value::Bool(_) | Value::Null)),
            description: fields
                .get("description")
                .and_then(Value::as_str)
                .map(str::to_owned),
            dependencies: dependencies(text, &name, fields)?,
            name,
        });
    }
    let mut names = std::collections::HashSet::new();
    if let Some(twice) = list.iter().find(|feature| !names.insert(feature.name.as_str())) {
        return Err(Error::configuration(format!(
            "the feature `{}` stands twice in the flags file",
            twice.name
        ))
        .hint("remove one of them"));
    }
    Ok((list, thresholds(&root)))
}

/// Whether there is a `metadata.last_modified` to keep current.
pub(super) fn has_last_modified(text: &str) -> bool {
    matches!(yaml::get(text, "metadata.last_modified"), Ok(Some(_)))
}

fn root(text: &str) -> Result<Value> {
    if text.len() > LARGEST {
        return Err(
            Error::configuration(format!("the flags file is too large: {} bytes", text.len()))
                .hint(format!("at most {LARGEST} bytes are read")),
        );
    }
    let unreadable = |why: String| {
        Error::configuration(format!("the flags file is not valid YAML: {why}"))
            .hint("correct it there, or restore it; nothing was changed")
    };
    let mut root = yaml::read(text).map_err(unreadable)?;
    root.apply_merge()
        .map_err(|error| unreadable(error.to_string()))?;
    Ok(root)
}

fn no_mapping(text: &str, what: &str, path: Option<&KeyPath>) -> Error {
    let line = yaml::line_of(text, path);
    Error::configuration(format!("{what} is not a mapping, at line {line}"))
        .hint("it reads `features:` and below it a name for each feature")
}

fn dependencies(text: &str, name: &str, fields: &Mapping) -> Result<Vec<String>> {
    match fields.get("dependencies").map(untagged) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Sequence(items)) => Ok(items.iter().map(key_name).collect()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(_) => {
            let line = yaml::line_of(text, KeyPath::of(["features", name, "dependencies"]).as_ref());
            Err(Error::configuration(format!(
                "`dependencies` of the feature `{name}` is not a list, at line {line}"
            ))
            .hint("write `dependencies: [name, ...]`"))
        }
    }
}

fn thresholds(root: &Mapping) -> Thresholds {
    let Some(Value::Sequence(triggers)) = root.get("rollback_triggers") else {
        return Vec::new();
    };
    triggers
        .iter()
        .filter_map(Value::as_mapping)
        .flatten()
        .map(|(name, value)| (key_name(name), value.as_f64().unwrap_or(f64::NAN)))
        .collect()
}

fn untagged(value: &Value) -> &Value {
    match value {
        Value::Tagged(tagged) => untagged(&tagged.value),
        other => other,
    }
}

/// Truth as in JavaScript.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|number| number != 0.0 && !number.is_nan()),
        Value::String(text) => !text.is_empty(),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => true,
    }
}

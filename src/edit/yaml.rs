//! Edits of YAML texts.
//!
//! `yaml-edit` says where things stand; we replace those bytes and no others, read the result with `serde_yaml`, and
//! compare it with the old value after the asked-for change.

mod change;
mod render;
mod tree;
mod value;

use serde_yaml::{Mapping, Value};

use super::key_path::{self, KeyPath};
use super::{Edited, Splice, apply, cannot_change_only, check_size, split_mark};
use crate::error::{Error, Result};
use change::Page;
use tree::Tree;

pub(crate) use change::Place;
pub(crate) use value::{key_name, read};

/// The whole document as plain data. Keys of mappings become text.
///
/// # Errors
/// `invalid` for what is no YAML, or more than this program reads.
pub fn parse(text: &str) -> Result<serde_json::Value> {
    let (_, value) = open(text)?;
    Ok(value::to_json(&value))
}

/// The value under a key path; `None` where there is none.
///
/// # Errors
/// As [`parse`], and where the key path can't be read.
pub fn get(text: &str, key_path: &str) -> Result<Option<serde_json::Value>> {
    let path = KeyPath::parse(key_path)?;
    let (_, old) = open(text)?;
    let (found, value) = value::follow(&old, &path);
    Ok((found.len() == path.keys().len()).then(|| value::to_json(value)))
}

/// Sets the value at a key path, in the quotes that stand there. Missing keys are added after their siblings; lists
/// and mappings are written on one line.
pub fn set(text: &str, key_path: &str, value: &serde_json::Value) -> Result<Edited> {
    let path = KeyPath::parse(key_path)?;
    set_all(text, &[(path, value::from_json(value))], Place::Last)
}

/// Removes the entry at a key path with the lines that it alone takes. A mapping that loses its last entry becomes
/// `{}`; comments around the entry stay.
pub fn remove(text: &str, key_path: &str) -> Result<Edited> {
    let path = KeyPath::parse(key_path)?;
    let (body, old) = open(text)?;
    let (found, _) = value::follow(&old, &path);
    let (Some((last, holder)), true) = (found.split_last(), found.len() == path.keys().len()) else {
        return Ok(Edited::Unchanged);
    };
    let mut expected = old.clone();
    if let Some(Value::Mapping(mapping)) = value::at_mut(&mut expected, holder) {
        let entries = std::mem::take(mapping).into_iter().enumerate();
        *mapping = entries
            .filter(|(index, _)| index != last)
            .map(|(_, entry)| entry)
            .collect();
    }
    let group = Group {
        holder: holder.to_vec(),
        entries: vec![*last],
    };
    remove_groups(text, body, &old, &expected, &[group], key_path)
}

/// Removes the entries of mappings whose key or scalar value has the word as a whole token (between characters that
/// are no letters and no digits, case-sensitive), and such items of lists. Tells what was removed, as key paths.
pub fn remove_entries_naming(text: &str, word: &str) -> Result<(Edited, Vec<String>)> {
    if word.is_empty() || !word.starts_with(char::is_alphanumeric) || !word.ends_with(char::is_alphanumeric) {
        return Err(Error::invalid(format!("`{word}` is not a word"))
            .hint("a word starts and ends with a letter or a digit"));
    }
    let (body, old) = open(text)?;
    let mut search = Search {
        word,
        at: Vec::new(),
        names: Vec::new(),
        groups: Vec::new(),
        removed: Vec::new(),
    };
    let expected = search.without(&old);
    if search.groups.is_empty() {
        return Ok((Edited::Unchanged, Vec::new()));
    }
    let what = format!("the entries that name {word}");
    let edited = remove_groups(text, body, &old, &expected, &search.groups, &what)?;
    Ok((edited, search.removed))
}

/// Sets several values at once; each path is set once, and none lies below another.
pub(crate) fn set_all(text: &str, changes: &[(KeyPath, Value)], place: Place) -> Result<Edited> {
    let (body, old) = open(text)?;
    let mut expected = old.clone();
    let mut needed = Vec::new();
    for (path, new) in changes {
        if put(&mut expected, path, new)? {
            needed.push((path, new));
        }
    }
    let Some((first, _)) = needed.first() else {
        return Ok(Edited::Unchanged);
    };
    let shown = first.to_string();
    let tree = Tree::read(body, &old).ok_or_else(|| cannot_change_only(&shown))?;
    let page = Page::new(body, &tree);
    for place in [place, place.other()] {
        let mut splices = Vec::new();
        for (path, new) in &needed {
            splices.extend(
                page.set(&old, path, new, place)?
                    .ok_or_else(|| cannot_change_only(&path.to_string()))?,
            );
        }
        if let Some(edited) = checked(text, body, splices, &expected) {
            return Ok(edited);
        }
    }
    Err(cannot_change_only(&shown))
}

/// The line (from 1) on which the entry at a path starts, or the first line that says something.
pub(crate) fn line_of(text: &str, path: Option<&KeyPath>) -> usize {
    let (_, body) = split_mark(text);
    let found = path.and_then(|path| {
        let old = read(body).ok()?;
        let tree = Tree::read(body, &old)?;
        let (indices, _) = value::follow(&old, path);
        Page::new(body, &tree).start_of(&indices)
    });
    let says = |line: &str| {
        !line.trim_start().is_empty() && !line.trim_start().starts_with(['#', '%']) && line != "---"
    };
    let offset = found.unwrap_or_else(|| {
        super::line_ranges(body)
            .find(|range| body.get(range.clone()).is_some_and(|line| says(line.trim_end())))
            .map_or(0, |range| range.start)
    });
    body.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Entries of one mapping or list.
struct Group {
    /// The indices that lead to it.
    holder: Vec<usize>,
    /// In order.
    entries: Vec<usize>,
}

fn open(text: &str) -> Result<(&str, Value)> {
    check_size(text)?;
    let (_, body) = split_mark(text);
    let value = read(body).map_err(|why| {
        Error::failed(format!("this file is not YAML that can be edited: {why}")).hint("correct it by hand")
    })?;
    Ok((body, value))
}

/// The edited text, if it says what was expected.
fn checked(text: &str, body: &str, splices: Vec<Splice>, expected: &Value) -> Option<Edited> {
    let new = apply(body, splices)?;
    let (mark, _) = split_mark(text);
    (read(&new).as_ref() == Ok(expected)).then(|| Edited::Changed(format!("{mark}{new}")))
}

fn remove_groups(
    text: &str,
    body: &str,
    old: &Value,
    expected: &Value,
    groups: &[Group],
    what: &str,
) -> Result<Edited> {
    let tree = Tree::read(body, old).ok_or_else(|| cannot_change_only(what))?;
    let page = Page::new(body, &tree);
    let mut splices = Vec::new();
    for group in groups {
        let removal = page.remove(&group.holder, &group.entries)?;
        splices.extend(removal.ok_or_else(|| cannot_change_only(what))?);
    }
    checked(text, body, splices, expected).ok_or_else(|| cannot_change_only(what))
}

/// Puts a value into a tree of values; whether that changed anything.
fn put(root: &mut Value, path: &KeyPath, new: &Value) -> Result<bool> {
    let mut value = root;
    let mut added = false;
    for (depth, key) in path.keys().iter().enumerate() {
        if value.is_null() {
            *value = Value::Mapping(Mapping::new());
        }
        let Value::Mapping(mapping) = value else {
            let what = if depth == 0 {
                "the whole file".to_owned()
            } else {
                format!("`{}`", path.shown(depth))
            };
            return Err(
                Error::invalid(format!("cannot set `{path}`: {what} is not a mapping"))
                    .hint("name a key of a mapping"),
            );
        };
        let index = value::position(mapping, key).unwrap_or_else(|| {
            added = true;
            mapping.insert(Value::String(key.clone()), Value::Null);
            mapping.len() - 1
        });
        value = mapping
            .values_mut()
            .nth(index)
            .ok_or_else(|| Error::bug("an entry was lost"))?;
    }
    if value == new && !added {
        return Ok(false);
    }
    *value = new.clone();
    Ok(true)
}

/// Looks for entries that name a word.
struct Search<'a> {
    word: &'a str,
    /// The indices that lead to the value at hand.
    at: Vec<usize>,
    /// The same as names.
    names: Vec<String>,
    groups: Vec<Group>,
    removed: Vec<String>,
}

impl Search<'_> {
    /// The value without the entries that name the word.
    fn without(&mut self, value: &Value) -> Value {
        let mut found = Vec::new();
        let kept = match value {
            Value::Mapping(mapping) => {
                let mut kept = Mapping::new();
                for (index, (key, item)) in mapping.iter().enumerate() {
                    self.names
                        .push(key_path::show(std::iter::once(key_name(key).as_str())));
                    if self.names_word(key) || self.names_word(item) {
                        found.push(index);
                        self.removed.push(self.names.join("."));
                    } else {
                        self.at.push(index);
                        let item = self.without(item);
                        kept.insert(key.clone(), item);
                        self.at.pop();
                    }
                    self.names.pop();
                }
                Value::Mapping(kept)
            }
            Value::Sequence(items) => {
                let mut kept = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    self.names.push(index.to_string());
                    if self.names_word(item) {
                        found.push(index);
                        self.removed.push(self.names.join("."));
                    } else {
                        self.at.push(index);
                        kept.push(self.without(item));
                        self.at.pop();
                    }
                    self.names.pop();
                }
                Value::Sequence(kept)
            }
            // What a tag does to its value is not ours to know.
            other => other.clone(),
        };
        if !found.is_empty() {
            self.groups.push(Group {
                holder: self.at.clone(),
                entries: found,
            });
        }
        kept
    }

    fn names_word(&self, value: &Value) -> bool {
        matches!(value, Value::String(_) | Value::Number(_)) && has_token(&key_name(value), self.word)
    }
}

/// Whether the text has the word between characters that are no letters and no digits.
fn has_token(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let after = text
            .get(start + word.len()..)
            .and_then(|after| after.chars().next());
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests;

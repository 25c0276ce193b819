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
use crate::base::error::{Error, Result};
use change::Page;
use tree::Tree;

pub(crate) use change::Place;
pub(crate) use value::{key_name, read};

/// The whole document as plain data. Keys of mappings become text.
///
/// # Errors
/// `invalid` for what is no YAML, or more than this program reads, and for a whole number that no script can hold, with
/// its key path.
pub fn parse(text: &str) -> Result<serde_json::Value> {
    let (_, value) = open(text)?;
    if let Some(path) = value::first_unfit(&value) {
        return Err(Error::invalid(format!(
            "the number at `{path}` has more digits than a script can hold"
        ))
        .hint("set_yaml and remove_yaml change other keys without reading it; read_text gives the text"));
    }
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

/// What the removal of all entries that name a word came to. Key paths are in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The text.
    pub edited: Edited,
    /// The entries that went.
    pub removed: Vec<String>,
    /// What has the word and stays: prose, and parts of a list's entry that is about something else.
    pub mentioned: Vec<String>,
}

/// Removes the entries of mappings whose key or value names a word (as a whole token, between characters that are no
/// letters and no digits, case-sensitive; a value with blanks in it is prose, and names nothing). An entry of a list goes
/// whole, where it is such a value, or where its `name`, its `id` or its first entry names the word; or not at all.
///
/// # Errors
/// `Invalid` for what is no word; as [`remove`].
pub fn remove_entries_naming(text: &str, word: &str) -> Result<Named> {
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
        mentioned: Vec::new(),
    };
    let expected = search.without(&old, false);
    let edited = if search.groups.is_empty() {
        Edited::Unchanged
    } else {
        let what = format!("the entries that name {word}");
        remove_groups(text, body, &old, &expected, &search.groups, &what)?
    };
    Ok(Named {
        edited,
        removed: search.removed,
        mentioned: search.mentioned,
    })
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
    let display = first.to_string();
    let tree = Tree::read(body, &old).ok_or_else(|| cannot_change_only(&display))?;
    let page = Page::new(body, &tree);
    for place in [place, place.other()] {
        let mut splices = Vec::new();
        for (path, new) in &needed {
            splices.extend(page.set(&old, path, new, place)?.ok_or_else(|| {
                let (indices, _) = value::follow(&old, path);
                why_not(&page, body, &indices, &path.to_string())
            })?);
        }
        if let Some(edited) = checked(text, body, splices, &expected) {
            return Ok(edited);
        }
    }
    let anchored = needed.iter().find_map(|(path, _)| {
        let (indices, _) = value::follow(&old, path);
        page.is_anchored(&indices).then(|| (indices, path.to_string()))
    });
    let (indices, display) = anchored.unwrap_or((Vec::new(), display));
    Err(why_not(&page, body, &indices, &display))
}

/// Why a page can't be changed there alone.
fn why_not(page: &Page<'_>, body: &str, indices: &[usize], what: &str) -> Error {
    if !page.is_anchored(indices) {
        return cannot_change_only(what);
    }
    // The deepest entry that stands on the page itself.
    let offset = (0..=indices.len())
        .rev()
        .find_map(|depth| page.start_of(indices.get(..depth)?))
        .unwrap_or_default();
    Error::failed(format!(
        "cannot change only `{what}` in this file: an anchor or an alias stands there, on line {}",
        line_at(body, offset)
    ))
    .hint("the file was left alone; edit it by hand")
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
    line_at(body, offset)
}

fn line_at(body: &str, offset: usize) -> usize {
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
        let removal = page.remove(&group.holder, &group.entries);
        splices.extend(removal.ok_or_else(|| why_not(&page, body, &group.holder, what))?);
    }
    checked(text, body, splices, expected).ok_or_else(|| {
        let anchored = groups.iter().find_map(|group| {
            let entry = |index: &usize| [group.holder.as_slice(), &[*index]].concat();
            group
                .entries
                .iter()
                .map(entry)
                .find(|indices| page.is_anchored(indices))
        });
        why_not(&page, body, &anchored.unwrap_or_default(), what)
    })
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
                format!("`{}`", path.display(depth))
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
    mentioned: Vec<String>,
}

impl Search<'_> {
    /// The value without the entries that name the word. Of an entry of a list that stays, only entries of lists go.
    fn without(&mut self, value: &Value, of_item: bool) -> Value {
        let mut found = Vec::new();
        let kept = match value {
            Value::Mapping(mapping) => {
                let mut kept = Mapping::new();
                for (index, (key, item)) in mapping.iter().enumerate() {
                    let name = key_name(key);
                    let named = self.names_word(item) || self.is_named(key);
                    self.names.push(key_path::show(std::iter::once(name.as_str())));
                    if named && !of_item {
                        found.push(index);
                        self.removed.push(self.names.join("."));
                    } else {
                        let item = self.kept(index, item, named, of_item);
                        kept.insert(key.clone(), item);
                    }
                    self.names.pop();
                }
                Value::Mapping(kept)
            }
            Value::Sequence(items) => {
                let mut kept = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    self.names.push(index.to_string());
                    if self.names_word(item) || self.is_about(item) {
                        found.push(index);
                        self.removed.push(self.names.join("."));
                    } else {
                        kept.push(self.kept(index, item, false, true));
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

    /// What stays of an entry that stays.
    fn kept(&mut self, index: usize, item: &Value, named: bool, of_item: bool) -> Value {
        if named || matches!(item, Value::String(text) if has_token(text, self.word)) {
            self.mentioned.push(self.names.join("."));
        }
        self.at.push(index);
        let item = self.without(item, of_item);
        self.at.pop();
        item
    }

    fn is_named(&self, key: &Value) -> bool {
        matches!(key, Value::String(_) | Value::Number(_)) && has_token(&key_name(key), self.word)
    }

    fn names_word(&self, value: &Value) -> bool {
        self.is_named(value) && !key_name(value).trim().contains(char::is_whitespace)
    }

    /// Whether an entry of a list is about the word.
    fn is_about(&self, item: &Value) -> bool {
        let Value::Mapping(mapping) = item else {
            return false;
        };
        let is_its_name = |key: &Value| matches!(key, Value::String(key) if key == "name" || key == "id");
        mapping
            .iter()
            .enumerate()
            .any(|(index, (key, value))| match index {
                0 => self.is_named(key) || self.names_word(value),
                _ => is_its_name(key) && self.names_word(value),
            })
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

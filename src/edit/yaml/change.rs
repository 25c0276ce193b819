//! Which bytes of a YAML page to replace for one change.
//!
//! `None` means that the page is written in a way that we don't follow; what comes out is checked by the caller.

use std::ops::Range;

use serde_yaml::{Mapping, Value};

use super::render::{self, Style};
use super::tree::{Collection, Entry, Node, Shape, Tree};
use super::value;
use crate::base::error::{Error, Result};
use crate::edit::Splice;
use crate::edit::key_path::KeyPath;

/// Where a missing key goes among its siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before them.
    First,
    /// After them.
    Last,
}

impl Place {
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Last,
            Self::Last => Self::First,
        }
    }
}

/// A text and where things stand in it.
pub(super) struct Page<'a> {
    text: &'a str,
    tree: &'a Tree,
    newline: &'static str,
}

/// A value and the entry that holds it (none for the root).
#[derive(Clone, Copy)]
struct Spot<'a> {
    entry: Option<&'a Entry>,
    /// `None`: the whole page is empty.
    node: Option<&'a Node>,
    /// Whether the value stands within `{}` or `[]`.
    in_flow: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(text: &'a str, tree: &'a Tree) -> Self {
        let crlf = text
            .find('\n')
            .is_some_and(|end| text.get(..end).is_some_and(|line| line.ends_with('\r')));
        Self {
            text,
            tree,
            newline: if crlf { "\r\n" } else { "\n" },
        }
    }

    /// Where the entry at the end of these indices starts.
    pub(super) fn start_of(&self, indices: &[usize]) -> Option<usize> {
        Some(self.walk(indices)?.entry?.range.start)
    }

    /// Sets one value.
    pub(super) fn set(
        &self,
        old: &Value,
        path: &KeyPath,
        new: &Value,
        place: Place,
    ) -> Result<Option<Vec<Splice>>> {
        let (indices, value) = value::follow(old, path);
        let Some(spot) = self.walk(&indices) else {
            return Ok(None);
        };
        let Some((key, below)) = path.keys().get(indices.len()..).and_then(<[String]>::split_first) else {
            self.refuse_tagged(&spot, path)?;
            return Ok(self.replace(&spot, new));
        };
        match (value, spot.node) {
            (
                Value::Mapping(mapping),
                Some(Node {
                    shape: Shape::Collection(collection),
                    range,
                }),
            ) => {
                if collection.entries.len() != mapping.len() {
                    return Ok(None);
                }
                Ok(self.insert(collection, range, key, below, new, place))
            }
            (Value::Null, None) => Ok(Some(self.append(key, below, new))),
            (Value::Null, Some(_)) => {
                self.refuse_tagged(&spot, path)?;
                Ok(self.replace(
                    &spot,
                    &nested(path.keys().get(indices.len()..).unwrap_or_default(), new),
                ))
            }
            _ => Ok(None),
        }
    }

    /// Removes entries of the mapping or list at the end of the indices; nothing where an alias leads there, because
    /// they go where the anchor stands.
    pub(super) fn remove(&self, holder: &[usize], removed: &[usize]) -> Option<Vec<Splice>> {
        if self.leads_through_alias(holder) {
            return Some(Vec::new());
        }
        let spot = self.walk(holder)?;
        let Some(Node {
            shape: Shape::Collection(collection),
            range,
        }) = spot.node
        else {
            return None;
        };
        if removed.iter().any(|index| *index >= collection.entries.len()) {
            return None;
        }
        if removed.len() == collection.entries.len() {
            return self.empty(&spot, collection, range);
        }
        if collection.flow {
            self.remove_flow(collection, removed)
        } else {
            self.remove_block(collection, removed)
        }
    }

    fn walk(&self, indices: &[usize]) -> Option<Spot<'_>> {
        let mut spot = Spot {
            entry: None,
            node: self.tree.root.as_ref(),
            in_flow: false,
        };
        for index in indices {
            let Shape::Collection(collection) = &spot.node?.shape else {
                return None;
            };
            let entry = collection.entries.get(*index)?;
            spot = Spot {
                entry: Some(entry),
                node: Some(&entry.value),
                in_flow: collection.flow,
            };
        }
        Some(spot)
    }

    fn leads_through_alias(&self, indices: &[usize]) -> bool {
        (0..=indices.len())
            .filter_map(|depth| self.walk(indices.get(..depth)?)?.node)
            .any(|node| matches!(node.shape, Shape::Alias))
    }

    /// Whether an anchor or an alias stands on the way to the end of the indices, at it or below it.
    pub(super) fn is_anchored(&self, indices: &[usize]) -> bool {
        self.leads_through_alias(indices)
            || (0..=indices.len())
                .filter_map(|depth| self.walk(indices.get(..depth)?))
                .any(|spot| {
                    let start = spot.entry.map_or(0, |entry| entry.range.start);
                    spot.node
                        .is_some_and(|node| self.tree.anchored(&(start..node.range.start)))
                })
            || self
                .walk(indices)
                .and_then(|spot| spot.entry)
                .is_some_and(|entry| self.tree.anchored(&entry.range))
    }

    fn refuse_tagged(&self, spot: &Spot<'_>, path: &KeyPath) -> Result<()> {
        let (Some(entry), Some(node)) = (spot.entry, spot.node) else {
            return Ok(());
        };
        let range = entry.key_end..node.range.end.max(entry.range.end);
        if self.tree.tagged(&range) {
            return Err(
                Error::failed(format!("cannot change only `{path}` in this file: it has a tag"))
                    .hint("the file was left alone; edit it by hand"),
            );
        }
        Ok(())
    }

    fn replace(&self, spot: &Spot<'_>, new: &Value) -> Option<Vec<Splice>> {
        let entry = spot.entry?;
        let node = spot.node?;
        let old = self.text.get(node.range.clone())?;
        match &node.shape {
            Shape::Empty => {
                let rendered = render::value(new, None, "");
                Some(vec![match entry.colon_end {
                    Some(colon) => Splice::insert(colon, format!(" {rendered}")),
                    None if spot.in_flow => Splice::insert(entry.key_end, format!(": {rendered}")),
                    None => return None,
                }])
            }
            Shape::Scalar(Style::Block) => {
                // Blank lines after a block scalar belong to it only for its value.
                let end = node.range.start + old.trim_end().len();
                Some(vec![Splice::replace(
                    node.range.start..end,
                    render::value(new, None, ""),
                )])
            }
            Shape::Scalar(style) => Some(vec![Splice::replace(
                node.range.clone(),
                render::value(new, Some(*style), old),
            )]),
            Shape::Collection(collection) => {
                let rendered = render::value(new, None, "");
                let colon = entry.colon_end?;
                let line_end = self.line_end(colon);
                if collection.flow || node.range.start < line_end {
                    return Some(vec![Splice::replace(node.range.clone(), rendered)]);
                }
                Some(vec![
                    Splice::insert(colon, format!(" {rendered}")),
                    Splice::delete(line_end..self.line_end(node.range.end)),
                ])
            }
            Shape::Alias => Some(vec![Splice::replace(
                node.range.clone(),
                render::value(new, None, ""),
            )]),
        }
    }

    fn insert(
        &self,
        collection: &Collection,
        range: &Range<usize>,
        key: &str,
        below: &[String],
        new: &Value,
        place: Place,
    ) -> Option<Vec<Splice>> {
        let Some((first, last)) = collection.entries.first().zip(collection.entries.last()) else {
            // `{}`
            let inside = range.start + 1;
            return Some(vec![Splice::insert(inside, flow_entry(key, below, new, ""))]);
        };
        if collection.flow {
            let sibling = self.text.get(first.range.start..first.key_end)?;
            let entry = flow_entry(key, below, new, sibling);
            return Some(vec![match place {
                Place::First => Splice::insert(first.range.start, format!("{entry}, ")),
                Place::Last => Splice::insert(last.range.end, format!(", {entry}")),
            }]);
        }
        let indent = self.indent(first.range.start)?;
        let lines = block_lines(key, below, new).join(&format!("{}{indent}", self.newline));
        Some(vec![match place {
            Place::First => Splice::insert(first.range.start, format!("{lines}{}{indent}", self.newline)),
            Place::Last => {
                let end = self.line_end(last.range.end);
                Splice::insert(end, format!("{}{indent}{lines}", self.newline))
            }
        }])
    }

    /// The first entry of a page that says nothing.
    fn append(&self, key: &str, below: &[String], new: &Value) -> Vec<Splice> {
        let lines = block_lines(key, below, new).join(self.newline);
        let before = if self.text.is_empty() || self.text.ends_with('\n') {
            ""
        } else {
            self.newline
        };
        vec![Splice::insert(
            self.text.len(),
            format!("{before}{lines}{}", self.newline),
        )]
    }

    /// Takes all entries out and leaves `{}` or `[]`.
    fn empty(&self, spot: &Spot<'_>, collection: &Collection, range: &Range<usize>) -> Option<Vec<Splice>> {
        let (first, last) = collection.entries.first().zip(collection.entries.last())?;
        if collection.flow {
            let rest = self.text.get(last.range.end..range.end)?;
            let comma = rest
                .trim_start()
                .strip_prefix(',')
                .map_or(0, |after| rest.len() - after.len());
            return Some(vec![Splice::delete(first.range.start..last.range.end + comma)]);
        }
        let nothing = if collection.mapping { "{}" } else { "[]" };
        if let Some(colon) = spot.entry.and_then(|entry| entry.colon_end)
            && self.line_end(colon) < range.start
        {
            let mut splices = vec![Splice::insert(colon, format!(" {nothing}"))];
            for entry in &collection.entries {
                splices.push(Splice::delete(self.lines(&entry.range)));
            }
            return Some(splices);
        }
        let all = self.text.get(first.range.start..last.range.end)?;
        let comments = collection.entries.len() > 1 && all.contains('#');
        (!comments).then(|| vec![Splice::replace(first.range.start..last.range.end, nothing)])
    }

    fn remove_block(&self, collection: &Collection, removed: &[usize]) -> Option<Vec<Splice>> {
        let mut splices = Vec::new();
        let mut done = 0;
        let first = collection.entries.first()?;
        if removed.first() == Some(&0) && !self.starts_line(first.range.start) {
            // The first entry shares its line with a dash: the next one that stays moves up to it.
            let index = removed
                .iter()
                .enumerate()
                .take_while(|(expected, index)| expected == *index)
                .count();
            let next = collection.entries.get(index)?;
            for (one, following) in collection
                .entries
                .iter()
                .zip(collection.entries.iter().skip(1))
                .take(index)
            {
                let between = self
                    .text
                    .get(self.line_end(one.range.end)..following.range.start)?;
                if !between.trim().is_empty() {
                    return None;
                }
            }
            splices.push(Splice::delete(first.range.start..next.range.start));
            done = index;
        }
        for index in removed.iter().filter(|index| **index >= done) {
            let entry = collection.entries.get(*index)?;
            if !self.starts_line(entry.range.start) {
                return None;
            }
            splices.push(Splice::delete(self.lines(&entry.range)));
        }
        Some(splices)
    }

    fn remove_flow(&self, collection: &Collection, removed: &[usize]) -> Option<Vec<Splice>> {
        let mut splices = Vec::new();
        let entries = &collection.entries;
        let mut rest = removed;
        while let Some((&from, _)) = rest.split_first() {
            let length = (0..)
                .zip(rest)
                .take_while(|(offset, index)| from + offset == **index)
                .count();
            let to = from + length - 1;
            rest = rest.get(length..)?;
            let (first, last) = (entries.get(from)?, entries.get(to)?);
            let after = self
                .text
                .get(last.range.end..self.line_end(last.range.end))?
                .trim_start();
            let after = after.strip_prefix(',').unwrap_or(after).trim_start();
            let alone = self.starts_line(first.range.start) && (after.is_empty() || after.starts_with('#'));
            splices.push(Splice::delete(if alone {
                self.lines(&(first.range.start..last.range.end))
            } else if let Some(next) = entries.get(to + 1) {
                first.range.start..next.range.start
            } else {
                entries.get(from.checked_sub(1)?)?.range.end..last.range.end
            }));
        }
        Some(splices)
    }

    fn line_start(&self, at: usize) -> usize {
        self.text
            .get(..at)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |newline| newline + 1)
    }

    /// Before the terminator of the line.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        match rest.find('\n') {
            None => self.text.len(),
            Some(newline) => {
                let line = rest.get(..newline).unwrap_or_default();
                at + line.strip_suffix('\r').unwrap_or(line).len()
            }
        }
    }

    /// The whole lines of a range.
    fn lines(&self, range: &Range<usize>) -> Range<usize> {
        let rest = self.text.get(range.end..).unwrap_or_default();
        let end = rest
            .find('\n')
            .map_or(self.text.len(), |newline| range.end + newline + 1);
        self.line_start(range.start)..end
    }

    fn starts_line(&self, at: usize) -> bool {
        self.text
            .get(self.line_start(at)..at)
            .is_some_and(|before| before.bytes().all(|byte| byte == b' '))
    }

    /// Blanks up to the column of a place.
    fn indent(&self, at: usize) -> Option<String> {
        Some(" ".repeat(self.text.get(self.line_start(at)..at)?.chars().count()))
    }
}

/// The value below these keys.
fn nested(keys: &[String], new: &Value) -> Value {
    keys.iter().rev().fold(new.clone(), |value, key| {
        Value::Mapping(Mapping::from_iter([(Value::String(key.clone()), value)]))
    })
}

fn flow_entry(key: &str, below: &[String], new: &Value, sibling: &str) -> String {
    let style = if sibling.starts_with('"') {
        Some(Style::Double)
    } else {
        None
    };
    let key = render::value(&Value::String(key.to_owned()), style, "");
    format!("{key}: {}", render::value(&nested(below, new), None, ""))
}

/// `a:`, `  b:`, `    c: value`.
fn block_lines(key: &str, below: &[String], new: &Value) -> Vec<String> {
    let count = below.len() + 1;
    std::iter::once(key)
        .chain(below.iter().map(String::as_str))
        .enumerate()
        .map(|(depth, key)| {
            let key = render::value(&Value::String(key.to_owned()), None, "");
            let value = if depth + 1 == count {
                format!(" {}", render::value(new, None, ""))
            } else {
                String::new()
            };
            format!("{}{key}:{value}", "  ".repeat(depth))
        })
        .collect()
}

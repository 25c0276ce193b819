//! Edits of text files that change only the asked-for bytes: text in, text out, nothing on disk.
//!
//! Comments, order, quoting, indentation, line endings, a byte order mark and a missing final newline stay. Each
//! edit parses the text before and after and compares; what is not exactly the asked-for change is an error.

/// `.env` files: entries by the prefix of their key.
pub mod env;
/// JSON, with comments where there are any.
pub mod json;
/// Dotted paths of keys.
pub mod key_path;
/// Lines by regular expression.
pub mod lines;
/// Numbers that scripts can hold.
mod numbers;
/// YAML.
pub mod yaml;

use std::ops::Range;

use crate::base::error::{Error, Result};

/// The largest text that is edited, in bytes.
pub const LARGEST: usize = 4 << 20;

/// What an edit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edited {
    /// The text says already what was asked for.
    Unchanged,
    /// The whole new text.
    Changed(String),
}

impl Edited {
    /// The new text, or `old` where nothing changed.
    #[must_use]
    pub fn or(self, old: &str) -> String {
        match self {
            Self::Unchanged => old.to_owned(),
            Self::Changed(new) => new,
        }
    }

    /// Whether the text changed.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Changed(_))
    }
}

/// Bytes of the old text, and what takes their place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Splice {
    range: Range<usize>,
    with: String,
}

impl Splice {
    fn insert(at: usize, with: impl Into<String>) -> Self {
        Self {
            range: at..at,
            with: with.into(),
        }
    }

    fn delete(range: Range<usize>) -> Self {
        Self {
            range,
            with: String::new(),
        }
    }

    fn replace(range: Range<usize>, with: impl Into<String>) -> Self {
        Self {
            range,
            with: with.into(),
        }
    }
}

/// Applies splices, which keep their order where they start at one place. `None` if they overlap or leave the text.
fn apply(text: &str, mut splices: Vec<Splice>) -> Option<String> {
    splices.sort_by_key(|splice| splice.range.start);
    let mut new = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for splice in &splices {
        new.push_str(text.get(done..splice.range.start)?);
        new.push_str(&splice.with);
        done = splice.range.end;
    }
    new.push_str(text.get(done..)?);
    Some(new)
}

/// The byte order mark (or nothing) and the rest.
fn split_mark(text: &str) -> (&str, &str) {
    const MARK: &str = "\u{feff}";
    text.strip_prefix(MARK).map_or(("", text), |rest| (MARK, rest))
}

/// The lines with their terminators, as byte ranges.
fn line_ranges(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    text.split_inclusive('\n').scan(0, |start, line| {
        let range = *start..*start + line.len();
        *start = range.end;
        Some(range)
    })
}

/// A line without its terminator.
fn without_terminator(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

fn check_size(text: &str) -> Result<()> {
    if text.len() > LARGEST {
        return Err(Error::failed(format!(
            "this file is too large to edit: {} bytes, at most {LARGEST}",
            text.len()
        ))
        .hint("edit it by hand"));
    }
    Ok(())
}

fn cannot_change_only(what: &str) -> Error {
    Error::failed(format!("cannot change only `{what}` in this file"))
        .hint("the file was left alone; edit it by hand")
}

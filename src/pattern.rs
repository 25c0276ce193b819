//! The one language of patterns: `find_paths`, the lists of a STORY, `policy.deny`, `policy.read_deny`, names of services.
//! `*`, `?` and `[...]` stay within one name, `**` between slashes stands for any number of directories, `{a,b}` for each
//! of its parts (an empty one too), `\` takes the next character as it is. What can't be understood is an error.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use self::reader::Reader;
use crate::base::error::{Position, Result};

/// How the text of a pattern is read.
mod reader;

/// Characters by which a text is a pattern and no path.
const SIGNS: [char; 5] = ['*', '?', '[', '{', '\\'];

/// Whether a text names paths by a pattern.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(SIGNS)
}

/// The directories before the first sign of a pattern; the one that holds it, for a plain path.
#[must_use]
pub fn base(text: &str) -> &str {
    let plain = text
        .find(SIGNS)
        .map_or(text, |at| text.get(..at).unwrap_or_default());
    match plain.rfind('/') {
        Some(0) => "/",
        Some(end) => text.get(..end).unwrap_or_default(),
        None => "",
    }
}

/// What one part of a name is matched against: a character, or a byte that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Character(char),
    Byte(u8),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    One(Unit),
    Any,
    Several,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn takes(&self, unit: Unit, any_case: bool) -> bool {
        match self {
            Self::One(own) => *own == unit || (any_case && folded(*own) == folded(unit)),
            Self::Any => true,
            Self::Several => false,
            Self::Class { negated, ranges } => {
                let within = |character: char| {
                    ranges
                        .iter()
                        .any(|(first, last)| (*first..=*last).contains(&character))
                };
                let listed = match unit {
                    Unit::Byte(_) => false,
                    Unit::Character(character) => {
                        within(character)
                            || (any_case
                                && (character.to_lowercase().any(within)
                                    || character.to_uppercase().any(within)))
                    }
                };
                listed != *negated
            }
        }
    }
}

fn folded(unit: Unit) -> Unit {
    match unit {
        Unit::Character(character) => Unit::Character(character.to_lowercase().next().unwrap_or(character)),
        byte @ Unit::Byte(_) => byte,
    }
}

/// One name of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Name(Vec<Token>),
    /// `**`
    Deep,
}

/// A pattern without braces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    absolute: bool,
    parts: Vec<Part>,
}

/// A pattern of paths.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    ways: Vec<Way>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`crate::base::error::Kind::Invalid`] with the place in the text, for what can't be understood.
    pub fn parse(text: &str) -> Result<Self> {
        let ways = Reader::of(text).ways()?;
        Ok(Self {
            text: text.to_owned(),
            ways,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path matches as a whole.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let names = names(path);
        self.ways
            .iter()
            .any(|way| way.absolute == path.is_absolute() && fits(&way.parts, &names, false))
    }

    /// How deep below where it begins a path may lie that matches: the number of its names; `None` where any.
    #[must_use]
    pub fn depth(&self) -> Option<usize> {
        let depth = |way: &Way| (!way.parts.contains(&Part::Deep)).then_some(way.parts.len());
        self.ways
            .iter()
            .map(depth)
            .try_fold(0, |deepest, depth| Some(deepest.max(depth?)))
    }
}

/// A pattern that refuses: what it names, wherever that is for a name alone, and all that is below.
#[derive(Debug, Clone)]
pub struct Rule {
    text: String,
    /// Each reading, and whether it is a name alone.
    ways: Vec<(Way, bool)>,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        let mut ways = Vec::new();
        for mut way in Pattern::parse(text)?.ways {
            let alone = way.parts.len() == 1 && !way.absolute;
            // `dir/**` is `dir` itself too: removing it would remove what is below.
            while way.parts.len() > 1 && way.parts.last() == Some(&Part::Deep) {
                way.parts.pop();
            }
            ways.push((way, alone));
        }
        Ok(Self {
            text: text.to_owned(),
            ways,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path, or a directory above it, is meant; `any_case`: where names that differ in case are the same.
    #[must_use]
    pub fn covers(&self, path: &Path, any_case: bool) -> bool {
        let names = names(path);
        self.ways.iter().any(|(way, alone)| {
            let loose = *alone || way.parts.first() == Some(&Part::Deep);
            if way.absolute != path.is_absolute() && (way.absolute || !loose) {
                return false;
            }
            (1..=names.len()).any(|end| {
                let from = if *alone { end - 1 } else { 0 };
                fits(&way.parts, names.get(from..end).unwrap_or_default(), any_case)
            })
        })
    }

    /// As [`Rule::covers`] for a path from the root of the file system on: only what the rule says from there on.
    #[must_use]
    pub fn covers_absolute(&self, path: &Path, any_case: bool) -> bool {
        self.ways.iter().any(|(way, _)| way.absolute) && self.covers(path, any_case)
    }

    /// The plain path before the first sign of each of its readings, where there is one.
    #[must_use]
    pub fn plain_parts(&self) -> Vec<String> {
        let plain = |part: &Part| match part {
            Part::Name(tokens) => tokens
                .iter()
                .map(|token| match token {
                    Token::One(Unit::Character(character)) => Some(*character),
                    _ => None,
                })
                .collect::<Option<String>>(),
            Part::Deep => None,
        };
        let mut found: Vec<String> = Vec::new();
        for (way, _) in &self.ways {
            let names: Vec<String> = way.parts.iter().map_while(plain).collect();
            let path = format!("{}{}", if way.absolute { "/" } else { "" }, names.join("/"));
            if !names.is_empty() && !found.contains(&path) {
                found.push(path);
            }
        }
        found
    }
}

/// A pattern of one name that is no path, as of a service: a slash is a character like any other.
#[derive(Debug, Clone)]
pub struct Name(Vec<Vec<Token>>);

impl Name {
    /// Reads a pattern of names.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        let reader = Reader::of(text);
        let letters = reader.letters()?;
        let ways = reader.without_braces(&letters)?;
        ways.iter()
            .map(|way| reader.name(way))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let units = units(OsStr::new(name));
        self.0.iter().any(|tokens| name_fits(tokens, &units, false))
    }
}

fn names(path: &Path) -> Vec<Vec<Unit>> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(units(name)),
            Component::ParentDir => Some(units(OsStr::new(".."))),
            _ => None,
        })
        .collect()
}

fn units(name: &OsStr) -> Vec<Unit> {
    let mut units = Vec::new();
    for chunk in name.as_bytes().utf8_chunks() {
        units.extend(chunk.valid().chars().map(Unit::Character));
        units.extend(chunk.invalid().iter().copied().map(Unit::Byte));
    }
    units
}

fn fits(parts: &[Part], names: &[Vec<Unit>], any_case: bool) -> bool {
    // At the end it stands for what is below, not for where it begins.
    let names = match (parts.last(), names.split_last()) {
        (Some(Part::Deep), Some((_, above))) => above,
        (Some(Part::Deep), None) => return false,
        _ => names,
    };
    wild(
        parts,
        names,
        |part| *part == Part::Deep,
        |part, name| matches!(part, Part::Name(tokens) if name_fits(tokens, name, any_case)),
    )
}

fn name_fits(tokens: &[Token], units: &[Unit], any_case: bool) -> bool {
    wild(
        tokens,
        units,
        |token| *token == Token::Several,
        |token, unit| token.takes(*unit, any_case),
    )
}

/// Matches a row where some of the pattern stand for any number. Going back to the last of these is enough, so that the
/// time is at most the product of both lengths.
fn wild<P, T>(
    pattern: &[P],
    row: &[T],
    is_wild: impl Fn(&P) -> bool,
    takes: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    while let Some(item) = row.get(at) {
        match pattern.get(next) {
            Some(sign) if is_wild(sign) => {
                last = Some((next, at));
                next += 1;
            }
            Some(sign) if takes(sign, item) => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((sign, from)) = last else { return false };
                last = Some((sign, from + 1));
                at = from + 1;
                next = sign + 1;
            }
        }
    }
    pattern.get(next..).unwrap_or_default().iter().all(is_wild)
}

/// The place of a pattern in the file that holds it: the first line where it stands, quoted or not.
#[must_use]
pub fn place_in(text: &str, file: &str, pattern: &str) -> Option<Position> {
    let quoted = pattern.replace('\\', "\\\\").replace('"', "\\\"");
    text.lines().enumerate().find_map(|(index, line)| {
        let at = line.find(pattern).or_else(|| line.find(&quoted))?;
        Some(Position {
            file: file.to_owned(),
            line: index + 1,
            column: line.get(..at).unwrap_or_default().chars().count() + 1,
            source: Some(text.into()),
        })
    })
}

#[cfg(test)]
mod tests;

//! The one language of patterns: `find_paths`, the lists of a STORY, `policy.deny`, `policy.read_deny`, names of services.
//! `*`, `?` and `[...]` stay within one name, `**` between slashes stands for any number of directories, `{a,b}` for each
//! of its parts (an empty one too), `\` takes the next character as it is. What can't be understood is an error.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use crate::error::{Error, Position, Result};

/// The most patterns without braces that one with braces may stand for.
const MOST: usize = 1024;

/// The longest pattern, in bytes, and how much of one stands in a message, in characters.
const LONGEST: usize = 4096;
const SHOWN: usize = 200;

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

/// A character of a pattern with its place in the text, from 0.
#[derive(Debug, Clone, Copy)]
struct Letter {
    character: char,
    at: usize,
    /// Taken as it is.
    escaped: bool,
}

impl Letter {
    const fn is(self, sign: char) -> bool {
        !self.escaped && self.character == sign
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
    /// [`crate::error::Kind::Invalid`] with the place in the text, for what can't be understood.
    pub fn parse(text: &str) -> Result<Self> {
        let ways = Reader { text }.ways()?;
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
        let reader = Reader { text };
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

struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn wrong(&self, at: usize, what: &str) -> Error {
        let mut shown: String = self.text.chars().take(SHOWN).collect();
        if shown.len() < self.text.len() {
            shown.push_str("...");
        }
        Error::invalid(format!(
            "`{shown}` is no pattern: {what}, at character {}",
            at + 1
        ))
        .hint("`*`, `?`, `[a-z]`, `**` between slashes, `{a,b}`; `\\` before a sign takes it as it is")
    }

    fn letters(&self) -> Result<Vec<Letter>> {
        if self.text.is_empty() {
            return Err(Error::invalid("the pattern is empty"));
        }
        if self.text.len() > LONGEST {
            return Err(self.wrong(LONGEST, &format!("it is longer than {LONGEST} bytes")));
        }
        let mut letters = Vec::new();
        let mut characters = self.text.chars().enumerate();
        while let Some((at, character)) = characters.next() {
            let (character, escaped) = match character {
                '\\' => match characters.next() {
                    Some((_, next)) if next != '/' => (next, true),
                    _ => return Err(self.wrong(at, "nothing follows the `\\`")),
                },
                other => (other, false),
            };
            letters.push(Letter {
                character,
                at,
                escaped,
            });
        }
        Ok(letters)
    }

    fn ways(&self) -> Result<Vec<Way>> {
        let letters = self.letters()?;
        let ways = self.without_braces(&letters)?;
        ways.iter().map(|way| self.way(way)).collect()
    }

    /// Where a class ends that begins at `start`: the place of its `]`.
    fn class_end(&self, letters: &[Letter], start: usize) -> Result<usize> {
        let mut at = start + 1;
        if letters
            .get(at)
            .is_some_and(|letter| letter.is('!') || letter.is('^'))
        {
            at += 1;
        }
        // A `]` that comes first is one of the class.
        at += 1;
        loop {
            match letters.get(at) {
                Some(letter) if letter.is(']') => return Ok(at),
                Some(_) => at += 1,
                None => {
                    let opened = letters.get(start).map_or(0, |letter| letter.at);
                    return Err(self.wrong(opened, "the `[` is not closed"));
                }
            }
        }
    }

    /// Every reading of the braces.
    fn without_braces(&self, letters: &[Letter]) -> Result<Vec<Vec<Letter>>> {
        let mut at = 0;
        while let Some(letter) = letters.get(at) {
            if letter.is('[') {
                at = self.class_end(letters, at)?;
            } else if letter.is('}') {
                return Err(self.wrong(letter.at, "no `{` stands before the `}`"));
            } else if letter.is('{') {
                return self.first_braces(letters, at);
            }
            at += 1;
        }
        Ok(vec![letters.to_vec()])
    }

    fn first_braces(&self, letters: &[Letter], open: usize) -> Result<Vec<Vec<Letter>>> {
        let mut cuts = vec![open];
        let mut depth = 0_usize;
        let mut at = open;
        let close = loop {
            let Some(letter) = letters.get(at) else {
                let opened = letters.get(open).map_or(0, |letter| letter.at);
                return Err(self.wrong(opened, "the `{` is not closed"));
            };
            if letter.is('[') {
                at = self.class_end(letters, at)?;
            } else if letter.is('{') {
                depth += 1;
            } else if letter.is(',') && depth == 1 {
                cuts.push(at);
            } else if letter.is('}') {
                depth -= 1;
                if depth == 0 {
                    break at;
                }
            }
            at += 1;
        };
        cuts.push(close);
        let before = letters.get(..open).unwrap_or_default();
        let after = letters.get(close + 1..).unwrap_or_default();
        let mut ways = Vec::new();
        for cut in cuts.windows(2) {
            let inner = match cut {
                [from, to] => letters.get(from + 1..*to).unwrap_or_default(),
                _ => &[],
            };
            let whole = [before, inner, after].concat();
            ways.extend(self.without_braces(&whole)?);
            if ways.len() > MOST {
                return Err(self.wrong(0, &format!("its braces stand for more than {MOST} patterns")));
            }
        }
        Ok(ways)
    }

    fn way(&self, letters: &[Letter]) -> Result<Way> {
        let absolute = letters.first().is_some_and(|letter| letter.is('/'));
        if let Some(first) = letters.first().filter(|letter| absolute && letter.at > 0) {
            return Err(self.wrong(first.at, "one of its readings begins with this slash"));
        }
        let mut parts = Vec::new();
        for name in self.split(letters)? {
            let text: String = name.iter().map(|letter| letter.character).collect();
            match text.as_str() {
                "" | "." => {}
                ".." => {
                    let at = name.first().map_or(0, |letter| letter.at);
                    return Err(self.wrong(at, "`..` has no meaning in it"));
                }
                "**" if name.iter().all(|letter| !letter.escaped) => {
                    if parts.last() != Some(&Part::Deep) {
                        parts.push(Part::Deep);
                    }
                }
                _ => parts.push(Part::Name(self.name(name)?)),
            }
        }
        if parts.is_empty() {
            return Err(self.wrong(0, "one of its readings names nothing"));
        }
        Ok(Way { absolute, parts })
    }

    /// The names between slashes.
    fn split<'l>(&self, letters: &'l [Letter]) -> Result<Vec<&'l [Letter]>> {
        let mut names = Vec::new();
        let (mut from, mut at) = (0, 0);
        while let Some(letter) = letters.get(at) {
            if letter.is('[') {
                // What is wrong inside is told by the class.
                at = self.class_end(letters, at)?;
            } else if letter.is('/') {
                names.push(letters.get(from..at).unwrap_or_default());
                from = at + 1;
            }
            at += 1;
        }
        names.push(letters.get(from..).unwrap_or_default());
        Ok(names)
    }

    fn name(&self, letters: &[Letter]) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut at = 0;
        while let Some(letter) = letters.get(at) {
            if letter.is('*') {
                if tokens.last() == Some(&Token::Several) {
                    return Err(self.wrong(letter.at, "`**` stands between slashes alone"));
                }
                tokens.push(Token::Several);
            } else if letter.is('?') {
                tokens.push(Token::Any);
            } else if letter.is('[') {
                let end = self.class_end(letters, at)?;
                tokens.push(self.class(letters.get(at..end).unwrap_or_default())?);
                at = end;
            } else if letter.is('\0') {
                // A byte that is no character, as found paths are spelled.
                let digits = letters.get(at + 1..at + 3).unwrap_or_default();
                let digits: String = digits.iter().map(|digit| digit.character).collect();
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|byte| *byte >= 0x80);
                let byte = byte.ok_or_else(|| self.wrong(letter.at, "a NUL stands in it"))?;
                tokens.push(Token::One(Unit::Byte(byte)));
                at += 2;
            } else {
                tokens.push(Token::One(Unit::Character(letter.character)));
            }
            at += 1;
        }
        Ok(tokens)
    }

    /// A class without its `]`.
    fn class(&self, letters: &[Letter]) -> Result<Token> {
        let opened = letters.first().map_or(0, |letter| letter.at);
        let mut members = letters.get(1..).unwrap_or_default();
        let negated = members
            .first()
            .is_some_and(|letter| letter.is('!') || letter.is('^'));
        if negated {
            members = members.get(1..).unwrap_or_default();
        }
        let mut ranges = Vec::new();
        while let Some((first, rest)) = members.split_first() {
            if first.is('[') && rest.first().is_some_and(|letter| letter.is(':')) {
                return Err(self.wrong(first.at, "named classes such as `[:alpha:]` are not known"));
            }
            if first.character == '/' {
                return Err(self.wrong(first.at, "a class stays within one name, and `/` ends one"));
            }
            members = match rest {
                [dash, last, after @ ..] if dash.is('-') => {
                    if last.character < first.character {
                        return Err(self.wrong(first.at, "the range ends before it begins"));
                    }
                    ranges.push((first.character, last.character));
                    after
                }
                _ => {
                    ranges.push((first.character, first.character));
                    rest
                }
            };
        }
        if ranges.is_empty() {
            return Err(self.wrong(opened, "the class is empty"));
        }
        Ok(Token::Class { negated, ranges })
    }
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

//! Reading a pattern: braces are written out first, then each reading is cut into names, and each name into tokens.

use super::{Part, Token, Unit, Way};
use crate::base::error::{Error, Result};

/// The most patterns without braces that one with braces may stand for.
const MOST: usize = 1024;

/// The longest pattern, in bytes, and how much of one stands in a message, in characters.
const LONGEST: usize = 4096;
const SHOWN: usize = 200;

/// A character of a pattern with its place in the text, from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letter {
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

/// A pattern's text as it is read.
pub(super) struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) const fn of(text: &'a str) -> Self {
        Self { text }
    }

    fn wrong(&self, at: usize, what: &str) -> Error {
        let mut display: String = self.text.chars().take(SHOWN).collect();
        if display.len() < self.text.len() {
            display.push_str("...");
        }
        Error::invalid(format!(
            "`{display}` is no pattern: {what}, at character {}",
            at + 1
        ))
        .hint("`*`, `?`, `[a-z]`, `**` between slashes, `{a,b}`; `\\` before a sign takes it as it is")
    }

    pub(super) fn letters(&self) -> Result<Vec<Letter>> {
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

    pub(super) fn ways(&self) -> Result<Vec<Way>> {
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
    pub(super) fn without_braces(&self, letters: &[Letter]) -> Result<Vec<Vec<Letter>>> {
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

    pub(super) fn name(&self, letters: &[Letter]) -> Result<Vec<Token>> {
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
            } else if letter.character == '\0' {
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
            if first.character == '\0' {
                return Err(self.wrong(first.at, "a class holds characters, and a NUL stands in it"));
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

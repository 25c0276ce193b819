//! How the programs that read `.env` files take a text: line by line (container engines, old readers), as Node's and
//! Python's dotenv do, and as a shell that sources it.

use std::ops::Range;

use crate::edit::{line_ranges, without_terminator};

/// What one program takes for one statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    /// What it sets; nothing where the program can't read it and passes it over.
    pub(super) keys: Vec<&'a str>,
    /// Whole lines, with the terminator of the last one.
    pub(super) lines: Range<usize>,
}

/// How a dotenv reader ends a quoted value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dotenv {
    /// Whatever follows it on its line, the value ends somewhere so that nothing does; else it is one line.
    Node,
    /// What follows it makes all its lines unreadable.
    Python,
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The text as each program takes it, Node's first. A shell that can't read it at all is left out.
pub(super) fn readings(body: &str) -> Vec<Vec<Statement<'_>>> {
    let mut readings = vec![
        dotenv(body, Dotenv::Node),
        dotenv(body, Dotenv::Python),
        line_by_line(body),
    ];
    readings.extend(shell(body));
    readings
}

fn line_by_line(body: &str) -> Vec<Statement<'_>> {
    line_ranges(body)
        .filter_map(|lines| {
            let (key, _) = split(body.get(lines.clone())?, false)?;
            Some(Statement {
                keys: vec![key],
                lines,
            })
        })
        .collect()
}

fn dotenv(body: &str, kind: Dotenv) -> Vec<Statement<'_>> {
    let mut statements = Vec::new();
    let mut lines = line_ranges(body).peekable();
    while let Some(range) = lines.next() {
        let line = without_terminator(body.get(range.clone()).unwrap_or_default());
        let Some((key, value)) = split(line, kind == Dotenv::Node) else {
            continue;
        };
        let mut statement = Statement {
            keys: vec![key],
            lines: range.clone(),
        };
        let start = range.start + line.len() - value.len();
        let end = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted_end(body, start + 1, quote, kind),
            Some(quote @ '`') if kind == Dotenv::Node => quoted_end(body, start + 1, quote, kind),
            _ => None,
        };
        if let Some((end, clean)) = end {
            while let Some(next) = lines.next_if(|next| next.start <= end) {
                statement.lines.end = next.end;
            }
            if !clean && statement.lines != range {
                statement.keys.clear();
            }
        }
        statements.push(statement);
    }
    statements
}

/// Where the quoted value that begins at `from` has its closing quote, and whether nothing but a comment follows it.
/// `None`: the program finds no end, and takes the line.
fn quoted_end(body: &str, from: usize, quote: char, kind: Dotenv) -> Option<(usize, bool)> {
    let mut escaped = Vec::new();
    let mut closing = None;
    let mut backslashes = 0_usize;
    for (offset, byte) in body.get(from..)?.bytes().enumerate() {
        if char::from(byte) == quote {
            let is_escaped = match kind {
                Dotenv::Node => backslashes > 0,
                Dotenv::Python => backslashes % 2 == 1,
            };
            if !is_escaped {
                closing = Some(from + offset);
                break;
            }
            escaped.push(from + offset);
        }
        backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
    }
    let is_clean = |at: usize| {
        let rest = body.get(at + 1..).unwrap_or_default().trim_start_matches(BLANKS);
        rest.is_empty() || rest.starts_with(['#', '\r', '\n'])
    };
    match kind {
        Dotenv::Python => closing.map(|at| (at, is_clean(at))),
        Dotenv::Node => closing
            .into_iter()
            .chain(escaped.into_iter().rev())
            .find(|at| is_clean(*at))
            .map(|at| (at, true)),
    }
}

/// `None` where a quote stays open.
fn shell(body: &str) -> Option<Vec<Statement<'_>>> {
    let mut statements = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let (mut statement, mut word) = (0, None);
    let (mut quote, mut is_escaped, mut in_comment) = (None, false, false);
    // The end of the text ends the last line.
    for (at, byte) in body.bytes().chain(std::iter::once(b'\n')).enumerate() {
        let is_last = at == body.len();
        if is_escaped && !is_last {
            is_escaped = false;
            continue;
        }
        if in_comment && byte != b'\n' {
            continue;
        }
        let ends_word = match (quote, byte) {
            (Some(open), _) if byte == open => {
                quote = None;
                false
            }
            (None | Some(b'"' | b'`'), b'\\') => {
                is_escaped = true;
                word.get_or_insert(at);
                false
            }
            (Some(_), _) => false,
            (None, b'"' | b'\'' | b'`') => {
                quote = Some(byte);
                word.get_or_insert(at);
                false
            }
            (None, b'#') if word.is_none() => {
                in_comment = true;
                false
            }
            (None, b' ' | b'\t' | b'\r' | b';' | b'\n') => true,
            (None, _) => {
                word.get_or_insert(at);
                false
            }
        };
        if ends_word {
            words.extend(word.take().and_then(|from| body.get(from..at)));
        }
        if byte == b'\n' && quote.is_none() {
            in_comment = false;
            let lines = statement..body.len().min(at + 1);
            statement = lines.end;
            let words = std::mem::take(&mut words);
            if !words.is_empty() {
                statements.push(Statement {
                    keys: assigned(body.get(lines.clone()).unwrap_or_default(), &words),
                    lines,
                });
            }
        }
    }
    quote.is_none().then_some(statements)
}

/// What a statement of a shell sets. Blanks around the first `=`, which no shell takes, are passed over.
fn assigned<'a>(statement: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    let Some((first, _)) = split(without_terminator(statement), false) else {
        return Vec::new();
    };
    let exported = words.first() == Some(&"export");
    let mut keys = vec![first];
    let assignments = words.iter().skip(usize::from(exported)).map(|word| {
        let (key, _) = word.split_once('=')?;
        is_key(key).then_some(key)
    });
    for (index, key) in assignments.enumerate() {
        match key {
            Some(_) if index == 0 => {}
            Some(key) => keys.push(key),
            // `A=1 program` sets nothing further; `export A B=1` does.
            None if exported && index > 0 => {}
            None => break,
        }
    }
    keys
}

/// The key and what follows the `=` and blanks; with `colon` also of `KEY: value`.
fn split(line: &str, colon: bool) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(BLANKS);
    let exported = line
        .strip_prefix("export")
        .filter(|rest| rest.starts_with(BLANKS))
        .and_then(|rest| entry(rest.trim_start_matches(BLANKS), colon));
    exported.or_else(|| entry(line, colon))
}

fn entry(line: &str, colon: bool) -> Option<(&str, &str)> {
    let end = line
        .find(|character: char| !is_key_character(character))
        .unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let value = rest.trim_start_matches(BLANKS).strip_prefix('=').or_else(|| {
        rest.strip_prefix(':')
            .filter(|value| colon && value.starts_with(BLANKS))
    })?;
    is_key(key).then(|| (key, value.trim_start_matches(BLANKS)))
}

fn is_key_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-')
}

fn is_key(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(is_key_character)
}

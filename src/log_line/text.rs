//! Lines of text: syslog, `key=value`, npm's own logs, and whatever has a time at its beginning and a level soon after.

use std::borrow::Cow;

use super::json::{Fields, Key, Scalar};
use super::levels::{Level, Scale};
use super::zone::Open;
use super::{Event, times};
use crate::base::known::Known;

/// Words after the time among which the level is looked for.
const WORDS: usize = 6;

/// Levels that are also words of many texts: in capitals alone they are none.
const PROSE: [&str; 5] = ["HTTP", "DATA", "HELP", "FINE", "FAIL"];

/// Reads a line; `None` where neither a time nor a level stands where the usual writers put them.
pub(super) fn read(line: &str, open: Open) -> Option<Event<'static>> {
    let plain = without_colours(line);
    syslog(&plain, open)
        .or_else(|| pairs(&plain, open))
        .or_else(|| npm(&plain))
        .or_else(|| general(&plain, open))
}

/// A line without the escape sequences that colour it on a terminal.
pub(super) fn without_colours(line: &str) -> Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return Cow::Borrowed(line);
    }
    let mut parts = line.split('\u{1b}');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .strip_prefix('[')
            .and_then(|rest| rest.find(|letter: char| letter.is_ascii_alphabetic()));
        plain.push_str(end.and_then(|end| part.get(end + 2..)).unwrap_or(part));
    }
    Cow::Owned(plain)
}

fn of(at: Option<i64>, level: Option<Level>) -> Event<'static> {
    let mut event = Event::default();
    if let Some(at) = at {
        event.at = Known::Yes(at);
    }
    if let Some(level) = level {
        event.level = Known::Yes(level);
    }
    event
}

/// `<11>1 2026-11-23T01:30:00Z host program ...` (RFC 5424), `<11>Nov 23 01:30:00 host program: ...` (RFC 3164).
fn syslog(line: &str, open: Open) -> Option<Event<'static>> {
    let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
    let priority: u8 = priority.parse().ok().filter(|priority| *priority < 192)?;
    let level = Level::of_number(f64::from(priority % 8), Scale::Syslog);
    let rest = rest.strip_prefix("1 ").unwrap_or(rest);
    Some(of(times::leading(rest, open).map(|(at, _)| at), level))
}

/// `time=2026-11-23T01:30:00Z level=error msg="..."`.
fn pairs(line: &str, open: Open) -> Option<Event<'static>> {
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.@-".contains(&byte))
    };
    if !line.split_once('=').is_some_and(|(key, _)| is_key(key)) {
        return None;
    }
    let mut fields = Fields::of(open);
    let mut rest = line;
    while let Some((key, behind)) = rest.trim_start().split_once('=') {
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_at_checked(end_of_quoted(quoted))?,
            None => behind.split_at_checked(behind.find(' ').unwrap_or(behind.len()))?,
        };
        rest = after.strip_prefix('"').unwrap_or(after);
        // Words without a value stand before the key.
        let key = key.rsplit(' ').next().unwrap_or(key);
        fields.take(Key::at_top(key), Scalar::Text(Cow::Borrowed(value)));
    }
    let event = fields.finish();
    let says = matches!(event.at, Known::Yes(_)) || matches!(event.level, Known::Yes(_));
    says.then(|| event.owned())
}

/// Where the quotation mark stands that ends a text.
fn end_of_quoted(text: &str) -> usize {
    let mut escaped = false;
    text.char_indices()
        .find(|(_, letter)| {
            let ends = *letter == '"' && !escaped;
            escaped = *letter == '\\' && !escaped;
            ends
        })
        .map_or(text.len(), |(at, _)| at)
}

/// `12 error code E404`: npm's own logs number their lines, and tell no time.
fn npm(line: &str) -> Option<Event<'static>> {
    let (number, rest) = line.split_once(' ')?;
    let word = rest.split(' ').next()?;
    let is_npm = number.len() < 8
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && [
            "silly", "verbose", "info", "timing", "http", "notice", "warn", "error",
        ]
        .contains(&word);
    is_npm.then(|| of(None, Level::of_word(word)))
}

/// A time at the beginning, and a level among the words after it; or a level at the beginning.
fn general(line: &str, open: Open) -> Option<Event<'static>> {
    let line = line.trim_start_matches('[');
    if let Some((at, rest)) = times::leading(line, open) {
        return Some(of(Some(at), level_among(rest)));
    }
    // `ERROR:name:text`, `error: text`, `ERROR] text`: none of `Error: text`, which is the name of an exception.
    let (word, _) = line.split_once([':', ']'])?;
    let word = word.trim_end();
    let one_case = word.bytes().all(|byte| byte.is_ascii_uppercase())
        || word.bytes().all(|byte| byte.is_ascii_lowercase());
    let level = Level::of_word(word).filter(|_| one_case)?;
    Some(of(None, Some(level)))
}

/// The level that a writer put between the time and the text: a word in capitals, in brackets, between bars, or the first
/// one with a colon. A text that merely speaks of errors has none.
fn level_among(rest: &str) -> Option<Level> {
    let rest = rest.trim_start_matches([']', ':']);
    let words = rest
        .split_whitespace()
        .filter(|word| !["-", "|", "]", ":"].contains(word));
    for (place, word) in words.take(WORDS).enumerate() {
        let bracketed = word.starts_with(['[', '(', '<']);
        let with_colon = place == 0 && word.contains(':');
        let bare = word.trim_start_matches(['[', '(', '<', '|']);
        let bare = bare
            .split([']', ')', '>', ':', '|', ','])
            .next()
            .unwrap_or_default();
        let capitals = bare.starts_with(|letter: char| letter.is_ascii_uppercase())
            && bare
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if (bracketed || with_colon || (capitals && !PROSE.contains(&bare)))
            && let Some(level) = Level::of_word(bare)
        {
            return Some(level);
        }
    }
    None
}

//! Removes the lines that match a regular expression.

use regex::{Regex, RegexBuilder};

use super::{Edited, check_size, line_ranges, split_mark, without_terminator};
use crate::base::error::{Error, Result};

/// The longest pattern, in bytes.
const LONGEST_PATTERN: usize = 4096;
/// The largest compiled pattern, in bytes.
const LARGEST_PROGRAM: usize = 1 << 20;

/// Compiles a pattern within bounds; a syntax error says where (in characters from 1).
pub fn pattern(text: &str) -> Result<Regex> {
    if text.is_empty() {
        return Err(Error::invalid("an empty pattern matches every line").hint("say what the lines contain"));
    }
    if text.len() > LONGEST_PATTERN {
        return Err(Error::invalid(format!(
            "the pattern is too long: {} bytes, at most {LONGEST_PATTERN}",
            text.len()
        ))
        .hint("use several shorter patterns"));
    }
    RegexBuilder::new(text)
        .size_limit(LARGEST_PROGRAM)
        .dfa_size_limit(LARGEST_PROGRAM)
        .nest_limit(64)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                Error::invalid(format!("the pattern `{text}` is too large when compiled"))
                    .hint("use smaller repetition counts")
            }
            other => {
                let (why, column) = explain(&other.to_string());
                let place = column
                    .map(|column| format!(" at character {column}"))
                    .unwrap_or_default();
                Error::invalid(format!("`{text}` is not a regular expression: {why}{place}"))
                    .hint("the syntax is that of the Rust crate `regex`; a literal `(` is written `\\(`")
            }
        })
}

/// The reason and the column out of the several lines that `regex` prints, where a caret points into the pattern.
fn explain(message: &str) -> (String, Option<usize>) {
    let why = message
        .lines()
        .find_map(|line| line.strip_prefix("error: "))
        .unwrap_or("it cannot be read");
    let caret = message
        .lines()
        .find(|line| {
            line.starts_with("    ") && line.contains('^') && line.trim_matches([' ', '^']).is_empty()
        })
        .and_then(|line| line.find('^'))
        .and_then(|column| column.checked_sub(3));
    (why.to_owned(), caret)
}

/// Removes each line that the expression matches (without its terminator), and tells their numbers, from 1.
pub fn remove_matching(text: &str, expression: &Regex) -> Result<(Edited, Vec<usize>)> {
    check_size(text)?;
    let (mark, body) = split_mark(text);
    let mut kept = String::with_capacity(text.len());
    kept.push_str(mark);
    let mut removed = Vec::new();
    for (index, range) in line_ranges(body).enumerate() {
        let line = body.get(range).unwrap_or_default();
        if expression.is_match(without_terminator(line)) {
            removed.push(index + 1);
        } else {
            kept.push_str(line);
        }
    }
    let edited = if removed.is_empty() {
        Edited::Unchanged
    } else {
        Edited::Changed(kept)
    };
    Ok((edited, removed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn removes_whole_lines_and_says_which() {
        for (text, expression, expected, numbers) in [
            ("a\nduck\nb\n", "duck", "a\nb\n", vec![2]),
            ("a\r\nduck\r\nb", "duck$", "a\r\nb", vec![2]),
            ("a\nduck", "duck", "a\n", vec![2]),
            ("\u{feff}duck\nb\n", "^duck", "\u{feff}b\n", vec![1]),
            ("duck\n\nduck x\n", "^duck$", "\nduck x\n", vec![1]),
        ] {
            let (edited, removed) = remove_matching(text, &pattern(expression).unwrap()).unwrap();
            assert_eq!(edited, Edited::Changed(expected.into()), "{text:?}");
            assert_eq!(removed, numbers);
        }
    }

    #[test]
    fn nothing_matching_is_unchanged() {
        let edited = remove_matching("a\n", &pattern("b").unwrap()).unwrap();
        assert_eq!(edited, (Edited::Unchanged, vec![]));
    }

    #[test]
    fn a_bad_pattern_says_where() {
        let error = pattern("ab(c").unwrap_err();
        assert_eq!(
            error.message(),
            "`ab(c` is not a regular expression: unclosed group at character 3"
        );
        assert!(pattern("").is_err());
        assert!(
            pattern("(a{1000}){1000}")
                .unwrap_err()
                .message()
                .contains("too large")
        );
        assert!(pattern(&"(".repeat(2000)).is_err());
        assert!(pattern(&"a".repeat(5000)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn keeps_exactly_the_other_lines(lines in prop::collection::vec("[abx ]{0,4}", 0..8), crlf: bool, ends: bool) {
            let newline = if crlf { "\r\n" } else { "\n" };
            let text = lines.join(newline) + if ends { newline } else { "" };
            let (edited, removed) = remove_matching(&text, &pattern("x").unwrap()).unwrap();
            let new = edited.or(&text);
            let expected: Vec<&str> = text.lines().filter(|line| !line.contains('x')).collect();
            prop_assert_eq!(new.lines().collect::<Vec<_>>(), expected);
            prop_assert_eq!(text.lines().count(), removed.len() + new.lines().count());
            let other = if crlf { '\n' } else { '\r' };
            prop_assert!(!new.replace("\r\n", "").contains(other));
        }

        #[test]
        fn patterns_never_panic(text in any::<String>(), body in any::<String>()) {
            if let Ok(expression) = pattern(&text) {
                remove_matching(&body, &expression).unwrap();
            }
        }
    }
}

//! Dotted paths of keys: `features.duckdb_analytics.enabled`, `"a.b".c`.

use std::fmt;

use crate::base::error::{Error, Result};

/// The keys from the root to a value; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath(Vec<String>);

impl KeyPath {
    /// Reads `a.b.c`. A key with dots or quotes stands in double quotes, where `\"` and `\\` are escapes.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| {
            Error::invalid(format!("`{text}` is not a key path: {why}"))
                .hint("write `a.b.c`, and a key with dots in double quotes: `\"a.b\".c`")
        };
        let mut keys = Vec::new();
        let mut characters = text.chars().peekable();
        loop {
            let mut key = String::new();
            if characters.next_if_eq(&'"').is_some() {
                loop {
                    match characters.next() {
                        None => return Err(invalid("a quote is not closed")),
                        Some('"') => break,
                        Some('\\') => match characters.next() {
                            Some(escaped @ ('"' | '\\')) => key.push(escaped),
                            _ => return Err(invalid("only `\\\"` and `\\\\` are escapes")),
                        },
                        Some(character) => key.push(character),
                    }
                }
                if characters.peek().is_some_and(|next| *next != '.') {
                    return Err(invalid("a dot is missing after a quoted key"));
                }
            } else {
                while let Some(character) = characters.next_if(|next| *next != '.') {
                    if character == '"' {
                        return Err(invalid("a quote stands inside a key"));
                    }
                    key.push(character);
                }
                if key.is_empty() {
                    return Err(invalid("a key is empty"));
                }
            }
            keys.push(key);
            if characters.next().is_none() {
                return Ok(Self(keys));
            }
        }
    }

    /// A path of these keys; `None` if there are none.
    #[must_use]
    pub fn of<K: Into<String>>(keys: impl IntoIterator<Item = K>) -> Option<Self> {
        let keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The keys, from the root.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.0
    }

    /// The path of the first `depth` keys, for messages.
    pub(super) fn display(&self, depth: usize) -> String {
        show(self.0.iter().take(depth).map(String::as_str))
    }
}

/// Keys as [`KeyPath::parse`] reads them.
pub(super) fn show<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    let mut display = String::new();
    for (n, key) in keys.enumerate() {
        if n > 0 {
            display.push('.');
        }
        if key.is_empty() || key.contains(['.', '"']) {
            display.push('"');
            display.push_str(&key.replace('\\', "\\\\").replace('"', "\\\""));
            display.push('"');
        } else {
            display.push_str(key);
        }
    }
    display
}

impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.display(self.0.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_paths() {
        for (text, keys) in [
            ("a", vec!["a"]),
            ("a.b.c", vec!["a", "b", "c"]),
            ("\"a.b\".c", vec!["a.b", "c"]),
            ("a.\"b \\\" c\"", vec!["a", "b \" c"]),
            ("a.\"\"", vec!["a", ""]),
            ("größe.x-y", vec!["größe", "x-y"]),
        ] {
            assert_eq!(KeyPath::parse(text).unwrap().keys(), keys, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in ["", ".", "a.", ".a", "a..b", "\"a", "\"a\"b", "a\"b", "\"a\\n\""] {
            assert_eq!(
                KeyPath::parse(text).unwrap_err().kind(),
                crate::base::error::Kind::Invalid,
                "{text}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_shown_reads_back(keys in prop::collection::vec("[a-z.\"\\\\ é]{0,5}", 1..4)) {
            let path = KeyPath::of(keys).unwrap();
            prop_assert_eq!(KeyPath::parse(&path.to_string()).unwrap(), path);
        }

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = KeyPath::parse(&text);
        }
    }
}

//! YAML scalars and small collections as text on one line.

use serde_yaml::Value;

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    /// `|` or `>`.
    Block,
}

/// A value on one line, in the style of what stood there where that can say it; `old` is the text of what stood there.
pub(super) fn value(new: &Value, style: Option<Style>, old: &str) -> String {
    match new {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => string(text, style, old),
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| value(item, None, "")).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Mapping(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, item)| format!("{}: {}", value(key, None, ""), value(item, None, "")))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, value(&tagged.value, style, old)),
    }
}

fn string(text: &str, style: Option<Style>, old: &str) -> String {
    let printable = text.chars().all(|character| !needs_escape(character));
    match style {
        Some(Style::Double) => double(text),
        Some(Style::Single) if printable => single(text),
        _ if !printable => double(text),
        _ if plain_is_safe(
            text,
            style == Some(Style::Plain) && old.starts_with(|first: char| first.is_ascii_digit()),
        ) =>
        {
            text.to_owned()
        }
        _ => single(text),
    }
}

fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn double(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if needs_escape(other) => quoted.extend(format!("\\U{:08X}", u32::from(other)).chars()),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}

/// Whether every YAML reader, also one of version 1.1, reads the bare text as this string, in a flow too.
fn plain_is_safe(text: &str, may_start_with_digit: bool) -> bool {
    const WORDS: [&str; 12] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity",
    ];
    let starts = text.starts_with(|first: char| {
        first.is_alphabetic()
            || first == '_'
            || first == '/'
            || (may_start_with_digit && first.is_ascii_digit())
    });
    let characters = text.chars().all(|character| {
        character.is_alphanumeric()
            || matches!(
                character,
                '_' | '-' | '.' | '/' | ' ' | ':' | '@' | '+' | '(' | ')'
            )
    });
    starts
        && characters
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && super::value::read(text) == Ok(Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edit::yaml::value::read;

    #[test]
    fn quotes_only_where_needed() {
        for (text, expected) in [
            ("plain words", "plain words"),
            ("yes", "'yes'"),
            ("2025-01-01", "'2025-01-01'"),
            ("it's", "'it''s'"),
            ("", "''"),
            ("a\nb", "\"a\\nb\""),
            ("a: b", "'a: b'"),
            ("null", "'null'"),
            ("größe", "größe"),
        ] {
            assert_eq!(string(text, None, ""), expected);
        }
        assert_eq!(string("a", Some(Style::Double), ""), "\"a\"");
        assert_eq!(
            string("2025-01-02", Some(Style::Plain), "2025-01-01"),
            "2025-01-02"
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(|number| Value::Number(number.into())),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(|n| Value::Number(n.into())),
            any::<String>().prop_map(Value::String),
            "[a-z:# ,{}\\[\\]'\"-]{0,6}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Sequence),
                prop::collection::hash_map("[a-z0-9 :]{1,6}", inner, 0..4).prop_map(|entries| {
                    Value::Mapping(
                        entries
                            .into_iter()
                            .map(|(key, value)| (Value::String(key), value))
                            .collect(),
                    )
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn reads_back(new in any_value(), style in prop::sample::select(vec![
            None, Some(Style::Plain), Some(Style::Single), Some(Style::Double), Some(Style::Block)
        ])) {
            let text = format!("k: {}\n", value(&new, style, ""));
            prop_assert!(!text.trim_end_matches('\n').contains('\n'), "{}", text);
            let Value::Mapping(read) = read(&text).unwrap() else { panic!("{text}") };
            prop_assert_eq!(read.get("k").unwrap(), &new, "{}", text);
        }
    }
}

//! Edits of JSON texts, with comments and trailing commas where there are any.

use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use jsonc_parser::{CollectOptions, ParseOptions};
use serde_json::{Map, Value};

use super::key_path::KeyPath;
use super::numbers;
use super::{Edited, Splice, apply, cannot_change_only, check_size, split_mark};
use crate::base::error::{Error, Result};

/// The whole text as plain data; strict JSON.
///
/// # Errors
/// `Invalid` for what is no JSON, and for a number of which a script would hold other digits, with its key path.
pub fn parse(text: &str) -> Result<Value> {
    let invalid = |why: String| Error::invalid(format!("this file is not JSON: {why}"));
    let value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &options())
        .map_err(|error| invalid(error.to_string()))?;
    match parsed.value.as_ref().and_then(numbers::first_unfit) {
        None => Ok(value),
        Some((path, digits)) => {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!(" at `{path}`")
            };
            Err(Error::invalid(format!(
                "the number {digits}{place} has more digits than a script can hold"
            ))
            .hint("set_json and remove_json change other keys without reading it; read_text gives the text"))
        }
    }
}

/// The value at a key path; `None` if there is none.
pub fn get(text: &str, key_path: &str) -> Result<Option<Value>> {
    let path = KeyPath::parse(key_path)?;
    let (_, old) = open(text)?;
    Ok(path
        .keys()
        .iter()
        .try_fold(&old, |value, key| value.as_object()?.get(key))
        .cloned())
}

/// Sets the value at a key path. Missing keys are added after their siblings, in the indentation of the file.
pub fn set(text: &str, key_path: &str, value: &Value) -> Result<Edited> {
    let path = KeyPath::parse(key_path)?;
    let (body, old) = open(text)?;
    let mut expected = old.clone();
    put(&mut expected, &path, value)?;
    if expected == old {
        return Ok(Edited::Unchanged);
    }
    let root = tree(body, &path)?;
    let mut object = root.object_value().ok_or_else(|| cannot_change_only(key_path))?;
    for (depth, key) in path.keys().iter().enumerate() {
        let (holders, below) = (path.keys().get(..depth), path.keys().get(depth + 1..));
        let (holders, below) = (holders.unwrap_or_default(), below.unwrap_or_default());
        match find(&object, key, &path)? {
            None => {
                let nested = below.iter().rev().fold(value.clone(), |value, key| {
                    Value::Object(Map::from_iter([(key.clone(), value)]))
                });
                if let Some(new) = append_on_line(body, holders, key, &nested) {
                    return checked(text, &new, &expected, key_path);
                }
                object.append(key, input(&nested));
                break;
            }
            Some(property) if below.is_empty() => property.set_value(input(value)),
            Some(property) => {
                object = property
                    .object_value()
                    .ok_or_else(|| cannot_change_only(key_path))?;
            }
        }
    }
    checked(text, &root.to_string(), &expected, key_path)
}

/// Removes the property at a key path; an object that loses its last one stays, empty.
pub fn remove(text: &str, key_path: &str) -> Result<Edited> {
    let path = KeyPath::parse(key_path)?;
    let (body, old) = open(text)?;
    let mut expected = old.clone();
    if !take(&mut expected, path.keys()) {
        return Ok(Edited::Unchanged);
    }
    let root = tree(body, &path)?;
    let mut object = root.object_value().ok_or_else(|| cannot_change_only(key_path))?;
    let (last, holders) = path
        .keys()
        .split_last()
        .ok_or_else(|| Error::bug("a key path is empty"))?;
    for key in holders {
        let property = find(&object, key, &path)?.ok_or_else(|| cannot_change_only(key_path))?;
        object = property
            .object_value()
            .ok_or_else(|| cannot_change_only(key_path))?;
    }
    find(&object, last, &path)?
        .ok_or_else(|| cannot_change_only(key_path))?
        .remove();
    checked(text, &root.to_string(), &expected, key_path)
}

/// JSON, but for comments and trailing commas, which some tools allow.
fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
    }
}

fn read(body: &str) -> Result<Value, String> {
    jsonc_parser::parse_to_serde_value(body, &options()).map_err(|error| error.to_string())
}

fn open(text: &str) -> Result<(&str, Value)> {
    check_size(text)?;
    let (_, body) = split_mark(text);
    let value = read(body).map_err(|why| {
        Error::failed(format!("this file is not JSON that can be edited: {why}")).hint("correct it by hand")
    })?;
    Ok((body, value))
}

fn tree(body: &str, path: &KeyPath) -> Result<CstRootNode> {
    CstRootNode::parse(body, &options()).map_err(|_| cannot_change_only(&path.to_string()))
}

/// The edited text, if it says what was expected.
fn checked(text: &str, new: &str, expected: &Value, what: &str) -> Result<Edited> {
    let (mark, _) = split_mark(text);
    if read(new).as_ref() == Ok(expected) {
        Ok(Edited::Changed(format!("{mark}{new}")))
    } else {
        Err(cannot_change_only(what))
    }
}

/// The property of this name; more than one is refused.
fn find(object: &CstObject, key: &str, path: &KeyPath) -> Result<Option<CstObjectProp>> {
    let mut found = None;
    for property in object.properties() {
        let same = property
            .name()
            .and_then(|name| name.decoded_value().ok())
            .is_some_and(|name| name == key);
        if same && found.replace(property).is_some() {
            return Err(Error::failed(format!(
                "cannot change only `{path}` in this file: `{key}` stands there twice"
            ))
            .hint("the file was left alone; edit it by hand"));
        }
    }
    Ok(found)
}

fn put(root: &mut Value, path: &KeyPath, new: &Value) -> Result<()> {
    let mut value = root;
    for (depth, key) in path.keys().iter().enumerate() {
        let Value::Object(object) = value else {
            let what = if depth == 0 {
                "the whole file".to_owned()
            } else {
                format!("`{}`", path.display(depth))
            };
            return Err(
                Error::invalid(format!("cannot set `{path}`: {what} is not an object"))
                    .hint("name a key of an object"),
            );
        };
        let missing = if depth + 1 == path.keys().len() {
            Value::Null
        } else {
            Value::Object(Map::new())
        };
        value = object.entry(key.clone()).or_insert(missing);
    }
    value.clone_from(new);
    Ok(())
}

fn take(root: &mut Value, keys: &[String]) -> bool {
    let Some((last, holders)) = keys.split_last() else {
        return false;
    };
    holders
        .iter()
        .try_fold(root, |value, key| value.as_object_mut()?.get_mut(key))
        .and_then(Value::as_object_mut)
        .is_some_and(|object| object.shift_remove(last).is_some())
}

/// Adds a property to an object that stands on one line with others, where the tree would break the line.
fn append_on_line(body: &str, holders: &[String], key: &str, value: &Value) -> Option<String> {
    let parsed = jsonc_parser::parse_to_ast(body, &CollectOptions::default(), &options()).ok()?;
    let root = parsed.value?;
    let object = holders
        .iter()
        .try_fold(root.as_object()?, |object, key| object.get_object(key))?;
    let end = object.properties.last()?.range.end;
    if body.get(object.range.start..object.range.end)?.contains('\n') {
        return None;
    }
    let key = Value::String(key.to_owned());
    apply(body, vec![Splice::insert(end, format!(", {key}: {value}"))])
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(entries) => CstInputValue::Object(
            entries
                .iter()
                .map(|(key, value)| (key.clone(), input(value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const PACKAGE: &str = "{\n    \"name\":   \"x\",\n    \"scripts\": {\n        \"a:b\": \"node a\", // why\n        \"dbt.run\": \"dbt\"\n    },\n    \"list\": [1,2],\n    \"one\": { \"only\": 1 },\n    \"empty\": {}\n}";

    fn changed(edited: Result<Edited>) -> String {
        match edited.unwrap() {
            Edited::Changed(new) => new,
            Edited::Unchanged => panic!("nothing changed"),
        }
    }

    const DIGITS: &str =
        "{\"big\": 12345678901234567890123, \"v\": [1.10, {\"x\": 1e5}, -0, 1E+2, 0.1e-7], \"o\": 1}";

    #[test]
    fn two_meanings_of_one_thing_digits_that_were_not_asked_for_stay() {
        let expected = DIGITS.replace("\"o\": 1", "\"o\": 2");
        assert_eq!(changed(set(DIGITS, "o", &json!(2))), expected);
        let left = changed(remove(DIGITS, "o"));
        assert!(DIGITS.starts_with(left.trim_end_matches('}')), "{left}");
        let added = changed(set(DIGITS, "n", &json!(1.5)));
        assert!(added.starts_with(DIGITS.trim_end_matches('}')), "{added}");
        assert_eq!(set(DIGITS, "o", &json!(1)).unwrap(), Edited::Unchanged);

        let error = parse(DIGITS).unwrap_err();
        assert!(
            error.message().contains("12345678901234567890123 at `big`"),
            "{error}"
        );
        let error = parse("{\"a.b\": [1, {\"c\": 1.00000000000000000001}]}").unwrap_err();
        assert!(error.message().contains("at `\"a.b\".1.c`"), "{error}");
        assert_eq!(parse("[1.10, 1e5, -1]").unwrap(), json!([1.1, 1e5, -1]));
        assert!(parse("18446744073709551615").is_err() && parse("{} x").is_err() && parse("[1,]").is_err());
    }

    #[test]
    fn sets_one_value_and_nothing_else() {
        for (path, value, before, after) in [
            ("name", json!("y"), "\"x\"", "\"y\""),
            ("scripts.\"dbt.run\"", json!(null), "\"dbt\"\n", "null\n"),
            (
                "scripts.\"a:b\"",
                json!("q\"\\\u{1}"),
                "\"node a\"",
                "\"q\\\"\\\\\\u0001\"",
            ),
            (
                "scripts.new",
                json!(1.5),
                "\"dbt\"\n",
                "\"dbt\",\n        \"new\": 1.5\n",
            ),
            ("list", json!([3]), "[1,2]", "[3]"),
            (
                "one.more.yet",
                json!(true),
                "{ \"only\": 1 }",
                "{ \"only\": 1, \"more\": {\"yet\":true} }",
            ),
        ] {
            for newline in ["\n", "\r\n"] {
                for end in ["", "\n"] {
                    let text = format!("{PACKAGE}{end}").replace('\n', newline);
                    let expected =
                        text.replace(&before.replace('\n', newline), &after.replace('\n', newline));
                    assert_eq!(changed(set(&text, path, &value)), expected, "{path}");
                }
            }
        }
        assert_eq!(
            changed(set("\u{feff}{\"a\":1}", "a", &json!(2))),
            "\u{feff}{\"a\":2}"
        );
    }

    #[test]
    fn removes_one_property_and_nothing_else() {
        for (path, before, after) in [
            ("name", "    \"name\":   \"x\",\n", ""),
            (
                "scripts.\"dbt.run\"",
                "\"node a\", // why\n        \"dbt.run\": \"dbt\"\n",
                "\"node a\" // why\n",
            ),
            ("scripts.\"a:b\"", "        \"a:b\": \"node a\", // why\n", ""),
            ("list", "    \"list\": [1,2],\n", ""),
            ("empty", ",\n    \"empty\": {}\n", "\n"),
        ] {
            for newline in ["\n", "\r\n"] {
                let text = PACKAGE.replace('\n', newline);
                let expected = text.replace(&before.replace('\n', newline), &after.replace('\n', newline));
                assert_eq!(changed(remove(&text, path)), expected, "{path}");
            }
        }
        assert_eq!(remove(PACKAGE, "nothing.here").unwrap(), Edited::Unchanged);
        assert_eq!(
            get(&changed(remove(PACKAGE, "one.only")), "one").unwrap(),
            Some(json!({}))
        );
    }

    #[test]
    fn refuses_what_it_cannot_change_alone() {
        for text in [
            "{\"a\": 1, \"a\": 2}",
            "{",
            "",
            "[1]",
            "{a: 1}",
            "{'a': 1}",
            "{\"a\": 1} x",
        ] {
            assert!(set(text, "a", &json!(3)).is_err(), "{text}");
        }
        assert!(set("{\"a\": 1}", "a.b", &json!(3)).is_err());
        assert!(set(&"[".repeat(100_000), "a", &json!(3)).is_err());
        assert!(set(&"{\"a\":".repeat(100_000), "a", &json!(3)).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(|number| json!(number)),
            "[a-c/\\\\\"{},: é\u{1}]{0,5}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map("[a-d.]{1,2}", inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn says_what_was_asked_for(
            entries in prop::collection::btree_map("[a-d.]{1,2}", any_json(), 0..5),
            key in "[a-d.]{1,2}", new in any_json(), pretty: bool, crlf: bool,
        ) {
            let old = Value::Object(entries.into_iter().collect());
            let mut text = if pretty { serde_json::to_string_pretty(&old).unwrap() } else { old.to_string() };
            if crlf { text = text.replace('\n', "\r\n"); }
            let path = KeyPath::of([key.clone()]).unwrap().to_string();
            let mut expected = old.clone();
            expected[&key] = new.clone();
            let edited = set(&text, &path, &new).unwrap().or(&text);
            prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), expected);
            let without = remove(&edited, &path).unwrap().or(&edited);
            let mut expected = old.clone();
            expected.as_object_mut().unwrap().shift_remove(&key);
            prop_assert_eq!(serde_json::from_str::<Value>(&without).unwrap(), expected);
            prop_assert_eq!(edited.ends_with('\n'), text.ends_with('\n'));
            if crlf && text.contains('\n') { prop_assert!(!edited.replace("\r\n", "").contains('\n')); }
        }

        #[test]
        fn never_panics_and_never_lies(text in prop_oneof![any::<String>(), "[{}\\[\\]\",:a1/*\n ]{0,30}", "(\\{|\\}|\"a\"|\"b\"|: |, |1|//|\n|/\\*|\\*/){0,16}"]) {
            for path in ["a", "a.b"] {
                if let Ok(Edited::Changed(new)) = set(&text, path, &json!("v")) {
                    prop_assert_eq!(get(&new, path).unwrap(), Some(json!("v")));
                }
                if let Ok(Edited::Changed(new)) = remove(&text, path) {
                    prop_assert_eq!(get(&new, path).unwrap(), None);
                }
            }
        }
    }
}

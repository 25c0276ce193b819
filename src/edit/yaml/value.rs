//! YAML values, read within bounds: aliases that expand without end are an error, not a hang.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Number, Value};

use crate::edit::key_path::{self, KeyPath};
use crate::edit::split_mark;

/// Deeper nesting of brackets than this is refused before the parser, which is slow on it, sees it.
const DEEPEST_BRACKETS: usize = 10_000;
/// What aliases may add to a text, in nodes and bytes.
const ALIAS_ALLOWANCE: usize = 1 << 20;

/// Reads one document; the error is the reason in words, with line and column where known.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST_BRACKETS {
            return Err("it is nested too deeply".to_owned());
        }
    }
    let budget = Cell::new(text.len().saturating_mul(4).saturating_add(ALIAS_ALLOWANCE));
    Node(&budget)
        .deserialize(serde_yaml::Deserializer::from_str(split_mark(text).1))
        .map_err(|error| error.to_string())
}

/// One node, which is paid for out of the budget.
struct Node<'a>(&'a Cell<usize>);

impl Node<'_> {
    fn pay<E: serde::de::Error>(&self, cost: usize) -> Result<(), E> {
        let left = self
            .0
            .get()
            .checked_sub(cost)
            .ok_or_else(|| E::custom("its aliases expand to too much"))?;
        self.0.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.pay(1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    // Wider integers are compared as JavaScript would see them.
    #[expect(clippy::cast_precision_loss, reason = "JavaScript has only this precision")]
    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number((value as f64).into()))
    }

    #[expect(clippy::cast_precision_loss, reason = "JavaScript has only this precision")]
    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number((value as f64).into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.pay(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut sequence = Vec::new();
        while let Some(item) = items.next_element_seed(Node(self.0))? {
            sequence.push(item);
        }
        Ok(Value::Sequence(sequence))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut mapping = Mapping::new();
        while let Some(key) = entries.next_key_seed(Node(self.0))? {
            if mapping.contains_key(&key) {
                return Err(A::Error::custom(format!(
                    "the key `{}` stands there twice",
                    key_name(&key)
                )));
            }
            let value = entries.next_value_seed(Node(self.0))?;
            mapping.insert(key, value);
        }
        Ok(Value::Mapping(mapping))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (tag, contents) = tagged.variant::<String>()?;
        if tag.is_empty() {
            return Err(A::Error::custom("a tag is empty"));
        }
        let value = contents.newtype_variant_seed(Node(self.0))?;
        Ok(Value::Tagged(Box::new(TaggedValue {
            tag: Tag::new(tag),
            value,
        })))
    }
}

/// The name of a key as JavaScript makes it: scalars as text.
pub(crate) fn key_name(key: &Value) -> String {
    match key {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) => value.clone(),
        Value::Sequence(_) => "[...]".to_owned(),
        Value::Mapping(_) => "{...}".to_owned(),
        Value::Tagged(tagged) => key_name(&tagged.value),
    }
}

/// Which entry a segment of a path names: the string, else a number, truth value or null that is written so.
pub(super) fn position(mapping: &Mapping, segment: &str) -> Option<usize> {
    mapping
        .keys()
        .position(|key| matches!(key, Value::String(name) if name == segment))
        .or_else(|| {
            mapping.keys().position(|key| {
                matches!(key, Value::Null | Value::Bool(_) | Value::Number(_)) && key_name(key) == segment
            })
        })
}

/// The entry at an index.
pub(super) fn entry(mapping: &Mapping, index: usize) -> Option<&Value> {
    mapping.values().nth(index)
}

/// How far a path leads: the indices of the entries that exist, and the value at the last of them.
pub(super) fn follow<'a>(root: &'a Value, path: &KeyPath) -> (Vec<usize>, &'a Value) {
    let mut indices = Vec::new();
    let mut value = root;
    for key in path.keys() {
        let Value::Mapping(mapping) = value else { break };
        let Some(index) = position(mapping, key) else {
            break;
        };
        let Some(next) = entry(mapping, index) else { break };
        indices.push(index);
        value = next;
    }
    (indices, value)
}

/// The value at the end of a path of indices.
pub(super) fn at_mut<'a>(root: &'a mut Value, indices: &[usize]) -> Option<&'a mut Value> {
    let mut value = root;
    for index in indices {
        value = match value {
            Value::Mapping(mapping) => mapping.values_mut().nth(*index)?,
            Value::Sequence(items) => items.get_mut(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

/// A JSON value as YAML.
pub(super) fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Number(if let Some(value) = number.as_u64() {
            value.into()
        } else if let Some(value) = number.as_i64() {
            value.into()
        } else {
            number
                .as_f64()
                .map_or_else(|| Number::from(f64::NAN), Number::from)
        }),
        serde_json::Value::String(value) => Value::String(value.clone()),
        serde_json::Value::Array(items) => Value::Sequence(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => Value::Mapping(
            entries
                .iter()
                .map(|(key, value)| (Value::String(key.clone()), from_json(value)))
                .collect(),
        ),
    }
}

/// The key path of the first whole number that a script can't hold; it may have been written with an exponent.
pub(super) fn first_unfit(value: &Value) -> Option<String> {
    // From here on, not every whole number is a double.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    let below = |name: String, value: &Value| {
        first_unfit(value).map(|path| {
            if path.is_empty() {
                name.clone()
            } else {
                format!("{name}.{path}")
            }
        })
    };
    match value {
        Value::Number(number) => {
            let double = || number.as_f64().unwrap_or_default();
            let unfit = number.as_i64().is_none()
                && (number.as_u64().is_some() || double().is_finite() && double().abs() >= WHOLE);
            unfit.then(String::new)
        }
        Value::Sequence(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| below(index.to_string(), item)),
        Value::Mapping(entries) => entries.iter().find_map(|(key, item)| {
            let name = key_path::show(std::iter::once(key_name(key).as_str()));
            below(name, item)
        }),
        Value::Tagged(tagged) => first_unfit(&tagged.value),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

/// A YAML value as JSON: keys become text, tags go, numbers that JSON lacks become null.
pub(super) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => {
            if let Some(value) = number.as_u64() {
                value.into()
            } else if let Some(value) = number.as_i64() {
                value.into()
            } else {
                number.as_f64().into()
            }
        }
        Value::String(value) => value.clone().into(),
        Value::Sequence(items) => items.iter().map(to_json).collect(),
        Value::Mapping(entries) => entries
            .iter()
            .map(|(key, value)| (key_name(key), to_json(value)))
            .collect(),
        Value::Tagged(tagged) => to_json(&tagged.value),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn reads_what_the_library_reads() {
        for text in [
            "",
            "a: 1\nb: [x, ~, 1.5]\n",
            "- !thing 3\n- {a: b}\n",
            "&a x",
            "18446744073709551615",
            "-1",
        ] {
            assert_eq!(
                read(text).unwrap(),
                serde_yaml::from_str::<Value>(text).unwrap(),
                "{text}"
            );
        }
        assert_eq!(
            read("99999999999999999999999").unwrap(),
            Value::Number(1e23.into())
        );
    }

    #[test]
    fn two_meanings_of_one_thing_whole_numbers_that_no_script_holds_are_found() {
        let unfit = |text: &str| first_unfit(&read(text).unwrap());
        assert_eq!(
            unfit("a: 1\nb: {c: [1, 12345678901234567890123]}"),
            Some("b.c.1".to_owned())
        );
        assert_eq!(unfit("18446744073709551615"), Some(String::new()));
        assert_eq!(unfit("\"a.b\": 9223372036854775808"), Some("\"a.b\"".to_owned()));
        assert_eq!(
            unfit("a: [1.10, 1e5, -9223372036854775808, .inf, .nan, '12345678901234567890123']"),
            None
        );
    }

    #[test]
    fn bombs_are_errors() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let previous = format!("*a{}, ", n - 1).repeat(10);
            writeln!(bomb, "a{n}: &a{n} [{}]", previous.trim_end_matches(", ")).unwrap();
        }
        assert!(read(&bomb).is_err());
        let wide = format!(
            "a: &a [{}]\nb: [{}]\n",
            "x, ".repeat(20_000),
            "*a, ".repeat(20_000)
        );
        assert!(read(&wide).unwrap_err().contains("expand"));
        assert!(read("&a [*a]").is_err());
        assert!(read(&"[".repeat(1_000_000)).unwrap_err().contains("nested"));
        assert!(read(&"[".repeat(5_000)).is_err());
    }

    #[test]
    fn a_key_that_stands_there_twice_is_an_error_with_its_line() {
        let error = read("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
        assert!(error.contains("`c`") && error.contains("line"), "{error}");
    }
}

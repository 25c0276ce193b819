//! Numbers as files write them, and as scripts can hold them: a whole number of 64 bits, or a double.

use jsonc_parser::ast::Value;

use super::key_path;

/// The first number of a JSON text of which a script would hold other digits, with its place: a key path, with the places
/// in lists counted from 0.
pub(super) fn first_unfit(value: &Value<'_>) -> Option<(String, String)> {
    let mut names = Vec::new();
    search(value, &mut names).map(|digits| (names.join("."), digits.to_owned()))
}

/// Leaves the names that lead to it.
fn search<'a>(value: &'a Value<'_>, names: &mut Vec<String>) -> Option<&'a str> {
    match value {
        Value::NumberLit(number) => (!is_held(number.value)).then_some(number.value),
        Value::Object(object) => object.properties.iter().find_map(|property| {
            names.push(key_path::show(std::iter::once(property.name.as_str())));
            let found = search(&property.value, names);
            if found.is_none() {
                names.pop();
            }
            found
        }),
        Value::Array(array) => array.elements.iter().enumerate().find_map(|(index, element)| {
            names.push(index.to_string());
            let found = search(element, names);
            if found.is_none() {
                names.pop();
            }
            found
        }),
        Value::StringLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => None,
    }
}

/// Whether the number keeps its value in a script.
fn is_held(literal: &str) -> bool {
    if !literal.contains(['.', 'e', 'E']) {
        return literal.parse::<i64>().is_ok();
    }
    literal
        .parse::<f64>()
        .is_ok_and(|number| number.is_finite() && significant(&format!("{number:e}")) == significant(literal))
}

/// The digits without zeros at the ends, and the power of ten of the last one.
fn significant(number: &str) -> Option<(String, i64)> {
    let number = number.trim_start_matches('-');
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{part}");
    let kept = digits.trim_end_matches('0');
    if kept.trim_start_matches('0').is_empty() {
        return Some((String::new(), 0));
    }
    let dropped = i64::try_from(digits.len() - kept.len()).ok()?;
    let exponent: i64 = exponent.trim_start_matches('+').parse().ok()?;
    let power = exponent
        .checked_sub(i64::try_from(part.len()).ok()?)?
        .checked_add(dropped)?;
    Some((kept.trim_start_matches('0').to_owned(), power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_meanings_of_one_thing_numbers_that_a_script_holds_otherwise() {
        for held in [
            "0",
            "-0",
            "1",
            "-9223372036854775808",
            "1.10",
            "1e5",
            "1E+2",
            "0.1e-7",
            "100.00",
            "0.000",
            "0.1",
            "1e300",
            "9007199254740993",
        ] {
            assert!(is_held(held), "{held}");
        }
        for other in [
            "9223372036854775808",
            "12345678901234567890123",
            "1.00000000000000000001",
            "3.14159265358979323846",
            "1e400",
            "9007199254740993.0",
            "1e-400",
        ] {
            assert!(!is_held(other), "{other}");
        }
    }
}

//! Between values of a script and plain data.

use rhai::Dynamic;

use crate::base::error::{Error, Result};

/// Plain data as a script's value.
///
/// # Errors
/// [`crate::base::error::Kind::Invalid`] for a number that no script value can hold.
pub fn to_script(value: &serde_json::Value) -> Result<Dynamic> {
    rhai::serde::to_dynamic(value)
        .map_err(|error| Error::invalid(format!("the value can't be read by a script: {error}")))
}

/// A script's value as plain data.
///
/// # Errors
/// [`crate::base::error::Kind::Invalid`] for a closure and the like.
pub fn from_script(value: Option<&Dynamic>) -> Result<serde_json::Value> {
    let Some(value) = value else {
        return Ok(serde_json::Value::Null);
    };
    if value.is_fnptr() {
        return Err(Error::invalid("a closure can't be written into a file"));
    }
    rhai::serde::from_dynamic(value)
        .map_err(|error| Error::invalid(format!("the value can't be written into a file: {error}")))
}

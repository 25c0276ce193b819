//! Failures of ours as errors of the script engine, and back.

use rhai::{Dynamic, EvalAltResult};

use crate::base::error::{Error, Kind};
use crate::base::redact::rendered;

/// Whether a script can catch it.
#[must_use]
pub fn catchable(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Denied
            | Kind::Cancelled
            | Kind::NotApproved
            | Kind::Changed
            | Kind::Corrupt
            | Kind::Limit
            | Kind::Bug
    )
}

/// A failure of ours as an error of the engine. Refusals and cancellation can't be caught by a script.
#[must_use]
pub fn raise(error: Error) -> Box<EvalAltResult> {
    let position = rhai::Position::NONE;
    let catchable = catchable(&error);
    let value = Dynamic::from(error);
    if catchable {
        EvalAltResult::ErrorRuntime(value, position).into()
    } else {
        EvalAltResult::ErrorTerminated(value, position).into()
    }
}

/// What a script threw: a failure of ours, or a value of its own.
#[must_use]
pub fn thrown(value: &Dynamic) -> Error {
    if let Some(error) = value.read_lock::<Error>() {
        return error.clone();
    }
    Error::failed(rendered(&format!("the script threw: {value}")))
}

/// What an error says, without where.
#[must_use]
pub fn message(error: &EvalAltResult) -> String {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => thrown(value).message().to_owned(),
        other => other.to_string(),
    }
}

/// The kind of a failure of ours that a script ran into.
#[must_use]
pub fn kind_of(error: &EvalAltResult) -> Option<Kind> {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => Some(thrown(value).kind()),
        _ => None,
    }
}

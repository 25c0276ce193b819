//! From an error of the engine to ours, with the script's line and a caret.

use std::sync::Arc;

use rhai::{EvalAltResult, ParseError};

use super::calls::Calls;
use super::nearest_word;
use crate::base::error::{Error, Position, Result};
use crate::base::redact::rendered;
use crate::pass::Session;
use crate::pass::thrown::thrown;
use crate::primitives;
use crate::workspace::story::Script;

/// A syntax error.
#[must_use]
pub fn parse_error(name: &str, source: &Arc<str>, error: &ParseError) -> Error {
    let message = error.err_type().to_string();
    Error::script(lower_first(&message)).at(Position {
        file: name.to_owned(),
        line: error.position().line().unwrap_or(0),
        column: error.position().position().unwrap_or(0),
        source: Some(Arc::clone(source)),
    })
}

/// An error of the engine as ours, at the deepest line of a script that a person wrote.
#[must_use]
pub fn explain(script: &Script, error: &EvalAltResult) -> Error {
    let (inner, position) = descend(script, error, error.position());
    let place = script.position(position);
    let failure = match inner {
        EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _) => thrown(value),
        EvalAltResult::ErrorFunctionNotFound(signature, _) => unknown_function(signature),
        EvalAltResult::ErrorParsing(kind, _) => Error::script(lower_first(&kind.to_string())),
        EvalAltResult::ErrorModuleNotFound(path, _) => cannot_import(path),
        EvalAltResult::ErrorTooManyOperations(_) => crate::pass::used_up(),
        EvalAltResult::ErrorStackOverflow(_) => {
            Error::limit("the script calls functions too deeply").hint("is there an endless recursion?")
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            Error::limit(format!("a value of the script is too large: {what}"))
        }
        EvalAltResult::ErrorTooManyModules(_) => Error::limit("the script imports too many modules"),
        EvalAltResult::ErrorTooManyVariables(_) => Error::limit("the script has too many variables"),
        EvalAltResult::ErrorVariableNotFound(name, _) => Error::script(format!("unknown variable `{name}`"))
            .hint("a function sees its parameters and `global::NAME` constants only"),
        other => {
            let mut other = other.to_string();
            if let Some(at) = other.rfind(" (line ") {
                other.truncate(at);
            }
            Error::script(rendered(&lower_first(&other)))
        }
    };
    failure.at(place)
}

/// Walks to the cause; keeps the last position inside the person's own script.
fn descend<'a>(
    script: &Script,
    error: &'a EvalAltResult,
    position: rhai::Position,
) -> (&'a EvalAltResult, rhai::Position) {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, source, inner, at) => {
            let own = source.is_empty() || *source == script.name;
            let inner_position = inner.position();
            let better = if own && !inner_position.is_none() {
                inner_position
            } else {
                outer(position, *at)
            };
            descend(script, inner, better)
        }
        EvalAltResult::ErrorInModule(_, inner, at) => descend(script, inner, outer(position, *at)),
        other => (other, position),
    }
}

fn outer(position: rhai::Position, at: rhai::Position) -> rhai::Position {
    if position.is_none() { at } else { position }
}

/// Nothing stands behind an import.
#[must_use]
pub fn cannot_import(path: &str) -> Error {
    Error::script(format!("cannot import `{path}`")).hint(
        "scripts import `std/story`, `std/service`, `std/files`, `std/packages`, `std/check`, or a script beside them",
    )
}

/// A word that was given a number in place of a text, in a script that uses `for_each`: what that gives is told.
#[must_use]
pub fn of_an_index(error: Error, session: &Session) -> Error {
    let uses = session.view.story.borrow().as_ref().is_some_and(|story| {
        let calls = Calls::of(&story.script.ast);
        calls.calls.iter().any(|call| call.name == "for_each")
    });
    if uses && error.message().ends_with("not integer") {
        return error.hint(
            "`for_each` gives its closure the index, and the element as `this`: \
             `paths.for_each(|| remove_path(this))`, or `for path in paths { remove_path(path); }`",
        );
    }
    error
}

/// A function that is not there, with the nearest word.
#[must_use]
pub fn unknown_function(signature: &str) -> Error {
    let name = signature.split([' ', '(']).next().unwrap_or(signature);
    let name = name.rsplit("::").next().unwrap_or(name);
    if let Some(word) = primitives::find(name) {
        return Error::script(format!("`{name}` is not said like this: {signature}"))
            .hint(format!("it is said as `{}`", word.signature()));
    }
    let failure = Error::script(format!("unknown function `{name}`"));
    match nearest_word(name) {
        Some(word) => failure.hint(format!("did you mean `{}`?", word.signature())),
        None => failure.hint("`rollback script doc` lists the words"),
    }
}

/// Puts an error of a phase into our form.
///
/// # Errors
/// The error, explained.
pub fn checked<T>(script: &Script, result: Result<T, Box<EvalAltResult>>) -> Result<T> {
    result.map_err(|error| explain(script, &error))
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

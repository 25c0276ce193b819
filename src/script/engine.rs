//! The engine: limits, words, and nothing that reaches the world by another way.

use std::any::TypeId;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext};

use super::diagnostics::{catchable, raise};
use super::library::{Library, STANDARD};
use super::session::{Session, Telling};
use crate::error::{Error, Position};
use crate::primitive::{Action, Primitive};
use crate::primitives;

/// Operations between two looks at the clock: looking at each would cost more than the script.
const CLOCK_EVERY: u64 = 1_000;

/// An engine that compiles scripts and can't run a word: for headers and checks.
#[must_use]
pub fn reader() -> Engine {
    let mut engine = Engine::new_raw();
    limit(&mut engine);
    engine
}

/// An engine whose words act in `session`; scripts beside `beside` can be imported.
#[must_use]
pub fn engine(session: &Rc<Session>, beside: Option<PathBuf>) -> Engine {
    let mut engine = Engine::new();
    limit(&mut engine);
    engine.set_module_resolver(Library::new(beside));
    engine.set_max_operations(session.view.limits().operations);
    engine.register_type_with_name::<Error>("Error");
    engine.register_get("kind", |error: &mut Error| error.kind().name().to_owned());
    engine.register_get("message", |error: &mut Error| error.message().to_owned());
    engine.register_get("hint", |error: &mut Error| {
        error.hint_text().unwrap_or_default().to_owned()
    });
    engine.register_fn("to_string", |error: &mut Error| error.message().to_owned());

    let watcher = Rc::clone(session);
    let deadline = Instant::now() + session.view.limits().deadline;
    engine.on_progress(move |operations| {
        if operations % CLOCK_EVERY != 0 {
            return None;
        }
        stop(&watcher, deadline).map(Dynamic::from)
    });
    let printer = Rc::clone(session);
    engine.on_print(move |text| printer.note(text));
    let debugger = Rc::clone(session);
    engine.on_debug(move |text, _, _| debugger.note(text));

    for word in primitives::all() {
        register(&mut engine, session, word, deadline);
    }
    // The engine's own `sleep` would ignore the deadline.
    for kind in [TypeId::of::<i64>(), TypeId::of::<f64>()] {
        engine.register_raw_fn(
            "sleep",
            [kind],
            |_: NativeCallContext<'_>, _: &mut [&mut Dynamic]| {
                let refused: Result<Dynamic, Box<EvalAltResult>> = Err(raise(
                    Error::script("`sleep` is not a word here")
                        .hint("wait for the thing: a step waits for its own effect"),
                ));
                refused
            },
        );
    }
    engine
}

fn limit(engine: &mut Engine) {
    engine.set_optimization_level(rhai::OptimizationLevel::Simple);
    engine.disable_symbol("eval");
    engine.set_max_call_levels(48);
    engine.set_max_expr_depths(64, 32);
    engine.set_max_string_size(8 << 20);
    engine.set_max_array_size(100_000);
    engine.set_max_map_size(100_000);
    engine.set_max_modules(64);
    engine.set_max_functions(500);
    engine.set_max_variables(1_000);
}

/// What can't be caught loses its place on its way out of the script's functions, so it takes it along.
fn located(error: Error, session: &Session, context: &NativeCallContext<'_>) -> Error {
    if catchable(&error) {
        return error;
    }
    let (file, at) = (context.call_source().unwrap_or_default(), context.call_position());
    if let Some(story) = session
        .view
        .story
        .borrow()
        .as_ref()
        .filter(|story| file.is_empty() || file == story.script.name)
    {
        return error.at(story.script.position(at));
    }
    error.at(Position {
        file: file.to_owned(),
        line: at.line().unwrap_or(0),
        column: at.position().unwrap_or(0),
        source: STANDARD
            .iter()
            .find(|(name, _)| *name == file)
            .map(|(_, text)| (*text).into()),
    })
}

fn stop(session: &Session, deadline: Instant) -> Option<Error> {
    if let Some(error) = session.cancelled() {
        return Some(error);
    }
    (Instant::now() > deadline).then(|| {
        Error::limit("the script ran past its deadline").hint("policy.limits.deadline sets the limit")
    })
}

/// Registers a word for every number of arguments that it takes. Every parameter is open to any type, so that a
/// wrong type is answered by the word itself and not by "function not found".
fn register(engine: &mut Engine, session: &Rc<Session>, word: &'static Primitive, deadline: Instant) {
    let needed = word
        .parameters
        .iter()
        .filter(|parameter| !parameter.optional)
        .count();
    for count in needed..=word.parameters.len() {
        let session = Rc::clone(session);
        let types = vec![TypeId::of::<Dynamic>(); count];
        engine.register_raw_fn(
            word.name,
            types,
            move |context: NativeCallContext<'_>,
                  values: &mut [&mut Dynamic]|
                  -> Result<Dynamic, Box<EvalAltResult>> {
                if let Some(error) = stop(&session, deadline) {
                    return Err(raise(error));
                }
                // Cloned, never taken: the first one may be the script's own variable.
                let values = values.iter().map(|value| value.flatten_clone()).collect();
                let raise = |error| raise(located(error, &session, &context));
                let arguments = word.accept(values).map_err(raise)?;
                match word.action {
                    Action::Look(look) => look(&arguments, &session.view).map_err(raise),
                    Action::Change(propose) => session.change(word, &arguments, propose).map_err(raise),
                    Action::Tell(tell) => tell(
                        &arguments,
                        &Telling {
                            session: &session,
                            context: &context,
                        },
                    ),
                }
            },
        );
    }
}

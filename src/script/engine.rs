//! The engine: limits, words, and nothing that reaches the world by another way.

use std::any::TypeId;
use std::path::PathBuf;
use std::rc::Rc;

use rhai::{Dynamic, Engine, EvalAltResult, NativeCallContext};

use super::library::{Library, STANDARD};
use super::{diagnostics, failing, patterns, sizes};
use crate::base::error::{Error, Position};
use crate::pass::thrown::{catchable, raise};
use crate::pass::{Session, Telling};
use crate::primitives;
use crate::primitives::contract::{Action, Primitive};
use crate::workspace::config::Limits;

/// An engine that compiles scripts and can't run a word: for headers and checks.
#[must_use]
pub fn reader() -> Engine {
    let mut engine = Engine::new_raw();
    limit(&mut engine, &Limits::default());
    engine
}

/// An engine whose words act in `session`; scripts beside `beside` can be imported. The session's allowance says how long
/// it goes on: whoever calls the engine begins to count.
#[must_use]
pub fn engine(session: &Rc<Session>, beside: Option<PathBuf>) -> Engine {
    let mut engine = Engine::new();
    let limits = session.view.limits();
    limit(&mut engine, limits);
    sizes::register(&mut engine);
    let sources = Rc::clone(&session.sources);
    engine.set_module_resolver(Library::new(beside, limits.modules, sources));
    engine.register_type_with_name::<Error>("Error");
    engine.register_get("kind", |error: &mut Error| error.kind().name().to_owned());
    engine.register_get("message", |error: &mut Error| error.message().to_owned());
    engine.register_get("hint", |error: &mut Error| {
        error.hint_text().unwrap_or_default().to_owned()
    });
    engine.register_fn("to_string", |error: &mut Error| error.message().to_owned());

    let watcher = Rc::clone(session);
    engine.on_progress(move |_| watcher.count_operation().map(Dynamic::from));
    let printer = Rc::clone(session);
    engine.on_print(move |text| printer.note(text));
    let debugger = Rc::clone(session);
    engine.on_debug(move |text, _, _| {
        #[cfg(debug_assertions)]
        failing::fail_for_a_test(text);
        debugger.note(text);
    });

    if session.watch.is_search() {
        let marker = Rc::clone(session);
        engine.register_fn(failing::MARK, move |line: i64| marker.watch.mark(line));
    }
    for word in primitives::all() {
        register(&mut engine, session, word);
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

/// An engine without words, which ends after a time: for functions that only compute.
#[must_use]
pub fn computing(limits: &Limits, beside: Option<PathBuf>, time: std::time::Duration) -> Engine {
    /// Looking at the clock at each operation would cost more than the operation.
    const EACH: u64 = 1000;
    let mut engine = Engine::new();
    limit(&mut engine, limits);
    sizes::register(&mut engine);
    engine.set_max_operations(limits.operations);
    engine.set_module_resolver(Library::new(beside, limits.modules, Rc::default()));
    let end = std::time::Instant::now() + time;
    engine.on_progress(move |operations| {
        (operations % EACH == 0 && std::time::Instant::now() >= end)
            .then(|| Dynamic::from(Error::limit(format!("it takes longer than {time:?}"))))
    });
    engine.on_print(|_| {});
    engine.on_debug(|_, _, _| {});
    engine
}

fn limit(engine: &mut Engine, limits: &Limits) {
    engine.set_optimization_level(rhai::OptimizationLevel::Simple);
    engine.disable_symbol("eval");
    // Values that are hidden in a function pointer escape every count of sizes.
    engine.disable_symbol("curry");
    engine.set_max_call_levels(limits.call_depth);
    engine.set_max_expr_depths(limits.expression_depth, limits.expression_depth.div_ceil(2));
    engine.set_max_string_size(usize::try_from(limits.string_size).unwrap_or(usize::MAX));
    engine.set_max_array_size(limits.array_size);
    engine.set_max_map_size(limits.map_size);
    engine.set_max_modules(limits.modules);
    engine.set_max_functions(500);
    engine.set_max_variables(limits.variables);
}

/// What can't be caught loses its place on its way out of the script's functions, so it takes it along.
fn located(error: Error, session: &Session, context: &NativeCallContext<'_>) -> Error {
    if catchable(&error) {
        return error;
    }
    error.at(call_site(session, context))
}

/// Where a word is said.
fn call_site(session: &Session, context: &NativeCallContext<'_>) -> Position {
    let (file, at) = (context.call_source().unwrap_or_default(), context.call_position());
    if let Some(story) = session
        .view
        .story
        .borrow()
        .as_ref()
        .filter(|story| file.is_empty() || file == story.script.name)
    {
        return story.script.position(at);
    }
    Position {
        file: file.to_owned(),
        line: at.line().unwrap_or(0),
        column: at.position().unwrap_or(0),
        source: STANDARD
            .iter()
            .find(|(name, _)| *name == file)
            .map(|(_, text)| (*text).into()),
    }
}

/// Keeps what can't be caught, so that nothing can swallow it.
fn keep(session: &Session, error: &EvalAltResult) {
    if let EvalAltResult::ErrorTerminated(value, _) = error.unwrap_inner()
        && let Some(failure) = value.read_lock::<Error>()
    {
        session.ended.borrow_mut().get_or_insert_with(|| failure.clone());
    }
}

/// Registers a word for every number of arguments that it takes. Every parameter is open to any type, so that a
/// wrong type is answered by the word itself and not by "function not found".
fn register(engine: &mut Engine, session: &Rc<Session>, word: &'static Primitive) {
    for count in word.counts() {
        let session = Rc::clone(session);
        let types = vec![TypeId::of::<Dynamic>(); count];
        engine.register_raw_fn(
            word.name,
            types,
            move |context: NativeCallContext<'_>,
                  values: &mut [&mut Dynamic]|
                  -> Result<Dynamic, Box<EvalAltResult>> {
                if let Some(error) = session.stopped() {
                    return Err(raise(error));
                }
                // Cloned, never taken: the first one may be the script's own variable.
                let values = values.iter().map(|value| value.flatten_clone()).collect();
                let raise = |error| {
                    let error = session.view.allowance.explain(error);
                    raise(located(error, &session, &context))
                };
                session.watch.called_at(call_site(&session, &context));
                let act = || {
                    let _span = tracing::debug_span!("word", name = word.name).entered();
                    let arguments = word
                        .accept(values)
                        .map_err(|error| raise(diagnostics::of_an_index(error, &session)))?;
                    patterns::given(&session, word, &arguments);
                    match word.action {
                        Action::Look(look) => {
                            let value = look(&arguments, &session.view).map_err(raise)?;
                            patterns::answered(&session, word, &arguments, &value);
                            Ok(value)
                        }
                        Action::Change(propose) => session
                            .change(&arguments.call(word.name), |view| propose(&arguments, view))
                            .and_then(|value| primitives::to_script(&value))
                            .map_err(raise),
                        Action::Tell(tell) => tell(
                            &arguments,
                            &Telling {
                                session: &session,
                                context: &context,
                            },
                        ),
                    }
                };
                session
                    .watch
                    .within(true, act)
                    .inspect_err(|error| keep(&session, error))
            },
        );
    }
}

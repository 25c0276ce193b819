//! Triggers in a script: `fn trigger(metrics)` of a story computes from the metrics, without any word. True or a number is
//! its value.

use std::path::PathBuf;
use std::time::Duration;

use rhai::{CallFnOptions, Dynamic, Map, Scope};

use super::Watch;
use super::trigger::Trigger;
use crate::base::error::{Error, Result};
use crate::script::{diagnostics, engine};
use crate::workspace::config::Limits;
use crate::workspace::story::{Origin, Script};

/// How long the function may take.
const TIME: Duration = Duration::from_secs(1);

/// What the function says at `now` (ms).
///
/// # Errors
/// What the script throws; a limit; a value that is neither true, false nor a number.
pub fn evaluate(script: &Script, limits: &Limits, trigger: &Trigger, watch: &Watch, now: i64) -> Result<f64> {
    let beside = match &script.origin {
        Origin::Embedded => None,
        Origin::File(path) => path.parent().map(PathBuf::from),
    };
    let has = script
        .ast
        .iter_functions()
        .any(|function| function.name == "trigger" && function.params.len() == 1);
    if !has {
        return Err(
            Error::script(format!("`{}` has no function `trigger(metrics)`", script.name))
                .hint("write `fn trigger(metrics) { metrics.memory > 0.8 }`"),
        );
    }
    let engine = engine::computing(limits, beside, TIME);
    let options = CallFnOptions::new().eval_ast(true).rewind_scope(true);
    let result = engine.call_fn_with_options::<Dynamic>(
        options,
        &mut Scope::new(),
        &script.ast,
        "trigger",
        (metrics(trigger, watch, now),),
    );
    let value = diagnostics::checked(script, result)?;
    if let Ok(yes) = value.as_bool() {
        return Ok(f64::from(u8::from(yes)));
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a value that is compared with a threshold"
    )]
    if let Ok(number) = value.as_int() {
        return Ok(number as f64);
    }
    value
        .as_float()
        .ok()
        .filter(|number| number.is_finite())
        .ok_or_else(|| {
            Error::script(format!(
                "`trigger` of `{}` gives neither true, false nor a number",
                script.name
            ))
        })
}

/// What the function is given: `at`, `memory`, and by service `events`, `errors`, `error_rate`, `mean_ms`, `p95_ms`,
/// `crashes`, `lines`, `unreadable`, `unlevelled` over the trigger's window. What is not known is `()`.
fn metrics(trigger: &Trigger, watch: &Watch, now: i64) -> Dynamic {
    let metrics = &watch.memory.metrics;
    let known = |value: Option<f64>| value.map_or(Dynamic::UNIT, Dynamic::from);
    let count = |count: u64| Dynamic::from(i64::try_from(count).unwrap_or(i64::MAX));
    let mut services = Map::new();
    for (name, _) in metrics.services() {
        let totals = metrics.totals(name, now, trigger.window);
        let mut service = Map::new();
        service.insert("events".into(), count(totals.events));
        service.insert("errors".into(), count(totals.errors));
        service.insert("crashes".into(), count(totals.crashes));
        service.insert("lines".into(), count(totals.lines()));
        service.insert("unreadable".into(), count(totals.unplaced()));
        service.insert("unlevelled".into(), count(totals.unlevelled));
        service.insert("error_rate".into(), known(totals.error_rate()));
        service.insert("mean_ms".into(), known(totals.mean()));
        service.insert("p95_ms".into(), known(totals.quantile(0.95)));
        services.insert(name.into(), service.into());
    }
    let memory = metrics
        .gauge_of("memory")
        .and_then(super::window::Gauge::newest)
        .map(|(_, value)| value);
    let mut map = Map::new();
    map.insert("at".into(), now.into());
    map.insert("memory".into(), known(memory));
    map.insert("services".into(), services.into());
    map.into()
}

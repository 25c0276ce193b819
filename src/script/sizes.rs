//! Functions of the engine whose results can be far larger than what they are given. The engine measures a value after it
//! was made; these are measured before, because memory that can't be had ends the whole process.

use rhai::{Array, Dynamic, Engine, EvalAltResult, INT, ImmutableString, NativeCallContext, Position};

type Outcome = Result<(), Box<EvalAltResult>>;

/// Puts these functions in the place of the engine's own.
pub fn register(engine: &mut Engine) {
    engine.register_fn(
        "replace",
        |context: NativeCallContext<'_>, text: &mut ImmutableString, find: &str, by: &str| {
            replace(&context, text, find, by)
        },
    );
    engine.register_fn(
        "replace",
        |context: NativeCallContext<'_>, text: &mut ImmutableString, find: &str, by: char| {
            replace(&context, text, find, by.encode_utf8(&mut [0; 4]))
        },
    );
    engine.register_fn(
        "replace",
        |context: NativeCallContext<'_>, text: &mut ImmutableString, find: char, by: &str| {
            replace(&context, text, find.encode_utf8(&mut [0; 4]), by)
        },
    );
    engine.register_fn(
        "replace",
        |context: NativeCallContext<'_>, text: &mut ImmutableString, find: char, by: char| {
            replace(
                &context,
                text,
                find.encode_utf8(&mut [0; 4]),
                by.encode_utf8(&mut [0; 4]),
            )
        },
    );
    engine.register_fn(
        "pad",
        |context: NativeCallContext<'_>, list: &mut Array, length: INT, item: Dynamic| {
            pad(&context, list, length, &item)
        },
    );
}

fn replace(context: &NativeCallContext<'_>, text: &mut ImmutableString, find: &str, by: &str) -> Outcome {
    if by.len() > find.len() {
        let more = text.matches(find).count().saturating_mul(by.len() - find.len());
        if text.len().saturating_add(more) > context.engine().max_string_size() {
            return Err(too_large("Length of string").into());
        }
    }
    if !text.is_empty() {
        *text = text.replace(find, by).into();
    }
    Ok(())
}

fn pad(context: &NativeCallContext<'_>, list: &mut Array, length: INT, item: &Dynamic) -> Outcome {
    let engine = context.engine();
    let most = engine.max_array_size();
    let length = usize::try_from(length).unwrap_or(0);
    let more = length.saturating_sub(list.len());
    let text = item.read_lock::<ImmutableString>().map_or(0, |text| text.len());
    if more.saturating_mul(text) > engine.max_string_size() {
        return Err(too_large("Length of string").into());
    }
    // What holds other values is measured by them too: they are copied with it.
    if more > 0 && list.len().saturating_add(more.saturating_mul(elements(item))) > most {
        return Err(too_large("Size of array/BLOB").into());
    }
    list.resize(list.len().max(length), item.clone());
    Ok(())
}

/// How many values a value is made of.
fn elements(value: &Dynamic) -> usize {
    if let Some(list) = value.read_lock::<Array>() {
        return list.iter().map(elements).fold(1, usize::saturating_add);
    }
    if let Some(map) = value.read_lock::<rhai::Map>() {
        return map.values().map(elements).fold(1, usize::saturating_add);
    }
    value.read_lock::<rhai::Blob>().map_or(1, |bytes| bytes.len() + 1)
}

fn too_large(what: &str) -> EvalAltResult {
    EvalAltResult::ErrorDataTooLarge(what.to_owned(), Position::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited() -> Engine {
        let mut engine = Engine::new();
        engine.set_max_string_size(1000).set_max_array_size(100);
        register(&mut engine);
        engine
    }

    #[test]
    fn they_do_what_the_engine_does() {
        let engine = limited();
        for (script, expected) in [
            ("let a = \"hello\"; a.replace(\"l\", \"LL\"); a", "heLLLLo"),
            ("let a = \"hello\"; a.replace('l', 'L'); a", "heLLo"),
            ("let a = \"\"; a.replace(\"\", \"x\"); a", ""),
            ("let a = \"ab\"; a.replace(\"\", \"-\"); a", "-a-b-"),
            ("let a = [1]; a.pad(3, \"x\"); `${a}`", "[1, \"x\", \"x\"]"),
            ("let a = [1, 2]; a.pad(-3, 0); a.pad(1, 0); `${a}`", "[1, 2]"),
        ] {
            assert_eq!(engine.eval::<String>(script).expect(script), expected, "{script}");
        }
    }

    #[test]
    fn what_would_be_too_large_is_not_made() {
        let engine = limited();
        for script in [
            "let a = \"\"; a.pad(500, \"x\"); a.replace(\"x\", a)",
            "let a = \"\"; a.pad(500, \"x\"); a.replace(\"\", \"yy\")",
            "let a = []; a.pad(4611686018427387904, [1, 2, 3])",
            "let a = []; a.pad(9223372036854775807, 1)",
            "let a = []; a.pad(50, [1, 2, 3])",
            "let a = []; a.pad(50, \"0123456789012345678901234567890\")",
        ] {
            let error = engine.run(script).expect_err(script);
            assert!(
                matches!(*error, EvalAltResult::ErrorDataTooLarge(..)),
                "{script}: {error}"
            );
        }
    }
}

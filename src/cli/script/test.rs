//! `rollback script test`: the functions `test_*` of scripts, each as a dry run of its own.

use std::path::PathBuf;

use serde_json::json;

use super::super::render;
use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::redact::redact;
use crate::base::terminal::{Style, escape};
use crate::base::wording::plural;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::host::confine::Mode;
use crate::run::tests::{self, Tested};

/// Runs the tests; exit code 1 where one fails.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for a script without tests or one that can't be read; what a broken script says.
pub fn test(everywhere: &Everywhere, files: &[PathBuf]) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    shared::confine(everywhere, &context, Mode::DryRun)?;
    let mut tested: Vec<Tested> = Vec::new();
    for file in files {
        tested.extend(tests::run(&context, file)?);
    }
    if tested.is_empty() {
        return Err(Error::usage("there is no test")
            .hint("a test is a function `fn test_something() { ... }` of the script"));
    }
    let failed = tested.iter().filter(|test| test.failure.is_some()).count();
    let code = if failed > 0 {
        ExitCode::Failed
    } else {
        ExitCode::Done
    };
    if everywhere.json {
        let tests = tested.iter().map(|test| {
            json!({
                "file": test.file,
                "name": test.name,
                "passed": test.failure.is_none(),
                "failure": test.failure.as_ref().map(render::error_json),
            })
        });
        print_json(&json!({
            "schema": "rollback.tests/1",
            "exit_code": code,
            "tests": tests.collect::<Vec<_>>(),
        }));
        return Ok(code);
    }
    let style = Style::of(&std::io::stderr(), everywhere.no_color);
    for test in &tested {
        let (verdict, why) = match &test.failure {
            None => ("ok    ", String::new()),
            Some(error) => ("fails ", format!(": {}", redact(error.message()))),
        };
        let line = format!("{verdict}{} {}{why}", test.file, test.name);
        print(&format!("{}\n", escape(&line)));
    }
    let passed = plural((tested.len() - failed) as u64, "test");
    print(&format!(
        "{passed} passed, {failed} failed; nothing was changed\n"
    ));
    for error in tested.iter().filter_map(|test| test.failure.as_ref()) {
        say(&render::error(error, &style));
    }
    Ok(code)
}

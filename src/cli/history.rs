//! `rollback history` and `rollback show`.

use serde_json::json;

use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::base::terminal::{self, Style};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere};
use crate::host::confine::Mode;
use crate::report::text::{self, Telling};
use crate::run::history::History;

/// Lists the runs, oldest first.
///
/// # Errors
/// What the system says.
pub fn history(everywhere: &Everywhere) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    shared::confine(everywhere, &context, Mode::DryRun)?;
    shared::warn_of_unfinished(everywhere, &context);
    let reports = History::of(&context).list()?;
    let runs: Vec<_> = reports
        .iter()
        .map(|report| {
            json!({
                "run": report.run, "kind": report.kind, "mode": report.mode, "stories": report.stories,
                "started": report.started, "outcome": report.outcome,
                "undone_by": History::undone_by(&reports, &report.run),
            })
        })
        .collect();
    if everywhere.json {
        print_json(&json!({ "schema": "rollback.history/1", "runs": runs }));
        return Ok(ExitCode::Done);
    }
    let text = |value: &serde_json::Value, key: &str| {
        value
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or("-")
            .to_owned()
    };
    let rows: Vec<Vec<String>> = runs
        .iter()
        .zip(&reports)
        .map(|(run, report)| {
            vec![
                text(run, "run"),
                text(run, "kind"),
                report.stories.join(","),
                text(run, "started"),
                text(run, "outcome"),
                text(run, "undone_by"),
            ]
        })
        .collect();
    print(&terminal::table(
        &["run", "kind", "stories", "started", "outcome", "undone by"],
        &rows,
    ));
    Ok(ExitCode::Done)
}

/// Shows one run.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for an unknown run.
pub fn show(everywhere: &Everywhere, run: &str) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    shared::confine(everywhere, &context, Mode::DryRun)?;
    let report = History::of(&context).load(run)?;
    if everywhere.json {
        print_json(&json!(report));
    } else {
        let telling = Telling {
            verbose: everywhere.verbose > 0,
            ..Telling::default()
        };
        print(&text::outcome(
            &report,
            &Style::of(&std::io::stdout(), everywhere.no_color),
            &telling,
        ));
    }
    Ok(ExitCode::Done)
}

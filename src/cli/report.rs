//! `rollback report`.

use serde_json::json;

use crate::base::error::{Error, Result};
use crate::base::exit_code::ExitCode;
use crate::base::terminal::Style;
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere};
use crate::host::confine::Mode;
use crate::report::text::{self, Telling};
use crate::report::{Report, html, markdown};
use crate::run::Context;
use crate::run::history::History;
use crate::workspace::REPORTS;

/// What `rollback report` is told.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run's id; by default the newest run
    run: Option<String>,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,
    /// Open the page of the run in the browser
    #[arg(long, conflicts_with_all = ["format", "json"])]
    open: bool,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
    Html,
}

/// Prints the report of a run, or opens it.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for an unknown run, or where there is none; `NotFound` where the page to be opened is
/// gone; `Failed` where nothing can open it.
pub fn report(everywhere: &Everywhere, arguments: &Arguments) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    // A browser would inherit the wall, and could not even write to its own profile.
    if !arguments.open {
        shared::confine(everywhere, &context, Mode::DryRun)?;
    }
    let history = History::of(&context);
    let report = match &arguments.run {
        Some(run) => history.load(run)?,
        None => history.list()?.pop().ok_or_else(|| {
            Error::usage("there is no run to report on")
                .hint("`rollback status` shows what can be rolled back")
        })?,
    };
    let titles = context.catalogue.titles();
    if arguments.open {
        let page = page_of(&context, &report)?;
        let path = context.workspace.root().join(&page);
        opener::open(path).map_err(|error| {
            Error::failed(format!("`{page}` can't be opened: {error}"))
                .hint("open it by hand, or read it here: `rollback report`")
                .caused_by(error)
        })?;
        shared::say(&format!("opened {page}\n"));
        return Ok(ExitCode::Done);
    }
    let format = if everywhere.json {
        Format::Json
    } else {
        arguments.format
    };
    match format {
        Format::Json => print_json(&json!(report)),
        Format::Markdown => print(&markdown::render(&report, &titles)),
        Format::Html => print(&html::render(&report, &titles)),
        Format::Text => print(&text::outcome(
            &report,
            &Style::of(&std::io::stdout(), everywhere.no_color),
            &Telling {
                titles,
                verbose: true,
                ..Telling::default()
            },
        )),
    }
    Ok(ExitCode::Done)
}

/// The page of a run, from the workspace.
fn page_of(context: &Context, report: &Report) -> Result<String> {
    let missing = || {
        Error::not_found(format!("the page of run `{}` is not in `{REPORTS}`", report.run)).hint(format!(
            "make it anew: `rollback report {} --format html > report.html`",
            report.run
        ))
    };
    let entries = std::fs::read_dir(context.workspace.root().join(REPORTS))
        .map_err(|error| missing().caused_by(error))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let page = path.with_extension("html");
        let is_data = path.extension().is_some_and(|extension| extension == "json");
        if !is_data || !page.exists() {
            continue;
        }
        let text = crate::workspace::contents(&path, crate::run::history::REPORT).unwrap_or_default();
        if serde_json::from_slice::<Report>(&text).is_ok_and(|other| other.run == report.run)
            && let Some(name) = page.file_name()
        {
            return Ok(format!("{REPORTS}/{}", name.to_string_lossy()));
        }
    }
    Err(missing())
}

//! `rollback script`: words, stories, and scripts of one's own.

use std::path::PathBuf;

use clap::Subcommand;

use super::render;
use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::base::terminal::{self, Style};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere, say};
use crate::script::{definitions, header};
use crate::workspace::catalogue::Catalogue;

/// What a script says, and what the policy says to that.
mod check;

/// A story to start from.
mod new;

/// The tests of scripts.
mod test;

/// What to do with scripts.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Every word, or one, as a reference
    Doc {
        /// The word
        word: Option<String>,
        /// As a definitions file for editors (.d.rhai)
        #[arg(long)]
        definitions: bool,
    },
    /// All stories and where they come from; exit code 2 where one can't be read
    List,
    /// What the map STORY of a story may hold, as JSON Schema
    Schema,
    /// Make a story to start from, `rollback/NAME.rhai`; never replaces one
    New {
        /// Its name and id
        name: String,
    },
    /// Run the functions `test_*` of scripts, each as a dry run of its own; exit code 1 where one fails
    Test {
        /// The scripts
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// The words of a script with what the policy says to each, and what would break it; runs nothing. Exit code 2 for
    /// a broken script, 3 where the policy refuses a literal argument
    Check {
        /// The scripts
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// Shows words or stories, or looks scripts through.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for an unknown word, or a script that can't be read.
pub fn script(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Doc {
            definitions: true, ..
        } => print(&definitions::definitions()),
        Command::Doc { word: Some(word), .. } => print(&definitions::one(word)?),
        Command::Doc { .. } => print(&definitions::reference()),
        Command::Check { files } => return check::check(everywhere, files),
        Command::New { name } => return new::new(everywhere, name),
        Command::Test { files } => return test::test(everywhere, files),
        Command::Schema => print_json(&header::schema()),
        Command::List => {
            let context = shared::open(everywhere)?;
            let stories: Vec<_> = context.catalogue.stories().iter().collect();
            if everywhere.json {
                let stories: Vec<_> = stories
                    .iter()
                    .map(|story| serde_json::json!({ "id": story.id, "title": story.title, "script": story.script.name }))
                    .collect();
                print_json(&serde_json::json!({
                    "schema": "rollback.scripts/1",
                    "stories": stories,
                    "problems": problems_json(&context.catalogue),
                }));
            } else {
                let rows: Vec<Vec<String>> = stories
                    .iter()
                    .map(|story| vec![story.id.clone(), story.title.clone(), story.script.name.clone()])
                    .collect();
                print(&terminal::table(&["story", "title", "script"], &rows));
                for warning in &context.catalogue.warnings {
                    print(&format!("note: {}\n", terminal::escape(warning)));
                }
            }
            return Ok(report_problems(everywhere, &context.catalogue));
        }
    }
    Ok(ExitCode::Done)
}

/// The stories that can't be read, for programs.
pub(super) fn problems_json(catalogue: &Catalogue) -> Vec<serde_json::Value> {
    catalogue.problems.iter().map(render::error_json).collect()
}

/// Tells people which stories can't be read, each at its place; gives the exit code.
pub(super) fn report_problems(everywhere: &Everywhere, catalogue: &Catalogue) -> ExitCode {
    if !everywhere.json {
        let style = Style::of(&std::io::stderr(), everywhere.no_color);
        for problem in &catalogue.problems {
            say(&render::error(problem, &style));
        }
    }
    if catalogue.problems.is_empty() {
        ExitCode::Done
    } else {
        ExitCode::Usage
    }
}

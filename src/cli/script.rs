//! `rollback script`: words and stories.

use clap::Subcommand;

use super::{Everywhere, print, print_json, terminal};
use crate::error::Result;
use crate::exit_code::ExitCode;
use crate::script::definitions;

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
    /// All stories and where they come from
    List,
}

/// Shows words or stories.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for an unknown word.
pub fn script(everywhere: &Everywhere, command: &Command) -> Result<ExitCode> {
    match command {
        Command::Doc {
            definitions: true, ..
        } => print(&definitions::definitions()),
        Command::Doc { word: Some(word), .. } => print(&definitions::one(word)?),
        Command::Doc { .. } => print(&definitions::reference()),
        Command::List => {
            let context = super::open(everywhere)?;
            let stories: Vec<_> = context.catalogue.stories().iter().collect();
            if everywhere.json {
                let stories: Vec<_> = stories
                    .iter()
                    .map(|story| serde_json::json!({ "id": story.id, "title": story.title, "script": story.script.name }))
                    .collect();
                print_json(&serde_json::json!({ "schema": "rollback.scripts/1", "stories": stories }));
            } else {
                let rows: Vec<Vec<String>> = stories
                    .iter()
                    .map(|story| vec![story.id.clone(), story.title.clone(), story.script.name.clone()])
                    .collect();
                print(&super::table(&["story", "title", "script"], &rows));
                for warning in &context.catalogue.warnings {
                    print(&format!("note: {}\n", terminal::escape(warning)));
                }
            }
        }
    }
    Ok(ExitCode::Done)
}

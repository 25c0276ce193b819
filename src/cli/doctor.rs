//! `rollback doctor`: what this machine lets the program promise, found out by trying it; why not, and what would allow it.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::base::terminal::{Ink, Style, escape};
use crate::cli::output::{print, print_json};
use crate::cli::shared::Everywhere;
use crate::host::abilities::{self, Ability};
use crate::workspace::Workspace;

/// Tries each thing, and shows what came of it. Changes nothing of the workspace.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] where there is no workspace; where nothing can be tried.
pub fn doctor(everywhere: &Everywhere) -> Result<ExitCode> {
    let workspace = Workspace::find(everywhere.workspace.as_deref())?;
    let abilities = abilities::all(workspace.root())?;
    if everywhere.json {
        let entries: Vec<Value> = abilities.iter().map(to_json).collect();
        print_json(&json!({ "schema": "rollback.doctor/1", "abilities": entries }));
    } else {
        let style = Style::of(&std::io::stdout(), everywhere.no_color);
        for ability in &abilities {
            print(&lines(ability, &style));
        }
    }
    Ok(ExitCode::Done)
}

fn to_json(ability: &Ability) -> Value {
    json!({
        "name": ability.name, "serves": ability.serves, "able": ability.verdict, "why": ability.why,
        "remedy": ability.remedy,
    })
}

fn lines(ability: &Ability, style: &Style) -> String {
    let (sign, ink) = match ability.verdict {
        Some(true) => ("\u{2713}", Ink::Good),
        Some(false) => ("\u{2717}", Ink::Caution),
        None => ("?", Ink::Caution),
    };
    let mut text = format!(
        "{} {:<17} {}\n",
        style.paint(ink, sign),
        ability.name,
        ability.serves
    );
    for (what, more) in [("", &ability.why), ("would allow it: ", &ability.remedy)] {
        if let Some(more) = more {
            let _ = writeln!(text, "{:20}{what}{}", "", escape(more));
        }
    }
    text
}

//! Which stories, where `run` was given none: a person at a terminal chooses from those that are deployed.

use crate::base::error::{Error, Kind, Result};
use crate::base::wording;
use crate::cli::shared::{Everywhere, say};
use crate::gate::prompt::Terminal;
use crate::run::Context;
use crate::workspace::story::Story;

/// The words that were given, or else the ids that a person chooses.
///
/// # Errors
/// [`Kind::Usage`] with the stories where nobody is there to choose or nothing is deployed; [`Kind::NotApproved`] where
/// none was chosen; [`Kind::Cancelled`] after Esc or a signal; what the flags file or a story says.
pub(super) fn words(everywhere: &Everywhere, context: &mut Context, given: &[String]) -> Result<Vec<String>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    if let Some(problem) = context.catalogue.problems.first() {
        return Err(problem.clone());
    }
    let deployed = deployed(context)?;
    let hint = hint(context, &deployed);
    let list = |error: Error| error.hint(&hint);
    if deployed.is_empty() {
        return Err(list(Error::usage("no story is named, and none is deployed here")));
    }
    let nobody = || Error::usage("no story is named");
    if everywhere.no_input || !Terminal::is_there() {
        return Err(list(nobody()));
    }
    super::run::watch_signals(context)?;
    let terminal = Terminal::open().ok_or_else(nobody)?;
    let labels: Vec<String> = deployed.iter().map(|(_, label)| label.clone()).collect();
    let chosen = terminal
        .choose("Roll back", &labels)
        .map_err(|error| match error.kind() {
            Kind::Usage => list(error),
            _ => error,
        })?;
    let ids: Vec<String> = chosen
        .into_iter()
        .filter_map(|position| deployed.get(position).map(|(id, _)| id.clone()))
        .collect();
    if ids.is_empty() {
        return Err(Error::not_approved("no story was chosen; nothing was changed"));
    }
    if !everywhere.quiet && !everywhere.json_events {
        say(&format!("chosen: {}\n", ids.join(", ")));
    }
    Ok(ids)
}

/// The stories of which a part is present or the flag is on, with a label each; also those of which nobody can tell.
fn deployed(context: &Context) -> Result<Vec<(String, String)>> {
    let view = context.view();
    let flags = view.flags()?;
    let mut deployed = Vec::new();
    for story in context.catalogue.stories() {
        let flag = flag(story, flags.as_ref());
        let parts = match view.present(story) {
            Ok(parts) if parts.is_empty() && flag != Some(true) => continue,
            Ok(parts) => wording::plural(parts.len() as u64, "part"),
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(error) => format!("parts not known: {error}"),
        };
        let flag = match flag {
            Some(true) => ", flag on",
            Some(false) => ", flag off",
            None => "",
        };
        let label = format!("{}  {} ({parts}{flag})", story.id, story.title);
        deployed.push((story.id.clone(), label));
    }
    Ok(deployed)
}

fn flag(story: &Story, flags: Option<&crate::workspace::flags::Flags>) -> Option<bool> {
    flags?.raw(story.feature.as_deref()?)
}

fn hint(context: &Context, deployed: &[(String, String)]) -> String {
    let deployed: Vec<&str> = deployed.iter().map(|(id, _)| id.as_str()).collect();
    let known: Vec<&str> = context
        .catalogue
        .stories()
        .iter()
        .map(|story| story.id.as_str())
        .collect();
    let known = known.join(", ");
    if deployed.is_empty() {
        return format!("known: {known}, all");
    }
    format!("deployed here: {}; known: {known}, all", deployed.join(", "))
}

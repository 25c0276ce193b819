//! `rollback status`: every story, its flag, what of it is present, its last run, its backups.

use serde_json::{Value, json};

use crate::base::error::Result;
use crate::base::exit_code::ExitCode;
use crate::base::{terminal, wording};
use crate::cli::output::{print, print_json};
use crate::cli::shared::{self, Everywhere};
use crate::host::confine::Mode;
use crate::run::history::History;
use crate::run::switches::Keys;
use crate::workspace::story::Origin;

/// Shows the status.
///
/// # Errors
/// What the configuration, a story or the flags file says.
pub fn status(everywhere: &Everywhere) -> Result<ExitCode> {
    let context = shared::open(everywhere)?;
    shared::confine(everywhere, &context, Mode::DryRun)?;
    shared::warn_of_unfinished(everywhere, &context);
    let view = context.view();
    let flags = view.flags()?;
    let reports = History::of(&context).list()?;
    let backups = view.backups()?;
    let mut stories = Vec::new();
    let mut foreign = Vec::new();
    let mut unknown = Vec::new();
    for story in context.catalogue.stories() {
        let present: Vec<String> = view
            .present(story)?
            .into_iter()
            .map(|place| place.display)
            .collect();
        let flag = story.feature.as_ref().map(|feature| {
            json!({
                "raw": flags.as_ref().map(|flags| flags.raw(feature).unwrap_or(false)),
                "effective": flags.as_ref().is_some_and(|flags| flags.effective(feature).unwrap_or(false)),
            })
        });
        match Keys::of(&view, story) {
            Ok(keys) => unknown.extend(keys.unknown),
            Err(error) => unknown.push(format!(
                "whether all of story {} is switched off is unknown: {error}",
                story.id
            )),
        }
        let last = reports
            .iter()
            .rev()
            .find(|report| report.stories.contains(&story.id))
            .map(|report| &report.run);
        let own: Vec<&Value> = backups
            .iter()
            .filter(|backup| backup.get("story").and_then(Value::as_str) == Some(&story.id))
            .filter_map(|backup| backup.get("name"))
            .collect();
        let script = match &story.script.origin {
            Origin::Embedded => "embedded".to_owned(),
            Origin::File(_) => story.script.name.clone(),
        };
        let has_flag = story
            .feature
            .as_ref()
            .is_some_and(|feature| flags.as_ref().is_some_and(|flags| flags.raw(feature).is_some()));
        if matches!(story.script.origin, Origin::Embedded)
            && !has_flag
            && present.is_empty()
            && own.is_empty()
            && last.is_none()
        {
            foreign.push(story.id.clone());
        }
        stories.push(json!({
            "id": story.id, "title": story.title, "feature": story.feature, "script": script, "flag": flag,
            "present": present, "last_run": last, "backups": own,
        }));
    }
    let mut warnings = context.catalogue.warnings.clone();
    warnings.extend(context.wall_warning());
    warnings.extend(unknown);
    let status = json!({
        "schema": "rollback.status/1", "workspace": context.workspace.root().to_string_lossy(), "stories": stories,
        "unfinished_run": History::of(&context).unfinished(), "warnings": warnings,
        "problems": super::script::problems_json(&context.catalogue),
    });
    if everywhere.json {
        print_json(&status);
    } else {
        print(&text(&status, &foreign));
    }
    Ok(super::script::report_problems(everywhere, &context.catalogue))
}

/// The page for people; the stories of the program that have nothing to do with the workspace stand in one line.
fn text(status: &Value, foreign: &[String]) -> String {
    let field = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let count = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    let rows: Vec<Vec<String>> = status
        .get("stories")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|story| !foreign.contains(&field(story, "id")))
        .map(|story| {
            let is = |key: &str| story.pointer(&format!("/flag/{key}")).and_then(Value::as_bool);
            let flag = match (is("raw"), is("effective")) {
                (Some(true), Some(true)) => "on",
                (Some(true), Some(false)) => "on, without effect",
                (Some(false), _) => "off",
                (None, Some(_)) => "unknown",
                _ => "none",
            };
            vec![
                field(story, "id"),
                field(story, "title"),
                field(story, "feature"),
                flag.to_owned(),
                wording::plural(count(story, "present") as u64, "part"),
                wording::plural(count(story, "backups") as u64, "backup"),
                field(story, "last_run"),
            ]
        })
        .collect();
    let mut text = if rows.is_empty() {
        String::new()
    } else {
        terminal::table(
            &[
                "story", "title", "feature", "flag", "present", "backups", "last run",
            ],
            &rows,
        )
    };
    if !foreign.is_empty() {
        let have = if foreign.len() == 1 { "has" } else { "have" };
        text.push_str(&format!(
            "{} of the program {have} no part and no flag here: {}\n",
            wording::plural(foreign.len() as u64, "story"),
            foreign.join(", ")
        ));
    }
    for warning in status
        .get("warnings")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(warning) = warning.as_str() {
            text.push_str(&format!("note: {}\n", terminal::escape(warning)));
        }
    }
    text
}

//! The validation checklist of the procedures: eight items a story, looked at through the view, so that a preview
//! checks what the run would leave.

use std::path::Path;

use serde_json::Value;

use super::switches;
use crate::backup;
use crate::base::error::{Kind, Result};
use crate::base::known::Known;
use crate::base::wording::plural;
use crate::host::files::EntryKind;
use crate::host::packages::Manager;
use crate::pass::Session;
use crate::report::OperationRecord;
use crate::report::effect::Outcome;
use crate::view::View;
use crate::workspace::Place;
use crate::workspace::story::{Story, texts};

/// The item of the logs.
mod logs;

/// The item of the processes.
mod processes;

/// What an item found: what is wrong, what could not be told, and remarks.
#[derive(Default)]
struct Finding {
    wrong: Vec<String>,
    unknown: Vec<String>,
    remarks: Vec<String>,
}

impl Finding {
    fn of(wrong: Vec<String>) -> Self {
        Self {
            wrong,
            ..Self::default()
        }
    }

    fn remarking(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }

    /// The verdict, with what it rests on: what is wrong is wrong, whatever else could not be seen.
    fn verdict(self) -> (Option<bool>, Option<String>) {
        let (passed, message) = match (self.wrong.is_empty(), self.unknown.is_empty()) {
            (false, _) => (Some(false), self.wrong),
            (true, false) => (None, self.unknown),
            (true, true) => (Some(true), self.remarks),
        };
        (passed, (!message.is_empty()).then(|| message.join("; ")))
    }
}

/// One item; it gives nothing where the workspace has nothing that it asks about.
type Item = (&'static str, fn(&Session, &Story) -> Result<Option<Finding>>);

/// The eight items, in the order of the procedures.
const ITEMS: [Item; 8] = [
    ("Feature flag is disabled", flags_are_off),
    ("No related processes running", processes::none_runs),
    ("Service files removed", files_are_gone),
    ("Data backed up successfully", data_is_backed_up),
    ("Dependencies uninstalled", packages_are_gone),
    ("System functionality restored", system_works),
    ("No error messages in logs", logs::are_clean),
    ("Core BMad-Method functions normally", core_works),
];

/// Makes the eight checks of a story.
///
/// # Errors
/// Only [`crate::base::error::Kind::Cancelled`] and [`crate::base::error::Kind::Denied`]; with any other failure a check is unknown.
pub fn check(session: &Session, story: &Story) -> Result<()> {
    for (title, item) in ITEMS {
        let (passed, detail) = match item(session, story) {
            Ok(Some(finding)) => finding.verdict(),
            Ok(None) => continue,
            Err(error) if super::ends_everything(&error) => return Err(error),
            Err(error) => (None, Some(error.message().to_owned())),
        };
        session.check(title, passed, detail);
    }
    Ok(())
}

fn flags_are_off(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let elsewhere = switches::Keys::of(&session.view, story)?;
    let mut finding = Finding {
        wrong: elsewhere.on,
        unknown: elsewhere.unknown,
        remarks: elsewhere.absent,
    };
    if story.flags().is_empty() {
        return Ok(Some(finding.remarking("the story has no feature flag")));
    }
    let Some(flags) = session.view.flags()? else {
        let missing = format!("there is no flags file `{}`", session.view.workspace.flags_file());
        finding.wrong.insert(0, missing);
        return Ok(Some(finding));
    };
    let on = story.flags().into_iter();
    let on = on.filter(|name| flags.raw(name).unwrap_or(false));
    finding
        .wrong
        .splice(0..0, on.map(|name| format!("`{name}` is on")));
    let unheard = story.feature.iter().find(|name| flags.raw(name).is_none());
    Ok(Some(match unheard {
        Some(name) => finding.remarking(format!("the flags file knows no feature `{name}`")),
        None => finding,
    }))
}

fn files_are_gone(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let mut there = Vec::new();
    for part in texts(&story.script.header, "files")
        .iter()
        .chain(&texts(&story.script.header, "caches"))
    {
        for place in view.standing(part)? {
            if !there.contains(&place) {
                there.push(place);
            }
        }
    }
    let required = view.required(&there)?;
    let kept: Vec<String> = kept_by_the_script(session);
    let (left, wrong): (Vec<_>, Vec<_>) = there
        .into_iter()
        .map(|place| place.display)
        .partition(|display| required.contains_key(display) || kept.contains(display));
    let mut finding = Finding::of(
        wrong
            .iter()
            .map(|display| format!("`{display}` is there"))
            .collect(),
    );
    finding.unknown.extend(super::not_read(&view.sources_not_read()));
    Ok(Some(if left.is_empty() {
        finding
    } else {
        finding.remarking(format!("kept because others need them: {}", left.join(", ")))
    }))
}

fn kept_by_the_script(session: &Session) -> Vec<String> {
    let journal = session.journal.borrow();
    journal
        .operations
        .iter()
        .filter(|operation| operation.outcome == Outcome::Kept)
        .map(|operation| operation.target.clone())
        .collect()
}

fn data_is_backed_up(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let mut finding = Finding::default();
    let mut count = 0_u64;
    let backups = view.backups()?;
    let mut look_at = |finding: &mut Finding, of: &dyn Fn(&str) -> bool| {
        for backup in backups.iter().filter(|backup| of(text(backup, "source"))) {
            count += 1;
            let name = text(backup, "name");
            if backup.get("complete").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            match backup.get("unread").and_then(Value::as_str) {
                Some(why) => (finding.unknown).push(format!("backup `{name}` could not be read: {why}")),
                None => finding.wrong.push(format!("backup `{name}` is not whole")),
            }
        }
    };
    for part in &story.data {
        for place in view.parts(part)? {
            if view.exists(&place.absolute)? && !is_empty(view, &place)? && !only_foreign(view, &place)? {
                let message = format!("`{place}` is in place and was not backed up");
                finding.wrong.push(message);
            }
            look_at(&mut finding, &|source| source == place.display);
        }
    }
    for part in texts(&story.script.header, "caches") {
        databases_left(session, &view.standing(&part)?, &mut finding)?;
        for place in view.parts(&part)? {
            look_at(&mut finding, &|source| {
                Path::new(source).starts_with(&place.display)
            });
        }
    }
    for backup in &session.journal.borrow().backups {
        let directory = view.workspace.backups().join(&backup.name);
        if view.overlay().seen(&directory) == crate::view::overlay::Seen::Real(directory.clone()) {
            proven(view, &backup.name, &directory, &mut finding)?;
        }
    }
    Ok(Some(finding.remarking(plural(count, "backup"))))
}

/// Databases below caches are data.
fn databases_left(session: &Session, caches: &[Place], finding: &mut Finding) -> Result<()> {
    let view = &session.view;
    let required = view.required(caches)?;
    let kept = kept_by_the_script(session);
    for place in caches {
        if required.contains_key(&place.display) || kept.contains(&place.display) {
            continue;
        }
        match view.databases_below(place)? {
            Known::Unknown(why) => finding.unknown.push(why),
            Known::Yes(left) => finding.wrong.extend(left.iter().map(|database| {
                let sort = database.sort.name;
                format!(
                    "the {sort} database `{}` is in place and was not backed up",
                    database.main
                )
            })),
        }
    }
    Ok(())
}

/// Whether a backup of this run is as its manifest says, and holds what it looks like.
fn proven(view: &View, name: &str, directory: &Path, finding: &mut Finding) -> Result<()> {
    let message =
        |problem: &backup::verify::Problem| format!("backup `{name}`: `{}` {}", problem.path, problem.what);
    let files = &view.host.files;
    let looked =
        backup::verify::verify(files, directory, backup::verify::Depth::Structure).and_then(|verified| {
            let out = backup::links::out_of(files, directory, &|path| view.is_there(path))?;
            Ok((verified, out))
        });
    match looked {
        Ok((verified, out)) => {
            finding.wrong.extend(verified.problems.iter().map(message));
            // Whether what a link leads to was the story's is not told by anything.
            let links = out.lacking.iter().chain(&out.unknown);
            finding.unknown.extend(links.map(message));
        }
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {
            finding.wrong.push(error.message().to_owned());
        }
        Err(error) if error.kind() == Kind::Cancelled => return Err(error),
        Err(error) => (finding.unknown).push(format!("backup `{name}`: {}", error.message())),
    }
    Ok(())
}

/// Whether nothing but directories is left: what stayed for another story has gone with that one.
fn is_empty(view: &View, place: &Place) -> Result<bool> {
    let mut empty = true;
    view.walk(&place.absolute, &mut |_, stat| {
        empty &= stat.kind == EntryKind::Directory;
        Ok(())
    })?;
    Ok(empty)
}

/// Whether all that is left of a directory belongs to other stories.
fn only_foreign(view: &View, place: &Place) -> Result<bool> {
    let foreign = view.foreign_parts(place)?;
    if foreign.is_empty() {
        return Ok(false);
    }
    let mut only = true;
    view.walk(&place.absolute, &mut |path, _| {
        let relative = path.strip_prefix(&place.absolute).unwrap_or(path);
        only &= foreign
            .iter()
            .any(|other| other.starts_with(relative) || relative.starts_with(other));
        Ok(())
    })?;
    Ok(only)
}

fn packages_are_gone(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let mut finding = Finding::default();
    let mut left = Vec::new();
    for manager in [Manager::Npm, Manager::Pip] {
        let names = texts(&story.script.header, manager.name());
        if names.is_empty() {
            continue;
        }
        let Some(installed) = view.installed_if_any(manager)? else {
            // Without a `package.json` nothing is installed here; an environment of Python may be anywhere.
            if manager == Manager::Pip {
                finding.unknown.push(format!(
                    "no Python environment was found in which to look for {}",
                    names.join(", ")
                ));
            }
            continue;
        };
        let removal = view.removable_packages(manager, &installed, &names)?;
        if !removal.remove.is_empty()
            && let Known::Unknown(why) = view.installer(manager)?
        {
            let names: Vec<String> = removal.remove.into_keys().collect();
            finding
                .unknown
                .push(format!("left alone, because {why}: {}", names.join(", ")));
            continue;
        }
        finding.wrong.extend(
            removal
                .remove
                .keys()
                .map(|name| format!("{} package {name} is installed", manager.name())),
        );
        left.extend(removal.kept.into_keys());
    }
    if !left.is_empty() {
        finding = finding.remarking(format!("kept because others need them: {}", left.join(", ")));
    }
    finding.unknown.extend(super::not_read(&view.sources_not_read()));
    Ok(Some(finding))
}

fn system_works(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let mut wrong = Vec::new();
    if let Err(error) = view.flags() {
        if error.kind() != Kind::Configuration {
            return Err(error);
        }
        wrong.push(error.message().to_owned());
    }
    let manifest = view.workspace.place("package.json")?;
    if view.exists(&manifest.absolute)?
        && let Err(error) = serde_json::from_str::<Value>(&view.read_text(&manifest)?)
    {
        wrong.push(format!("`package.json` is not JSON: {error}"));
    }
    // What stays must not need what went.
    for part in texts(&story.script.header, "files") {
        for place in view.parts(&part)? {
            if view.exists(&place.absolute)? {
                continue;
            }
            for reference in view.references_that_stay(&place)? {
                wrong.push(format!("`{}` needs `{place}`, which is gone", reference.file));
            }
        }
    }
    let mut finding = Finding::of(wrong);
    finding.unknown.extend(super::not_read(&view.sources_not_read()));
    Ok(Some(finding))
}

fn core_works(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let mut wrong = Vec::new();
    let gone: Vec<String> = session
        .journal
        .borrow()
        .operations
        .iter()
        .filter(|operation| matches!(operation.outcome, Outcome::Done | Outcome::Planned))
        .flat_map(OperationRecord::targets)
        .map(str::to_owned)
        .collect();
    let mut count = 0;
    for part in &story.shared {
        for place in view.parts(part)? {
            if view.exists(&place.absolute)? {
                count += 1;
            } else if gone.contains(&place.display) && !owned_by_the_run(view, &place)? {
                wrong.push(format!("`{place}`, which others use, is gone"));
            }
        }
    }
    if count == 0 && wrong.is_empty() && !is_the_project(view)? {
        return Ok(None);
    }
    Ok(Some(
        Finding::of(wrong).remarking(format!("{} in place", plural(count, "shared part"))),
    ))
}

/// Whether the workspace is that of the project whose core the last item is about.
fn is_the_project(view: &View) -> Result<bool> {
    for name in ["bmad-method", "bmad-core", ".bmad-core"] {
        if view.exists(&view.workspace.place(name)?.absolute)? {
            return Ok(true);
        }
    }
    let manifest = view.workspace.place("package.json")?;
    if !view.exists(&manifest.absolute)? {
        return Ok(false);
    }
    let named = serde_json::from_str::<Value>(&view.read_text(&manifest)?);
    Ok(named.is_ok_and(|manifest| text(&manifest, "name").starts_with("bmad")))
}

/// Whether a part is another story's own, and that story is rolled back in the same run.
fn owned_by_the_run(view: &View, place: &Place) -> Result<bool> {
    for story in view
        .catalogue
        .stories()
        .iter()
        .filter(|story| view.errand.stories.contains(&story.id))
    {
        for part in &story.parts {
            if view.parts(part)?.contains(place) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

//! The validation checklist of the procedures: eight items a story, looked at through the view, so that a preview
//! checks what the run would leave.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::switches;
use crate::backup;
use crate::cli::terminal::plural;
use crate::error::{Error, Kind, Result};
use crate::host::clock;
use crate::host::files::EntryKind;
use crate::host::packages::Manager;
use crate::host::processes::{Does, Query};
use crate::host::sight::Look;
use crate::known::Known;
use crate::log_line::{self, Event, Line, Reader};
use crate::operation::{Outcome, Risk};
use crate::script::session::Session;
use crate::view::View;
use crate::workspace::catalogue::{Story, entries, texts};

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
        let (passed, said) = match (self.wrong.is_empty(), self.unknown.is_empty()) {
            (false, _) => (Some(false), self.wrong),
            (true, false) => (None, self.unknown),
            (true, true) => (Some(true), self.remarks),
        };
        (passed, (!said.is_empty()).then(|| said.join("; ")))
    }
}

/// One item; it gives nothing where the workspace has nothing that it asks about.
type Item = (&'static str, fn(&Session, &Story) -> Result<Option<Finding>>);

/// The eight items, in the order of the procedures.
const ITEMS: [Item; 8] = [
    ("Feature flag is disabled", flags_are_off),
    ("No related processes running", no_processes),
    ("Service files removed", files_are_gone),
    ("Data backed up successfully", data_is_backed_up),
    ("Dependencies uninstalled", packages_are_gone),
    ("System functionality restored", system_works),
    ("No error messages in logs", logs_are_clean),
    ("Core BMad-Method functions normally", core_works),
];

/// Makes the eight checks of a story.
///
/// # Errors
/// Only [`crate::error::Kind::Cancelled`] and [`crate::error::Kind::Denied`]; with any other failure a check is unknown.
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
    let elsewhere = switches::still_on(session, story)?;
    if story.flags().is_empty() {
        return Ok(Some(
            Finding::of(elsewhere).remarking("the story has no feature flag"),
        ));
    }
    let Some(flags) = session.view.flags()? else {
        return Ok(Some(Finding::of(vec![format!(
            "there is no flags file `{}`",
            session.view.workspace.flags_file()
        )])));
    };
    let on = story
        .flags()
        .into_iter()
        .filter(|name| flags.raw(name).unwrap_or(false))
        .map(|name| format!("`{name}` is on"))
        .chain(elsewhere)
        .collect();
    let unheard = story.feature.iter().find(|name| flags.raw(name).is_none());
    let finding = Finding::of(on);
    Ok(Some(match unheard {
        Some(name) => finding.remarking(format!("the flags file knows no feature `{name}`")),
        None => finding,
    }))
}

/// Asked twice: for what names the services, and, another way, for who still has to do with what went.
fn no_processes(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let queries = service_queries(view, story)?;
    // What was stopped may be started again, which takes its time.
    let settle = if has_stopped_something(session) {
        view.workspace.config().validation.settle
    } else {
        Duration::ZERO
    };
    let mut finding = Finding::default();
    match view.running_after(&queries, settle)? {
        Known::Yes(running) => finding.wrong.extend(
            running
                .iter()
                .map(|process| format!("process {} (`{}`) is running", process.pid, process.describe())),
        ),
        Known::Unknown(why) => finding.unknown.push(why),
    }
    let mut witnesses = view.witnesses(&gone(session, story)?)?;
    // Whom the queries have found is named already.
    witnesses.found.retain(|witness| {
        let named = format!("process {} (", witness.process.pid);
        !finding.wrong.iter().any(|wrong| wrong.starts_with(&named))
    });
    for witness in &witnesses.found {
        let told = witness.told(&view.workspace.show(&witness.path).shown);
        match witness.does {
            Does::Runs => finding.wrong.push(told),
            Does::Writes if !view.errand.allow_open => finding.wrong.push(told),
            Does::Writes | Does::Reads => finding.remarks.push(told),
            Does::WorksIn => finding.unknown.push(format!(
                "{told}, which went: whether it belongs to the story can't be told"
            )),
        }
    }
    finding.unknown.extend(witnesses.blind);
    Ok(Some(finding))
}

fn has_stopped_something(session: &Session) -> bool {
    let journal = session.journal.borrow();
    journal
        .operations
        .iter()
        .any(|operation| operation.risk == Risk::Disruptive && operation.outcome == Outcome::Done)
}

/// The parts of the story that are not there, where they were and, where the run has put them, where they are.
fn gone(session: &Session, story: &Story) -> Result<Vec<PathBuf>> {
    let view = &session.view;
    let header = &story.script.header;
    let mut places = Vec::new();
    for part in ["files", "caches"]
        .iter()
        .flat_map(|key| texts(header, key))
        .chain(story.data.iter().cloned())
    {
        places.extend(view.parts(&part)?);
    }
    let journal = session.journal.borrow();
    let changed = journal
        .operations
        .iter()
        .filter(|operation| matches!(operation.outcome, Outcome::Done | Outcome::Planned));
    places.extend(changed.filter_map(|operation| view.workspace.place(&operation.target).ok()));
    let mut gone = Vec::new();
    for place in places {
        if !view.exists(&place.absolute)? {
            gone.push(place.absolute);
        }
    }
    let backups = view.workspace.backups();
    gone.extend(journal.backups.iter().map(|backup| backups.join(&backup.name)));
    Ok(gone)
}

/// A query for each way to recognise a service of the story.
fn service_queries(view: &View, story: &Story) -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    for service in entries(&story.script.header, "services") {
        if let Some(path) = service
            .get("pid_file")
            .and_then(|path| path.clone().into_string().ok())
        {
            queries.push(Query {
                pid_file: Some(view.workspace.place(&path)?.absolute),
                ..Query::default()
            });
        }
        for command in texts(&service, "commands") {
            let words = command.split_whitespace().map(str::to_owned).collect();
            queries.push(Query {
                command: Some(words),
                ..Query::default()
            });
        }
        for path in texts(&service, "holds") {
            for place in view.parts(&path)? {
                queries.push(Query {
                    holds: Some(place.absolute),
                    ..Query::default()
                });
            }
        }
    }
    Ok(queries)
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
        .map(|place| place.shown)
        .partition(|shown| required.contains_key(shown) || kept.contains(shown));
    let mut finding = Finding::of(wrong.iter().map(|shown| format!("`{shown}` is there")).collect());
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
    let mut wrong = Vec::new();
    let mut count = 0_u64;
    let backups = view.backups()?;
    for part in &story.data {
        for place in view.parts(part)? {
            if view.exists(&place.absolute)? && !is_empty(view, &place)? && !only_foreign(view, &place)? {
                wrong.push(format!("`{place}` is in place and was not backed up"));
            }
            for backup in backups
                .iter()
                .filter(|backup| text(backup, "source") == place.shown)
            {
                count += 1;
                if backup.get("complete").and_then(Value::as_bool) != Some(true) {
                    wrong.push(format!("backup `{}` is not whole", text(backup, "name")));
                }
            }
        }
    }
    for backup in &session.journal.borrow().backups {
        let directory = view.workspace.backups().join(&backup.name);
        if view.overlay().seen(&directory) == crate::gate::overlay::Seen::Real(directory.clone()) {
            let verified =
                backup::verify::verify(&view.host.files, &directory, backup::verify::Depth::Structure)?;
            wrong.extend(
                verified
                    .problems
                    .iter()
                    .map(|problem| format!("backup `{}`: `{}` {}", backup.name, problem.path, problem.what)),
            );
        }
    }
    Ok(Some(Finding::of(wrong).remarking(plural(count, "backup"))))
}

/// Whether nothing but directories is left: what stayed for another story has gone with that one.
fn is_empty(view: &View, place: &crate::workspace::Place) -> Result<bool> {
    let mut empty = true;
    view.walk(&place.absolute, &mut |_, stat| {
        empty &= stat.kind == EntryKind::Directory;
        Ok(())
    })?;
    Ok(empty)
}

/// Whether all that is left of a directory belongs to other stories.
fn only_foreign(view: &View, place: &crate::workspace::Place) -> Result<bool> {
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

/// How much of the end of a log is looked at, in bytes.
const LOG_TAIL: usize = 1 << 20;

fn logs_are_clean(session: &Session, story: &Story) -> Result<Option<Finding>> {
    let view = &session.view;
    let log = view.workspace.place("logs/security.log")?;
    // Past the view, which shows scripts no line of the run itself.
    view.look(Look::Logs, &log)?;
    if view.host.files.stat(&log.absolute)?.is_none() {
        return Ok(Some(Finding::default()));
    }
    let since = log_line::time(&session.since)
        .ok_or_else(|| Error::bug(format!("`{}` is no time", session.since)))?;
    let bytes = view.host.files.read(&log.absolute, u64::MAX)?;
    let cut = bytes.len().saturating_sub(LOG_TAIL);
    let tail = bytes.get(cut..).unwrap_or_default();
    let (mut wrong, mut unread) = (Vec::new(), Unread::default());
    if cut > 0 {
        unread.note("what stands before the end of it was not looked at");
    }
    let mut reader = Reader::default();
    for line in tail.split(|byte| *byte == b'\n') {
        let event = match reader.read(line, since) {
            Line::Empty | Line::Continued => continue,
            Line::Broken => {
                unread.note("it is in no form that is known");
                continue;
            }
            Line::Event(event) => event,
        };
        if event.time().is_some_and(|at| at < since) {
            // Lines are appended: what stands before one of an earlier time is earlier still.
            unread = Unread::default();
            continue;
        }
        let concerns = concerns(&event, story, line);
        if concerns == Some(false) || event.is_error() == Some(false) {
            continue;
        }
        match (&event.at, &event.level, concerns) {
            (Known::Unknown(why), ..) | (_, Known::Unknown(why), _) => unread.note(why),
            (.., None) => unread.note("it does not say whose error it is"),
            (Known::Yes(at), ..) => {
                let name = event.name.as_deref().unwrap_or("an error");
                wrong.push(format!("{} {name}", clock::of_millis(*at)));
            }
        }
    }
    let mut finding = Finding::of(wrong);
    if let Some(why) = unread.why {
        let lines = plural(unread.lines, "line");
        finding
            .unknown
            .push(format!("{lines} of `{log}` could not be read: {why}"));
    }
    Ok(Some(finding))
}

/// Lines that may tell of an error.
#[derive(Default)]
struct Unread {
    lines: u64,
    /// Why the first one does not say so.
    why: Option<String>,
}

impl Unread {
    fn note(&mut self, why: &str) {
        self.lines += 1;
        self.why.get_or_insert_with(|| why.to_owned());
    }
}

/// Whether an event is about a story; `None` where a line of text names nothing that it is about.
fn concerns(event: &Event<'_>, story: &Story, line: &[u8]) -> Option<bool> {
    let names = [&event.story, &event.feature, &event.service];
    let is_ours = event.story.as_deref() == Some(story.id.as_str())
        || story
            .feature
            .as_deref()
            .is_some_and(|feature| names.iter().skip(1).any(|name| name.as_deref() == Some(feature)));
    let says = names.iter().any(|name| name.is_some()) || line.trim_ascii_start().starts_with(b"{");
    (is_ours || says).then_some(is_ours)
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
        .map(|operation| operation.target.clone())
        .collect();
    let mut count = 0;
    for part in &story.shared {
        for place in view.parts(part)? {
            if view.exists(&place.absolute)? {
                count += 1;
            } else if gone.contains(&place.shown) && !owned_by_the_run(view, &place)? {
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
fn owned_by_the_run(view: &View, place: &crate::workspace::Place) -> Result<bool> {
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

//! What a real run leaves to be read: lines of `logs/`, the entry in `docs/ROLLBACKS.md`, the report files.

use serde_json::{Value, json};

use super::Context;
use crate::base::error::{Error, Kind, Result};
use crate::base::exit_code::ExitCode;
use crate::base::redact::redact;
use crate::host::files::{EntryKind, TEXT_LIMIT};
use crate::host::logs::Level;
use crate::operation::Proposal;
use crate::operation::editing::Edit;
use crate::pass::Session;
use crate::report::effect::Outcome;
use crate::report::text::touched;
use crate::report::{FailureRecord, Report, html, markdown};
use crate::run::history::History;
use crate::workspace::REPORTS;
use crate::workspace::story::Story;

/// The workspace's list of rollbacks.
const DOCUMENT: &str = "docs/ROLLBACKS.md";

/// The head of the audit log in a real pass; `None` in a preview.
fn head(session: &Session) -> Option<crate::report::AuditHead> {
    session.gate.borrow_mut().audit().map(|audit| audit.head())
}

/// Takes down the state before a story's rollback, for the log that it begins.
///
/// # Errors
/// What the system says.
pub fn story_begun(context: &Context, session: &Session, story: &Story) -> Result<()> {
    if head(session).is_none() {
        return Ok(());
    }
    let view = &session.view;
    let mut files = Vec::new();
    for part in &story.parts {
        for place in view.parts(part)? {
            let stat = view.stat(&place.absolute)?;
            let size = match &stat {
                Some(stat) if stat.kind == EntryKind::Directory => view.size(&place.absolute)?.bytes,
                Some(stat) => stat.size,
                None => 0,
            };
            files.push(json!({
                "path": place.absolute.to_string_lossy(), "exists": stat.is_some(), "size": size,
            }));
        }
    }
    let data = json!({
        "storyId": story.id, "feature": story.feature,
        "reason": session.reason.clone().unwrap_or_else(|| "Manual rollback".to_owned()),
        "preState": {
            "timestamp": context.host.clock.timestamp(), "storyId": story.id, "feature": story.feature,
            "environment": environment(session), "files": files, "packages": declared(session),
        },
    });
    session.gate.borrow_mut().begin_story(&story.id, data);
    Ok(())
}

/// What would keep a real pass from telling `logs/` of its stories; where it would only lack its reports, a warning.
pub fn refused(context: &Context, session: &Session) -> Option<Error> {
    let planned = |operation: &crate::report::OperationRecord| operation.outcome == Outcome::Planned;
    if !session.journal.borrow().operations.iter().any(planned) {
        return None;
    }
    let reports = context.workspace.root().join(REPORTS);
    if let Err(error) = context.host.records.require_directory(&reports) {
        session.warn(&format!("no reports will be in `{REPORTS}`: {error}"));
    }
    let error = session.view.require_logs().err()?;
    session
        .journal
        .borrow_mut()
        .failures
        .push(FailureRecord::of("", &error));
    Some(error)
}

/// `metadata.environment` of the flags file.
fn environment(session: &Session) -> Value {
    let text = match session.view.flags_text() {
        Ok(text) => text.unwrap_or_default(),
        Err(error) => {
            session.warn(&format!("the environment is not told: {}", error.message()));
            return Value::Null;
        }
    };
    crate::edit::yaml::get(&text, "metadata.environment")
        .ok()
        .flatten()
        .unwrap_or(Value::Null)
}

/// Names that `package.json` declares; `None` where it is there and can't be read.
fn declared(session: &Session) -> Option<Vec<String>> {
    let place = session.view.workspace.place("package.json").ok()?;
    let text = match session.view.read_text(&place) {
        Ok(text) => text,
        Err(error) if error.kind() == Kind::NotFound => return Some(Vec::new()),
        Err(error) => {
            session.warn(&format!(
                "the declared packages are not told: {}",
                error.message()
            ));
            return None;
        }
    };
    let manifest: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let groups = ["dependencies", "devDependencies"].iter();
    let names = groups
        .filter_map(|group| manifest.get(group)?.as_object())
        .flat_map(|group| group.keys().cloned());
    Some(names.collect())
}

/// Logs that a story's rollback is complete, with its validation.
///
/// # Errors
/// What the system says.
pub fn story_completed(
    context: &Context,
    session: &Session,
    story: &Story,
    failed: &[String],
    acted: bool,
) -> Result<()> {
    session.gate.borrow_mut().announce(&session.view)?;
    let Some(head) = head(session) else { return Ok(()) };
    let data = json!({
        "storyId": story.id, "feature": story.feature,
        "validation": { "success": failed.is_empty(), "errors": failed, "warnings": session.journal.borrow().warnings },
        "changed": acted,
    });
    let level = if failed.is_empty() {
        Level::Info
    } else {
        Level::Warn
    };
    context.host.logs.both(level, "rollback_completed", data, &head)
}

/// Logs that a story's rollback failed.
///
/// # Errors
/// What the system says.
pub fn story_failed(context: &Context, session: &Session, story: &Story, error: &Error) -> Result<()> {
    // A run that changed nothing leaves nothing in the workspace's own logs; the audit log tells of it.
    if !session.journal.borrow().touched {
        return Ok(());
    }
    session.gate.borrow_mut().announce(&session.view)?;
    let Some(head) = head(session) else { return Ok(()) };
    let data = json!({ "storyId": story.id, "feature": story.feature, "error": redact(error.message()) });
    context
        .host
        .logs
        .both(Level::Error, "rollback_failed", data, &head)
}

/// Adds a dated entry to `docs/ROLLBACKS.md`, as an operation like any other.
///
/// # Errors
/// What the gate says.
pub fn document(session: &Session, story: &Story) -> Result<()> {
    let view = &session.view;
    let place = view.workspace.place(DOCUMENT)?;
    if view.workspace.writable(&place.absolute).is_none() {
        session.warn(&format!(
            "`{DOCUMENT}` was left alone: it lies in no directory of policy.write"
        ));
        return Ok(());
    }
    let before = match view.read(&place, TEXT_LIMIT) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => {
            session.warn(&format!("`{DOCUMENT}` was left alone: {error}"));
            return Ok(());
        }
    };
    let mut text = match &before {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "# Rollbacks\n".to_owned(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let journal = session.journal.borrow();
    let backups: Vec<String> = journal
        .operations
        .iter()
        .filter(|operation| operation.story == story.id && operation.op == "retire_dir")
        .filter(|operation| matches!(operation.outcome, Outcome::Done | Outcome::Planned))
        .map(|operation| markdown::code(&operation.target))
        .collect();
    let (user, _) = super::user_and_host();
    text.push_str(&format!(
        "\n## {} - Story {}: {}\n\n- Run: `{}`\n- By: {}\n- Reason: {}\n- Data retired into backups: {}\n- Take back with: `rollback undo {}`\n",
        view.errand.began.get(..10).unwrap_or_default(),
        plain(&story.id),
        plain(&story.title),
        view.errand.run,
        plain(&user),
        plain(session.reason.as_deref().unwrap_or("Manual rollback")),
        if backups.is_empty() { "none".to_owned() } else { backups.join(", ") },
        view.errand.run,
    ));
    drop(journal);
    let effect = json!({
        "entry": story.id, "title": story.title, "reason": session.reason, "backups": backups, "by": user,
    });
    let edit = Edit::new(view, &place, before.as_deref(), text.into_bytes())?.harmless(effect);
    let proposal = Proposal::act(
        "write_text",
        DOCUMENT,
        format!("add a dated entry to `{DOCUMENT}`"),
        edit,
    );
    session.submit(&proposal)
}

/// A text of the world as one line of Markdown, without secrets.
fn plain(text: &str) -> String {
    markdown::prose(&redact(text))
}

/// What becomes of the mark of a run that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The run is no longer at work.
    Goes,
    /// Another one takes it back at once, and sets its own mark.
    Stays,
}

/// Closes a real pass, as [`close`], and writes its reports for people. The run is closed without them too: what keeps
/// them from being written is a warning.
///
/// # Errors
/// As [`close`].
pub fn finish(context: &Context, session: &Session, report: &mut Report, mark: Mark) -> Result<()> {
    close(context, session, report, Mark::Stays)?;
    match write_reports(context, session, report) {
        Ok(page) => report.next.push(format!("less {page}")),
        Err(error) => report.warnings.push(format!(
            "the reports are not in `{REPORTS}`: {error}; `rollback show {}` shows the run",
            report.run
        )),
    }
    match mark {
        Mark::Goes => History::of(context).deactivate(),
        Mark::Stays => Ok(()),
    }
}

/// The stories in the name of a report, up to so many bytes: the rest of the name fits into what the system allows.
const STORIES_LIMIT: usize = 100;

/// The stories as they stand in the name of a report: all of them, or the first and how many more.
fn named(stories: &[String]) -> String {
    let all = stories.join("_");
    if all.len() <= STORIES_LIMIT {
        return all;
    }
    let mut length = 0;
    let fitting = stories.iter().take_while(|story| {
        length += story.len() + 1;
        length <= STORIES_LIMIT
    });
    let first: Vec<&str> = fitting.map(String::as_str).collect();
    format!("{}_and_{}_more", first.join("_"), stories.len() - first.len())
}

/// Writes the three files of `rollback_reports/`, and gives the page.
fn write_reports(context: &Context, session: &Session, report: &Report) -> Result<String> {
    let mut stem = report.kind.name().to_owned();
    if !report.stories.is_empty() {
        stem = format!("{stem}_{}", named(&report.stories));
    }
    let base = context.workspace.root().join(REPORTS);
    let stamp = &session.view.errand.stamp;
    let mut name = format!("{stem}_{stamp}");
    let mut number = 2;
    while base.join(format!("{name}.json")).exists() {
        name = format!("{stem}_{stamp}_{number}");
        number += 1;
    }
    let titles = context.catalogue.titles();
    let json = serde_json::to_string_pretty(report).unwrap_or_default() + "\n";
    let records = &context.host.records;
    records.write(&base.join(format!("{name}.json")), json.as_bytes())?;
    records.write(
        &base.join(format!("{name}.md")),
        markdown::render(report, &titles).as_bytes(),
    )?;
    records.write(
        &base.join(format!("{name}.html")),
        html::render(report, &titles).as_bytes(),
    )?;
    Ok(format!("{REPORTS}/{name}.md"))
}

/// Closes a real pass: the end in the audit log, the report in the run's directory; then it is no longer at work.
///
/// # Errors
/// What the system says, after what ended the run, if something did: the run then counts as cut off.
pub fn close(context: &Context, session: &Session, report: &mut Report, mark: Mark) -> Result<()> {
    try_close(context, session, report, mark).map_err(|error| {
        let first = report.error.as_ref().map(|failure| &failure.message);
        let error = match first {
            Some(first) => error.context(format!("{first}; then the run could not be closed")),
            None => error.context("the run could not be closed"),
        }
        .hint("see to the disk, then `rollback recover` settles the run and takes it back");
        if touched(report) {
            error.after_changes()
        } else {
            error
        }
    })
}

fn try_close(context: &Context, session: &Session, report: &mut Report, mark: Mark) -> Result<()> {
    report.finished = context.host.clock.timestamp();
    if let Some(audit) = session.gate.borrow_mut().audit() {
        report.warnings.extend(super::leftovers::sweep(context, audit)?);
        if let Some(what) = audit.disturbance()? {
            report.warnings.push(what);
            if report.exit_code == ExitCode::Done.number() {
                report.exit_code = ExitCode::Corrupt.number();
            }
        }
        let head = audit.run_finished(json!({ "outcome": report.outcome, "exit_code": report.exit_code }))?;
        report.audit_head = Some(head);
    }
    let history = History::of(context);
    history.save(report)?;
    match mark {
        Mark::Goes => history.deactivate(),
        Mark::Stays => Ok(()),
    }
}

//! Nothing that belongs to the story runs.

use std::path::PathBuf;
use std::time::Duration;

use super::Finding;
use crate::base::error::Result;
use crate::base::known::Known;
use crate::host::processes::{Does, Query};
use crate::pass::Session;
use crate::report::OperationRecord;
use crate::report::effect::{Outcome, Risk};
use crate::view::View;
use crate::workspace::story::{Story, entries, texts};

/// Options twice: for what names the services, and, another way, for who still has to do with what went.
pub(super) fn none_runs(session: &Session, story: &Story) -> Result<Option<Finding>> {
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
        let rendered = witness.rendered(&view.workspace.show(&witness.path).display);
        match witness.does {
            Does::Runs => finding.wrong.push(rendered),
            Does::Writes if !view.errand.options.allow_open => finding.wrong.push(rendered),
            Does::Writes | Does::Reads => finding.remarks.push(rendered),
            Does::WorksIn => finding.unknown.push(format!(
                "{rendered}, which went: whether it belongs to the story can't be told"
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
    let targets = changed.flat_map(OperationRecord::targets);
    places.extend(targets.filter_map(|target| view.workspace.place(target).ok()));
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

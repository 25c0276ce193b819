//! Retention: which backups and run stores go, and taking them away through the gate, one recorded operation each.

use std::rc::Rc;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Audience, Context, begin, own};
use crate::backup::catalogue;
use crate::backup::retention::{Candidate, Policy, decide};
use crate::cli::terminal::{bytes, plural, plural_as};
use crate::error::{Error, Result};
use crate::gate::confirm::{self, Answers, Approval};
use crate::history::History;
use crate::host::files::{EntryKind, Step};
use crate::operation::Proposal;
use crate::operation::pruning::{ASIDE, Prune};
use crate::report::Report;
use crate::script::session::Session;
use crate::workspace::Place;

/// A backup, or what a run keeps for its undo.
#[derive(Debug, Clone)]
pub struct Item {
    /// `backup` or `run`.
    pub kind: &'static str,
    /// Name of the backup, id of the run.
    pub name: String,
    /// What a backup was made from; empty for a run.
    pub source: String,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Why it stays; nothing where it goes.
    pub kept: Option<String>,
    /// What is removed.
    places: Vec<Place>,
}

/// What stays and what goes.
#[derive(Debug, Clone)]
pub struct Pruning {
    /// Everything that was looked at: backups by name, then runs, oldest first.
    pub items: Vec<Item>,
}

impl Pruning {
    /// What goes.
    pub fn going(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.kept.is_none())
    }

    /// Bytes of what goes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.going().map(|item| item.bytes).sum()
    }

    /// "2 backups and 1 run store (1.2 GiB)".
    #[must_use]
    pub fn describe(&self) -> String {
        let count = |kind| self.going().filter(|item| item.kind == kind).count() as u64;
        let counts: Vec<String> = [
            (count("backup"), plural(count("backup"), "backup")),
            (count("run"), plural_as(count("run"), "run store", "run stores")),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(_, text)| text)
        .collect();
        format!("{} ({})", counts.join(" and "), bytes(self.bytes()))
    }

    /// `rollback.prune/1`.
    #[must_use]
    pub fn json(&self, done: bool) -> Value {
        let told = |items: Vec<&Item>| -> Vec<Value> {
            items
                .into_iter()
                .map(|item| {
                    json!({ "kind": item.kind, "name": item.name, "source": item.source, "bytes": item.bytes,
                        "why": item.kept })
                })
                .collect()
        };
        json!({
            "schema": "rollback.prune/1", "mode": if done { "real" } else { "dry-run" },
            "removed": told(self.going().collect()),
            "kept": told(self.items.iter().filter(|item| item.kept.is_some()).collect()),
            "bytes": self.bytes(),
        })
    }
}

/// What a policy would keep and remove.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for a policy that keeps nothing; what the system says.
pub fn look(context: &Context, policy: &Policy) -> Result<Pruning> {
    if policy.is_empty() {
        return Err(
            Error::usage("this would keep nothing: prune needs something to keep")
                .hint("--keep-last 5, --keep-within 30d, or both"),
        );
    }
    let now = context.host.clock.now();
    let mut items = backups(context, policy, now)?;
    items.extend(runs(context, policy, now)?);
    Ok(Pruning { items })
}

fn backups(context: &Context, policy: &Policy, now: SystemTime) -> Result<Vec<Item>> {
    let directory = context.workspace.backups();
    let files = &context.host.files;
    let listed = catalogue::list(files, &directory)?;
    let (whole, broken): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|backup| backup.complete && time(&backup.created).is_some());
    let candidates: Vec<Candidate> = whole
        .iter()
        .map(|backup| Candidate {
            group: backup.source.clone(),
            created: time(&backup.created).unwrap_or(now),
        })
        .collect();
    let item = |backup: catalogue::Listed, kept: Option<String>| Item {
        kind: "backup",
        places: vec![context.workspace.show(&directory.join(&backup.name))],
        name: backup.name,
        source: backup.source,
        bytes: backup.bytes,
        kept,
    };
    let mut items: Vec<Item> = whole
        .into_iter()
        .zip(decide(policy, now, &candidates))
        .map(|(backup, kept)| {
            let kept = kept.map(|why| format!("{why} from `{}`", backup.source));
            item(backup, kept)
        })
        .collect();
    items.extend(broken.into_iter().map(|backup| {
        let why = "it is not whole: look into it by hand".to_owned();
        item(backup, Some(why))
    }));
    items.sort_by(|left, right| left.name.cmp(&right.name));
    items.extend(left_by_a_cut(context, &directory, "backup", "")?);
    Ok(items)
}

/// What an earlier prune had begun to take apart.
fn left_by_a_cut(
    context: &Context,
    directory: &std::path::Path,
    kind: &'static str,
    source: &str,
) -> Result<Vec<Item>> {
    let files = &context.host.files;
    if files.stat(directory)?.is_none() {
        return Ok(Vec::new());
    }
    let names = files.list(directory)?.into_iter();
    names
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with(ASIDE))
        .map(|name| {
            let place = context.workspace.show(&directory.join(&name));
            Ok(Item {
                kind,
                bytes: size(context, &place)?,
                name,
                source: source.to_owned(),
                kept: None,
                places: vec![place],
            })
        })
        .collect()
}

fn runs(context: &Context, policy: &Policy, now: SystemTime) -> Result<Vec<Item>> {
    let mut stores: Vec<(Report, Vec<Place>)> = Vec::new();
    for report in History::of(context).list()? {
        let directory = context.workspace.run_directory(&report.run);
        let places: Vec<Place> = context
            .host
            .files
            .list(&directory)?
            .into_iter()
            .filter(|(_, kind)| *kind == EntryKind::Directory)
            .map(|(name, _)| context.workspace.show(&directory.join(name)))
            .collect();
        if !places.is_empty() {
            stores.push((report, places));
        }
    }
    let candidates: Vec<Candidate> = stores
        .iter()
        .map(|(report, _)| Candidate {
            group: String::new(),
            created: time(&report.started).unwrap_or(now),
        })
        .collect();
    stores
        .into_iter()
        .zip(decide(policy, now, &candidates))
        .map(|((report, places), kept)| {
            let mut bytes = 0_u64;
            for place in &places {
                bytes = bytes.saturating_add(size(context, place)?);
            }
            Ok(Item {
                kind: "run",
                name: report.run,
                source: String::new(),
                bytes,
                kept,
                places,
            })
        })
        .collect()
}

fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Bytes of the regular files; the limits of scripts don't count here.
fn size(context: &Context, place: &Place) -> Result<u64> {
    let files = &context.host.files;
    let Some(stat) = files.stat(&place.absolute)? else {
        return Ok(0);
    };
    if stat.kind != EntryKind::Directory {
        return Ok(stat.size);
    }
    let mut bytes = 0_u64;
    files.walk(&place.absolute, &mut |walked| {
        if walked.stat.kind == EntryKind::File {
            bytes = bytes.saturating_add(walked.stat.size);
        }
        Ok(Step::Continue)
    })?;
    Ok(bytes)
}

/// Removes what a policy doesn't keep, after asking. Gives what was removed.
///
/// # Errors
/// [`crate::error::Kind::NotApproved`]; what a removal says: what comes after it stays.
pub fn carry_out(
    context: &Context,
    policy: &Policy,
    answers: &Answers,
    audience: &dyn Audience,
    show: &dyn Fn(&Pruning),
) -> Result<Pruning> {
    let _lock = begin(context)?;
    let pruning = look(context, policy)?;
    if pruning.going().next().is_none() {
        return Ok(pruning);
    }
    show(&pruning);
    let question = format!("Remove {} for good?", pruning.describe());
    let mut about = serde_json::Map::new();
    about.insert("keep_last".to_owned(), policy.keep_last.into());
    let within = policy.keep_within.map(|within| within.as_secs());
    about.insert("keep_within_s".to_owned(), json!(within));
    let result = own::carry_out(
        context,
        "prune",
        about,
        &|_| approve(&question, answers, audience),
        audience.listener(),
        &|session| remove(session, &pruning),
    );
    for item in pruning.going().filter(|item| item.kind == "run") {
        // What is only half gone can't be taken back either.
        if item.places.iter().any(|place| !place.absolute.exists()) {
            History::of(context).mark_pruned(&item.name, &context.host.clock.timestamp())?;
        }
    }
    result.map(|()| pruning)
}

/// Space is asked for, data is lost: `--yes` and `--force` say so too, since nobody prunes by accident.
fn approve(question: &str, answers: &Answers, audience: &dyn Audience) -> Result<Approval> {
    let by = |answer: String, asked| Approval {
        said: vec![(question.to_owned(), answer)],
        asked,
    };
    if answers.yes || answers.force {
        return Ok(by("approved by --yes".to_owned(), false));
    }
    let Some(mut person) = audience.person() else {
        return Err(Error::not_approved("nobody is here to ask")
            .hint("look at what would go with -n, then approve it with --yes"));
    };
    Ok(by(confirm::yes_or_no(person.as_mut(), question)?, true))
}

fn remove(session: &Rc<Session>, pruning: &Pruning) -> Result<()> {
    for item in pruning.going() {
        for place in &item.places {
            let summary = format!(
                "remove {} `{}` ({}) for good",
                item.kind,
                item.name,
                bytes(item.bytes)
            );
            let prune = Prune::new(&session.view, place.clone())?;
            session.submit(&Proposal::act("prune", place.shown.clone(), summary, prune))?;
        }
    }
    Ok(())
}

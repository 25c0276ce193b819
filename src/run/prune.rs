//! Retention: which backups and run stores go, and taking them away through the gate, one recorded operation each.

use std::rc::Rc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Value, json};
use tracing::debug;

use super::{Audience, Context, begin, maintenance};
use crate::backup::retention::{Candidate, Policy, decide};
use crate::backup::{ASIDE, catalogue};
use crate::base::error::{Error, Result};
use crate::base::wording::{bytes, plural, plural_as};
use crate::gate::confirm::{self, Answers, Approval};
use crate::host::files::{EntryKind, Step};
use crate::operation::Proposal;
use crate::operation::pruning::Prune;
use crate::pass::Session;
use crate::report::{Report, RunKind, heading};
use crate::run::history::chronicle::Chronicle;
use crate::run::history::{History, chronicle};
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
    /// The run that it belongs to; empty where unknown.
    run: String,
    /// What is removed.
    places: Vec<Place>,
}

/// A run that can be taken back now, and no longer after it, or not as a whole.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    /// The run.
    pub run: String,
    /// Its kind.
    pub kind: RunKind,
    /// What it is, as its heading says.
    pub what: String,
    /// When it began.
    pub started: String,
    /// What of it goes.
    pub why: String,
}

impl Lost {
    /// In one line.
    #[must_use]
    pub fn describe(&self) -> String {
        format!(
            "run {} ({}) can't be taken back any more: {}",
            self.run, self.what, self.why
        )
    }
}

/// What stays and what goes.
#[derive(Debug, Clone)]
pub struct Pruning {
    /// Everything that was looked at: backups by name, then runs, oldest first.
    pub items: Vec<Item>,
    /// The runs that can't be taken back after it.
    pub lost: Vec<Lost>,
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
        let listed = |items: Vec<&Item>| -> Vec<Value> {
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
            "removed": listed(self.going().collect()),
            "kept": listed(self.items.iter().filter(|item| item.kept.is_some()).collect()),
            "bytes": self.bytes(), "no_longer_undoable": self.lost,
        })
    }
}

/// What a policy would keep and remove.
///
/// # Errors
/// [`crate::base::error::Kind::Usage`] for a policy that keeps nothing; what the system says.
pub fn look(context: &Context, policy: &Policy) -> Result<Pruning> {
    if policy.is_empty() {
        return Err(
            Error::usage("this would keep nothing: prune needs something to keep")
                .hint("--keep-last 5, --keep-within 30d, or both"),
        );
    }
    let now = context.host.clock.now();
    let history = History::of(context);
    let chronicle = history.chronicle()?;
    let reports = history.list_of(&chronicle)?;
    let mut items = backups(context, policy, now, &reports)?;
    items.extend(runs(context, policy, now, &chronicle, &reports)?);
    for item in &items {
        debug!(kind = item.kind, name = item.name, kept = item.kept, "prune");
    }
    let lost = lost(context, &chronicle, &reports, &items);
    Ok(Pruning { items, lost })
}

/// The runs of which something goes that takes them back.
fn lost(context: &Context, chronicle: &Chronicle, reports: &[Report], items: &[Item]) -> Vec<Lost> {
    let is_undoable = |report: &&Report| {
        History::undone_by(reports, &report.run).is_none()
            && chronicle.pruned(context.workspace.root(), &report.run).is_none()
    };
    let of = |report: &Report| {
        let going = items
            .iter()
            .filter(|item| item.kept.is_none() && item.run == report.run);
        let what: Vec<String> = going
            .map(|item| match item.kind {
                "backup" => format!("its backup `{}` goes", item.name),
                _ => "its store goes".to_owned(),
            })
            .collect();
        (!what.is_empty()).then(|| Lost {
            run: report.run.clone(),
            kind: report.kind,
            what: heading::subject(report),
            started: report.started.clone(),
            why: what.join(", "),
        })
    };
    reports.iter().filter(is_undoable).filter_map(of).collect()
}

/// When each of these was made, in the order of the log: a backup of a run stands where its run does, another one where
/// the clock puts it.
fn in_order(listed: &mut [catalogue::Listed], reports: &[Report]) {
    let places = chronicle::places(reports);
    listed.sort_by_key(|backup| {
        let place = places.get(backup.run.as_str()).copied().unwrap_or_else(|| {
            let before = |report: &Report| report.started <= backup.created;
            reports.iter().rposition(before).unwrap_or(0)
        });
        (place, backup.created.clone(), backup.name.clone())
    });
}

fn backups(context: &Context, policy: &Policy, now: SystemTime, reports: &[Report]) -> Result<Vec<Item>> {
    let directory = context.workspace.backups();
    let files = &context.host.files;
    let listed = catalogue::list(files, &directory)?;
    let (mut whole, broken): (Vec<_>, Vec<_>) = listed
        .into_iter()
        .partition(|backup| backup.complete && time(&backup.created).is_some());
    in_order(&mut whole, reports);
    let times = chronicle::monotone(whole.iter().map(|backup| time(&backup.created).unwrap_or(now)));
    let candidates: Vec<Candidate> = whole
        .iter()
        .zip(times)
        .map(|(backup, created)| Candidate {
            group: backup.source.clone(),
            created,
            counts: true,
        })
        .collect();
    let mut decided = decide(policy, now, &candidates);
    for (place, candidate) in candidates.iter().enumerate() {
        let is_last = candidates
            .iter()
            .skip(place + 1)
            .all(|other| other.group != candidate.group);
        if let (Some(kept @ None), true, false) = (decided.get_mut(place), is_last, policy.allow_last) {
            *kept = Some("the last (--allow-last lets it go)".to_owned());
        }
    }
    let item = |backup: catalogue::Listed, kept: Option<String>| Item {
        kind: "backup",
        places: vec![context.workspace.show(&directory.join(&backup.name))],
        name: backup.name,
        source: backup.source,
        bytes: backup.bytes,
        run: backup.run,
        kept,
    };
    let mut items: Vec<Item> = whole
        .into_iter()
        .zip(decided)
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
                run: String::new(),
                places: vec![place],
            })
        })
        .collect()
}

/// Only rollbacks that can be taken back are counted; the stores of other runs stay with those before which they began.
fn runs(
    context: &Context,
    policy: &Policy,
    now: SystemTime,
    chronicle: &Chronicle,
    reports: &[Report],
) -> Result<Vec<Item>> {
    let mut stores: Vec<(&Report, SystemTime, Vec<Place>)> = Vec::new();
    let times = chronicle::monotone(reports.iter().map(|report| time(&report.started).unwrap_or(now)));
    for (report, began) in reports.iter().zip(times) {
        let directory = context.workspace.run_directory(&report.run);
        let files = &context.host.files;
        let is_directory = |stat: crate::host::files::Stat| stat.kind == EntryKind::Directory;
        if !files.stat(&directory)?.is_some_and(is_directory) {
            continue;
        }
        let places: Vec<Place> = files
            .list(&directory)?
            .into_iter()
            .filter(|(_, kind)| *kind == EntryKind::Directory)
            .map(|(name, _)| context.workspace.show(&directory.join(name)))
            .collect();
        if !places.is_empty() {
            stores.push((report, began, places));
        }
    }
    let candidates: Vec<Candidate> = stores
        .iter()
        .map(|(report, began, _)| Candidate {
            group: String::new(),
            created: *began,
            counts: report.kind == RunKind::Rollback
                && chronicle.has_done(&report.run)
                && History::undone_by(reports, &report.run).is_none()
                && chronicle.pruned(context.workspace.root(), &report.run).is_none(),
        })
        .collect();
    stores
        .into_iter()
        .zip(decide(policy, now, &candidates))
        .map(|((report, _, places), kept)| {
            let mut bytes = 0_u64;
            for place in &places {
                bytes = bytes.saturating_add(size(context, place)?);
            }
            Ok(Item {
                kind: "run",
                name: report.run.clone(),
                run: report.run.clone(),
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
/// [`crate::base::error::Kind::NotApproved`]; what a removal says: what comes after it stays.
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
    let mut question = format!("Remove {} for good?", pruning.describe());
    let lost: Vec<&str> = pruning.lost.iter().map(|lost| lost.run.as_str()).collect();
    if !lost.is_empty() {
        question = format!("{} can't be taken back any more. {question}", lost.join(", "));
    }
    let mut more = serde_json::Map::new();
    more.insert("keep_last".to_owned(), policy.keep_last.into());
    let within = policy.keep_within.map(|within| within.as_secs());
    more.insert("keep_within_s".to_owned(), json!(within));
    more.insert("no_longer_undoable".to_owned(), json!(lost));
    maintenance::carry_out(
        context,
        (RunKind::Prune, "prune"),
        &pruning.describe(),
        more,
        &|_| approve(&question, answers, audience),
        audience.listener(),
        &|session| remove(session, &pruning),
    )?;
    Ok(pruning)
}

/// Space is asked for, data is lost: `--yes` and `--force` say so too, since nobody prunes by accident.
fn approve(question: &str, answers: &Answers, audience: &dyn Audience) -> Result<Approval> {
    let by = |answer: String, asked| Approval {
        answers: vec![(question.to_owned(), answer)],
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
            session.submit(&Proposal::act("prune", place.display.clone(), summary, prune))?;
        }
    }
    Ok(())
}

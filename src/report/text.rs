//! A report as text for the terminal: the plan before a run, the outcome after it. Both show the same list of
//! operations. Keeps nothing on disk.

use std::collections::{BTreeMap, BTreeSet};

use self::page::Page;
use super::explanation::Explanation;
use super::heading::purpose;
use super::{CheckRecord, Mode, OperationRecord, Report, RunOutcome};
use crate::base::terminal::{Ink, Style};
use crate::base::wording::{bytes, duration, plural};
use crate::report::effect::{Outcome, Risk};
use crate::report::undo::UndoClass;

mod page;

#[cfg(test)]
pub(crate) mod sample;

#[cfg(test)]
mod tests;

/// Words that take something away; other words with an effect change something.
const REMOVALS: [&str; 8] = [
    "remove_containers",
    "remove_images",
    "remove_path",
    "remove_paths",
    "remove_pid_file",
    "remove_volumes",
    "retire_dir",
    "uninstall_packages",
];

/// Words that stop something that runs.
const STOPS: [&str; 2] = ["kill_process", "stop_processes"];

/// How much is told, and what a report itself doesn't hold.
#[derive(Debug, Clone, Default)]
pub struct Telling {
    /// Lists the parts that are not present, and adds durations and rules.
    pub verbose: bool,
    /// The person saw the operations as they happened: those that were plainly done are not listed again.
    pub watched: bool,
    /// Titles of stories by id; a story that isn't here is named by its id alone.
    pub titles: BTreeMap<String, String>,
}

/// What a run would do, for a person who is about to say yes. At most 100 columns, a newline at the end.
pub fn plan(report: &Report, style: &Style, telling: &Telling) -> String {
    // A plan is shown before a real run too: whatever the report says, nothing of it has happened.
    let mut page = Page::new(style, Mode::DryRun);
    page.hanging("", Ink::Strong, &format!("Plan: {}", purpose(report)));
    operations(&mut page, report, telling);
    page.blank();
    totals(&mut page, report);
    flags(&mut page, report);
    backups(&mut page, report);
    checks(&mut page, report);
    explanation(&mut page, report);
    irreversible(&mut page, report);
    closing(&mut page, report);
    page.hanging(
        "",
        Ink::Plain,
        &format!("plan `{}`: nothing has been changed", report.plan),
    );
    next(&mut page, report);
    page.text
}

/// What a run did, for the person who started it. At most 100 columns, a newline at the end.
pub fn outcome(report: &Report, style: &Style, telling: &Telling) -> String {
    let mut page = Page::new(style, report.mode);
    page.hanging(
        "",
        Ink::Strong,
        &format!("Run {}: {}", report.run, purpose(report)),
    );
    operations(&mut page, report, telling);
    page.blank();
    flags(&mut page, report);
    backups(&mut page, report);
    checks(&mut page, report);
    explanation(&mut page, report);
    verdict(&mut page, report);
    closing(&mut page, report);
    next(&mut page, report);
    page.text
}

/// The checks of a validation without a run, each with what was found.
pub fn validation(report: &Report, style: &Style, telling: &Telling) -> String {
    let mut page = Page::new(style, Mode::Real);
    for story in &report.stories {
        let title = telling
            .titles
            .get(story)
            .map(|title| format!(" {title}"))
            .unwrap_or_default();
        page.line(Ink::Strong, &format!("Story {story}{title}"));
        for check in report.checks.iter().filter(|check| check.story == *story) {
            let detail = check
                .detail
                .as_deref()
                .map(|detail| format!(": {detail}"))
                .unwrap_or_default();
            let (lead, ink) = match check.passed {
                Some(true) => ("  ok     ", Ink::Good),
                Some(false) => ("  fails  ", Ink::Danger),
                None => ("  ?      ", Ink::Caution),
            };
            page.hanging(lead, ink, &format!("{}{detail}", check.title));
        }
    }
    page.blank();
    checks(&mut page, report);
    for warning in &report.warnings {
        page.hanging("warning: ", Ink::Caution, warning);
    }
    page.text
}

/// Whether the run changed something, as far as its operations tell: one that failed may have.
pub fn touched(report: &Report) -> bool {
    report.mode == Mode::Real
        && report.operations.iter().any(|record| {
            matches!(record.outcome, Outcome::Done | Outcome::Failed) && record.risk != Risk::None
        })
}

/// The time that a run took, in milliseconds, where both ends can be read.
pub(super) fn elapsed(report: &Report) -> Option<u64> {
    let started = chrono::DateTime::parse_from_rfc3339(&report.started).ok()?;
    let finished = chrono::DateTime::parse_from_rfc3339(&report.finished).ok()?;
    u64::try_from((finished - started).num_milliseconds()).ok()
}

/// The operations in blocks of one story, in the order of the run. A story without operations has an empty block.
pub(super) fn blocks(report: &Report) -> Vec<(&str, &[OperationRecord])> {
    let mut blocks: Vec<(&str, &[OperationRecord])> = report
        .operations
        .chunk_by(|one, other| one.story == other.story)
        .map(|block| (block.first().map_or("", |record| record.story.as_str()), block))
        .collect();
    let idle = report
        .stories
        .iter()
        .filter(|&id| !report.operations.iter().any(|record| record.story == *id));
    blocks.extend(idle.map(|id| (id.as_str(), &[] as &[OperationRecord])));
    blocks
}

/// The heading of a block: the story's id and title.
pub(super) fn heading(id: &str, titles: &BTreeMap<String, String>) -> String {
    match titles.get(id) {
        _ if id.is_empty() => "Around the stories".to_string(),
        Some(title) => format!("Story {id}: {title}"),
        None => format!("Story {id}"),
    }
}

/// The title of the step, or the phase where no step stands around the operation.
pub(super) fn step(record: &OperationRecord) -> String {
    record.step.clone().unwrap_or_else(|| {
        let mut letters = record.phase.chars();
        letters
            .next()
            .map(|first| first.to_uppercase().chain(letters).collect())
            .unwrap_or_default()
    })
}

/// The outcome in words. In a real run, what is still planned was not done.
pub(super) fn result(record: &OperationRecord, mode: Mode) -> &'static str {
    match (record.outcome, mode) {
        (Outcome::Planned, Mode::DryRun) => "planned",
        (Outcome::Planned, Mode::Real) => "not done",
        (Outcome::Done, _) => "done",
        (Outcome::NotPresent, _) => "not present",
        (Outcome::Kept, _) => "kept",
        (Outcome::Unknown, _) => "unknown",
        (Outcome::Denied, _) => "refused",
        (Outcome::Failed, Mode::DryRun) => "would fail",
        (Outcome::Failed, Mode::Real) => "failed",
    }
}

fn operations(page: &mut Page<'_>, report: &Report, telling: &Telling) {
    let mut signs = BTreeSet::new();
    for (id, block) in blocks(report) {
        page.blank();
        page.hanging("", Ink::Strong, &heading(id, &telling.titles));
        if block.is_empty() {
            let reached = page.mode == Mode::DryRun || report.outcome == RunOutcome::Done;
            page.line(
                Ink::Faint,
                if reached {
                    "  nothing to do"
                } else {
                    "  nothing was done"
                },
            );
        }
        let absent = |record: &OperationRecord| record.outcome == Outcome::NotPresent && !telling.verbose;
        let seen = |record: &OperationRecord| telling.watched && record.outcome == Outcome::Done;
        let hidden = |record: &OperationRecord| absent(record) || seen(record);
        for group in block.chunk_by(|one, other| one.phase == other.phase && one.step == other.step) {
            let visible: Vec<_> = group.iter().filter(|record| !hidden(record)).collect();
            if let Some(first) = visible.first() {
                page.hanging("  ", Ink::Plain, &step(first));
            }
            for record in visible {
                signs.insert(operation(page, record, telling.verbose));
            }
        }
        let count = block.iter().filter(|record| absent(record)).count();
        if count > 0 {
            page.line(Ink::Faint, &format!("  {} not present", plural(count, "part")));
        }
    }
    let legend: Vec<_> = signs.into_iter().filter_map(Sign::meaning).collect();
    if !legend.is_empty() {
        page.blank();
        page.hanging("", Ink::Faint, &legend.join("   "));
    }
}

fn operation(page: &mut Page<'_>, record: &OperationRecord, verbose: bool) -> Sign {
    let mode = page.mode;
    let sign = Sign::of(record);
    let mut text = rendered(record, mode);
    if verbose {
        if let Some(rule) = &record.rule {
            text = format!("{text} [allowed by {rule}]");
        }
        if mode == Mode::Real {
            text = format!("{text} [{}]", duration(record.ms));
        }
    }
    let (label, ink) = match (record.outcome, mode) {
        (Outcome::Planned, Mode::DryRun) | (Outcome::Done, _) => match (record.undo, record.risk) {
            (UndoClass::None, Risk::None) => ("", Ink::Plain),
            (UndoClass::None, _) => ("no undo", Ink::Caution),
            (UndoClass::Compensating, _) => ("undo compensating", Ink::Faint),
            (UndoClass::Exact, _) => ("undo exact", Ink::Faint),
        },
        (Outcome::Failed | Outcome::Denied, _) => (result(record, mode), Ink::Danger),
        (Outcome::Planned | Outcome::Unknown, _) => (result(record, mode), Ink::Caution),
        (Outcome::NotPresent | Outcome::Kept, _) => (result(record, mode), Ink::Faint),
    };
    page.row((sign.letter(), sign.ink()), &text, label, ink);
    for each in &record.paths {
        page.hanging("        ", Ink::Plain, &each.sized);
    }
    sign
}

/// The operation with why it is so, in one line.
pub(super) fn rendered(record: &OperationRecord, mode: Mode) -> String {
    let why = record.why.as_deref();
    // What is settled says "leave <target>: <why>"; here the outcome says that better.
    let settled = why.is_some_and(|why| record.summary == format!("leave {}: {why}", record.target));
    let thing = match (settled, record.target.contains('`')) {
        (false, _) => record.summary.clone(),
        (true, true) => record.target.clone(),
        (true, false) => format!("`{}`", record.target),
    };
    match (record.outcome, why) {
        (Outcome::Unknown, why) => {
            let when = if mode == Mode::DryRun {
                "cannot be known before the run"
            } else {
                "could not be known"
            };
            format!(
                "{thing}: {when}{}",
                why.map(|why| format!(" ({why})")).unwrap_or_default()
            )
        }
        (Outcome::Kept, Some(why)) if settled => format!("keep {thing}: {why}"),
        (Outcome::Failed | Outcome::Denied, Some(why)) if thing != why => format!("{thing}: {why}"),
        (_, Some(why)) if settled => format!("{thing}: {why}"),
        (_, Some(why)) if !thing.contains(why) => format!("{thing} ({why})"),
        _ => thing,
    }
}

/// The sign before an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Remove,
    Change,
    Disruptive,
    Irreversible,
    Unknown,
    Nothing,
}

impl Sign {
    fn of(record: &OperationRecord) -> Self {
        match (record.outcome, record.risk) {
            (Outcome::NotPresent | Outcome::Kept, _) => Self::Nothing,
            (Outcome::Unknown, _) => Self::Unknown,
            (_, Risk::Irreversible) => Self::Irreversible,
            (_, Risk::Disruptive) => Self::Disruptive,
            _ if REMOVALS.contains(&record.op.as_str()) => Self::Remove,
            (_, Risk::Reversible) => Self::Change,
            (_, Risk::None) => Self::Nothing,
        }
    }

    const fn letter(self) -> &'static str {
        match self {
            Self::Remove => "-",
            Self::Change => "~",
            Self::Disruptive => "!",
            Self::Irreversible => "x",
            Self::Unknown => "?",
            Self::Nothing => " ",
        }
    }

    const fn meaning(self) -> Option<&'static str> {
        match self {
            Self::Remove => Some("- removal"),
            Self::Change => Some("~ change"),
            Self::Disruptive => Some("! disruptive"),
            Self::Irreversible => Some("x irreversible"),
            Self::Unknown => Some("? unknown"),
            Self::Nothing => None,
        }
    }

    const fn ink(self) -> Ink {
        match self {
            Self::Remove | Self::Disruptive | Self::Unknown => Ink::Caution,
            Self::Change => Ink::Change,
            Self::Irreversible => Ink::Danger,
            Self::Nothing => Ink::Plain,
        }
    }
}

/// Operations that are to happen (in a preview) or did.
fn effective(report: &Report) -> impl Iterator<Item = &OperationRecord> {
    report
        .operations
        .iter()
        .filter(|record| matches!(record.outcome, Outcome::Planned | Outcome::Done))
}

fn totals(page: &mut Page<'_>, report: &Report) {
    let total = effective(report).count();
    let risks = [
        (Risk::None, "without risk"),
        (Risk::Reversible, "reversible"),
        (Risk::Disruptive, "disruptive"),
        (Risk::Irreversible, "irreversible"),
    ];
    let parts: Vec<_> = risks
        .into_iter()
        .map(|(risk, name)| {
            (
                effective(report).filter(|record| record.risk == risk).count(),
                name,
            )
        })
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    let mut text = plural(total, "operation");
    if !parts.is_empty() {
        text = format!("{text}: {}", parts.join(", "));
    }
    page.hanging("", Ink::Strong, &text);
    let words = |words: &[&str]| {
        effective(report)
            .filter(|record| words.contains(&record.op.as_str()))
            .count()
    };
    let mut amounts = Vec::new();
    if !report.backups.is_empty() {
        amounts.push(format!(
            "{} into {}",
            bytes(retired(report)),
            plural(report.backups.len(), "backup")
        ));
    }
    for (count, one) in [
        (words(&STOPS), "stop of processes"),
        (words(&["uninstall_packages"]), "removal of packages"),
        (words(&["remove_containers"]), "removal of containers"),
        (words(&["remove_images"]), "removal of images"),
        (words(&["remove_volumes"]), "removal of volumes"),
    ] {
        if count > 0 {
            let (verb, rest) = one.split_once(' ').unwrap_or((one, ""));
            amounts.push(format!("{} {rest}", plural(count, verb)));
        }
    }
    if !amounts.is_empty() {
        page.hanging("", Ink::Plain, &amounts.join(", "));
    }
}

fn retired(report: &Report) -> u64 {
    report
        .backups
        .iter()
        .fold(0, |sum, backup| sum.saturating_add(backup.bytes))
}

fn flags(page: &mut Page<'_>, report: &Report) {
    let (before, after) = (&report.flags.before, &report.flags.after);
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let state = |flags: &BTreeMap<String, bool>| match flags.get(name) {
            Some(true) => "on",
            Some(false) => "off",
            None => "absent",
        };
        let (old, new) = (state(before), state(after));
        let text = if old == new {
            format!("stays {old}")
        } else {
            format!("{old} -> {new}")
        };
        page.hanging("flag ", Ink::Plain, &format!("`{name}`: {text}"));
    }
}

fn backups(page: &mut Page<'_>, report: &Report) {
    for backup in &report.backups {
        page.hanging(
            "backup ",
            Ink::Plain,
            &format!(
                "`{}` of `{}`: {} in {}, {}",
                backup.name,
                backup.source,
                bytes(backup.bytes),
                plural(backup.entries, "entry"),
                backup.method,
            ),
        );
    }
}

fn checks(page: &mut Page<'_>, report: &Report) {
    if report.checks.is_empty() {
        return;
    }
    let tally = report.tally();
    let (verb, ink) = match page.mode {
        Mode::DryRun => ("would pass", Ink::Plain),
        Mode::Real if tally.failed > 0 => ("passed", Ink::Danger),
        Mode::Real if tally.unknown > 0 => ("passed", Ink::Caution),
        Mode::Real => ("passed", Ink::Good),
    };
    page.line(ink, &format!("validation: {}", tally.sentence(verb)));
    for check in &report.checks {
        match check.passed {
            Some(true) => {}
            Some(false) => page.hanging("  fails: ", Ink::Danger, &finding(report, check)),
            None => page.hanging("  ?      ", Ink::Caution, &finding(report, check)),
        }
    }
}

/// The check with its story, where there are several, and what was found.
pub(super) fn finding(report: &Report, check: &CheckRecord) -> String {
    let detail = check
        .detail
        .as_deref()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    format!("{}{}{detail}", lead(report, &check.story), check.title)
}

/// The story's id before a text, where there are several.
pub(super) fn lead(report: &Report, story: &str) -> String {
    if report.stories.len() > 1 && !story.is_empty() {
        format!("{story}: ")
    } else {
        String::new()
    }
}

/// What loses data for good, named apart from everything else.
fn irreversible(page: &mut Page<'_>, report: &Report) {
    let mut lost = effective(report)
        .filter(|record| record.risk == Risk::Irreversible)
        .peekable();
    if lost.peek().is_none() {
        return;
    }
    page.blank();
    page.line(Ink::Danger, "Gone for good, without undo:");
    for record in lost {
        page.hanging("  x ", Ink::Danger, &record.summary);
    }
    page.blank();
}

fn explanation(page: &mut Page<'_>, report: &Report) {
    for (lead, remark) in report.explanation.iter().flat_map(Explanation::remarks) {
        page.hanging(lead, Ink::Caution, &remark);
    }
}

fn verdict(page: &mut Page<'_>, report: &Report) {
    let (word, ink) = match report.outcome {
        RunOutcome::Planned => ("planned", Ink::Plain),
        RunOutcome::Done => ("done", Ink::Good),
        RunOutcome::Failed => ("failed", Ink::Danger),
        RunOutcome::Partial => ("some stories failed", Ink::Danger),
        RunOutcome::Refused => ("refused", Ink::Danger),
        RunOutcome::NotApproved => ("not approved", Ink::Caution),
        RunOutcome::Interrupted => ("interrupted", Ink::Caution),
    };
    let count = |outcome| {
        report
            .operations
            .iter()
            .filter(|record| record.outcome == outcome)
            .count()
    };
    let mut parts: Vec<_> = [
        (Outcome::Done, "done"),
        (Outcome::Failed, "failed"),
        (Outcome::Denied, "refused"),
        (
            Outcome::Planned,
            if report.mode == Mode::Real {
                "not done"
            } else {
                "planned"
            },
        ),
        (Outcome::Unknown, "unknown"),
        (Outcome::Kept, "kept"),
        (Outcome::NotPresent, "not present"),
    ]
    .into_iter()
    .filter(|(outcome, _)| count(*outcome) > 0)
    .map(|(outcome, name)| format!("{} {name}", count(outcome)))
    .collect();
    // A backup that was made is something, though what was there is as it was.
    if !touched(report) && count(Outcome::Done) == 0 {
        parts.push("nothing was changed".to_string());
    }
    let time = elapsed(report)
        .map(|ms| format!(" in {}", duration(ms)))
        .unwrap_or_default();
    page.blank();
    page.hanging("", ink, &format!("{word}{time}: {}", parts.join(", ")));
}

fn closing(page: &mut Page<'_>, report: &Report) {
    for warning in &report.warnings {
        page.hanging("warning: ", Ink::Caution, warning);
    }
    if let Some(failure) = &report.error {
        let text = format!("{}{}", lead(report, &failure.story), failure.message);
        page.hanging("error: ", Ink::Danger, &text);
        if let Some(hint) = &failure.hint {
            page.hanging("hint: ", Ink::Change, hint);
        }
    }
}

fn next(page: &mut Page<'_>, report: &Report) {
    if report.next.is_empty() {
        return;
    }
    page.line(Ink::Plain, "next:");
    for command in &report.next {
        // Not wrapped: it is to be copied.
        page.line(Ink::Plain, &format!("  {command}"));
    }
}

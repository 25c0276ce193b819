//! What a command that was run over a layer would change, as proposals: what goes is put away, then what it wrote comes.

use std::rc::Rc;

use crate::base::error::Result;
use crate::base::wording::{bytes, plural};
use crate::host::files::EntryKind;
use crate::host::rehearsals::Rehearsed;
use crate::host::transaction::{Change, What};
use crate::operation::Proposal;
use crate::operation::committing::Commit;
use crate::operation::moving::MovePaths;
use crate::report::effect::{Capability, Outcome};
use crate::view::View;
use crate::workspace::Place;

/// The proposals of a command, as people know it by `display`; it needs `needs`, beside the paths that it changes.
///
/// # Errors
/// What the view says.
pub fn proposals(
    word: &'static str,
    view: &View,
    display: &str,
    needs: Option<Capability>,
    rehearsed: &Rc<Rehearsed>,
) -> Result<Vec<Proposal>> {
    let steps = &rehearsed.steps;
    let needs: Vec<Capability> = needs.into_iter().collect();
    if steps.out.is_empty() && steps.into.is_empty() && steps.times.is_empty() {
        let why = "it was run over a layer of the workspace, and changes nothing";
        return Ok(vec![Proposal::settled(
            word,
            display,
            Outcome::NotPresent,
            why,
            needs,
        )]);
    }
    let root = view.workspace.root();
    let mut proposals = Vec::new();
    if !steps.out.is_empty() {
        let moves: Vec<(Place, Place)> = steps
            .out
            .iter()
            .map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                (view.workspace.show(&root.join(path)), view.slot("removed", &name))
            })
            .collect();
        let removed = counted(&rehearsed.changes, |change| change.what == What::Removed);
        let replaced = counted(&rehearsed.changes, is_replaced);
        let summary = match (removed, replaced) {
            (None, None) => format!("run `{display}`: put its former files away"),
            (Some(removed), None) => format!("run `{display}`: remove {removed}"),
            (None, Some(replaced)) => format!("run `{display}`: put away the former {replaced}"),
            (Some(removed), Some(replaced)) => {
                format!("run `{display}`: remove {removed}, put away the former {replaced}")
            }
        };
        let moves = MovePaths::new(view, moves, false)?.of_rehearsed(&needs, &rehearsed.digest);
        let goes = super::proposing::listed(&steps.out);
        proposals.push(Proposal::act(word, display, summary, moves).because(goes));
    }
    if !steps.into.is_empty() || !steps.times.is_empty() {
        let created = counted(&rehearsed.changes, |change| change.what == What::Created);
        let changed = counted(&rehearsed.changes, is_replaced);
        let comes: Vec<String> = created
            .map(|created| format!("new: {created}"))
            .into_iter()
            .chain(changed.map(|changed| format!("changed: {changed}")))
            .collect();
        let comes = if comes.is_empty() {
            format!("the times of {}", plural(steps.times.len() as u64, "directory"))
        } else {
            comes.join("; ")
        };
        let summary = if proposals.is_empty() {
            format!("run `{display}`: put in place what it wrote ({comes})")
        } else {
            let program = display.split(' ').next().unwrap_or_default();
            format!("put in place what `{program}` wrote ({comes})")
        };
        let commit = Commit::new(view, Rc::clone(rehearsed), &needs)?;
        let mut proposal = Proposal::act(word, display, summary, commit);
        if !steps.into.is_empty() {
            proposal = proposal.because(super::proposing::listed(&steps.into));
        }
        proposals.push(proposal);
    }
    Ok(proposals)
}

/// Something else stands there afterwards: other contents, another kind of thing, another mode or time.
fn is_replaced(change: &Change) -> bool {
    change.before.is_some()
        && change
            .after
            .is_some_and(|after| change.what != What::Touched || after.kind != EntryKind::Directory)
}

/// How many files and other paths, and how many bytes: those that stand there afterwards, or stood there before.
fn counted(changes: &[Change], counts: impl Fn(&Change) -> bool) -> Option<String> {
    let (mut files, mut others, mut size) = (0_u64, 0_u64, 0_u64);
    for stat in changes
        .iter()
        .filter(|change| counts(change))
        .filter_map(|change| change.after.or(change.before))
    {
        match stat.kind {
            EntryKind::File => {
                files += 1;
                size = size.saturating_add(stat.size);
            }
            EntryKind::Directory => {}
            _ => others += 1,
        }
    }
    let mut parts = Vec::new();
    if files > 0 {
        parts.push(format!("{} ({})", plural(files, "file"), bytes(size)));
    }
    if others > 0 {
        parts.push(plural(others, "other path"));
    }
    let any = changes.iter().any(counts);
    match (parts.is_empty(), any) {
        (true, false) => None,
        (true, true) => Some("empty directories".to_owned()),
        _ => Some(parts.join(" and ")),
    }
}

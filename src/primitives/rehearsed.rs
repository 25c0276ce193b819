//! What a command that was run over a layer would change, as a proposal.

use std::rc::Rc;

use crate::base::error::Result;
use crate::base::wording::{bytes, plural, plural_as};
use crate::host::files::EntryKind;
use crate::host::rehearsals::Rehearsed;
use crate::host::transaction::{Change, Steps, What};
use crate::operation::Proposal;
use crate::operation::committing::Commit;
use crate::report::effect::{Capability, Outcome};
use crate::view::View;

/// The proposal of a command, as people know it by `display`; it needs `needs`, beside the paths that it changes.
///
/// # Errors
/// [`crate::base::error::Kind::InUse`] where somebody writes to what it removed or replaced; what the view says.
pub fn proposal(
    word: &'static str,
    view: &View,
    display: &str,
    needs: Option<Capability>,
    rehearsed: &Rc<Rehearsed>,
) -> Result<Proposal> {
    let needs: Vec<Capability> = needs.into_iter().collect();
    let steps = &rehearsed.steps;
    if steps.out.is_empty() && steps.into.is_empty() && steps.times.is_empty() {
        let why = "it was run over a layer of the workspace, and changes nothing";
        return Ok(Proposal::settled(word, display, Outcome::NotPresent, why, needs));
    }
    require_quiet(view, steps)?;
    let of = |what: What| counted(&rehearsed.changes, |change| change.what == what);
    let changed = counted(&rehearsed.changes, |change| {
        change.before.is_some() && change.after.is_some() && change.what != What::Touched
    });
    let touched = rehearsed
        .changes
        .iter()
        .filter(|change| change.what == What::Touched)
        .count();
    let parts = [
        of(What::Removed).map(|removed| format!("remove {removed}")),
        changed.map(|changed| format!("change {changed}")),
        of(What::Created).map(|created| format!("make {created}")),
    ];
    let mut parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        parts.push(format!("set the times of {}", plural(touched as u64, "path")));
    }
    let mut named = steps.out.clone();
    named.extend(
        steps
            .into
            .iter()
            .filter(|path| !steps.out.contains(path))
            .cloned(),
    );
    let summary = format!("run `{display}`: {}", parts.join(", "));
    let commit = Commit::new(view, Rc::clone(rehearsed), &needs)?;
    let proposal = Proposal::act(word, display, summary, commit);
    Ok(proposal.remarking((!named.is_empty()).then(|| super::proposing::listed(&named))))
}

/// No lock passes an overlay: who is at work on what the command removed or replaced has not kept it from that.
fn require_quiet(view: &View, steps: &Steps) -> Result<()> {
    let allow_open = view.errand.options.allow_open;
    for path in &steps.out {
        let place = view.workspace.show(&view.workspace.root().join(path));
        super::proposing::require_quiet(view, &place, &[], allow_open)?;
        if let Some(database) = view.database(&place)? {
            for member in database.members() {
                super::proposing::require_quiet(view, member, &[], allow_open)?;
            }
        }
    }
    Ok(())
}

/// How many files and other paths, and how many bytes: those that stand there afterwards, or stood there before.
fn counted(changes: &[Change], counts: impl Fn(&Change) -> bool) -> Option<String> {
    let (mut files, mut directories, mut others, mut size) = (0_u64, 0_u64, 0_u64, 0_u64);
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
            EntryKind::Directory => directories += 1,
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
    // Directories are told where nothing else tells of them.
    if parts.is_empty() && directories > 0 {
        parts.push(plural_as(directories, "directory", "directories"));
    }
    (!parts.is_empty()).then(|| parts.join(" and "))
}

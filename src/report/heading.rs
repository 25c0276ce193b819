//! What a run is, as a phrase: the heading of each of its renderings, the beginning of its reports' names, the subject of
//! what alerts say.

use super::{Mode, Report, RunKind};

/// "roll back 1.3", "undo run `…` (1.3)", "restore backup `…`".
#[must_use]
pub fn subject(report: &Report) -> String {
    let stories = report.stories.join(", ");
    let about = report.about.as_deref().unwrap_or_default();
    // Of a run without stories, what it is about.
    let what = if stories.is_empty() { about } else { &stories };
    let of = |what: &str| match what {
        "" => String::new(),
        what => format!(" ({what})"),
    };
    match (report.kind, report.undoes.as_deref()) {
        (RunKind::Rollback, _) => format!("roll back {what}"),
        (RunKind::Undo, Some(run)) => format!("undo run `{run}`{}", of(what)),
        (RunKind::Undo, None) => format!("undo a run{}", of(what)),
        (RunKind::Recover, Some(run)) => format!("settle run `{run}`, which was cut off{}", of(what)),
        (RunKind::Recover, None) => format!("settle the run that was cut off{}", of(what)),
        (RunKind::Backup, _) => format!("backup: {what}"),
        (RunKind::Restore, _) => format!("restore: {what}"),
        (RunKind::Feature, _) => format!("feature: {what}"),
        (RunKind::Prune, _) => format!("prune: {what}"),
    }
}

/// As [`subject`], and whether it is a dry run.
#[must_use]
pub fn purpose(report: &Report) -> String {
    match report.mode {
        Mode::DryRun => format!("{} (dry run)", subject(report)),
        Mode::Real => subject(report),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text::sample::preview;

    #[test]
    fn each_kind_of_run_has_a_heading_that_says_what_it_is() {
        let mut report = preview();
        let mut headings = Vec::new();
        for (kind, undoes, about, stories) in [
            (RunKind::Rollback, None, None, vec!["1.3"]),
            (RunKind::Undo, Some("R1"), None, vec!["1.3"]),
            (RunKind::Undo, Some("R2"), Some("restore: `x_1` to `x`"), vec![]),
            (RunKind::Recover, Some("R1"), None, vec!["1.3"]),
            (RunKind::Backup, None, Some("copy `x`"), vec![]),
            (RunKind::Restore, None, Some("`x_1` to `x`"), vec![]),
            (RunKind::Feature, None, Some("switch `a` off"), vec![]),
            (RunKind::Prune, None, Some("2 backups"), vec![]),
        ] {
            report.kind = kind;
            report.undoes = undoes.map(str::to_owned);
            report.about = about.map(str::to_owned);
            report.stories = stories.into_iter().map(str::to_owned).collect();
            headings.push(purpose(&report));
        }
        insta::assert_snapshot!(headings.join("\n"), @r"
        roll back 1.3 (dry run)
        undo run `R1` (1.3) (dry run)
        undo run `R2` (restore: `x_1` to `x`) (dry run)
        settle run `R1`, which was cut off (1.3) (dry run)
        backup: copy `x` (dry run)
        restore: `x_1` to `x` (dry run)
        feature: switch `a` off (dry run)
        prune: 2 backups (dry run)
        ");
    }
}

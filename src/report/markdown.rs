//! A report as Markdown (with the tables and task lists of GitHub), for reading and for reviews.
//!
//! On disk: `rollback_reports/<kind>_<story>_<YYYYMMDD_HHMMSS>.md`, written by others.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::explanation::Explanation;
use super::heading::purpose;
use super::text::{blocks, elapsed, finding, heading, lead, rendered, result, step, touched};
use super::{Mode, OperationRecord, PathRecord, Report, RunOutcome};
use crate::base::terminal::escape;
use crate::base::wording::{bytes, duration, plural};
use crate::report::effect::{Outcome, Risk};
use crate::report::undo::UndoClass;

/// The whole report; `titles` of stories by id, where known.
pub fn render(report: &Report, titles: &BTreeMap<String, String>) -> String {
    let mut page = String::new();
    section(&mut page, "# ", &format!("Report: {}", purpose(report)));
    summary(&mut page, report);
    operations(&mut page, report, titles);
    left_alone(&mut page, report);
    let explained: Vec<String> = report
        .explanation
        .iter()
        .flat_map(Explanation::remarks)
        .map(|(lead, remark)| format!("{lead}{remark}"))
        .collect();
    list(&mut page, "What is not plainly taken back", "", &explained);
    backups(&mut page, report);
    checks(&mut page, report);
    flags(&mut page, report);
    list(&mut page, "Warnings", "Warning: ", &report.warnings);
    next(&mut page, report);
    audit(&mut page, report);
    page
}

fn section(page: &mut String, level: &str, title: &str) {
    if !page.is_empty() && !page.ends_with("\n\n") {
        page.push('\n');
    }
    put(page, format_args!("{level}{}\n\n", prose(title)));
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a string doesn't fail");
}

/// A table; cells are escaped by the caller.
fn table(page: &mut String, header: &[&str], rows: &[Vec<String>]) {
    put(page, format_args!("| {} |\n", header.join(" | ")));
    put(page, format_args!("|{}\n", " --- |".repeat(header.len())));
    for row in rows {
        put(page, format_args!("| {} |\n", row.join(" | ")));
    }
}

fn summary(page: &mut String, report: &Report) {
    let mode = match report.mode {
        Mode::DryRun => "dry run: nothing was changed",
        Mode::Real if touched(report) => "real",
        Mode::Real => "real, but nothing was changed",
    };
    let time = elapsed(report)
        .map(|ms| format!(" ({})", duration(ms)))
        .unwrap_or_default();
    let mut rows = vec![
        (
            "Outcome",
            format!("{} (exit code {})", ending(report.outcome), report.exit_code),
        ),
        ("Mode", mode.to_string()),
        ("Stories", report.stories.join(", ")),
        ("Who", format!("{} on {}", report.user, report.host)),
        ("When", format!("{} to {}{time}", report.started, report.finished)),
        (
            "Why",
            report
                .reason
                .clone()
                .unwrap_or_else(|| "no reason given".to_string()),
        ),
        ("Trigger", report.trigger.clone()),
        ("Run", report.run.clone()),
        ("Plan", report.plan.clone()),
    ];
    if let Some(run) = &report.undoes {
        rows.push(("Undoes", run.clone()));
    }
    if let Some(failure) = &report.error {
        let text = format!(
            "{}{} ({})",
            lead(report, &failure.story),
            failure.message,
            failure.kind
        );
        rows.push(("Error", text));
        rows.extend(failure.hint.clone().map(|hint| ("Hint", hint)));
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_string(), prose(&value)])
        .collect();
    table(page, &["", ""], &rows);
}

const fn ending(outcome: RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Planned => "planned",
        RunOutcome::Done => "done",
        RunOutcome::Failed => "failed",
        RunOutcome::Partial => "some stories failed, others succeeded",
        RunOutcome::Refused => "refused by policy",
        RunOutcome::NotApproved => "not approved",
        RunOutcome::Interrupted => "interrupted",
    }
}

fn operations(page: &mut String, report: &Report, titles: &BTreeMap<String, String>) {
    section(page, "## ", "Operations");
    if report.operations.is_empty() {
        page.push_str("None.\n");
    }
    for (id, block) in blocks(report) {
        section(page, "### ", &heading(id, titles));
        if block.is_empty() {
            page.push_str("Nothing to do.\n");
            continue;
        }
        let steps: Vec<_> = block
            .chunk_by(|one, other| one.phase == other.phase && one.step == other.step)
            .filter_map(|group| Some((group.first()?, group)))
            .map(|(first, group)| {
                let time = group
                    .iter()
                    .fold(0_u64, |sum, record| sum.saturating_add(record.ms));
                vec![
                    prose(&first.phase),
                    first.step.as_deref().map(prose).unwrap_or_default(),
                    group.len().to_string(),
                    duration(time),
                ]
            })
            .collect();
        table(page, &["Phase", "Step", "Operations", "Time"], &steps);
        page.push('\n');
        let rows: Vec<_> = block
            .iter()
            .flat_map(|record| {
                std::iter::once(row(record, report.mode)).chain(record.paths.iter().map(path_row))
            })
            .collect();
        table(
            page,
            &["#", "Step", "Operation", "Outcome", "Risk", "Undo", "Time"],
            &rows,
        );
    }
}

fn row(record: &OperationRecord, mode: Mode) -> Vec<String> {
    let risk = match record.risk {
        Risk::None => "none",
        Risk::Reversible => "reversible",
        Risk::Disruptive => "disruptive",
        Risk::Irreversible => "**irreversible**",
    };
    let undo = match (record.undo, record.risk) {
        (UndoClass::Exact, _) => "exact",
        (UndoClass::Compensating, _) => "compensating",
        // Nothing happened that could be taken back.
        (UndoClass::None, Risk::None) => "",
        (UndoClass::None, _) => "none",
    };
    vec![
        record.n.to_string(),
        prose(&step(record)),
        prose(&rendered(record, mode)),
        result(record, mode).to_string(),
        risk.to_string(),
        undo.to_string(),
        duration(record.ms),
    ]
}

/// One of several paths, below the operation that is about them.
fn path_row(each: &PathRecord) -> Vec<String> {
    let mut cells = vec![String::new(); 7];
    if let Some(cell) = cells.get_mut(2) {
        *cell = prose(&each.sized);
    }
    cells
}

fn left_alone(page: &mut String, report: &Report) {
    let reasons: Vec<_> = report
        .operations
        .iter()
        .filter(|record| {
            matches!(
                record.outcome,
                Outcome::NotPresent | Outcome::Kept | Outcome::Unknown | Outcome::Denied
            )
        })
        .map(|record| {
            vec![
                record.n.to_string(),
                if record.target.contains('`') {
                    prose(&record.target)
                } else {
                    code(&record.target)
                },
                result(record, report.mode).to_string(),
                prose(
                    record
                        .why
                        .as_deref()
                        .or(record.rule.as_deref())
                        .unwrap_or("no reason recorded"),
                ),
            ]
        })
        .collect();
    if !reasons.is_empty() {
        section(page, "## ", "What was left alone, and why");
        table(page, &["#", "What", "Outcome", "Why"], &reasons);
    }
}

fn backups(page: &mut String, report: &Report) {
    section(page, "## ", "Backups");
    if report.backups.is_empty() {
        page.push_str("None.\n");
        return;
    }
    let rows: Vec<_> = report
        .backups
        .iter()
        .map(|backup| {
            let size = if backup.bytes < 1024 {
                bytes(backup.bytes)
            } else {
                format!("{} ({})", bytes(backup.bytes), plural(backup.bytes, "byte"))
            };
            vec![
                code(&backup.name),
                code(&backup.source),
                backup.entries.to_string(),
                size,
                prose(&backup.method),
                backup.digest.as_deref().map_or_else(|| "none".to_string(), code),
            ]
        })
        .collect();
    table(
        page,
        &["Name", "Source", "Entries", "Size", "Method", "BLAKE3"],
        &rows,
    );
}

fn checks(page: &mut String, report: &Report) {
    section(page, "## ", "Validation");
    if report.checks.is_empty() {
        page.push_str("No checks.\n");
        return;
    }
    let verb = if report.mode == Mode::DryRun {
        "would pass"
    } else {
        "passed"
    };
    put(page, format_args!("{}.\n\n", report.tally().sentence(verb)));
    for check in &report.checks {
        let mark = match check.passed {
            Some(true) => 'x',
            Some(false) => ' ',
            None => '?',
        };
        put(
            page,
            format_args!("- [{mark}] {}\n", prose(&finding(report, check))),
        );
    }
}

fn flags(page: &mut String, report: &Report) {
    let names: std::collections::BTreeSet<_> = report
        .flags
        .before
        .keys()
        .chain(report.flags.after.keys())
        .collect();
    if names.is_empty() {
        return;
    }
    section(page, "## ", "Flags");
    let state = |flags: &BTreeMap<String, bool>, name: &String| {
        match flags.get(name) {
            Some(true) => "on",
            Some(false) => "off",
            None => "absent",
        }
        .to_string()
    };
    let rows: Vec<_> = names
        .into_iter()
        .map(|name| {
            vec![
                code(name),
                state(&report.flags.before, name),
                state(&report.flags.after, name),
            ]
        })
        .collect();
    table(page, &["Flag", "Before", "After"], &rows);
}

/// A list whose items start with words of ours, so that no item can start a heading or a list of its own.
fn list(page: &mut String, title: &str, lead: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    section(page, "## ", title);
    for item in items {
        put(page, format_args!("- {lead}{}\n", prose(item)));
    }
}

fn next(page: &mut String, report: &Report) {
    if report.next.is_empty() {
        return;
    }
    section(page, "## ", "What to do next");
    for command in &report.next {
        // An indented block: unlike a fence, nothing in a line can end it.
        put(page, format_args!("    {}\n", escape(command)));
    }
}

fn audit(page: &mut String, report: &Report) {
    section(page, "## ", "Audit head");
    match &report.audit_head {
        None => page.push_str("None: a preview writes no audit log.\n"),
        Some(head) => {
            let row = vec![code(&head.log_id), head.seq.to_string(), code(&head.hash)];
            table(page, &["Log", "Record", "Hash"], &[row]);
        }
    }
}

/// A text of the world as one line of Markdown that shows it and nothing else, also in a cell of a table.
///
/// Pairs of backticks, which our own summaries put around names, stay code where that is safe; everything else
/// that Markdown or HTML could take for markup is escaped.
pub fn prose(text: &str) -> String {
    let text = escape(text);
    let pieces: Vec<_> = text.split('`').collect();
    let balanced = pieces.len() % 2 == 1;
    let last = pieces.len() - 1;
    // An empty piece between two others would make a longer run of backticks.
    let safe = pieces
        .iter()
        .enumerate()
        .all(|(position, piece)| match position % 2 {
            1 => spannable(piece),
            _ => position == 0 || position == last || !piece.is_empty(),
        });
    if !(balanced && safe) {
        return plain(&text);
    }
    pieces
        .iter()
        .enumerate()
        .map(|(position, piece)| {
            if position % 2 == 1 {
                format!("`{piece}`")
            } else {
                plain(piece)
            }
        })
        .collect()
}

/// A name as code, or escaped where code would not show it as it is.
pub fn code(name: &str) -> String {
    let name = escape(name);
    if spannable(&name) {
        format!("`{name}`")
    } else {
        plain(&name)
    }
}

/// Whether text stands between single backticks as it is. A bar ends a cell even in code unless it is escaped, and
/// the escape would show outside a table; a backslash at the end can hide what follows from a table; spaces at both
/// ends are cut.
fn spannable(text: &str) -> bool {
    let cut = text.starts_with(' ') && text.ends_with(' ');
    !(cut || text.is_empty() || text.contains(['`', '|']) || text.ends_with('\\'))
}

fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' => escaped.push_str("&#124;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '!' | '#' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::sample::{preview, real};
    use super::*;

    #[test]
    fn failed_run_is_told_in_full() {
        let titles = BTreeMap::from([("1.3".to_string(), "DuckDB Local Analytics".to_string())]);
        insta::assert_snapshot!(render(&real(), &titles), @"
        # Report: roll back 1.3

        |  |  |
        | --- | --- |
        | Outcome | failed (exit code 1) |
        | Mode | real |
        | Stories | 1.3 |
        | Who | ada on db1 |
        | When | 2026-11-23T01:30:00.000Z to 2026-11-23T01:30:04.250Z (4.3 s) |
        | Why | queries return rows of another tenant |
        | Trigger | data-corruption |
        | Run | 20261123T013000Z-1a2b |
        | Plan | b7d2a4c19f03 |
        | Error | `npm` ended with status 1: `EACCES: permission denied, unlink node_modules/duckdb` (failed) |
        | Hint | make `node_modules` writable, then run it again |

        ## Operations

        ### Story 1.3: DuckDB Local Analytics

        | Phase | Step | Operations | Time |
        | --- | --- | --- | --- |
        | before |  | 1 | 3 ms |
        | execute | Stop services | 2 | 6 ms |
        | execute | Retire data | 1 | 3 ms |
        | execute | Remove packages | 1 | 3 ms |
        | execute | Remove files | 2 | 6 ms |
        | execute | Remove containers | 2 | 6 ms |

        | # | Step | Operation | Outcome | Risk | Undo | Time |
        | --- | --- | --- | --- | --- | --- | --- |
        | 1 | Before | switch off `duckdb_analytics` and 1 flag that depends on it | done | reversible | exact | 3 ms |
        | 2 | Stop services | end process 4242 (`node services/duckdb-analytics-service.js --port 4000 --config config/services/duckdb.json`) with SIGTERM | done | disruptive | none | 3 ms |
        | 3 | Stop services | `data/logs/worker.pid`: no such process | not present | none |  | 3 ms |
        | 4 | Retire data | move `data/duckdb` (3 files, 1.2 MiB) into backup `duckdb_data` | done | reversible | exact | 3 ms |
        | 5 | Remove packages | uninstall `duckdb` 1.1.3 by npm: `npm` ended with status 1 | failed | reversible | compensating | 3 ms |
        | 6 | Remove files | keep `services/data-catalog.js`: `services/orchestrator.js` requires it | kept | none |  | 3 ms |
        | 7 | Remove files | `tests/duckdb.test.js`: no such path | not present | none |  | 3 ms |
        | 8 | Remove containers | images `duckdb-*`: could not be known (the container engine does not answer) | unknown | none |  | 3 ms |
        | 9 | Remove containers | remove volume `duckdb-cache` (48.0 MiB) | not done | **irreversible** | none | 3 ms |

        ## What was left alone, and why

        | # | What | Outcome | Why |
        | --- | --- | --- | --- |
        | 3 | `data/logs/worker.pid` | not present | no such process |
        | 6 | `services/data-catalog.js` | kept | `services/orchestrator.js` requires it |
        | 7 | `tests/duckdb.test.js` | not present | no such path |
        | 8 | images `duckdb-*` | unknown | the container engine does not answer |

        ## Backups

        | Name | Source | Entries | Size | Method | BLAKE3 |
        | --- | --- | --- | --- | --- | --- |
        | `duckdb_data_20261123_013000` | `data/duckdb` | 4 | 1.2 MiB (1258291 bytes) | moved | `5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f` |

        ## Validation

        1 of 2 checks passed.

        - [x] the feature is off
        - [ ] no DuckDB file is left: `exports/old.duckdb` is left

        ## Flags

        | Flag | Before | After |
        | --- | --- | --- |
        | `dbt` | off | off |
        | `duckdb_analytics` | on | off |

        ## Warnings

        - Warning: the container engine does not answer: what it holds is unknown

        ## What to do next

            rollback undo 20261123T013000Z-1a2b
            rollback report 20261123T013000Z-1a2b

        ## Audit head

        | Log | Record | Hash |
        | --- | --- | --- |
        | `log-1` | 41 | `abababababababababababababababababababababababababababababababab` |
        ");
    }

    #[test]
    fn preview_says_that_nothing_was_changed() {
        let page = render(&preview(), &BTreeMap::new());
        assert!(page.contains("| Mode | dry run: nothing was changed |"), "{page}");
        assert!(page.contains("1 of 2 checks would pass."), "{page}");
        assert!(page.contains("None: a preview writes no audit log."), "{page}");
        assert!(page.contains("### Story 1.3\n"), "{page}");
    }

    #[test]
    fn names_cannot_be_markup() {
        let written = [
            "remove `a|b`",
            "remove `a`<script>`b`",
            "``` # x",
            "[a](javascript:b) ![c](d) *e* _f_ ~~g~~ &lt;",
            "`a\\`",
            "`a``b`",
            "two\nlines",
        ]
        .map(prose);
        insta::assert_snapshot!(written.join("\n"), @r"
        remove \`a&#124;b\`
        remove `a`&lt;script&gt;`b`
        \`\`\` \# x
        \[a\](javascript:b) \!\[c\](d) \*e\* \_f\_ \~\~g\~\~ &amp;lt;
        \`a\\\`
        \`a\`\`b\`
        two\\nlines
        ");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn name_never_adds_a_cell_a_line_or_a_tag(name in "[a-z`|<>\\\\\n*\\[\\]() -]{0,24}") {
            let lines_and_bars = |name: &str| {
                let mut report = real();
                for record in &mut report.operations {
                    record.summary = format!("remove `{name}`");
                    record.target = name.to_string();
                }
                let page = render(&report, &BTreeMap::new());
                assert!(!page.replace(['\\', '`'], "").contains("<script"));
                // A bar behind a backslash would be text, so that both kinds are counted: neither may appear.
                (page.lines().count(), page.matches('|').count())
            };
            prop_assert_eq!(lines_and_bars(&name), lines_and_bars("x"));
        }

        #[test]
        fn html_stands_in_code_only(name in "[a<`\\\\]{0,12}") {
            let display = prose(&name);
            for (position, piece) in display.split('`').enumerate() {
                prop_assert!(position % 2 == 1 || !piece.contains('<'), "{display:?}");
            }
        }
    }
}

//! What a person reads, whole.

use proptest::prelude::*;

use super::sample::{preview, real};
use super::*;
use crate::base::terminal::{columns, escape};

fn telling(verbose: bool) -> Telling {
    Telling {
        watched: false,
        verbose,
        titles: BTreeMap::from([("1.3".to_string(), "DuckDB Local Analytics".to_string())]),
    }
}

#[test]
fn plan_reads_at_three_in_the_morning() {
    insta::assert_snapshot!(plan(&preview(), &Style::PLAIN, &telling(false)), @"
    Plan: roll back 1.3 (dry run)

    Story 1.3: DuckDB Local Analytics
      Before
      ~ switch off `duckdb_analytics` and 1 flag that depends on it                           undo exact
      Stop services
      ! end process 4242 (`node services/duckdb-analytics-service.js --port 4000                 no undo
          --config config/services/duckdb.json`) with SIGTERM
      Retire data
      - move `data/duckdb` (3 files, 1.2 MiB) into backup `duckdb_data`                       undo exact
      Remove packages
      - uninstall `duckdb` 1.1.3 by npm                                                undo compensating
      Remove files
        keep `services/data-catalog.js`: `services/orchestrator.js` requires it                     kept
      Remove containers
      ? images `duckdb-*`: cannot be known before the run (the container engine does             unknown
          not answer)
      x remove volume `duckdb-cache` (48.0 MiB)                                                  no undo
      2 parts not present

    - removal   ~ change   ! disruptive   x irreversible   ? unknown

    5 operations: 3 reversible, 1 disruptive, 1 irreversible
    1.2 MiB into 1 backup, 1 stop of processes, 1 removal of packages, 1 removal of volumes
    flag `dbt`: stays off
    flag `duckdb_analytics`: on -> off
    backup `duckdb_data_20261123_013000` of `data/duckdb`: 1.2 MiB in 4 entries, moved
    validation: 1 of 2 checks would pass
      fails: no DuckDB file is left: `exports/old.duckdb` is left

    Gone for good, without undo:
      x remove volume `duckdb-cache` (48.0 MiB)

    warning: the container engine does not answer: what it holds is unknown
    plan `b7d2a4c19f03`: nothing has been changed
    next:
      rollback run 1.3
    ");
}

#[test]
fn verbose_plan_lists_what_is_not_present_and_narrow_one_hangs() {
    insta::assert_snapshot!(plan(&preview(), &Style { colour: false, width: 60 }, &telling(true)), @"
    Plan: roll back 1.3 (dry run)

    Story 1.3: DuckDB Local Analytics
      Before
      ~ switch off `duckdb_analytics` and 1           undo exact
          flag that depends on it
      Stop services
      ! end process 4242 (`node                          no undo
          services/duckdb-analytics-service.js
          --port 4000 --config
          config/services/duckdb.json`) with
          SIGTERM
        `data/logs/worker.pid`: no such              not present
          process
      Retire data
      - move `data/duckdb` (3 files, 1.2 MiB)         undo exact
          into backup `duckdb_data`
      Remove packages
      - uninstall `duckdb` 1.1.3 by npm        undo compensating
      Remove files
        keep `services/data-catalog.js`:                    kept
          `services/orchestrator.js` requires
          it
        `tests/duckdb.test.js`: no such path         not present
      Remove containers
      ? images `duckdb-*`: cannot be known               unknown
          before the run (the container engine
          does not answer)
      x remove volume `duckdb-cache` (48.0               no undo
          MiB)

    - removal   ~ change   ! disruptive   x irreversible   ?
    unknown

    5 operations: 3 reversible, 1 disruptive, 1 irreversible
    1.2 MiB into 1 backup, 1 stop of processes, 1 removal of
    packages, 1 removal of volumes
    flag `dbt`: stays off
    flag `duckdb_analytics`: on -> off
    backup `duckdb_data_20261123_013000` of `data/duckdb`: 1.2
           MiB in 4 entries, moved
    validation: 1 of 2 checks would pass
      fails: no DuckDB file is left: `exports/old.duckdb` is
             left

    Gone for good, without undo:
      x remove volume `duckdb-cache` (48.0 MiB)

    warning: the container engine does not answer: what it holds
             is unknown
    plan `b7d2a4c19f03`: nothing has been changed
    next:
      rollback run 1.3
    ");
}

#[test]
fn failed_run_says_what_was_done_and_what_was_not() {
    insta::assert_snapshot!(outcome(&real(), &Style::PLAIN, &telling(false)), @"
    Run 20261123T013000Z-1a2b: roll back 1.3

    Story 1.3: DuckDB Local Analytics
      Before
      ~ switch off `duckdb_analytics` and 1 flag that depends on it                           undo exact
      Stop services
      ! end process 4242 (`node services/duckdb-analytics-service.js --port 4000                 no undo
          --config config/services/duckdb.json`) with SIGTERM
      Retire data
      - move `data/duckdb` (3 files, 1.2 MiB) into backup `duckdb_data`                       undo exact
      Remove packages
      - uninstall `duckdb` 1.1.3 by npm: `npm` ended with status 1                                failed
      Remove files
        keep `services/data-catalog.js`: `services/orchestrator.js` requires it                     kept
      Remove containers
      ? images `duckdb-*`: could not be known (the container engine does not answer)             unknown
      x remove volume `duckdb-cache` (48.0 MiB)                                                 not done
      2 parts not present

    - removal   ~ change   ! disruptive   x irreversible   ? unknown

    flag `dbt`: stays off
    flag `duckdb_analytics`: on -> off
    backup `duckdb_data_20261123_013000` of `data/duckdb`: 1.2 MiB in 4 entries, moved
    validation: 1 of 2 checks passed
      fails: no DuckDB file is left: `exports/old.duckdb` is left

    failed in 4.3 s: 3 done, 1 failed, 1 not done, 1 unknown, 1 kept, 2 not present
    warning: the container engine does not answer: what it holds is unknown
    error: `npm` ended with status 1: `EACCES: permission denied, unlink node_modules/duckdb`
    hint: make `node_modules` writable, then run it again
    next:
      rollback undo 20261123T013000Z-1a2b
      rollback report 20261123T013000Z-1a2b
    ");
}

#[test]
fn refused_run_changed_nothing() {
    let mut report = preview();
    report.outcome = RunOutcome::Refused;
    report.operations.truncate(1);
    report.operations[0].outcome = Outcome::Denied;
    report.operations[0].why = Some("`.git/hooks` is denied by rule `deny .git/**`".to_string());
    report.backups.clear();
    report.checks.clear();
    report.warnings.clear();
    report.flags = super::super::Flags::default();
    insta::assert_snapshot!(outcome(&report, &Style::PLAIN, &telling(false)), @"
    Run 20261123T013000Z-1a2b: roll back 1.3 (dry run)

    Story 1.3: DuckDB Local Analytics
      Before
      ~ switch off `duckdb_analytics` and 1 flag that depends on it: `.git/hooks` is             refused
          denied by rule `deny .git/**`

    ~ change

    refused in 4.3 s: 1 refused, nothing was changed
    next:
      rollback run 1.3
    ");
}

#[test]
fn colour_changes_no_word() {
    let coloured = plan(
        &preview(),
        &Style {
            colour: true,
            width: 100,
        },
        &telling(true),
    );
    let codes = regex::Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
    assert!(codes.is_match(&coloured));
    let bare: Vec<_> = codes
        .replace_all(&coloured, "")
        .lines()
        .map(|line| line.trim_end().to_string())
        .collect();
    assert_eq!(
        bare.join("\n") + "\n",
        plan(&preview(), &Style::PLAIN, &telling(true))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_world_is_called_lines_fit_and_nothing_is_obeyed(name in any::<String>(), width in 0_usize..200) {
        let mut report = real();
        report.next.clear();
        report.run = "r".to_string();
        for record in &mut report.operations {
            record.summary.push_str(&name);
            record.why = Some(name.clone());
            record.step = Some(name.clone());
        }
        report.warnings.push(name.clone());
        for text in [
            plan(&report, &Style { colour: false, width }, &Telling::default()),
            outcome(&report, &Style { colour: false, width }, &Telling { verbose: true, ..Telling::default() }),
        ] {
            for line in text.lines() {
                prop_assert!(columns(line) <= width.clamp(60, 100), "{line:?}");
                prop_assert_eq!(escape(line), line);
            }
        }
    }
}

//! What the log says, taken along and looked up.

use std::os::unix::fs::PermissionsExt;

use super::{LOG, rolled_back, workspace};
use crate::sandbox::{Finished, assert_unchanged};

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[test]
fn an_export_is_the_log_byte_for_byte_and_its_filters_choose_lines() {
    let sandbox = rolled_back();
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let log = sandbox.read(LOG);
    let export =
        |arguments: &[&str]| -> Finished { sandbox.run(&[&["audit", "export"], arguments].concat()) };
    let whole = export(&[]).assert_code(0);
    assert_eq!((whole.stdout.as_str(), whole.stderr.as_str()), (log.as_str(), ""));
    assert_eq!(
        export(&["--format", "jsonl", "--since", "2020-01-01"]).stdout,
        log
    );
    assert_eq!(export(&["--since", "1h"]).assert_code(0).stdout, log);
    assert_eq!(
        export(&["--since", "2999-01-01T00:00:00Z"]).assert_code(0).stdout,
        ""
    );
    let history = sandbox.json(&["history"]);
    let run = history["runs"][1]["run"].as_str().unwrap();
    let mine: String = lines(&log)
        .into_iter()
        .filter(|line| line.contains(&format!("\"run\":\"{run}\"")))
        .collect();
    assert_eq!(export(&["--run", run]).stdout, mine);
    let begun = export(&[
        "--run",
        run,
        "--event",
        "operation_begun",
        "--event",
        "run_started",
    ])
    .stdout;
    assert_eq!(
        begun.lines().count(),
        mine.matches("operation_begun").count() + mine.matches("run_started").count()
    );
    let wrong = export(&["--since", "yesterday"]).assert_code(2);
    assert!(wrong.stderr.contains("36h"), "{}", wrong.transcript());
}

#[test]
fn an_export_to_a_file_replaces_none_and_is_made_for_its_owner_alone() {
    let sandbox = rolled_back();
    let log = sandbox.read(LOG);
    sandbox
        .run(&["audit", "export", "-o", "out.jsonl"])
        .assert_code(0);
    assert_eq!(sandbox.read("out.jsonl"), log);
    let mode = sandbox.path("out.jsonl").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::os::unix::fs::symlink("elsewhere", sandbox.path("link")).unwrap();
    let before = sandbox.snapshot(&[]);
    for file in ["out.jsonl", "rollback.yaml", "link", "no/such/directory"] {
        sandbox.run(&["audit", "export", "-o", file]).assert_code(2);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

/// The cells of a table after RFC 4180.
fn cells(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        let row = rows.last_mut().unwrap();
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                row.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\r' if !quoted && characters.peek() == Some(&'\n') => {}
            '\n' if !quoted => rows.push(vec![String::new()]),
            other => row.last_mut().unwrap().push(other),
        }
    }
    assert_eq!(rows.pop(), Some(vec![String::new()]), "the last row has no end");
    rows
}

#[test]
fn a_table_has_a_row_a_record_and_no_formulas() {
    let sandbox =
        workspace("    remove_path(\"=1+1\");\n    remove_path(`a \"b\", c`);\n    confirm(\"+ok?\");");
    sandbox.write("=1+1", "x").write("a \"b\", c", "x");
    sandbox
        .run(&["run", "9.1", "--yes", "--reason", "@SUM(A1)\nand more"])
        .assert_code(0);
    let told = sandbox
        .run(&["audit", "export", "--format", "csv"])
        .assert_code(0);
    let rows = cells(&told.stdout);
    assert_eq!(rows.len(), sandbox.read(LOG).lines().count() + 1);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let column = |name: &str| rows[0].iter().position(|cell| cell == name).unwrap();
    let (event, target) = (column("event"), column("target"));
    let targets: Vec<&str> = rows
        .iter()
        .filter(|row| row[event] == "operation_begun")
        .map(|row| row[target].as_str())
        .collect();
    assert!(
        targets.contains(&"'=1+1") && targets.contains(&"a \"b\", c"),
        "{targets:?}"
    );
    for cell in rows.iter().flatten() {
        assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
    }
    let hashes: Vec<&str> = rows[1..].iter().map(|row| row[column("hash")].as_str()).collect();
    assert!(hashes.iter().all(|hash| hash.len() == 64));
}

#[test]
fn a_run_can_be_shown_alone_and_the_newest_records_of_all() {
    let sandbox = rolled_back();
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let history = sandbox.json(&["history"]);
    let (first, second) = (
        history["runs"][0]["run"].as_str().unwrap(),
        history["runs"][1]["run"].as_str().unwrap(),
    );
    let all = sandbox.run(&["audit", "show"]).assert_code(0).stdout;
    assert!(
        all.contains(&format!("Run {first}")) && all.contains(&format!("Run {second}")),
        "{all}"
    );
    let one = sandbox
        .run(&["audit", "show", "--run", second])
        .assert_code(0)
        .stdout;
    assert!(
        !one.contains(&format!("Run {first}")) && all.ends_with(&one),
        "{one}"
    );
    let newest = sandbox.run(&["audit", "show", "-n", "2"]).assert_code(0).stdout;
    assert_eq!(newest.lines().count(), 3, "{newest}");
    assert!(newest.contains("run ended"), "{newest}");
    let json = sandbox
        .run(&["audit", "show", "-n", "2", "--json"])
        .assert_code(0)
        .stdout;
    assert!(sandbox.read(LOG).ends_with(&json));
    assert_eq!(
        sandbox.run(&["audit", "show", "-n", "0"]).assert_code(0).stdout,
        ""
    );
    sandbox
        .run(&["audit", "show", first, "--run", second])
        .assert_code(2);
}

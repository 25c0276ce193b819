//! Small logs of many writers (`tests/logs/`), with what a person counts in them beside. Their lines lie within one minute,
//! which is moved to now.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{now, once, row, workspace};

/// The minute of the logs, in the forms of their writers, and its first eight digits of seconds since 1970.
const MINUTE: [(&str, &str); 4] = [
    ("2026-11-23T01:30:", "%Y-%m-%dT%H:%M:"),
    ("2026-11-23 01:30:", "%Y-%m-%d %H:%M:"),
    ("2026/11/23 01:30:", "%Y/%m/%d %H:%M:"),
    ("Nov 23 01:30:", "%b %e %H:%M:"),
];
const SECONDS: &str = "17953974";

fn logs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logs"))
}

/// A log as if it had been written in one of the last minutes.
fn moved_to_now(text: &str) -> String {
    let now = now() / 1000;
    let minute = DateTime::<Utc>::from_timestamp(now - 120, 0).unwrap();
    let mut text = text.replace(SECONDS, &((now - 100) / 100).to_string());
    for (written, form) in MINUTE {
        text = text.replace(written, &minute.format(form).to_string());
    }
    text
}

#[test]
fn levels_and_times_of_many_writers_are_read_as_a_person_counts_them_and_the_rest_is_no_verdict() {
    let sandbox = workspace();
    let table = std::fs::read_to_string(logs().join("expected.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    for expected in &rows {
        let name = expected[0];
        let text = std::fs::read_to_string(logs().join(format!("{name}.log"))).unwrap();
        sandbox.write(&format!("logs/{name}/app.log"), moved_to_now(&text));
    }
    let listed = std::fs::read_dir(logs()).unwrap().count() - 1;
    assert_eq!(listed, rows.len(), "a log without a row, or a row without a log");
    let document = once(&sandbox, 1);
    let mut wrong = Vec::new();
    for expected in &rows {
        let name = expected[0];
        let row = row(&document, "error-rate", Some(name));
        let intake = &row["intake"];
        let errors = row["value"].as_f64().unwrap_or_default() * row["samples"].as_f64().unwrap();
        let seen = [
            intake["lines"].to_string(),
            format!("{errors:.0}"),
            intake["unreadable"].to_string(),
            intake["untimed"].to_string(),
            intake["unlevelled"].to_string(),
            row["verdict"].as_str().unwrap().to_owned(),
        ];
        if seen[..] != expected[1..] {
            wrong.push(format!(
                "{name}: {seen:?}, and a person counts {:?}: {row}",
                &expected[1..]
            ));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "{}", wrong.join("\n"));
}

#[test]
fn a_share_that_can_not_be_read_is_configured_and_said_in_each_verdict() {
    let log = std::fs::read_to_string(logs().join("words-of-nobody.log")).unwrap();
    // A quarter of the lines.
    for (share, verdict) in [
        ("0.24", "inconclusive"),
        ("25 %", "healthy"),
        ("1", "healthy"),
        ("0", "inconclusive"),
    ] {
        let sandbox = workspace();
        sandbox.write(
            "rollback.yaml",
            format!("monitor: {{ unreadable: {share}, min_samples: 10 }}\n"),
        );
        sandbox.write("logs/shop/app.log", moved_to_now(&log));
        let finished = sandbox.run(&["monitor", "--once"]).assert_code(0);
        assert!(
            finished.stdout.contains("24 lines read: 6 of an unknown level"),
            "{}",
            finished.stdout
        );
        let document = once(&sandbox, 0);
        let row = row(&document, "error-rate", Some("shop"));
        assert_eq!(row["verdict"], verdict, "{share}: {row:#}");
        assert_eq!(
            row["why"].as_str().unwrap().contains("`yolo` is no level"),
            verdict == "inconclusive",
            "{row:#}"
        );
    }
}

//! The commands around a run: what they show, what they refuse, and what they leave alone.

use serde_json::{Value, json};

use crate::prompts::{RECORDS, assert_as_before};
use crate::sandbox::{InTime as _, Sandbox, Snapshot, assert_says, assert_unchanged};

const FLAGS: &str = "\
# Who may use what.
features:
  alpha: { enabled: true, description: 'The root' }   # everything builds on it
  beta: { enabled: true, dependencies: [alpha] }
  gamma: { enabled: true, dependencies: [beta] }
  delta: { enabled: false, dependencies: [alpha, beta] }
metadata:
  last_modified: '2026-01-01T00:00:00.000Z'
";

/// A workspace in which story 9.1 with the feature `beta` retires `data/reports` into the backup `reports`.
fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("config/feature-flags.yaml", FLAGS)
        .write("data/reports/q1.txt", "first")
        .write("data/reports/deep/q2.txt", "second")
        .write(
            "rollback/reports.rhai",
            r#"const STORY = #{
    id: "9.1",
    title: "Quarterly reports",
    feature: "beta",
    data: [#{ path: "data/reports", backup: "reports" }],
};

fn execute() {
    retire_dir("data/reports", "reports");
}

fn validate() {
    check("no report is left", || !path_exists("data/reports"));
}
"#,
        );
    sandbox
}

fn rolled_back() -> Sandbox {
    let sandbox = workspace();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    sandbox
}

/// The newest run.
fn newest(sandbox: &Sandbox) -> String {
    let history = sandbox.json(&["history"]);
    history["runs"].as_array().unwrap().last().unwrap()["run"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The only backup.
fn backup(sandbox: &Sandbox) -> String {
    let listed = sandbox.json(&["backup", "list"]);
    assert_eq!(listed["backups"].as_array().unwrap().len(), 1, "{listed}");
    listed["backups"][0]["name"].as_str().unwrap().to_owned()
}

fn story<'a>(status: &'a Value, id: &str) -> &'a Value {
    status["stories"]
        .as_array()
        .unwrap()
        .iter()
        .find(|story| story["id"] == id)
        .unwrap()
}

#[test]
fn status_tells_every_story_and_changes_nothing() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let status = sandbox.json(&["status"]);
    assert_eq!(status["schema"], "rollback.status/1");
    let ids: Vec<&str> = status["stories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|story| story["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "9.1"]);
    assert_eq!(
        *story(&status, "9.1"),
        json!({
            "id": "9.1", "title": "Quarterly reports", "feature": "beta", "script": "rollback/reports.rhai",
            "flag": { "raw": true, "effective": true }, "present": ["data/reports"], "last_run": null, "backups": [],
        })
    );
    assert_eq!(story(&status, "1.3")["script"], "embedded");
    assert_says(
        &sandbox.run(&["status"]).assert_code(0),
        &["9.1", "Quarterly reports", "1 part", "0 backups"],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let status = sandbox.json(&["status"]);
    let (run, backup) = (newest(&sandbox), backup(&sandbox));
    let after = story(&status, "9.1");
    assert_eq!(after["flag"], json!({ "raw": false, "effective": false }));
    assert_eq!((&after["present"], &after["last_run"]), (&json!([]), &json!(run)));
    assert_eq!(after["backups"], json!([backup]));
}

// R25: what has nothing to do with the workspace stands in one line, and a story of its own in the table whatever is there.
#[test]
fn r25_stories_without_a_part_or_a_flag_here_are_one_line_of_the_status() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback/9.1.rhai",
        "const STORY = #{ id: \"9.1\", title: \"Ours\", files: [\"nothing/here\"] };\nfn execute() {}\n",
    );
    let page = sandbox.run(&["status"]).assert_code(0).stdout;
    let line = "7 stories of the program have no part and no flag here: 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8";
    assert!(page.contains(line) && page.contains("Ours"), "{page}");
    assert!(!page.contains("Dagster"), "{page}");
    assert_eq!(
        sandbox.json(&["status"])["stories"].as_array().unwrap().len(),
        8,
        "programs are told of all"
    );
    sandbox.write(
        "config/feature-flags.yaml",
        "features: { dagster_orchestration: { enabled: false } }\n",
    );
    let page = sandbox.run(&["status"]).assert_code(0).stdout;
    assert!(page.contains("Dagster"), "a story with a flag is listed: {page}");
}

#[test]
fn validate_fails_before_and_passes_after() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let finished = sandbox.run(&["validate", "9.1"]).assert_code(1);
    assert_says(
        &finished,
        &["fails  Feature flag is disabled", "fails  no report is left"],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    sandbox.run(&["run", "beta", "--yes"]).assert_code(0);
    let before = sandbox.snapshot(&[]);
    let finished = sandbox.run(&["validate", "9.1"]).assert_code(0);
    assert_says(
        &finished,
        &["ok     Feature flag is disabled", "ok     no report is left"],
    );
    let checks = sandbox.json(&["validate", "9.1"])["checks"].clone();
    // Those of the procedures but the one about the core of another project, and the story's own.
    assert_eq!(checks.as_array().unwrap().len(), 8, "{checks}");
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn history_tells_what_was_taken_back_and_by_what() {
    let sandbox = workspace();
    assert_eq!(
        sandbox.json(&["history"]),
        json!({ "schema": "rollback.history/1", "runs": [] })
    );
    let before = sandbox.snapshot(RECORDS);
    sandbox
        .run(&["run", "9.1", "--yes", "--reason", "they were wrong"])
        .assert_code(0);
    let rolled = newest(&sandbox);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let undone = newest(&sandbox);
    // The directory of the backups was made for this one, and goes with it.
    assert_as_before(&before, &sandbox, &[]);

    let history = sandbox.json(&["history"]);
    let told: Vec<_> = history["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            (
                &run["run"],
                &run["kind"],
                &run["stories"],
                &run["outcome"],
                &run["undone_by"],
            )
        })
        .collect();
    let (done, stories) = (json!("done"), json!(["9.1"]));
    assert_eq!(
        told,
        [
            (
                &json!(rolled),
                &json!("rollback"),
                &stories,
                &done,
                &json!(undone)
            ),
            (&json!(undone), &json!("undo"), &stories, &done, &Value::Null),
        ]
    );
    assert_says(&sandbox.run(&["history"]).assert_code(0), &[&rolled, &undone]);

    // What is undone can't be undone again; the undo can.
    let again = sandbox.run(&["undo", &rolled, "--yes"]).assert_code(7);
    assert_says(
        &again,
        &["was taken back already", &format!("rollback undo {undone}")],
    );
    sandbox.run(&["undo", &undone, "--yes"]).assert_code(0);
    assert!(!sandbox.exists("data/reports") && sandbox.exists("rollback_backups"));
}

#[test]
fn show_tells_one_run_as_its_report_does() {
    let sandbox = workspace();
    sandbox
        .run(&["run", "9.1", "--yes", "--reason", "they were wrong"])
        .assert_code(0);
    let run = newest(&sandbox);
    let display = sandbox.run(&["show", &run]).assert_code(0);
    assert_says(&display, &[&run, "Story 9.1", "data/reports", "rollback undo "]);
    let report = sandbox.json(&["show", &run]);
    assert_eq!(report["schema"], "rollback.report/1");
    assert_eq!(
        (&report["run"], &report["reason"]),
        (&json!(run), &json!("they were wrong"))
    );
    assert_eq!(
        report["flags"],
        json!({ "before": { "beta": true, "gamma": true }, "after": { "beta": false, "gamma": false } })
    );

    let mut wrong = run.clone();
    wrong.pop();
    let unknown = sandbox.run(&["show", &wrong]).assert_code(2);
    assert_says(&unknown, &[&format!("did you mean `{run}`?")]);
}

#[test]
fn report_gives_the_newest_run_in_each_form_and_opens_its_page() {
    let sandbox = workspace();
    let none = sandbox.run(&["report"]).assert_code(2);
    assert_says(&none, &["there is no run to report on", "rollback status"]);
    sandbox
        .run(&["run", "9.1", "--yes", "--reason", "<b>they</b> were wrong"])
        .assert_code(0);
    let run = newest(&sandbox);
    let text = sandbox.run(&["report"]).assert_code(0);
    assert_says(&text, &["Story 9.1: Quarterly reports", &run]);
    let data = sandbox.run(&["report", "--format", "json"]).assert_code(0).json();
    assert_eq!(data, sandbox.json(&["show", &run]));
    assert_eq!(sandbox.json(&["report", &run]), sandbox.json(&["show", &run]));
    let file = |extension: &str| {
        let named = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(extension);
        let mut names = std::fs::read_dir(sandbox.path("rollback_reports"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(named);
        sandbox.path("rollback_reports").join(names.next().unwrap())
    };
    let page = std::fs::read_to_string(file(".html")).unwrap();
    assert!(page.contains("&lt;b&gt;they&lt;/b&gt; were wrong"), "{page}");
    assert_eq!(
        sandbox.run(&["report", "--format", "html"]).assert_code(0).stdout,
        page
    );
    assert_eq!(
        sandbox
            .run(&["report", "--format", "markdown"])
            .assert_code(0)
            .stdout,
        std::fs::read_to_string(file(".md")).unwrap()
    );

    // A browser that writes down what it is given.
    let browser = sandbox.path("bin/xdg-open");
    sandbox.write(
        "bin/xdg-open",
        "#!/bin/sh\nprintf %s \"$1\" > \"$OPENED.part\"\nmv \"$OPENED.part\" \"$OPENED\"\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&browser, mode).unwrap();
    let path = std::env::join_paths(
        std::iter::once(sandbox.path("bin")).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let opened = sandbox
        .command(&["report", "--open"])
        .env("PATH", path)
        .env("OPENED", sandbox.path("opened"))
        .output_in_time()
        .unwrap();
    assert!(opened.status.success(), "{opened:?}");
    // Nobody waits for a browser.
    let since = std::time::Instant::now();
    while !sandbox.path("opened").exists() && since.elapsed() < std::time::Duration::from_secs(60) {
        std::thread::yield_now();
    }
    assert_eq!(
        std::path::Path::new(&std::fs::read_to_string(sandbox.path("opened")).unwrap()),
        file(".html")
    );
    std::fs::remove_file(file(".html")).unwrap();
    let gone = sandbox.run(&["report", "--open"]).assert_code(1);
    assert_says(
        &gone,
        &["is not in `rollback_reports`", "--format html > report.html"],
    );

    // What it comes from is told to those who ask for more.
    std::fs::remove_dir_all(sandbox.path("rollback_reports")).unwrap();
    let brief = sandbox.run(&["report", "--open"]).assert_code(1);
    assert!(!brief.stderr.contains("caused by"), "{}", brief.stderr);
    let verbose = sandbox.run(&["report", "--open", "-v"]).assert_code(1);
    assert_says(
        &verbose,
        &[
            "is not in `rollback_reports`",
            "caused by: No such file or directory (os error 2)\n",
        ],
    );
}

#[test]
fn feature_list_tells_what_is_on_and_why() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    let listed = sandbox.json(&["feature", "list"]);
    assert_eq!(listed["schema"], "rollback.features/1");
    assert_eq!(
        listed["features"][1],
        json!({
            "name": "beta", "raw": true, "effective": true, "dependencies": ["alpha"], "dependents": ["gamma", "delta"],
            "description": null,
        })
    );
    assert_says(
        &sandbox.run(&["feature", "list"]).assert_code(0),
        &["alpha", "The root", "alpha, beta"],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn feature_check_is_an_exit_code() {
    let sandbox = workspace();
    sandbox.write(
        "config/feature-flags.yaml",
        FLAGS.replace("alpha: { enabled: true", "alpha: { enabled: \"false\""),
    );
    let before = sandbox.snapshot(&[]);
    let on = sandbox.run(&["feature", "check", "gamma"]).assert_code(0);
    // The text "false" is true, as it was for the programs that read this file.
    assert_says(
        &on,
        &[
            "gamma is on",
            "warning: `alpha` is on because its value is no truth value",
        ],
    );
    assert_says(
        &sandbox.run(&["feature", "check", "delta"]).assert_code(1),
        &["delta is off"],
    );
    sandbox.write(
        "config/feature-flags.yaml",
        FLAGS.replace("alpha: { enabled: true", "alpha: { enabled: false"),
    );
    let without = sandbox.run(&["feature", "check", "gamma"]).assert_code(1);
    assert_says(&without, &["gamma is off (switched on, but without beta)"]);
    sandbox.write("config/feature-flags.yaml", FLAGS);
    let differences = Snapshot::diff(&before, &sandbox.snapshot(&[]));
    assert!(
        differences.iter().all(|line| line.contains("feature-flags.yaml")),
        "{differences:?}"
    );
}

#[test]
fn feature_names_are_checked() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[]);
    for command in ["check", "enable", "disable"] {
        let unknown = sandbox.run(&["feature", command, "gama"]).assert_code(2);
        assert_says(
            &unknown,
            &[
                "Unknown feature: gama",
                "did you mean `gamma`?",
                "nothing was changed",
            ],
        );
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn feature_enable_needs_what_it_depends_on() {
    let sandbox = workspace();
    sandbox.run(&["feature", "disable", "alpha"]).assert_code(0);
    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["feature", "enable", "delta"]);
    assert_says(
        &refused,
        &[
            "Cannot enable delta. Missing dependencies: alpha, beta",
            "--force",
            "nothing was changed",
        ],
    );
    assert_eq!(refused.code, Some(1), "{}", refused.transcript());
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    sandbox
        .run(&["feature", "enable", "delta", "--force"])
        .assert_code(0);
    let listed = sandbox.json(&["feature", "list"]);
    assert_eq!(
        (&listed["features"][3]["raw"], &listed["features"][3]["effective"]),
        (&json!(true), &json!(false))
    );
}

#[test]
fn feature_disable_takes_along_what_depends_on_it_and_nothing_else_of_the_file() {
    let sandbox = workspace();
    let disabled = sandbox.run(&["feature", "disable", "alpha"]).assert_code(0);
    assert_says(&disabled, &["switch off feature `alpha` and with it beta, gamma"]);
    let text = sandbox.read("config/feature-flags.yaml");
    let stamp = text.split('\'').nth(3).unwrap();
    assert_eq!(
        text,
        FLAGS
            .replace("enabled: true", "enabled: false")
            .replace("2026-01-01T00:00:00.000Z", stamp)
    );
    assert!(
        stamp > "2026-01-01T00:00:00.000Z" && stamp.ends_with('Z'),
        "{stamp}"
    );
    let logged = sandbox.read("logs/security.log");
    let features: Vec<Value> = logged
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "feature_flag_changed" && line["cascade"] == true)
        .map(|line| line["feature"].clone())
        .collect();
    assert_eq!(features, ["alpha", "beta", "gamma"]);
    // It is a run of its own kind, which is taken back by naming it.
    sandbox.run(&["undo", "--yes"]).assert_code(2);
    let run = crate::undo::newest(&sandbox);
    sandbox.run(&["undo", &run, "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("config/feature-flags.yaml"), FLAGS);
}

/// The records of the audit log.
fn audit(sandbox: &Sandbox) -> Vec<Value> {
    let display = sandbox.run(&["audit", "show", "--json"]).assert_code(0);
    display
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn audit_show_tells_every_intent_before_its_outcome() {
    let sandbox = rolled_back();
    let records = audit(&sandbox);
    let events: Vec<&str> = records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        (events[0], *events.last().unwrap()),
        ("run_started", "run_finished")
    );
    for (at, record) in records.iter().enumerate() {
        if record["event"] == "operation_begun" {
            let next = &records[at + 1];
            assert_eq!(next["event"], "operation_finished", "{record}");
            assert_eq!(next["n"], record["n"]);
        }
    }
    let text = sandbox.run(&["audit", "show"]).assert_code(0).stdout;
    // A heading for the run, and a line for each record.
    assert_eq!(text.lines().count(), records.len() + 1);
    let run = newest(&sandbox);
    assert_eq!(sandbox.run(&["audit", "show", &run]).assert_code(0).stdout, text);
    let unknown = sandbox.run(&["audit", "show", "another"]).assert_code(2);
    assert_says(&unknown, &["the audit log knows no run `another`"]);
}

const LOG: &str = ".rollback/audit/000001.jsonl";

#[test]
fn audit_verify_finds_one_edited_byte() {
    let sandbox = rolled_back();
    let records = audit(&sandbox).len();
    let sound = sandbox.json(&["audit", "verify"]);
    assert_eq!(
        (&sound["ok"], &sound["records"], &sound["damage"]),
        (&json!(true), &json!(records), &json!([]))
    );

    let log = sandbox.read(LOG);
    sandbox.write(LOG, log.replacen("data/reports", "data/report5", 1));
    let damaged = sandbox.run(&["audit", "verify"]).assert_code(8);
    assert_says(&damaged, &["edited", "the audit log is damaged in 1 place"]);
    let told = sandbox.run(&["audit", "verify", "--json"]).assert_code(8).json();
    assert_eq!(
        (&told["ok"], &told["damage"][0]["kind"]),
        (&json!(false), &json!("edited"))
    );
    assert_eq!(
        sandbox.read(LOG),
        log.replacen("data/reports", "data/report5", 1),
        "verify repaired it"
    );
}

#[test]
fn audit_verify_tells_the_kinds_of_damage_apart() {
    let sandbox = rolled_back();
    let log = sandbox.read(LOG);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let kinds = |text: String| {
        sandbox.write(LOG, text);
        let told = sandbox.run(&["audit", "verify", "--json"]);
        let kinds: Vec<String> = told.json()["damage"]
            .as_array()
            .unwrap()
            .iter()
            .map(|damage| damage["kind"].as_str().unwrap().to_owned())
            .collect();
        (told.code, kinds.join(" "))
    };
    let deleted = [&lines[..2], &lines[3..]].concat().concat();
    let inserted = [&lines[..3], &lines[2..]].concat().concat();
    let reordered = [&lines[..2], &[lines[3], lines[2]], &lines[4..]]
        .concat()
        .concat();
    let truncated = lines[..lines.len() - 1].concat();
    assert_eq!(kinds(deleted), (Some(8), "deleted".to_owned()));
    assert_eq!(kinds(inserted), (Some(8), "inserted".to_owned()));
    assert_eq!(kinds(reordered), (Some(8), "reordered".to_owned()));
    assert_eq!(kinds(truncated), (Some(8), "truncated".to_owned()));
    assert_eq!(kinds(String::new()), (Some(8), "empty".to_owned()));
    // A crash while a line was written is no tampering.
    assert_eq!(
        kinds(format!("{log}{{\"v\":1,\"seq\"")),
        (Some(0), "torn-tail".to_owned())
    );
    assert_eq!(kinds(log.clone()), (Some(0), String::new()));
}

#[test]
fn a_log_and_its_head_cut_back_together_are_found_against_a_head_kept_elsewhere() {
    let sandbox = rolled_back();
    let (log, head) = (sandbox.read(LOG), sandbox.read(".rollback/audit/head"));
    let kept = sandbox.json(&["show", &newest(&sandbox)])["audit_head"]["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    sandbox
        .run(&["audit", "verify", "--expect-head", &kept])
        .assert_code(0);
    sandbox.run(&["feature", "disable", "alpha"]).assert_code(0);
    let newer = sandbox.json(&["audit", "verify"])["head"]["hash"]
        .as_str()
        .unwrap()
        .to_owned();
    sandbox
        .run(&["audit", "verify", "--expect-head", &kept])
        .assert_code(0);

    sandbox.write(LOG, log).write(".rollback/audit/head", head);
    // The lines of `logs/` keep the newer head, too.
    let told = sandbox.run(&["audit", "verify"]).assert_code(8);
    assert_says(&told, &["truncated", "as `logs/"]);
    sandbox.remove("logs");
    sandbox.run(&["audit", "verify"]).assert_code(0);
    sandbox
        .run(&["audit", "verify", "--expect-head", &newer])
        .assert_code(8);
}

#[test]
fn undo_does_not_go_by_a_log_that_was_changed() {
    let sandbox = rolled_back();
    let log = sandbox.read(LOG);
    let edited = log.replace("data/reports", "data/others");
    let cut = log.split_inclusive('\n').take(3).collect::<String>();
    for damaged in [edited, cut, String::new()] {
        sandbox.write(LOG, damaged);
        let before = sandbox.snapshot(&[]);
        let refused = sandbox.run(&["undo", "--yes"]).assert_code(8);
        assert_says(&refused, &["the audit log is damaged", "nothing was changed"]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    // Without the head file and its log, the run's own report still tells that there was one.
    sandbox.remove(".rollback/audit");
    let refused = sandbox.run(&["undo", "--yes"]).assert_code(8);
    assert_says(&refused, &["the audit log is damaged"]);
}

#[test]
fn damage_from_before_a_run_does_not_keep_it_from_being_taken_back() {
    let sandbox = workspace();
    sandbox.run(&["feature", "disable", "gamma"]).assert_code(0);
    let before = sandbox.read(LOG).len();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let log = sandbox.read(LOG);
    let (old, new) = log.split_at(before);
    sandbox.write(LOG, format!("{}{new}", old.replacen("gamma", "gamba", 1)));
    sandbox.run(&["audit", "verify"]).assert_code(8);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
}

#[test]
fn backup_list_tells_where_each_came_from() {
    let sandbox = rolled_back();
    let listed = sandbox.json(&["backup", "list"]);
    assert_eq!(listed["schema"], "rollback.backups/1");
    let one = &listed["backups"][0];
    assert_eq!(
        (&one["source"], &one["story"], &one["entries"]),
        (&json!("data/reports"), &json!("9.1"), &json!(3))
    );
    assert_eq!(
        (&one["bytes"], &one["method"], &one["complete"]),
        (&json!(11), &json!("moved"), &json!(true))
    );
    assert_says(
        &sandbox.run(&["backup", "list"]).assert_code(0),
        &["data/reports", "11 B", "whole"],
    );
}

#[test]
fn backup_restore_puts_it_back_where_it_came_from() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&[RECORDS, &["rollback_backups", "config", "docs"]].concat());
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let name = backup(&sandbox);
    let unasked = sandbox.snapshot(&[]);
    assert_says(
        &sandbox.run(&["backup", "restore", &name]).assert_code(5),
        &["--yes"],
    );
    assert_says(
        &sandbox.run(&["backup", "restore", &name, "-n"]).assert_code(0),
        &["data/reports"],
    );
    assert_unchanged(&unasked, &sandbox.snapshot(&[]));

    sandbox.run(&["backup", "restore", &name, "--yes"]).assert_code(0);
    let after = sandbox.snapshot(&[RECORDS, &["rollback_backups", "config", "docs"]].concat());
    let mut differences = Snapshot::diff(&before, &after);
    // The directories above it are new entries to it.
    differences.retain(|line| line != "changed .: time" && line != "changed data: time");
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(backup(&sandbox), name, "the backup itself stays");
}

#[test]
fn backup_restore_over_something_keeps_what_stood_there() {
    let sandbox = rolled_back();
    let name = backup(&sandbox);
    sandbox
        .write("elsewhere/own.txt", "mine")
        .write("elsewhere/q1.txt", "mine too");
    let before = sandbox.snapshot(&[RECORDS, &["rollback_backups"]].concat());
    sandbox
        .run(&["backup", "restore", &name, "--to", "elsewhere", "--yes"])
        .assert_code(0);
    assert_eq!(sandbox.read("elsewhere/q1.txt"), "first");
    assert_eq!(sandbox.read("elsewhere/deep/q2.txt"), "second");
    assert!(!sandbox.exists("elsewhere/.rollback-manifest.jsonl"));

    let restore = crate::undo::newest(&sandbox);
    sandbox.run(&["undo", &restore, "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("elsewhere/q1.txt"), "mine too");
    let mut differences = Snapshot::diff(
        &before,
        &sandbox.snapshot(&[RECORDS, &["rollback_backups"]].concat()),
    );
    differences.retain(|line| line != "changed .: time");
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn backup_restore_knows_its_names_and_its_bounds() {
    let sandbox = rolled_back();
    let name = backup(&sandbox);
    let before = sandbox.snapshot(&[]);
    let unknown = sandbox
        .run(&["backup", "restore", "report", "--yes"])
        .assert_code(2);
    assert_says(&unknown, &["report", &name]);
    sandbox
        .run(&["backup", "restore", &name, "--to", "../outside", "--yes"])
        .assert_code(3);
    sandbox
        .run(&["backup", "restore", &name, "--to", ".rollback/runs", "--yes"])
        .assert_code(3);
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_backup_with_one_wrong_byte_is_not_restored() {
    let sandbox = rolled_back();
    let name = backup(&sandbox);
    sandbox.write(&format!("rollback_backups/{name}/q1.txt"), "f1rst");
    let before = sandbox.snapshot(RECORDS);
    let damaged = sandbox.run(&["backup", "restore", &name, "--yes"]).assert_code(8);
    assert_says(&damaged, &["q1.txt"]);
    let mut differences = Snapshot::diff(&before, &sandbox.snapshot(RECORDS));
    // What was begun there was taken away again.
    differences.retain(|line| line != "changed data: time");
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn init_makes_a_workspace_once() {
    let sandbox = Sandbox::empty();
    sandbox.remove("config").write("fresh/.keep", "");
    let directory = sandbox.path("fresh");
    let init = |arguments: &[&str]| {
        sandbox
            .command(arguments)
            .current_dir(&directory)
            .output_in_time()
            .unwrap()
    };
    let made = init(&["init"]);
    assert_eq!(made.status.code(), Some(0));
    assert!(sandbox.exists("fresh/rollback.yaml") && sandbox.exists("fresh/rollback/example.rhai"));
    // What it wrote is what it takes: the configuration is valid, and the example is a story.
    let planned = init(&["run", "9.1", "-n"]);
    assert_eq!(
        planned.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&planned.stderr)
    );
    let status = init(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(story(&status, "9.1")["script"], "rollback/example.rhai");

    let before = sandbox.snapshot(&[]);
    let twice = init(&["init"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("this is a workspace already"));
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn init_leaves_stories_and_flags_alone() {
    let sandbox = workspace();
    let before = sandbox.snapshot(&["rollback.yaml"]);
    sandbox.run(&["init"]).assert_code(0);
    let mut differences = Snapshot::diff(&before, &sandbox.snapshot(&["rollback.yaml"]));
    differences.retain(|line| line != "changed .: time");
    assert!(differences.is_empty(), "{differences:?}");
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
}

#[test]
fn completions_and_manual_know_the_commands() {
    let sandbox = Sandbox::empty();
    sandbox.remove("config");
    let before = sandbox.snapshot(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let finished = sandbox.run(&["completions", shell]).assert_code(0);
        assert_says(
            &finished,
            &["rollback", "recover", "continue-on-error", "dry-run"],
        );
        assert_eq!(finished.stderr, "");
    }
    sandbox.run(&["completions", "tcsh"]).assert_code(2);
    assert_says(
        &sandbox.run(&["man"]).assert_code(0),
        &[".TH rollback", "recover"],
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn help_and_version_are_no_errors_and_go_to_stdout() {
    let sandbox = Sandbox::empty();
    sandbox.remove("config");
    let before = sandbox.snapshot(&[]);
    let commands = [
        "run",
        "plan",
        "status",
        "validate",
        "undo",
        "recover",
        "history",
        "show",
        "feature",
        "audit",
        "backup",
        "script",
        "init",
        "demo",
        "completions",
        "man",
    ];
    let help = sandbox.run(&["--help"]).assert_code(0);
    assert_says(&help, &commands);
    assert_eq!(help.stderr, "");
    for command in commands {
        let help = sandbox.run(&[command, "--help"]).assert_code(0);
        assert!(help.stdout.contains("Usage: rollback"), "{}", help.transcript());
    }
    let version = sandbox.run(&["--version"]).assert_code(0);
    assert_eq!(
        version.stdout,
        format!("rollback {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

/// Processes whose working directory lies below this one.
fn processes_in(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            process
                .join("cwd")
                .read_link()
                .is_ok_and(|cwd| cwd.starts_with(directory))
        })
        .collect()
}

#[test]
fn demo_rolls_a_story_back_in_the_directory_that_is_named() {
    let sandbox = Sandbox::empty();
    let directory = sandbox.home().join("demo");
    let finished = sandbox.run(&["demo", directory.to_str().unwrap()]).assert_code(0);
    assert_says(
        &finished,
        &[
            directory.to_str().unwrap(),
            "roll back 1.3",
            "rollback undo",
            "done in ",
        ],
    );
    assert!(!finished.transcript().contains("[y/N]"));
    assert_eq!(processes_in(&directory), Vec::<std::path::PathBuf>::new());
    assert!(directory.join("rollback_reports").is_dir() && !directory.join(".duckdb").exists());

    // It is an ordinary workspace: what it says to type next works.
    let go_on = |arguments: &[&str]| {
        sandbox
            .command(arguments)
            .current_dir(&directory)
            .output_in_time()
            .unwrap()
            .status
            .code()
    };
    assert_eq!(go_on(&["validate", "1.3"]), Some(0));
    assert_eq!(go_on(&["undo", "--yes"]), Some(0));
    assert!(directory.join(".duckdb/analytics.db").is_file());

    let twice = sandbox.run(&["demo", directory.to_str().unwrap()]).assert_code(1);
    assert_says(&twice, &["is not empty", "nothing was changed"]);
}

#[test]
fn demo_without_a_directory_makes_one_and_keeps_it() {
    let sandbox = Sandbox::empty();
    let output = sandbox
        .command(&["demo"])
        .env("TMPDIR", sandbox.home())
        .output_in_time()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made: Vec<_> = std::fs::read_dir(sandbox.home())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [directory] = made.as_slice() else {
        panic!("{made:?}")
    };
    assert!(String::from_utf8_lossy(&output.stdout).contains(directory.to_str().unwrap()));
    assert!(directory.join("rollback_reports").is_dir());
    assert_eq!(processes_in(directory), Vec::<std::path::PathBuf>::new());
}

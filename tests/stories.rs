//! Each of the seven stories, end to end on a full workspace: what must go is gone, what must stay is untouched, data is
//! in its backup, the dry run is true, a second run does nothing, and undo brings everything back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rollback_manager::demo::{Deployed, Group, deployed};
use serde_json::Value;

use crate::sandbox::{InTime as _, Sandbox, Snapshot, assert_unchanged};

/// What a run writes about itself.
const RECORDS: [&str; 5] = [
    ".rollback",
    "rollback_backups",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
];

/// Where package managers keep their own books.
const PACKAGES: [&str; 4] = ["node_modules", ".venv", "package.json", "package-lock.json"];

/// Files that a rollback edits and does not remove.
const EDITED: [&str; 6] = [
    "config/feature-flags.yaml",
    ".env",
    "tools/cli.js",
    "bmad-method/tools/cli.js",
    "core-config.yaml",
    "docs/ROLLBACKS.md",
];

/// A story, with what of it stays because something that remains needs it (relative to the repository).
struct Case {
    id: &'static str,
    pid_file: &'static str,
    kept: &'static [&'static str],
}

const TOOLS: &str = "bmad-method/tools/data-services";
const EXPANSION: &str = "bmad-method/expansion-packs/bmad-data-practitioner";

const CASES: [Case; 7] = [
    Case {
        id: "1.2",
        pid_file: "logs/pyairbyte.pid",
        kept: &["connection-manager.js"],
    },
    Case {
        id: "1.3",
        pid_file: "logs/duckdb.pid",
        kept: &["resource-monitor.js"],
    },
    Case {
        id: "1.4",
        pid_file: "logs/dbt.pid",
        kept: &[],
    },
    Case {
        id: "1.5",
        pid_file: "logs/dagster-daemon.pid",
        kept: &[],
    },
    Case {
        id: "1.6",
        pid_file: "logs/jupyter.pid",
        kept: &[
            "hypothesis-generator.js",
            "eda-engine.js",
            "pattern-detector.js",
            "statistical-tester.js",
        ],
    },
    Case {
        id: "1.7",
        pid_file: "logs/evidence.pid",
        kept: &[],
    },
    Case {
        id: "1.8",
        pid_file: "logs/qa.pid",
        kept: &["monitoring-dashboard.js", "metrics-collector.js"],
    },
];

#[test]
fn story_1_2_rolls_back_end_to_end() {
    rolls_back(&CASES[0]);
}

#[test]
fn story_1_3_rolls_back_end_to_end() {
    rolls_back(&CASES[1]);
}

#[test]
fn story_1_4_rolls_back_end_to_end() {
    rolls_back(&CASES[2]);
}

#[test]
fn story_1_5_rolls_back_end_to_end() {
    rolls_back(&CASES[3]);
}

#[test]
fn story_1_6_rolls_back_end_to_end() {
    rolls_back(&CASES[4]);
}

#[test]
fn story_1_7_rolls_back_end_to_end() {
    rolls_back(&CASES[5]);
}

#[test]
fn story_1_8_rolls_back_end_to_end() {
    rolls_back(&CASES[6]);
}

fn rolls_back(case: &Case) {
    let sandbox = Sandbox::full();
    let service = sandbox.spawn_service("a-live-service", case.pid_file);
    let before = sandbox.snapshot(&[]);
    let contents = contents(&sandbox.root());

    let plan = sandbox
        .run(&["run", case.id, "--dry-run", "--json"])
        .assert_code(0)
        .json();
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    assert!(service.is_running(), "a dry run stopped the service");
    assert!(!sandbox.exists("logs/security.log"), "a dry run wrote a log line");

    let report = sandbox
        .run(&["run", case.id, "--yes", "--json"])
        .assert_code(0)
        .json();
    assert_eq!(report["outcome"], "done");
    assert_eq!(
        operations(&plan),
        operations(&report),
        "the run did not keep to the plan"
    );
    assert_eq!(
        plan["checks"].as_array().unwrap().len(),
        report["checks"].as_array().unwrap().len()
    );
    let failed: Vec<&Value> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["passed"] != true && !crate::sandbox::rests_on_what_is_not_there(check))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(report["checks"].as_array().unwrap().len() >= 8);
    assert_eq!(
        service.wait_ended(),
        Some(15),
        "the service was not stopped with TERM"
    );

    what_must_go_is_gone(&sandbox, case);
    what_must_stay_is_untouched(&before, &sandbox.snapshot(&[]), case);
    data_is_in_its_backup(&sandbox, &report, &contents);
    flags_are_off(&sandbox, case.id);

    let after = sandbox.snapshot(&[]);
    let again = sandbox
        .run(&["run", case.id, "--yes", "--json"])
        .assert_code(0)
        .json();
    assert_eq!(again["outcome"], "done");
    assert_unchanged(&after, &sandbox.snapshot(&[]));
    sandbox.run(&["validate", case.id]).assert_code(0);
    sandbox.run(&["audit", "verify"]).assert_code(0);

    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let except: Vec<&str> = RECORDS
        .iter()
        .chain(&["node_modules", ".venv"])
        .copied()
        .collect();
    let books = |line: &String| !line.contains("package-lock.json") && !only_times_of_the_root(line);
    let original = Snapshot::of(&sandbox.root(), &except);
    let differences: Vec<String> = Snapshot::diff(&before.without(&except), &original)
        .into_iter()
        .filter(books)
        .collect();
    assert!(
        differences.is_empty(),
        "undo left differences:\n{}",
        differences.join("\n")
    );
}

/// The directories that hold our own records are new below the root.
fn only_times_of_the_root(line: &str) -> bool {
    ["changed .: time", "changed logs: time"].contains(&line)
}

/// Every regular file below the root, with its bytes.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let relative = entry.path().strip_prefix(root).unwrap().to_path_buf();
                files.insert(relative, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

/// What makes an operation of the plan and of the run the same; the outcome `planned` becomes `done`.
fn operations(report: &Value) -> Vec<Value> {
    report["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|operation| {
            let outcome = if operation["outcome"] == "planned" {
                "done".into()
            } else {
                operation["outcome"].clone()
            };
            serde_json::json!([
                operation["n"],
                operation["story"],
                operation["phase"],
                operation["step"],
                operation["op"],
                operation["target"],
                operation["summary"],
                operation["risk"],
                operation["undo"],
                outcome,
            ])
        })
        .collect()
}

/// Whether an entry of the catalogue must be gone after its story was rolled back.
fn goes(entry: &Deployed, case: &Case) -> bool {
    let name = entry.path.rsplit('/').next().unwrap_or_default();
    let owned = matches!(
        entry.group,
        Group::Procedure
            | Group::Services
            | Group::Config
            | Group::Data
            | Group::Tests
            | Group::Preserve
            | Group::Caches
            | Group::PidFile
    );
    let edited = EDITED.contains(&entry.path.as_str()) || entry.path == "package.json.pre-1.3";
    let kept = case.kept.contains(&name) && entry.path.starts_with(TOOLS);
    // They hold what belongs to other stories: only that stays.
    let shell = [
        format!("{EXPANSION}/evidence-project"),
        format!("{EXPANSION}/dagster-project"),
        ".cache/analytics".to_owned(),
    ];
    entry.story.as_deref() == Some(case.id) && owned && !edited && !kept && !shell.contains(&entry.path)
}

fn what_must_go_is_gone(sandbox: &Sandbox, case: &Case) {
    let catalogue = deployed().unwrap();
    let going: Vec<&Deployed> = catalogue.iter().filter(|entry| goes(entry, case)).collect();
    assert!(
        going.len() > 10,
        "the catalogue names only {} parts of {}",
        going.len(),
        case.id
    );
    // 1.3's database inside the project of 1.7 stays with 1.7's rollback.
    let foreign = |path: &str| case.id == "1.7" && path.contains("evidence-project/.duckdb");
    let left: Vec<&str> = going
        .iter()
        .map(|entry| entry.path.as_str())
        .filter(|path| sandbox.exists(path) && !foreign(path))
        .collect();
    assert!(left.is_empty(), "left of {}: {left:?}", case.id);
    for kept in case.kept {
        assert!(
            sandbox.exists(&format!("{TOOLS}/{kept}")),
            "{kept} is needed by what remains"
        );
    }
    if case.id == "1.7" {
        assert!(
            sandbox.exists(&format!("{EXPANSION}/evidence-project/.duckdb/analytics.db")),
            "1.3's data is gone"
        );
    }
    if case.id == "1.5" {
        for shared in [
            "assets/automated_analysis_assets.py",
            "assets/publication_assets.py",
        ] {
            assert!(
                sandbox.exists(&format!("{EXPANSION}/dagster-project/{shared}")),
                "{shared} belongs to others"
            );
        }
    }
}

fn what_must_stay_is_untouched(before: &Snapshot, after: &Snapshot, case: &Case) {
    let catalogue = deployed().unwrap();
    // 1.3's database is named in the catalogue; the directory that holds it is retired whole.
    let database = format!("{EXPANSION}/evidence-project/.duckdb");
    let own: Vec<String> = catalogue
        .iter()
        .filter(|entry| entry.story.as_deref() == Some(case.id))
        .filter(|entry| !matches!(entry.group, Group::Shared | Group::Docs | Group::Sqlmesh))
        .filter(|entry| !["data", "logs", ".venv", "docs", ".cache"].contains(&entry.path.as_str()))
        .map(|entry| entry.path.clone())
        .chain((case.id == "1.3").then_some(database))
        .collect();
    let allowed = |path: &Path| {
        let below = |top: &str| path.starts_with(top);
        own.iter()
            .any(|part| below(part) || below(&format!("bmad-method/{part}")))
            || RECORDS.iter().any(|part| below(part))
            || PACKAGES.iter().any(|part| below(part))
            || EDITED.contains(&path.to_str().unwrap_or_default())
    };
    let mut wrong = Vec::new();
    for line in Snapshot::diff(before, after) {
        let (what, rest) = line.split_once(' ').unwrap();
        let path = rest.split(": ").next().unwrap_or(rest);
        // A directory from which something went has another time.
        if (what == "changed" && rest.ends_with(": time")) || allowed(Path::new(path)) {
            continue;
        }
        wrong.push(line);
    }
    assert!(
        wrong.is_empty(),
        "rolling back {} touched what is not its own:\n{}",
        case.id,
        wrong.join("\n")
    );
    for entry in catalogue.iter().filter(|entry| entry.group == Group::Unrelated) {
        assert!(
            after.has(&entry.path),
            "{} belongs to nobody and is gone",
            entry.path
        );
    }
}

fn data_is_in_its_backup(sandbox: &Sandbox, report: &Value, contents: &BTreeMap<PathBuf, Vec<u8>>) {
    let backups = report["backups"].as_array().unwrap();
    assert!(!backups.is_empty());
    let mut compared = 0;
    for backup in backups {
        let source = Path::new(backup["source"].as_str().unwrap());
        let directory = sandbox
            .path("rollback_backups")
            .join(backup["name"].as_str().unwrap());
        assert!(directory.join(".rollback-manifest.jsonl").is_file());
        for (path, bytes) in contents.iter().filter(|(path, _)| path.starts_with(source)) {
            if sandbox.root().join(path).exists() {
                continue;
            }
            let inside = path.strip_prefix(source).unwrap();
            let inside = if inside.as_os_str().is_empty() {
                Path::new(path.file_name().unwrap())
            } else {
                inside
            };
            assert_eq!(
                &std::fs::read(directory.join(inside)).unwrap(),
                bytes,
                "{}",
                path.display()
            );
            compared += 1;
        }
    }
    assert!(
        compared >= backups.len(),
        "only {compared} files of {} backups were compared",
        backups.len()
    );
}

fn flags_are_off(sandbox: &Sandbox, id: &str) {
    let status = sandbox.json(&["status"]);
    let story = status["stories"]
        .as_array()
        .unwrap()
        .iter()
        .find(|story| story["id"] == id)
        .unwrap()
        .clone();
    assert_eq!(story["flag"]["raw"], false);
    let features = sandbox.json(&["feature", "list"]);
    for feature in features["features"].as_array().unwrap() {
        let depends = feature["dependencies"]
            .as_array()
            .unwrap()
            .contains(&story["feature"]);
        assert!(
            !depends || feature["raw"] == false,
            "{feature} depends on a feature that is off"
        );
    }
}

#[test]
fn all_stories_go_in_one_run_and_come_back() {
    // pip would ask its index for what comes back: that is shown on the real stack.
    let sandbox = Sandbox::deployed(rollback_manager::demo::Options {
        venv: false,
        npm: true,
    });
    let before = sandbox.snapshot(&[]);
    let report = sandbox
        .run(&["run", "all", "--yes", "--json"])
        .assert_code(0)
        .json();
    assert_eq!(
        report["stories"],
        serde_json::json!(["1.8", "1.7", "1.6", "1.5", "1.4", "1.3", "1.2"])
    );
    assert!(
        !sandbox.exists(&format!("{TOOLS}/hypothesis-generator.js")),
        "nothing that stays needs it"
    );
    assert!(!sandbox.exists(&format!("{EXPANSION}/evidence-project/.duckdb")));
    sandbox.run(&["validate", "all"]).assert_code(0);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let except: Vec<&str> = RECORDS
        .iter()
        .chain(&["node_modules", ".venv"])
        .copied()
        .collect();
    let after = sandbox.snapshot(&except);
    let differences: Vec<String> = Snapshot::diff(&before.without(&except), &after)
        .into_iter()
        .filter(|line| !line.contains("package-lock.json") && !only_times_of_the_root(line))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn stories_run_by_feature_by_list_by_path_by_alias_and_by_shebang() {
    let sandbox = Sandbox::deployed(rollback_manager::demo::Options {
        venv: false,
        npm: false,
    });
    let stories = |report: &Value| report["stories"].clone();
    let by_feature = sandbox.json(&["run", "duckdb_analytics", "-n"]);
    assert_eq!(stories(&by_feature), serde_json::json!(["1.3"]));
    let by_list = sandbox.json(&["run", "1.3,1.7", "1.5", "-n"]);
    assert_eq!(stories(&by_list), serde_json::json!(["1.7", "1.5", "1.3"]));
    let by_alias = sandbox.json(&["rollback", "1.4", "-n"]);
    assert_eq!(stories(&by_alias), serde_json::json!(["1.4"]));

    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    for id in ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"] {
        let script = scripts.join(format!("rollback-story-{id}.rhai"));
        let by_path = sandbox.json(&[script.to_str().unwrap(), "-n"]);
        assert_eq!(stories(&by_path), serde_json::json!([id]));
        let binary = Path::new(env!("CARGO_BIN_EXE_rollback")).parent().unwrap();
        let path = std::env::join_paths([binary, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        let mut direct = std::process::Command::new(&script);
        let output = direct
            .args(["-n", "--json"])
            .current_dir(sandbox.root())
            .env_clear()
            .env("PATH", path)
            .stdin(std::process::Stdio::null())
            .output_in_time()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(stories(&report), serde_json::json!([id]), "by its shebang");
    }
}

fn story(id: &str, body: &str) -> String {
    format!(
        "const STORY = #{{ id: \"{id}\", title: \"A story of the test\" }};\nfn execute() {{\n{body}\n}}\n"
    )
}

#[test]
fn numbers_order_stories_and_a_failed_one_stops_the_rest() {
    let sandbox = Sandbox::empty();
    for (id, body) in [
        ("1.9", "remove_path(\"nine\");"),
        ("1.10", "fail(\"not today\");"),
        ("1.11", "remove_path(\"eleven\");"),
    ] {
        sandbox.write(&format!("rollback/{id}.rhai"), story(id, body));
    }
    sandbox.write("nine/x", "9").write("eleven/x", "11");
    let plan = sandbox.json(&["run", "1.9,1.11,1.10", "-n"]);
    assert_eq!(plan["stories"], serde_json::json!(["1.11", "1.10", "1.9"]));

    let stopped = sandbox.run(&["run", "1.9,1.10,1.11", "--yes"]).assert_code(1);
    assert!(stopped.stderr.contains("not today"), "{}", stopped.transcript());
    assert!(
        sandbox.exists("nine/x") && sandbox.exists("eleven/x"),
        "the preview shows the failure: nothing may change"
    );

    let report = sandbox
        .run(&["run", "1.9,1.10,1.11", "--yes", "--continue-on-error", "--json"])
        .assert_code(4)
        .json();
    assert_eq!(report["outcome"], "partial");
    assert!(!sandbox.exists("nine/x") && !sandbox.exists("eleven/x"));
}

#[test]
fn a_story_that_fails_only_in_the_real_pass_stops_the_rest_and_says_what_was_done() {
    let sandbox = Sandbox::empty();
    sandbox.write("rollback.yaml", "policy: { commands: [\"false\"] }\n");
    sandbox.write(
        "rollback/2.2.rhai",
        story("2.2", "remove_path(\"first\");\nrun_command([\"false\"]);"),
    );
    sandbox.write("rollback/2.1.rhai", story("2.1", "remove_path(\"second\");"));
    sandbox.write("first/x", "1").write("second/x", "2");
    let finished = sandbox.run(&["run", "2.1,2.2", "--yes"]).assert_code(1);
    assert!(
        !sandbox.exists("first/x") && sandbox.exists("second/x"),
        "{}",
        finished.transcript()
    );
    assert!(
        finished.stderr.contains("something was changed"),
        "{}",
        finished.transcript()
    );
    assert!(
        finished.stdout.contains("rollback undo"),
        "{}",
        finished.transcript()
    );
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("first/x"), "1");
}

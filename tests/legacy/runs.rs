use super::*;
use crate::sandbox::assert_unchanged;

const ALL: [&str; 7] = ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"];

/// What a real run adds on its own account.
const OWN: &[&str] = &[
    ".rollback",
    "rollback_reports",
    "rollback_backups",
    "logs",
    "docs",
];

// Row 1. Six of the seven crashed after they had destroyed things: tests stayed, nothing was validated or reported.
#[test]
fn row_01_every_story_runs_to_its_end() {
    let sandbox = deployed();
    for story in ALL.iter().rev() {
        let report = report(&sandbox, &["run", story, "-y"], 0);
        assert_eq!(report["outcome"], "done", "story {story}");
        let checks = report["checks"].as_array().unwrap();
        assert!(checks.len() >= 8, "story {story} made {} checks", checks.len());
        assert_eq!(failed_checks(&report), "", "story {story}");
        let written: Vec<_> = std::fs::read_dir(sandbox.path("rollback_reports"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(&format!("rollback_{story}_")))
            .collect();
        assert_eq!(written.len(), 3, "story {story} wrote {written:?}");
    }
    for tests in [
        "tests/data-services/pyairbyte",
        "tests/data-services/duckdb-service.test.js",
        "tests/data-services/dbt",
        "tests/data-services/dagster",
        "tests/data-services/eda",
        "tests/data-services/evidence",
        "tests/data-services/qa",
    ] {
        assert!(!sandbox.exists(tests), "{tests}");
    }
    assert!(sandbox.exists("tests/index.test.js"));
}

// Row 2. The crash left both log files empty, while flags and files had changed.
#[test]
fn row_02_a_crash_loses_no_record() {
    let sandbox = deployed();
    let before = sandbox.snapshot(&[OWN, &["gate"]].concat());
    let halted = Halted::start(&sandbox);
    assert!(!sandbox.exists("precious.txt"));
    halted.cut_off();

    for log in ["logs/audit.log", "logs/security.log"] {
        let events: Vec<Value> = sandbox
            .read(log)
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let names: Vec<&str> = events.iter().map(|event| text(event, "event")).collect();
        assert_eq!(names, ["rollback_initiated", "feature_flag_changed"], "{log}");
    }
    let audit = sandbox.run(&["audit", "show", "--json"]).assert_code(0);
    for act in [
        "switch off feature `qa_framework`",
        "remove `precious.txt`",
        "run `cat gate`",
    ] {
        let begun = audit
            .stdout
            .lines()
            .any(|line| line.contains("operation_begun") && line.contains(act));
        assert!(begun, "{act}\n{}", audit.transcript());
    }
    sandbox.run(&["audit", "verify"]).assert_code(0);

    let refused = sandbox.run(&["run", "1.3", "-y"]).assert_code(9);
    assert!(
        refused.stderr.contains("rollback recover"),
        "{}",
        refused.transcript()
    );
    sandbox.run(&["recover", "-y"]).assert_code(0);
    assert_eq!(sandbox.read("precious.txt"), "precious\n");
    let added = crate::sandbox::Snapshot::diff(&before, &sandbox.snapshot(&[OWN, &["gate"]].concat()));
    assert_eq!(
        added,
        [
            "changed .: time",
            "added precious.txt",
            "added rollback",
            "added rollback/9.9.rhai",
            "changed rollback.yaml: time, size, contents",
        ]
    );
}

// Row 3. Story 1.3 called seven functions that did not exist, took that for "not installed", and reported success.
#[test]
fn row_03_a_missing_function_is_an_error_and_a_success_is_one() {
    let sandbox = deployed();
    add_story(
        &sandbox,
        "9.9",
        "",
        "fn execute() {\n  remove_path(\"README.md\");\n  stop_duckdb_service();\n}",
    );
    let before = sandbox.snapshot(&[".rollback"]);
    let failed = sandbox.run(&["run", "9.9", "-y"]).assert_code(2);
    assert!(
        failed.stderr.contains("stop_duckdb_service"),
        "{}",
        failed.transcript()
    );
    assert!(failed.stderr.contains("9.9.rhai:4"), "{}", failed.transcript());
    assert_unchanged(&before, &sandbox.snapshot(&[".rollback"]));

    sandbox.run(&["run", "1.3", "-y"]).assert_code(0);
    for gone in [
        ".duckdb",
        "data/duckdb",
        "tools/lib/duckdb-manager.js",
        "config/duckdb-config.yaml",
    ] {
        assert!(!sandbox.exists(gone), "{gone}");
    }
    sandbox
        .run(&["feature", "check", "duckdb_analytics"])
        .assert_code(1);
}

// Row 4. A dry run switched six features off and logged a real rollback; its report said COMPLETED.
#[test]
fn row_04_a_dry_run_changes_nothing_and_says_so() {
    let sandbox = deployed();
    let before = sandbox.snapshot(&[]);
    let report = report(&sandbox, &["run", "1.3", "--dry-run"], 0);
    assert_eq!(text(&report, "mode"), "dry-run");
    assert_eq!(text(&report, "outcome"), "planned");
    let off: Vec<_> = report["flags"]["after"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(off.len(), 6, "{off:?}");
    assert!(operations(&report, "remove_paths", "done").is_empty());
    for arguments in [&["run", "1.3", "-n"][..], &["plan", "1.3"], &["plan", "all"]] {
        let display = sandbox.run(arguments).assert_code(0);
        assert!(
            display.stdout.contains("nothing has been changed"),
            "{}",
            display.transcript()
        );
        assert!(
            !display.stdout.to_lowercase().contains("completed"),
            "{}",
            display.transcript()
        );
    }
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

// Row 5. Story 1.3 ignored the dry run: it killed, deleted and swapped, and where depended on the current directory.
#[test]
fn row_05_story_1_3_keeps_to_the_dry_run_and_to_the_workspace() {
    let sandbox = Sandbox::deployed(Options {
        venv: false,
        npm: true,
    });
    let service = sandbox.spawn_service("duckdb", "logs/duckdb.pid");
    let before = sandbox.snapshot(&[]);
    let plan = |directory: &str| {
        let mut command = sandbox.command(&["run", "1.3", "-n", "--json"]);
        let output = finish(command.current_dir(sandbox.path(directory)), 0);
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (from_root, from_below) = (plan("."), plan("docs/guides"));
    assert!(service.is_running());
    assert_unchanged(&before, &sandbox.snapshot(&[]));
    assert_eq!(from_root["plan"], from_below["plan"]);
    assert_eq!(
        targets(&from_below, "stop_processes", "planned"),
        ["pid_file logs/duckdb.pid"]
    );

    finish(
        sandbox
            .command(&["run", "1.3", "-y"])
            .current_dir(sandbox.path("docs/guides")),
        0,
    );
    assert!(!sandbox.exists(".duckdb") && !sandbox.exists("docs/guides/rollback_backups"));
    assert_eq!(service.wait_ended(), Some(15));
    assert!(sandbox.exists("node_modules/yaml") && sandbox.read("package.json").contains("\"yaml\""));
    assert!(sandbox.exists("package.json.pre-1.3"));
}

// Row 19. `ROLLBACK_DRY_RUN=true` ran for real, and so did `--dry-run` given to a script.
#[test]
fn row_19_each_way_to_say_dry_run_is_one() {
    let sandbox = deployed();
    let before = sandbox.snapshot(&[]);
    for yes in ["true", "1", "yes", "ON"] {
        finish(
            sandbox
                .command(&["run", "1.3", "-y"])
                .env("ROLLBACK_DRY_RUN", yes),
            0,
        );
    }
    // A word that says neither is no real run.
    let output = finish(
        sandbox
            .command(&["run", "1.3", "-y"])
            .env("ROLLBACK_DRY_RUN", "maybe"),
        2,
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("`maybe`"));

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rollback-story-1.3.rhai");
    sandbox
        .run(&[script.to_str().unwrap(), "--dry-run", "-y"])
        .assert_code(0);
    // By its first line, as a program.
    std::fs::create_dir(sandbox.home().join("bin")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_rollback"));
    std::os::unix::fs::symlink(program, sandbox.home().join("bin/rollback")).unwrap();
    let output = finish(
        Command::new(&script)
            .args(["--dry-run", "-y"])
            .current_dir(sandbox.root())
            .env_clear()
            .env("PATH", path_with_programs(&sandbox))
            .stdin(Stdio::null()),
        0,
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing has been changed"));
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

// Row 20. A dry run with the stories deployed failed: it checked removals that it had not made.
#[test]
fn row_20_a_dry_run_checks_what_the_run_would_leave() {
    let sandbox = deployed();
    for story in ALL {
        let report = report(&sandbox, &["run", story, "-n"], 0);
        assert_eq!(failed_checks(&report), "", "story {story}");
    }
    // The same checks, of the world as it is, fail.
    let now = report(&sandbox, &["validate", "1.3"], 1);
    assert!(
        failed_checks(&now).contains("Service files removed"),
        "{}",
        failed_checks(&now)
    );
}

// Row 27. Reports said COMPLETED whatever had happened, and listed removals of what had never been there.
#[test]
fn row_27_a_report_tells_what_happened() {
    let sandbox = Sandbox::empty();
    sandbox
        .write(".duckdb/analytics.db", "data")
        .write("tools/lib/duckdb-manager.js", "");
    let done = report(&sandbox, &["run", "1.3", "-y"], 0);
    assert_eq!(
        targets(&done, "remove_paths", "done"),
        ["tools/lib/duckdb-manager.js"]
    );
    assert_eq!(targets(&done, "retire_dir", "done"), [".duckdb"]);
    assert!(operations(&done, "remove_paths", "not-present").len() > 20);
    let written = files_below(&sandbox.path("rollback_reports"));
    let markdown = std::fs::read_to_string(&written[1]).unwrap();
    assert!(
        markdown.contains("remove `tools/lib/duckdb-manager.js`"),
        "{markdown}"
    );
    assert!(
        !markdown.contains("remove `tools/lib/query-optimizer.js`"),
        "{markdown}"
    );

    sandbox.write("first", "").write("second", "");
    add_story(
        &sandbox,
        "9.9",
        "",
        "fn execute() {\n  remove_path(\"first\");\n  if !dry_run() { fail(\"the tide is out\"); }\n  remove_path(\"second\");\n}",
    );
    let failed = report(&sandbox, &["run", "9.9", "-y"], 1);
    assert_eq!(text(&failed, "outcome"), "failed");
    assert!(
        failed["error"]["message"]
            .as_str()
            .unwrap()
            .contains("the tide is out")
    );
    assert!(sandbox.exists("second"));
}

// Row 28. The command line as documented printed nothing and ended with 0; `all` was unknown; `--force` did nothing;
// six failures of seven ended with 0.
#[test]
fn row_28_the_command_line_does_what_it_says() {
    let sandbox = deployed();
    let display = sandbox.run(&["rollback", "1.3", "-n"]).assert_code(0);
    assert!(display.stdout.contains("Story 1.3"), "{}", display.transcript());
    let nothing = sandbox.run(&[]).assert_code(2);
    assert!(nothing.stderr.contains("Usage"), "{}", nothing.transcript());
    let all = report(&sandbox, &["plan", "all"], 0);
    assert_eq!(all["stories"].as_array().unwrap().len(), 7);

    for number in 1..=7 {
        let functions = if number == 4 {
            "fn execute() { remove_path(\"README.md\"); }".to_owned()
        } else {
            format!("fn execute() {{ fail(\"no {number}\"); }}")
        };
        add_story(&sandbox, &format!("9.{number}"), "", &functions);
    }
    let seven = "9.1,9.2,9.3,9.4,9.5,9.6,9.7";
    let partial = report(&sandbox, &["run", seven, "-y", "--continue-on-error"], 4);
    assert_eq!(text(&partial, "outcome"), "partial");
    assert!(!sandbox.exists("README.md"));
    sandbox
        .run(&["run", "9.1,9.2,9.3", "-y", "--continue-on-error"])
        .assert_code(1);
    sandbox.run(&["run", "9.1,1.3", "-y"]).assert_code(1);
    assert!(sandbox.exists(".duckdb"));

    // Nobody to ask: it takes a word of approval.
    sandbox.run(&["run", "1.3"]).assert_code(5);
    assert!(sandbox.exists(".duckdb"));
    sandbox.run(&["run", "1.3", "--force"]).assert_code(0);
    assert!(!sandbox.exists(".duckdb"));
}

// Row 29. Stories were sorted as text: 1.2, 1.10, 1.9.
#[test]
fn row_29_stories_are_in_the_order_of_their_numbers() {
    let sandbox = deployed();
    add_story(&sandbox, "1.10", "", "fn execute() {}");
    add_story(&sandbox, "1.9", "", "fn execute() {}");
    let ids = |stories: &Value| -> Vec<String> {
        stories
            .as_array()
            .unwrap()
            .iter()
            .map(|story| text(story, "id").to_owned())
            .collect()
    };
    let status = report(&sandbox, &["status"], 0);
    assert_eq!(
        ids(&status["stories"]),
        ["1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10"]
    );
    // They go in the opposite order, whatever the order given.
    let plan = report(&sandbox, &["plan", "1.9,1.2,1.10"], 0);
    assert_eq!(plan["stories"], serde_json::json!(["1.10", "1.9", "1.2"]));
}

// Row 30. There was no history, no way back, and nothing kept two runs apart.
#[test]
fn row_30_runs_are_remembered_taken_back_and_kept_apart() {
    let sandbox = deployed();
    let halted = Halted::start(&sandbox);
    let refused = sandbox.run(&["run", "1.3", "-y"]).assert_code(6);
    assert!(sandbox.exists(".duckdb"), "{}", refused.transcript());
    assert_eq!(halted.let_go(), Some(0));

    let database = std::fs::read(sandbox.path(".duckdb/analytics.db")).unwrap();
    let run = report(
        &sandbox,
        &["run", "1.3", "-y", "--reason", "the numbers are wrong"],
        0,
    );
    let history = report(&sandbox, &["history"], 0);
    let runs = history["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert!(
        runs.iter()
            .any(|one| one["run"] == run["run"] && one["outcome"] == "done"),
        "{history}"
    );
    let display = report(&sandbox, &["show", text(&run, "run")], 0);
    assert_eq!(text(&display, "reason"), "the numbers are wrong");

    let backup = run["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| text(one, "source") == ".duckdb")
        .unwrap();
    sandbox
        .run(&[
            "backup",
            "restore",
            text(backup, "name"),
            "--to",
            "looked-at",
            "-y",
        ])
        .assert_code(0);
    assert_eq!(
        std::fs::read(sandbox.path("looked-at/analytics.db")).unwrap(),
        database
    );
    sandbox.run(&["undo", text(&run, "run"), "-y"]).assert_code(0);
    assert_eq!(
        std::fs::read(sandbox.path(".duckdb/analytics.db")).unwrap(),
        database
    );
}

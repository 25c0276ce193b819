//! Undo, recover, prune and history tell the truth: which run is meant, what it takes back, what others changed since, and
//! that the log, not the index, knows the runs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::prompts::Person;
use crate::sandbox::{Finished, Sandbox, assert_says, assert_unchanged};
use crate::undo::newest;

mod model;

/// What `prune` counts, keeps and names.
mod pruning;

/// What stands in `.rollback`, and what becomes of it.
mod state;

const FLAGS: &str = "\
features:
  alpha: { enabled: true }
  beta: { enabled: true }
metadata:
  last_modified: '2026-01-01T00:00:00.000Z'
";

const STORY: &str = r#"const STORY = #{ id: "9.1", title: "Reports", feature: "alpha" };

fn execute() {
    retire_dir("data/reports", "reports");
    remove_path("notes.txt");
    if param("fail", "no") == "yes" { run_command(["false"]); }
}
"#;

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("config/feature-flags.yaml", FLAGS)
        .write("rollback.yaml", "policy: { commands: [\"false\"] }\n")
        .write("rollback/reports.rhai", STORY)
        .write("core.yaml", "a: 1\n");
    deploy(&sandbox, "first");
    sandbox
}

fn deploy(sandbox: &Sandbox, text: &str) {
    sandbox
        .write("data/reports/q1.txt", text)
        .write("notes.txt", text);
}

fn run(sandbox: &Sandbox) -> String {
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    newest(sandbox)
}

fn runs(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["history"])["runs"].as_array().unwrap().clone()
}

/// The kinds of all runs, in the order of the log.
fn kinds(sandbox: &Sandbox) -> Vec<String> {
    let text = |run: &Value| run["kind"].as_str().unwrap().to_owned();
    runs(sandbox).iter().map(text).collect()
}

/// Runs to its end a command that must come to one, within a minute.
fn within_a_minute(sandbox: &Sandbox, arguments: &[&str], why: &str) -> Finished {
    let mut child = sandbox
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let (sender, ended) = channel();
    // Both streams are small: neither fills its pipe.
    std::thread::spawn(move || {
        let status = child.wait();
        let _ = sender.send((status, child));
    });
    let Ok((status, mut child)) = ended.recv_timeout(Duration::from_secs(60)) else {
        let _ = kill_process(pid, Signal::KILL);
        panic!(
            "{why}: `rollback {}` did not end within a minute",
            arguments.join(" ")
        );
    };
    let read = |stream: &mut dyn std::io::Read| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let (stdout, stderr) = (
        read(child.stdout.as_mut().unwrap()),
        read(child.stderr.as_mut().unwrap()),
    );
    Finished::told(arguments, status.unwrap().code(), stdout, stderr)
}

// Which run is meant.

#[test]
fn newest_is_the_newest_rollback_and_never_a_helper() {
    let sandbox = workspace();
    let run = run(&sandbox);
    sandbox.run(&["backup", "create", "core.yaml"]).assert_code(0);
    sandbox.run(&["feature", "disable", "beta"]).assert_code(0);
    let backups = sandbox.json(&["backup", "list"])["backups"]
        .as_array()
        .unwrap()
        .len();
    let undone = sandbox.json(&["undo", "--yes"]);
    assert_eq!(undone["undoes"], run.as_str(), "{undone:#}");
    assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
    // The backup that was made by hand is still there, and the flag is still off.
    assert_eq!(
        sandbox.json(&["backup", "list"])["backups"]
            .as_array()
            .unwrap()
            .len(),
        backups - 1
    );
    assert!(
        sandbox
            .read("config/feature-flags.yaml")
            .contains("beta: { enabled: false }")
    );
    assert_eq!(kinds(&sandbox), ["rollback", "backup", "feature", "undo"]);
    // Nothing is left that the command without a name could mean.
    let refused = sandbox.run(&["undo", "--yes"]).assert_code(2);
    assert_says(&refused, &["there is no run to take back", "nothing was changed"]);
}

#[test]
fn newest_passes_over_runs_without_effect_and_names_them() {
    let sandbox = workspace();
    let good = run(&sandbox);
    deploy(&sandbox, "second");
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person.sees("Roll back 9.1? [y/N] ").types("y\n");
    // Each of the three steps.
    for _ in 0..2 {
        person.sees("? [y/N] ").types("n\n");
    }
    person.leaves_with(5);
    let idle = newest(&sandbox);
    assert_ne!(idle, good);
    sandbox.remove("data/reports").remove("notes.txt");

    let named = sandbox.run(&["undo", &idle, "--yes"]).assert_code(2);
    assert_says(&named, &["has nothing to take back", "nothing was changed"]);
    let undone = sandbox.run(&["undo", "--yes", "--json"]).assert_code(0).json();
    assert_eq!(undone["undoes"], good.as_str());
    assert!(
        undone["warnings"]
            .to_string()
            .contains(&format!("run {idle} was passed over")),
        "{undone:#}"
    );
    let refused = sandbox.run(&["undo", "--yes"]).assert_code(2);
    assert_says(
        &refused,
        &[&format!(
            "run {idle} was passed over: it has nothing to take back"
        )],
    );
}

// What pruning means for what can be taken back.

#[test]
fn what_others_changed_since_stays_and_only_our_own_edit_is_taken_out() {
    for force in ["--yes", "--force"] {
        let sandbox = workspace();
        sandbox.write("docs/ROLLBACKS.md", "# Rollbacks\n\nKept by hand.\n");
        run(&sandbox);
        let flags = sandbox.read("config/feature-flags.yaml");
        sandbox
            .write(
                "config/feature-flags.yaml",
                flags.replace("beta: { enabled: true }", "beta: { enabled: false }"),
            )
            .write(
                "docs/ROLLBACKS.md",
                sandbox.read("docs/ROLLBACKS.md") + "A remark of somebody.\n",
            );
        let plan = sandbox.run(&["undo", "-n"]).assert_code(0);
        assert_says(
            &plan,
            &[
                "changed since: `config/feature-flags.yaml`: line",
                "changed since: `docs/ROLLBACKS.md`: line",
            ],
        );
        let done = sandbox.run(&["undo", force, "--json"]).assert_code(0).json();
        assert_eq!(
            done["explanation"]["changed_since"].as_array().unwrap().len(),
            2,
            "{done:#}"
        );
        let flags = sandbox.read("config/feature-flags.yaml");
        assert!(
            flags.contains("alpha: { enabled: true }") && flags.contains("beta: { enabled: false }"),
            "{flags}"
        );
        assert_eq!(
            sandbox.read("docs/ROLLBACKS.md"),
            "# Rollbacks\n\nKept by hand.\nA remark of somebody.\n"
        );
    }
}

/// The file is of the run's own making.
#[test]
fn what_others_added_to_a_file_that_we_made_stays() {
    let sandbox = workspace();
    run(&sandbox);
    sandbox.write(
        "docs/ROLLBACKS.md",
        sandbox.read("docs/ROLLBACKS.md") + "A remark of somebody.\n",
    );
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("docs/ROLLBACKS.md"), "A remark of somebody.\n");
}

#[test]
fn an_edit_that_others_took_out_already_is_nothing_to_take_back() {
    let sandbox = workspace();
    sandbox.write(
        "rollback/reports.rhai",
        "const STORY = #{ id: \"9.1\", title: \"Reports\", feature: \"alpha\" };\nfn execute() {}\n",
    );
    let run = run(&sandbox);
    let flags = FLAGS.replace("beta: { enabled: true }", "beta: { enabled: false }");
    sandbox.write("config/feature-flags.yaml", &flags).remove("docs");
    let refused = sandbox.run(&["undo", &run, "--yes"]).assert_code(2);
    assert_says(&refused, &["has nothing to take back", "nothing was changed"]);
    sandbox.run(&["undo", "--yes"]).assert_code(2);
    assert_eq!(sandbox.read("config/feature-flags.yaml"), flags);
}

#[test]
fn what_others_changed_after_an_undo_is_not_lost_by_the_undo_of_it() {
    let sandbox = workspace();
    run(&sandbox);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let undo = newest(&sandbox);
    sandbox.write(
        "config/feature-flags.yaml",
        FLAGS.replace("beta: { enabled: true }", "beta: { enabled: false }"),
    );
    sandbox.run(&["undo", &undo, "--yes"]).assert_code(0);
    let flags = sandbox.read("config/feature-flags.yaml");
    assert!(
        flags.contains("alpha: { enabled: false }") && flags.contains("beta: { enabled: false }"),
        "{flags}"
    );
}

// Something stands in the way.

#[test]
fn what_stands_in_the_way_of_an_undo_is_named_with_what_to_do_by_hand() {
    for answer in ["--yes", "--force"] {
        let sandbox = workspace();
        let run = run(&sandbox);
        deploy(&sandbox, "anew");
        let before = sandbox.snapshot(&[]);
        let refused = sandbox.run(&["undo", answer]).assert_code(7);
        assert_says(
            &refused,
            &[
                "`data/reports` (1 file, 4 B)",
                "`notes.txt` (4 B)",
                "mv data/reports data/reports.aside",
                "mv notes.txt notes.txt.aside",
                &format!("rollback undo {run}"),
            ],
        );
        assert!(!refused.stderr.contains("--force"), "{}", refused.stderr);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
        // And that works.
        for path in ["data/reports", "notes.txt"] {
            std::fs::rename(sandbox.path(path), sandbox.path(&format!("{path}.aside"))).unwrap();
        }
        sandbox.run(&["undo", answer]).assert_code(0);
        assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
    }
}

/// The mark of a run that was cut off before its end was written down.
fn cut_off(sandbox: &Sandbox, run: &str) {
    let log = ".rollback/audit/000001.jsonl";
    let text = sandbox.read(log);
    let start = text
        .lines()
        .find(|line| line.contains(run) && line.contains("\"run_started\""))
        .unwrap();
    let start: Value = serde_json::from_str(start).unwrap();
    let mark = serde_json::json!({
        "run": run, "stories": start["stories"], "started": start["ts"], "pid": 1, "undoes": null, "asked": start["asked"],
    });
    sandbox.write(".rollback/active", format!("{mark}\n"));
}

#[test]
fn what_stands_in_the_way_of_a_recovery_has_two_ways_out() {
    for by_hand in [true, false] {
        let sandbox = workspace();
        let run = run(&sandbox);
        cut_off(&sandbox, &run);
        deploy(&sandbox, "anew");
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(9);
        let refused = sandbox.run(&["recover", "--yes"]).assert_code(7);
        assert_says(
            &refused,
            &[
                "two ways out",
                "`data/reports` (1 file, 4 B)",
                "mv data/reports data/reports.aside",
                "`rollback recover --force`",
            ],
        );
        if by_hand {
            for path in ["data/reports", "notes.txt"] {
                std::fs::rename(sandbox.path(path), sandbox.path(&format!("{path}.aside"))).unwrap();
            }
            sandbox.run(&["recover", "--yes"]).assert_code(0);
            assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
            assert_eq!(sandbox.read("data/reports.aside/q1.txt"), "anew");
        } else {
            let settled = sandbox
                .run(&["recover", "--force", "--json"])
                .assert_code(0)
                .json();
            assert_eq!(settled["kind"], "recover", "{settled:#}");
            let cannot = settled["explanation"]["cannot"].to_string();
            assert!(
                cannot.contains("`notes.txt` (4 B) stands there and was kept"),
                "{cannot}"
            );
            assert_eq!(sandbox.read("data/reports/q1.txt"), "anew");
            // What was there is where the report says.
            assert!(cannot.contains("rollback_backups/reports_"), "{cannot}");
        }
        // The flag is back either way, and nothing is unfinished.
        assert!(
            sandbox
                .read("config/feature-flags.yaml")
                .contains("alpha: { enabled: true }")
        );
        assert!(sandbox.json(&["status"])["unfinished_run"].is_null());
    }
}

// The log is the truth.

#[test]
fn each_kind_of_run_says_what_it_is_in_every_form() {
    let sandbox = workspace();
    let rollback = run(&sandbox);
    let backup = sandbox.json(&["backup", "list"])["backups"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    sandbox.run(&["backup", "create", "core.yaml"]).assert_code(0);
    let create = newest(&sandbox);
    sandbox
        .run(&["backup", "restore", &backup, "--to", "elsewhere", "--yes"])
        .assert_code(0);
    let restore = newest(&sandbox);
    sandbox.run(&["undo", &restore, "--yes"]).assert_code(0);
    let undo_of_restore = newest(&sandbox);
    sandbox.run(&["feature", "disable", "beta"]).assert_code(0);
    let feature = newest(&sandbox);
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let undo = newest(&sandbox);
    sandbox
        .run(&["prune", "--keep-within", "1ms", "--yes"])
        .assert_code(0);
    let prune = newest(&sandbox);
    for (run, kind, heading) in [
        (&rollback, "rollback", "roll back 9.1".to_owned()),
        (&create, "backup", "backup: copy `core.yaml`".to_owned()),
        (&restore, "restore", format!("restore: `{backup}` to `elsewhere`")),
        (
            &undo_of_restore,
            "undo",
            format!("undo run `{restore}` (restore: `{backup}` to `elsewhere`)"),
        ),
        (&feature, "feature", "feature: switch `beta` off".to_owned()),
        (&undo, "undo", format!("undo run `{rollback}` (9.1)")),
        (&prune, "prune", "prune: ".to_owned()),
    ] {
        assert_eq!(sandbox.json(&["show", run])["kind"], kind, "{heading}");
        let text = sandbox.run(&["show", run]).assert_code(0).stdout;
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(one_line.starts_with(&format!("Run {run}: {heading}")), "{text}");
        let page = sandbox
            .run(&["report", run, "--format", "markdown"])
            .assert_code(0)
            .stdout;
        let plain = heading.replace(['`', '_'], "");
        assert!(
            page.lines()
                .next()
                .unwrap()
                .replace(['\\', '`', '_'], "")
                .starts_with(&format!("# Report: {plain}")),
            "{page}"
        );
        let page = sandbox
            .run(&["report", run, "--format", "html"])
            .assert_code(0)
            .stdout;
        assert!(
            page.replace(['`', '_'], "")
                .contains(&format!("<title>Report: {plain}")),
            "{page}"
        );
    }
    let mut reports: Vec<String> = std::fs::read_dir(sandbox.path("rollback_reports"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|is| is == "md"))
        .map(|name| {
            name.trim_end_matches(|each: char| !each.is_ascii_alphabetic() && each != '.')
                .to_owned()
        })
        .map(|name| name.split("_20").next().unwrap().to_owned())
        .collect();
    reports.sort();
    assert_eq!(reports, ["rollback_9.1", "undo", "undo_9.1"]);
}

#[test]
fn arguments_that_name_nothing_are_errors() {
    let sandbox = workspace();
    run(&sandbox);
    for arguments in [
        &["run", "nothere"][..],
        &["plan", "nothere"],
        &["validate", "nothere"],
        &["show", "nothere"],
        &["report", "nothere"],
        &["undo", "nothere", "--yes"],
        &["undo", "nothere", "-n"],
        &["undo", "--story", "nothere", "--yes"],
        &["backup", "create", "nothere"],
        &["backup", "show", "nothere"],
        &["backup", "verify", "nothere"],
        &["backup", "verify", "nothere", "-n"],
        &["backup", "seal", "nothere"],
        &["backup", "restore", "nothere", "--yes"],
        &["backup", "restore", "nothere", "-n"],
        &["feature", "check", "nothere"],
        &["feature", "enable", "nothere"],
        &["feature", "disable", "nothere"],
        &["audit", "show", "--run", "nothere"],
        &["script", "check", "nothere.rhai"],
        &["script", "test", "nothere.rhai"],
        &["apply", "nothere.json", "--yes"],
    ] {
        let before = sandbox.snapshot(&[]);
        let refused = sandbox.run(arguments);
        assert_eq!(refused.code, Some(2), "{}", refused.transcript());
        assert!(refused.stderr.contains("nothere"), "{}", refused.transcript());
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

#[test]
fn a_directory_that_is_no_workspace_is_said_to_be_none() {
    let sandbox = workspace();
    let elsewhere = sandbox.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let named = elsewhere.to_str().unwrap();
    sandbox.run(&["plan", "9.1", "-o", "../plan.json"]).assert_code(0);
    // They need none, or make one.
    let others = [
        "init",
        "demo",
        "script doc",
        "script schema",
        "trust",
        "completions",
        "man",
    ];
    for (_, row) in crate::stdout::rows().filter(|(command, _)| !others.contains(command)) {
        let arguments: Vec<&str> = ["--workspace", named].into_iter().chain(row.split(' ')).collect();
        let refused = sandbox.run(&arguments);
        assert_eq!(refused.code, Some(2), "{}", refused.transcript());
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("is no workspace"), "{}", refused.transcript());
    }
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
    // What was done where the flags file is lost can still be looked at and taken back.
    run(&sandbox);
    sandbox
        .remove("config/feature-flags.yaml")
        .remove("rollback.yaml");
    let root = sandbox.root();
    sandbox
        .run(&["--workspace", root.to_str().unwrap(), "history"])
        .assert_code(0);
}

#[test]
fn atomic_names_what_it_could_not_take_back_and_offers_no_undo_of_what_was_undone() {
    let sandbox = workspace();
    sandbox
        .write("rollback.yaml", "policy: { commands: [\"true\", \"false\"] }\n")
        .write(
            "rollback/reports.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Reports\" };\nfn execute() {\n    remove_path(\"notes.txt\");\n    \
             run_command([\"true\"]);\n    run_command([\"false\"]);\n}\n",
        );
    let report = sandbox
        .run(&["run", "9.1", "--yes", "--atomic", "--json"])
        .assert_code(1)
        .json();
    let run = report["run"].as_str().unwrap();
    assert!(sandbox.exists("notes.txt"));
    let said = report["warnings"].to_string();
    assert!(
        said.contains("but for what can't be: ") && said.contains("true"),
        "{report:#}"
    );
    assert!(!said.contains("everything was taken back"), "{report:#}");
    // Neither now nor when the run is looked at later.
    for report in [&report, &sandbox.json(&["show", run])] {
        let text = report.to_string();
        assert!(!text.contains(&format!("rollback undo {run}")), "{report:#}");
    }
    // Where everything can be, everything was.
    let sandbox = workspace();
    sandbox.write(
        "rollback/reports.rhai",
        STORY.to_owned() + "fn validate() { check(\"it was to succeed\", || false); }\n",
    );
    let report = sandbox
        .run(&["run", "9.1", "--yes", "--atomic", "--json"])
        .assert_code(1)
        .json();
    assert!(
        report["warnings"]
            .to_string()
            .contains("everything was taken back"),
        "{report:#}"
    );
}

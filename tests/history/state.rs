//! Nothing in `.rollback` can hide a run or hang a command: the log is the truth.

use super::*;

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

fn files_below(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

/// A workspace with all that `.rollback/` may hold.
fn rich() -> (Sandbox, String) {
    let sandbox = workspace();
    sandbox.write(
        "rollback.yaml",
        "policy: { commands: [\"false\"] }\nalerts: { channels: [ { name: kept, command: [\"false\"] } ] }\n",
    );
    let first = run(&sandbox);
    sandbox.run(&["backup", "create", "core.yaml"]).assert_code(0);
    sandbox.run(&["backup", "verify"]).assert_code(0);
    sandbox.run(&["monitor", "--once"]);
    deploy(&sandbox, "second");
    sandbox
        .run(&["run", "9.1", "--yes", "--param", "fail=yes"])
        .assert_code(1);
    (sandbox, first)
}

/// Puts something in the place of a file.
type Replace = fn(&Path);

/// Each file of `.rollback/`, replaced by whatever can stand in its place: nothing hangs, and no run is hidden.
#[test]
fn nothing_in_the_state_directory_can_hide_a_run_or_hang_a_command() {
    let (sandbox, first) = rich();
    let whole = runs(&sandbox);
    assert_eq!(whole.len(), 3, "{whole:?}");
    let state = sandbox.path(".rollback");
    let aside = sandbox.home().join("state");
    copy(&state, &aside);
    let mut files = Vec::new();
    files_below(&state, &mut files);
    assert!(files.len() > 10, "{files:?}");
    let replacements: [(&str, Replace); 5] = [
        ("nothing", |_| {}),
        ("an empty file", |path| std::fs::write(path, "").unwrap()),
        ("garbage", |path| std::fs::write(path, b"{\xff garbage").unwrap()),
        ("a pipe", |path| {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }),
        ("a directory", |path| std::fs::create_dir(path).unwrap()),
    ];
    for file in &files {
        for (name, replace) in &replacements {
            let why = format!(
                "{name} in place of {}",
                file.strip_prefix(sandbox.root()).unwrap().display()
            );
            std::fs::remove_file(file).unwrap();
            replace(file);
            let told = within_a_minute(&sandbox, &["history", "--json"], &why);
            assert_eq!(told.code, Some(0), "{why}\n{}", told.transcript());
            let now = told.json();
            for (then, now) in whole.iter().zip(now["runs"].as_array().unwrap()) {
                let (mut then, mut now) = (then.clone(), now.clone());
                // The report tells when it was planned, the log when it began.
                for run in [&mut then, &mut now] {
                    run["started"].take();
                }
                assert_eq!(then, now, "{why}");
            }
            assert_eq!(whole.len(), now["runs"].as_array().unwrap().len(), "{why}");
            let display = within_a_minute(&sandbox, &["show", &first, "--json"], &why);
            assert_eq!(display.code, Some(0), "{why}\n{}", display.transcript());
            for arguments in [
                &["undo", "-n"][..],
                &["prune", "--keep-last", "1", "-n"],
                &["backup", "list"],
                &["status"],
            ] {
                let finished = within_a_minute(&sandbox, arguments, &why);
                assert!(
                    matches!(finished.code, Some(0 | 1 | 7 | 8)),
                    "{why}\n{}",
                    finished.transcript()
                );
            }
            std::fs::remove_dir_all(&state).unwrap();
            copy(&aside, &state);
        }
    }
}

/// A run of which only the log tells is told, chosen and taken back like any other.
#[test]
fn a_run_whose_report_is_lost_is_made_anew_from_the_log_and_taken_back() {
    for replaced in ["", "{", "missing", "of another run"] {
        let sandbox = workspace();
        let run = run(&sandbox);
        let report = format!(".rollback/runs/{run}/report.json");
        match replaced {
            "missing" => drop(sandbox.remove(&report)),
            "of another run" => drop(sandbox.write(
                &report,
                sandbox.read(&report).replace(&run, "20200101T000000Z-0000"),
            )),
            text => drop(sandbox.write(&report, text)),
        }
        let display = sandbox.run(&["show", &run, "--json"]).assert_code(0).json();
        assert_eq!(
            (&display["kind"], &display["outcome"]),
            (&"rollback".into(), &"done".into()),
            "{display:#}"
        );
        assert_eq!(display["stories"], serde_json::json!(["9.1"]));
        assert!(
            display["warnings"]
                .to_string()
                .contains("made anew from the audit log"),
            "{display:#}"
        );
        let words: Vec<&Value> = display["operations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| &each["op"])
            .collect();
        assert_eq!(
            words,
            ["set_flag", "retire_dir", "remove_path", "write_text"],
            "{display:#}"
        );
        let undone = sandbox.run(&["undo", "--yes", "--json"]).assert_code(0).json();
        assert_eq!(undone["undoes"], run.as_str());
        assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
    }
}

/// The mark can't be read: the log knows which run it was of.
#[test]
fn a_run_that_was_cut_off_is_settled_though_its_mark_is_lost() {
    let sandbox = workspace();
    let run = run(&sandbox);
    // As a cut before the end leaves it.
    let log = ".rollback/audit/000001.jsonl";
    let text = sandbox.read(log);
    let lines: Vec<&str> = text.lines().collect();
    let last: Value = serde_json::from_str(lines[lines.len() - 2]).unwrap();
    sandbox.write(log, lines[..lines.len() - 1].join("\n") + "\n");
    let head = serde_json::json!({ "log_id": last["log"], "seq": last["seq"], "hash": last["hash"] });
    sandbox.write(".rollback/audit/head", format!("{head}\n"));
    sandbox.remove(&format!(".rollback/runs/{run}/report.json"));
    sandbox.write(".rollback/active", "not what it was");
    let status = sandbox.json(&["status"]);
    assert_eq!(status["unfinished_run"], run.as_str(), "{status:#}");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(9);
    let settled = sandbox.run(&["recover", "--yes", "--json"]).assert_code(0).json();
    assert_eq!(settled["undoes"], run.as_str());
    assert_eq!(sandbox.read("data/reports/q1.txt"), "first");
    assert!(!sandbox.exists(".rollback/active"));
    assert_eq!(kinds(&sandbox), ["rollback", "recover"]);
}

// What a run says of itself.

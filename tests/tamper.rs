//! An audit log that cannot lie: what is done to it before, between and during runs is found and named; without it
//! nothing happens; and no secret gets into it.

#![expect(clippy::print_stdout, reason = "a test says what it counted")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::prompts::Person;
use crate::sandbox::{InTime as _, Sandbox, Snapshot, assert_unchanged};
use crate::skipped::skipped;

mod exports;

const LOG: &str = ".rollback/audit/000001.jsonl";

const HEAD: &str = ".rollback/audit/head";

/// A workspace with one story.
fn workspace(execute: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "rollback/reports.rhai",
            format!("const STORY = #{{ id: \"9.1\", title: \"Quarterly reports\" }};\n\nfn execute() {{\n{execute}\n}}\n"),
        )
        .write("rollback.yaml", "policy: { commands: [sh, cp] }\n")
        .write("reports/q1.txt", "first")
        .write("drafts/q3.txt", "third");
    sandbox
}

const REMOVE_BOTH: &str = "    remove_path(\"reports\");\n    remove_path(\"drafts\");";

/// A workspace with a finished run.
fn rolled_back() -> Sandbox {
    let sandbox = workspace(REMOVE_BOTH);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    sandbox
}

fn kinds(told: &Value) -> Vec<&str> {
    told["damage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|damage| damage["kind"].as_str().unwrap())
        .collect()
}

/// `audit verify --json`, held against its schema.
#[track_caller]
fn verify(sandbox: &Sandbox) -> (Option<i32>, Value) {
    let finished = sandbox.run(&["audit", "verify", "--json"]);
    let told = finished.json();
    let schema: Value = serde_json::from_str(include_str!("../docs/schema/audit.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&told)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(problems, [] as [&str; 0], "{told}");
    assert_eq!(told["ok"], finished.code == Some(0), "{told}");
    (finished.code, told)
}

#[test]
fn verify_names_each_kind_with_its_exit_code_and_in_its_schema() {
    let sandbox = rolled_back();
    let (log, head) = (sandbox.read(LOG), sandbox.read(HEAD));
    let other = rolled_back().read(LOG);
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    let cases = [
        ("edited", log.replacen("reports", "report5", 1)),
        ("edited", log.replacen("{\"v\"", "{ \"v\"", 1)),
        ("deleted", [&lines[..2], &lines[3..]].concat().concat()),
        ("inserted", [&lines[..3], &lines[2..]].concat().concat()),
        ("truncated", lines[..lines.len() - 1].concat()),
        ("replaced", other),
        ("empty", String::new()),
    ];
    for (kind, text) in cases {
        sandbox.write(LOG, text);
        let (code, told) = verify(&sandbox);
        assert_eq!(
            (code, kinds(&told).contains(&kind)),
            (Some(8), true),
            "{kind}: {told}"
        );
        let before = sandbox.snapshot(&[]);
        sandbox.run(&["audit", "show"]).assert_code(0);
        let exported = sandbox.run(&["audit", "export"]).assert_code(8);
        assert!(exported.stderr.contains("damaged"), "{}", exported.transcript());
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    sandbox.write(LOG, &log);
    assert_eq!(kinds(&verify(&sandbox).1), [] as [&str; 0]);
    sandbox.remove(HEAD);
    let (code, told) = verify(&sandbox);
    assert_eq!((code, kinds(&told)), (Some(8), vec!["deleted"]));
    sandbox.write(HEAD, head).write(LOG, log + "{\"v\":1,");
    let (code, told) = verify(&sandbox);
    assert_eq!((code, kinds(&told)), (Some(0), vec!["torn-tail"]));
}

#[test]
fn what_could_not_be_looked_at_for_heads_is_no_proof_of_a_whole_log() {
    let sandbox = rolled_back();
    sandbox.run(&["audit", "verify", "--strict"]).assert_code(0);
    sandbox.remove("rollback_reports");
    std::os::unix::fs::symlink("rollback_reports", sandbox.path("rollback_reports")).unwrap();
    let told = sandbox.run(&["audit", "verify", "--json"]).assert_code(0).json();
    assert_eq!((&told["ok"], kinds(&told)), (&Value::Null, vec![]), "{told}");
    let why = "cannot look for heads in `rollback_reports`";
    assert!(told["unknown"][0].as_str().unwrap().starts_with(why), "{told}");
    let text = sandbox.run(&["audit", "verify"]).assert_code(0);
    assert!(
        text.stdout.contains(&format!("unknown: {why}")),
        "{}",
        text.transcript()
    );
    let strict = sandbox.run(&["audit", "verify", "--strict"]).assert_code(1);
    assert!(
        strict
            .stderr
            .contains("whether the audit log is whole is unknown"),
        "{}",
        strict.transcript()
    );
    let strict = sandbox.run(&["audit", "verify", "--strict", "--json"]);
    assert_eq!(strict.assert_code(1).json(), told);
    // What is damaged is, whatever else could not be seen.
    sandbox.write(LOG, sandbox.read(LOG).replacen("reports", "report5", 1));
    let told = sandbox.run(&["audit", "verify", "--strict", "--json"]);
    assert_eq!(told.assert_code(8).json()["ok"], false);
}

#[test]
fn heads_in_log_lines_and_reports_give_away_a_log_that_was_cut_back_with_its_head() {
    let sandbox = rolled_back();
    let (log, head) = (sandbox.read(LOG), sandbox.read(HEAD));
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let sound = sandbox.run(&["audit", "verify"]).assert_code(0);
    assert!(
        sound.stdout.contains("heads that reports and `logs/` keep"),
        "{}",
        sound.transcript()
    );
    sandbox.write(LOG, &log).write(HEAD, &head);
    let (code, told) = verify(&sandbox);
    assert_eq!((code, kinds(&told)), (Some(8), vec!["truncated"]), "{told}");
    // Without `logs/`, the reports still tell.
    if sandbox.exists("logs") {
        sandbox.remove("logs");
    }
    let (_, told) = verify(&sandbox);
    let against = told["damage"][0]["against"].as_str().unwrap();
    assert!(against.starts_with("rollback_reports/"), "{told}");
    // A log that is gone altogether, too; a new one does not hide it.
    sandbox.remove(".rollback");
    assert_eq!(kinds(&verify(&sandbox).1), ["empty"]);
    let other = rolled_back();
    sandbox.write(LOG, other.read(LOG)).write(HEAD, other.read(HEAD));
    assert_eq!(kinds(&verify(&sandbox).1), ["replaced"]);
}

#[test]
fn nothing_runs_on_a_log_that_ends_elsewhere_than_its_head_says_until_it_is_moved_aside() {
    let sandbox = rolled_back();
    sandbox.write("reports/q1.txt", "first");
    let log = sandbox.read(LOG);
    let cut = log.split_inclusive('\n').take(3).collect::<String>();
    for damaged in [cut, format!("{log}{{}}\n"), format!("{log}\0\n"), String::new()] {
        sandbox.write(LOG, damaged);
        let before = sandbox.snapshot(&[]);
        let refused = sandbox.run(&["run", "9.1", "--yes"]).assert_code(8);
        assert!(
            refused.stderr.contains("move `.rollback/audit` aside"),
            "{}",
            refused.transcript()
        );
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    std::fs::rename(sandbox.path(".rollback/audit"), sandbox.path(".rollback/audit-1")).unwrap();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let (code, told) = verify(&sandbox);
    assert_eq!((code, kinds(&told)), (Some(0), vec![]), "{told}");
    assert!(told["anchors"]["of_earlier_logs"].as_u64().unwrap() > 0, "{told}");
}

/// What happens to the log between two removals, and whether what was recorded before survives it.
const WAYS: [(&str, &str, bool); 4] = [
    ("rm .rollback/audit/000001.jsonl", "has gone", true),
    (
        "cp .rollback/audit/000001.jsonl copy && mv copy .rollback/audit/000001.jsonl",
        "was replaced",
        true,
    ),
    (": > .rollback/audit/000001.jsonl", "was changed", false),
    ("echo '{}' >> .rollback/audit/000001.jsonl", "was changed", true),
];

#[track_caller]
fn assert_refused_after_the_first(sandbox: &Sandbox, said: &str, kept: bool) {
    assert!(!sandbox.exists("reports"), "the first removal was before it");
    assert!(
        sandbox.exists("drafts/q3.txt"),
        "the second one happened without a record"
    );
    let history = sandbox.json(&["history"]);
    let run = history["runs"][0]["run"].as_str().unwrap();
    let report = sandbox.json(&["show", run]);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains(said) && warnings.contains(".kept-"),
        "{warnings}"
    );
    assert_eq!(
        (&report["exit_code"], &report["outcome"]),
        (&8.into(), &"refused".into())
    );
    let removals: Vec<&Value> = report["operations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|operation| operation["op"] == "remove_path")
        .map(|operation| &operation["outcome"])
        .collect();
    assert_eq!(removals, ["done", "denied"]);
    let (code, told) = verify(sandbox);
    assert_eq!(code, Some(8), "{told}");
    sandbox.run(&["undo", "--yes"]).assert_code(8);
    let file = sandbox.path(&format!(".rollback/audit/000001.kept-{run}.jsonl"));
    if !kept {
        assert!(file.exists());
        return;
    }
    // With what the run kept in its place the log is whole, and the run can be taken back.
    std::fs::rename(file, sandbox.path(LOG)).unwrap();
    let (code, told) = verify(sandbox);
    assert_eq!((code, kinds(&told)), (Some(0), vec![]), "{told}");
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("reports/q1.txt"), "first");
}

#[test]
fn a_command_that_tampers_with_the_log_ends_the_run_before_its_next_removal() {
    for (way, said, kept) in WAYS {
        // A command that calls itself in the background acts after its own outcome was recorded, or before: both count.
        let sandbox = workspace(&format!(
            "    remove_path(\"reports\");\n    run_command([\"sh\", \"-c\", `{way}`]);\n    remove_path(\"drafts\");"
        ));
        let refused = sandbox.run(&["run", "9.1", "--force"]).assert_code(8);
        assert!(
            refused.stderr.contains(said) || refused.stdout.contains(said),
            "{}",
            refused.transcript()
        );
        assert_refused_after_the_first(&sandbox, said, kept);
    }
}

#[test]
fn a_log_that_somebody_touches_while_a_person_is_asked_ends_the_run() {
    for (way, said, kept) in WAYS {
        let sandbox = workspace(REMOVE_BOTH);
        let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
        person
            .sees("Roll back 9.1? [y/N] ")
            .types("y\n")
            .sees("reports` (1 file, 5 B)? [y/N] ")
            .types("y\n")
            .sees("drafts` (1 file, 5 B)? [y/N] ");
        let done = Command::new("sh")
            .args(["-c", way])
            .current_dir(sandbox.root())
            .status_in_time()
            .unwrap();
        assert!(done.success());
        person.types("y\n");
        let screen = person.leaves_with(8);
        assert!(screen.contains(said), "{screen}");
        assert_refused_after_the_first(&sandbox, said, kept);
    }
}

#[test]
fn a_log_that_is_tampered_with_during_the_last_operation_is_said_as_well() {
    let sandbox = workspace("    run_command([\"sh\", \"-c\", \"rm .rollback/audit/000001.jsonl\"]);");
    let finished = sandbox.run(&["run", "9.1", "--force", "--json"]).assert_code(8);
    assert!(
        finished.json()["warnings"].to_string().contains("has gone"),
        "{}",
        finished.transcript()
    );
    assert_eq!(verify(&sandbox).0, Some(8));
}

#[test]
fn where_the_log_cannot_be_written_nothing_happens() {
    let sandbox = workspace(REMOVE_BOTH);
    sandbox.write(".rollback/audit", "in the way");
    let before = sandbox.snapshot(&[".rollback/lock"]);
    let refused = sandbox.run(&["run", "9.1", "--yes"]);
    assert!(
        matches!(refused.code, Some(1 | 3 | 8)),
        "{}",
        refused.transcript()
    );
    let mut differences = Snapshot::diff(&before, &sandbox.snapshot(&[".rollback/lock"]));
    differences.retain(|line| !line.contains(".rollback"));
    assert_eq!(differences, [] as [&str; 0]);

    let sandbox = rolled_back();
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let mode = |mode: u32| {
        for path in [".rollback/audit", LOG, HEAD] {
            let extra = if path == ".rollback/audit" { 0o100 } else { 0 };
            std::fs::set_permissions(sandbox.path(path), PermissionsExt::from_mode(mode | extra)).unwrap();
        }
    };
    mode(0o400);
    // The administrator may write what is read-only, unless that right is taken away.
    let privileged = std::fs::OpenOptions::new()
        .append(true)
        .open(sandbox.path(LOG))
        .is_ok();
    let plain = sandbox.command(&["run", "9.1", "--yes"]);
    let mut command = Command::new(if privileged {
        "setpriv".as_ref()
    } else {
        plain.get_program()
    });
    if privileged {
        if !installed("setpriv") {
            return mode(0o600);
        }
        command
            .args(["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"])
            .arg(plain.get_program());
    }
    let output = command
        .args(plain.get_args())
        .current_dir(sandbox.root())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output_in_time()
        .unwrap();
    mode(0o600);
    let said = String::from_utf8_lossy(&output.stderr);
    // Known in the preview.
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("audit") && said.contains("nothing was changed"),
        "{said}"
    );
    assert!(sandbox.exists("reports/q1.txt") && sandbox.exists("drafts/q3.txt"));
}

fn installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\" > /dev/null", "sh", program])
        .status_in_time();
    let there = found.is_ok_and(|status| status.success());
    if !there {
        skipped(&format!("`{program}` is not installed"));
    }
    there
}

/// The body of a script that removes `old/0`, `old/1`, ...
fn removals_of_old(count: u32) -> String {
    let lines: Vec<String> = (0..count)
        .map(|n| format!("    remove_path(\"old/{n}\");\n"))
        .collect();
    lines.concat()
}

#[test]
fn a_file_system_that_takes_no_more_ends_the_run_with_everything_done_on_record() {
    if !installed("prlimit") {
        return;
    }
    let many = removals_of_old(40);
    let template = workspace(REMOVE_BOTH);
    template.write(
        "rollback/old.rhai",
        format!("const STORY = #{{ id: \"9.2\", title: \"Old\" }};\n\nfn execute() {{\n{many}}}\n"),
    );
    for n in 0..40 {
        template.write(&format!("old/{n}"), "old");
    }
    template.run(&["run", "9.2", "--yes"]).assert_code(0);
    let length = template.read(LOG).len();
    let mut outcomes = BTreeSet::new();
    for room in (0..3600).step_by(240) {
        let sandbox = Sandbox::empty();
        let copied = Command::new("cp")
            .args(["-a", "--"])
            .arg(template.path("."))
            .arg(sandbox.root())
            .status_in_time()
            .unwrap();
        assert!(copied.success());
        // No file may grow beyond the log's length and so much; the signal that would end the program is ignored.
        let plain = sandbox.command(&["run", "9.1", "--yes"]);
        let mut limited = sandbox.command(&[]);
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\" \"$@\""])
            .arg((length + room).to_string())
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(sandbox.root())
            .envs(
                limited
                    .env_remove("none")
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        let output = command.output_in_time().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = sandbox.read(LOG);
        for path in ["reports", "drafts"] {
            let begun = log.lines().any(|line| {
                line.contains("\"operation_begun\"") && line.contains(&format!("\"target\":\"{path}\""))
            });
            assert!(
                begun || sandbox.exists(path),
                "{room}: `{path}` went without a record: {said}"
            );
        }
        assert!(log.ends_with('\n'), "{room}: half a record was left");
        outcomes.insert(output.status.code());
        let (code, told) = verify(&sandbox);
        assert_eq!(code, Some(0), "{room}: {told}");
        if output.status.code() != Some(0) {
            assert!(said.contains("cannot write"), "{room}: {said}");
            if sandbox.exists(".rollback/active") {
                sandbox.run(&["recover", "--yes"]).assert_code(0);
                assert_eq!(sandbox.read("reports/q1.txt"), "first", "{room}");
                assert_eq!(sandbox.read("drafts/q3.txt"), "third", "{room}");
            }
        }
    }
    assert!(outcomes.contains(&Some(1)), "{outcomes:?}");
}

#[test]
fn each_operation_costs_one_sync_of_the_log() {
    if !installed("strace") {
        return;
    }
    let removals = removals_of_old(20);
    let sandbox = workspace(&removals);
    for n in 0..20 {
        sandbox.write(&format!("old/{n}"), "old");
    }
    let trace = sandbox.home().join("trace");
    let plain = sandbox.command(&["run", "9.1", "--yes"]);
    let mut traced = Command::new("strace");
    traced
        .args([
            "-f",
            "-y",
            "-e",
            "trace=fsync,fdatasync,sync,syncfs,sync_file_range",
            "-o",
        ])
        .arg(&trace)
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(sandbox.root())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = traced.output_in_time().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let calls = std::fs::read_to_string(&trace).unwrap_or_default();
    if said.contains("ptrace") || calls.is_empty() {
        return skipped(&format!("nothing can be traced here: {said}"));
    }
    assert!(output.status.success(), "{said}");
    let on_log = calls.lines().filter(|line| line.contains(LOG)).count();
    let others = calls.lines().filter(|line| line.contains("sync(")).count() - on_log;
    let log = sandbox.read(LOG);
    let count = |event: &str| log.matches(&format!("\"event\":\"{event}\"")).count();
    let operations = count("operation_begun");
    // What is synced beside the intents: the start, the answer, the end.
    let around = count("run_started") + count("question_answered") + count("run_finished");
    println!(
        "{operations} operations: {on_log} syncs of the log ({around} around them), {others} of other files"
    );
    assert!(operations >= 20);
    assert_eq!(on_log, operations + around, "{calls}");
    // Each removal is a rename out of a directory into one that was made for it: those three directories.
    let of_removals = calls
        .lines()
        .filter(|line| line.contains("/removed/") || line.contains("/removed>") || line.contains("/old>"))
        .count();
    assert_eq!(of_removals, 20 * 3, "{calls}");
    // The rest is for the run, however much it does.
    assert!(others - of_removals <= 40, "{others} - {of_removals}: {calls}");
}

/// Every file below a directory that holds a text.
fn holding(root: &Path, text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.insert(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
    }
    found
}

#[test]
fn a_secret_of_the_environment_file_gets_nowhere() {
    const SECRET: &str = "zebra-crossing-at-midnight";
    // The script was given it, and says it wherever a script can say something.
    let script = r#"    let secret = param("password", "none");
    note("it is " + secret);
    warn("mind " + secret);
    notify("sent " + secret);
    check("checked " + secret, || false);
    confirm("is it " + secret + "?");
    ask("which?", secret);
    step("step " + secret, || { remove_path("reports"); remove_path("nothing/" + secret); });
    run_command(["sh", "-c", "echo $0; echo $0 >&2", secret]);
    run_command(["sh", "-c", "true", secret], #{ undo: ["sh", "-c", "true", "--password", secret] });
    try { run_command(["sh", "-c", "echo $0 >&2; exit 3", secret]); } catch { }
    try { retire_dir("no/such/" + secret, "reports"); } catch { }
    keep_path("drafts", "because of " + secret);
    fail("failed: " + secret);"#;
    let sandbox = workspace(script);
    sandbox.write(".env", format!("DB_PASSWORD={SECRET}\n"));
    let before = holding(&sandbox.root(), SECRET);
    assert_eq!(before.into_iter().collect::<Vec<_>>(), [".env"]);
    let reason = format!("because {SECRET}");
    let param = format!("password={SECRET}");
    let commands: [&[&str]; 6] = [
        &["run", "9.1", "-n", "--param", &param],
        &["run", "9.1", "-n", "--json", "--param", &param],
        &["plan", "9.1", "-o", "plan.json"],
        &["run", "9.1", "--force", "--reason", &reason, "--param", &param],
        &["history"],
        &["audit", "show"],
    ];
    for arguments in commands {
        let finished = sandbox.run(arguments);
        for stream in [&finished.stdout, &finished.stderr] {
            assert!(!stream.contains(SECRET), "{}", finished.transcript());
        }
    }
    assert!(
        sandbox.read(LOG).contains("operation_begun"),
        "the run did nothing"
    );
    sandbox.run(&["audit", "verify"]).assert_code(0);
    for path in holding(&sandbox.root(), SECRET) {
        let mode = sandbox.path(&path).metadata().unwrap().permissions().mode();
        // What a run removed or edited is kept for its undo, in a directory that only its owner can enter.
        let private = path.starts_with(".rollback/runs/");
        assert!(
            path == ".env" || (private && mode.trailing_zeros() >= 6),
            "{path} holds the secret"
        );
    }
}

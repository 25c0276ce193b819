//! Runs that a signal stops, and runs that are cut off: what was done is known, and can be taken back.

use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::faults::cutter::{Effect, trace};
use crate::prompts::{RECORDS, assert_as_before};
use crate::sandbox::{Finished, Sandbox, Snapshot, assert_unchanged, ended, output_of};
use crate::skipped::skipped;

/// A run that has removed `first` and now waits in a command, with `last` still to be removed.
struct AtWork {
    child: Child,
    /// Ends the command when it is closed, even one that has outlived the run.
    _hold: File,
}

impl AtWork {
    /// Starts it and waits until the command has begun.
    fn in_workspace(sandbox: &Sandbox) -> Self {
        let (begun, hold) = (pipe(sandbox, "begun"), pipe(sandbox, "hold"));
        sandbox
            .write("rollback.yaml", "policy: { commands: [sh] }\n")
            .write(
                "rollback/cut.rhai",
                format!(
                    r#"const STORY = #{{ id: "9.1", title: "Cut" }};

fn execute() {{
    remove_path("first");
    run_command(["sh", "-c", "exec < {hold}; echo begun > {begun}; read line"]);
    remove_path("last");
}}
"#,
                    begun = begun.display(),
                    hold = hold.display()
                ),
            );
        // Open at both ends, so that nobody waits for us; the command waits for a line that never comes.
        let open =
            |path, flags| File::from(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap());
        let hold = open(&hold, OFlags::RDWR);
        let signs = open(&begun, OFlags::RDONLY | OFlags::NONBLOCK);
        let child = sandbox
            .command(&["run", "9.1", "--yes", "--reason", "an exercise"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let patience = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let count = poll(&mut [PollFd::new(&signs, PollFlags::IN)], Some(&patience)).unwrap();
        let at_work = Self { child, _hold: hold };
        assert_eq!(count, 1, "the command never began: {:?}", at_work.child);
        at_work
    }

    /// Sends a signal to the run and waits for its end.
    fn signalled(mut self, signal: Signal) -> Ended {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let output = output_of(&mut self.child);
        Ended {
            code: output.status.code(),
            said: String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ended {
    code: Option<i32>,
    said: String,
}

/// A named pipe in the workspace: a command can write nowhere else.
fn pipe(sandbox: &Sandbox, name: &str) -> PathBuf {
    let path = sandbox.path(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// Fails unless the workspace is as it was before [`AtWork`], but for the records.
#[track_caller]
fn assert_taken_back(before: &Snapshot, sandbox: &Sandbox) {
    for own in ["rollback.yaml", "rollback", "begun", "hold"] {
        sandbox.remove(own);
    }
    assert_as_before(before, sandbox, &[]);
}

#[test]
fn a_signal_closes_the_run_as_interrupted_and_undo_takes_it_back() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let sandbox = Sandbox::empty();
        sandbox.write("first/data", "1").write("last/data", "2");
        let before = sandbox.snapshot(RECORDS);
        let at_work = AtWork::in_workspace(&sandbox);
        assert!(!sandbox.exists("first"));
        let ended = at_work.signalled(signal);
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert!(ended.said.contains("rollback undo "), "{}", ended.said);
        assert!(sandbox.exists("last/data"), "the run went on after the signal");

        let runs = &sandbox.json(&["history"])["runs"];
        assert_eq!(runs.as_array().unwrap().len(), 1);
        assert_eq!(runs[0]["outcome"], "interrupted");
        assert_eq!(
            sandbox.json(&["show", runs[0]["run"].as_str().unwrap()])["exit_code"],
            code
        );
        assert_eq!(sandbox.json(&["status"])["unfinished_run"], Value::Null);
        sandbox.run(&["audit", "verify"]).assert_code(0);

        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert_taken_back(&before, &sandbox);
    }
}

/// A workspace in which a run was killed in the middle, and how it was before.
fn cut_off() -> (Sandbox, Snapshot) {
    let sandbox = Sandbox::empty();
    sandbox.write("first/data", "1").write("last/data", "2");
    let before = sandbox.snapshot(RECORDS);
    let at_work = AtWork::in_workspace(&sandbox);
    let ended = at_work.signalled(Signal::KILL);
    assert_eq!(ended.code, None, "{}", ended.said);
    assert!(!sandbox.exists("first") && sandbox.exists("last"));
    (sandbox, before)
}

#[test]
fn after_a_cut_whatever_changes_something_says_9_and_changes_nothing() {
    let (sandbox, _) = cut_off();
    sandbox.write(
        "config/feature-flags.yaml",
        "features: { alpha: { enabled: true } }\n",
    );
    let after = sandbox.snapshot(&[]);
    let changing: [&[&str]; 4] = [
        &["run", "9.1", "--yes"],
        &["run", "1.3", "--force"],
        &["undo", "--yes"],
        &["feature", "disable", "alpha"],
    ];
    for arguments in changing {
        let finished = sandbox.run(arguments).assert_code(9);
        assert!(
            finished.stderr.contains("rollback recover"),
            "{}",
            finished.transcript()
        );
    }
    assert_unchanged(&after, &sandbox.snapshot(&[]));
}

#[test]
fn after_a_cut_commands_that_look_warn_and_go_on() {
    let (sandbox, _) = cut_off();
    let after = sandbox.snapshot(&[]);
    for arguments in [&["status"] as &[&str], &["history"], &["validate", "1.3"]] {
        let finished: Finished = sandbox.run(arguments);
        assert!(matches!(finished.code, Some(0 | 1)), "{}", finished.transcript());
        assert!(
            finished.stderr.contains("was cut off") && finished.stderr.contains("rollback recover"),
            "{}",
            finished.transcript()
        );
    }
    assert!(sandbox.json(&["status"])["unfinished_run"].is_string());
    assert_unchanged(&after, &sandbox.snapshot(&[]));
}

#[test]
fn recover_settles_the_cut_and_takes_everything_back() {
    let (sandbox, before) = cut_off();
    let after = sandbox.snapshot(&[]);
    sandbox.run(&["recover", "-n"]).assert_code(0);
    assert_unchanged(&after, &sandbox.snapshot(&[]));

    sandbox.run(&["recover", "--yes"]).assert_code(0);
    assert_taken_back(&before, &sandbox);
    sandbox.run(&["audit", "verify"]).assert_code(0);
    let runs = sandbox.json(&["history"])["runs"].clone();
    assert_eq!(runs[0]["outcome"], "interrupted");
    assert_eq!(runs[0]["undone_by"], runs[1]["run"], "{runs}");
    assert_eq!(sandbox.json(&["status"])["unfinished_run"], Value::Null);
}

#[test]
fn recover_names_originals_that_lie_out_of_their_place_and_leaves_what_it_can_not_place() {
    let fresh = || {
        let sandbox = Sandbox::empty();
        sandbox.write("data/first/file", "1").write(
            "rollback/cut.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Cut\" };\nfn execute() { remove_path(\"data/first\"); }\n",
        );
        sandbox
    };
    let run = ["run", "9.1", "--yes"];
    let whole = match trace(&fresh().command(&run), None) {
        Ok(whole) => whole,
        Err(why) => return skipped(&why),
    };
    let sandbox = fresh();
    let is_move = |effect: &Effect| effect.call == "renameat2" && effect.about.ends_with("first");
    let point = whole.effects.iter().position(is_move).unwrap() + 1;
    assert!(trace(&sandbox.command(&run), Some(point)).unwrap().cut);
    let mark: Value = serde_json::from_str(&sandbox.read(".rollback/active")).unwrap();
    let aside = format!("data/.rollback-{}-7.aside", mark["pid"]);
    sandbox.write(&format!("{aside}/file"), "whose?");
    let fate = format!("`{aside}`, an original that was taken out of the way of `data/first`, stays");
    for words in [["recover", "-n", "--json"], ["recover", "--yes", "--json"]] {
        let report = sandbox.run(&words).assert_code(0).json();
        assert!(
            report["warnings"][0].as_str().unwrap().starts_with(&fate),
            "{report:#}"
        );
        assert_eq!(sandbox.read(&format!("{aside}/file")), "whose?");
    }
    assert_eq!(sandbox.read("data/first/file"), "1");
    let log = sandbox.read(".rollback/audit/000001.jsonl");
    let recorded = log.lines().find(|line| line.contains("\"recovered\"")).unwrap();
    assert!(recorded.contains(&aside), "{recorded}");
}

#[test]
fn recover_leaves_what_somebody_else_put_where_the_cut_move_was_to_go() {
    let fresh = || {
        let sandbox = Sandbox::empty();
        sandbox.write("theirs", "older than the run").write("first", "1").write(
            "rollback/cut.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Cut\" };\nfn execute() { move_path(\"first\", \"second\"); }\n",
        );
        sandbox
    };
    let run = ["run", "9.1", "--yes"];
    let whole = match trace(&fresh().command(&run), None) {
        Ok(whole) => whole,
        Err(why) => return skipped(&why),
    };
    let sandbox = fresh();
    let is_move = |effect: &Effect| effect.call == "renameat2" && effect.about.ends_with("second");
    let point = whole.effects.iter().position(is_move).unwrap() + 1;
    assert!(trace(&sandbox.command(&run), Some(point)).unwrap().cut);
    // Only a copy of ours would be younger than the run.
    std::fs::rename(sandbox.path("theirs"), sandbox.path("second")).unwrap();
    sandbox.run(&["recover", "--yes"]);
    assert_eq!(sandbox.read("second"), "older than the run");
    assert_eq!(sandbox.read("first"), "1");
}

#[test]
fn recover_without_anybody_to_ask_settles_only_the_record() {
    let (sandbox, before) = cut_off();
    sandbox.run(&["recover"]).assert_code(5);
    assert!(!sandbox.exists("first") && sandbox.exists("last"));
    // Half done is half done, until somebody says what is to become of it.
    assert!(sandbox.json(&["status"])["unfinished_run"].is_string());
    sandbox.run(&["undo", "--yes"]).assert_code(9);
    sandbox.run(&["recover", "--yes"]).assert_code(0);
    assert_taken_back(&before, &sandbox);
    sandbox.run(&["audit", "verify"]).assert_code(0);
}

#[test]
fn recover_can_go_on_instead() {
    let (sandbox, _) = cut_off();
    // The command that held the first run up has gone with it.
    let script = sandbox.read("rollback/cut.rhai");
    let shorter: Vec<&str> = script
        .lines()
        .filter(|line| !line.contains("run_command"))
        .collect();
    sandbox.write("rollback/cut.rhai", shorter.join("\n"));
    sandbox.run(&["recover", "--resume", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("first") && !sandbox.exists("last"));
    let runs = sandbox.json(&["history"])["runs"].clone();
    assert_eq!(runs[0]["outcome"], "interrupted");
    assert_eq!(runs[1]["outcome"], "done");
}

#[test]
fn recover_without_a_cut_is_a_usage_error() {
    let sandbox = Sandbox::empty();
    let before = sandbox.snapshot(&[]);
    let finished = sandbox.run(&["recover", "--yes"]).assert_code(2);
    assert!(
        finished.stderr.contains("no run was cut off"),
        "{}",
        finished.transcript()
    );
    assert_unchanged(&before, &sandbox.snapshot(&[]));
}

#[test]
fn a_signal_in_the_preview_changes_nothing() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sandbox = Sandbox::empty();
        sandbox
            .write(
                "rollback.yaml",
                "policy: { limits: { operations: 1000000000000 } }\n",
            )
            .write(
                "rollback/endless.rhai",
                format!(
                    "const STORY = #{{ id: \"9.1\", title: \"Endless\" }};\n\nfn execute() {{\n    \
                     http_check(\"http://{address}/\", #{{ timeout: \"60s\" }});\n    let count = 0;\n    \
                     loop {{ count += 1; }}\n}}\n"
                ),
            );
        let before = sandbox.snapshot(&[]);
        let mut child = sandbox
            .command(&["run", "9.1", "--yes"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The script asks us: the preview is at work.
        let (mut asked, _) = listener.accept().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        asked
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        drop(asked);
        assert_eq!(ended(&mut child).code(), Some(code));
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

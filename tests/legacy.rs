//! What the shell and Node procedures did wrong, row by row of the findings: each test shows the opposite. Rows that
//! concern one subject stand together.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use serde_json::Value;

use rollback_manager::demo::Options;

use crate::sandbox::{InTime as _, Sandbox, ended};

/// Rows 14 to 18, 22, 31: what is removed, and what is kept of it.
mod files;

/// Rows 23 to 26: the feature flags.
mod flags;

/// Rows 12, 13, 21: packages, and modules that others need.
mod packages;

/// Rows 6 to 11: processes and containers.
mod processes;

/// Rows 1 to 5, 19, 20, 27 to 30: the run as a whole.
mod runs;

/// Every story deployed, without packages. The container engine is one that is not there: no test reaches the
/// machine's own.
fn deployed() -> Sandbox {
    without_engine(Sandbox::deployed(Options {
        venv: false,
        npm: false,
    }))
}

fn without_engine(sandbox: Sandbox) -> Sandbox {
    sandbox.write("rollback.yaml", "docker: /nowhere/docker\n");
    sandbox
}

/// Adds a story of the workspace's own.
fn add_story(sandbox: &Sandbox, id: &str, header: &str, functions: &str) {
    sandbox.write(
        &format!("rollback/{id}.rhai"),
        format!(
            "const STORY = #{{ id: \"{id}\", title: \"A story of the test\", {header} }};\n{functions}\n"
        ),
    );
}

/// An executable script outside the workspace, in a directory that may stand in `PATH`.
fn add_program(sandbox: &Sandbox, name: &str, lines: &str) -> PathBuf {
    let directory = sandbox.home().join("bin");
    std::fs::create_dir_all(&directory).unwrap();
    let program = directory.join(name);
    std::fs::write(&program, format!("#!/bin/sh\n{lines}\n")).unwrap();
    for path in [&directory, &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

/// `PATH` with the directory of [`add_program`] first.
fn path_with_programs(sandbox: &Sandbox) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let entries = std::iter::once(sandbox.home().join("bin")).chain(std::env::split_paths(&rest));
    std::env::join_paths(entries).unwrap()
}

/// Runs a command to its end and wants this exit code.
#[track_caller]
fn finish(command: &mut Command, code: i32) -> Output {
    let output = command.output_in_time().unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}\n--- stdout\n{}\n--- stderr\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The report of a run with `--json` that ends with this exit code.
#[track_caller]
fn report(sandbox: &Sandbox, arguments: &[&str], code: i32) -> Value {
    sandbox
        .run(&[arguments, &["--json"]].concat())
        .assert_code(code)
        .json()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The operations of a report with this word and outcome, in order.
fn operations<'a>(report: &'a Value, word: &str, outcome: &str) -> Vec<&'a Value> {
    report["operations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|operation| text(operation, "op") == word && text(operation, "outcome") == outcome)
        .collect()
}

/// Their targets.
fn targets<'a>(report: &'a Value, word: &str, outcome: &str) -> Vec<&'a str> {
    operations(report, word, outcome)
        .into_iter()
        .map(|operation| text(operation, "target"))
        .collect()
}

/// The checks of a report that did not pass, a line each; without those that rest on an engine or an environment of Python
/// that the sandbox does not have.
fn failed_checks(report: &Value) -> String {
    let mut lines = String::new();
    for check in report["checks"].as_array().unwrap() {
        if check["passed"] != true && !crate::sandbox::rests_on_what_is_not_there(check) {
            writeln!(
                lines,
                "{}: {} ({})",
                text(check, "story"),
                text(check, "title"),
                check["detail"]
            )
            .unwrap();
        }
    }
    lines
}

/// Every file below a directory, links not followed, sorted.
fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut files, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A run that stands still in the middle: `precious.txt` is removed, its feature is off, and a command waits.
struct Halted {
    run: Child,
    /// As long as this is open, the command waits.
    gate: Option<File>,
}

impl Halted {
    /// Starts `rollback run 9.9` in a workspace with all stories, and waits until it stands still.
    fn start(sandbox: &Sandbox) -> Self {
        sandbox.write("precious.txt", "precious\n").write(
            "rollback.yaml",
            "docker: /nowhere/docker\npolicy:\n  commands: [cat]\n",
        );
        add_story(
            sandbox,
            "9.9",
            "feature: \"qa_framework\"",
            "fn execute() { remove_path(\"precious.txt\"); run_command([\"cat\", \"gate\"]); }",
        );
        let gate = sandbox.path("gate");
        rustix::fs::mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut run = sandbox
            .command(&["run", "9.9", "-y"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A pipe that nobody reads can't be opened for writing: when it can, the command is there.
        loop {
            if let Ok(gate) = rustix::fs::open(&gate, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
                return Self {
                    run,
                    gate: Some(gate.into()),
                };
            }
            assert_eq!(run.try_wait().unwrap(), None, "the run ended before its command");
            std::thread::yield_now();
        }
    }

    /// Ends the run as a crash or a power cut does.
    fn cut_off(mut self) {
        self.run.kill().unwrap();
        ended(&mut self.run);
    }

    /// Lets it go on, and gives its exit code.
    fn let_go(mut self) -> Option<i32> {
        drop(self.gate.take());
        ended(&mut self.run).code()
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        drop(self.gate.take());
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

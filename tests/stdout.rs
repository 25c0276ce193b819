//! What can't be written to standard output is exit 1 and told; a reader that has seen enough is no failure of a command
//! that only shows something. Every command is walked: a new one needs a row here.

use std::fs::File;
use std::process::Stdio;

use clap::CommandFactory as _;
use rollback_manager::cli::Cli;

use super::sandbox::{Finished, Sandbox, output_of};

/// What a command does with the world, and how it ends where its output can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only shows something.
    Data(i32),
    /// It changes something.
    Changes(i32),
}

use Kind::{Changes, Data};

/// A row for each command, in an order in which each finds what it needs.
const ROWS: &[(&str, &str, Kind)] = &[
    ("init", "init ../made", Changes(0)),
    ("demo", "demo . --json", Changes(1)),
    ("status", "status", Data(0)),
    ("status", "status --json", Data(0)),
    ("validate", "validate 1.9", Data(0)),
    ("plan", "plan 1.9", Data(0)),
    ("plan", "plan 1.9 --json -o ../plan.json", Data(0)),
    ("apply", "apply ../plan.json -n", Data(0)),
    ("apply", "apply ../plan.json -y", Changes(0)),
    ("history", "history", Data(0)),
    ("undo", "undo -n", Data(0)),
    ("undo", "undo -y", Changes(0)),
    ("run", "run 1.9 -n", Data(0)),
    ("run", "run 1.9 -y", Changes(0)),
    ("show", "show RUN", Data(0)),
    ("report", "report RUN", Data(0)),
    ("report", "report RUN --format html", Data(0)),
    ("recover", "recover -y --json", Changes(2)),
    ("feature list", "feature list", Data(0)),
    ("feature check", "feature check one", Data(0)),
    ("feature disable", "feature disable one", Changes(0)),
    ("feature enable", "feature enable one", Changes(0)),
    ("audit show", "audit show", Data(0)),
    ("audit verify", "audit verify", Data(0)),
    ("audit export", "audit export", Data(0)),
    ("audit export", "audit export --format csv", Data(0)),
    ("backup create", "backup create config --json", Changes(0)),
    ("backup list", "backup list", Data(0)),
    ("backup show", "backup show BACKUP", Data(0)),
    ("backup verify", "backup verify BACKUP -n", Data(0)),
    ("backup verify", "backup verify BACKUP", Changes(0)),
    ("backup seal", "backup seal BACKUP --json", Changes(0)),
    (
        "backup restore",
        "backup restore BACKUP --to again -y",
        Changes(0),
    ),
    ("prune", "prune --keep-last 1 -n", Data(0)),
    ("prune", "prune --keep-last 1 -y", Changes(0)),
    ("alert list", "alert list", Data(0)),
    ("alert test", "alert test --json", Changes(2)),
    ("alert retry", "alert retry --json", Changes(0)),
    ("monitor", "monitor --once", Data(0)),
    ("script doc", "script doc", Data(0)),
    ("script doc", "script doc note", Data(0)),
    ("script list", "script list", Data(0)),
    ("script schema", "script schema", Data(0)),
    ("script new", "script new fresh", Changes(0)),
    ("script check", "script check rollback/test.rhai", Data(0)),
    ("script test", "script test rollback/test.rhai", Data(0)),
    ("doctor", "doctor", Data(0)),
    ("trust", "trust ..", Changes(0)),
    ("trust", "trust", Data(0)),
    ("completions", "completions bash", Data(0)),
    ("man", "man", Data(0)),
];

/// The name of each command, and how it can be given.
pub fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROWS.iter().map(|(command, row, _)| (*command, *row))
}

fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback.yaml", "version: 1\n")
        .write("data/one", "1")
        .write("src/one.js", "")
        .write("config/feature-flags.yaml", "features:\n  one:\n    enabled: true\n")
        .write(
            "rollback/test.rhai",
            "const STORY = #{ id: \"1.9\", title: \"Test\" };\nfn execute() {\n    retire_dir(\"data\", \"data\", #{ keep: [] });\n    remove_path(\"src/one.js\");\n}\nfn test_it() {}\n",
        );
    sandbox
}

/// The rows' words, with the names that only the workspace knows.
fn words(sandbox: &Sandbox, row: &str) -> Vec<String> {
    let name = |word: &str| match word {
        "RUN" => sandbox.json(&["history"])["runs"]
            .as_array()
            .and_then(|runs| runs.last())
            .and_then(|run| run["run"].as_str())
            .unwrap_or_else(|| panic!("`{row}` has no run"))
            .to_owned(),
        "BACKUP" => sandbox.json(&["backup", "list"])["backups"][0]["name"]
            .as_str()
            .unwrap_or_else(|| panic!("`{row}` has no backup"))
            .to_owned(),
        word => word.to_owned(),
    };
    row.split(' ').map(name).collect()
}

fn run(sandbox: &Sandbox, row: &str, stdout: Stdio) -> Finished {
    let words = words(sandbox, row);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = sandbox.command(&words);
    command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
    Finished::from(output_of(&mut command.spawn().unwrap()), &words)
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// The words of every command, groups included.
fn commands(command: &clap::Command, words: &[String], all: &mut Vec<Vec<String>>) {
    for sub in command.get_subcommands() {
        let words = [words, &[sub.get_name().to_owned()]].concat();
        all.push(words.clone());
        commands(sub, &words, all);
    }
}

fn is_told(finished: &Finished) -> bool {
    finished.stderr.contains("cannot write to standard output")
}

#[test]
fn failures_that_end_in_0_every_command_has_a_row() {
    let mut all = Vec::new();
    commands(&Cli::command(), &[], &mut all);
    for words in &all {
        let is_group = all
            .iter()
            .any(|other| other.len() > words.len() && other.starts_with(words));
        let name = words.join(" ");
        let rows = ROWS.iter().filter(|(command, ..)| *command == name).count();
        assert_eq!(rows == 0, is_group, "`{name}` has {rows} rows");
    }
}

#[test]
fn failures_that_end_in_0_every_command_to_a_full_device() {
    let sandbox = workspace();
    for (_, row, kind) in ROWS {
        let finished = run(&sandbox, row, full());
        let (Data(code) | Changes(code)) = *kind;
        assert_eq!(finished.code, Some(code.max(1)), "{}", finished.transcript());
        assert!(is_told(&finished), "{}", finished.transcript());
        assert_eq!(
            finished.stderr.contains("and that stands"),
            *kind == Changes(0),
            "{}",
            finished.transcript()
        );
    }
    assert!(!sandbox.exists("src/one.js") && sandbox.exists("again"));
}

#[test]
fn failures_that_end_in_0_every_command_to_a_reader_that_has_gone() {
    let sandbox = workspace();
    for (_, row, kind) in ROWS {
        let finished = run(&sandbox, row, closed());
        let expected = match *kind {
            Data(code) => code,
            Changes(code) => code.max(1),
        };
        assert_eq!(finished.code, Some(expected), "{}", finished.transcript());
        // What failed says so, whether or not it had come to the point of changing something.
        if expected != 2 {
            assert_eq!(
                is_told(&finished),
                matches!(kind, Changes(_)),
                "{}",
                finished.transcript()
            );
        }
    }
}

#[test]
fn failures_that_end_in_0_help_of_every_command_and_the_version() {
    let sandbox = Sandbox::empty();
    let mut all = vec![Vec::new()];
    commands(&Cli::command(), &[], &mut all);
    let pages = all
        .iter()
        .map(|words| [words.as_slice(), &["--help".to_owned()]].concat().join(" "));
    for page in pages.chain(["--version".to_owned()]) {
        let finished = run(&sandbox, &page, full());
        assert!(
            finished.code == Some(1) && is_told(&finished),
            "{}",
            finished.transcript()
        );
        let finished = run(&sandbox, &page, closed());
        assert!(
            finished.code == Some(0) && finished.stderr.is_empty(),
            "{}",
            finished.transcript()
        );
    }
}

#[test]
fn failures_that_end_in_0_a_descriptor_that_cannot_be_written() {
    let sandbox = Sandbox::empty();
    let finished = run(&sandbox, "status", File::open("/dev/null").unwrap().into());
    assert!(
        finished.code == Some(1) && is_told(&finished),
        "{}",
        finished.transcript()
    );
    let finished = run(&sandbox, "status --nothing --json", full());
    assert!(
        finished.code == Some(2) && is_told(&finished),
        "{}",
        finished.transcript()
    );
    // What went wrong is then told to people, who would not hear of it otherwise.
    let finished = run(&sandbox, "show nothing --json", full());
    assert!(finished.stderr.contains("`nothing`"), "{}", finished.transcript());
}

//! One cell: what the preview says of a word in a world, what happens then, and what comes back.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::sandbox::{Finished, Snapshot};
use crate::worlds::scene::Scene;
use crate::worlds::words::{Case, Kind};
use crate::worlds::world::{LONG_NAME, World, long_name};

/// What a run writes of itself, which an undo leaves.
const RECORDS: [&str; 4] = [
    ".rollback",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
];

/// Codes that promise that nothing was changed.
const UNCHANGED: [i32; 5] = [2, 3, 5, 6, 7];

/// What became of a cell.
pub enum Verdict {
    /// The preview was true; with the exit code of both.
    True(i32),
    /// What was not as it was said.
    False(Vec<String>),
    /// The world can't be made here.
    Skipped(String),
}

/// Tries a word in a world.
pub fn tried(world: &World, case: &'static Case, user: u32, binary: &Path) -> Verdict {
    let thing = if world.name == LONG_NAME {
        long_name(case.thing)
    } else {
        case.thing.to_owned()
    };
    let mut scene = Scene::new(case, user, binary, &thing);
    if let Err(why) = (world.build)(&mut scene) {
        return Verdict::Skipped(why);
    }
    let mut differences = Vec::new();
    let code = differs(&scene, &mut differences);
    if differences.is_empty() {
        Verdict::True(code)
    } else {
        Verdict::False(differences)
    }
}

/// Gives the exit code of the preview, and adds what is wrong.
fn differs(scene: &Scene, wrong: &mut Vec<String>) -> i32 {
    let (before, processes) = (scene.snapshot(), scene.processes());
    let options = scene.case.options;
    let dry = scene.run(&[&["run", "9.1", "-n", "--json"], options].concat());
    compare(wrong, "the dry run", Snapshot::diff(&before, &scene.snapshot()));
    if scene.processes() != processes {
        wrong.push("the dry run ended a process".to_owned());
    }
    let plan = serde_json::from_str(&dry.stdout).unwrap_or(Value::Null);
    let confirmed = plan["plan"].as_str().filter(|_| dry.code == Some(0));
    let approval = confirmed.map_or(vec!["-y"], |id| vec!["--confirm", id]);
    let real = scene.run(&[&["run", "9.1", "--json"], &approval[..], options].concat());
    let done = serde_json::from_str(&real.stdout).unwrap_or(Value::Null);
    if real.code == dry.code {
        let (planned, acted) = (outcomes(&plan), outcomes(&done));
        let only = |these: &[String], others: &[String], place: &str| -> Vec<String> {
            let lines = these.iter().filter(|line| !others.contains(line));
            lines.map(|line| format!("only in the {place}: {line}")).collect()
        };
        wrong.extend(only(&planned, &acted, "preview"));
        wrong.extend(only(&acted, &planned, "run"));
    } else {
        wrong.push(format!(
            "the preview ends with {}, the run with {}: {}",
            code(&dry),
            code(&real),
            last_words(scene, &real, &done)
        ));
    }
    let after = scene.snapshot();
    // The mark of the run's own directory is the only one that may be there.
    let changes = besides(
        Snapshot::diff(&before.without(&[".rollback"]), &after.without(&[".rollback"])),
        &["changed .: time"],
    );
    if real.code.is_some_and(|code| UNCHANGED.contains(&code)) || dry.code != Some(0) {
        compare(wrong, &format!("exit {}", code(&real)), changes.clone());
        if scene.processes() != processes {
            wrong.push(format!("exit {} ended a process", code(&real)));
        }
    }
    if real.stderr.contains("nothing was changed") && changes.iter().any(|line| !of_records(line)) {
        wrong.push(format!(
            "`nothing was changed` is said, and: {}",
            changes.join("; ")
        ));
    }
    if real.code == Some(0) && scene.case.kind == Kind::Process {
        let expected = outcomes(&done)
            .iter()
            .any(|line| line.starts_with(scene.case.word) && line.ends_with(": done"));
        if let (Some(true), true) = (scene.processes().0, expected) {
            wrong.push("the process still runs".to_owned());
        }
    }
    left_over(scene, wrong);
    let is_exact = |operation: &Value| operation["outcome"] != "done" || operation["undo"] == "exact";
    let exact = done["operations"].as_array().into_iter().flatten().all(is_exact);
    if exact && matches!(real.code, Some(0 | 1)) && scene.sandbox.exists(".rollback/audit") {
        taken_back(
            scene,
            &before,
            !changes.iter().all(|line| of_records(line)),
            wrong,
        );
    }
    dry.code.unwrap_or(-1)
}

fn taken_back(scene: &Scene, before: &Snapshot, is_changed: bool, wrong: &mut Vec<String>) {
    let seen = scene.run(&["undo", "-n", "--json"]);
    let undo = scene.run(&["undo", "-y", "--json"]);
    if seen.code != undo.code {
        let told = serde_json::from_str(&undo.stdout).unwrap_or(Value::Null);
        wrong.push(format!(
            "the preview of the undo ends with {}, the undo with {}: {}",
            code(&seen),
            code(&undo),
            last_words(scene, &undo, &told)
        ));
    }
    if undo.code != Some(0) && is_changed {
        let told = serde_json::from_str(&undo.stdout).unwrap_or(Value::Null);
        wrong.push(format!(
            "undo ends with {}: {}",
            code(&undo),
            last_words(scene, &undo, &told)
        ));
    }
    let after = scene.snapshot();
    let left = Snapshot::diff(&before.without(&RECORDS), &after.without(&RECORDS));
    let own = [
        "changed .: time",
        "changed logs: time",
        "changed docs: time",
        "added logs",
        "added rollback_backups",
        "changed rollback_backups: time",
        "added docs",
    ];
    let mut left = besides(left, &own);
    left.retain(|line| !is_time_of_others(scene, line));
    compare(wrong, "undo", left);
    left_over(scene, wrong);
}

/// Nobody can set the time of a directory of another user.
fn is_time_of_others(scene: &Scene, line: &str) -> bool {
    let path = line
        .strip_prefix("changed ")
        .and_then(|rest| rest.strip_suffix(": time"));
    path.is_some_and(|path| {
        let owner = scene.sandbox.path(path).symlink_metadata().unwrap().uid();
        scene.user != 0 && owner != scene.user
    })
}

fn compare(wrong: &mut Vec<String>, what: &str, differences: Vec<String>) {
    if !differences.is_empty() {
        wrong.push(format!("{what} leaves: {}", differences.join("; ")));
    }
}

fn besides(mut differences: Vec<String>, own: &[&str]) -> Vec<String> {
    differences.retain(|line| !own.contains(&line.as_str()));
    differences
}

/// Whether a line of a difference is about what every run writes of itself.
fn of_records(line: &str) -> bool {
    let path = line.split_once(' ').unwrap().1;
    let path = path.split(": ").next().unwrap();
    path == "." || path == "logs" || RECORDS.iter().any(|record| Path::new(path).starts_with(record))
}

fn code(finished: &Finished) -> String {
    finished
        .code
        .map_or_else(|| "a signal".to_owned(), |code| code.to_string())
}

/// Why it ended as it did, in short.
fn last_words(scene: &Scene, finished: &Finished, report: &Value) -> String {
    let operations = report["operations"].as_array().into_iter().flatten();
    let failed = operations
        .filter(|operation| matches!(operation["outcome"].as_str(), Some("failed" | "denied")))
        .filter_map(|operation| operation["why"].as_str())
        .next_back();
    let message = report["message"].as_str();
    let last = finished
        .stderr
        .lines()
        .rev()
        .find(|line| line.starts_with("error"));
    let text = failed
        .or(message)
        .filter(|text| !text.is_empty())
        .or(last)
        .unwrap_or("")
        .to_owned();
    let root = scene.sandbox.root().display().to_string();
    text.replace(&root, "W").chars().take(200).collect()
}

/// What is to be done, or was, without times and with one word for both.
fn outcomes(report: &Value) -> Vec<String> {
    static STAMP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"_\d{8}_\d{6}(_\d+)?").unwrap());
    let operations = report["operations"].as_array().into_iter().flatten();
    let lines = operations.map(|operation| {
        let text = |key: &str| operation[key].as_str().unwrap_or_default().to_owned();
        let outcome = text("outcome").replace("planned", "done");
        let line = format!(
            "{} {}, {}, {}: {outcome}",
            text("op"),
            text("summary"),
            text("risk"),
            text("undo")
        );
        STAMP.replace_all(&line, "").into_owned()
    });
    lines.collect()
}

/// Names that only live during an operation.
fn left_over(scene: &Scene, wrong: &mut Vec<String>) {
    let mut open: Vec<PathBuf> = vec![scene.sandbox.root()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with(".rollback-") && name != ".rollback-manifest.jsonl" {
                let display = path.strip_prefix(scene.sandbox.root()).unwrap().display();
                wrong.push(format!("a temporary file is left: {display}"));
            } else if !path.is_symlink() && path.is_dir() {
                open.push(path);
            }
        }
    }
}

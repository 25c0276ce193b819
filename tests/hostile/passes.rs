//! Scripts that can tell the passes apart and behave differently in the real one: what was approved is done, or the run
//! stops. `tests/hostile/passes/` holds a script a file; the comment at its top says what it tries, which paths it must
//! leave alone (`keeps`), what a file holds once the plan is done (`holds`), options of the run, and whether a moment of
//! its own (`param("border")`) passes between the preview and the run.

use std::path::Path;
use std::time::{Duration, SystemTime};

use regex::Regex;
use serde_json::Value;

use super::{run, trap, unsettled, wrong_with};
use crate::sandbox::{Sandbox, Snapshot};

/// What a run writes of itself, which an undo leaves.
const RECORDS: [&str; 5] = [
    ".rollback",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
    "docs",
];

/// A script, and what must hold whatever it does.
struct Trick {
    name: String,
    text: String,
}

impl Trick {
    fn all(&self, key: &str) -> Vec<&str> {
        let start = format!("// {key}: ");
        self.text
            .lines()
            .filter_map(|line| line.strip_prefix(&start))
            .collect()
    }
}

fn tricks() -> Vec<Trick> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/passes");
    let mut tricks: Vec<Trick> = directory
        .read_dir()
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).unwrap();
            Trick { name, text }
        })
        .collect();
    tricks.sort_by(|one, two| one.name.cmp(&two.name));
    tricks
}

/// The operations of a report with one of these outcomes, in their order, without times. The list of rollbacks tells of
/// every attempt, also of one that failed.
pub fn operations(report: &Value, outcomes: &[&str]) -> Vec<String> {
    let stamp = Regex::new(r"_\d{8}_\d{6}(_\d+)?|\d{4}-\d\d-\d\dT[0-9:.]+Z").unwrap();
    let operations = report["operations"].as_array().into_iter().flatten();
    operations
        .filter(|operation| outcomes.contains(&operation["outcome"].as_str().unwrap_or_default()))
        .filter(|operation| operation["target"] != "docs/ROLLBACKS.md")
        .map(|operation| {
            let text = format!("{} {}", operation["op"], operation["summary"]);
            stamp.replace_all(&text, "").into_owned()
        })
        .collect()
}

fn moments() -> (String, SystemTime) {
    let border = SystemTime::now() + Duration::from_millis(1500);
    let written = chrono::DateTime::<chrono::Utc>::from(border);
    (
        written.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        border,
    )
}

/// What the run did, held against what was approved; gives what is wrong.
fn problems(trick: &Trick) -> Vec<String> {
    let sandbox = trap();
    sandbox
        .write("hostile/tame.rhai", "fn act() { remove_path(\"notes.txt\"); }\n")
        .write(
            "hostile/wild.rhai",
            "fn act() { remove_path(\"data/keep.txt\"); }\n",
        )
        .write("hostile/case.rhai", &trick.text);
    let whole = sandbox.snapshot(&[]);
    let before = sandbox.snapshot(&RECORDS);
    let kept: Vec<(&str, String)> = trick
        .all("keeps")
        .into_iter()
        .map(|path| (path, sandbox.read(path)))
        .collect();
    let (border, passed) = moments();
    let border = format!("--param=border={border}");
    let mut options = trick.all("option");
    options.push(&border);

    let mut wrong = Vec::new();
    let preview = [&["run", "hostile/case.rhai", "-n", "--json"], &options[..]].concat();
    let (dry, plan) = ended(&sandbox, &preview, &mut wrong);
    wrong.extend(Snapshot::diff(&whole, &sandbox.snapshot(&[])));
    let Some(id) = plan["plan"].as_str().filter(|_| dry == Some(0)) else {
        wrong.push(format!("the dry run ends with {dry:?}: {plan}"));
        return wrong;
    };
    while !trick.all("waits").is_empty() && SystemTime::now() < passed {
        std::thread::yield_now();
    }
    let confirmed = [
        &["run", "hostile/case.rhai", "--confirm", id, "--json"],
        &options[..],
    ]
    .concat();
    let (code, done) = ended(&sandbox, &confirmed, &mut wrong);
    let planned = operations(&plan, &["planned", "kept", "not-present"]);
    let acted = operations(&done, &["done", "kept", "not-present"]);
    let undone = done["operations"]
        .as_array()
        .into_iter()
        .flatten()
        .all(|operation| operation["outcome"] != "done" || operation["undo"] == "exact");
    match code {
        Some(0) => {
            if acted != planned {
                wrong.push(format!("planned {planned:#?}\ndone {acted:#?}"));
            }
            for line in trick.all("holds") {
                let (path, text) = line.split_once(" = ").unwrap();
                if !sandbox.read(path).starts_with(text) {
                    wrong.push(format!("`{path}` holds other text than was approved"));
                }
            }
        }
        Some(1) if planned.starts_with(&acted) => {}
        Some(1) => wrong.push(format!("no prefix of the plan {planned:#?}\nis {acted:#?}")),
        Some(7) => {
            let mut changes =
                Snapshot::diff(&whole.without(&[".rollback"]), &sandbox.snapshot(&[".rollback"]));
            changes.retain(|line| line != "changed .: time");
            wrong.extend(changes.iter().map(|line| format!("exit 7: {line}")));
        }
        other => wrong.push(format!("the run ends with {other:?}: {done}")),
    }
    for (path, before) in &kept {
        // A preview that showed it was taken at its word.
        let is_shown = planned.iter().any(|line| line.contains(&format!("`{path}`")));
        if !is_shown && (!sandbox.exists(path) || *before != sandbox.read(path)) {
            wrong.push(format!("`{path}` was not to be touched"));
        }
    }
    if code != Some(7) && undone {
        let finished = sandbox.run(&["undo", "--yes"]);
        let mut left = Snapshot::diff(&before, &sandbox.snapshot(&RECORDS));
        left.retain(|line| !["changed .: time", "changed logs: time"].contains(&line.as_str()));
        left.retain(|line| line != "changed rollback_backups: time");
        if !left.is_empty() {
            wrong.push(format!("undo leaves {left:#?}\n{}", finished.transcript()));
        }
    }
    wrong.extend(unsettled(&sandbox));
    wrong
}

/// The exit code and the report, after a look at what was said.
fn ended(sandbox: &Sandbox, arguments: &[&str], wrong: &mut Vec<String>) -> (Option<i32>, Value) {
    let Some(ended) = run(sandbox, arguments) else {
        wrong.push("it hangs".to_owned());
        return (None, Value::Null);
    };
    wrong.extend(wrong_with(&ended.said));
    let mut documents = serde_json::Deserializer::from_slice(&ended.said).into_iter();
    let report = documents.next().and_then(Result::ok).unwrap_or(Value::Null);
    (ended.code, report)
}

#[test]
fn a_script_that_can_tell_the_passes_apart_does_what_was_approved_or_is_stopped() {
    let tricks = tricks();
    assert!(tricks.len() >= 12);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let halves = tricks.chunks(tricks.len().div_ceil(2));
        let runs: Vec<_> = halves
            .map(|half| scope.spawn(move || half.iter().map(told).collect::<Vec<_>>()))
            .collect();
        runs.into_iter()
            .flat_map(|run| run.join().unwrap())
            .flatten()
            .collect()
    });
    assert!(
        wrong.is_empty(),
        "{} of {}\n{}",
        wrong.len(),
        tricks.len(),
        wrong.join("\n\n")
    );
}

fn told(trick: &Trick) -> Option<String> {
    let problems = problems(trick);
    (!problems.is_empty()).then(|| format!("=== passes/{}\n{}", trick.name, problems.join("\n")))
}

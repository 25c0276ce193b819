//! Random scripts, and a second program that changes the tree between preview, answer and act: what was shown is done, or
//! the run stops, or tells what failed; what it had done are steps of the plan, and comes back. `PROPTEST_CASES` sets how
//! many.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use crate::faults::trial::outcome;
use crate::hostile::passes::operations;
use crate::prompts::Person;
use crate::properties::{PATHS, Step, config, step, workspace};
use crate::sandbox::{Sandbox, Snapshot};

/// What a run writes of itself, which an undo leaves.
const RECORDS: [&str; 5] = [
    ".rollback",
    "rollback_reports",
    "logs/security.log",
    "logs/audit.log",
    "docs",
];

/// Every outcome of an operation that was reached and did not fail.
const REACHED: [&str; 4] = ["planned", "done", "kept", "not-present"];

/// What the second program writes.
const FOREIGN: &str = "of another program\n";

/// What the second program does.
#[derive(Debug, Clone)]
enum Meddling {
    Write(&'static str),
    Append(&'static str),
    Add(&'static str),
    Remove(&'static str),
    MoveAway(&'static str),
    Close(&'static str),
}

impl Meddling {
    /// Does it, as far as it can be done.
    fn happen(&self, root: &Path) {
        let at = root.join(self.path());
        // What the run has taken away by then can't be changed, and that is no failure of this program.
        let _ = match self {
            Self::Write(_) | Self::Add(_) => {
                let _ = std::fs::create_dir_all(at.parent().unwrap());
                std::fs::write(&at, FOREIGN)
            }
            Self::Append(_) => std::fs::OpenOptions::new()
                .append(true)
                .open(&at)
                .and_then(|mut file| std::io::Write::write_all(&mut file, FOREIGN.as_bytes())),
            Self::Remove(_) if at.is_dir() => std::fs::remove_dir_all(&at),
            Self::Remove(_) => std::fs::remove_file(&at),
            Self::MoveAway(_) => std::fs::rename(&at, root.join("aside")),
            Self::Close(_) => std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o700)),
        };
    }

    /// What it changes, apart from `aside`.
    fn path(&self) -> PathBuf {
        match self {
            Self::Add(path) => Path::new(path).join("added"),
            Self::Write(path)
            | Self::Append(path)
            | Self::Remove(path)
            | Self::MoveAway(path)
            | Self::Close(path) => path.into(),
        }
    }

    /// Whether what stood there is lost by it, and not by us.
    fn destroys(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Append(_) | Self::Remove(_))
    }
}

/// When the second program comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Between `plan -o` and `apply`.
    BeforeApply,
    /// While the question stands.
    AtTheQuestion,
    /// So many microseconds after the answer.
    AfterTheAnswer(u64),
    /// So many microseconds after the start of a run with an approval.
    During(u64),
}

impl Moment {
    /// The run can know of it before its first act.
    fn is_before_the_acts(self) -> bool {
        matches!(self, Self::BeforeApply | Self::AtTheQuestion)
    }
}

fn meddling() -> impl Strategy<Value = Meddling> {
    let path = || proptest::sample::select(&PATHS[..]);
    let directory = proptest::sample::select(&["dir", "dir/sub", "tree", "tree/x", "new"][..]);
    prop_oneof![
        2 => path().prop_map(Meddling::Write),
        1 => path().prop_map(Meddling::Append),
        3 => directory.prop_map(Meddling::Add),
        2 => path().prop_map(Meddling::Remove),
        1 => path().prop_map(Meddling::MoveAway),
        1 => path().prop_map(Meddling::Close),
    ]
}

/// The digests of all files, wherever they are by now.
fn contents(root: &Path) -> BTreeSet<String> {
    let mut open = vec![root.to_path_buf()];
    let mut found = BTreeSet::new();
    while let Some(path) = open.pop() {
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        if metadata.is_dir() {
            let entries = path.read_dir().unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if metadata.is_file() {
            found.insert(blake3::hash(&std::fs::read(&path).unwrap()).to_string());
        }
    }
    found
}

/// Runs the story with the second program beside it; gives the exit code and what was said.
fn with_company(
    sandbox: &Sandbox,
    plan: &Value,
    meddling: &Meddling,
    moment: Moment,
) -> (Option<i32>, String) {
    let root = sandbox.root();
    let later = |delay: u64| {
        let (root, meddling) = (root.clone(), meddling.clone());
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(delay));
            meddling.happen(&root);
        })
    };
    match moment {
        Moment::BeforeApply => {
            let file = sandbox.home().join("plan.json").display().to_string();
            sandbox.run(&["plan", "9.1", "-o", &file]).assert_code(0);
            meddling.happen(&root);
            let finished = sandbox.run(&["apply", &file, "--yes"]);
            (finished.code, finished.transcript())
        }
        Moment::AtTheQuestion => {
            let mut person = Person::starts(sandbox, &["run", "9.1"]);
            person.sees("Roll back 9.1? [y/N] ");
            meddling.happen(&root);
            person.types("y\n");
            person.leaves()
        }
        Moment::AfterTheAnswer(delay) => {
            let mut person = Person::starts(sandbox, &["run", "9.1"]);
            person.sees("Roll back 9.1? [y/N] ").types("y\n");
            let program = later(delay);
            let ended = person.leaves();
            program.join().unwrap();
            ended
        }
        Moment::During(delay) => {
            let program = later(delay);
            let id = plan["plan"].as_str().unwrap();
            let finished = sandbox.run(&["run", "9.1", "--confirm", id]);
            program.join().unwrap();
            (finished.code, finished.transcript())
        }
    }
}

/// What was done are steps of the plan in its order; of those that are missing in between, and at the end of a run that
/// came to its end, the report tells a failure that the plan does not have: the script got over it.
fn follows(plan: &Value, report: &Value, is_whole: bool) -> Result<(), String> {
    let planned = operations(plan, &REACHED);
    let would_fail = operations(plan, &["failed"]);
    let reached = operations(report, &REACHED);
    let mut done = reached.iter().peekable();
    let mut open = planned.iter();
    let mut has_failed = false;
    for step in operations(report, &[&REACHED[..], &["failed"]].concat()) {
        if done.peek() != Some(&&step) {
            has_failed |= !would_fail.contains(&step);
            continue;
        }
        done.next();
        let skipped = open
            .by_ref()
            .position(|planned| *planned == step)
            .ok_or_else(|| format!("{step} was done"))?;
        if skipped > 0 && !has_failed {
            return Err(format!("{skipped} steps before {step} were left out"));
        }
        has_failed = false;
    }
    match open.next() {
        Some(step) if is_whole && !has_failed => Err(format!("{step} was left out")),
        _ => Ok(()),
    }
}

/// The report of the newest run, from what it keeps.
fn newest(sandbox: &Sandbox) -> Value {
    let history = sandbox.json(&["history"]);
    let runs = history["runs"].as_array().unwrap();
    let newest = runs
        .iter()
        .max_by_key(|run| run["started"].as_str().unwrap().to_owned());
    newest.map_or(Value::Null, |run| {
        sandbox.json(&["show", run["run"].as_str().unwrap()])
    })
}

/// What differs, without what a run writes of itself, and without what the second program did: its own path, what is
/// below it, and the times of the directories above.
fn besides(before: &Snapshot, sandbox: &Sandbox, meddling: &Meddling) -> Vec<String> {
    let foreign = meddling.path();
    let mut left = Snapshot::diff(before, &sandbox.snapshot(&RECORDS));
    left.retain(|line| {
        let (what, rest) = line.split_once(' ').unwrap();
        let path = Path::new(rest.split(": ").next().unwrap());
        let is_time = what == "changed" && rest.ends_with(": time");
        let is_foreign = path.starts_with(&foreign) || path.starts_with("aside");
        let is_above = foreign.starts_with(path) && (is_time || what == "added");
        let is_own = path.starts_with("rollback_backups")
            || [".", "logs"].iter().any(|own| path == Path::new(own)) && is_time;
        !is_foreign && !is_above && !is_own
    });
    left
}

fn holds(steps: &[Step], meddling: &Meddling, moment: Moment) -> Result<(), String> {
    let sandbox = workspace(steps);
    let before = sandbox.snapshot(&RECORDS);
    let had = contents(&sandbox.root());
    let theirs = if meddling.destroys() {
        contents(&sandbox.root().join(meddling.path()))
    } else {
        BTreeSet::new()
    };
    let plan = sandbox.run(&["run", "9.1", "-n", "--json"]).assert_code(0).json();
    let planned = operations(&plan, &REACHED);
    if operations(&plan, &["planned"]).is_empty() {
        return Ok(());
    }
    let (code, said) = with_company(&sandbox, &plan, meddling, moment);
    let wrong = |what: &str| Err(format!("{what}\nplanned {planned:#?}\n{said}"));
    let report = match code {
        Some(0 | 1) => newest(&sandbox),
        Some(7 | 3) => {
            let left = besides(&before, &sandbox, meddling);
            return if left.is_empty() {
                Ok(())
            } else {
                wrong(&format!("exit {code:?} has changed {left:#?}"))
            };
        }
        other => return wrong(&format!("it ends with {other:?}")),
    };
    if let Err(why) = follows(&plan, &report, code == Some(0)) {
        return wrong(&format!("not the plan: {why}"));
    }
    if code == Some(0) && moment.is_before_the_acts() {
        let twin = workspace(steps);
        meddling.happen(&twin.root());
        twin.run(&["run", "9.1", "--yes"]).assert_code(0);
        let (expected, found) = (outcome(&twin), outcome(&sandbox));
        let differs: Vec<_> = expected
            .keys()
            .chain(found.keys())
            .filter(|path| expected.get(*path) != found.get(*path))
            .collect();
        if !differs.is_empty() {
            return wrong(&format!("not what such a run does alone: {differs:?}"));
        }
    }
    let undo = sandbox.run(&["undo", "--yes"]);
    let has = contents(&sandbox.root());
    let gone: Vec<_> = had
        .difference(&has)
        .filter(|digest| !theirs.contains(*digest))
        .collect();
    // In the middle of a run nobody knows what stood there when the second program destroyed it.
    let is_known = moment.is_before_the_acts() || !meddling.destroys();
    if !gone.is_empty() && is_known {
        return wrong(&format!("contents are lost: {gone:?}\n{}", undo.transcript()));
    }
    let acted = !operations(&report, &["done"]).is_empty();
    if undo.code != Some(0) && acted {
        let top = meddling.path();
        let top = top
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .into_owned();
        // It may have worked in what the run moved, which has another name by then.
        let is_theirs = undo.code == Some(7) && undo.stderr.contains("can't be taken back as it was");
        return if is_theirs || undo.stderr.contains(&top) || undo.stderr.contains("aside") {
            Ok(())
        } else {
            wrong(&format!(
                "undo fails, and not for the other program\n{}",
                undo.transcript()
            ))
        };
    }
    let left = besides(&before, &sandbox, meddling);
    if left.is_empty() {
        Ok(())
    } else {
        wrong(&format!("undo leaves {left:#?}\n{}", undo.transcript()))
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..=12)
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn what_changes_between_plan_and_apply_stops_it_or_is_left_alone(steps in steps(), meddling in meddling()) {
        let held = holds(&steps, &meddling, Moment::BeforeApply);
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }

    #[test]
    fn what_changes_while_the_question_stands_stops_it_or_is_left_alone(steps in steps(), meddling in meddling()) {
        let held = holds(&steps, &meddling, Moment::AtTheQuestion);
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }

    #[test]
    fn what_changes_while_it_acts_stops_it_or_is_left_alone(
        steps in steps(),
        meddling in meddling(),
        delay in 0_u64..60_000,
        is_asked in any::<bool>(),
    ) {
        let moment = if is_asked { Moment::AfterTheAnswer(delay) } else { Moment::During(2 * delay) };
        let held = holds(&steps, &meddling, moment);
        prop_assert!(held.is_ok(), "{}", held.unwrap_err());
    }
}

/// The check itself: what it must not let pass.
#[test]
fn a_step_that_was_left_out_added_or_turned_round_is_noticed() {
    let report = |steps: &[(&str, &str)]| {
        let operations = steps.iter().map(|(what, outcome)| {
            serde_json::json!({ "op": "word", "summary": what, "target": what, "outcome": outcome })
        });
        serde_json::json!({ "operations": operations.collect::<Vec<_>>() })
    };
    let plan = report(&[
        ("a", "planned"),
        ("x", "failed"),
        ("b", "planned"),
        ("c", "planned"),
    ]);
    let (a, b, c, x) = (("a", "done"), ("b", "done"), ("c", "done"), ("x", "failed"));
    let holds = |steps: &[(&str, &str)], is_whole| follows(&plan, &report(steps), is_whole).is_ok();
    assert!(holds(&[a, x, b, c], true) && holds(&[a, x, ("b", "failed"), c], true));
    assert!(holds(&[a, x, b, ("c", "failed")], true) && holds(&[a, x], false));
    for wrong in [
        &[a, x, c] as &[(&str, &str)],
        &[a, x, b],
        &[b, x, a, c],
        &[a, x, b, b, c],
    ] {
        assert!(!holds(wrong, true), "{wrong:?}");
    }
    assert!(!holds(&[a, x, c], false) && !holds(&[a, x, ("d", "done")], false));
}

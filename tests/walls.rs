//! One wall down, the next stands: our own are taken down in a test build, and the kernel refuses.

use rollback_manager::primitives as words;
use serde_json::Value;

use crate::hostile::{outside, trap};
use crate::primitives::{Example, changing};
use crate::sandbox::{Finished, Sandbox, Snapshot, assert_unchanged};

/// Takes walls down.
const DOWN: &str = "ROLLBACK_BROKEN_WALLS";

/// Words whose example reaches no file of ours and signals nobody: there is nothing for the kernel to refuse.
const HARMLESS: [&str; 5] = [
    "run_command",
    "keep_path",
    "remove_containers",
    "remove_images",
    "remove_volumes",
];

fn without(walls: &str, sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    Finished::of(sandbox.command(arguments).env(DOWN, walls), arguments)
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts are the result")]
fn a_dry_run_with_a_broken_overlay_changes_nothing() {
    let mut refused = Vec::new();
    let mut tried = 0;
    for word in changing() {
        tried += 1;
        let example = Example::of(word);
        let before = example.sandbox.snapshot(&[]);
        let finished = without(
            "overlay",
            &example.sandbox,
            &["run", "9.1", "--dry-run", "--json"],
        );
        assert_unchanged(&before, &example.sandbox.snapshot(&[]));
        assert!(
            example.service.is_running(),
            "`{}` ended a process in a dry run",
            word.name
        );
        let report: Value = serde_json::from_str(&finished.stdout).unwrap();
        let outcomes: Vec<_> = report["operations"]
            .as_array()
            .unwrap()
            .iter()
            // The run's own last operation, the entry in the document, does not count.
            .filter(|operation| operation["phase"] == "execute")
            .map(|operation| operation["outcome"].as_str().unwrap().to_owned())
            .collect();
        if outcomes
            .iter()
            .any(|outcome| outcome == "failed" || outcome == "denied")
        {
            refused.push(word.name);
        } else {
            assert!(
                HARMLESS.contains(&word.name),
                "nobody refused `{}`: {outcomes:?}\n{}",
                word.name,
                finished.transcript()
            );
        }
    }
    assert!(words::all().len() > tried && refused.len() + HARMLESS.len() >= tried);
    eprintln!(
        "dry runs with a broken overlay: {tried} words, {} refused by the kernel, 0 changes",
        refused.len()
    );
}

/// Left out: what they name lies in no directory of the test, should all walls fail.
const TOO_FAR: [&str; 3] = ["root", "device", "device-zero"];

/// The cases of hostile paths, with what lies outside brought near.
fn cases(sandbox: &Sandbox) -> Vec<(String, String)> {
    let outside = outside(sandbox);
    let secret = outside.join("secret.txt").display().to_string();
    let near = |text: String| {
        text.replace("/tmp/keep.txt", &outside.join("new.txt").display().to_string())
            .replace("/etc/hostname", &secret)
            .replace("/etc/passwd", &secret)
            .replace("/etc/shadow", &secret)
            .replace("/etc", &outside.display().to_string())
    };
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/paths");
    let mut cases: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, near(std::fs::read_to_string(path).unwrap()))
        })
        .filter(|(name, _)| !TOO_FAR.contains(&name.as_str()))
        .filter(|(_, text)| !text.contains('⟪'))
        .collect();
    cases.sort();
    cases
}

/// Changes of what lies outside, each by another way.
const ATTACKS: [&str; 10] = [
    "remove_path(\"../outside/secret.txt\")",
    "remove_path(\"../outside/tree\")",
    "remove_path(\"link-out/secret.txt\")",
    "remove_path(\"link-to-link/tree\")",
    "retire_dir(\"../outside/tree\", \"taken\")",
    "move_path(\"../outside/secret.txt\", \"data/secret.txt\")",
    "move_path(\"data/keep.txt\", \"../outside/keep.txt\")",
    "write_text(\"../outside/new.txt\", \"x\")",
    "write_text(\"link-out/secret.txt\", \"x\", #{ overwrite: true })",
    "remove_lines(\"link-file\", \"outside\")",
];

#[expect(clippy::print_stderr, reason = "the counts are the result")]
fn nothing_outside_is_reached_without(walls: &str) {
    let (mut tried, mut refused) = (0, 0);
    let attacks = ATTACKS.iter().enumerate().map(|(number, attack)| {
        let text =
            format!("const STORY = #{{ id: \"h\", title: \"Hostile\" }};\nfn execute() {{ {attack}; }}\n");
        (format!("attack {number}"), text)
    });
    let count = cases(&trap()).len();
    let both = (0..count).map(|_| None).chain(attacks.map(Some));
    for (number, attack) in both.enumerate() {
        let sandbox = trap();
        let (name, text) = attack
            .clone()
            .unwrap_or_else(|| cases(&sandbox).swap_remove(number));
        sandbox
            .write("rollback.yaml", "version: 1\n")
            .write("hostile/case.rhai", text);
        let before = Snapshot::of(&outside(&sandbox), &[]);
        let finished = without(walls, &sandbox, &["run", "hostile/case.rhai", "--yes"]);
        let changed = Snapshot::diff(&before, &Snapshot::of(&outside(&sandbox), &[]));
        assert_eq!(changed, Vec::<String>::new(), "{name}: {}", finished.transcript());
        tried += 1;
        if finished.code == Some(0) {
            assert!(
                attack.is_none(),
                "{name} was not refused: {}",
                finished.transcript()
            );
        } else {
            refused += 1;
        }
    }
    eprintln!("without {walls}: {tried} scripts, {refused} refused, 0 reached what lies outside");
}

#[test]
fn without_the_policy_openat2_refuses() {
    nothing_outside_is_reached_without("policy");
}

#[test]
fn without_the_policy_and_openat2_the_kernels_wall_refuses() {
    nothing_outside_is_reached_without("policy,resolution");
}

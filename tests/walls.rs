//! One wall down, the next stands: our own are taken down in a test build, and the kernel refuses.

use std::collections::BTreeMap;

use rollback_manager::primitives as words;
use serde_json::Value;

use crate::disk::{in_namespace, mount, unmount};
use crate::hostile::{outside, trap};
use crate::primitives::{Example, changing};
use crate::sandbox::{Finished, Sandbox, Snapshot, assert_says, assert_unchanged};

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

/// Changes of what lies outside, each by another way. None has a fault of its own: see
/// `what_is_refused_is_done_where_the_kernel_lets_it`.
const ATTACKS: [&str; 12] = [
    "remove_path(\"../outside/secret.txt\")",
    "remove_path(\"../outside/tree\")",
    "remove_path(\"link-out/secret.txt\")",
    "remove_path(\"link-to-link/tree\")",
    "retire_dir(\"../outside/tree\", \"taken\")",
    "retire_dir(\"link-tree\", \"taken\")",
    "move_path(\"../outside/secret.txt\", \"data/secret.txt\")",
    "move_path(\"data/keep.txt\", \"../outside/keep.txt\")",
    "copy_path(\"data/keep.txt\", \"../outside/keep.txt\")",
    "write_text(\"../outside/new.txt\", \"x\")",
    "write_text(\"link-out/secret.txt\", \"x\", #{ overwrite: true })",
    "remove_lines(\"link-out/secret.txt\", \"outside\")",
];

/// The trap, with a link to a part of what lies outside.
fn lure() -> Sandbox {
    let sandbox = trap();
    std::os::unix::fs::symlink("../outside/tree", sandbox.path("link-tree")).unwrap();
    sandbox
}

fn story(attack: &str) -> String {
    format!("const STORY = #{{ id: \"h\", title: \"Hostile\" }};\nfn execute() {{ {attack}; }}\n")
}

/// Who refused a run, by what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    /// Landlock: the owner of all the files was refused.
    Kernel,
    /// `openat2`.
    Resolution,
    /// Another check of ours, or the script itself.
    Others,
    /// It ran to its end.
    Nobody,
}

fn refused_by(finished: &Finished) -> By {
    let says = |text: &str| finished.stderr.contains(text);
    match finished.code {
        Some(0) => By::Nobody,
        _ if says("Permission denied (os error 13)") => By::Kernel,
        _ if says("passes through a symbolic link") || says("passes through the symbolic link") => {
            By::Resolution
        }
        _ => By::Others,
    }
}

/// Runs one script with walls taken down; gives who refused it. `open` is the configuration.
fn attacked(walls: &str, sandbox: &Sandbox, text: &str, open: &str) -> (By, Vec<String>, Finished) {
    sandbox
        .write("rollback.yaml", open)
        .write("hostile/case.rhai", text);
    let before = Snapshot::of(&outside(sandbox), &[]);
    let finished = without(walls, sandbox, &["run", "hostile/case.rhai", "--yes"]);
    let changed = Snapshot::diff(&before, &Snapshot::of(&outside(sandbox), &[]));
    (refused_by(&finished), changed, finished)
}

const CLOSED: &str = "version: 1\n";

/// No case may change what lies outside, and each attack has to be refused by `wall` and nobody else.
#[expect(clippy::print_stderr, reason = "the counts are the result")]
fn nothing_outside_is_reached_without(walls: &str, wall: By) {
    let mut counts = BTreeMap::new();
    let count = cases(&trap()).len();
    for number in 0..count {
        let sandbox = trap();
        let (name, text) = cases(&sandbox).swap_remove(number);
        let (by, changed, finished) = attacked(walls, &sandbox, &text, CLOSED);
        assert_eq!(changed, Vec::<String>::new(), "{name}: {}", finished.transcript());
        *counts.entry(by).or_insert(0) += 1;
    }
    for attack in ATTACKS {
        let sandbox = lure();
        let (by, changed, finished) = attacked(walls, &sandbox, &story(attack), CLOSED);
        assert_eq!(
            changed,
            Vec::<String>::new(),
            "{attack}: {}",
            finished.transcript()
        );
        assert_eq!(by, wall, "{attack}: {}", finished.transcript());
    }
    let of = |by| counts.get(&by).copied().unwrap_or(0);
    eprintln!(
        "without {walls}: {count} cases: {} refused by Landlock, {} by openat2, {} end otherwise (other checks, their own \
         fail()), {} run to their end; {} attacks, all refused by {wall:?}; 0 changes outside",
        of(By::Kernel),
        of(By::Resolution),
        of(By::Others),
        of(By::Nobody),
        ATTACKS.len()
    );
}

#[test]
fn without_the_policy_openat2_refuses() {
    nothing_outside_is_reached_without("policy", By::Resolution);
}

#[test]
fn without_the_policy_and_openat2_the_kernels_wall_refuses() {
    nothing_outside_is_reached_without("policy,resolution", By::Kernel);
}

/// The attacks of this test are none if they would fail anyway: with a hole in the kernel's wall each of them succeeds.
#[test]
#[expect(clippy::print_stderr, reason = "the counts are the result")]
fn what_is_refused_is_done_where_the_kernel_lets_it() {
    for attack in ATTACKS {
        let sandbox = lure();
        let open = format!(
            "version: 1\npolicy: {{ write: [\".\", \"{}\"] }}\n",
            outside(&sandbox).display()
        );
        let (by, changed, finished) = attacked("policy,resolution", &sandbox, &story(attack), &open);
        assert_eq!(by, By::Nobody, "{attack}: {}", finished.transcript());
        assert_ne!(changed, Vec::<String>::new(), "{attack}");
    }
    eprintln!(
        "with a hole in the kernel's wall: {} attacks, all succeed",
        ATTACKS.len()
    );
}

/// For the kernel's wall what is mounted in the workspace lies inside: that a tree is not taken away with what is mounted
/// in it, and no mount point gets another name, rests on us, and on two checks. (A backup takes it as data, and says so.)
#[test]
fn without_the_policy_nothing_mounted_goes_with_its_tree() {
    in_namespace(|| {
        for walls in ["policy", "policy,resolution"] {
            for attack in [
                "remove_path(\"data\")",
                "move_path(\"data\", \"elsewhere\")",
                "move_path(\"data/mounted\", \"elsewhere\")",
            ] {
                let sandbox = trap();
                let mounted = sandbox.path("data/mounted");
                std::fs::create_dir(&mounted).unwrap();
                mount(&["--bind", outside(&sandbox).to_str().unwrap()], &mounted);
                let (by, changed, finished) = attacked(walls, &sandbox, &story(attack), CLOSED);
                assert_eq!(
                    changed,
                    Vec::<String>::new(),
                    "{attack}: {}",
                    finished.transcript()
                );
                assert_eq!(by, By::Others, "{attack}: {}", finished.transcript());
                assert_says(&finished, &["mount"]);
                unmount(&mounted);
            }
        }
    });
}

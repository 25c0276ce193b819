//! Another process swaps directories for links while trees are removed and moved: what the links lead to stays.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{RenameFlags, renameat_with};

use super::super::fixture::{Scene, portrait};
use super::permit;
use crate::base::error::Kind;

/// Names the directory to the attacking process.
const TARGET: &str = "ROLLBACK_RACE_TARGET";

/// For how many seconds the race is run; without it, one short round.
const SECONDS: &str = "ROLLBACK_RACE_SECONDS";

/// Trees of a round, where it is short and where it is long.
const TREES: [usize; 2] = [400, 10_000];

/// What the removals of a round met.
#[derive(Default)]
struct Met {
    removed: usize,
    moved: usize,
    refused: usize,
}

#[test]
#[expect(clippy::print_stderr, reason = "the counts are the result")]
fn nothing_behind_a_link_is_lost_whoever_swaps_it_in() {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    let trees = TREES[usize::from(seconds.is_some())];
    let (since, mut all, mut files) = (Instant::now(), Met::default(), 0);
    loop {
        let (met, safe) = round(trees);
        all.removed += met.removed;
        all.moved += met.moved;
        all.refused += met.refused;
        files += safe;
        if since.elapsed() >= Duration::from_secs(seconds.unwrap_or(0)) {
            break;
        }
    }
    eprintln!(
        "{} trees removed and {} moved against swaps in {} s, {} calls refused; files outside: {files}, lost: 0",
        all.removed,
        all.moved,
        since.elapsed().as_secs(),
        all.refused
    );
}

/// One round; gives what was met, and how many files outside are as they were.
fn round(trees: usize) -> (Met, usize) {
    let scene = Scene::new();
    let outside = tempfile::tempdir().unwrap();
    scene.directory("shelf");
    scene.directory("doors");
    for tree in 0..trees {
        scene.file(format!("here/{tree}/inner/file"), "of the workspace");
        scene.file(format!("here/{tree}/file"), "of the workspace");
        let inner = outside.path().join(tree.to_string()).join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "of somebody else").unwrap();
        scene.link(format!("doors/{tree}"), &inner);
    }
    scene.link("there", outside.path());
    let before = portrait(outside.path());

    let mut attacker = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "host::files::tests::race::attacker",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(TARGET, scene.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(attacker.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("swapping") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "the attacker ended");
    }

    let mut met = Met::default();
    for tree in 0..trees {
        // Refused as long as a link stands in the way; the attacker takes it out again.
        loop {
            let path = scene.path(format!("here/{tree}"));
            let done = if tree % 2 == 0 {
                scene.files.remove_tree(&permit(), &path)
            } else {
                let to = scene.path(format!("shelf/{tree}"));
                scene.files.rename(&permit(), &path, &to).map(|_| ())
            };
            match done {
                Ok(()) if tree % 2 == 0 => met.removed += 1,
                Ok(()) => met.moved += 1,
                // A directory that was swapped for a link between two looks, or the other way round.
                Err(error) if matches!(error.kind(), Kind::Denied | Kind::Failed | Kind::Invalid) => {
                    met.refused += 1;
                    continue;
                }
                // The rest of a tree whose removal was refused half-way.
                Err(error) if error.kind() == Kind::NotFound && met.refused > 0 => {}
                Err(error) => panic!("{error:?}"),
            }
            break;
        }
    }
    assert!(attacker.try_wait().unwrap().is_none(), "the attacker ended early");
    attacker.kill().unwrap();
    attacker.wait().unwrap();
    assert_eq!(before, portrait(outside.path()), "something outside was changed");
    (met, trees)
}

/// The process that swaps: `here` for a link to what lies outside, and the insides of its trees for such links.
#[test]
#[ignore = "the attacker of the race: it runs until it is killed"]
#[expect(clippy::print_stdout, reason = "a sign for the one who waits")]
fn attacker() {
    let Some(target) = std::env::var_os(TARGET) else {
        return;
    };
    let target = Path::new(&target);
    let (root, here) = (
        File::open(target).unwrap(),
        File::open(target.join("here")).unwrap(),
    );
    let trees = fs::read_dir(target.join("doors")).unwrap().count();
    println!("swapping");
    std::io::stdout().flush().unwrap();
    loop {
        for tree in 0..trees {
            // What is gone already can't be swapped.
            let _ = renameat_with(&root, "here", &root, "there", RenameFlags::EXCHANGE);
            let (inner, door) = (format!("{tree}/inner"), format!("doors/{tree}"));
            let _ = renameat_with(&here, inner.as_str(), &root, door.as_str(), RenameFlags::EXCHANGE);
        }
    }
}

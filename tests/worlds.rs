//! A preview is true in every world: each word that changes something, in each world that means something to it. What
//! the preview says is what happens, what is refused has changed nothing, and what was done comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::disk::{counted, in_namespace, skipped};
use crate::primitives::changing;

mod cell;
mod scene;
mod words;
mod world;

use cell::{Verdict, tried};
use scene::{ORDINARY, ran, stepping_down};
use words::Case;
use world::World;

/// Names a part of `world / word`, to try a few cells alone.
const ONLY: &str = "ROLLBACK_TEST_WORLDS";

/// The binary at a path that every user can reach.
fn binary() -> PathBuf {
    let path = std::env::temp_dir().join("rollback");
    std::fs::File::create(&path).unwrap();
    crate::disk::mount(&["--bind", env!("CARGO_BIN_EXE_rollback")], &path);
    path
}

fn cells() -> Vec<(&'static World, &'static Case)> {
    let only = std::env::var(ONLY).unwrap_or_default();
    let all = world::ALL
        .iter()
        .flat_map(|world| words::ALL.iter().map(move |case| (world, case)));
    all.filter(|(world, case)| (world.fits)(case))
        .filter(|(world, case)| format!("{} / {}", world.name, case.name()).contains(&only))
        .collect()
}

/// Tries every cell as a user, and tells of all that differ together.
fn hold(user: u32) {
    let (binary, cells) = (binary(), cells());
    let next = AtomicUsize::new(0);
    let verdicts = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((world, case)) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = format!("{} / {}", world.name, case.name());
                    let verdict = tried(world, case, user, &binary);
                    verdicts.lock().unwrap().insert(name, verdict);
                }
            });
        }
    });
    told(user, &verdicts.into_inner().unwrap());
}

fn told(user: u32, verdicts: &BTreeMap<String, Verdict>) {
    let mut codes: BTreeMap<i32, usize> = BTreeMap::new();
    let mut skips: BTreeMap<&str, usize> = BTreeMap::new();
    let mut differing = Vec::new();
    for (name, verdict) in verdicts {
        match verdict {
            Verdict::True(code) => *codes.entry(*code).or_default() += 1,
            Verdict::Skipped(why) => *skips.entry(why).or_default() += 1,
            Verdict::False(differences) => {
                differing.push(format!("{name}\n    {}", differences.join("\n    ")));
            }
        }
    }
    for (why, count) in &skips {
        skipped(&format!("{count} cells: {why}"));
    }
    let figures = format!(
        "as user {user}: {} cells, {} true (exit codes {codes:?}), {} skipped, {} false",
        verdicts.len(),
        codes.values().sum::<usize>(),
        skips.values().sum::<usize>(),
        differing.len()
    );
    counted(&figures);
    assert!(differing.is_empty(), "{figures}\n{}", differing.join("\n"));
}

#[test]
fn the_matrix_knows_every_word_that_changes_something() {
    let known: BTreeSet<&str> = words::ALL.iter().map(|case| case.word).collect();
    let registered: BTreeSet<&str> = changing().map(|word| word.name).collect();
    assert_eq!(
        known, registered,
        "a word without a call in tests/worlds/words.rs"
    );
    assert!(world::ALL.len() >= 22);
}

#[test]
fn in_every_world_the_preview_is_what_happens_as_root() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can be root");
    }
    in_namespace(|| hold(0));
}

#[test]
fn in_every_world_the_preview_is_what_happens_as_an_ordinary_user() {
    in_namespace(|| {
        let words = stepping_down(ORDINARY);
        match ran(Command::new(&words[0]).args(&words[1..]).arg("true")) {
            Ok(()) => hold(ORDINARY),
            Err(why) => skipped(&format!("nobody else to be: {why}")),
        }
    });
}

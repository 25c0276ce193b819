//! The ways that are no single rename, cut before each of their effects: nothing is lost, and the run is taken back.

use super::World;
use super::mounts::{mount_below, mount_layer};
use crate::disk::{in_namespace, skipped, unmount};
use crate::faults::cutter::trace;

/// Points that are tried of each run.
const POINTS: usize = 12;

/// Cuts a run at points spread over it, and wants everything back in its place each time.
#[track_caller]
fn survives(world: &World, word: &str) {
    let run = ["run", word, "--yes"];
    let before = world.in_place();
    let whole = match trace(&world.command(&run), None) {
        Ok(whole) => whole,
        Err(why) => return skipped(&why),
    };
    assert_eq!(whole.code, Some(0));
    world.run(&["undo", "--yes"]).assert_code(0);
    world.assert_in_place(&before);
    let effects = whole.effects.len();
    let all = std::env::var("ROLLBACK_FAULTS").is_ok_and(|effort| effort == "all");
    let step = if all { 1 } else { effects.div_ceil(POINTS) };
    for point in (1..=effects).step_by(step) {
        let traced = trace(&world.command(&run), Some(point)).unwrap();
        let about = traced
            .effects
            .last()
            .map(|effect| format!("{} {}", effect.call, effect.about));
        let at = format!("{word}, before effect {point} of {effects}: {about:?}");
        if world.sandbox.json(&["status"])["unfinished_run"].is_string() {
            let recovered = world.run(&["recover", "--yes"]);
            assert_eq!(recovered.code, Some(0), "{at}\n{}", recovered.transcript());
        } else if !world.sandbox.exists("data/store/one") {
            let undone = world.run(&["undo", "--yes"]);
            assert_eq!(undone.code, Some(0), "{at}\n{}", undone.transcript());
        }
        assert_eq!(world.sandbox.read("data/store/inner/two"), "2", "{at}");
        if world.sandbox.exists("first") {
            world.run(&["undo", "--yes"]);
        }
        world.assert_in_place_after(&before, &at);
        // Our own records are swept by the next run.
        let mut left = crate::disk::left_over(&world.sandbox);
        left.retain(|path| !path.starts_with(world.sandbox.path(".rollback")));
        assert_eq!(left, [] as [std::path::PathBuf; 0], "{at}");
    }
}

/// P4.
#[test]
fn a_mount_point_that_was_being_emptied_is_filled_again() {
    in_namespace(|| {
        for word in ["retire", "remove"] {
            let world = World::new();
            mount_below(&world, "data/store", &[]);
            survives(&world, word);
            unmount(&world.sandbox.path("data/store"));
        }
    });
}

/// P4.
#[test]
fn a_tree_with_a_mount_point_that_was_being_emptied_is_filled_again() {
    in_namespace(|| {
        let world = World::new();
        mount_below(&world, "data/store/inner", &[]);
        survives(&world, "retire");
        unmount(&world.sandbox.path("data/store/inner"));
    });
}

/// P5.
#[test]
fn a_directory_of_the_layer_below_that_was_being_moved_is_back() {
    in_namespace(|| {
        for word in ["retire", "remove", "move"] {
            let world = World::new();
            if !mount_layer(&world, word) {
                return skipped("no OverlayFS can be mounted here");
            }
            survives(&world, word);
            unmount(&world.sandbox.root());
        }
    });
}

/// P6.
#[test]
fn a_move_without_the_flag_is_taken_back() {
    let mut world = World::new();
    world.without_noreplace = true;
    for word in ["retire", "remove", "move"] {
        survives(&world, word);
    }
}

/// What another program writes into an original after the run was cut, before anybody compared it with its copy.
#[test]
fn an_original_that_was_not_compared_with_its_copy_yet_goes_back_with_what_came_to_it() {
    in_namespace(|| {
        for word in ["retire", "move"] {
            let other = if word == "move" {
                "kept"
            } else {
                "rollback_backups"
            };
            let run = ["run", word, "--yes"];
            let fresh = || {
                let world = World::new();
                std::fs::create_dir_all(world.sandbox.path(other)).unwrap();
                mount_below(&world, other, &[]);
                world
            };
            let world = fresh();
            let whole = match trace(&world.command(&run), None) {
                Ok(whole) => whole,
                Err(why) => return skipped(&why),
            };
            unmount(&world.sandbox.path(other));
            let aside = whole
                .effects
                .iter()
                .position(|effect| effect.call == "renameat2" && effect.about.contains(".aside"));
            let world = fresh();
            let before = world.in_place();
            // The next effect, which does not happen.
            let point = aside.unwrap() + 2;
            assert!(trace(&world.command(&run), Some(point)).unwrap().cut);
            let left = crate::disk::left_over(&world.sandbox);
            let aside: Vec<_> = left
                .iter()
                .filter(|path| path.extension().is_some_and(|kind| kind == "aside"))
                .collect();
            assert_eq!(aside.len(), 1, "{word}: {left:?}");
            std::fs::write(aside[0].join("inner/late"), "late").unwrap();
            let name = aside[0].file_name().unwrap().to_str().unwrap();
            for (option, becomes) in [("-n", "goes"), ("--yes", "was put")] {
                let words = ["recover", option, "--json"];
                let said = world.run(&words).assert_code(0).json()["warnings"].to_string();
                let fate = format!("an original that was out of its place, {becomes} back as `data/store`");
                assert!(said.contains(name) && said.contains(&fate), "{word}: {said}");
            }
            assert_eq!(world.sandbox.read("data/store/inner/late"), "late");
            std::fs::remove_file(world.sandbox.path("data/store/inner/late")).unwrap();
            let mut differences = crate::sandbox::Snapshot::diff(&before, &world.in_place());
            differences.retain(|line| !line.ends_with(": time"));
            assert!(differences.is_empty(), "{word}: {differences:#?}");
            for gone in ["kept/store", "first"] {
                assert!(!world.sandbox.exists(gone), "{word}: {gone}");
            }
            let backups = world.sandbox.path("rollback_backups");
            assert!(
                !backups.exists() || backups.read_dir().unwrap().next().is_none(),
                "{word}"
            );
            unmount(&world.sandbox.path(other));
        }
    });
}

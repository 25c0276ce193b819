//! A crash at any instant loses nothing: a run is killed before each of its effects on the world, and each time it can
//! be taken back to the byte, or finished.
//!
//! A sample of the points; `cargo bench --bench faults` tries every one, and random times.

/// The tracer.
pub mod cutter;

/// What a disk holds after a power cut.
pub mod disk;

/// All points of one kind.
pub mod matrix;

/// Power cuts.
pub mod power;

/// What is cut, and what must hold after.
pub mod trial;

use self::cutter::{CAN_FAIL, Orders};
use self::matrix::{Cut, Effort, Matrix, Point};
use self::power::{Power, Scene};
use crate::skipped::skipped;

/// Points of each kind that `cargo test` tries; `ROLLBACK_FAULTS=all` or `random:500` tries more.
const SAMPLE: Effort = Effort::Evenly(12);

#[track_caller]
#[expect(clippy::print_stderr, reason = "the count of points and survivals")]
fn sample(cut: Cut) {
    let matrix = match Matrix::of(cut) {
        Ok(matrix) => matrix,
        Err(why) => return skipped(&why),
    };
    let effort = std::env::var("ROLLBACK_FAULTS").map_or(SAMPLE, |text| Effort::read(&text).unwrap());
    let tally = matrix.try_points(&matrix.points(effort));
    eprintln!("{}: {tally}", cut.name());
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n\n"));
}

#[test]
fn a_run_that_was_cut_is_taken_back() {
    sample(Cut::RunThenUndo);
}

#[test]
fn a_run_that_was_cut_goes_on() {
    sample(Cut::RunThenResume);
}

/// Before and between the moves of a list that goes as one operation.
#[test]
fn a_list_that_was_cut_in_its_middle_is_taken_back_or_finished() {
    for cut in [Cut::RunThenUndo, Cut::RunThenResume] {
        points_where(cut, 8, |effect| {
            effect.call == "renameat2"
                && ["duckdb-service.js", "duckdb-manager.js"]
                    .iter()
                    .any(|name| effect.about.ends_with(name))
        });
    }
}

#[test]
fn a_run_that_copies_and_was_cut_is_taken_back() {
    sample(Cut::CopyThenUndo);
}

#[test]
fn a_run_with_a_command_over_a_layer_that_was_cut_is_taken_back() {
    sample(Cut::RehearsedThenUndo);
}

#[test]
fn a_run_with_a_command_over_a_layer_that_was_cut_goes_on() {
    sample(Cut::RehearsedThenResume);
}

#[test]
fn an_undo_of_a_command_over_a_layer_that_was_cut_is_finished() {
    sample(Cut::RehearsedUndo);
}

#[test]
fn an_undo_that_was_cut_is_finished() {
    sample(Cut::Undo);
}

#[test]
fn a_recovery_that_was_cut_is_finished() {
    sample(Cut::Recovery);
}

/// Tries the points before those effects of a command of which this says so.
#[track_caller]
fn points_where(cut: Cut, most: usize, is_meant: impl Fn(&cutter::Effect) -> bool) {
    let matrix = match Matrix::of(cut) {
        Ok(matrix) => matrix,
        Err(why) => return skipped(&why),
    };
    let points: Vec<Point> = (1..)
        .zip(&matrix.effects)
        .filter(|(_, effect)| is_meant(effect))
        .map(|(number, _)| Point::Effect(number))
        .take(most)
        .collect();
    assert!(!points.is_empty(), "no such effect");
    let tally = matrix.try_points(&points);
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n\n"));
}

#[test]
fn an_operation_is_settled_once_however_often_its_recovery_is_cut() {
    points_where(Cut::Recovery, 10, |effect| {
        effect.about == "000001.jsonl" || effect.about == "head"
    });
}

#[test]
fn an_undo_that_was_cut_before_the_times_are_put_back_puts_them_back() {
    points_where(Cut::Undo, 16, |effect| effect.call == "utimensat");
}

/// A disk that refuses to confirm something: the command says so, nothing more is recorded behind a record that may be
/// lost, and nothing else is.
#[track_caller]
fn failed_syncs(scene: Scene, most: usize) {
    if !CAN_FAIL {
        return skipped("no call can be made to fail on this machine");
    }
    let play = |fail_sync| {
        scene.play(Orders {
            fail_sync,
            ..Orders::default()
        })
    };
    let all = match play(None) {
        Ok((_, _, traced)) => traced.syncs.len(),
        Err(why) => return skipped(&why),
    };
    let mut failures = Vec::new();
    for number in 0..most.min(all) {
        let nth = 1 + number * all / most.min(all);
        let (sandbox, before, traced) = play(Some(nth)).unwrap();
        let about = format!(
            "{}, sync {nth} of {all}: {:?}",
            scene.name(),
            traced.syncs.get(nth - 1)
        );
        let behind = traced
            .before_failure
            .map(|at| &traced.effects[at..])
            .unwrap_or_default();
        let is_of_log = |effect: &&cutter::Effect| effect.about == "000001.jsonl";
        // Reports for people come behind the end of the run, and are a warning.
        let is_of_run = traced.syncs[nth..].iter().any(|sync| is_of_log(&sync));
        if traced.code == Some(0) && is_of_run {
            failures.push(format!("{about}: it ends with 0"));
        }
        if traced.syncs.get(nth - 1).is_some_and(|sync| is_of_log(&sync))
            && let Some(more) = behind.iter().find(is_of_log)
        {
            failures.push(format!("{about}: recorded behind it: {more:?}"));
        }
        // Where its own way back met the failure, the times of directories are the present.
        let is_time = |line: &str| line.ends_with(": time");
        if let Err(why) = scene.holds_but_for(&before, &sandbox, is_time) {
            failures.push(format!("{about}: {why}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Syncs of each scene that `cargo test` makes fail.
fn syncs() -> usize {
    if std::env::var_os("ROLLBACK_FAULTS").is_some() {
        usize::MAX
    } else {
        12
    }
}

#[test]
fn a_sync_that_fails_in_a_run_is_told_and_nothing_is_lost() {
    failed_syncs(Scene::Run, syncs());
}

#[test]
fn a_sync_that_fails_in_a_run_that_copies_is_told_and_nothing_is_lost() {
    failed_syncs(Scene::Copy, syncs());
}

#[test]
fn a_sync_that_fails_in_an_undo_is_told_and_nothing_is_lost() {
    failed_syncs(Scene::Undo, syncs());
}

/// Moments of each scene at which `cargo test` cuts the power.
const MOMENTS: Effort = Effort::Evenly(8);

#[track_caller]
#[expect(clippy::print_stderr, reason = "the count of cuts")]
fn power_cut(scene: Scene) {
    let power = match Power::on(scene) {
        Ok(power) => power,
        Err(why) => return skipped(&why),
    };
    let effort = std::env::var("ROLLBACK_FAULTS").map_or(MOMENTS, |text| Effort::read(&text).unwrap());
    let tally = power.cut(effort);
    eprintln!(
        "{}: power cut at {} moments, {} trees; {} lost something",
        scene.name(),
        tally.moments,
        tally.drops,
        tally.failures.len()
    );
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n\n"));
}

#[test]
fn a_power_cut_in_a_run_loses_nothing() {
    power_cut(Scene::Run);
}

#[test]
fn a_power_cut_in_a_run_that_copies_loses_nothing() {
    power_cut(Scene::Copy);
}

#[test]
fn a_power_cut_in_an_undo_loses_nothing() {
    power_cut(Scene::Undo);
}

#[test]
fn a_power_cut_in_a_recovery_loses_nothing() {
    power_cut(Scene::Recover);
}

#[test]
fn a_power_cut_in_a_backup_loses_nothing() {
    power_cut(Scene::Backup);
}

#[test]
fn a_power_cut_in_a_prune_loses_nothing() {
    power_cut(Scene::Prune);
}

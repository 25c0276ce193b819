//! A crash at any instant loses nothing: a run is killed before each of its effects on the world, and each time it can
//! be taken back to the byte, or finished.
//!
//! A sample of the points; `cargo bench --bench faults` tries every one, and random times.

/// The tracer.
pub mod cutter;

/// All points of one kind.
pub mod matrix;

/// What is cut, and what must hold after.
pub mod trial;

use self::matrix::{Cut, Effort, Matrix};
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

#[test]
fn a_run_that_copies_and_was_cut_is_taken_back() {
    sample(Cut::CopyThenUndo);
}

#[test]
fn an_undo_that_was_cut_is_finished() {
    sample(Cut::Undo);
}

#[test]
fn a_recovery_that_was_cut_is_finished() {
    sample(Cut::Recovery);
}

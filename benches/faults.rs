//! Ends everything everywhere: a story is killed before every one of its effects on the world and at random times, and
//! each time it must be possible to take it back to the byte and to finish it; so are its undo and its recovery. Then the
//! power is cut at every moment, under six commands, and the disk loses what was not brought to it. Prints the counts as
//! Markdown; fails where anything is lost.
//!
//! `cargo bench --bench faults -- [all] [random:500] [COUNT]` (default: every point, and of a run 500 random times too)

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "trials work in temporary directories, fail by panicking"
)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "prints the counts")]

use std::process::ExitCode;

use faults::matrix::{Cut, Effort, Matrix};
use faults::power::{Power, Scene};

#[path = "../tests/faults"]
#[allow(dead_code, reason = "made for the tests too")]
mod faults {
    pub mod cutter;
    pub mod disk;
    pub mod matrix;
    pub mod power;
    pub mod trial;
}

#[path = "../tests/sandbox.rs"]
#[allow(dead_code, unused_imports, reason = "made for all tests")]
mod sandbox;

fn main() -> ExitCode {
    let chosen: Vec<Effort> = std::env::args()
        .skip(1)
        .filter(|each| each != "--bench")
        .map(|each| Effort::read(&each).unwrap())
        .collect();
    let mut failures = Vec::new();
    println!("| What is cut | Points | Nothing touched | Settled by `recover` | After the end | Failed |");
    println!("|---|---:|---:|---:|---:|---:|");
    for cut in [
        Cut::RunThenUndo,
        Cut::RunThenResume,
        Cut::CopyThenUndo,
        Cut::Undo,
        Cut::Recovery,
        Cut::RehearsedThenUndo,
        Cut::RehearsedThenResume,
        Cut::RehearsedUndo,
    ] {
        let matrix = match Matrix::of(cut) {
            Ok(matrix) => matrix,
            Err(why) => {
                eprintln!("skipped: {}: {why}", cut.name());
                continue;
            }
        };
        let efforts = match cut {
            _ if !chosen.is_empty() => chosen.clone(),
            Cut::RunThenUndo | Cut::RunThenResume => vec![Effort::All, Effort::AtRandom(500)],
            _ => vec![Effort::All],
        };
        for effort in efforts {
            let tally = matrix.try_points(&matrix.points(effort));
            println!(
                "| {} ({effort}) | {} | {} | {} | {} | {} |",
                cut.name(),
                tally.points,
                tally.untouched,
                tally.recovered,
                tally.finished,
                tally.failures.len()
            );
            failures.extend(tally.failures);
        }
    }
    println!("\n| Where the power is cut | Moments | Trees | Lost something |");
    println!("|---|---:|---:|---:|");
    let effort = chosen.first().copied().unwrap_or(Effort::All);
    for scene in [
        Scene::Run,
        Scene::Copy,
        Scene::Undo,
        Scene::Recover,
        Scene::Backup,
        Scene::Prune,
    ] {
        let power = match Power::on(scene) {
            Ok(power) => power,
            Err(why) => {
                eprintln!("skipped: {why}");
                return ExitCode::SUCCESS;
            }
        };
        let tally = power.cut(effort);
        println!(
            "| {} ({effort}) | {} | {} | {} |",
            scene.name(),
            tally.moments,
            tally.drops,
            tally.failures.len()
        );
        failures.extend(tally.failures);
    }
    if failures.is_empty() {
        println!("\nLost files: 0.");
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", failures.join("\n\n"));
    ExitCode::FAILURE
}

//! Whole-process times of `status --json` and `run 1.3 --dry-run` on the full workspace, with 400 idle processes on the
//! machine, beside an empty process (`bash -c true`) and `node -e 0`, all in one run, alternating. Prints medians.
//!
//! `cargo bench --bench whole_process`
//!
//! With `ROLLBACK_OTHER=PATH` then starts beside another build of the program, in turn, and the sizes of both.
//!
//! Then `run all --yes`, each time on a workspace of its own; with `ROLLBACK_OTHER=PATH` beside that build, in turn, with
//! the median of the ratios pair by pair (what it costs to look again before each act).

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement starts programs and makes its own workspace"
)]
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rollback_manager::demo;

const ROUNDS: usize = 31;
const IDLE: usize = 400;
const REAL_ROUNDS: usize = 15;
const START_ROUNDS: usize = 300;

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    demo::build(directory.path(), &demo::Options::default())?;
    let services = demo::start_services(directory.path())?;
    let idle = Idle::start();
    let rollback = env!("CARGO_BIN_EXE_rollback");
    let cases: Vec<(&str, Vec<&str>)> = vec![
        ("bash -c true", vec!["bash", "-c", "true"]),
        ("node -e 0", vec!["node", "-e", "0"]),
        ("rollback --version", vec![rollback, "--version"]),
        ("rollback status --json", vec![rollback, "status", "--json"]),
        (
            "rollback run 1.3 --dry-run",
            vec![rollback, "run", "1.3", "--dry-run"],
        ),
        (
            "rollback run all --dry-run",
            vec![rollback, "run", "all", "--dry-run"],
        ),
    ];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); cases.len()];
    for round in 0..=ROUNDS {
        for ((_, argv), times) in cases.iter().zip(&mut times) {
            // The first round warms the caches.
            if let (Some(time), true) = (once(argv, directory.path()), round > 0) {
                times.push(time);
            }
        }
    }
    let empty = times
        .first_mut()
        .and_then(|times| median(times))
        .unwrap_or_default();
    println!("{} idle processes, medians of {ROUNDS}", idle.children.len());
    println!("{:<28} {:>10} {:>22}", "command", "ms", "above an empty process");
    for ((name, _), times) in cases.iter().zip(&mut times) {
        match median(times) {
            None => println!("{name:<28} {:>10}", "absent"),
            Some(time) => {
                let above = time.saturating_sub(empty);
                println!(
                    "{name:<28} {:>10.1} {:>22.1}",
                    milliseconds(time),
                    milliseconds(above)
                );
            }
        }
    }
    drop(idle);
    if let Ok(other) = std::env::var("ROLLBACK_OTHER") {
        starts(rollback, &other, directory.path());
    }
    drop(services);
    real_runs(rollback)
}

/// Sizes of this build and of another one, and short commands by both, in turn.
fn starts(ours: &str, other: &str, workspace: &Path) {
    let size = |path: &str| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    println!("bytes: {} beside {}", size(ours), size(other));
    let cases: [&[&str]; 3] = [
        &["--version"],
        &["status", "--json"],
        &["run", "1.2", "--dry-run"],
    ];
    for arguments in cases {
        let mut times: [Vec<Duration>; 2] = Default::default();
        for round in 0..=START_ROUNDS {
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let argv: Vec<&str> = [&[[ours, other][which]], arguments].concat();
                if let (Some(time), true) = (once(&argv, workspace), round > 0) {
                    times[which].push(time);
                }
            }
        }
        let mut ratios: Vec<f64> = times[0]
            .iter()
            .zip(&times[1])
            .map(|(ours, other)| ours.as_secs_f64() / other.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let [ours, other] = times.each_mut().map(|times| median(times).unwrap_or_default());
        println!(
            "{:<28} {:>10.2} beside {:.2} ms, ratio, median of {} pairs: {:.3}",
            arguments.join(" "),
            milliseconds(ours),
            milliseconds(other),
            ratios.len(),
            ratios.get(ratios.len() / 2).copied().unwrap_or_default()
        );
    }
}

/// Real runs of all stories by this build, and by another one where that is named.
fn real_runs(ours: &str) -> Result<()> {
    let other = std::env::var("ROLLBACK_OTHER").ok();
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); 2];
    for round in 0..=REAL_ROUNDS {
        let builds = [Some(ours), other.as_deref()];
        // Whoever comes first meets colder caches: they take turns.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for build in order {
            let (Some(Some(rollback)), Some(times)) = (builds.get(build), times.get_mut(build)) else {
                continue;
            };
            let time = real_run(rollback)?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let pairs = times
        .first()
        .into_iter()
        .flatten()
        .zip(times.get(1).into_iter().flatten());
    let mut ratios: Vec<f64> = pairs
        .map(|(ours, other)| ours.as_secs_f64() / other.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    for (name, times) in ["this build", "the other build"].iter().zip(&mut times) {
        if let Some(time) = median(times) {
            println!(
                "run all --yes, {name:<16} {:>8.1} ms, median of {REAL_ROUNDS}",
                milliseconds(time)
            );
        }
    }
    if let Some(ratio) = ratios.get(ratios.len() / 2) {
        println!("ratio, median of {} pairs: {ratio:.3}", ratios.len());
    }
    Ok(())
}

fn real_run(rollback: &str) -> Result<Duration> {
    let directory = tempfile::tempdir()?;
    demo::build(directory.path(), &demo::Options::default())?;
    let services = demo::start_services(directory.path())?;
    let time = once(&[rollback, "run", "all", "--yes"], directory.path())
        .with_context(|| format!("`{rollback}` doesn't start"))?;
    drop(services);
    Ok(time)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort();
    times.get(times.len() / 2).copied()
}

fn once(argv: &[&str], workspace: &Path) -> Option<Duration> {
    let (program, arguments) = argv.split_first()?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .current_dir(workspace)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    let time = started.elapsed();
    assert!(status.success(), "{argv:?} fails: {status}");
    Some(time)
}

/// Processes that do nothing until their input ends.
struct Idle {
    children: Vec<Child>,
}

impl Idle {
    fn start() -> Self {
        let child = || {
            Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
        };
        Self {
            children: (0..IDLE).filter_map(|_| child().ok()).collect(),
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

//! What watching costs, and how often it is wrong: a first look at a log of 1 GiB (sorted; not sorted; all of it in the
//! window), the share of a processor at 1,000 lines a second, and a table of true and false alarms over generated days.
//!
//! `cargo bench --bench monitor [-- logs|steady|days]`; `ROLLBACK_MONITOR_DAYS=1000`,
//! `ROLLBACK_MONITOR_FIRST_DAY=N` (repeats days), `ROLLBACK_MONITOR_SECONDS=60`

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement starts programs and makes its own logs"
)]
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

#[path = "../tests/monitor/simulator.rs"]
mod simulator;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};
use rollback_manager::monitor::export::timestamp;

const SIZE: u64 = 1 << 30;
const PROGRAM: &str = env!("CARGO_BIN_EXE_rollback");

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|word| word == name);
    if wants("logs") {
        logs()?;
    }
    if wants("steady") {
        steady()?;
    }
    if wants("days") {
        days();
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine at the end: {}", load.trim());
    Ok(())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}

fn workspace(root: &Path) -> Result<()> {
    std::fs::create_dir_all(root.join("logs/duckdb"))?;
    std::fs::write(root.join("rollback.yaml"), "version: 1\n")?;
    Ok(())
}

fn line(at: i64, number: u64) -> String {
    let level = if number.is_multiple_of(50) {
        "ERROR"
    } else {
        "INFO"
    };
    format!(
        "{{\"timestamp\":\"{}\",\"level\":\"{level}\",\"event\":\"query_finished\",\"service\":\"duckdb\",\"duration_ms\":{},\
         \"query\":\"select count(*) from events where day = '2026-11-23'\",\"rows\":{},\"worker\":\"worker-{}\"}}\n",
        timestamp(at),
        number % 400,
        number * 7 % 10_000,
        number % 16
    )
}

/// A log of 1 GiB: `place` says how many milliseconds ago a share of the file was logged.
fn write_log(path: &Path, place: &dyn Fn(f64, u64) -> i64) -> Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let (mut bytes, mut count, begin) = (0, 0, now());
    while bytes < SIZE {
        let text = line(begin - place(bytes as f64 / SIZE as f64, count), count);
        file.write_all(text.as_bytes())?;
        bytes += text.len() as u64;
        count += 1;
    }
    file.flush()?;
    Ok(count)
}

/// How many milliseconds ago a share of a log was written, by share and number of the line.
type Place = dyn Fn(f64, u64) -> i64;

fn logs() -> Result<()> {
    println!(
        "{:<46} {:>10} {:>8} {:>8} {:>10}",
        "first look at 1 GiB", "lines", "s", "MB/s", "most MiB"
    );
    let day = 86_400_000.0;
    #[expect(clippy::cast_possible_truncation, reason = "a time of the day")]
    let cases: [(&str, Box<Place>); 3] = [
        (
            "a day, sorted: the window is searched",
            Box::new(move |share, _| ((1.0 - share) * day) as i64),
        ),
        (
            "a day, not sorted: every line is looked at",
            Box::new(move |share, number| {
                let back = ((1.0 - share) * day) as i64;
                if number.is_multiple_of(2) {
                    back
                } else {
                    86_400_000 - back
                }
            }),
        ),
        (
            "all in the window: every line is parsed",
            Box::new(|share, _| ((1.0 - share) * 200_000.0) as i64),
        ),
    ];
    for (name, place) in cases {
        let directory = tempfile::tempdir()?;
        workspace(directory.path())?;
        let count = write_log(&directory.path().join("logs/duckdb/app.log"), &place)?;
        let mut best = f64::MAX;
        let mut most = 0.0_f64;
        for _ in 0..3 {
            let _ = std::fs::remove_dir_all(directory.path().join(".rollback"));
            let started = Instant::now();
            let output = Command::new("/usr/bin/time")
                .args(["-f", "%M", PROGRAM, "monitor", "--once", "--json"])
                .current_dir(directory.path())
                .env("NO_COLOR", "1")
                .stdin(Stdio::null())
                .output()?;
            best = best.min(started.elapsed().as_secs_f64());
            let said = String::from_utf8_lossy(&output.stderr);
            let memory = said
                .lines()
                .last()
                .and_then(|line| line.trim().parse::<f64>().ok());
            most = most.max(memory.context("no figure of /usr/bin/time")? / 1024.0);
            let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
            assert!(document["intake"]["events"].as_u64() > Some(0), "{document}");
        }
        println!(
            "{name:<46} {count:>10} {best:>8.2} {:>8.0} {most:>10.1}",
            SIZE as f64 / 1e6 / best
        );
    }
    Ok(())
}

/// User and system time of a process in seconds.
fn processor(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = [11, 12]
        .iter()
        .filter_map(|at| fields.get(*at)?.parse::<f64>().ok())
        .sum();
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

fn steady() -> Result<()> {
    let seconds = number("ROLLBACK_MONITOR_SECONDS", 60);
    let directory = tempfile::tempdir()?;
    workspace(directory.path())?;
    let path = directory.path().join("logs/duckdb/app.log");
    let mut file = File::create(&path)?;
    let mut monitor = Command::new(PROGRAM)
        .args(["monitor", "--quiet"])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .spawn()?;
    // A hundred lines each tenth of a second.
    let (begin, mut written) = (Instant::now(), 0_u64);
    let (_keep, ticks) = std::sync::mpsc::channel::<()>();
    let mut from = None;
    while begin.elapsed() < Duration::from_secs(seconds + 10) {
        let due = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let text: String = (written..due).map(|number| line(now(), number)).collect();
        file.write_all(text.as_bytes())?;
        written = due;
        if from.is_none() && begin.elapsed() > Duration::from_secs(10) {
            from = Some((processor(monitor.id())?, Instant::now()));
        }
        let _ = ticks.recv_timeout(Duration::from_millis(100));
    }
    let (before, since) = from.context("it took no ten seconds")?;
    let used = (processor(monitor.id())? - before) / since.elapsed().as_secs_f64();
    let status = std::fs::read_to_string(format!("/proc/{}/status", monitor.id())).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    println!(
        "1,000 lines a second for {seconds} s: {:.2} % of a processor, most memory {}",
        used * 100.0,
        peak.trim()
    );
    let _ = monitor.kill();
    let _ = monitor.wait();
    Ok(())
}

fn days() {
    let count = number("ROLLBACK_MONITOR_DAYS", 1000);
    // Other days each time; the number of the first one repeats them.
    let fresh = u64::try_from(now()).unwrap_or_default() / 1000 * 10_000;
    let first = number("ROLLBACK_MONITOR_FIRST_DAY", fresh);
    println!("the first day is {first}");
    let started = Instant::now();
    let tallies = simulator::days(first..first + count);
    println!("{}", simulator::table(&tallies));
    let mut sum = simulator::Tally::default();
    for (_, tally) in &tallies {
        sum.add(tally);
    }
    println!(
        "{count} days in {:.0} s: {} rollbacks without a sustained breach, {} repeated, {} breaches missed",
        started.elapsed().as_secs_f64(),
        sum.false_rollbacks,
        sum.repeated,
        sum.missed
    );
    for failure in &sum.failures {
        println!("{failure}");
    }
}

//! Records a second of `audit verify` over a log of a million records, beside `sha256sum` of the same bytes in the same
//! run, with the most memory that each took. Prints medians.
//!
//! `cargo bench --bench audit`

#![expect(
    clippy::disallowed_methods,
    reason = "a measurement starts programs and makes its own log"
)]
#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};
use rollback_manager::audit::record::{self, Hash, ORIGIN};
use rollback_manager::audit::segments::head_text;
use rollback_manager::report::AuditHead;
use serde_json::{Value, json};

const RECORDS: u64 = 1_000_000;
const SEGMENT: u64 = 100_000;
const ROUNDS: usize = 7;

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let (bytes, files) = write_log(root)?;
    println!(
        "{RECORDS} records, {} MiB in {} files, {} processors, medians of {ROUNDS}",
        bytes >> 20,
        files.len(),
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    );
    let verify = [
        env!("CARGO_BIN_EXE_rollback").to_owned(),
        "audit".to_owned(),
        "verify".to_owned(),
    ];
    let sum: Vec<String> = std::iter::once("sha256sum".to_owned()).chain(files).collect();
    let mut costs = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (argv, costs) in [&verify[..], &sum[..]].into_iter().zip(&mut costs) {
            let cost = once(argv, root)?;
            // The first round warms the caches.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of the machine at the end: {}", load.trim());
    println!(
        "{:<24} {:>8} {:>14} {:>8} {:>12} {:>10}",
        "command", "s", "records/s", "MiB/s", "processor s", "most MiB"
    );
    let mut medians = Vec::new();
    for (name, costs) in ["rollback audit verify", "sha256sum"].iter().zip(&costs) {
        let median = |figure: fn(&Cost) -> f64| {
            let mut figures: Vec<f64> = costs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[ROUNDS / 2]
        };
        let seconds = median(|cost| cost.seconds);
        println!(
            "{name:<24} {seconds:>8.2} {:>14.0} {:>8.0} {:>12.2} {:>10.1}",
            count(RECORDS) / seconds,
            count(bytes) / seconds / f64::from(1 << 20),
            median(|cost| cost.processor),
            costs.iter().map(|cost| cost.memory).fold(0.0, f64::max) / 1024.0,
        );
        medians.push(seconds);
    }
    println!(
        "sha256sum takes {:.2} times as long as verify",
        medians[1] / medians[0]
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn count(number: u64) -> f64 {
    number as f64
}

/// A log like that of real runs: an intent and an outcome in turn, its segments closed by `rotated`.
fn write_log(root: &Path) -> Result<(u64, Vec<String>)> {
    let audit = root.join(".rollback/audit");
    std::fs::create_dir_all(&audit)?;
    std::fs::write(root.join("rollback.yaml"), "version: 1\n")?;
    let mut files = Vec::new();
    let (mut prev, mut bytes) = (ORIGIN, 0);
    for segment in 1..=RECORDS / SEGMENT {
        let path = audit.join(format!("{segment:06}.jsonl"));
        let mut file = BufWriter::new(File::create(&path)?);
        for seq in (segment - 1) * SEGMENT + 1..=segment * SEGMENT {
            let (line, hash) = record::seal(fields(seq, &prev));
            file.write_all(line.as_bytes())?;
            bytes += line.len() as u64;
            prev = hash;
        }
        file.flush()?;
        files.push(path.display().to_string());
    }
    let head = AuditHead {
        log_id: "20261123T013000Z-1a2b".to_owned(),
        seq: RECORDS,
        hash: record::hex(&prev),
    };
    std::fs::write(audit.join("head"), head_text(&head))?;
    Ok((bytes, files))
}

fn fields(seq: u64, prev: &Hash) -> serde_json::Map<String, Value> {
    let mut record = json!({
        "v": 1, "seq": seq, "ts": "2026-11-23T01:30:00.000Z", "log": "20261123T013000Z-1a2b",
        "run": format!("20261123T013000Z-{:04x}", seq / 100),
    });
    let n = seq % 100 / 2;
    let about = if seq.is_multiple_of(SEGMENT) {
        json!({ "event": "rotated", "next": format!("{:06}.jsonl", seq / SEGMENT + 1) })
    } else if seq % 2 == 1 {
        json!({
            "event": "operation_begun", "n": n, "story": "1.3", "phase": "execute", "step": "Remove the services",
            "op": "remove_path", "target": format!("services/duckdb/part-{n}.js"),
            "summary": format!("remove `services/duckdb/part-{n}.js` (1 file, 2.1 KiB)"), "risk": "reversible",
            "undo": { "by": "move_back", "moves": [{ "from": format!("services/duckdb/part-{n}.js"),
                "to": format!(".rollback/runs/20261123T013000Z-1a2b/removed/{n}/part-{n}.js") }],
                "times": [["services/duckdb", 1_795_397_400_000_000_000_i64]], "drop": [] },
        })
    } else {
        json!({ "event": "operation_finished", "n": n, "begun": seq - 1, "why": null })
    };
    let (Some(record), Value::Object(about)) = (record.as_object_mut(), about) else {
        unreachable!("both are objects");
    };
    record.extend(about);
    record.insert("prev".to_owned(), json!(record::hex(prev)));
    std::mem::take(record)
}

/// What one run took.
#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    seconds: f64,
    /// Of all processors together: says more than the time where others are at work on the machine.
    processor: f64,
    /// Most memory, in KiB.
    memory: f64,
}

/// Runs a program once, under `/usr/bin/time` where that is there; without it only the time is known.
fn once(argv: &[String], root: &Path) -> Result<Cost> {
    let timed = Path::new("/usr/bin/time").exists();
    let (program, arguments) = argv.split_first().context("no program is named")?;
    let mut command = Command::new(if timed { "/usr/bin/time" } else { program });
    if timed {
        command.args(["-f", "%U %S %M", program]);
    }
    let started = Instant::now();
    let output = command
        .args(arguments)
        .current_dir(root)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start `{program}`"))?;
    let seconds = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{argv:?} fails: {said}");
    let figures: Vec<f64> = said
        .lines()
        .last()
        .map(|line| line.split(' ').filter_map(|figure| figure.parse().ok()).collect())
        .unwrap_or_default();
    let [user, system, memory] = figures[..] else {
        return Ok(Cost {
            seconds,
            ..Cost::default()
        });
    };
    Ok(Cost {
        seconds,
        processor: user + system,
        memory,
    })
}

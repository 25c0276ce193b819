//! Watching: verdicts from logs, what follows from them, and that nothing follows twice.

mod bad_sources;
mod full_disk;
mod processes;
mod simulator;
mod unwatched;
mod writers;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rollback_manager::demo;
use rollback_manager::monitor::export::timestamp;
use serde_json::Value;

use crate::sandbox::{Finished, Sandbox, assert_says, ended};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A line of a log, so many seconds ago.
fn line(seconds_ago: i64, level: &str, service: &str, more: &str) -> String {
    let at = timestamp(now() - seconds_ago * 1000);
    format!(
        "{{\"timestamp\":\"{at}\",\"level\":\"{level}\",\"event\":\"query\",\"service\":\"{service}\"{more}}}\n"
    )
}

/// Events of the last five minutes, of which a share are errors: one of each `each`.
fn traffic(service: &str, count: i64, each: i64) -> String {
    (0..count)
        .rev()
        .map(|number| {
            let level = if each > 0 && number % each == 0 {
                "ERROR"
            } else {
                "INFO"
            };
            line(number * 290 / count, level, service, ",\"duration\":40")
        })
        .collect()
}

fn append(sandbox: &Sandbox, path: &str, text: &str) {
    let path = sandbox.path(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A workspace without the trigger for memory: this machine's is nobody's matter here.
fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback.yaml",
        "monitor:\n  triggers: [{ name: memory, metric: memory, threshold: 1.0 }]\n",
    );
    sandbox
}

/// Judges once; the document keeps to its schema.
#[track_caller]
fn once(sandbox: &Sandbox, code: i32) -> Value {
    let finished = sandbox.run(&["monitor", "--once", "--json"]).assert_code(code);
    let document = finished.json();
    let path = format!("{}/docs/schema/monitor.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert_eq!(problems, Vec::<String>::new(), "{document:#}");
    document
}

#[track_caller]
fn row<'a>(document: &'a Value, name: &str, service: Option<&str>) -> &'a Value {
    document["triggers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == name && row["service"].as_str() == service)
        .unwrap_or_else(|| panic!("no row {name} {service:?}: {document:#}"))
}

fn has_warning(document: &Value, text: &str) -> bool {
    document["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|warning| warning.as_str().unwrap().contains(text))
}

#[test]
#[expect(clippy::print_stdout, reason = "`--nocapture` shows the table")]
fn generated_days_are_judged_as_the_generator_knows_them() {
    let count = std::env::var("ROLLBACK_MONITOR_DAYS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(10);
    let tallies = simulator::days(0..count);
    println!("{}", simulator::table(&tallies));
    let mut sum = simulator::Tally::default();
    for (_, tally) in &tallies {
        sum.add(tally);
    }
    assert_eq!(sum.days, count);
    assert!(sum.illnesses >= count / 3, "{sum:?}");
    assert!(sum.rollbacks > 0, "{sum:?}");
    assert_eq!(
        (sum.false_rollbacks, sum.repeated, sum.missed),
        (0, 0, 0),
        "{:#?}",
        sum.failures
    );
}

#[test]
fn one_look_judges_each_service_by_its_log() {
    let sandbox = workspace();
    append(&sandbox, "logs/security.log", &traffic("duckdb", 120, 2));
    append(&sandbox, "logs/dbt/run.log", &traffic("ignored", 120, 40));
    append(&sandbox, "logs/security.log", &traffic("dagster", 3, 3));
    let document = once(&sandbox, 1);
    let duckdb = row(&document, "error-rate", Some("duckdb"));
    assert_eq!(
        (&duckdb["verdict"], &duckdb["action"]),
        (&"breach".into(), &"alert".into())
    );
    assert_eq!((&duckdb["value"], &duckdb["samples"]), (&0.5.into(), &120.into()));
    assert_eq!(
        (&duckdb["sustained"], &duckdb["done"]),
        (&true.into(), &"alerted".into())
    );
    assert!(
        duckdb["why"]
            .as_str()
            .unwrap()
            .starts_with("60 of 120 events are errors (50.0 %)")
    );
    assert_eq!(row(&document, "error-rate", Some("dbt"))["verdict"], "healthy");
    // One error in three requests is not an outage.
    let few = row(&document, "error-rate", Some("dagster"));
    assert_eq!(
        (&few["verdict"], &few["action"]),
        (&"inconclusive".into(), &"none".into())
    );
    assert_eq!(row(&document, "response-time", Some("duckdb"))["value"], 40.0);
    assert!(has_warning(&document, "inconclusive"), "{document:#}");
}

#[test]
fn no_data_is_neither_good_nor_bad() {
    let sandbox = workspace();
    let document = once(&sandbox, 0);
    let row = row(&document, "error-rate", None);
    assert_eq!(
        (&row["verdict"], &row["value"]),
        (&"inconclusive".into(), &Value::Null)
    );
    assert!(has_warning(&document, "no directory `logs`"), "{document:#}");
    // Old lines, and lines of tomorrow, are no data of now.
    append(
        &sandbox,
        "logs/security.log",
        &line(4000, "ERROR", "api", "").repeat(50),
    );
    append(
        &sandbox,
        "logs/security.log",
        &line(-4000, "ERROR", "api", "").repeat(50),
    );
    let document = once(&sandbox, 0);
    assert_eq!(document["intake"]["future"], 50, "{document:#}");
}

#[test]
fn times_without_a_zone_are_meant_in_that_of_their_log() {
    // Two hours before UTC reaches the same time of day.
    let local = |seconds_ago: i64| {
        let at = timestamp(now() + 2 * 3_600_000 - seconds_ago * 1000);
        at.trim_end_matches('Z').replace('T', " ")
    };
    let lines = |level: &str| -> String {
        let lines = (0..40).rev();
        lines
            .map(|number| format!("{} {level} shop: query\n", local(number * 5)))
            .collect::<Vec<_>>()
            .concat()
    };
    let verdict = |config: &str, zone: &str| {
        let sandbox = workspace();
        sandbox
            .write("rollback.yaml", config)
            .write("logs/shop/shop.log", lines("ERROR"));
        let mut command = sandbox.command(&["monitor", "--once", "--json"]);
        let output = command.env("TZ", zone).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (
            output.status.code(),
            row(&document, "error-rate", Some("shop")).clone(),
        )
    };
    // Taken for UTC, they lie in the future, and are no ground for a verdict.
    let (_, taken_for_utc) = verdict("", "UTC");
    assert_eq!(taken_for_utc["verdict"], "inconclusive", "{taken_for_utc:#}");
    for (timezone, zone) in [("+02:00", "UTC"), ("local", "TST-2")] {
        let config = format!("monitor: {{ logs: [{{ name: shop, timezone: {timezone} }}] }}\n");
        let (code, row) = verdict(&config, zone);
        assert_eq!(
            (code, &row["verdict"]),
            (Some(1), &Value::from("breach")),
            "{timezone}: {row:#}"
        );
    }
}

#[test]
fn nothing_is_counted_twice_and_the_alert_is_told_once() {
    let sandbox = workspace();
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
    let first = once(&sandbox, 1);
    assert_eq!(row(&first, "error-rate", Some("api"))["done"], "alerted");
    append(&sandbox, "logs/api/app.log", &line(0, "ERROR", "", "").repeat(10));
    std::fs::rename(
        sandbox.path("logs/api/app.log"),
        sandbox.path("logs/api/app.1.log"),
    )
    .unwrap();
    append(&sandbox, "logs/api/app.log", &line(0, "ERROR", "", "").repeat(5));
    let second = once(&sandbox, 1);
    let row = row(&second, "error-rate", Some("api"));
    assert_eq!(second["intake"]["events"], 75, "{second:#}");
    // The oldest may have left the window meanwhile.
    assert!((60..=75).contains(&row["samples"].as_u64().unwrap()), "{row:#}");
    assert_eq!(row["done"], "nothing");
}

#[test]
fn only_its_own_records_are_written() {
    let sandbox = workspace();
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
    once(&sandbox, 1);
    let before = sandbox.snapshot(&[".rollback"]);
    append(&sandbox, "logs/api/app.log", "");
    once(&sandbox, 1);
    crate::sandbox::assert_unchanged(&before, &sandbox.snapshot(&[".rollback"]));
    let kept: Vec<String> = std::fs::read_dir(sandbox.path(".rollback"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".gitignore")
        .collect();
    assert_eq!(kept, ["monitor"]);
}

#[test]
fn thresholds_of_the_flags_file_count_and_nonsense_there_is_told() {
    let sandbox = workspace();
    append(&sandbox, "logs/api/app.log", &traffic("", 100, 5));
    sandbox.write(
        "config/feature-flags.yaml",
        "features: {}\nrollback_triggers:\n  - error_rate_threshold: 0.3\n  - response_time_threshold: 20\n",
    );
    let document = once(&sandbox, 1);
    assert_eq!(row(&document, "error-rate", Some("api"))["verdict"], "healthy");
    assert_eq!(row(&document, "response-time", Some("api"))["verdict"], "breach");
    sandbox.write(
        "config/feature-flags.yaml",
        "features: {}\nrollback_triggers:\n  - error_rate_threshold: 30\n  - response_time_threshold: soon\n",
    );
    let document = once(&sandbox, 1);
    assert_eq!(row(&document, "error-rate", Some("api"))["threshold"], 0.1);
    assert!(has_warning(&document, "error_rate_threshold"), "{document:#}");
    assert!(has_warning(&document, "response_time_threshold"), "{document:#}");
    sandbox.write("config/feature-flags.yaml", "features: [\n");
    assert!(has_warning(&once(&sandbox, 1), "default thresholds"));
    sandbox.write(
        "rollback.yaml",
        "monitor:\n  triggers: [{ metric: error_rate, threshold: 10 }]\n",
    );
    let refused = sandbox.run(&["monitor", "--once"]).assert_code(2);
    assert_says(&refused, &["from 0 to 1"]);
    sandbox.write(
        "rollback.yaml",
        "monitor:\n  triggers: [{ metric: error_rate, threshold: 0.1, story: '7.7', action: rollback }]\n",
    );
    let refused = sandbox.run(&["monitor", "--once"]).assert_code(2);
    assert_says(&refused, &["there is no story `7.7`"]);
}

#[test]
fn bad_logs_are_told_and_the_watching_goes_on() {
    let sandbox = workspace();
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
    append(
        &sandbox,
        "logs/api/app.log",
        "no json\n{\"level\":\n{\"level\":\"ERROR\"}\n\n[1]\n",
    );
    append(&sandbox, "logs/api/app.log", &("x".repeat(3 << 20) + "\n"));
    let at = timestamp(now());
    let mut latin = format!("{{\"timestamp\":\"{at}\",\"level\":\"ERROR\",\"message\":\"gr").into_bytes();
    latin.extend(b"\xfc\xdfe\"}\n");
    std::fs::OpenOptions::new()
        .append(true)
        .open(sandbox.path("logs/api/app.log"))
        .unwrap()
        .write_all(&latin)
        .unwrap();
    // Out of order, and of another zone.
    append(&sandbox, "logs/api/app.log", &line(100, "INFO", "", ""));
    let there = chrono_zone(now());
    append(
        &sandbox,
        "logs/api/app.log",
        &format!("{{\"time\":\"{there}\",\"level\":\"INFO\"}}\n"),
    );
    std::fs::create_dir_all(sandbox.path("logs/odd/dir.log")).unwrap();
    std::os::unix::fs::symlink("nowhere", sandbox.path("logs/odd/link.log")).unwrap();
    let document = once(&sandbox, 1);
    let intake = &document["intake"];
    assert_eq!(
        (&intake["broken"], &intake["untimed"], &intake["huge"]),
        (&3.into(), &1.into(), &1.into()),
        "{document:#}"
    );
    assert_eq!(intake["events"], 63, "{document:#}");
    sandbox.write(".rollback/monitor/state.json", "{ \"version\":");
    let document = once(&sandbox, 1);
    assert!(has_warning(&document, "memory can't be used"), "{document:#}");
    assert_eq!(document["intake"]["events"], 63, "{document:#}");
}

/// A time in a zone five hours ahead.
fn chrono_zone(at: i64) -> String {
    timestamp(at + 5 * 3_600_000).replace('Z', "+05:00")
}

#[test]
fn attacks_in_the_security_log_are_incidents() {
    let sandbox = workspace();
    let failure = |address: &str| {
        let at = timestamp(now());
        format!(
            "{{\"timestamp\":\"{at}\",\"level\":\"WARN\",\"event\":\"auth_failed\",\"ip\":\"{address}\",\"user\":\"root\",\
             \"password\":\"hunter2hunter2\"}}\n"
        )
    };
    append(&sandbox, "logs/security.log", &failure("10.0.0.5").repeat(5));
    append(&sandbox, "logs/security.log", &failure("10.0.0.6").repeat(6));
    append(&sandbox, "logs/security.log", &failure("10.0.0.11").repeat(11));
    let finished = sandbox.run(&["monitor", "--once"]).assert_code(0);
    assert_says(
        &finished,
        &["security-incident: authentication failures from 10.0.0.11"],
    );
    let document = once(&sandbox, 0);
    let incidents: Vec<(&str, &str, bool)> = document["incidents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["address"].as_str().unwrap(),
                one["severity"].as_str().unwrap(),
                one["new"].as_bool().unwrap(),
            )
        })
        .collect();
    // They were told by the first look.
    assert_eq!(
        incidents,
        [("10.0.0.11", "high", false), ("10.0.0.6", "medium", false)]
    );
    assert!(!sandbox.read(".rollback/monitor/state.json").contains("hunter2"));
}

#[test]
fn a_story_can_hold_its_own_trigger() {
    let sandbox = workspace();
    sandbox
        .write(
            "rollback/reports.rhai",
            "const STORY = #{ id: \"9.1\", title: \"Reports\" };\n\
             fn trigger(metrics) { let api = metrics.services[\"api\"]; api != () && api.errors > 20 && metrics.memory < 1.0 }\n",
        )
        .write(
            "rollback.yaml",
            "monitor:\n  default_triggers: false\n  triggers: [{ name: own, metric: script, story: '9.1', sustained_for: 0s }]\n",
        );
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 6));
    assert_eq!(row(&once(&sandbox, 0), "own", None)["verdict"], "healthy");
    append(&sandbox, "logs/api/app.log", &line(0, "ERROR", "", "").repeat(30));
    assert_eq!(row(&once(&sandbox, 1), "own", None)["verdict"], "breach");
    for (body, named) in [
        ("while true {}", "used up its operations"),
        ("remove_path(\"x\")", "remove_path"),
        ("\"yes\"", "neither true"),
    ] {
        sandbox.write(
            "rollback/reports.rhai",
            format!(
                "const STORY = #{{ id: \"9.1\", title: \"Reports\" }};\nfn trigger(metrics) {{ {body} }}\n"
            ),
        );
        let document = sandbox.json(&["monitor", "--once"]);
        assert!(has_warning(&document, named), "{named}: {document:#}");
        assert_eq!(row(&document, "own", None)["verdict"], "inconclusive", "{named}");
    }
}

#[test]
fn probes_and_endpoints_are_asked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut request)
                .unwrap();
            let (status, body) = if request.contains("/metrics") {
                (
                    "200 OK",
                    "disk_used{mount=\"/\"} 40\ndisk_used{mount=\"/var\"} 30\ndisk_used{mount=\"/srv\"} NaN\n\
                     jobs{queue=\"a\"} 40\njobs{queue=\"b\"} 30\n",
                )
            } else {
                ("503 Unavailable", "")
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    let sandbox = workspace();
    sandbox.write(
        "rollback.yaml",
        format!(
            "monitor:\n  default_triggers: false\n  probes: [{{ service: web, url: 'http://127.0.0.1:{port}/health' }}]\n  \
             prometheus:\n    - {{ name: disk, url: 'http://127.0.0.1:{port}/metrics', series: disk_used }}\n    \
             - {{ name: jobs, url: 'http://127.0.0.1:{port}/metrics', series: jobs, sum: true }}\n  triggers:\n    \
             - {{ name: up, metric: availability, threshold: 0.9, min_samples: 1 }}\n    \
             - {{ name: disk, metric: prometheus, source: disk, threshold: 50 }}\n    \
             - {{ name: jobs, metric: prometheus, source: jobs, threshold: 50 }}\n"
        ),
    );
    let document = once(&sandbox, 1);
    server.join().unwrap();
    let up = row(&document, "up", Some("web"));
    assert_eq!((&up["verdict"], &up["value"]), (&"breach".into(), &0.0.into()));
    // A breach that was seen once is not sustained.
    assert_eq!(
        (&up["sustained"], &up["done"]),
        (&false.into(), &"nothing".into())
    );
    // Each series by itself, the one that can't be known first; a sum where one is asked for.
    let of_disks: Vec<(&str, &str)> = document["triggers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["name"] == "disk")
        .map(|row| (row["service"].as_str().unwrap(), row["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(
        of_disks,
        [
            ("{mount=\"/srv\"}", "inconclusive"),
            ("{mount=\"/\"}", "healthy"),
            ("{mount=\"/var\"}", "healthy")
        ]
    );
    assert!(
        has_warning(&document, "`disk_used{mount=\"/srv\"}` is no number"),
        "{document:#}"
    );
    let jobs = row(&document, "jobs", None);
    assert_eq!(
        (&jobs["value"], &jobs["verdict"]),
        (&70.0.into(), &"breach".into())
    );
}

/// A monitor in the foreground; it ends with the test.
struct Monitor {
    child: Child,
    said: std::sync::mpsc::Receiver<String>,
    heard: Vec<String>,
}

impl Monitor {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut child = sandbox
            .command(&[&["monitor"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = std::sync::mpsc::channel();
        for stream in [
            Box::new(child.stdout.take().unwrap()) as Box<dyn std::io::Read + Send>,
            Box::new(child.stderr.take().unwrap()),
        ] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self {
            child,
            said,
            heard: Vec::new(),
        }
    }

    /// Waits for a line with this text.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("`{text}` was not said:\n{}", self.heard.join("\n"));
            };
            self.heard.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn end(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::TERM);
        ended(&mut self.child).code()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn in_the_foreground_it_serves_a_page_reads_its_configuration_anew_and_ends_cleanly() {
    let sandbox = workspace();
    let rules = |threshold: &str| {
        format!(
            "monitor:\n  interval: 1s\n  default_triggers: false\n  triggers: [{{ name: errors, metric: error_rate, threshold: {threshold} }}]\n"
        )
    };
    sandbox.write("rollback.yaml", rules("0.1"));
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
    let mut monitor = Monitor::start(&sandbox, &["--listen", "127.0.0.1:0"]);
    let line = monitor.wait_for("listening at");
    let address = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap()
        .to_owned();
    monitor.wait_for("errors of api: 30 of 60 events");
    let page = get(&address, "/metrics");
    assert!(
        page.contains("rollback_monitor_verdict{trigger=\"errors\",service=\"api\"} 1\n"),
        "{page}"
    );
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/else").starts_with("HTTP/1.1 404"));
    // A second one judges, and keeps out of the way.
    let document = once(&sandbox, 1);
    assert!(has_warning(&document, "another monitor"), "{document:#}");
    sandbox.write("rollback.yaml", "monitor: { intervall: 1s }\n");
    monitor.signal(rustix::process::Signal::HUP);
    monitor.wait_for("stays as it was");
    sandbox.write("rollback.yaml", rules("0.9"));
    monitor.signal(rustix::process::Signal::HUP);
    monitor.wait_for("read anew");
    monitor.wait_for("not above 90.0 %");
    assert_eq!(monitor.end(), Some(0));
}

/// A program that writes an error every now and then to the log of a service, until its input ends: in JavaScript, or for
/// the shell where there is no node.
fn failing_service(sandbox: &Sandbox, service: &str) -> Child {
    std::fs::create_dir_all(sandbox.path(&format!("logs/{service}"))).unwrap();
    let script = format!(
        "const fs = require('fs');\n\
         const line = () => JSON.stringify({{ timestamp: new Date().toISOString(), level: 'ERROR', event: 'query_failed' }});\n\
         setInterval(() => fs.appendFileSync('logs/{service}/app.log', line() + '\\n'), 50);\n\
         process.stdin.on('end', () => process.exit(0)).resume();\n"
    );
    let in_node = Command::new("node")
        .args(["-e", &script])
        .current_dir(sandbox.root())
        .stdin(Stdio::piped())
        .spawn();
    if let Ok(service) = in_node {
        return service;
    }
    let script = format!(
        "(while :; do date -u +'{{\"timestamp\":\"%Y-%m-%dT%H:%M:%S.%3NZ\",\"level\":\"ERROR\",\"event\":\"query_failed\"}}' \
         >> logs/{service}/app.log; sleep 0.05; done) & writer=$!; cat > /dev/null; kill $writer"
    );
    Command::new("/bin/sh")
        .args(["-c", &script])
        .current_dir(sandbox.root())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn stop(mut service: Child) {
    drop(service.stdin.take());
    ended(&mut service);
}

const AUTOMATIC: &str = "monitor:
  interval: 1s
  default_triggers: false
  triggers:
    - { name: notebook-errors, metric: error_rate, service: jupyter, threshold: 0.2, window: 6s, sustained_for: 2s,
        min_samples: 10, cooldown: 1h, story: '1.7', action: rollback }
alerts: { channels: [{ name: file, log: {} }] }
";

fn deployed() -> Sandbox {
    let sandbox = Sandbox::deployed(demo::Options {
        venv: false,
        npm: false,
    });
    sandbox.write("rollback.yaml", AUTOMATIC);
    sandbox
}

/// What arrived through the channel of the log.
fn alerts(sandbox: &Sandbox) -> String {
    sandbox.read("logs/rollback-alerts.log")
}

fn runs(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["history"])["runs"].as_array().unwrap().clone()
}

#[test]
fn a_breach_rolls_the_story_back_once_and_says_why() {
    let sandbox = deployed();
    let service = failing_service(&sandbox, "jupyter");
    let mut monitor = Monitor::start(&sandbox, &["--auto"]);
    monitor.wait_for("1.7 is being rolled back");
    let done = monitor.wait_for("1.7 was rolled back");
    assert!(done.starts_with("completion: "), "{done}");
    // It goes on failing, and nothing more is done within the cooldown.
    monitor.wait_for("not rolled back: 1.7 was rolled back");
    assert_eq!(monitor.end(), Some(0));
    // Nor by the next monitor.
    let again = sandbox.run(&["monitor", "--once", "--auto", "--json"]).json();
    stop(service);
    assert_ne!(
        row(&again, "notebook-errors", Some("jupyter"))["done"],
        "rolled-back",
        "{again:#}"
    );
    let runs = runs(&sandbox);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    let report = sandbox.json(&["show", runs[0]["run"].as_str().unwrap()]);
    assert_eq!(
        (&report["trigger"], &report["outcome"]),
        (&"error-rate".into(), &"done".into())
    );
    let reason = report["reason"].as_str().unwrap();
    for part in [
        "notebook-errors",
        "jupyter",
        "are errors",
        "window 6s",
        "threshold 20.0 %",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(
        sandbox
            .read(".rollback/audit/000001.jsonl")
            .contains("notebook-errors")
    );
    let alerts = alerts(&sandbox);
    // Each is told once; the run itself tells how it ended, with the trigger and its numbers.
    let told = |kind: &str| -> Vec<&str> {
        let mark = format!("\"kind\":\"{kind}\"");
        alerts.lines().filter(|line| line.contains(&mark)).collect()
    };
    assert_eq!(
        told("breach")
            .iter()
            .filter(|line| line.contains("1.7 is being rolled back"))
            .count(),
        1,
        "{alerts}"
    );
    assert_eq!(told("initiation").len(), 1, "{alerts}");
    let completion = told("completion");
    assert_eq!(completion.len(), 1, "{alerts}");
    for part in [
        "rollback of 1.7 is done",
        "notebook-errors",
        "window 6s",
        "threshold 20.0 %",
        "rollback_reports/",
    ] {
        assert!(completion[0].contains(part), "{part}: {completion:?}");
    }
    assert!(alerts.contains("not approved"), "{alerts}");
    sandbox.run(&["audit", "verify"]).assert_code(0);
}

#[test]
fn without_auto_nothing_is_rolled_back() {
    let sandbox = deployed();
    let service = failing_service(&sandbox, "jupyter");
    let mut monitor = Monitor::start(&sandbox, &[]);
    monitor.wait_for("without --auto");
    assert_eq!(monitor.end(), Some(0));
    stop(service);
    assert_eq!(runs(&sandbox), Vec::<Value>::new());
}

#[test]
fn nothing_is_rolled_back_while_a_run_that_was_cut_off_waits() {
    let sandbox = deployed();
    sandbox.write(".rollback/active", "{\"run\":\"20261123T013000Z-1a2b\"}");
    let service = failing_service(&sandbox, "jupyter");
    let mut monitor = Monitor::start(&sandbox, &["--auto"]);
    monitor.wait_for("was cut off: `rollback recover` settles it");
    assert_eq!(monitor.end(), Some(0));
    stop(service);
    assert_eq!(runs(&sandbox), Vec::<Value>::new());
}

/// Ended by force at random times and started again: one rollback, told at least once, and nothing counted twice.
#[test]
fn a_monitor_that_is_killed_rolls_nothing_back_twice() {
    let sandbox = deployed();
    let service = failing_service(&sandbox, "jupyter");
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut heard = Vec::new();
    let begin = Instant::now();
    let told = |heard: &[String]| {
        heard
            .iter()
            .any(|line| line.contains("1.7 was rolled back") || line.contains("rollback of 1.7"))
    };
    while !told(&heard) && begin.elapsed() < PATIENCE {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut monitor = Monitor::start(&sandbox, &["--auto"]);
        let life = Duration::from_millis(300 + seed % 4000);
        let end = Instant::now() + life;
        while let Ok(line) = monitor
            .said
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            monitor.heard.push(line);
        }
        heard.append(&mut monitor.heard);
    }
    // What was at work when it was killed ends by itself; then the last one tells of it.
    let mut last = Monitor::start(&sandbox, &["--auto"]);
    if !told(&heard) {
        last.wait_for("1.7");
    }
    last.wait_for("jupyter");
    assert_eq!(last.end(), Some(0));
    stop(service);
    let runs = runs(&sandbox);
    assert!(runs.len() <= 1, "{runs:#?}");
    assert!(told(&heard), "{heard:#?}");
    let alerts = alerts(&sandbox);
    assert!(alerts.contains("1.7 is being rolled back"), "{alerts}");
    assert!(
        ["1.7 was rolled back", "rollback of 1.7"]
            .iter()
            .any(|text| alerts.contains(text)),
        "{alerts}"
    );
    let state: Value = serde_json::from_str(&sandbox.read(".rollback/monitor/state.json")).unwrap();
    assert_eq!(state["attempt"], Value::Null, "{state:#}");
    let counted = state["memory"]["metrics"]["intake"]["events"].as_u64().unwrap();
    let written = sandbox.read("logs/jupyter/app.log").lines().count() as u64;
    assert!(counted <= written, "{counted} of {written}");
}

#[test]
fn a_monitor_that_cannot_keep_anything_judges_all_the_same() {
    let sandbox = workspace();
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
    sandbox.write(".rollback", "no directory");
    let document = once(&sandbox, 1);
    assert!(has_warning(&document, "without a memory"), "{document:#}");
    assert_eq!(row(&document, "error-rate", Some("api"))["done"], "nothing");
    assert!(Path::new(&sandbox.path(".rollback")).is_file());
    let finished: Finished = sandbox.run(&["monitor", "--once", "-q"]).assert_code(1);
    assert_eq!(finished.stderr, "");
}

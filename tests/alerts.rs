//! Alerts: what a run tells, to receivers that answer, fail, hang, lie and come back.

use std::time::{Duration, Instant, SystemTime};

use rollback_manager::alert::entry::State;
use rollback_manager::alert::{Alerts, Became};
use rollback_manager::base::clock::Clock;
use rollback_manager::report::alert::{Alert, Kind, Severity};
use rollback_manager::workspace::Workspace;
use serde_json::Value;

use crate::choosing::{assert_left_as_it_was, between_settings};
use crate::prompts::Person;
use crate::sandbox::{Finished, Sandbox, assert_says};

/// Security incidents.
mod incidents;

/// What is configured wrongly, and what the outbox survives.
mod outbox;

/// Mail.
mod post;

/// HTTP.
mod web;

/// A receiver of HTTP in this process.
mod receiver;

/// A mail server in this process.
mod server;

use receiver::{Behaviour, Receiver};

const STORY: &str = r#"const STORY = #{
    id: "9.1", title: "Quarterly reports", feature: "beta",
    data: [#{ path: "data/reports", backup: "reports" }],
};

fn execute() {
    retire_dir("data/reports", "reports");
    let said = param("say", "");
    if said != "" { notify(said); }
    // It fails in the real pass alone.
    if param("fail", "no") == "yes" { run_command(["false"]); }
}
"#;

/// A workspace with one story and these channels.
fn workspace(channels: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write(
            "config/feature-flags.yaml",
            "features:\n  beta: { enabled: true }\n",
        )
        .write("data/reports/q1.txt", "first")
        .write("rollback/reports.rhai", STORY);
    configure(&sandbox, channels);
    sandbox
}

fn configure(sandbox: &Sandbox, channels: &str) {
    sandbox.write(
        "rollback.yaml",
        format!(
            "version: 1\npolicy: {{ commands: [tee, \"false\", env] }}\nalerts:\n  channels:\n{channels}\n"
        ),
    );
}

fn webhook(url: &str, more: &str) -> String {
    format!("    - {{ name: ops, timeout: 2s, webhook: {{ url: '{url}' }}{more} }}")
}

/// The alerts of a workspace at a time of our own.
fn alerts_at(sandbox: &Sandbox, clock: &Clock) -> Alerts {
    Alerts::open(&Workspace::open(&sandbox.root()).unwrap(), clock).unwrap()
}

fn clock(seconds: u64) -> Clock {
    Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn breach(clock: &Clock, group: &str) -> Alert {
    Alert::new(
        clock,
        Kind::Breach,
        Severity::Warning,
        format!("breach of {group}"),
        "too many errors",
    )
    .grouped(group)
}

/// The whole of a directory as one text, to look for what must not be in it.
fn everything_in(directory: &std::path::Path) -> String {
    let mut found = String::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.push_str(&format!("\n--- {}\n", path.display()));
                found.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

fn kinds(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().map(|body| body["kind"].as_str().unwrap()).collect()
}

#[track_caller]
fn valid(document: &Value) {
    let name = document["schema"].as_str().unwrap();
    let name = name
        .strip_prefix("rollback.")
        .unwrap()
        .strip_suffix("/1")
        .unwrap();
    let path = format!("{}/docs/schema/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let problems: Vec<String> = jsonschema::draft202012::new(&schema)
        .unwrap()
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert_eq!(problems, [] as [&str; 0], "{document:#}");
}

#[test]
fn a_run_tells_its_start_and_its_end_and_a_dry_run_nothing() {
    let receiver = Receiver::start(Behaviour::Status(204, ""));
    let sandbox = workspace(&webhook(&receiver.url("/hook"), ""));
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    sandbox.run(&["plan", "9.1"]).assert_code(0);
    assert!(!sandbox.exists(".rollback"));
    assert_eq!(receiver.requests().len(), 0);

    let done = sandbox.json(&[
        "run",
        "9.1",
        "--yes",
        "--reason",
        "slow pages",
        "--param",
        "say=it is gone",
    ]);
    assert_eq!(done["outcome"], "done", "{done:#}");
    let requests = receiver.requests();
    let bodies: Vec<Value> = requests.iter().map(receiver::Request::json).collect();
    assert_eq!(kinds(&bodies), ["initiation", "message", "completion"]);
    for (request, body) in requests.iter().zip(&bodies) {
        valid(body);
        assert_eq!(request.header("x-rollback-alert-id"), body["id"].as_str());
        assert_eq!(request.header("content-type"), Some("application/json"));
    }
    assert_eq!(bodies[0]["run"], done["run"]);
    assert_eq!(bodies[0]["facts"]["reason"], "slow pages");
    assert_eq!(bodies[0]["facts"]["feature"], "beta");
    assert_eq!(bodies[1]["text"], "it is gone");
    assert_eq!(bodies[2]["severity"], "info");
    assert_eq!(bodies[2]["facts"]["audit_head"], done["audit_head"]);
    let page = bodies[2]["facts"]["report"].as_str().unwrap();
    assert!(sandbox.exists(page), "{page}");
    assert_eq!(done["warnings"], serde_json::json!([]), "{done:#}");

    sandbox.run(&["undo", "--yes"]).assert_code(0);
    let bodies = receiver.bodies();
    assert_eq!(kinds(&bodies[3..]), ["initiation", "completion"]);
    assert!(
        bodies[4]["title"].as_str().unwrap().starts_with("undo of run"),
        "{:#}",
        bodies[4]
    );
}

#[test]
fn a_plan_that_is_applied_and_a_run_that_fails_are_told_too() {
    let receiver = Receiver::start(Behaviour::Status(200, "ok"));
    let sandbox = workspace(&webhook(&receiver.url("/"), ", on: [failure, completion]"));
    let failed = sandbox
        .run(&["run", "9.1", "--yes", "--param", "fail=yes"])
        .assert_code(1);
    assert_says(&failed, &["`false` failed"]);
    let bodies = receiver.bodies();
    assert_eq!(kinds(&bodies), ["failure"]);
    assert_eq!(bodies[0]["severity"], "critical");
    assert!(
        bodies[0]["facts"]["error"]
            .as_str()
            .unwrap()
            .contains("`false` failed")
    );
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    sandbox.run(&["plan", "9.1", "-o", "plan.json"]).assert_code(0);
    sandbox.run(&["apply", "plan.json", "--yes"]).assert_code(0);
    assert_eq!(kinds(&receiver.bodies()), ["failure", "completion", "completion"]);
}

/// An `--atomic` run that fails tells its failure, and that it was taken back.
#[test]
fn an_atomic_run_tells_both_halves() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(&receiver.url("/"), ""));
    sandbox
        .run(&["run", "9.1", "--yes", "--atomic", "--param", "fail=yes"])
        .assert_code(1);
    let bodies = receiver.bodies();
    assert_eq!(
        kinds(&bodies),
        ["initiation", "failure", "initiation", "completion"]
    );
}

#[test]
fn a_command_gets_the_alert_on_its_input_in_a_clean_environment() {
    let sandbox = workspace(
        "    - { name: kept, command: [tee, got.json], on: [completion] }\n    - { name: broken, command: [\"false\"] }",
    );
    let done = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(done["outcome"], "done");
    let warnings = done["warnings"].to_string();
    assert!(
        warnings.contains("channel `broken` did not take the alert: `false` failed: exit status 1"),
        "{warnings}"
    );
    let got: Value = serde_json::from_str(&sandbox.read("got.json")).unwrap();
    valid(&got);
    assert_eq!((&got["kind"], &got["run"]), (&"completion".into(), &done["run"]));
    // What is not listed is an error of the configuration.
    sandbox.write(
        "rollback.yaml",
        "alerts: { channels: [{ name: a, command: [rm, -rf, x] }] }",
    );
    assert_says(
        &sandbox.run(&["status"]).assert_code(2),
        &["policy.commands", "`rm`"],
    );
}

#[test]
fn the_log_has_the_form_of_the_others() {
    let sandbox = workspace("    - { name: kept, log: {}, severity: warning, title: '{story}: {title}' }");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let log = sandbox.read("logs/rollback-alerts.log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].starts_with("{\"timestamp\":\""), "{log}");
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    let keys: Vec<&String> = line.as_object().unwrap().keys().take(3).collect();
    assert_eq!(keys, ["timestamp", "level", "event"]);
    assert_eq!(
        (&line["level"], &line["event"]),
        (&"WARN".into(), &"alert".into())
    );
    assert_eq!(line["title"], "9.1: rollback of 9.1 begins");
    // No script writes there.
    sandbox.write(
        "rollback/forge.rhai",
        "const STORY = #{ id: \"9.2\", title: \"Forge\" };\nfn execute() { write_text(\"logs/rollback-alerts.log\", \"\", #{ overwrite: true }); }\n",
    );
    sandbox.run(&["run", "9.2", "--yes"]).assert_code(3);
}

/// A receiver whose address and key are in variables that are not set.
fn secretive() -> (Receiver, Sandbox) {
    let receiver = Receiver::start(Behaviour::Status(200, "thank you"));
    let sandbox =
        workspace("    - { name: ops, webhook: { url: { env: OPS_URL }, signing_key: { env: OPS_KEY } } }");
    (receiver, sandbox)
}

#[test]
fn a_secret_that_is_not_set_can_be_typed_for_a_test_and_is_not_shown() {
    let (receiver, sandbox) = secretive();
    let mut person = Person::starts(&sandbox, &["alert", "test"]);
    let url = receiver.url("/hook/s3cret-place");
    person
        .sees("`OPS_URL` is not set")
        .sees(": ")
        .types(&format!("{url}\n"));
    person
        .sees("`OPS_KEY` is not set")
        .sees(": ")
        .types("s3cret-key\n");
    person.sees("ops: sent");
    let screen = person.leaves_with(0);
    assert!(!screen.contains("s3cret"), "{screen}");
    let request = receiver.requests().remove(0);
    assert_eq!(request.path, "/hook/s3cret-place");
    assert!(request.header("x-rollback-signature").is_some(), "{request:?}");
    assert!(!everything_in(&sandbox.root()).contains("s3cret"));
}

#[test]
fn without_a_typed_secret_the_channel_fails_as_ever() {
    let (receiver, sandbox) = secretive();
    let fails = "`OPS_URL`, which holds a secret, is not set";
    for keys in ["\n", "\u{4}"] {
        let mut person = Person::starts(&sandbox, &["alert", "test"]);
        person.sees("`OPS_URL` is not set").sees(": ").types(keys);
        person.sees("`OPS_KEY` is not set").sees(": ").types(keys);
        let screen = person.leaves_with(1);
        assert!(screen.contains(fails), "{screen}");
    }
    let screen = Person::starts(&sandbox, &["alert", "test", "--no-input"]).leaves_with(1);
    assert!(
        screen.contains(fails) && !screen.contains("for this test alone"),
        "{screen}"
    );
    assert_says(&sandbox.run(&["alert", "test"]).assert_code(1), &[fails]);
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn a_signal_ends_the_question_for_a_secret_and_the_echo_is_back() {
    let (receiver, sandbox) = secretive();
    for (keys, code) in [("\u{3}", 130), ("half a secr\u{3}", 130)] {
        let mut person = Person::starts_command(&between_settings(&sandbox, &["alert", "test"]));
        person.sees("`OPS_URL` is not set").sees(": ").types(keys);
        let screen = person.leaves_with(code);
        assert_left_as_it_was(&screen);
        assert!(!screen.contains("half"), "{screen}");
    }
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn a_test_says_what_each_receiver_answered() {
    let receiver = Receiver::start(Behaviour::Status(200, "thank you"));
    let refusing = Receiver::start(Behaviour::Status(410, "go away"));
    let sandbox = workspace(&format!(
        "    - {{ name: good, webhook: {{ url: '{}' }}, on: [failure], severity: critical }}\n    - {{ name: bad, webhook: {{ url: '{}' }} }}",
        receiver.url("/"),
        refusing.url("/")
    ));
    let finished = sandbox.run(&["alert", "test"]).assert_code(1);
    assert_says(
        &finished,
        &[
            "good: sent",
            "HTTP 200: thank you",
            "bad: failed",
            "HTTP 410: go away",
        ],
    );
    sandbox.run(&["alert", "test", "good"]).assert_code(0);
    let document = sandbox
        .run(&["alert", "test", "bad", "--json"])
        .assert_code(1)
        .json();
    valid(&document);
    assert_eq!(document["attempts"][0]["answer"], "HTTP 410: go away");
    // A test that nobody took is of no use later.
    assert_eq!(document["alerts"], serde_json::json!([]));
    assert_eq!((receiver.requests().len(), refusing.requests().len()), (2, 2));
    let unknown = sandbox.run(&["alert", "test", "goood"]).assert_code(2);
    assert_says(&unknown, &["unknown channel `goood`", "did you mean `good`?"]);
    let none = Sandbox::empty();
    assert_says(&none.run(&["alert", "test"]).assert_code(2), &["has no channels"]);
    assert_says(&none.run(&["alert", "list"]).assert_code(0), &["no channels"]);
    assert!(!none.exists(".rollback"));
}

/// What the channels keep secret is in no output and in no file, whatever the receiver and the script say.
#[test]
fn secrets_turn_up_nowhere() {
    let receiver = Receiver::start(Behaviour::Echo);
    let secret_path = "/services/T0000/B0000/zzverysecretpathzz";
    let sandbox = workspace(
        "    - { name: ops, webhook: { url: { env: OPS_URL }, signing_key: { file: ../home/key } }, title: '{title} {reason}' }
    - { name: gone, timeout: 1s, webhook: { url: { env: GONE_URL } } }
    - { name: mail, timeout: 1s, mail: { host: 127.0.0.1, port: 1, tls: none, from: a@example.org, to: [b@example.org], user: u, password: { env: MAIL_PASSWORD } } }",
    );
    std::fs::write(sandbox.home().join("key"), "zzsigningkeyzz\n").unwrap();
    let said = format!("say=zzsigningkeyzz zzpasswordzz {secret_path}");
    let mut outputs = String::new();
    for arguments in [
        &[
            "run",
            "9.1",
            "--yes",
            "-v",
            "--reason",
            "it is zzpasswordzz",
            "--param",
            &said,
        ] as &[&str],
        &["--json", "undo", "--yes"],
        &["--json", "alert", "list"],
        &["alert", "list"],
        &["--json", "alert", "test"],
        &["alert", "retry"],
        &["show", "--json", "none"],
    ] {
        let mut command = sandbox.command(arguments);
        command
            .env("OPS_URL", receiver.url(secret_path))
            .env("GONE_URL", format!("http://127.0.0.1:1{secret_path}"))
            .env("MAIL_PASSWORD", "zzpasswordzz");
        outputs.push_str(&Finished::of(&mut command, arguments).transcript());
    }
    assert!(receiver.requests().len() >= 4, "{outputs}");
    assert!(
        outputs.contains("channel `gone` did not take the alert"),
        "{outputs}"
    );
    // The command line holds what was typed; nothing else may.
    let typed = "$ rollback run 9.1";
    let outputs: String = outputs.lines().filter(|line| !line.starts_with(typed)).collect();
    let files = everything_in(&sandbox.root());
    for secret in ["zzverysecretpathzz", "zzsigningkeyzz", "zzpasswordzz"] {
        for (place, text) in [("output", &outputs), ("files", &files)] {
            let at = text.find(secret);
            let around = at.map(|at| text.get(at.saturating_sub(200)..(at + 40).min(text.len())));
            assert!(at.is_none(), "{secret} in {place}: {around:?}");
        }
        for request in receiver.requests() {
            assert!(!request.body.contains(secret), "{}", request.body);
        }
    }
    let config = format!("{:?}", Workspace::open(&sandbox.root()).unwrap().config());
    assert!(!config.contains("zz"), "{config}");
}

/// What has to be told twice is told with one id.
#[test]
fn a_receiver_that_comes_back_gets_what_it_missed_with_the_same_ids() {
    let receiver = Receiver::start(Behaviour::Status(503, "busy"));
    let sandbox = workspace(&webhook(&receiver.url("/"), ""));
    let done = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(
        (&done["outcome"], &done["exit_code"]),
        (&"done".into(), &0.into())
    );
    assert!(
        done["warnings"]
            .to_string()
            .contains("channel `ops` did not take the alert: HTTP 503: busy"),
        "{done:#}"
    );
    let missed = receiver.ids();
    let listed = sandbox.json(&["alert", "list"]);
    valid(&listed);
    let waiting = listed["alerts"].as_array().unwrap();
    assert_eq!(waiting.len(), 2, "{listed:#}");
    assert!(
        waiting
            .iter()
            .all(|entry| entry["attempts"] == 1 && entry["state"] == "pending")
    );
    assert_says(
        &sandbox.run(&["alert", "list"]).assert_code(0),
        &["HTTP 503: busy", "completion"],
    );
    receiver.become_(Behaviour::Status(200, ""));
    let retried = sandbox.run(&["alert", "retry", "--json"]).assert_code(0).json();
    valid(&retried);
    assert_eq!(receiver.ids()[missed.len()..], missed[..]);
    assert_eq!(sandbox.json(&["alert", "list"])["alerts"], serde_json::json!([]));
    sandbox.run(&["alert", "retry"]).assert_code(0);
    assert_eq!(
        receiver.ids().len(),
        2 * missed.len(),
        "what was sent is not sent again"
    );
}

#[test]
fn equal_alerts_and_too_many_are_held_back_and_told_of() {
    let sandbox = workspace(
        "    - { name: kept, log: {}, group_within: 10m, rate_limit: 3/h }\n    - { name: all, log: {}, group_within: 0s, rate_limit: 1000/h }",
    );
    let became = |second: u64, group: &str| {
        let clock = clock(second);
        let raised = alerts_at(&sandbox, &clock).raise(breach(&clock, group)).unwrap();
        assert_eq!(raised.channels[1], ("all".to_owned(), Became::Queued));
        raised.channels[0].1.clone()
    };
    assert_eq!(became(0, "a"), Became::Queued);
    for second in 1..5 {
        assert_eq!(became(second, "a"), Became::Grouped);
    }
    assert_eq!(became(5, "b"), Became::Queued);
    assert_eq!(became(700, "a"), Became::Queued);
    assert_eq!(became(701, "c"), Became::Limited);
    assert_eq!(became(702, "a"), Became::Grouped);
    let alerts = alerts_at(&sandbox, &clock(703));
    assert_eq!(alerts.held().unwrap().held_back, [("kept".to_owned(), 2)]);
    assert_eq!(became(3601, "d"), Became::Queued);
    let deliveries = alerts_at(&sandbox, &clock(3602)).deliver(soon()).unwrap();
    assert!(deliveries.all_sent(), "{deliveries:?}");
    let log = sandbox.read("logs/rollback-alerts.log");
    let told: Vec<u64> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["heldBack"]
                .as_u64()
                .unwrap()
        })
        .filter(|held_back| *held_back > 0)
        .collect();
    assert_eq!(told, [4, 2]);
    assert!(log.contains("(4 alerts were held back before this one)"), "{log}");
}

#[test]
fn what_nobody_takes_waits_longer_and_longer_and_is_given_up_and_kept() {
    let receiver = Receiver::start(Behaviour::Status(500, "no"));
    let sandbox = workspace(&webhook(&receiver.url("/"), ""));
    let start = clock(0);
    alerts_at(&sandbox, &start).raise(breach(&start, "a")).unwrap();
    let tries = |second: u64| {
        let deliveries = alerts_at(&sandbox, &clock(second)).deliver(soon()).unwrap();
        deliveries
            .attempts
            .iter()
            .map(|attempt| attempt.state)
            .collect::<Vec<_>>()
    };
    assert_eq!(tries(0), [State::Pending]);
    // The first wait is 10 seconds, give or take a fifth; the second twice that.
    assert_eq!(tries(7), []);
    assert_eq!(tries(13), [State::Pending]);
    assert_eq!(tries(13 + 15), []);
    assert_eq!(tries(13 + 25), [State::Pending]);
    assert_eq!(tries(24 * 3600 + 1), [State::Dead]);
    assert_eq!(tries(48 * 3600), []);
    let held = alerts_at(&sandbox, &clock(0)).held().unwrap();
    assert_eq!(held.of(State::Dead).count(), 1);
    assert_eq!(alerts_at(&sandbox, &start).pending().unwrap(), 0);
    let listed = sandbox.run(&["alert", "list"]).assert_code(0);
    assert_says(&listed, &["given up", "HTTP 500: no"]);
    receiver.become_(Behaviour::Status(200, ""));
    sandbox.run(&["alert", "retry"]).assert_code(0);
    let ids = receiver.ids();
    assert_eq!(ids.len(), 5);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

//! The outbox: kills, two processes at once, damage, and a disk that takes nothing.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::receiver::{Behaviour, Receiver};
use super::{alerts_at, breach, clock, soon, webhook, workspace};
use crate::disk::{in_namespace, mount};
use crate::sandbox::{Sandbox, assert_says, ended};
use rollback_manager::alert::Alerts;
use rollback_manager::base::clock::Clock;

const LONG: Duration = Duration::from_secs(20);

fn raise(alerts: &Alerts, clock: &Clock, groups: &[String]) -> BTreeSet<String> {
    groups
        .iter()
        .map(|group| {
            let raised = alerts.raise(breach(clock, group)).unwrap();
            assert!(raised.is_queued());
            raised.id
        })
        .collect()
}

/// The files of alerts in the outbox.
fn files(sandbox: &Sandbox) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = sandbox
        .path(".rollback/outbox")
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// Killed at any moment, before and after a receiver has answered: every alert arrives, each under its one id.
#[test]
fn a_kill_while_delivering_loses_no_alert() {
    const ROUNDS: u64 = 24;
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(
        &receiver.url("/"),
        ", rate_limit: 1000/h, group_within: 0s",
    ));
    let system = Clock::system();
    let alerts = alerts_at(&sandbox, &system);
    let mut raised = BTreeSet::new();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let groups: Vec<String> = (0..4).map(|number| format!("{round}-{number}")).collect();
        raised.extend(raise(&alerts, &system, &groups));
        let mut child = sandbox
            .command(&["alert", "retry"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if round % 3 == 0 {
            // After some time, wherever it is then.
            receiver.wait(Duration::from_micros(round * 4_000));
        } else {
            // After so many requests.
            for _ in 0..round % 4 {
                receiver.wait(LONG);
            }
        }
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        ended(&mut child);
        while receiver.wait(Duration::ZERO) {}
    }
    assert!(killed > 0, "nothing was killed");
    sandbox.run(&["alert", "retry"]).assert_code(0);
    let arrived: BTreeSet<String> = receiver.ids().into_iter().collect();
    assert_eq!(arrived, raised, "an alert is lost, or has two ids");
    assert_eq!(alerts.pending().unwrap(), 0);
    assert!(receiver.ids().len() < raised.len() * 3, "too many duplicates");
}

/// Killed while a run tells: what it raised is still there.
#[test]
fn a_run_that_is_killed_while_it_tells_has_its_alerts_in_the_outbox() {
    let receiver = Receiver::start(Behaviour::Hang);
    let sandbox = workspace(&format!(
        "    - {{ name: ops, timeout: 60s, webhook: {{ url: '{}' }} }}",
        receiver.url("/")
    ));
    let mut child = sandbox
        .command(&["run", "9.1", "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(receiver.wait(LONG));
    // The run is closed by then: nothing needs to be recovered, and nobody else is kept out.
    let history = sandbox.json(&["history"]);
    assert_eq!(history["runs"][0]["outcome"], "done");
    sandbox.run(&["feature", "enable", "beta"]).assert_code(0);
    child.kill().unwrap();
    ended(&mut child);
    receiver.become_(Behaviour::Status(200, ""));
    sandbox.run(&["alert", "retry"]).assert_code(0);
    assert_eq!(
        super::kinds(&receiver.bodies()[1..]),
        ["initiation", "completion"]
    );
    let ids = receiver.ids();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn two_processes_never_send_at_once() {
    let receiver = Receiver::start(Behaviour::Held);
    let sandbox = workspace(&webhook(&receiver.url("/"), ""));
    let system = Clock::system();
    let alerts = alerts_at(&sandbox, &system);
    raise(&alerts, &system, &["a".to_owned()]);
    let first = sandbox
        .command(&["alert", "retry"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut first = first.unwrap();
    assert!(receiver.wait(LONG));
    let second = sandbox.run(&["alert", "retry"]);
    assert_eq!(receiver.requests().len(), 1, "{}", second.transcript());
    receiver.release();
    assert!(ended(&mut first).success());
    sandbox.run(&["alert", "retry"]).assert_code(0);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn what_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    let sandbox = workspace(&webhook(&receiver.url("/"), ""));
    let at = clock(0);
    let alerts = alerts_at(&sandbox, &at);
    raise(
        &alerts,
        &at,
        &["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()],
    );
    let files = files(&sandbox);
    std::fs::write(&files[0], "{\"version\":1,").unwrap();
    std::fs::write(&files[1], "").unwrap();
    std::fs::remove_file(&files[2]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &files[2]).unwrap();
    std::fs::create_dir(sandbox.path(".rollback/outbox/zz.json")).unwrap();
    let deliveries = alerts.deliver(soon()).unwrap();
    assert_eq!(deliveries.set_aside.len(), 4, "{deliveries:?}");
    assert_eq!(deliveries.attempts.len(), 1);
    assert_eq!(receiver.requests().len(), 1);
    let listed = sandbox.run(&["alert", "list"]).assert_code(0);
    assert_says(&listed, &[".json.unreadable` can't be read"]);
    let again = alerts.deliver(soon()).unwrap();
    assert!(
        again.set_aside.is_empty() && again.attempts.is_empty(),
        "{again:?}"
    );
    // A quota that can't be read counts from the beginning.
    sandbox.write(".rollback/outbox/ops.quota", "nonsense");
    raise(&alerts, &at, &["e".to_owned()]);
    assert!(alerts.deliver(soon()).unwrap().all_sent());
}

#[test]
fn sent_alerts_are_kept_up_to_a_number() {
    let sandbox = workspace("    - { name: kept, log: {}, rate_limit: 1000/h }\n  keep_sent: 3");
    let at = clock(0);
    let alerts = alerts_at(&sandbox, &at);
    let groups: Vec<String> = (0..10).map(|number| format!("group {number}")).collect();
    let raised = raise(&alerts, &at, &groups);
    assert!(alerts.deliver(soon()).unwrap().all_sent());
    assert_eq!(files(&sandbox).len(), 3);
    let log = sandbox.read("logs/rollback-alerts.log");
    let order: Vec<String> = log
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["title"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected: Vec<String> = groups.iter().map(|group| format!("breach of {group}")).collect();
    assert_eq!(order, expected);
    assert!(raised.iter().all(|id| log.contains(id.as_str())));
}

/// A channel that is taken out of the configuration takes its alerts with it, in time.
#[test]
fn alerts_without_a_channel_are_given_up_in_time() {
    let sandbox = workspace("    - { name: kept, log: {} }");
    let at = clock(0);
    raise(&alerts_at(&sandbox, &at), &at, &["a".to_owned()]);
    super::configure(&sandbox, "    - { name: other, log: {} }");
    let alerts = alerts_at(&sandbox, &clock(60));
    assert!(alerts.deliver(soon()).unwrap().attempts.is_empty());
    assert_eq!(alerts.pending().unwrap(), 1);
    let alerts = alerts_at(&sandbox, &clock(25 * 3600));
    alerts.deliver(soon()).unwrap();
    assert_eq!(alerts.pending().unwrap(), 0);
    assert_says(
        &sandbox.run(&["alert", "list"]).assert_code(0),
        &["no longer configured"],
    );
    assert!(!sandbox.exists("logs/rollback-alerts.log"));
}

/// Whatever is wrong with the outbox: the rollback is done, and says so.
#[test]
fn an_outbox_that_cannot_be_written_stops_no_rollback() {
    let receiver = Receiver::start(Behaviour::Status(200, ""));
    for damage in ["file", "link"] {
        let sandbox = workspace(&webhook(&receiver.url("/"), ""));
        std::fs::create_dir(sandbox.path(".rollback")).unwrap();
        if damage == "file" {
            sandbox.write(".rollback/outbox", "");
        } else {
            std::os::unix::fs::symlink(sandbox.home(), sandbox.path(".rollback/outbox")).unwrap();
        }
        let done = sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        assert_says(&done, &["could not be kept, so it is not sent"]);
        assert!(!sandbox.exists("data/reports"));
        assert_eq!(std::fs::read_dir(sandbox.home()).unwrap().count(), 0);
        let report = sandbox.json(&["history"]);
        assert_eq!(report["runs"][0]["outcome"], "done");
    }
    assert_eq!(receiver.requests().len(), 0);
}

#[test]
fn a_disk_without_room_for_alerts_stops_no_rollback() {
    in_namespace(|| {
        let receiver = Receiver::start(Behaviour::Status(200, ""));
        let sandbox = workspace(&webhook(&receiver.url("/"), ""));
        let outbox = sandbox.path(".rollback/outbox");
        std::fs::create_dir_all(&outbox).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=4k", "tmpfs"], &outbox);
        std::fs::write(outbox.join("filler"), vec![b'x'; 4096]).unwrap();
        let done = sandbox
            .run(&["run", "9.1", "--yes", "--param", "say=gone"])
            .assert_code(0);
        assert_says(
            &done,
            &["could not be kept, so it is not sent", "No space left on device"],
        );
        assert!(!sandbox.exists("data/reports"));
        assert!(sandbox.read("logs/security.log").contains("\"message\":\"gone\""));
        // With room again, the next run tells.
        std::fs::remove_file(outbox.join("filler")).unwrap();
        crate::disk::unmount(&outbox);
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        assert_eq!(super::kinds(&receiver.bodies()), ["initiation", "completion"]);
    });
}

//! Logs that can't be read, or hold what no log should.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Monitor, append, has_warning, line, once, row, traffic, workspace};
use crate::hostile::mkfifo;
use crate::sandbox::{Finished, InTime as _};
use crate::skipped::skipped;

/// As much as the monitor may need for any log, in KiB.
const MEMORY: u64 = 50 * 1024;

#[test]
fn a_line_of_a_gibibyte_is_passed_over_in_little_memory() {
    let sandbox = workspace();
    sandbox.write(
        "rollback.yaml",
        "monitor:\n  interval: 1s\n  default_triggers: false\n\
         \u{20} triggers: [{ name: errors, metric: error_rate, threshold: 0.1 }]\n",
    );
    let log = "logs/api/app.log";
    // Within the window, so that all that follows has to be read.
    append(&sandbox, log, &line(200, "INFO", "", ""));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(sandbox.path(log))
        .unwrap();
    file.set_len(1 << 30).unwrap();
    drop(file);
    append(&sandbox, log, &format!("\n{}", traffic("", 60, 2)));
    let mut monitor = Monitor::start(&sandbox, &[]);
    monitor.wait_for("errors of api: 30 of 61 events");
    let status = std::fs::read_to_string(format!("/proc/{}/status", monitor.child.id())).unwrap();
    let peak: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap()
        .parse()
        .unwrap();
    assert!(peak < MEMORY, "{peak} KiB");
    assert_eq!(monitor.end(), Some(0));
    let document = once(&sandbox, 1);
    assert_eq!(document["intake"]["huge"], 1, "{document:#}");
}

#[test]
fn a_log_that_can_not_be_opened_is_named_and_the_others_count() {
    let sandbox = workspace();
    append(&sandbox, "logs/api/app.log", &traffic("", 60, 2));
    append(&sandbox, "logs/shut/app.log", &traffic("", 60, 1));
    append(&sandbox, "logs/closed/app.log", &traffic("", 60, 1));
    let forbid = |path: &str, mode: u32| {
        std::fs::set_permissions(sandbox.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    forbid("logs/shut/app.log", 0o000);
    forbid("logs/closed", 0o000);
    // A reader of it would wait for ever.
    mkfifo(&sandbox.path("logs/api/pipe.log"));
    let arguments = ["monitor", "--once", "--json"];
    let program = sandbox.command(&arguments);
    let mut command = if rustix::process::geteuid().is_root() {
        // Root reads everything unless it gives that up.
        let mut without = Command::new("setpriv");
        without
            .arg("--bounding-set=-dac_override,-dac_read_search")
            .arg(program.get_program())
            .args(arguments)
            .current_dir(sandbox.root())
            .env_clear()
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        if Command::new("setpriv").arg("--version").output_in_time().is_err() {
            forbid("logs/closed", 0o700);
            return skipped("there is no `setpriv` here, and root reads everything");
        }
        without
    } else {
        program
    };
    let finished = Finished::of(&mut command, &arguments);
    forbid("logs/closed", 0o700);
    let document = finished.assert_code(1).json();
    for text in ["logs/shut/app.log", "logs/closed", "make it readable"] {
        assert!(has_warning(&document, text), "{text}: {document:#}");
    }
    assert_eq!(row(&document, "error-rate", Some("api"))["verdict"], "breach");
    assert_eq!(document["intake"]["events"], 60, "{document:#}");
    // Made readable, it is read from its beginning.
    forbid("logs/shut/app.log", 0o600);
    let document = once(&sandbox, 1);
    assert_eq!(row(&document, "error-rate", Some("shut"))["verdict"], "breach");
}

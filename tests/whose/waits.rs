//! Every wait can be ended: what is no regular file in the place of one of ours is refused, never waited for.

use super::*;

/// How long a command may take to come to its end; it is not waited for where it does.
const PATIENCE: &str = "60";

/// Runs a command that must not hang: one that does is ended, and its exit code then is that of `timeout`.
fn run(sandbox: &Sandbox, arguments: &[&str]) -> Finished {
    let plain = sandbox.command(arguments);
    let mut command = Command::new("timeout");
    command
        .args(["-k", "5", PATIENCE])
        .arg(plain.get_program())
        .args(plain.get_args())
        .current_dir(sandbox.root())
        .env_clear()
        .envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null());
    Finished::of(&mut command, arguments)
}

fn pipe(path: &std::path::Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

const COMMANDS: [&[&str]; 9] = [
    &["status"],
    &["run", "9.1", "--yes"],
    &["feature", "disable", "alpha"],
    &["undo", "--yes"],
    &["recover", "--undo", "--yes"],
    &["audit", "verify"],
    &["backup", "list"],
    &["prune", "--keep-last", "1", "--yes"],
    &["monitor", "--once"],
];

/// Files of ours that are read or written by name.
#[test]
fn a_pipe_in_the_place_of_a_file_of_ours_keeps_no_command_waiting() {
    for path in [
        "rollback.yaml",
        "rollback/9.1.rhai",
        "rollback/lib.rhai",
        "config/feature-flags.yaml",
        ".env",
        "logs/service.pid",
        "logs/security.log",
        "logs/audit.log",
        ".rollback/active",
        ".rollback/.gitignore",
        ".rollback/audit/000001.jsonl",
        ".rollback/audit/head",
        ".rollback/runs/RUN/report.json",
        ".rollback/runs/RUN/pruned",
        ".rollback/monitor/state.json",
        ".rollback/monitor/lock",
        ".rollback/outbox/lock",
        "rollback_backups/BACKUP/.rollback-manifest.jsonl",
    ] {
        let sandbox = Sandbox::empty();
        sandbox
            .write("rollback.yaml", "version: 1\n")
            .write(
                "rollback/9.1.rhai",
                "const STORY = #{ id: \"9.1\", title: \"One\" };\nimport \"lib\" as lib;\n\
                 fn execute() { lib::tidy(); stop_processes(#{ pid_file: \"logs/service.pid\" }); }\n",
            )
            .write(
                "rollback/lib.rhai",
                "fn tidy() { retire_dir(\"data\", \"data\"); }\n",
            )
            .write(
                "config/feature-flags.yaml",
                "features: { alpha: { enabled: true } }\n",
            )
            .write("data/one", "1")
            .write("logs/service.pid", "4194303\n");
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        let only = |directory: &str| {
            let entry = sandbox
                .path(directory)
                .read_dir()
                .unwrap()
                .next()
                .unwrap()
                .unwrap();
            entry.file_name().into_string().unwrap()
        };
        let path = path
            .replace("RUN", &only(".rollback/runs"))
            .replace("BACKUP", &only("rollback_backups"));
        let there = sandbox.path(&path);
        std::fs::create_dir_all(there.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&there);
        sandbox.write("data/one", "1");
        pipe(&there);
        for command in COMMANDS {
            let finished = run(&sandbox, command);
            assert!(
                finished.code.is_some_and(|code| code != 124 && code != 137),
                "{path}: {}",
                finished.transcript()
            );
            // A command that took the pipe away and wrote a file has not waited for it either.
            if !sandbox.exists(&path) {
                break;
            }
        }
    }
}

#[test]
fn what_is_no_file_is_named() {
    for (path, command, code) in [
        ("rollback.yaml", &["status"] as &[&str], 2),
        ("rollback/9.1.rhai", &["plan", "9.1"], 2),
        ("config/feature-flags.yaml", &["plan", "1.3"], 2),
        ("plan.json", &["apply", "plan.json"], 2),
        ("own.rhai", &["run", "own.rhai", "-n"], 2),
    ] {
        let sandbox = Sandbox::empty();
        sandbox.write("rollback/kept.rhai", "fn tidy() {}\n");
        let _ = std::fs::remove_file(sandbox.path(path));
        pipe(&sandbox.path(path));
        let refused = run(&sandbox, command).assert_code(code);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        let is_named = ["is not a regular file", "is a named pipe, not a file"]
            .iter()
            .any(|text| said.contains(text));
        assert!(is_named && said.contains(path), "{}", refused.transcript());
    }
}

#[test]
fn a_signal_ends_the_wait_for_a_process_that_does_not_end() {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback/9.1.rhai",
        story("#{ name: \"serve\" }, #{ grace: \"10m\", kill: true }"),
    );
    let stubborn = sandbox.spawn_stubborn("bin/serve", &[]);
    let mut child = sandbox
        .command(&["run", "9.1", "--yes"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = sandbox.path(".rollback/audit/000001.jsonl");
    let begun = |text: String| text.contains("operation_begun");
    while !std::fs::read_to_string(&log).is_ok_and(begun) {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it began");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(ended(&mut child).code(), Some(143));
    assert!(stubborn.is_running());
    // The run is closed, and does not stand in the way.
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
}

//! Who is ended, and who never.

use rollback_manager::host::processes::{Disposition, look};

use super::*;

/// A process of this test, ended with it.
struct Own(std::process::Child);

impl Own {
    /// Starts a command that says one line when it is ready.
    fn start(command: &mut Command) -> Self {
        let mut child = crate::sandbox::elsewhere(command)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let own = Self(child);
        assert_eq!(crate::sandbox::first_line(output).trim(), "ready");
        own
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A shell outside of the workspace under the name of another program, which stands in for it.
fn stand_in(sandbox: &Sandbox, name: &str) -> std::path::PathBuf {
    let program = sandbox.home().join(name);
    std::fs::copy("/bin/sh", &program).unwrap();
    // Another test's child may still hold the copy open for writing.
    for _ in 0..1000 {
        match Command::new(&program).args(["-c", "exit 0"]).status_in_time() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            _ => break,
        }
    }
    program
}

const WAIT: &str = "echo ready; while read -r line; do :; done";

/// What a plan says about one operation, and that a real run leaves the process alone and says the same.
#[track_caller]
fn assert_left_alone(sandbox: &Sandbox, own: &mut Own, why: &str) {
    for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let report = sandbox.json(arguments);
        assert_eq!(report["exit_code"], 0, "{report:#}");
        assert!(
            operations(&report).iter().all(|one| one["op"] != "stop_processes"
                || one["outcome"] != "planned" && one["outcome"] != "done"),
            "{report:#}"
        );
        let warnings = report["warnings"].to_string();
        for part in [why, &own.pid().to_string(), "was left alone"] {
            assert!(warnings.contains(part), "`{part}` is missing: {report:#}");
        }
        assert!(own.is_running());
    }
}

#[test]
fn a_pid_file_that_names_what_a_person_works_in_ends_nothing() {
    for (name, words, why) in [
        ("tmux", &["-c", WAIT][..], "terminal multiplexer"),
        ("vim.basic", &["-c", WAIT], "an editor"),
        ("sshd-session", &["-c", WAIT], "remote session"),
        ("gnome-terminal-server", &["-c", WAIT], "a terminal"),
        ("systemd", &["-c", WAIT], "keeps the machine"),
    ] {
        let sandbox = Sandbox::empty();
        let program = stand_in(&sandbox, name);
        let mut own = Own::start(Command::new(program).args(words).current_dir(sandbox.root()));
        sandbox
            .write("logs/service.pid", format!("{}\n", own.pid()))
            .write("rollback/9.1.rhai", story("#{ pid_file: \"logs/service.pid\" }"));
        assert_left_alone(&sandbox, &mut own, why);
    }
}

#[test]
fn a_shell_that_somebody_types_into_is_never_ended_whatever_finds_it() {
    let sandbox = Sandbox::empty();
    let mut shell = Command::new("/bin/sh");
    let mut child = shell
        .arg("-i")
        .current_dir(sandbox.root())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(b"echo ready\n").unwrap();
    let output = child.stdout.take().unwrap();
    let mut own = Own(child);
    crate::sandbox::first_line(output);
    sandbox.write("logs/service.pid", format!("{}\n", own.pid()));
    for query in [
        "#{ pid_file: \"logs/service.pid\" }",
        "#{ cwd: \".\" }",
        "#{ name: \"sh\" }",
        "#{ argument: \"-i\" }",
        "#{ pid_file: \"logs/service.pid\", name: \"sh\" }",
    ] {
        sandbox.write("rollback/9.1.rhai", story(query));
        assert_left_alone(&sandbox, &mut own, "a shell that somebody types into");
    }
}

#[test]
fn a_pid_file_alone_is_no_proof_that_a_process_is_the_service() {
    let sandbox = Sandbox::empty();
    // It works in the workspace, as a person's own programs do, and nothing else tells that it is of the workspace.
    let mut own = Own::start(
        Command::new("/bin/sh")
            .args(["-c", WAIT])
            .current_dir(sandbox.root()),
    );
    sandbox
        .write("logs/service.pid", format!("{}\n", own.pid()))
        .write("rollback/9.1.rhai", story("#{ pid_file: \"logs/service.pid\" }"));
    assert_left_alone(
        &sandbox,
        &mut own,
        "nothing but the pid file says that it is the service",
    );
}

#[test]
fn a_pid_file_with_a_second_witness_names_the_service() {
    let by_file = "#{ pid_file: \"logs/service.pid\" }";
    let by_both = "#{ pid_file: \"logs/service.pid\", argument: \"serve\" }";
    let code = format!("exec 3>>logs/service.log; {WAIT}");
    for (witness, words, query) in [
        ("its script", &["bin/serve.sh"] as &[&str], by_file),
        ("an open file", &["-c", &code], by_file),
        ("an argument", &["-c", WAIT, "serve"], by_both),
    ] {
        let sandbox = Sandbox::empty();
        sandbox
            .write("bin/serve.sh", WAIT)
            .write("logs/.keep", "")
            .write("rollback/9.1.rhai", story(query));
        let mut own = Own::start(Command::new("/bin/sh").args(words).current_dir(sandbox.root()));
        sandbox.write("logs/service.pid", format!("{}\n", own.pid()));
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        assert!(!own.is_running(), "{witness}");
    }
}

/// A shell that runs the program in a pipeline of its own, as a job of the script.
fn piped(sandbox: &Sandbox, line: &str) -> Finished {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", line])
        .current_dir(sandbox.root())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", sandbox.home())
        .env("ROLLBACK", env!("CARGO_BIN_EXE_rollback"))
        .stdin(Stdio::null());
    Finished::of(&mut command, &["run", "9.1", "--yes"])
}

#[test]
fn nobody_of_the_pipeline_is_ended_by_any_selector() {
    for query in [
        "#{ cwd: \".\" }",
        "#{ name: \"filter\" }",
        "#{ argument: \"bin/filter.sh\" }",
        "#{ holds: \"log\" }, #{ holders: true }",
    ] {
        let sandbox = Sandbox::empty();
        sandbox
            .write("rollback/9.1.rhai", story(query))
            .write("bin/filter.sh", "exec 3>>log; cat; echo filtered >&3\n")
            .write("log", "");
        let service = sandbox.spawn_script("bin/filter", &["bin/filter.sh"]);
        // The filter's own child is in it too, and so is what reads from the filter.
        let said = piped(
            &sandbox,
            "\"$ROLLBACK\" run 9.1 --yes | /bin/sh bin/filter.sh | /bin/sh bin/filter.sh",
        );
        assert_eq!(said.code, Some(0), "{}", said.transcript());
        assert_says(&said, &["is in the pipeline of this run", "done"]);
        assert_eq!(
            sandbox.read("log"),
            "filtered\nfiltered\n",
            "{}",
            said.transcript()
        );
        // What is not in it is ended as ever.
        if !query.contains("holds") {
            assert_eq!(service.wait_ended(), Some(15), "{query}: {}", said.transcript());
        }
    }
}

#[test]
fn nobody_of_our_terminal_session_is_ended_but_what_runs_elsewhere_is() {
    if !std::path::Path::new("/usr/bin/setsid").exists() {
        return skipped("no `setsid` here");
    }
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback/9.1.rhai", story("#{ name: \"serve\" }"))
        .write(
            "bin/serve.sh",
            "echo $$ > \"$1\"\nwhile read -r line; do :; done\n",
        )
        .write(
            "session.sh",
            "/bin/sh bin/serve.sh here.pid <&3 &\nuntil [ -s here.pid ]; do :; done\n\
             \"$ROLLBACK\" run 9.1 --yes --json > out.json\nkill -0 $! && echo still-there\n",
        );
    let elsewhere = sandbox.spawn_script("bin/serve", &[]);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec 3<&0; exec /bin/sh session.sh"])
        .current_dir(sandbox.root())
        .env("HOME", sandbox.home())
        .env("ROLLBACK", env!("CARGO_BIN_EXE_rollback"));
    let mut person = crate::prompts::Person::starts_command(&command);
    person.sees("still-there");
    let said = sandbox.read("out.json");
    assert!(
        said.contains("belongs to the terminal session of this run"),
        "{said}"
    );
    assert_eq!(elsewhere.wait_ended(), Some(15));
}

#[test]
fn a_process_that_ignores_term_is_known_before_anything_is_done() {
    let sandbox = Sandbox::empty();
    let stubborn = sandbox.spawn_stubborn("bin/serve", &[]);
    sandbox.write("kept", "1").write(
        "rollback/9.1.rhai",
        "const STORY = #{ id: \"9.1\", title: \"A service\" };\n\
         fn execute() { remove_path(\"kept\"); stop_processes(#{ name: \"serve\" }); }\n",
    );
    let before = sandbox.snapshot(&[]);
    for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let refused = sandbox.run(arguments).assert_code(1);
        assert_says(&refused, &["ignores TERM", "kill_ignoring: true"]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    assert!(stubborn.is_running());

    let allowed = |sandbox: &Sandbox, option: &str| {
        let query = format!("#{{ name: \"serve\" }}, #{{ grace: 0, {option}: true }}");
        sandbox.write("rollback/9.1.rhai", story(&query));
    };
    allowed(&sandbox, "kill_ignoring");
    let plan = sandbox.json(&["run", "9.1", "-n"]);
    assert_eq!(plan["exit_code"], 0, "{plan:#}");
    assert!(
        plan["operations"].to_string().contains("KILL will be needed"),
        "{plan:#}"
    );
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(stubborn.wait_ended(), Some(9));
}

#[test]
fn a_story_kills_what_ignores_term_after_the_plan_has_said_so() {
    let sandbox = Sandbox::deployed(rollback_manager::demo::Options {
        venv: false,
        npm: false,
    });
    let stubborn = sandbox.spawn_stubborn("bin/dagster", &["daemon", "run"]);
    let plan = sandbox.run(&["plan", "1.5"]).assert_code(0);
    assert_says(&plan, &["TERM is ignored by"]);
    sandbox.run(&["run", "1.5", "-y"]).assert_code(0);
    assert_eq!(stubborn.wait_ended(), Some(9));
}

#[test]
fn a_process_that_holds_term_back_is_told_as_unknown() {
    let Ok(python) = Command::new("python3").arg("--version").output_in_time() else {
        return skipped("no `python3` here");
    };
    assert!(python.status.success());
    let sandbox = Sandbox::empty();
    sandbox.write(
        "bin/serve.py",
        "import signal, sys\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\nprint('ready', flush=True)\n\
         sys.stdin.read()\n",
    );
    let mut own = Own::start(
        Command::new("python3")
            .arg(sandbox.path("bin/serve.py"))
            .current_dir(sandbox.root()),
    );
    sandbox.write(
        "rollback/9.1.rhai",
        story("#{ name: \"serve\" }, #{ grace: 0, kill: true }"),
    );
    let plan = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert_says(&plan, &["TERM is held back by"]);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(!own.is_running());
}

// Who starts another program blocks all signals for a moment: that is no way to treat TERM, and no change of the world.
#[test]
fn a_process_that_holds_term_back_for_moments_is_not_told_to_do_so() {
    let Ok(python) = Command::new("python3").arg("--version").output_in_time() else {
        return skipped("no `python3` here");
    };
    assert!(python.status.success());
    let sandbox = Sandbox::empty();
    sandbox.write(
        "bin/serve.py",
        "import select, signal, sys\nprint('ready', flush=True)\nopen_still = True\nwhile open_still:\n    \
         signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n    select.select([], [], [], 0.001)\n    \
         signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])\n    \
         open_still = not select.select([sys.stdin], [], [], 0.003)[0]\n",
    );
    let own = Own::start(
        Command::new("python3")
            .arg(sandbox.path("bin/serve.py"))
            .current_dir(sandbox.root()),
    );
    let held_back = (0..200).filter(|_| {
        let pid = i32::try_from(own.pid()).unwrap();
        let process = look(pid).unwrap().unwrap();
        process.on_term != Disposition::Acted
    });
    assert_eq!(held_back.count(), 0);
}

#[test]
fn a_stopped_process_is_woken_to_end() {
    let sandbox = Sandbox::empty();
    let service = sandbox.spawn_script("bin/serve", &[]);
    let pid = rustix::process::Pid::from_raw(i32::try_from(service.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    sandbox.write("rollback/9.1.rhai", story("#{ name: \"serve\" }"));
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(service.wait_ended(), Some(15));
}

#[test]
fn a_process_of_another_namespace_is_left_to_its_container() {
    let sandbox = Sandbox::empty();
    sandbox
        .write("bin/serve.sh", WAIT)
        .write("rollback/9.1.rhai", story("#{ name: \"serve\" }"));
    let mut command = Command::new("unshare");
    let possible = command
        .args(["--pid", "--fork", "true"])
        .output_in_time()
        .is_ok_and(|output| output.status.success());
    if !possible {
        return skipped("no process namespace can be made here");
    }
    let mut own = Own::start(
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "/bin/sh", "bin/serve.sh"])
            .current_dir(sandbox.root()),
    );
    for arguments in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let report = sandbox.json(arguments);
        assert_eq!(report["exit_code"], 0, "{report:#}");
        assert!(
            report["warnings"].to_string().contains("stop its container"),
            "{report:#}"
        );
    }
    assert!(own.is_running());
}

#[test]
fn a_process_of_another_user_is_named_and_left_alone() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can start a process of another user");
    }
    let sandbox = Sandbox::empty();
    sandbox.write("rollback/9.1.rhai", story("#{ argument: \"theirs\" }"));
    let mut child = Command::new("/bin/sh");
    child
        .args(["-c", "read -r line", "theirs"])
        .current_dir("/")
        .uid(65534)
        .stdin(Stdio::piped());
    let mut own = Own(child.spawn().unwrap());
    let report = sandbox.json(&["run", "9.1", "--yes"]);
    assert_eq!(report["exit_code"], 0, "{report:#}");
    let said = report["operations"].to_string();
    assert!(
        said.contains("belongs to user") && said.contains(&own.pid().to_string()),
        "{report:#}"
    );
    assert!(own.is_running());
}

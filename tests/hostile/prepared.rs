//! Cases that need a prepared world: servers, other processes, mounts, an environment, a mistake of ours.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rollback_manager::base::error::Result;
use rollback_manager::gate::confirm::Answers;
use rollback_manager::gate::prompt::Ask;
use rollback_manager::host::confine::Mode;
use rollback_manager::pass::Listener;
use rollback_manager::report::options::Options;
use rollback_manager::report::{OperationRecord, Report, RunOutcome};
use rollback_manager::run::{self, Audience, Context, Request};
use rollback_manager::workspace::Workspace;

use super::{SECRET, leaks, outside, run as run_to_end, trap, unsettled, wrong_with};
use crate::disk::{in_namespace, mount, unmount};
use crate::sandbox::{Finished, InTime as _, Sandbox, Snapshot, assert_says, assert_unchanged};

/// A trap with a story that does this.
fn story(body: &str) -> Sandbox {
    let sandbox = trap();
    sandbox.write(
        "hostile/case.rhai",
        format!("const STORY = #{{ id: \"h\", title: \"Hostile\" }};\nfn execute() {{\n{body}\n}}\n"),
    );
    sandbox
}

/// Runs it for real, and makes sure that nothing outside changed and nothing was left open.
#[track_caller]
fn contained(sandbox: &Sandbox, code: i32) -> Finished {
    let before = Snapshot::of(&outside(sandbox), &[]);
    let finished = sandbox
        .run(&["run", "hostile/case.rhai", "--yes"])
        .assert_code(code);
    assert_unchanged(&before, &Snapshot::of(&outside(sandbox), &[]));
    assert_eq!(unsettled(sandbox), Vec::<String>::new());
    assert_eq!(leaks(sandbox), Vec::<String>::new());
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(
        wrong_with(said.as_bytes()),
        Vec::<String>::new(),
        "{}",
        finished.transcript()
    );
    finished
}

#[test]
fn a_redirect_to_another_host_is_refused() {
    for target in [
        "http://169.254.169.254/latest/",
        "http://example.com/",
        "//10.0.0.1/",
        "https://127.0.0.1/",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sandbox = story(&format!("http_check(\"http://127.0.0.1:{port}/\");"));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
            )
            .unwrap();
        });
        assert_says(&contained(&sandbox, 3), &["is not listed"]);
        server.join().unwrap();
    }
}

#[test]
fn an_answer_without_end_is_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = story(&format!(
        "let seen = http_check(\"http://127.0.0.1:{port}/\"); fail(`status ${{seen.status}}`);"
    ));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        // Until the other side has had enough.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let part = vec![b'x'; 65536];
        while stream.write_all(&part).is_ok() {}
    });
    assert_says(&contained(&sandbox, 1), &["status 200"]);
    server.join().unwrap();
}

#[test]
fn a_process_that_is_not_the_one_that_was_seen_is_left_alone() {
    let sandbox = story("");
    let elsewhere = Sandbox::empty();
    let (ours, theirs) = (
        sandbox.spawn_service("warehouse", "pids/ours"),
        elsewhere.spawn_service("warehouse", "pids/theirs"),
    );
    sandbox.write("pids/theirs", format!("{}\n", theirs.pid()));
    // A pid file that is older than the process: its number was given away again.
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    std::fs::File::options()
        .write(true)
        .open(sandbox.path("pids/ours"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    sandbox.write(
        "hostile/case.rhai",
        format!(
            "const STORY = #{{ id: \"h\", title: \"Hostile\" }};\nfn execute() {{\n\
             stop_processes(#{{ pid_file: \"pids/theirs\" }}, #{{ kill: true }});\n\
             stop_processes(#{{ pid_file: \"pids/ours\" }}, #{{ kill: true }});\n\
             kill_process(#{{ pid: {}, ticks: 1 }}, #{{ kill: true }});\n\
             kill_process(#{{ pid: {}, ticks: 9223372036854775807 }}, #{{ kill: true }});\n}}\n",
            ours.pid(),
            theirs.pid()
        ),
    );
    contained(&sandbox, 0);
    assert!(ours.is_running() && theirs.is_running());
}

#[test]
fn a_program_does_not_see_the_environment_of_the_run() {
    let sandbox = story(
        "run_command([\"sh\", \"-c\", \"env > data/seen.txt\"]);\nrun_command([\"true\"]);\nrun_command([\"evil-tool\"]);",
    );
    sandbox
        .write(
            "rollback.yaml",
            "policy: { commands: [sh, \"true\", evil-tool] }\n",
        )
        .write("bin/true", "#!/bin/sh\ntouch data/owned\n")
        .write("bin/evil-tool", "#!/bin/sh\ntouch data/owned\n");
    for program in ["bin/true", "bin/evil-tool"] {
        std::fs::set_permissions(sandbox.path(program), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!(
        "{}:{}",
        sandbox.path("bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let arguments = ["run", "hostile/case.rhai", "--yes"];
    let mut command = sandbox.command(&arguments);
    let tricks = [
        ("LD_PRELOAD", "/nowhere/evil.so"),
        ("LD_LIBRARY_PATH", "/nowhere"),
        ("PYTHONPATH", "/nowhere"),
        ("PYTHONSTARTUP", "/nowhere/evil.py"),
        ("NODE_OPTIONS", "--require=/nowhere/evil.js"),
        ("npm_config_prefix", "/nowhere"),
        ("npm_config_script_shell", "/nowhere/evil"),
        ("PIP_TARGET", "/nowhere"),
        ("BASH_ENV", "/nowhere/evil.sh"),
        ("ENV", "/nowhere/evil.sh"),
        ("IFS", "/"),
        ("GIT_SSH_COMMAND", "/nowhere/evil"),
        ("BASH_FUNC_true%%", "() { touch data/owned; }"),
        ("HTTP_PROXY", "http://evil.example"),
        ("OPENAI_API_KEY", SECRET),
    ];
    command.env("PATH", path).envs(tricks);
    let finished = Finished::of(&mut command, &arguments).assert_code(1);
    assert_says(&finished, &["evil-tool"]);
    let seen = sandbox.read("data/seen.txt");
    for (name, value) in tricks {
        assert!(
            !seen
                .lines()
                .any(|line| line.starts_with(&format!("{name}=")) && line.contains(value)),
            "`{name}` reached a program:\n{seen}"
        );
    }
    assert!(
        !sandbox.exists("data/owned"),
        "a program of the workspace was started"
    );
}

#[test]
fn a_script_that_is_no_text_or_too_large_is_refused() {
    let sandbox = trap();
    for (name, bytes) in [
        (
            "bytes",
            b"const STORY = #{ id: \"h\", title: \"\xff\xfe\" };".to_vec(),
        ),
        ("large", b"// x\n".repeat(300_000)),
        (
            "nul",
            b"const STORY = #{ id: \"h\", title: \"x\" };\0fn execute() { }".to_vec(),
        ),
    ] {
        let path = format!("hostile/{name}.rhai");
        sandbox.write(&path, bytes);
        for mode in ["-n", "--yes"] {
            let ended = run_to_end(&sandbox, &["run", &path, mode]).expect("it ends");
            assert_eq!(
                ended.code,
                Some(2),
                "{name}: {}",
                String::from_utf8_lossy(&ended.said)
            );
            assert_eq!(wrong_with(&ended.said), Vec::<String>::new(), "{name}");
        }
    }
    // A pipe that nobody writes is no script.
    let ended = run_to_end(&sandbox, &["run", "hostile/pipe.rhai", "-n"]).expect("it ends");
    assert_eq!(ended.code, Some(2), "{}", String::from_utf8_lossy(&ended.said));
}

/// Mounts what lies outside in the story's directory, and runs it.
fn with_mount_inside(body: &str, arguments: &[&str], then: impl FnOnce(&Sandbox, &Snapshot, &Finished)) {
    let sandbox = story(body);
    std::fs::create_dir(sandbox.path("data/mounted")).unwrap();
    mount(
        &["--bind", outside(&sandbox).to_str().unwrap()],
        &sandbox.path("data/mounted"),
    );
    let before = Snapshot::of(&outside(&sandbox), &[]);
    let finished = sandbox.run(&[&["run", "hostile/case.rhai", "--yes"], arguments].concat());
    then(&sandbox, &before, &finished);
    unmount(&sandbox.path("data/mounted"));
}

#[test]
fn what_is_mounted_inside_is_never_removed_nor_given_another_name() {
    in_namespace(|| {
        for (body, arguments) in [
            ("remove_path(\"data\");", &[] as &[&str]),
            ("move_path(\"data\", \"moved\");", &[]),
            ("move_path(\"data/mounted\", \"moved\");", &[]),
            ("remove_path(\"data\");", &["--purge"]),
            ("remove_path(\"data/mounted\");", &["--purge"]),
        ] {
            with_mount_inside(body, arguments, |sandbox, before, finished| {
                assert_unchanged(before, &Snapshot::of(&outside(sandbox), &[]));
                assert_ne!(finished.code, Some(0), "{body}\n{}", finished.transcript());
            });
        }
    });
}

/// A volume is data: the plan says that it is emptied, and what was in it comes back.
#[test]
fn what_is_mounted_inside_is_emptied_as_the_plan_says_and_filled_again() {
    in_namespace(|| {
        for body in ["retire_dir(\"data\", \"x\");", "remove_path(\"data/mounted\");"] {
            with_mount_inside(body, &[], |sandbox, before, finished| {
                assert_eq!(finished.code, Some(0), "{body}\n{}", finished.transcript());
                assert_says(
                    finished,
                    &["is mounted at `data/mounted`", "stays as an empty directory"],
                );
                assert_eq!(std::fs::read_dir(outside(sandbox)).unwrap().count(), 0, "{body}");
                sandbox.run(&["undo", "--yes"]).assert_code(0);
                assert_unchanged(before, &Snapshot::of(&outside(sandbox), &[]));
            });
        }
    });
}

#[test]
fn files_that_grow_while_they_are_read_end_the_word_and_not_the_run() {
    let sandbox = story(
        "let told = 0;\nfor n in 0..20 {\n    try { digest(\"data/grows.bin\"); } catch { }\n    try { read_text(\"data/grows.txt\"); } catch { }\n    told += 1;\n}\nfail(`looked ${told} times`);",
    );
    sandbox.write("data/grows.bin", "x").write("data/grows.txt", "x");
    let stop = AtomicBool::new(false);
    let append = |name: &str| {
        std::fs::File::options()
            .append(true)
            .open(sandbox.path(name))
            .unwrap()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut bytes, mut text) = (append("data/grows.bin"), append("data/grows.txt"));
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) && written < 64 << 20 {
                bytes.write_all(&[0; 4096]).unwrap();
                text.write_all(b"more\n").unwrap();
                written += 4096;
            }
        });
        let finished = sandbox.run(&["run", "hostile/case.rhai", "-n"]);
        stop.store(true, Ordering::Relaxed);
        // A word that can't be caught may end it too: the file is not what it was.
        assert!(matches!(finished.code, Some(1 | 7)), "{}", finished.transcript());
        assert_eq!(wrong_with(finished.stderr.as_bytes()), Vec::<String>::new());
    });
}

#[test]
fn secrets_are_masked_for_programs_too() {
    let sandbox = story(&format!(
        "note(\"{SECRET}\"); warn(\"{SECRET}\"); step(\"{SECRET}\", || remove_path(\"data/one\")); check(\"{SECRET}\", || \"{SECRET}\");\n\
         keep_path(\"data/keep.txt\", \"{SECRET}\"); confirm(\"{SECRET}\"); fail(\"{SECRET}\");"
    ));
    for arguments in [
        &["run", "hostile/case.rhai", "-n", "--json"] as &[&str],
        &["run", "hostile/case.rhai", "--yes", "--json", "--json-events"],
        &["run", "hostile/case.rhai", "--yes", "-v"],
        &["plan", "hostile/case.rhai"],
        &["status", "--json"],
        &["history", "--json"],
        &["audit", "show"],
    ] {
        let ended = run_to_end(&sandbox, arguments).expect("it ends");
        assert!(
            !String::from_utf8_lossy(&ended.said).contains(SECRET),
            "{arguments:?}"
        );
    }
    assert_eq!(leaks(&sandbox), Vec::<String>::new());
}

/// Somebody whose own code breaks when the first operation was settled.
struct Broken;

impl Listener for Broken {
    fn operation(&self, _: &OperationRecord) {
        panic!("a mistake of ours");
    }
}

impl Audience for Broken {
    fn show_plan(&self, _: &Report) -> Result<()> {
        Ok(())
    }

    fn person(&self) -> Option<Box<dyn Ask>> {
        None
    }

    fn listener(&self) -> Box<dyn Listener> {
        Box::new(Self)
    }
}

/// Names the workspace to the process that [`a_mistake_of_ours_closes_the_run_and_tells_what_was_done`] starts: the
/// kernel's wall is put up for good, and around one thread alone.
const WORKSPACE: &str = "ROLLBACK_TEST_WORKSPACE";

#[test]
fn a_mistake_of_ours_closes_the_run_and_tells_what_was_done() {
    if let Some(root) = std::env::var_os(WORKSPACE) {
        return run_by_a_broken_one(Path::new(&root));
    }
    let sandbox = Sandbox::empty();
    sandbox.write("data/one", "1").write("data/two", "2").write(
        "rollback/story.rhai",
        "const STORY = #{ id: \"9.1\", title: \"A story\" };\nfn execute() { remove_path(\"data/one\"); remove_path(\"data/two\"); }\n",
    );
    let test = "hostile::prepared::a_mistake_of_ours_closes_the_run_and_tells_what_was_done";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(WORKSPACE, sandbox.root())
        .output_in_time()
        .unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{output:?}"
    );
    assert!(!sandbox.exists("data/one") && sandbox.exists("data/two"));
    assert_eq!(unsettled(&sandbox), Vec::<String>::new());
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("data/one"), "1");
}

fn run_by_a_broken_one(root: &Path) {
    let context = Context::open(Workspace::find(Some(root)).unwrap()).unwrap();
    context.confine(Mode::Real).unwrap();
    let request = Request {
        stories: context.catalogue.named("9.1"),
        options: Options::by_hand(),
        answers: Answers {
            yes: true,
            ..Answers::default()
        },
        ..Request::default()
    };
    let report = run::run(&context, &request, &Broken).unwrap();
    assert_eq!(report.outcome, RunOutcome::Failed);
    assert_eq!(report.exit_code, 1);
    let said = report.error.unwrap().message;
    assert!(said.contains("this is a bug in rollback"), "{said}");
    assert!(
        report.next.contains(&format!("rollback undo {}", report.run)),
        "{:?}",
        report.next
    );
}

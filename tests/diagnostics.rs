//! Diagnostics: the way of a call and its decisions under `-v`, and what never stands in them.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::disk::{in_namespace, mount};
use crate::sandbox::{Finished, Sandbox, Service, assert_says};

/// A workspace with a story `9.1` of this body.
fn workspace(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox.write(
        "rollback/story.rhai",
        format!("const STORY = #{{ id: \"9.1\", title: \"Traced\" }};\n\nfn execute() {{\n    {body}\n}}\n"),
    );
    sandbox
}

/// The lines of diagnostics, with durations and what differs from machine to machine masked.
fn masked(text: &str, sandbox: &Sandbox) -> String {
    let is_diagnostic = |line: &&str| {
        ["error", "warn ", "info ", "debug", "trace"]
            .iter()
            .any(|level| line.starts_with(level))
    };
    let mut lines = String::new();
    for line in text.lines().filter(is_diagnostic) {
        let words = line.split(' ').map(|word| match word.split_once('=') {
            Some((name @ ("us" | "landlock" | "plan"), _)) => format!("{name}=N"),
            _ => word.replace(sandbox.root().to_str().unwrap(), "ROOT"),
        });
        lines.push_str(&words.collect::<Vec<_>>().join(" "));
        lines.push('\n');
    }
    lines
}

/// Each run's id, however it is written.
fn without_run(text: &str, run: &str) -> String {
    text.replace(run, "RUN")
}

#[test]
fn two_v_show_the_way_of_a_call_and_its_decisions() {
    let sandbox = workspace("remove_path(\"x\");");
    sandbox.write("x", "old");
    let finished = sandbox
        .run(&["-vv", "--json", "run", "9.1", "--yes"])
        .assert_code(0);
    let run = finished.json()["run"].as_str().unwrap().to_owned();
    insta::assert_snapshot!(without_run(&masked(&finished.stderr, &sandbox), &run));
}

#[test]
fn nothing_is_told_unless_asked_for_and_never_on_stdout() {
    let sandbox = workspace("remove_path(\"x\");");
    sandbox.write("x", "old");
    let quiet = sandbox.run(&["--json", "plan", "9.1"]).assert_code(0);
    assert_eq!(quiet.stderr, "");
    for arguments in [
        ["-vvv", "--json", "plan", "9.1"],
        ["-qvvv", "--json", "plan", "9.1"],
    ] {
        let told = sandbox.run(&arguments).assert_code(0);
        let (quiet, told_of) = (quiet.json(), told.json());
        assert_eq!(quiet["plan"], told_of["plan"]);
        assert_eq!(
            told.stderr.is_empty(),
            arguments[0].starts_with("-q"),
            "{}",
            told.stderr
        );
    }
}

#[test]
fn why_a_process_was_not_found_is_told() {
    let sandbox = workspace("stop_processes(#{ command: [\"sh\", \"services/other.sh\"] });");
    let service: Service = sandbox.spawn_script("services/worker.sh", &[]);
    let told = sandbox.run(&["-vv", "plan", "9.1"]).assert_code(0);
    let line = told
        .stderr
        .lines()
        .find(|line| line.contains("process not meant") && line.contains(&format!("pid={} ", service.pid())))
        .unwrap_or_else(|| panic!("{}", told.stderr));
    assert!(
        line.contains("worker.sh") && line.contains("differs=\"its command line\""),
        "{line}"
    );
}

#[test]
fn why_a_file_is_kept_is_told() {
    let sandbox = workspace("let kept = required_parts(\"tools/old.js\");");
    sandbox
        .write("tools/old.js", "module.exports = 1;\n")
        .write("app.js", "require('./tools/old');\n");
    let told = sandbox.run(&["-vv", "plan", "9.1"]).assert_code(0);
    assert_says(
        &told,
        &[
            "kept: what stays names it",
            "path=tools/old.js by=app.js line=1 stays=true",
        ],
    );
}

/// Of each form on each way out: no secret, and nothing that a terminal obeys.
#[test]
fn no_secret_of_a_workspace_is_in_the_most_talkative_output_or_the_log_file() {
    let sandbox = Sandbox::full();
    let secrets = ["demo-secret-", "correct-horse-battery", "s3cretOfTheUrl"];
    let environment = format!(
        "{}\nWAREHOUSE_PASSWORD={}\nWAREHOUSE=postgres://etl:{}@db.example/x\n",
        sandbox.read(".env"),
        secrets[1],
        secrets[2]
    );
    assert!(environment.contains(secrets[0]), "the workspace holds secrets");
    sandbox.write(".env", environment);
    sandbox.write(
        "rollback/secret.rhai",
        format!(
            "const STORY = #{{ id: \"9.1\", title: \"T\" }};\nfn execute() {{ note(\"{}\"); write_text(\"a\\u001b[2J.txt\", \"{}\"); }}\n",
            secrets[1], secrets[2]
        ),
    );
    for (form, story) in [("text", "all"), ("json", "1.3"), ("text", "9.1"), ("json", "9.1")] {
        let arguments = [
            "-vvv",
            "--log-format",
            form,
            "plan",
            story,
            "--log-file",
            "diagnostics.log",
        ];
        let stderr = sandbox.run(&arguments).stderr;
        let logged = sandbox.read("diagnostics.log");
        assert!(stderr.contains("word") && logged.contains("word"), "{stderr}");
        for text in [&stderr, &logged] {
            for secret in secrets {
                assert!(!text.contains(secret), "a secret is in the {form} of {story}");
            }
            assert!(!text.contains('\u{1b}'));
        }
        if form == "json" {
            for line in stderr.lines().filter(|line| line.starts_with('{')) {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(value["event"], "diagnostic");
            }
        }
    }
    let file = sandbox.path("diagnostics.log");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_log_file_is_its_owners_alone_and_no_link() {
    let sandbox = workspace("remove_path(\"x\");");
    sandbox.write("open.log", "").write("real.log", "");
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(sandbox.path("open.log"), readable).unwrap();
    symlink("real.log", sandbox.path("link.log")).unwrap();
    let refused = sandbox
        .run(&["--log-file", "open.log", "plan", "9.1"])
        .assert_code(3);
    assert_says(
        &refused,
        &["`open.log` can be read by others: its mode is 0644", "chmod 600"],
    );
    for path in ["link.log", ".", "nowhere/x.log"] {
        let refused = sandbox.run(&["--log-file", path, "plan", "9.1"]);
        assert_ne!(refused.code, Some(0), "{path}");
        assert!(refused.stderr.contains(path), "{}", refused.stderr);
    }
    assert_eq!(sandbox.read("real.log"), "");
}

/// Nothing rests on diagnostics: a log file that can't be written is told once, and the run goes on.
#[test]
fn a_log_file_without_room_is_told_and_ends_nothing() {
    in_namespace(|| {
        let sandbox = workspace("remove_path(\"x\");");
        sandbox.write("x", "old");
        let small = sandbox.home().join("small");
        std::fs::create_dir(&small).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=4k", "tmpfs"], &small);
        let log = small.join("diagnostics.log");
        let log = log.to_str().unwrap();
        let told = sandbox
            .run(&["-q", "--log-file", log, "run", "9.1", "--yes"])
            .assert_code(0);
        assert_eq!(
            told.stderr.matches("the log file can't be written").count(),
            1,
            "{}",
            told.stderr
        );
        assert!(!sandbox.exists("x"));
    });
}

#[test]
fn variables_choose_parts_and_a_bad_one_is_refused() {
    let sandbox = workspace("remove_path(\"x\");");
    sandbox.write("x", "old");
    let with = |name: &str, value: &str| {
        let told = Finished::of(
            sandbox.command(&["plan", "9.1"]).env(name, value),
            &["plan", "9.1"],
        );
        (told.code, told.stderr)
    };
    let (code, told) = with("ROLLBACK_LOG", "gate=debug");
    assert_eq!(code, Some(0));
    assert!(told.contains("(gate)") && !told.contains("word"), "{told}");
    let (code, told) = with("RUST_LOG", "rollback=debug,hyper=trace");
    assert_eq!(code, Some(0));
    assert!(told.contains("word"), "{told}");
    let (code, told) = with("ROLLBACK_LOG", "gate=loud");
    assert_eq!(code, Some(2));
    assert!(
        told.contains("`ROLLBACK_LOG` can't be read: `gate=loud`"),
        "{told}"
    );
}

//! Listed commands with `preview: overlay`: a dry run shows what they change, the run puts exactly that in place, an undo
//! takes it back to the byte, and what can't be rehearsed is said.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Child;

use crate::disk::in_namespace;
use crate::prompts::{Person, RECORDS, assert_as_before};
use crate::sandbox::{Finished, InTime as _, Sandbox, Snapshot, assert_says, until};
use crate::transaction::stage;

/// A workspace with a story that does `execute`, and a shell that a preview may run. `None` where nothing can be rehearsed.
fn workspace(execute: &str) -> Option<Sandbox> {
    let sandbox = with_policy("  commands: [{ program: sh, preview: overlay }]\n");
    tell(&sandbox, execute);
    stage(&sandbox.root()).map(|_| sandbox)
}

fn with_policy(policy: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback.yaml", format!("version: 1\npolicy:\n{policy}"))
        .write("pkg/a", "one\n")
        .write("pkg/lib/b", "two\n")
        .write("pkg/lib/c", "three\n")
        .write("keep", "keep\n");
    sandbox
}

fn tell(sandbox: &Sandbox, execute: &str) {
    let header = "const STORY = #{ id: \"9.1\", title: \"Foreign commands\" };";
    sandbox.write(
        "rollback/foreign.rhai",
        format!("{header}\n\nfn execute() {{\n{execute}\n}}\n"),
    );
}

/// A call of the shell.
fn sh(script: &str) -> String {
    format!("    run_command([\"sh\", \"-c\", {script:?}]);\n")
}

/// What a run itself leaves, beside its records.
const NOTED: &[&str] = &["docs"];

fn snapshot(sandbox: &Sandbox) -> Snapshot {
    sandbox.snapshot(&[RECORDS, NOTED].concat())
}

/// The words of a run's plan about commands.
fn planned(finished: &Finished) -> Vec<String> {
    let report = finished.json();
    let operations = report["operations"].as_array().unwrap();
    let of_commands = operations.iter().filter(|each| each["op"] == "run_command");
    of_commands
        .map(|each| {
            format!(
                "{}: {}",
                each["outcome"].as_str().unwrap(),
                each["summary"].as_str().unwrap()
            )
        })
        .collect()
}

/// Removes, edits, makes, links, closes and touches.
const MADE_UP: &str = "rm -r pkg/lib; echo new >pkg/a; mkdir -p made/deep; echo x >made/deep/x; ln made/deep/x made/y; \
                       ln -s ../keep made/l; chmod 400 made/deep/x; mkfifo made/pipe; touch -d @86400 keep; \
                       mkdir made/closed; touch made/closed/in; chmod 500 made/closed";

#[test]
fn a_dry_run_shows_what_the_run_then_changes_and_an_undo_gives_every_byte_back() {
    let Some(sandbox) = workspace(&sh(MADE_UP)) else {
        return;
    };
    let before = snapshot(&sandbox);
    let dry = sandbox.run(&["run", "9.1", "-n", "--json"]).assert_code(0);
    let lines = planned(&dry);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let told = "remove 2 files (10 B), change 1 file (4 B), make 3 files (4 B) and 2 other paths";
    assert!(lines[0].contains(told), "{lines:?}");
    assert_as_before(&before, &sandbox, NOTED);

    // What a bare run makes of a copy.
    let bare = with_policy("  deny: []\n");
    let status = std::process::Command::new("sh")
        .args(["-ec", MADE_UP])
        .current_dir(bare.root())
        .status();
    assert!(status.unwrap().success());

    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let looks = |sandbox: &Sandbox| {
        let root = sandbox.root();
        let mut seen = Vec::new();
        for path in [
            "pkg",
            "pkg/a",
            "keep",
            "made",
            "made/deep",
            "made/deep/x",
            "made/y",
            "made/closed",
            "made/pipe",
        ] {
            let found = root.join(path).symlink_metadata().unwrap();
            let links = if found.is_dir() { 0 } else { found.nlink() };
            seen.push((
                path,
                found.mode(),
                found.len() * u64::from(found.is_file()),
                links,
            ));
        }
        seen
    };
    assert_eq!(looks(&sandbox), looks(&bare));
    assert!(!sandbox.exists("pkg/lib") && sandbox.exists("made/closed/in"));
    assert_eq!(sandbox.read("made/l"), "keep\n");
    assert_eq!(sandbox.path("keep").metadata().unwrap().mtime(), 86400);

    let undone = sandbox.run(&["undo", "--yes", "--json"]).assert_code(0).json();
    assert_as_before(&before, &sandbox, NOTED);
    // And an undo of the undo is the run again.
    let undo = undone["run"].as_str().unwrap();
    sandbox.run(&["undo", undo, "--yes"]).assert_code(0);
    assert_eq!(looks(&sandbox), looks(&bare));
}

#[test]
fn a_command_finds_what_was_pretended_before_and_later_words_find_what_it_wrote() {
    let execute = [
        "    write_text(\"keep\", \"edited\\n\", #{ overwrite: true });\n    remove_path(\"pkg/lib/b\");\n    \
         move_path(\"pkg/a\", \"moved/a\");\n"
            .to_owned(),
        sh("cat keep moved/a >seen; ls pkg pkg/lib >>seen; mkdir new; echo 1 >new/1"),
        sh("cat seen new/1 >second; rm new/1; echo 2 >new/2; echo more >>seen"),
        "    if read_text(\"second\") != \"edited\\none\\nlib\\nc\\n1\\n\" { fail(read_text(\"second\")); }\n    \
         if path_exists(\"new/1\") || read_text(\"new/2\") != \"2\\n\" { fail(\"new\"); }\n    \
         remove_path(\"new/2\");\n    write_text(\"new/3\", \"3\\n\");\n"
            .to_owned(),
    ]
    .concat();
    // What `ls` says of two directories has their names as headings.
    let execute = execute
        .replace("ls pkg pkg/lib", "ls pkg; ls pkg/lib")
        .replace("; ls pkg/lib >>seen", " >>seen; ls pkg/lib >>seen");
    let Some(sandbox) = workspace(&execute) else {
        return;
    };
    let before = snapshot(&sandbox);
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert_as_before(&before, &sandbox, NOTED);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("second"), "edited\none\nlib\nc\n1\n");
    assert_eq!(sandbox.read("seen"), "edited\none\nlib\nc\nmore\n");
    assert_eq!(sandbox.read("new/3"), "3\n");
    assert!(!sandbox.exists("new/1") && !sandbox.exists("new/2"));
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_as_before(&before, &sandbox, NOTED);
}

#[test]
fn a_command_that_fails_in_the_preview_fails_the_plan_and_changes_nothing() {
    let Some(sandbox) = workspace(&sh("rm -r pkg; echo 'no such package' >&2; exit 3")) else {
        return;
    };
    let before = snapshot(&sandbox);
    for arguments in [&["run", "9.1", "-n"][..], &["run", "9.1", "--yes"]] {
        let finished = sandbox.run(arguments).assert_code(1);
        assert_says(
            &finished,
            &[
                "exit status 3: no such package",
                "nothing was changed",
                "preview: skip",
            ],
        );
        assert_as_before(&before, &sandbox, NOTED);
    }
}

#[test]
fn what_a_command_changes_is_asked_of_the_policy_path_by_path() {
    for (script, named) in [
        ("echo x >>.git/config", ".git/config"),
        ("rm -r .git", ".git"),
        ("echo x >>rollback.yaml", "rollback.yaml"),
        (
            "mkdir -p rollback_backups && echo x >rollback_backups/mine",
            "rollback_backups",
        ),
        (
            "sed -i s/true/false/ config/feature-flags.yaml",
            "config/feature-flags.yaml",
        ),
        ("echo '//' >>rollback/foreign.rhai", "rollback/foreign.rhai"),
    ] {
        let Some(sandbox) = workspace(&sh(script)) else {
            return;
        };
        sandbox
            .write(".git/config", "x\n")
            .write("config/feature-flags.yaml", "features:\n  x: true\n");
        let before = snapshot(&sandbox);
        let finished = sandbox.run(&["run", "9.1", "-n"]).assert_code(3);
        assert_says(&finished, &[named]);
        assert_as_before(&before, &sandbox, NOTED);
    }
    // What it does to our own state is thrown away.
    let Some(sandbox) = workspace(&sh("mkdir -p .rollback/x; echo y >keep")) else {
        return;
    };
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(!sandbox.exists(".rollback/x"));
}

#[test]
fn what_changes_nothing_is_settled() {
    let Some(sandbox) = workspace(&sh("cat keep; touch -r keep keep; : >x; rm x; touch -r pkg pkg")) else {
        return;
    };
    let dry = sandbox.run(&["run", "9.1", "-n", "--json"]).assert_code(0);
    let lines = planned(&dry);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("not-present: ") && lines[0].contains("changes nothing"),
        "{lines:?}"
    );
}

#[test]
fn what_can_not_be_put_in_place_by_moves_is_unknown_and_says_why() {
    type Prepare = fn(&Sandbox);
    let cases: [(&str, &str, Prepare); 3] = [
        ("echo more >>keep", "`keep`, which has other names", |sandbox| {
            std::fs::hard_link(sandbox.path("keep"), sandbox.path("second")).unwrap();
        }),
        (
            "ln keep second",
            "the file `keep` a second name, `second`",
            |_| {},
        ),
        ("chmod 700 pkg", "the attributes of the directory `pkg`", |_| {}),
    ];
    for (script, why, prepare) in cases {
        let Some(sandbox) = workspace(&sh(script)) else {
            return;
        };
        prepare(&sandbox);
        let dry = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
        assert_says(&dry, &["cannot be known before the run", why]);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    }
}

#[test]
fn only_programs_that_are_listed_for_it_run_in_a_preview() {
    for policy in [
        "  commands: [sh]\n",
        "  commands: [{ program: sh, preview: skip }]\n",
        "  commands: [sh, { program: true, preview: overlay }]\n"
            .replace("true", "\"true\"")
            .as_str(),
    ] {
        let sandbox = with_policy(policy);
        tell(&sandbox, &sh("echo x >ran"));
        let dry = sandbox.run(&["run", "9.1", "-n", "-vv"]).assert_code(0);
        assert_says(&dry, &["cannot be known before the run"]);
        assert!(!sandbox.exists("ran"));
    }
    let sandbox = with_policy("  commands: [{ program: \"true\", preview: overlay }]\n");
    tell(&sandbox, &sh("echo x >ran"));
    assert_says(
        &sandbox.run(&["run", "9.1", "-n"]).assert_code(3),
        &["policy.commands"],
    );
}

#[test]
fn what_somebody_else_changes_while_the_command_runs_stops_the_plan() {
    let script = "echo began >began; until grep -q go keep; do :; done; echo mine >pkg/a";
    let Some(sandbox) = workspace("") else { return };
    // A word that no other process has in its command line.
    let word = format!(
        "only-in-{}",
        sandbox.root().parent().unwrap().file_name().unwrap().display()
    );
    tell(&sandbox, &sh(&format!("{script}; : {word}")));
    let mut child = sandbox.command(&["run", "9.1", "-n"]);
    let child = child
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = Started(child.spawn().unwrap());
    until("the command runs", || is_running(&word));
    // In place: a name that comes below is not sure to be seen above.
    sandbox.write("pkg/a", "theirs\n").write("keep", "go\n");
    let output = crate::sandbox::output_of(&mut child.0);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("`pkg/a` was changed while the command ran"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert_eq!(sandbox.read("pkg/a"), "theirs\n");
    assert!(!sandbox.exists("began"));
}

/// Ends with the test, however that ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the shell with this word in its script runs.
fn is_running(word: &str) -> bool {
    let listed = std::fs::read_dir("/proc").unwrap();
    listed.filter_map(Result::ok).any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        // Those that set it up have it among their arguments, too.
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        program.ends_with(b"sh") && String::from_utf8_lossy(&command).contains(word)
    })
}

#[test]
fn what_changes_between_the_plan_and_the_run_stops_it() {
    let Some(sandbox) = workspace(&sh("cat keep >copy; rm pkg/a")) else {
        return;
    };
    sandbox.run(&["plan", "9.1", "-o", "plan.json"]).assert_code(0);
    // The same again, by another process, is the same plan.
    sandbox.write("keep", "other\n");
    let finished = sandbox.run(&["apply", "plan.json", "--yes"]).assert_code(7);
    assert_says(&finished, &["nothing was changed"]);
    assert!(sandbox.exists("pkg/a") && !sandbox.exists("copy"));
    sandbox.write("keep", "keep\n");
    sandbox.run(&["apply", "plan.json", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("copy"), "keep\n");
    assert!(!sandbox.exists("pkg/a"));
}

#[test]
fn a_person_who_leaves_out_what_a_command_rests_on_is_told_and_nothing_happens() {
    let execute = ["    remove_path(\"pkg/lib\");\n".to_owned(), sh("ls pkg >seen")].concat();
    let Some(sandbox) = workspace(&execute) else {
        return;
    };
    let before = snapshot(&sandbox);
    let mut person = Person::starts(&sandbox, &["run", "9.1", "--each"]);
    person
        .sees("Roll back 9.1? [y/N] ")
        .types("y\n")
        .sees("remove `pkg/lib`")
        .sees("? [y/N] ")
        .types("n\n");
    let screen = person.leaves_with(5);
    assert!(screen.contains("what is still to come rests on it"), "{screen}");
    assert_as_before(&before, &sandbox, NOTED);
}

#[test]
fn a_later_change_to_what_a_command_made_stops_the_undo_and_names_it() {
    let Some(sandbox) = workspace(&sh("echo made >made; rm keep")) else {
        return;
    };
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    sandbox.write("made", "mine now\n");
    let finished = sandbox.run(&["undo", "--yes"]).assert_code(7);
    assert_says(&finished, &["`made` has 9 bytes, not 5"]);
    assert_eq!(sandbox.read("made"), "mine now\n");
    assert!(!sandbox.exists("keep"));
    // What has gone by then is nothing that an undo could miss.
    sandbox.remove("made");
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_eq!(sandbox.read("keep"), "keep\n");
}

#[test]
fn a_layer_that_ran_full_is_no_preview() {
    in_namespace(|| {
        let script = "head -c 200000000 /dev/zero >big 2>/dev/null; rm keep; true";
        let Some(sandbox) = workspace(&sh(script)) else {
            return;
        };
        let finished = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
        assert_says(&finished, &["cannot be known before the run", "ran full"]);
        assert!(sandbox.exists("keep"));
    });
}

#[test]
fn what_somebody_has_open_for_writing_is_not_replaced_under_their_hands() {
    for (script, name) in [("echo x >keep", "keep"), ("rm -r pkg", "pkg/lib/b")] {
        let Some(sandbox) = workspace(&sh(script)) else {
            return;
        };
        let mut writer = std::process::Command::new("sh");
        let writer = writer
            .args(["-c", &format!("exec 3>>{name}; read line")])
            .current_dir(sandbox.root())
            .stdin(std::process::Stdio::piped());
        let writer = Started(writer.spawn().unwrap());
        let open = format!("/proc/{}/fd/3", writer.0.id());
        until("the file is open", || {
            std::fs::read_link(&open).is_ok_and(|file| file == sandbox.path(name))
        });
        let before = snapshot(&sandbox);
        let finished = sandbox.run(&["run", "9.1", "-n"]).assert_code(1);
        assert_says(&finished, &["is not quiet", &writer.0.id().to_string()]);
        assert_as_before(&before, &sandbox, NOTED);
        sandbox.run(&["run", "9.1", "-n", "--allow-open"]).assert_code(0);
    }
}

#[test]
fn odd_names_come_and_go_as_they_are() {
    let script = "printf x >\"$(printf 'a\\nb\\377')\"; printf y >' :,\\ '; rm -- -rf; ln -s '\\n' \"$(printf 'l\\001')\"";
    let Some(sandbox) = workspace(&sh(script)) else {
        return;
    };
    sandbox.write("-rf", "x");
    symlink("nowhere", sandbox.path("dangling")).unwrap();
    std::fs::set_permissions(sandbox.path("pkg"), std::fs::Permissions::from_mode(0o750)).unwrap();
    let before = snapshot(&sandbox);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    let odd: &Path = &sandbox.root().join(std::ffi::OsStr::new(" :,\\ "));
    assert_eq!(std::fs::read(odd).unwrap(), b"y");
    assert!(!sandbox.exists("-rf"));
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_as_before(&before, &sandbox, NOTED);
}

/// A program on the PATH; a skip where there is none.
fn found(name: &str) -> Option<()> {
    let has = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(name).exists()));
    if !has {
        crate::skipped::skipped(&format!("no `{name}`"));
    }
    has.then_some(())
}

#[track_caller]
fn done(sandbox: &Sandbox, argv: &[&str]) {
    let (program, arguments) = argv.split_first().unwrap();
    let mut command = std::process::Command::new(program);
    let command = command
        .args(arguments)
        .current_dir(sandbox.root())
        .env("HOME", sandbox.home());
    let output = command.output_in_time().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{argv:?}: {said}");
}

/// Rolls back with one command in a workspace that `make` makes: what comes of it is what a bare run of it makes of another,
/// and an undo gives every byte back.
fn as_bare(program: &str, argv: &[&str], make: impl Fn(&Sandbox), compared: &[&str]) -> Option<Sandbox> {
    let policy = format!("  deny: []\n  commands: [{{ program: {program}, preview: overlay }}]\n");
    let (sandbox, bare) = (with_policy(&policy), with_policy(&policy));
    stage(&sandbox.root())?;
    tell(&sandbox, &format!("    run_command({argv:?});\n"));
    tell(&bare, &format!("    run_command({argv:?});\n"));
    make(&sandbox);
    make(&bare);
    let before = snapshot(&sandbox);
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    assert_as_before(&before, &sandbox, NOTED);
    let report = sandbox.run(&["run", "9.1", "--yes", "--json"]).assert_code(0);
    let lines = planned(&report);
    assert!(
        lines.len() == 1 && lines[0].starts_with("done: run `"),
        "{lines:?}"
    );
    done(&bare, argv);
    let names = |sandbox: &Sandbox| -> Vec<String> {
        let walked = Snapshot::diff(&Sandbox::empty().snapshot(&[]), &snapshot(sandbox));
        walked
            .iter()
            .filter(|line| line.starts_with("added "))
            .cloned()
            .collect()
    };
    assert_eq!(names(&sandbox), names(&bare));
    for path in compared {
        assert_eq!(sandbox.read(path), bare.read(path), "{path}");
    }
    sandbox.run(&["undo", "--yes"]).assert_code(0);
    assert_as_before(&before, &sandbox, NOTED);
    Some(sandbox)
}

#[test]
fn npm_goes_over_a_layer_and_its_own_check_is_as_green_after_the_undo() {
    let Some(()) = found("npm") else { return };
    let make = |sandbox: &Sandbox| {
        for (name, version) in [("goes", "1.0.0"), ("stays", "2.0.0")] {
            let package = format!("{{\"name\":\"{name}\",\"version\":\"{version}\",\"main\":\"index.js\"}}");
            sandbox
                .write(&format!("packages/{name}/package.json"), package)
                .write(&format!("packages/{name}/index.js"), "module.exports = 1;\n");
            done(
                sandbox,
                &["npm", "pack", "--silent", &format!("./packages/{name}")],
            );
        }
        sandbox
            .remove("packages")
            .write("package.json", "{ \"name\": \"w\", \"version\": \"1.0.0\" }\n");
        let install = ["npm", "install", "--offline", "--no-audit", "--no-fund"];
        done(
            sandbox,
            &[&install[..], &["./goes-1.0.0.tgz", "./stays-2.0.0.tgz"]].concat(),
        );
        done(sandbox, &["npm", "ls", "--all", "--offline"]);
    };
    let argv = ["npm", "uninstall", "--offline", "--no-audit", "--no-fund", "goes"];
    let compared = [
        "package.json",
        "package-lock.json",
        "node_modules/.package-lock.json",
    ];
    if let Some(sandbox) = as_bare("npm", &argv, make, &compared) {
        done(&sandbox, &["npm", "ls", "--all", "--offline"]);
    }
}

#[test]
fn git_goes_over_a_layer() {
    let Some(()) = found("git") else { return };
    let make = |sandbox: &Sandbox| {
        done(sandbox, &["git", "init", "--quiet"]);
        done(sandbox, &["git", "add", "keep", "rollback", "rollback.yaml"]);
        sandbox
            .write("build/out/file", "built")
            .write(".gitignore", "build\n");
    };
    // Tracked files stay; what the workspace has beside them goes.
    as_bare(
        "git",
        &[
            "git",
            "clean",
            "-fdxq",
            "-e",
            "rollback",
            "-e",
            ".gitignore",
            "-e",
            "config",
        ],
        make,
        &["keep"],
    );
}

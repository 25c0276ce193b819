//! Secrets: what the program writes, what it is told, what a script is given, what it shows, and what it goes by.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::disk::{in_namespace, mount};
use crate::sandbox::{InTime as _, Sandbox, Snapshot, assert_says, assert_unchanged};

const SECRET: &str = "hunter2-and-more";

/// A workspace with a story `9.1` of this body.
fn workspace(body: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    story(&sandbox, "Secrets", body);
    sandbox
}

fn story(sandbox: &Sandbox, title: &str, body: &str) {
    sandbox.write(
        "rollback/secrets.rhai",
        format!("const STORY = #{{ id: \"9.1\", title: \"{title}\" }};\n\nfn execute() {{\n{body}\n}}\n"),
    );
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Every path below, the top included, that others may read or (directories) enter.
fn open_to_others(top: &Path) -> Vec<String> {
    let mut open = Vec::new();
    let mut pending = vec![top.to_path_buf()];
    while let Some(path) = pending.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if !metadata.is_symlink() && metadata.permissions().mode() & 0o077 != 0 {
            open.push(format!("{} {:o}", path.display(), mode(&path)));
        }
        if metadata.is_dir() {
            pending.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    open
}

/// All files below that hold a text.
pub fn holding(top: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![top.to_path_buf()];
    while let Some(path) = pending.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            pending.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if metadata.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            if String::from_utf8_lossy(&bytes).contains(text) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

// A7: what goes into our care is never more open than it was.

#[test]
fn modes_directories_and_files_of_ours_are_closed_to_others() {
    let sandbox = workspace(
        "retire_dir(\"data/one.db\", \"one\"); backup_dir(\"data/two.db\", \"two\"); remove_path(\"data/three\"); \
         set_json(\"a.json\", \"x\", 2);",
    );
    sandbox
        .write("data/one.db", "1")
        .write("data/two.db", "2")
        .write("data/three/x", "3")
        .write("a.json", "{ \"x\": 1 }");
    set_mode(&sandbox.path("data/three"), 0o700);
    set_mode(&sandbox.path("data/three/x"), 0o600);
    set_mode(&sandbox.path("a.json"), 0o600);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    for own in [".rollback", "rollback_reports"] {
        assert_eq!(open_to_others(&sandbox.path(own)), [] as [String; 0]);
    }
    assert_eq!(mode(&sandbox.path("rollback_backups")), 0o700);
    for entry in std::fs::read_dir(sandbox.path("rollback_backups")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o700);
    }
    for log in ["logs/security.log", "logs/audit.log"] {
        assert_eq!(mode(&sandbox.path(log)) & 0o037, 0, "{log}");
    }
}

#[test]
fn modes_of_logs_that_are_there_stay_and_a_state_that_was_opened_is_closed() {
    let sandbox = workspace("remove_path(\"a.txt\");");
    sandbox.write("a.txt", "a").write("logs/security.log", "");
    set_mode(&sandbox.path("logs/security.log"), 0o664);
    std::fs::create_dir(sandbox.path(".rollback")).unwrap();
    set_mode(&sandbox.path(".rollback"), 0o755);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(mode(&sandbox.path("logs/security.log")), 0o664);
    assert_eq!(mode(&sandbox.path(".rollback")), 0o700);
}

#[test]
fn modes_of_an_open_directory_of_backups_are_closed_for_what_was_private_and_come_back() {
    for (word, kept) in [("retire_dir", false), ("backup_dir", true)] {
        let sandbox = workspace(&format!("{word}(\"private/data\", \"data\");"));
        sandbox
            .write("private/data/x", "x")
            .write("rollback_backups/note.txt", "n");
        set_mode(&sandbox.path("private"), 0o700);
        set_mode(&sandbox.path("private/data"), 0o755);
        set_mode(&sandbox.path("rollback_backups"), 0o755);
        let except = [".rollback", "rollback_reports", "logs", "docs"];
        let before = sandbox.snapshot(&except);

        let plan = sandbox.run(&["plan", "9.1"]).assert_code(0);
        assert_says(&plan, &["close `rollback_backups` to others", "0755 to 0700"]);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
        assert_eq!(sandbox.exists("private/data/x"), kept);
        assert_eq!(mode(&sandbox.path("rollback_backups")), 0o700, "{word}");
        sandbox.run(&["undo", "--yes"]).assert_code(0);
        let mut differences = Snapshot::diff(&before, &sandbox.snapshot(&except));
        differences.retain(|line| !line.ends_with(": time"));
        assert_eq!(differences, [] as [String; 0], "{word}");
    }
}

#[test]
fn modes_of_an_open_directory_of_backups_stay_for_what_was_open() {
    let sandbox = workspace("retire_dir(\"public/data\", \"data\");");
    sandbox
        .write("public/data/x", "x")
        .write("rollback_backups/note.txt", "n");
    set_mode(&sandbox.path("public"), 0o755);
    set_mode(&sandbox.path("rollback_backups"), 0o755);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_eq!(mode(&sandbox.path("rollback_backups")), 0o755);
}

// A8: parameters that are secrets are not written down.

const WITH_PASSWORD: &str = "if param(\"db_password\", \"\") == \"\" { fail(\"no password\"); }\n\
     if param(\"where\", \"\") == \"\" { fail(\"no place\"); }\nremove_path(\"a.txt\");\n\
     note(\"the password is \" + param(\"db_password\", \"\"));";

#[test]
fn params_that_are_secrets_stand_in_no_file_and_are_asked_for_again() {
    let sandbox = workspace(WITH_PASSWORD);
    sandbox.write("a.txt", "a");
    let file = sandbox.home().join("plan.json");
    let plan = file.to_str().unwrap();
    let (password, place) = (
        format!("db_password={SECRET}"),
        "where=postgres://me:inside-it@h/d",
    );
    let given = ["--param", &password, "--param", place];
    let planned = sandbox
        .run(&[&["plan", "9.1", "-o", plan] as &[&str], &given].concat())
        .assert_code(0);
    for said in [&planned.stdout, &planned.stderr] {
        assert!(!said.contains(SECRET) && !said.contains("inside-it"), "{said}");
    }
    assert_eq!(mode(&file), 0o600);
    for text in [SECRET, "inside-it"] {
        assert_eq!(holding(&sandbox.home(), text), [] as [String; 0]);
    }

    let before = sandbox.snapshot(&[]);
    let refused = sandbox.run(&["apply", plan, "--yes"]).assert_code(2);
    assert_says(
        &refused,
        &["`db_password` is a secret", "give its value again with --param"],
    );
    let other = [&["apply", plan, "--yes", "--param", "more=1"] as &[&str], &given].concat();
    assert_says(&sandbox.run(&other).assert_code(2), &["--param more"]);
    assert_unchanged(&before, &sandbox.snapshot(&[]));

    sandbox
        .run(&[&["apply", plan, "--yes"] as &[&str], &given].concat())
        .assert_code(0);
    assert!(!sandbox.exists("a.txt"));
    for text in [SECRET, "inside-it"] {
        let found = holding(&sandbox.root(), text);
        assert_eq!(found, [] as [String; 0]);
    }
}

#[test]
fn params_that_are_no_secrets_stay_in_the_plan() {
    let sandbox = workspace("if param(\"volumes\", \"\") == \"true\" { remove_path(\"a.txt\"); }");
    sandbox.write("a.txt", "a");
    sandbox
        .run(&["plan", "9.1", "-o", "plan.json", "--param", "volumes=true"])
        .assert_code(0);
    sandbox.run(&["apply", "plan.json", "--yes"]).assert_code(0);
    assert!(!sandbox.exists("a.txt"));
}

#[test]
fn params_that_are_secrets_are_asked_for_again_by_a_recovery_that_goes_on() {
    let sandbox = workspace(WITH_PASSWORD);
    sandbox.write("a.txt", "a");
    let mark = serde_json::json!({
        "run": "20261123T013000Z-1a2b", "stories": ["9.1"], "started": "2026-11-23T01:30:00.000Z", "pid": 1,
        "asked": { "stories": ["9.1"], "reason": null, "trigger": "manual", "copy": false, "purge": false,
            "allow_open": false, "params": { "db_password": "[redacted]", "where": "here" } },
    });
    sandbox.write(".rollback/active", format!("{mark}\n"));
    std::fs::create_dir_all(sandbox.path(".rollback/runs/20261123T013000Z-1a2b")).unwrap();
    let refused = sandbox.run(&["recover", "--resume", "--yes"]).assert_code(2);
    assert_says(
        &refused,
        &["`db_password` is a secret", "give its value again with --param"],
    );
    let password = format!("db_password={SECRET}");
    sandbox
        .run(&["recover", "--resume", "--yes", "--param", &password])
        .assert_code(0);
    assert!(!sandbox.exists("a.txt"));
    assert_eq!(holding(&sandbox.root(), SECRET), [] as [String; 0]);
}

// A9, A10: a script is not given secrets, whatever name leads there.

/// What is tried, and what is there before.
const READINGS: [(&str, &str); 14] = [
    ("the environment file", "note(read_text(\"conf/.env\"));"),
    (
        "in a directory that was moved",
        "move_path(\"conf\", \"moved\"); note(read_text(\"moved/.env\"));",
    ),
    (
        "in a directory that was copied",
        "copy_path(\"conf\", \"copied\"); note(read_text(\"copied/.env\"));",
    ),
    ("a hard link of it", "note(read_text(\"linked.txt\"));"),
    ("a copy of a hard link", "copy_path(\"linked.txt\", \"x.txt\");"),
    (
        "a moved hard link",
        "move_path(\"linked.txt\", \"x.txt\"); note(read_text(\"x.txt\"));",
    ),
    (
        "in a retired directory",
        "let b = retire_dir(\"conf\", \"conf\"); note(read_text(`rollback_backups/${b}/.env`));",
    ),
    (
        "in a backup",
        "let b = backup_dir(\"conf\", \"conf\"); note(read_text(`rollback_backups/${b}/.env`));",
    ),
    (
        "restored under another name",
        "let b = backup_dir(\"conf/.env\", \"conf\"); restore_backup(b, \"plain.txt\"); note(read_text(\"plain.txt\"));",
    ),
    ("its digest", "note(digest(\"conf/.env\"));"),
    (
        "lines by trial",
        "remove_lines(\"conf/.env\", \"^A=h\"); note(`${path_size(\"conf/.env\")}`);",
    ),
    ("as YAML", "note(`${read_yaml(\"conf/.env\")}`);"),
    ("a link to it", "note(read_text(\"link.txt\"));"),
    (
        "a moved directory of another name",
        "move_path(\"conf\", \"x\"); copy_path(\"x/.env\", \"y.txt\");",
    ),
];

fn tried(sandbox: &Sandbox, what: &str, body: &str) {
    story(sandbox, "Readings", body);
    let before = sandbox.snapshot(&[]);
    for command in [&["run", "9.1", "-n"] as &[&str], &["run", "9.1", "--yes"]] {
        let finished = sandbox.run(command);
        let text = finished.transcript();
        assert!(matches!(finished.code, Some(2 | 3)), "{what}: {text}");
        assert!(!text.contains(SECRET), "{what}: {text}");
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
}

#[test]
fn readings_of_the_environment_file_are_refused_by_identity() {
    let sandbox = workspace("");
    // By its place alone, not by its name.
    sandbox
        .write(
            "rollback.yaml",
            "env_file: conf/.env\npolicy: { read_deny: [] }\n",
        )
        .write("conf/.env", format!("A={SECRET}\n"));
    std::fs::hard_link(sandbox.path("conf/.env"), sandbox.path("linked.txt")).unwrap();
    symlink("conf/.env", sandbox.path("link.txt")).unwrap();
    for (what, body) in READINGS {
        tried(&sandbox, what, body);
    }
}

#[test]
fn readings_of_listed_files_are_refused_by_identity() {
    let sandbox = workspace("");
    sandbox
        .write("rollback.yaml", "policy: { read_deny: [\"conf/**\"] }\n")
        .write("conf/.env", format!("A={SECRET}\n"));
    std::fs::hard_link(sandbox.path("conf/.env"), sandbox.path("linked.txt")).unwrap();
    symlink("conf/.env", sandbox.path("link.txt")).unwrap();
    for (what, body) in READINGS {
        tried(&sandbox, what, body);
    }
}

#[test]
fn readings_of_the_default_list_are_refused_and_removal_is_not() {
    let names = [
        ".env.local",
        "web/.npmrc",
        ".pypirc",
        "home/.netrc",
        "id_rsa",
        "keys/id_ed25519",
        "keys/ID_ECDSA_SK",
        "keys/id_rsa.old",
        "home/.ssh/id_deploy",
        "tls/server.pem",
        "tls/SERVER.KEY",
    ];
    let sandbox = workspace("");
    for name in names {
        sandbox.write(name, SECRET);
    }
    for name in names {
        for body in [
            format!("note(read_text(\"{name}\"));"),
            format!("copy_path(\"{name}\", \"plain.txt\");"),
            format!("move_path(\"{name}\", \"plain.txt\");"),
        ] {
            tried(&sandbox, name, &body);
        }
    }
    let all: String = names.map(|name| format!("remove_path(\"{name}\");")).concat();
    story(&sandbox, "Removal", &all);
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(names.iter().all(|name| !sandbox.exists(name)));
    // What was removed is not given either.
    let store: Vec<String> = holding(&sandbox.path(".rollback/runs"), SECRET);
    let inside = Path::new(&store[0]).strip_prefix(sandbox.root()).unwrap();
    tried(
        &sandbox,
        "the run's store",
        &format!("note(read_text(\"{}\"));", inside.display()),
    );
}

#[test]
fn readings_and_edits_of_other_files_stay_possible() {
    let sandbox = workspace(
        "set_json(\"package.json\", \"x\", 2); note(read_text(\".npmrc\")); copy_path(\"conf\", \"copied\"); \
         read_json(\"package.json\");",
    );
    sandbox
        .write("rollback.yaml", "policy: { read_deny: [] }\n")
        .write(".npmrc", "registry=x\n")
        .write("conf/.env", "A=1\n")
        .write("package.json", "{ \"x\": 1 }\n");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    // With the default list a listed file that keeps its name goes along.
    let sandbox = workspace("copy_path(\"conf\", \"copied\"); move_path(\"conf\", \"moved\");");
    sandbox.write("conf/.env.local", "A=1\n").write("conf/x", "x");
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert!(sandbox.exists("copied/.env.local") && sandbox.exists("moved/.env.local"));
}

#[test]
fn readings_of_sources_whose_names_begin_as_those_of_keys_are_given() {
    let sandbox =
        workspace("note(read_text(\"src/id_utils.js\")); copy_path(\"src/id_utils.js\", \"src/ids.js\");");
    sandbox.write("src/id_utils.js", "export const id = 1;\n");
    let run = sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    assert_says(&run, &["export const id = 1;"]);
    assert_eq!(sandbox.read("src/ids.js"), "export const id = 1;\n");
}

#[test]
fn readings_list_that_is_no_pattern_is_refused_with_its_key() {
    let sandbox = workspace("");
    sandbox.write("rollback.yaml", "policy: { read_deny: [\"a[\"] }\n");
    assert_says(&sandbox.run(&["status"]).assert_code(2), &["policy.read_deny"]);
}

#[test]
fn readings_that_are_refused_are_told_by_the_check_of_a_script() {
    let sandbox = workspace("read_text(\"tls/a.key\"); read_text(\"notes.txt\");");
    let checked = sandbox
        .run(&["script", "check", "rollback/secrets.rhai"])
        .assert_code(3);
    assert_says(&checked, &["policy.read_deny"]);
}

/// A server that says whether it was asked for a path that holds a text.
fn asked(listener: &std::net::TcpListener) -> Vec<String> {
    use std::io::{Read, Write};
    listener.set_nonblocking(true).unwrap();
    let mut lines = Vec::new();
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(200)))
            .unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap_or(0);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        lines.push(String::from_utf8_lossy(&bytes[..length]).into_owned());
    }
    lines
}

#[test]
fn sending_what_was_read_is_not_done_in_a_dry_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    for (what, reading) in [
        (
            "as it is",
            "let s = read_text(\"notes.txt\"); s.trim(); let sent = s;",
        ),
        ("a value", "let sent = read_json(\"notes.json\").inner.key;"),
        (
            "a piece",
            "let s = read_text(\"notes.txt\"); let sent = s.sub_string(2, 8);",
        ),
        (
            "encoded",
            "let s = read_text(\"notes.txt\"); let sent = \"\"; for c in s.sub_string(0, 9) { sent += \"%\" + c.to_int().to_hex(); }",
        ),
        ("its digest", "let sent = digest(\"notes.txt\");"),
    ] {
        let sandbox = workspace(&format!(
            "{reading}\nlet seen = http_check(`{address}/health?q=${{sent}}`, #{{ timeout: 1 }});\n\
             if seen.asked || seen.ok || !seen.why.contains(\"notes.\") {{ fail(`asked: ${{seen}}`); }}"
        ));
        sandbox.write("notes.txt", SECRET).write(
            "notes.json",
            format!("{{ \"inner\": {{ \"key\": \"{SECRET}\" }} }}"),
        );
        let finished = sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
        assert_says(&finished, &["asked in the real run only"]);
        assert_eq!(asked(&listener), [] as [String; 0], "{what}");
    }
}

#[test]
fn sending_what_the_script_itself_says_is_done_in_a_dry_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let sandbox = workspace(&format!(
        "read_text(\"notes.txt\"); if !http_check(\"{address}/health/of/it\", #{{ timeout: 1 }}).asked {{ fail(\"not asked\"); }}"
    ));
    sandbox.write("notes.txt", "the path is /health/of/it");
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
    let lines = asked(&listener);
    assert!(
        lines.iter().any(|line| line.contains("/health/of/it")),
        "{lines:?}"
    );
}

// A11: command lines in the plan.

#[test]
fn command_lines_with_secrets_are_masked_in_the_plan_and_for_the_script() {
    let sandbox = workspace(
        "for found in find_processes(#{ argument: \"services/work.sh\" }) { note(found.command); }\n\
         stop_processes(#{ argument: \"services/work.sh\" });",
    );
    let service = sandbox.spawn_script(
        "services/work.sh",
        &[
            "-a",
            "hunter2",
            "-u",
            "me:hunter2",
            "--auth",
            "hunter2",
            "--pw=hunter2",
            "https://h/?sig=hunter2",
            "Cookie: hunter2",
        ],
    );
    for command in [
        &["plan", "9.1"] as &[&str],
        &["plan", "9.1", "--json"],
        &["run", "9.1", "-n", "-v"],
    ] {
        let text = sandbox.run(command).assert_code(0).transcript();
        assert!(text.contains("[redacted]") && !text.contains("hunter2"), "{text}");
    }
    assert!(service.is_running());
}

// A12: what `-o` may replace.

#[test]
fn outputs_replace_a_plan_of_ours_and_nothing_else() {
    let sandbox = workspace("remove_path(\"a.txt\");");
    sandbox
        .write("a.txt", "a")
        .write(".env", "A=1\n")
        .write("other.json", "{ \"schema\": \"rollback.report/1\" }\n")
        .write("empty", "")
        .write("notes.txt", "n")
        .write("docs/x", "x");
    sandbox.run(&["plan", "9.1", "-o", "plan.json"]).assert_code(0);
    set_mode(&sandbox.path("plan.json"), 0o644);
    sandbox.run(&["plan", "9.1", "-o", "plan.json"]).assert_code(0);
    assert_eq!(mode(&sandbox.path("plan.json")), 0o600);
    let edited = sandbox.read("plan.json").replace("a.txt", "b.txt");
    sandbox.write("edited.json", edited);
    symlink("plan.json", sandbox.path("link.json")).unwrap();
    symlink("absent.json", sandbox.path("dangling.json")).unwrap();
    std::fs::copy(sandbox.path("plan.json"), sandbox.path("twice.json")).unwrap();
    std::fs::hard_link(sandbox.path("twice.json"), sandbox.path("second.json")).unwrap();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
    sandbox.write("a.txt", "a");
    symlink(".rollback", sandbox.path("state")).unwrap();

    let before = sandbox.snapshot(&[]);
    for there in [
        "config/feature-flags.yaml",
        ".env",
        "other.json",
        "empty",
        "notes.txt",
        "edited.json",
        "link.json",
        "dangling.json",
        "second.json",
        "logs/audit.log",
        "docs",
        "/dev/null",
        ".rollback/audit/000001.jsonl",
        ".rollback/audit/head",
        ".rollback/new.json",
        "state/new.json",
        "rollback_reports/new.json",
        "rollback/new.json",
        "rollback.yaml",
        "Rollback.yaml",
        "absent/new.json",
    ] {
        let finished = sandbox.run(&["plan", "9.1", "-o", there]).assert_code(2);
        assert_says(&finished, &["name a"]);
        let export = sandbox.run(&["audit", "export", "-o", there]).assert_code(2);
        assert_says(&export, &["name a new file"]);
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    sandbox
        .run(&["audit", "export", "-o", "export.jsonl"])
        .assert_code(0);
    assert_eq!(mode(&sandbox.path("export.jsonl")), 0o600);
}

// A13: names in `docs/ROLLBACKS.md`.

#[test]
fn names_are_escaped_in_the_document_of_rollbacks() {
    let sandbox = workspace("");
    story(
        &sandbox,
        "T\\x1b[31m [click](https://example.com) <b> `x",
        "retire_dir(\"data\", \"data\");",
    );
    sandbox.write("data/x", "x");
    sandbox
        .run(&[
            "run",
            "9.1",
            "--yes",
            "--reason",
            "\u{1b}]0;x\u{7} ![p](http://h) [l](http://h)",
        ])
        .assert_code(0);
    let document = sandbox.read("docs/ROLLBACKS.md");
    assert!(!document.contains(['\u{1b}', '\u{7}']), "{document:?}");
    for raw in ["[click](", "![p](", " [l](", "<b>"] {
        assert!(!document.contains(raw), "{raw}: {document}");
    }
    assert!(
        document.contains("\\[click\\](https://example.com)"),
        "{document}"
    );
}

// A14: words reach nothing past the view.

#[test]
fn links_out_of_the_workspace_are_refused_to_disk_free_as_to_other_words() {
    let sandbox = workspace("");
    symlink("/", sandbox.path("out")).unwrap();
    symlink("config", sandbox.path("in")).unwrap();
    for path in ["out", "out/tmp"] {
        tried(&sandbox, path, &format!("note(`${{disk_free(\"{path}\")}}`);"));
    }
    story(
        &sandbox,
        "Room",
        "if disk_free(\"in\") == 0 || disk_free(\".\") == 0 { fail(\"no room\"); }\n\
         write_text(\"new/x\", \"x\"); if disk_free(\"new\") == 0 { fail(\"no room\"); }",
    );
    sandbox.run(&["run", "9.1", "-n"]).assert_code(0);
}

// A15: protected places under other names.

#[test]
fn aliases_by_hard_links_of_protected_files_are_refused() {
    let sandbox = workspace("");
    sandbox.write("rollback.yaml", "version: 1\n");
    for (file, alias) in [
        ("rollback.yaml", "a.yaml"),
        ("config/feature-flags.yaml", "b.yaml"),
        ("rollback/secrets.rhai", "dir/c.rhai"),
    ] {
        story(&sandbox, "Aliases", &format!("remove_path(\"{alias}\");"));
        let alias = sandbox.path(alias);
        std::fs::create_dir_all(alias.parent().unwrap()).unwrap();
        std::fs::hard_link(sandbox.path(file), &alias).unwrap();
        let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
        assert_says(&finished, &["is another name of", file]);
    }
    story(&sandbox, "Aliases", "remove_path(\"dir\");");
    std::fs::remove_file(sandbox.path("dir/c.rhai")).unwrap();
    std::fs::hard_link(sandbox.path("rollback/secrets.rhai"), sandbox.path("dir/c.rhai")).unwrap();
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
}

#[test]
fn aliases_by_bind_mounts_of_protected_directories_are_refused() {
    in_namespace(|| {
        let sandbox = workspace("");
        sandbox
            .write(".git/hooks/x", "x")
            .write("keys/deep/a", SECRET)
            .write(
                "rollback.yaml",
                "policy: { deny: [\".git/**\"], read_deny: [\"keys/**\"] }\n",
            );
        for name in ["g", "r", "k"] {
            std::fs::create_dir(sandbox.path(name)).unwrap();
        }
        for (from, to) in [(".git", "g"), ("rollback", "r"), ("keys", "k")] {
            mount(
                &["--bind", sandbox.path(from).to_str().unwrap()],
                &sandbox.path(to),
            );
        }
        for body in [
            "write_text(\"g/hooks/post-checkout\", \"x\");",
            "remove_path(\"g/hooks/x\");",
            "write_text(\"r/new.rhai\", \"x\");",
            "note(read_text(\"k/deep/a\"));",
        ] {
            story(&sandbox, "Aliases", body);
            let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
            assert!(
                !finished.transcript().contains(SECRET),
                "{}",
                finished.transcript()
            );
        }
    });
}

/// Two hard links play a directory in which names that differ in case are one.
#[test]
fn aliases_by_case_are_refused_where_names_are_one() {
    let sandbox = workspace("");
    sandbox
        .write("rollback.yaml", "policy: { deny: [\"**/*.lock\"] }\n")
        .write("blind/a.lock", "a")
        .write("logs/x", "x")
        .write("plain/A.LOCK", "a");
    for (name, other) in [("blind/a.lock", "blind/A.LOCK"), ("logs/x", "logs/X")] {
        std::fs::hard_link(sandbox.path(name), sandbox.path(other)).unwrap();
    }
    for body in [
        "remove_path(\"blind/A.LOCK\");",
        "write_text(\"logs/AUDIT.LOG\", \"x\");",
    ] {
        story(&sandbox, "Aliases", body);
        sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
    }
    story(
        &sandbox,
        "Others",
        "remove_path(\"plain/A.LOCK\"); write_text(\"plain/AUDIT.LOG\", \"x\");",
    );
    sandbox.run(&["run", "9.1", "--yes"]).assert_code(0);
}

#[test]
fn aliases_by_case_are_refused_where_a_file_system_tells_none_apart() {
    in_namespace(|| {
        let outside = tempfile::tempdir().unwrap();
        let image = outside.path().join("image");
        let place = outside.path().join("place");
        std::fs::create_dir(&place).unwrap();
        std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let made = std::process::Command::new("mkfs.ext4")
            .args(["-q", "-O", "casefold", "-E", "encoding=utf8"])
            .arg(&image)
            .status_in_time();
        if !made.is_ok_and(|status| status.success()) {
            return crate::skipped::skipped("no `mkfs.ext4` that knows casefold");
        }
        let mounted = std::process::Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &place])
            .status_in_time();
        if !mounted.is_ok_and(|status| status.success()) {
            return crate::skipped::skipped("no image with casefold can be mounted");
        }
        let directory = place.join("blind");
        std::fs::create_dir(&directory).unwrap();
        let marked = std::process::Command::new("chattr")
            .arg("+F")
            .arg(&directory)
            .status_in_time();
        let is_blind = marked.is_ok_and(|status| status.success());
        if is_blind {
            let sandbox = Sandbox::empty_in(&directory);
            sandbox
                .write(".git/hooks/x", "x")
                .write("yarn.lock", "y")
                .write(".env", SECRET);
            sandbox.write("rollback.yaml", "policy: { deny: [\".git/**\", \"*.lock\"] }\n");
            for body in [
                "write_text(\".Git/hooks/post-checkout\", \"x\");",
                "remove_path(\".GIT\");",
                "write_text(\"ROLLBACK.YAML\", \"version: 1\", #{ overwrite: true });",
                "remove_path(\"Config/Feature-Flags.YAML\");",
                "write_text(\"Rollback_Reports/x\", \"x\");",
                "remove_path(\"YARN.LOCK\");",
                "note(read_text(\".ENV\"));",
            ] {
                story(&sandbox, "Aliases", body);
                let finished = sandbox.run(&["run", "9.1", "--yes"]).assert_code(3);
                assert!(
                    !finished.transcript().contains(SECRET),
                    "{}",
                    finished.transcript()
                );
            }
        }
        crate::disk::unmount(&place);
        if !is_blind {
            crate::skipped::skipped("no `chattr +F`");
        }
    });
}

//! Configuration, scripts and state that a stranger can write are not obeyed.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use super::*;

const STRANGER: u32 = 65534;

const OWN_STORY: &str = "const STORY = #{ id: \"9.1\", title: \"One\" };\nimport \"lib/help\" as help;\nfn execute() { help::tidy(); }\n";
const LIBRARY: &str = "fn tidy() { remove_path(\"kept\"); }\n";

/// A workspace with everything that is obeyed, after one real run.
fn workspace() -> Sandbox {
    let sandbox = Sandbox::empty();
    sandbox
        .write("rollback.yaml", "version: 1\n")
        .write("rollback/9.1.rhai", OWN_STORY)
        .write("rollback/lib/help.rhai", LIBRARY)
        .write(
            "rollback/9.2.rhai",
            "const STORY = #{ id: \"9.2\", title: \"Two\" };\nfn execute() { retire_dir(\"data\", \"data\"); }\n",
        )
        .write("config/feature-flags.yaml", "features: { alpha: { enabled: true } }\n")
        .write("data/one", "1")
        .write("kept", "1");
    sandbox.run(&["run", "9.2", "--yes"]).assert_code(0);
    sandbox
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Commands that go by the configuration: all that open a workspace.
const BY_CONFIGURATION: &[&[&str]] = &[
    &["run", "9.1", "--yes"],
    &["plan", "1.3"],
    &["status"],
    &["history"],
    &["undo", "--yes"],
    &["backup", "list"],
    &["audit", "show"],
    &["feature", "list"],
    &["monitor", "--once"],
];

/// Commands that go by the workspace's scripts.
const BY_SCRIPTS: &[&[&str]] = &[&["run", "9.1", "--yes"], &["run", "9.1", "-n"], &["plan", "9.1"]];

/// Commands that go by records and backups.
const BY_STATE: &[&[&str]] = &[
    &["run", "9.1", "--yes"],
    &["run", "9.1", "-n"],
    &["undo", "--yes"],
    &["undo", "-n"],
    &["backup", "restore", "BACKUP", "--yes"],
    &["backup", "restore", "BACKUP", "-n"],
    &["feature", "disable", "alpha"],
];

/// Each command is refused with 3, names the path and both ways out, and changes nothing; both ways out work.
#[track_caller]
fn assert_refused(sandbox: &Sandbox, commands: &[&[&str]], path: &str, why: &str) {
    let before = sandbox.snapshot(&[]);
    let backup = sandbox
        .path("rollback_backups")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let backup = backup.file_name().into_string().unwrap();
    let named = |command: &[&str]| -> Vec<String> {
        command
            .iter()
            .map(|word| word.replace("BACKUP", &backup))
            .collect()
    };
    for command in commands {
        let command = named(command);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let refused = sandbox.run(&command).assert_code(3);
        assert_says(
            &refused,
            &[path, why, "mode ", "rollback trust", "ROLLBACK_TRUST="],
        );
        assert_unchanged(&before, &sandbox.snapshot(&[]));
    }
    let preview: &[&str] = &["run", "9.1", "-n"];
    let mut by_variable = sandbox.command(preview);
    by_variable.env("ROLLBACK_TRUST", sandbox.root());
    Finished::of(&mut by_variable, preview).assert_code(0);
    let root = sandbox.root();
    let root = root.to_str().unwrap();
    sandbox.run(&["trust", root]).assert_code(0);
    sandbox.run(preview).assert_code(0);
    sandbox.run(&["trust", "--remove", root]).assert_code(0);
    sandbox.run(preview).assert_code(3);
}

/// What is obeyed, and by which commands.
const OBEYED: [(&str, &[&[&str]]); 9] = [
    ("rollback.yaml", BY_CONFIGURATION),
    ("rollback", BY_SCRIPTS),
    ("rollback/9.1.rhai", BY_SCRIPTS),
    ("rollback/lib", BY_SCRIPTS),
    ("rollback/lib/help.rhai", BY_SCRIPTS),
    (".rollback", BY_STATE),
    (".rollback/audit", BY_STATE),
    (".rollback/audit/000001.jsonl", BY_STATE),
    ("rollback_backups", BY_STATE),
];

#[test]
fn what_everyone_may_write_is_not_obeyed() {
    let sandbox = workspace();
    for (path, commands) in OBEYED {
        let path_there = sandbox.path(path);
        let before = path_there.metadata().unwrap().permissions().mode() & 0o7777;
        mode(&path_there, before | 0o002);
        assert_refused(&sandbox, commands, path, "may be written by everyone");
        mode(&path_there, before);
        sandbox.run(&["status"]).assert_code(0);
    }
    mode(&sandbox.root(), 0o777);
    assert_refused(
        &sandbox,
        BY_CONFIGURATION,
        sandbox.root().to_str().unwrap(),
        "may be written by everyone",
    );
}

#[test]
fn what_a_stranger_owns_is_not_obeyed() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can give files away");
    }
    let sandbox = workspace();
    for (path, commands) in OBEYED {
        chown(sandbox.path(path), Some(STRANGER), None).unwrap();
        assert_refused(&sandbox, commands, path, "belongs to user");
        chown(sandbox.path(path), Some(0), None).unwrap();
        sandbox.run(&["status"]).assert_code(0);
    }
    chown(sandbox.root(), Some(STRANGER), None).unwrap();
    assert_refused(
        &sandbox,
        BY_CONFIGURATION,
        sandbox.root().to_str().unwrap(),
        "belongs to user",
    );
    // Under sudo the one who called it is no stranger; what is no number is nobody.
    for (uid, code) in [("65534", 0), ("65535", 3), ("nobody", 3), ("", 3)] {
        let mut command = sandbox.command(&["status"]);
        command.env("SUDO_UID", uid);
        Finished::of(&mut command, &["status"]).assert_code(code);
    }
}

#[test]
fn the_manifest_of_a_backup_that_a_stranger_can_write_is_not_obeyed() {
    let sandbox = workspace();
    let backup = sandbox
        .path("rollback_backups")
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    mode(&backup.path().join(".rollback-manifest.jsonl"), 0o666);
    assert_refused(
        &sandbox,
        BY_STATE,
        ".rollback-manifest.jsonl",
        "may be written by everyone",
    );
}

#[test]
fn a_private_group_may_write_and_a_shared_one_may_not() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root can give files to groups");
    }
    let sandbox = workspace();
    mode(&sandbox.path("rollback.yaml"), 0o664);
    // The group of root, whose own one it is.
    sandbox.run(&["status"]).assert_code(0);
    for group in [STRANGER, 12_345] {
        chown(sandbox.path("rollback.yaml"), None, Some(group)).unwrap();
        assert_refused(
            &sandbox,
            BY_CONFIGURATION,
            "rollback.yaml",
            "may be written by group",
        );
    }
}

#[test]
fn an_access_list_that_lets_a_stranger_write_is_seen() {
    let sandbox = workspace();
    let file = sandbox.path("rollback.yaml");
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, u32::MAX),
        (0x02, 6, STRANGER),
        (0x04, 4, u32::MAX),
        (0x10, 6, u32::MAX),
        (0x20, 4, u32::MAX),
    ];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&file, "system.posix_acl_access", &list, flags).is_err() {
        return skipped("no access lists on this file system");
    }
    assert_refused(&sandbox, BY_CONFIGURATION, "rollback.yaml", "by its access list");
}

#[test]
fn a_sticky_directory_is_one_in_which_everyone_has_their_own() {
    let sandbox = workspace();
    mode(&sandbox.root(), 0o1777);
    sandbox.run(&["status"]).assert_code(0);
    if rustix::process::geteuid().is_root() {
        chown(sandbox.path("rollback.yaml"), Some(STRANGER), None).unwrap();
        assert_refused(&sandbox, BY_CONFIGURATION, "rollback.yaml", "belongs to user");
    }
}

#[test]
fn what_a_link_leads_to_counts_as_much_as_where_it_lies() {
    let sandbox = workspace();
    let elsewhere = sandbox.home().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::rename(sandbox.path("rollback.yaml"), elsewhere.join("real.yaml")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("real.yaml"), sandbox.path("rollback.yaml")).unwrap();
    sandbox.run(&["status"]).assert_code(0);
    for path in [elsewhere.join("real.yaml"), elsewhere] {
        let before = path.metadata().unwrap().permissions().mode();
        mode(&path, before | 0o002);
        let refused = sandbox.run(&["status"]).assert_code(3);
        assert_says(
            &refused,
            &[
                "rollback.yaml",
                path.to_str().unwrap(),
                "may be written by everyone",
            ],
        );
        mode(&path, before);
    }
}

#[test]
fn a_script_named_by_its_path_and_what_it_imports_are_looked_at_alike() {
    let sandbox = Sandbox::empty();
    let away = Sandbox::empty();
    away.write("own.rhai", OWN_STORY).write("lib/help.rhai", LIBRARY);
    sandbox.write("kept", "1");
    let script = away.path("own.rhai");
    let script = script.to_str().unwrap();
    sandbox.run(&["run", script, "-n"]).assert_code(0);
    for path in ["own.rhai", "lib", "lib/help.rhai", ""] {
        let there = away.path(path);
        let before = there.metadata().unwrap().permissions().mode();
        mode(&there, before | 0o002);
        for arguments in [&["run", script, "-n"] as &[&str], &["run", script, "--yes"]] {
            let refused = sandbox.run(arguments).assert_code(3);
            assert_says(
                &refused,
                &["is not obeyed", "may be written by everyone", "rollback trust"],
            );
        }
        assert!(sandbox.exists("kept") && !sandbox.exists(".rollback"));
        mode(&there, before);
    }
}

#[test]
fn embedded_stories_need_no_trust() {
    let sandbox = Sandbox::empty();
    mode(&sandbox.root(), 0o777);
    for _ in 0..2 {
        sandbox.run(&["plan", "1.3"]).assert_code(0);
        sandbox.run(&["feature", "list"]).assert_code(0);
    }
}

#[test]
fn the_list_of_trusted_directories_is_private_and_is_itself_looked_at() {
    let sandbox = workspace();
    mode(&sandbox.path("rollback.yaml"), 0o666);
    let root = sandbox.root();
    let root = root.to_str().unwrap();
    sandbox.run(&["trust", root]).assert_code(0);
    sandbox.run(&["trust", root]).assert_code(0);
    assert_eq!(sandbox.run(&["trust"]).assert_code(0).stdout, format!("{root}\n"));
    assert_eq!(sandbox.json(&["trust"])["trusted"], serde_json::json!([root]));
    let list = sandbox.home().join(".config/rollback/trusted");
    for (path, expected) in [(list.as_path(), 0o600), (list.parent().unwrap(), 0o700)] {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, expected);
    }
    sandbox.run(&["status"]).assert_code(0);
    mode(&list, 0o666);
    let refused = sandbox.run(&["status"]).assert_code(3);
    assert_says(&refused, &["trusted", "a stranger can write it"]);
    sandbox.run(&["trust"]).assert_code(3);
    mode(&list, 0o600);
    sandbox.run(&["trust", "--remove", "/never/there"]).assert_code(2);
    sandbox.run(&["trust", "/never/there"]).assert_code(2);
    // Another directory does not count, nor does one whose name begins alike.
    for other in [format!("{root}-2"), "/never/there".to_owned(), String::new()] {
        sandbox.run(&["trust", "--remove", root]);
        let mut command = sandbox.command(&["status"]);
        command.env("ROLLBACK_TRUST", &other);
        Finished::of(&mut command, &["status"]).assert_code(3);
    }
}
